"""The status of a scene: SQL says what the function says, and nothing else writes it."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import product

import psycopg
import pytest

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue import scene_status
from cbmctl.queue.scene_status import Facts, Place, status
from cbmctl.reasons import WAITS_FOR_PARTS
from tests.support.sql_in_code import OTHERS, writers, writes

LONG = "!S3 a_band_of_a_very_long_name.tif"


def all_facts() -> Iterator[Facts]:
    numbers = [
        (tasks, untouched, at_all)
        for tasks in (0, 1, 3)
        for at_all in range(tasks + 1)
        for untouched in range(at_all + 1)
    ]
    for place, online, (tasks, untouched, at_all), parcels, failure in product(
        Place, (True, False), numbers, (None, 0, 5), (None, "Rio error", LONG)
    ):
        yield Facts(place, online, tasks, untouched, at_all, parcels, failure)


@pytest.mark.postgis
def test_sql_is_the_function(conn: psycopg.Connection) -> None:
    facts = list(all_facts())
    columns = {name: [asdict(one)[name] for one in facts] for name in asdict(facts[0])}
    found = conn.execute(
        query(
            """SELECT {status} FROM unnest(%(place)s::text[], %(online)s::boolean[], %(tasks)s::integer[],
                   %(untouched)s::integer[], %(open)s::integer[], %(parcels)s::integer[],
                   %(failure)s::text[])
               WITH ORDINALITY AS f (place, online, tasks, untouched, open, parcels, failure, number)
               ORDER BY number""",
            status=scene_status.STATUS,
        ),
        columns,
    ).fetchall()
    assert [word for (word,) in found] == [status(one) for one in facts]
    assert {status(one) for one in facts} == {
        "ingested", "offline", "inprogress", "extracted", "No parcels", "Rio error", LONG[:24], "offered",
        "superseded", "archived",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "code", "place", "after"),
    [
        ("ingested", None, None, "ingested"),
        ("ingested", None, Place.OFFERED, "offered"),
        ("extracted", None, Place.SUPERSEDED, "superseded"),
        ("superseded", None, None, "superseded"),
        ("superseded", None, Place.CURRENT, "extracted"),
        ("inprogress", None, None, "extracted"),
        ("inprogress", WAITS_FOR_PARTS.code, None, "inprogress"),
        ("extracted", None, Place.WAITS, "inprogress"),
        ("inprogress", WAITS_FOR_PARTS.code, Place.CURRENT, "extracted"),
        ("extracted", None, Place.AGAIN, "ingested"),
        ("extracted", None, Place.ARCHIVED, "archived"),
        ("archived", None, None, "archived"),
        ("archived", None, Place.RESTORED, "extracted"),
        ("!S3 B02.jp2", "archive.file_missing", None, "extracted"),
    ],
)
@pytest.mark.postgis
def test_the_place_stays_until_another_is_given(  # noqa: PLR0917
    conn: psycopg.Connection, tables: Tables, stored: str, code: str | None, place: Place | None, after: str
) -> None:
    conn.execute(
        """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status, reason_code)
           VALUES (1, '2021-03-05', 'A', '2A', 's2', %s, %s)""",
        [stored, code],
    )
    conn.execute("INSERT INTO tasks (obsid, bandset, state, parcels, rows) VALUES (1, '10', 'done', 3, 3)")
    scene_status.update(conn, tables, {1: place})
    waits = WAITS_FOR_PARTS.code if after == "inprogress" else None
    assert conn.execute("SELECT status, reason_code FROM dias_catalogue").fetchall() == [(after, waits)]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("UPDATE {catalogue} d SET reason = NULL, status = %s WHERE id = %s", True),
        ("UPDATE {catalogue} SET (status, reason) = (SELECT 1, 2) WHERE id = %s", True),
        ("UPDATE {catalogue} SET (reason, status) = (SELECT 1, 2)", True),
        ("UPDATE {scenes} SET status = 'extracted'", True),
        ("UPDATE ONLY dias_catalogue SET status = 'extracted'", True),
        ("INSERT INTO {catalogue} (reference, status) VALUES (%s, %s)", True),
        ("INSERT INTO {catalogue} VALUES (1, 'x')", True),
        ("INSERT INTO {catalogue} AS d (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET status = 'x'", True),
        ("MERGE INTO {catalogue} d USING x ON true WHEN MATCHED THEN UPDATE SET status = 'x'", True),
        ("COPY {catalogue} FROM STDIN", True),
        ("UPDATE {catalogue} SET reason = %s WHERE status = %s", False),
        ("INSERT INTO {catalogue} (reference, path) SELECT reference, status FROM x", False),
        ("SELECT status FROM {catalogue} FOR UPDATE", False),
        ("INSERT INTO {rejected} (status) VALUES ('x')", False),
    ],
)
def test_what_writes_the_status(code: str, *, found: bool) -> None:
    # in two pieces, as long statements are
    text = f"query({code[:20]!r}\n    {code[20:]!r})"
    assert any(write.table not in OTHERS and write.sets("status") for write in writes(text)) is found


def test_nothing_else_writes_the_status() -> None:
    # the statements of `states` write tasks
    found = {module for module, write in writers() if write.sets("status")} - {"queue/states.py"}
    assert found == {"queue/scene_status.py"}
