"""What people read: plain words, short lines, names of tasks that say what they do, links that work."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.support.messages import CODE_OF_DOCS, Message, messages, pages, paragraphs, sentences
from tests.support.words import LOOKING, RIDDLES, TASKS, VERBS, module_of, to_reword

LONGEST = 120
# history, and a page that is generated
NOT_WRITTEN_NOW = {"CHANGELOG.md", "docs/schema.md"}
# Pages for people who do something now. Pages that explain may have longer paragraphs.
GUIDES = {
    *("README.md", "CONTRIBUTING.md", "docs/cloud.md", "docs/development.md", "docs/manual.md"),
    *("docs/operator.md", "docs/ordering.md", "docs/technician.md", "docs/tests.md"),
}
WORDS_IN_A_SENTENCE = 25
SENTENCES_IN_A_PARAGRAPH = 4
# Folders of the repository: what begins with one of them in a page is a path.
PATH = re.compile(
    r"`((?:benchmarks|docs|extraction|inventory|lab|molecule|playbooks|plugins|roles|scripts|tests)/[\w./-]*)`"
)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def place(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.fixture(params=pages(), ids=place)
def page(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_lines_of_docs_wrap(page: Path) -> None:
    assert [
        f"{number}: {line}"
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > LONGEST and not line.lstrip().startswith("|")
    ] == []


@pytest.mark.parametrize("page", [p for p in pages() if place(p) not in NOT_WRITTEN_NOW], ids=place)
def test_sentences_are_short(page: Path) -> None:
    found = []
    for line, paragraph in paragraphs(page.read_text(), tables=False):
        for sentence in sentences(paragraph):
            words = re.findall(r"(?<!\S)\S*\w\S*", re.sub(r"`[^`]*`|\]\([^)]*\)", "code", sentence))
            if len(words) > WORDS_IN_A_SENTENCE:
                found.append(f"{line}: {len(words)} words: {sentence}")
    assert found == []


@pytest.mark.parametrize("guide", sorted(GUIDES))
def test_paragraphs_of_guides_are_short(guide: str) -> None:
    ends = re.compile(r"(?<![.…])[.!?](?=[*\"')]*(\s|$))")
    assert [
        f"{line}: {paragraph}"
        for line, paragraph in paragraphs((REPOSITORY / guide).read_text(), tables=False)
        if len(ends.findall(paragraph)) > SENTENCES_IN_A_PARAGRAPH
    ] == []


@pytest.mark.parametrize("guide", sorted(GUIDES))
def test_headings_of_guides_are_tasks(guide: str) -> None:
    headings = re.findall(r"^##+ (.*)$", CODE_OF_DOCS.sub("", (REPOSITORY / guide).read_text()), re.MULTILINE)
    assert [heading for heading in headings if heading.split()[0] not in TASKS] == []


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = CODE_OF_DOCS.sub("", page.read_text())
    return {slug(heading) for heading in HEADING.findall(text)} | set(re.findall(r'<a id="([^"]+)"', text))


def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(CODE_OF_DOCS.sub("", page.read_text())):
        name, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_paths_in_docs_exist(page: Path) -> None:
    named = set(PATH.findall(CODE_OF_DOCS.sub("", page.read_text()))) if page.stem != "CHANGELOG" else set()
    missing = [path for path in named if not (REPOSITORY / path).exists()]
    assert [path for path in missing if not re.search("NAME|NNNN", path)] == []


def complaints(found: list[Message]) -> list[str]:
    return [f"{m.place}:{m.line}: {wrong}: {m.text}" for m in found for wrong in to_reword(m.text)]


@pytest.mark.parametrize("kind", ["python", "ansible", "docs"])
def test_words_that_must_be_read_twice_do_not_occur(kind: str) -> None:
    found = messages(kinds=[kind])
    assert len(found) > 100, "the list of messages is empty"
    assert complaints(found) == []


def test_a_wrong_word_is_found() -> None:
    wrong = [
        "tenant_start: '2021-13-01' is no date",
        "overlap is none of first, all; correct it",
        "There is no line tenant_yaer",
        "The mounted archive is there and lets us in",
        "3 problems in the way",
        "Give up statistics computed with the parcels of before",
        "No way back of an earlier run is under way",
        "Another address makes way for the one that the inventory names",
        "the database lacks something",
        "The worker is told where the archive is",
        "Another number, another landscape".lower(),
    ]
    assert [text for text in wrong if not list(to_reword(text))] == []


# Ansible


def tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    for folder in ("roles", "playbooks", "lab", "molecule"):
        for path in sorted((REPOSITORY / folder).rglob("*.yml")):
            if "meta" not in path.parts:
                place = path.relative_to(REPOSITORY).as_posix()
                yield from ((place, task) for task in in_tree(yaml.safe_load(path.read_text())))


def in_tree(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield tasks: mappings with a name, in lists at the top or below a word of plays and blocks."""
    if isinstance(tree, list):
        for entry in tree:
            if isinstance(entry, dict) and "name" in entry:
                yield entry
                for below in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
                    yield from in_tree(entry.get(below))


def test_tasks_that_only_look_begin_with_a_verb() -> None:
    found = [
        f"{place}: {task['name']}"
        for place, task in tasks()
        # a task that looks until something is true is named by that outcome
        if LOOKING.search(module_of(task)) and "until" not in task and task["name"].split()[0] not in VERBS
    ]
    assert found == []


def test_names_of_tasks_are_no_riddles() -> None:
    assert len(list(tasks())) > 400
    assert [f"{place}: {task['name']}" for place, task in tasks() if task["name"].startswith(RIDDLES)] == []
