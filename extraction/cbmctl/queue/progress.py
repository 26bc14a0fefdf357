"""How far the extraction is: read-only, and cheap enough to be asked every few seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from cbmctl.config import Config, Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import one, query
from cbmctl.queue.locks import LIVE_PARAMETERS
from cbmctl.queue.statements import names
from cbmctl.queue.states import STATES


@dataclass(frozen=True)
class Status:
    """The state of the database.

    Attributes:
        scenes: card, status and count, as the manual's query has it.
        tasks: by band set, the number of tasks in each state.
        running_tasks: reference, bandset, attempt, worker, whether that worker is alive (a dead one's task is
            taken over as soon as somebody is free), since when, and the seconds from then on.
        waiting_tasks: reference, bandset, attempts, reason_code, status, reason, not_before and the seconds
            until then, of each that has failed and is to be tried again.
        failed_tasks: reference, bandset, attempts, reason_code, status and reason of each that was given up.
        parcel_changes: by version of the set of parcels, the number of scenes that show its new parcels, of
            these done, and of these with a task that failed.
        parcels: rows of the parcel table; None when there is none.
        sigs: rows that the extraction has written, without those of archived scenes. Counted by task:
            counting 100 million rows takes a minute.
        hists: likewise.
    """

    scenes: list[dict[str, Any]]
    tasks: dict[str, dict[str, int]]
    running_tasks: list[dict[str, Any]]
    waiting_tasks: list[dict[str, Any]]
    failed_tasks: list[dict[str, Any]]
    parcel_changes: list[dict[str, Any]]
    parcels: int | None
    sigs: int
    hists: int


def counts(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int] | None = None) -> dict[str, int]:
    """Tasks by state, of all scenes or of some."""
    found = conn.execute(
        query("SELECT state, count(*) FROM {tasks} t WHERE {asked} GROUP BY state", **names(tables)),
        {"obsids": None if obsids is None else list(obsids)},
    ).fetchall()
    return dict.fromkeys(STATES, 0) | dict(found)


def all_closed(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int] | None = None) -> bool:
    """Whether no task is left to do, also not later, and none is being worked on."""
    found = counts(conn, tables, obsids)
    return not found["ready"] and not found["running"]


def read(conn: psycopg.Connection, config: Config) -> Status:
    """Read the state."""
    scenes = _rows(
        conn, config, "SELECT card, status, count(*) FROM {catalogue} GROUP BY card, status ORDER BY 1, 2"
    )
    running = _rows(
        conn,
        config,
        """SELECT d.reference, t.bandset, t.attempts AS attempt, t.worker, {live} AS alive,
               t.claimed_at AS since, extract(epoch FROM now() - t.claimed_at)::integer AS seconds
           FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
           WHERE t.state = 'running' ORDER BY t.claimed_at, d.id""",
    )
    waiting = _rows(
        conn,
        config,
        """SELECT d.reference, t.bandset, t.attempts, t.reason_code, t.failed_status AS status, t.reason,
               t.not_before,
               greatest(ceil(extract(epoch FROM t.not_before - now())), 0)::integer AS seconds
           FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
           WHERE t.state = 'ready' AND t.attempts > 0 ORDER BY t.not_before NULLS FIRST, d.id""",
    )
    tasks: dict[str, dict[str, int]] = {}
    rows = dict.fromkeys(BANDSETS, 0)
    for found in _rows(
        conn,
        config,
        """SELECT bandset, state, count(*),
               coalesce(sum(rows) FILTER (WHERE d.status <> 'archived'), 0)::bigint AS written
           FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
           GROUP BY bandset, state ORDER BY array_position(%(order)s, bandset)""",
    ):
        tasks.setdefault(found["bandset"], dict.fromkeys(STATES, 0))[found["state"]] = found["count"]
        rows[found["bandset"]] += found["written"]
    return Status(
        scenes=scenes,
        tasks=tasks,
        running_tasks=running,
        waiting_tasks=waiting,
        failed_tasks=failed_tasks(conn, config),
        parcel_changes=_rows(
            conn,
            config,
            """SELECT version, count(*) AS scenes, count(*) FILTER (WHERE done) AS done,
                   count(*) FILTER (WHERE failed) AS failed
               FROM (
                   SELECT max(parcels_asked) AS version, bool_and(state = 'done') AS done,
                       bool_or(state = 'failed') AS failed
                   FROM {tasks} WHERE parcels_asked > 1 GROUP BY obsid
               ) scene
               GROUP BY version ORDER BY version""",
        ),
        parcels=_parcels(conn, config),
        sigs=sum(written for bandset, written in rows.items() if bandset != "scl"),
        hists=rows["scl"],
    )


def failed_tasks(
    conn: psycopg.Connection, config: Config, obsids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Read `Status.failed_tasks`, of all scenes or of some."""
    return _rows(
        conn,
        config,
        """SELECT d.reference, t.bandset, t.attempts, t.reason_code, t.failed_status AS status, t.reason
           FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
           WHERE t.state = 'failed' AND {asked}
           ORDER BY d.obstime, d.id, array_position(%(order)s, t.bandset)""",
        obsids,
    )


def _rows(
    conn: psycopg.Connection, config: Config, text: LiteralString, obsids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    parameters = LIVE_PARAMETERS | {"obsids": None if obsids is None else list(obsids)}
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query(text, **names(config.tables)), parameters).fetchall()


def _parcels(conn: psycopg.Connection, config: Config) -> int | None:
    parcels = config.tables.parcels
    if one(conn, query("SELECT to_regclass(%s)"), [str(parcels)])[0] is None:
        return None
    return int(one(conn, query("SELECT count(*) FROM {parcels}", parcels=parcels.sql))[0])
