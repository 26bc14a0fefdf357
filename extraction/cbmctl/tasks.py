"""The work queue in PostgreSQL: one task is one scene and one set of bands.

Whoever works on a task holds an advisory lock on its connection for as long as it works. A dead worker's
lock is gone with its connection, so its task is free again at once: no leases, no clean-up. The lock's key is
LOCK_SPACE plus the band set's place, and the scene's id.

`dias_catalogue.status` follows the tasks in the manual's words, always in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import Config, Tables
from cbmctl.database import NO_OUT_DB, one, query
from cbmctl.errors import UserError

BANDSETS = ("scl", "10", "20")  # in the order of processing: SCL tells which scenes hold no parcels
STATES = ("ready", "running", "done", "failed")
MAX_ATTEMPTS = 3
LOCK_SPACE = 0x43424D00


@dataclass(frozen=True)
class Task:
    """A claimed task: what to read and where it lies."""

    obsid: int
    bandset: str
    attempt: int
    reference: str
    path: str | None


@dataclass(frozen=True)
class Planned:
    """What planning changed (tasks new, to be done again, no longer wanted) and what is there now."""

    created: int
    again: int
    dropped: int
    counts: Mapping[str, int]

    @property
    def changed(self) -> bool:
        """Whether planning changed the queue."""
        return bool(self.created or self.again or self.dropped)


def plan(conn: psycopg.Connection, config: Config, *, retry: bool = False, check: bool = False) -> Planned:
    """Put what is still to be extracted into the queue.

    Scenes count that meet the AOI, lie in [start, end) and have status 'ingested' or 'inprogress'. A scene
    that someone set back to 'ingested', as the manual does, is extracted again as a whole.

    Args:
        conn: a connection in no transaction.
        config: says which area, dates and bands.
        retry: also give failed tasks another three attempts.
        check: count only.

    Raises:
        UserError: there is no such AOI.
    """
    names = _names(config.tables)
    wanted = list(config.extraction.bandsets)
    scope = {
        "name": config.args.name,
        "start": config.args.start,
        "end": config.args.end,
        "wanted": wanted,
        "retry": retry,
    }
    area = query(
        "SELECT wkb_geometry FROM {aois} WHERE {field} = %(name)s",
        field=sql.Identifier(config.args.aoi_field),
        **names,
    )
    scenes = query(
        """SELECT d.id, d.status
           FROM {catalogue} d JOIN ({area}) a ON ST_Intersects(d.footprint, a.wkb_geometry)
           WHERE d.card = 's2' AND d.obstime >= %(start)s AND d.obstime < %(end)s
             AND d.status IN ('ingested', 'inprogress')""",
        area=area,
        **names,
    )
    with conn.transaction(force_rollback=check):
        if conn.execute(area, scope).fetchone() is None:
            raise UserError(
                f"{config.tables.aois} has no area '{config.args.name}': set it with cbmctl aoi set"
            )
        again = _obsids(
            conn,
            """UPDATE {tasks} t SET state = 'ready', attempts = 0, reason = NULL, worker = NULL
               WHERE t.bandset = ANY(%(wanted)s) AND (
                   (t.state = 'failed' AND %(retry)s)
                   OR (t.state IN ('done', 'failed')
                       AND t.obsid IN (SELECT id FROM ({scenes}) s WHERE s.status = 'ingested')))
               RETURNING obsid""",
            scope,
            scenes=scenes,
            **names,
        )
        created = _obsids(
            conn,
            """INSERT INTO {tasks} (obsid, bandset)
               SELECT s.id, bandset FROM ({scenes}) s, unnest(%(wanted)s::text[]) bandset
               ON CONFLICT DO NOTHING RETURNING obsid""",
            scope,
            scenes=scenes,
            **names,
        )
        dropped = _obsids(
            conn,
            "DELETE FROM {tasks} WHERE state = 'ready' AND bandset <> ALL(%(wanted)s) RETURNING obsid",
            scope,
            **names,
        )
        _settle(conn, config.tables, again + dropped)
        return Planned(len(created), len(again), len(dropped), counts(conn, config.tables))


def counts(conn: psycopg.Connection, tables: Tables) -> dict[str, int]:
    """Tasks by state."""
    found = conn.execute(
        query("SELECT state, count(*) FROM {tasks} GROUP BY state", **_names(tables))
    ).fetchall()
    return dict.fromkeys(STATES, 0) | dict(found)


def all_closed(conn: psycopg.Connection, tables: Tables) -> bool:
    """Whether no task is left to do, and none is being worked on."""
    found = counts(conn, tables)
    return not found["ready"] and not found["running"]


def claim(conn: psycopg.Connection, tables: Tables, worker: str) -> Task | None:
    """Take the next task, or one whose worker is gone; None when every open task is being worked on.

    The task stays this connection's until `unlock`, or until the connection ends. The connection must be in
    autocommit mode, so that every step below is a transaction of its own.
    """
    while True:
        with conn.transaction():
            row = conn.execute(
                query(
                    """SELECT t.obsid, t.bandset, t.attempts, t.state, d.reference, d.path
                       FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
                       WHERE t.state = 'ready' OR (t.state = 'running' AND NOT EXISTS (
                           SELECT FROM pg_locks l
                           WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.objid = t.obsid::oid
                             AND l.classid = (%(space)s + array_position(%(order)s, t.bandset))::oid
                             AND l.database = (
                                 SELECT oid FROM pg_database WHERE datname = current_database())))
                       ORDER BY array_position(%(order)s, t.bandset), t.attempts, d.obstime
                       LIMIT 1 FOR UPDATE OF t SKIP LOCKED""",
                    **_names(tables),
                ),
                {"space": LOCK_SPACE, "order": list(BANDSETS)},
            ).fetchone()
            if row is None:
                return None
            obsid, bandset, attempts, state, reference, path = row
            task = Task(obsid, bandset, attempts + 1, reference, path)
            if not one(conn, query("SELECT pg_try_advisory_lock(%s, %s)"), _lock(task))[0]:
                continue  # its worker came between the look and the lock: look again
            if state == "running" and attempts >= MAX_ATTEMPTS:
                reason = f"{attempts} workers in a row vanished with this task (memory, power or network)"
                _close(conn, tables, task, state="failed", reason=f"{NO_OUT_DB}: {reason}")
            else:
                _start(conn, tables, task, worker)
                return task
        unlock(conn, task)


def finish(conn: psycopg.Connection, tables: Tables, task: Task, *, parcels: int, rows: int) -> None:
    """Close a task. Call it in the transaction that writes its rows, and `unlock` after that.

    Args:
        conn: the connection that claimed the task.
        tables: the tables.
        task: the task.
        parcels: parcels in the image.
        rows: rows written to sigs or hists.
    """
    _close(conn, tables, task, state="done", parcels=parcels, rows=rows)


def skip_scene(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Close a task whose scene meets no parcel, and the scene's other tasks, unread."""
    with conn.transaction():
        conn.execute(
            # a task that someone is claiming right now is left out: its worker will find the same
            query(
                """UPDATE {tasks}
                   SET state = 'done', parcels = 0, rows = 0, reason = NULL, finished_at = now()
                   WHERE (obsid, bandset) IN (
                       SELECT obsid, bandset FROM {tasks} WHERE obsid = %s AND state = 'ready'
                       FOR UPDATE SKIP LOCKED)""",
                **_names(tables),
            ),
            [task.obsid],
        )
        _close(conn, tables, task, state="done", parcels=0, rows=0)


