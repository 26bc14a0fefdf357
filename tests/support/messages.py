"""Every sentence that a person reads: messages, help texts, names of tasks, and the sentences of the docs.

Run it with scripts/messages, which has --help.
"""

import argparse
import ast
import os
import random
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KINDS = ("python", "ansible", "docs")
CODE = ("extraction/cbmctl", "plugins", "scripts")
ANSIBLE = ("playbooks", "roles", "lab")
# what Ansible or a reader of `ansible-doc` prints
PRINTED = ("name", "msg", "fail_msg", "success_msg", "description", "short_description")
COMMANDS = {"command", "group"}  # decorators of click, which print the docstring
DOCUMENTED = {"DOCUMENTATION", "EXAMPLES", "RETURN"}  # YAML that ansible-doc prints
# functions whose arguments are SQL or patterns, not sentences
NOT_PROSE = {"execute", "query", "SQL", "compile", "match", "search", "sub", "fullmatch", "finditer", "split"}
SQL = re.compile(
    r"\s*\(?(ALTER|AND|ANALYZE|BEGIN|CASE|CLUSTER|COMMENT|COMMIT|COPY|CREATE|DELETE|DROP|FROM|GRANT|GROUP|INSERT"
    r"|JOIN|LEFT|LOCK|ON|ORDER|REINDEX|RESET|REVOKE|SELECT|SET|TRUNCATE|UNION|UPDATE|VACUUM|VALUES|WHERE|WITH)\b"
)
# a part of a statement, or a pattern
NOT_A_SENTENCE = re.compile(
    r"\b(IS (NOT )?NULL|SELECT|WHERE|INTO|ORDER BY|PRIMARY KEY|AND \w+\.\w+)\b|\(\?[:P=!<]|\\[bdsSw.(]|= NULL"
)
WORD = re.compile(r"[A-Za-zÀ-ÿ]{2,}")
JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
CODE_OF_DOCS = re.compile(r"^(```.*?^```|<!--.*?-->)", re.DOTALL | re.MULTILINE)
LIST_ITEM = re.compile(r"\s*(?:[-*]|\d+\.)\s+(.*)")


@dataclass(frozen=True, order=True)
class Message:
    """A text as its source has it: {} where a value is put in."""

    place: str
    line: int
    kind: str
    text: str


def messages(root: Path = ROOT, kinds: Iterable[str] = KINDS) -> list[Message]:
    """Return all texts of the kinds, in the order of files and lines."""
    readers = {"python": _python, "ansible": _ansible, "docs": _docs}
    found = {message for kind in kinds for message in readers[kind](root)}
    return sorted(found)


