"""Codes of reasons: each is there once, the docs show them, and migrations know the words that there were."""

import re
from pathlib import Path

import pytest

import cbmctl
from cbmctl import reasons
from cbmctl.queue.acquisitions import Version
from cbmctl.reasons import REASONS, Reason, file_missing
from tests.conftest import REPOSITORY

CODE = Path(cbmctl.__file__).parent


def test_the_docs_show_the_list() -> None:
    page = (REPOSITORY / "docs" / "statuses.md").read_text()
    found = re.search(r"<!-- reasons: .* -->\n(.*?)<!-- end of reasons -->", page, re.DOTALL)
    assert found, "docs/statuses.md has no place for the list"
    assert found[1] == reasons.markdown(), "paste the output of cbmctl.reasons.markdown()"


def test_every_reason_is_listed_once() -> None:
    known = [value for value in vars(reasons).values() if isinstance(value, Reason)]
    assert sorted(reason.code for reason in REASONS) == sorted(reason.code for reason in known)
    assert len({reason.code for reason in REASONS}) == len(REASONS)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", reason.code) for reason in REASONS)
    assert all(len(reason.status) <= 24 for reason in REASONS)


def test_a_missing_file_is_named() -> None:
    assert (file_missing("B02.jp2").code, file_missing("B02.jp2").status) == (
        "archive.file_missing",
        "!S3 B02.jp2",
    )


def test_no_other_module_has_the_manuals_words_for_failures() -> None:
    words = re.compile(
        "|".join(f"[\"']{re.escape(word)}" for word in sorted(reasons.FAILURES)) + r"|[\"']!S3"
    )
    files = [path for path in CODE.rglob("*.py") if path.parts[-3:-1] != ("schema", "versions")]
    found = {path.relative_to(CODE).as_posix() for path in files if words.search(path.read_text())}
    assert found == {"reasons.py"}


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ("Rio error", True),
        ("!S3 B02.jp2", True),
        ("Worker vanished", True),
        ("extracted", False),
        ("x", False),
    ],
)
def test_what_is_a_failure(status: str, *, failed: bool) -> None:
    version = Version.__new__(Version)
    object.__setattr__(version, "status", status)
    assert version.failed is failed