def fail(conn: psycopg.Connection, tables: Tables, task: Task, *, status: str, reason: str) -> bool:
    """Give a task back for another attempt or, after the last one, close it.

    Args:
        conn: the connection that claimed the task.
        tables: the tables.
        task: the task.
        status: the manual's word for `dias_catalogue.status`.
        reason: one sentence.

    Returns:
        Whether that was the last attempt.
    """
    last = task.attempt >= MAX_ATTEMPTS
    with conn.transaction():
        _close(conn, tables, task, state="failed" if last else "ready", reason=f"{status}: {reason}")
    return last


def release(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Give a task back as if it had never been claimed."""
    with conn.transaction():
        conn.execute(
            query(
                "UPDATE {tasks} SET state = 'ready', attempts = attempts - 1, worker = NULL"
                " WHERE obsid = %s AND bandset = %s",
                **_names(tables),
            ),
            [task.obsid, task.bandset],
        )
    unlock(conn, task)


def unlock(conn: psycopg.Connection, task: Task) -> None:
    """Let go of a task, after its last transaction."""
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", _lock(task))


def _start(conn: psycopg.Connection, tables: Tables, task: Task, worker: str) -> None:
    conn.execute(
        query(
            """UPDATE {tasks} SET state = 'running', attempts = %s, worker = %s, claimed_at = now(),
                   finished_at = NULL
               WHERE obsid = %s AND bandset = %s""",
            **_names(tables),
        ),
        [task.attempt, worker, task.obsid, task.bandset],
    )
    conn.execute(
        query(
            "UPDATE {catalogue} SET status = 'inprogress' WHERE id = %s AND status <> 'inprogress'",
            **_names(tables),
        ),
        [task.obsid],
    )


def _close(
    conn: psycopg.Connection,
    tables: Tables,
    task: Task,
    *,
    state: str,
    reason: str | None = None,
    parcels: int | None = None,
    rows: int | None = None,
) -> None:
    conn.execute(
        query(
            """UPDATE {tasks} SET state = %s, reason = %s, parcels = %s, rows = %s, finished_at = now()
               WHERE obsid = %s AND bandset = %s""",
            **_names(tables),
        ),
        [state, reason, parcels, rows, task.obsid, task.bandset],
    )
    _settle(conn, tables, [task.obsid])


def _settle(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Let the scenes' status say what their tasks have come to."""
    names = _names(tables)
    # Two workers may finish tasks of one scene at once; the second must see what the first has written.
    conn.execute(
        query("SELECT FROM {catalogue} WHERE id = ANY(%s) ORDER BY id FOR UPDATE", **names), [list(obsids)]
    )
    conn.execute(
        query(
            """UPDATE {catalogue} d
               SET status = CASE
                       WHEN t.open > 0 THEN 'inprogress'
                       WHEN t.reason IS NOT NULL THEN left(split_part(t.reason, ': ', 1), 24)
                       WHEN t.parcels = 0 THEN 'No parcels'
                       ELSE 'extracted'
                   END,
                   reason = t.reason
               FROM (
                   SELECT obsid, count(*) FILTER (WHERE state IN ('ready', 'running')) AS open,
                       min(reason) FILTER (WHERE state = 'failed') AS reason, sum(parcels) AS parcels
                   FROM {tasks} WHERE obsid = ANY(%s) GROUP BY obsid
               ) t
               WHERE d.id = t.obsid""",
            **names,
        ),
        [list(obsids)],
    )


def _obsids(
    conn: psycopg.Connection, text: LiteralString, scope: Mapping[str, Any], **names: sql.Composable
) -> list[int]:
    return [obsid for (obsid,) in conn.execute(query(text, **names), scope).fetchall()]


def _lock(task: Task) -> tuple[int, int]:
    # SQL's array_position counts from one
    return LOCK_SPACE + BANDSETS.index(task.bandset) + 1, task.obsid


def _names(tables: Tables) -> dict[str, sql.Composable]:
    return {"tasks": tables.tasks.sql, "catalogue": tables.catalogue.sql, "aois": tables.aois.sql}
