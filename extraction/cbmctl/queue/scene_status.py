"""A scene's status, in the manual's words: one function of its version, its archive and its tasks.

`status` is that function; `update`, the only writer of `dias_catalogue.status`, executes it in SQL.
docs/queue.md describes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import query
from cbmctl.queue.statements import names
from cbmctl.reasons import WAITS_FOR_PARTS

# varchar(24) in the manual's table
_LONGEST = 24


class Place(StrEnum):
    """Where a scene stands among the versions of its acquisition, and what is asked for."""

    CURRENT = "current"
    AGAIN = "again"
    WAITS = "waits"
    OFFERED = "offered"
    SUPERSEDED = "superseded"
    ARCHIVED = "archived"
    RESTORED = "restored"


@dataclass(frozen=True)
class Facts:
    """What a scene's status follows from.

    Attributes:
        place: `AGAIN`: to be extracted whole, whatever there is; `WAITS`: counts only together with others
            that are not done; `RESTORED`: its rows are back from an archive, where only extracted scenes go.
        online: whether the archive has it at once.
        tasks: how many it has. One whose rows are there, and which is to read new parcels only, counts as
            done.
        untouched: of these, how many nobody has begun, and of which there are no rows.
        open: of these, how many are 'ready' or 'running'.
        parcels: how many its tasks found together; None if no task knows.
        failure: the manual's word for the first task that failed, in the order of BANDSETS; None if none did.
    """

    place: Place
    online: bool
    tasks: int
    untouched: int
    open: int
    parcels: int | None
    failure: str | None


def status(facts: Facts) -> str:  # noqa: PLR0911 - a line for each line of the table in docs/queue.md
    """Return the manual's word for a scene."""
    if facts.place in (Place.OFFERED, Place.SUPERSEDED, Place.ARCHIVED):
        return facts.place.value
    if facts.place is Place.RESTORED and not facts.tasks:  # extracted by the manual's scripts
        return "extracted"
    if not facts.tasks or (facts.place is Place.AGAIN and not facts.open):
        return "ingested" if facts.online else "offline"
    if facts.open:
        return "ingested" if facts.untouched == facts.tasks else "inprogress"
    if facts.failure is not None:
        return facts.failure[:_LONGEST]
    if facts.place is Place.WAITS and facts.parcels != 0:
        return "inprogress"
    return "No parcels" if facts.parcels == 0 else "extracted"


# The same over the columns of a row `f` of facts.
STATUS = sql.SQL(
    """CASE
           WHEN f.place IN ('offered', 'superseded', 'archived') THEN f.place
           WHEN f.place = 'restored' AND f.tasks = 0 THEN 'extracted'
           WHEN f.tasks = 0 OR (f.place = 'again' AND f.open = 0)
               THEN CASE WHEN f.online THEN 'ingested' ELSE 'offline' END
           WHEN f.open > 0 THEN CASE WHEN f.untouched = f.tasks THEN 'ingested' ELSE 'inprogress' END
           WHEN f.failure IS NOT NULL THEN left(f.failure, {longest})
           WHEN f.parcels = 0 THEN 'No parcels'
           WHEN f.place = 'waits' THEN 'inprogress'
           ELSE 'extracted'
       END"""
).format(longest=sql.Literal(_LONGEST))

# The place that follows from the catalogue's row `d`. To set a scene to 'ingested' by hand asks for it
# again.
PLACE = sql.SQL(
    """CASE
           WHEN d.status IN ('offered', 'superseded', 'archived') THEN d.status
           WHEN d.status IN ('ingested', 'offline') THEN 'again'
           WHEN d.reason_code = {waits} THEN 'waits'
           ELSE 'current'
       END"""
).format(waits=sql.Literal(WAITS_FOR_PARTS.code))

# A row of facts for each scene of %(obsids)s; %(places)s has its new place, or NULL.
FACTS: LiteralString = """
    SELECT d.id, coalesce(a.place, {place}) AS place, d.online, count(t.obsid) AS tasks,
        sum(t.parcels) AS parcels,
        count(*) FILTER (
            WHERE t.state = 'ready' AND t.attempts = 0 AND t.rows IS NULL AND NOT {delta}) AS untouched,
        count(*) FILTER (WHERE t.state IN ('ready', 'running') AND NOT {delta}) AS open,
        w.failed_status AS failure, w.reason_code, w.reason
    FROM unnest(%(obsids)s::integer[], %(places)s::text[]) AS a (id, place)
    JOIN {catalogue} d ON d.id = a.id LEFT JOIN {tasks} t ON t.obsid = d.id
    LEFT JOIN LATERAL (
        SELECT * FROM {tasks} t WHERE obsid = d.id AND state = 'failed' AND NOT {delta}
        ORDER BY array_position(%(order)s, bandset) LIMIT 1) w ON true
    GROUP BY d.id, a.place, w.failed_status, w.reason_code, w.reason
"""


def update(conn: psycopg.Connection, tables: Tables, scenes: Mapping[int, Place | None]) -> None:
    """Let the status of scenes, and the reason, follow from what there is.

    Args:
        conn: a connection in a transaction that has changed tasks, versions or the archive of these scenes.
        tables: the tables.
        scenes: ids, with a new place; None: the place stays.
    """
    if not scenes:
        return
    conn.execute(
        query(
            """UPDATE {catalogue} d SET (status, reason_code, reason) = (f.status, f.reason_code, f.reason)
               FROM (
                   SELECT id, status, CASE WHEN waits THEN {code} ELSE reason_code END AS reason_code,
                       CASE WHEN waits THEN {waits} ELSE reason END AS reason
                   FROM (SELECT *, status = 'inprogress' AND open = 0 AS waits
                       FROM (SELECT f.*, {status} AS status FROM ({facts}) f) f) f
               ) f
               WHERE d.id = f.id AND (d.status, d.reason_code, d.reason)
                   IS DISTINCT FROM (f.status, f.reason_code, f.reason)""",
            facts=query(FACTS, place=PLACE, **names(tables)),
            status=STATUS,
            code=sql.Literal(WAITS_FOR_PARTS.code),
            waits=sql.Literal(WAITS_FOR_PARTS.meaning),
            **names(tables),
        ),
        {"obsids": list(scenes), "places": list(scenes.values()), "order": list(BANDSETS)},
    )


def begin(conn: psycopg.Connection, tables: Tables, obsid: int) -> None:
    """Do what `update` does for a scene of which a task has just become 'running', without counting.

    The reason stays: another task may have failed for good.
    """
    conn.execute(
        query(
            "UPDATE {catalogue} SET status = 'inprogress' WHERE id = %s AND status <> 'inprogress'",
            **names(tables),
        ),
        [obsid],
    )