def _files(root: Path, folders: Iterable[str], suffix: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((root / folder).rglob(f"*{suffix}")):
            if "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix(), path.read_text()


# Python


def _python(root: Path) -> Iterator[Message]:
    for place, text in _files(root, CODE, ".py"):
        if "/schema/versions/" not in place:
            finder = _Texts()
            finder.visit(ast.parse(text))
            yield from (Message(place, line, "python", found) for line, found in finder.found)


class _Texts(ast.NodeVisitor):
    """Finds texts of three words or more, and docstrings of commands; leaves out other docstrings and SQL."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        names = {_name(decorator) for decorator in node.decorator_list}
        docstring = ast.get_docstring(node)
        if names & COMMANDS and docstring:
            self._add(node.body[0].lineno, docstring)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if _name(node) not in NOT_PROSE:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if {_name(target) for target in node.targets} & DOCUMENTED and isinstance(node.value, ast.Constant):
            for line, text in printed(str(node.value.value)):
                self._add(node.lineno + line - 1, text)
        else:
            self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        text = _text(node)
        if text is None:
            self.generic_visit(node)
        else:
            self._add(node.lineno, text)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._add(node.lineno, node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._add(node.lineno, _text(node) or "")
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                self.visit(value.value)

    def _add(self, line: int, text: str) -> None:
        plain = " ".join(text.replace("\b", "").split())
        if (
            len(WORD.findall(plain)) > 2
            and " " in plain
            and not (SQL.match(text) or NOT_A_SENTENCE.search(text))
        ):
            self.found.append((line, plain))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.expr) -> str | None:
    """Return a text, also one that is joined of parts; None if part of it is computed otherwise."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [_text(value) if isinstance(value, ast.Constant) else "{}" for value in node.values]
        return "".join(part or "" for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return None if left is None or right is None else left + right
    return None


# Ansible


def _ansible(root: Path) -> Iterator[Message]:
    for place, text in _files(root, ANSIBLE, ".yml"):
        if "/meta/rules" not in place:
            for line, found in printed(text):
                yield Message(place, line, "ansible", found)


def printed(text: str) -> Iterator[tuple[int, str]]:
    """Yield names, messages and descriptions of a YAML file, each with its line."""
    for document in yaml.compose_all(text, Loader=_Loose):
        yield from _in_node(document)


class _Loose(yaml.SafeLoader):
    """Reads !vault and other tags as text."""


def _in_node(node: Any) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _in_node(child)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value in PRINTED and isinstance(value, yaml.ScalarNode):
                plain = " ".join(value.value.split())
                if len(WORD.findall(JINJA.sub("", plain))) > 1:
                    yield value.start_mark.line + 1, plain
            elif key.value in PRINTED and isinstance(value, yaml.SequenceNode):
                for item in value.value:
                    if isinstance(item, yaml.ScalarNode):
                        yield item.start_mark.line + 1, " ".join(item.value.split())
            yield from _in_node(value)


# Docs


def pages(root: Path = ROOT) -> list[Path]:
    """Return the pages that people read, README and CONTRIBUTING among them."""
    return [path for path in [*root.glob("*.md"), *sorted((root / "docs").rglob("*.md"))] if path.is_file()]


def _docs(root: Path) -> Iterator[Message]:
    for path in pages(root):
        if path.name not in ("CHANGELOG.md", "schema.md"):  # history; generated
            place = path.relative_to(root).as_posix()
            for line, paragraph in paragraphs(path.read_text()):
                for sentence in sentences(paragraph):
                    yield Message(place, line, "docs", sentence)


def paragraphs(page: str, *, tables: bool = True) -> Iterator[tuple[int, str]]:
    """Yield paragraphs, list items, headings and, with `tables`, cells, with their first line; no code."""
    blank = CODE_OF_DOCS.sub(lambda match: "\n" * match[0].count("\n"), page)
    start, lines = 0, list[str]()
    for number, line in enumerate([*blank.splitlines(), ""], 1):
        item, plain = LIST_ITEM.match(line), line.strip()
        code = line.startswith("    ") and not lines
        if (not plain or item or plain.startswith(("|", "#")) or code) and lines:
            yield start, " ".join(lines)
            lines = []
        if plain.startswith("|"):
            cells = re.split(r"(?<!\\)\|", plain) if tables else []
            yield from ((number, cell.strip()) for cell in cells if cell.strip(" -"))
        elif plain.startswith("#"):
            yield number, plain.lstrip("# ")
        elif plain and not (line.startswith("    ") and not lines and not item):
            start = start if lines else number
            lines.append(item[1] if item else plain)


def sentences(paragraph: str) -> Iterator[str]:
    """Yield the sentences of a paragraph that have three words or more."""
    for sentence in re.split(r"(?<=[.!?:])\**\s+(?=[\"'*`(\[A-Z])", paragraph):
        # names and links alone are no sentence
        if len(WORD.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", sentence))) > 2:
            yield sentence.strip()


def main() -> None:
    """Print the messages, or some of them drawn at random."""
    parser = argparse.ArgumentParser(
        prog="scripts/messages",
        description="Print every text that a person can read, with its file and line.",
        epilog="Example: scripts/messages --sample 100 --seed 14",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="draw N of the texts at random")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed draws the same texts")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only these; may be repeated")
    parser.add_argument("--text", action="store_true", help="print the texts without file and line")
    chosen = parser.parse_args()
    found = messages(kinds=chosen.kind or KINDS)
    if chosen.sample is not None:
        # the generator is for a sample that can be drawn again, not for secrets
        found = random.Random(chosen.seed).sample(found, min(chosen.sample, len(found)))  # noqa: S311
    for message in found:
        sys.stdout.write(
            f"{message.text}\n" if chosen.text else f"{message.place}:{message.line}: {message.text}\n"
        )


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # head has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
