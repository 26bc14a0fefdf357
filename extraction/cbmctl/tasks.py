"""The work queue in PostgreSQL: one task is one scene and one set of bands.

Whoever works on a task holds an advisory lock on its connection for as long as it works. A dead worker's
lock is gone with its connection, so its task is free again at once: no leases, no clean-up. The lock's key is
LOCK_SPACE plus the band set's place, and the scene's id.

A task carries its bands, so that a worker needs no opinion of its own: `cbmctl.planning` writes them.

`dias_catalogue.status` follows the tasks in the manual's words, always in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import NO_OUT_DB, one, query

BANDSETS = ("scl", "10", "20")  # in the order of processing: SCL tells which scenes hold no parcels
STATES = ("ready", "running", "done", "failed")
MAX_ATTEMPTS = 3
LOCK_SPACE = 0x43424D00

# Whether somebody works on the task t; takes LIVE_PARAMETERS.
LIVE = sql.SQL(
    """EXISTS (
           SELECT FROM pg_locks l
           WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.objid = t.obsid::oid
             AND l.classid = (%(space)s + array_position(%(order)s, t.bandset))::oid
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
)
LIVE_PARAMETERS = {"space": LOCK_SPACE, "order": list(BANDSETS)}


@dataclass(frozen=True)
class Task:
    """A claimed task: what to read and where it lies."""

    obsid: int
    bandset: str
    bands: tuple[str, ...]
    attempt: int
    reference: str
    path: str | None


def counts(conn: psycopg.Connection, tables: Tables) -> dict[str, int]:
    """Tasks by state."""
    found = conn.execute(
        query("SELECT state, count(*) FROM {tasks} GROUP BY state", **names(tables))
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
                    """SELECT t.obsid, t.bandset, t.bands, t.attempts, t.state, d.reference, d.path
                       FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
                       WHERE t.state = 'ready' OR (t.state = 'running' AND NOT {live})
                       ORDER BY array_position(%(order)s, t.bandset), t.attempts, d.obstime
                       LIMIT 1 FOR UPDATE OF t SKIP LOCKED""",
                    live=LIVE,
                    **names(tables),
                ),
                LIVE_PARAMETERS,
            ).fetchone()
            if row is None:
                return None
            obsid, bandset, bands, attempts, state, reference, path = row
            task = Task(obsid, bandset, tuple(bands), attempts + 1, reference, path)
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

    It stays to be done when other bands have been asked for meanwhile.

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
                **names(tables),
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
                **names(tables),
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
            **names(tables),
        ),
        [task.attempt, worker, task.obsid, task.bandset],
    )
    conn.execute(
        query(
            "UPDATE {catalogue} SET status = 'inprogress' WHERE id = %s AND status <> 'inprogress'",
            **names(tables),
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
            # a task that fails keeps what is known of the rows of an earlier time, which it has not touched
            """UPDATE {tasks}
               SET state = CASE WHEN bands = %s THEN %s ELSE 'ready' END, reason = %s,
                   parcels = coalesce(%s, parcels), rows = coalesce(%s, rows), finished_at = now()
               WHERE obsid = %s AND bandset = %s""",
            **names(tables),
        ),
        [list(task.bands), state, reason, parcels, rows, task.obsid, task.bandset],
    )
    settle(conn, tables, [task.obsid])


def settle(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Let the scenes' status say what their tasks have come to."""
    # Two workers may finish tasks of one scene at once; the second must see what the first has written.
    conn.execute(
        query("SELECT FROM {catalogue} WHERE id = ANY(%s) ORDER BY id FOR UPDATE", **names(tables)),
        [list(obsids)],
    )
    conn.execute(
        query(
            """UPDATE {catalogue} d
               SET status = CASE
                       WHEN t.tasks = 0 THEN 'ingested'
                       WHEN t.open > 0 THEN 'inprogress'
                       WHEN t.reason IS NOT NULL THEN left(split_part(t.reason, ': ', 1), 24)
                       WHEN t.parcels = 0 THEN 'No parcels'
                       ELSE 'extracted'
                   END,
                   reason = t.reason
               FROM (
                   SELECT id, count(obsid) AS tasks,
                       count(*) FILTER (WHERE state IN ('ready', 'running')) AS open,
                       min(reason) FILTER (WHERE state = 'failed') AS reason, sum(parcels) AS parcels
                   FROM unnest(%s::integer[]) id LEFT JOIN {tasks} ON obsid = id GROUP BY id
               ) t
               WHERE d.id = t.id""",
            **names(tables),
        ),
        [list(obsids)],
    )


def _lock(task: Task) -> tuple[int, int]:
    # SQL's array_position counts from one
    return LOCK_SPACE + BANDSETS.index(task.bandset) + 1, task.obsid


def names(tables: Tables) -> dict[str, sql.Composable]:
    """The tables that the queue's statements name."""
    return {"tasks": tables.tasks.sql, "catalogue": tables.catalogue.sql, "aois": tables.aois.sql}
