"""How far the extraction is: read-only, and cheap enough to be asked every few seconds."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.tasks import BANDSETS, STATES


@dataclass(frozen=True)
class Status:
    """The state of the database.

    Attributes:
        scenes: card, status and count, as the manual's query has it.
        tasks: by band set, the number of tasks in each state.
        failed_tasks: reference, bandset, attempts and reason of each.
        parcels: rows of the parcel table; None when there is none.
        sigs: rows that the extraction has written. Counted by task: counting 100 million rows takes a minute.
        hists: likewise.
    """

    scenes: list[dict[str, Any]]
    tasks: dict[str, dict[str, int]]
    failed_tasks: list[dict[str, Any]]
    parcels: int | None
    sigs: int
    hists: int


def read(conn: psycopg.Connection, config: Config) -> Status:
    """Read the state."""
    tables = config.tables
    names = {"catalogue": tables.catalogue.sql, "tasks": tables.tasks.sql}
    with conn.cursor(row_factory=dict_row) as cursor:
        scenes = cursor.execute(
            query(
                "SELECT card, status, count(*) FROM {catalogue} GROUP BY card, status ORDER BY 1, 2", **names
            )
        ).fetchall()
        failed = cursor.execute(
            query(
                """SELECT d.reference, t.bandset, t.attempts, t.reason
                   FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
                   WHERE t.state = 'failed' ORDER BY d.obstime, d.id, t.bandset""",
                **names,
            )
        ).fetchall()
    tasks: dict[str, dict[str, int]] = {}
    rows = dict.fromkeys(BANDSETS, 0)
    found = conn.execute(
        query(
            """SELECT bandset, state, count(*), coalesce(sum(rows), 0)::bigint FROM {tasks}
               GROUP BY bandset, state ORDER BY array_position(%s, bandset)""",
            **names,
        ),
        [list(BANDSETS)],
    ).fetchall()
    for bandset, state, count, written in found:
        tasks.setdefault(bandset, dict.fromkeys(STATES, 0))[state] = count
        rows[bandset] += written
    return Status(scenes, tasks, failed, _parcels(conn, config), rows["10"] + rows["20"], rows["scl"])


def _parcels(conn: psycopg.Connection, config: Config) -> int | None:
    parcels = config.tables.parcels
    if one(conn, query("SELECT to_regclass(%s)"), [str(parcels)])[0] is None:
        return None
    return int(one(conn, query("SELECT count(*) FROM {parcels}", parcels=parcels.sql))[0])
