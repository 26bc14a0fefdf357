"""Codes of reasons: each is there once, the docs show them, and migrations know the words that there were."""

import re
from pathlib import Path

import psycopg
import pytest

import cbmctl
from cbmctl import reasons
from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue.acquisitions import acquisitions
from cbmctl.queue.statements import failed as condition
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
    words = re.compile("|".join(f"[\"']{re.escape(reason.status)}" for reason in reasons.FAILURES))
    files = [path for path in CODE.rglob("*.py") if path.parts[-3:-1] != ("schema", "versions")]
    found = {path.relative_to(CODE).as_posix() for path in files if words.search(path.read_text())}
    assert found == {"reasons.py"}


@pytest.mark.parametrize(
    ("status", "code", "failed"),
    [
        # the words of the manual's scripts, which write no code
        ("Rio error", None, True),
        ("!S3 B02.jp2", None, True),
        ("Worker vanished", None, True),
        ("extracted", None, False),
        ("x", None, False),
        # the code counts, whatever the word
        ("B02 is missing", "archive.file_missing", True),
        ("Rio error", "versions.waits_for_parts", False),
        ("Rio error", "of a later version", False),
        # the code of an earlier failure
        ("inprogress", "archive.unreadable", False),
        ("ingested", "archive.unreadable", False),
        ("archived", "archive.unreadable", False),
    ],
)
@pytest.mark.postgis
def test_what_is_a_failure(
    conn: psycopg.Connection, tables: Tables, status: str, code: str | None, *, failed: bool
) -> None:
    conn.execute(
        """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, tile, status, reason_code)
           SELECT id, '2021-03-05', id::text, '2A', 's2', '32TMT', status, code
           FROM (VALUES (1, %s, %s), (2, 'superseded', NULL)) d (id, status, code)""",
        [status, code],
    )
    ((found, _),) = [acquisition.versions for acquisition in acquisitions(conn, tables, [1])]
    assert found.failed is failed
    rows = conn.execute(query("SELECT {failed} FROM dias_catalogue d WHERE id = 1", failed=condition("d")))
    assert rows.fetchall() == [(failed,)]


@pytest.mark.parametrize(
    ("status", "code", "failed"),
    [
        ("Rio error", None, True),
        ("Rio error", "catalogue.record_invalid", False),
        ("!S3 subdir", "catalogue.no_path", True),
        ("Worker error", None, False),
        ("Rio error", "worker.error", False),
        ("Worker error", "archive.damaged", True),
    ],
)
@pytest.mark.postgis
def test_what_failed_because_of_the_archive(
    conn: psycopg.Connection, status: str, code: str | None, *, failed: bool
) -> None:
    statement = query(
        "SELECT {failed} FROM (SELECT %s::text AS status, %s::text AS reason_code) d",
        failed=condition("d", reasons.FROM_ARCHIVE),
    )
    assert conn.execute(statement, [status, code]).fetchall() == [(failed,)]
