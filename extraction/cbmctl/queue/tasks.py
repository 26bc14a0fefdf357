"""The work queue in PostgreSQL: one task is one scene and one set of bands.

Whoever works on a task holds an advisory lock on its connection for as long as it works. A dead worker's
lock is gone with its connection, so its task is free again at once: no leases, no clean-up. The lock's key is
LOCK_SPACE plus the band set's place in BANDSETS, and the scene's id. A connection may hold several.

An attempt whose worker vanished counts only where the scene may be to blame [cbmctl.queue.vanished_workers].

A task carries its bands and its method, so that a worker needs no opinion of its own: `cbmctl.queue.planning`
writes them.

`dias_catalogue.status` follows the tasks in the manual's words, always in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from cbmctl.bandsets import BANDSETS, Method
from cbmctl.config import Config, Tables
from cbmctl.database import one, query
from cbmctl.queue import vanished_workers
from cbmctl.queue.overlap import lock as lock_datatake
from cbmctl.queue.scene_status import delete_rows, settle
from cbmctl.queue.statements import ASKED, DUE, LIVE_PARAMETERS, LOCK_SPACE, ORDER, names

STATES = ("ready", "running", "done", "failed")
_FEW = 100  # more than there are workers that claim at the same instant


@dataclass(frozen=True)
class Task:
    """A claimed task: what to read, how, and where it lies."""

    obsid: int
    card: str
    bandset: str
    bands: tuple[str, ...]
    method: Method
    attempt: int
    reference: str
    path: str | None


def counts(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int] | None = None) -> dict[str, int]:
    """Tasks by state, of all scenes or of some."""
    found = conn.execute(
        query("SELECT state, count(*) FROM {tasks} t WHERE {asked} GROUP BY state", **names(tables)),
        {"obsids": _array(obsids)},
    ).fetchall()
    return dict.fromkeys(STATES, 0) | dict(found)


def all_closed(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int] | None = None) -> bool:
    """Whether no task is left to do, also not later, and none is being worked on."""
    found = counts(conn, tables, obsids)
    return not found["ready"] and not found["running"]


def claim(
    conn: psycopg.Connection,
    config: Config,
    worker: str,
    *,
    fresh_only: bool = False,
    obsids: Sequence[int] | None = None,
) -> Task | None:
    """Take the next task, or one whose worker is gone.

    The task stays this connection's until `unlock`, or until the connection ends. The connection must be in
    autocommit mode and in no transaction, so that every step below is a transaction of its own.

    Args:
        conn: may hold other tasks.
        config: tells how often a task is tried.
        worker: the name to be shown.
        fresh_only: only a task that nobody has tried yet.
        obsids: only tasks of these scenes.

    Returns:
        None when there is nothing to do now: others work on what is open, or it waits for its next attempt.
    """
    tables = config.tables
    most = len(config.extraction.retry_seconds) + 1
    parameters = LIVE_PARAMETERS | {
        "fresh": fresh_only,
        "obsids": _array(obsids),
        "few": _FEW,
        "attempts": most,
        "together": vanished_workers.TOGETHER_S,
    }
    while True:
        task: Task | None = None
        held = vanished_workers.notice(conn, tables, worker)
        parameters |= {"held": [obsid for obsid, _ in held], "held_sets": [bandset for _, bandset in held]}
        try:
            with conn.transaction():
                row = conn.execute(
                    query(
                        # found and locked in two steps: only so the first few can be had without sorting all
                        """SELECT t.obsid, d.card, t.bandset, t.bands, t.method, t.attempts, t.state,
                                  t.reason, d.reference, d.path
                           FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
                           WHERE {due} AND (t.obsid, t.bandset) IN (
                               SELECT t.obsid, t.bandset FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
                               WHERE {due} AND NOT {live} ORDER BY {order} LIMIT %(few)s)
                           ORDER BY {order} LIMIT 1 FOR UPDATE OF t SKIP LOCKED""",
                        due=DUE.format(asked=ASKED, vanished=tables.vanished.sql),
                        order=ORDER,
                        **names(tables),
                    ),
                    parameters,
                ).fetchone()
                if row is None:
                    return None
                obsid, card, bandset, bands, method, attempts, state, reason, reference, path = row
                found = Task(
                    obsid, card, bandset, tuple(bands), _method(method), attempts + 1, reference, path
                )
                if not one(conn, query("SELECT pg_try_advisory_lock(%s, %s)"), _lock(found))[0]:
                    continue  # its worker came between the look and the lock: look again
                task = found
                if state == "ready" or attempts < most:
                    _start(conn, tables, task, worker)
                    return task
            with conn.transaction():  # another one, because the datatake is locked before the task
                lock_datatake(conn, tables, task.obsid)
                _close(conn, tables, task, state="failed", reason=vanished_workers.parked(attempts, reason))
        except psycopg.Error:
            # the lock is the session's: a transaction that is rolled back does not give it up
            if task and not conn.broken:
                unlock(conn, task)
            raise
        if task:
            unlock(conn, task)


def finish(
    conn: psycopg.Connection,
    tables: Tables,
    task: Task,
    *,
    parcels: int,
    rows: int,
    slivers: Sequence[int] = (),
    cut: Sequence[int] = (),
    elsewhere: Sequence[int] = (),
) -> None:
    """Close a task. Call it in the transaction that writes its rows and that began with `lock_datatake`.

    `unlock` after that.

    It stays to be done when other bands or another method have been asked for meanwhile.

    Args:
        conn: the connection that claimed the task.
        tables: the tables.
        task: the task.
        parcels: parcels in the image.
        rows: rows written to sigs or hists.
        slivers: parcels that hold no pixel centre, so that they can have no row.
        cut: parcels that reach beyond the image.
        elsewhere: parcels that were left out, because another scene of the datatake has them.
    """
    _close(
        conn,
        tables,
        task,
        state="done",
        parcels=parcels,
        rows=rows,
        slivers=list(slivers),
        cut=list(cut) or None,
        elsewhere=list(elsewhere) or None,
    )


def skip_scene(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Close a task whose scene meets no parcel, and the scene's other tasks, unread.

    Rows of an earlier time, of other parcels, go.
    """
    with conn.transaction():
        lock_datatake(conn, tables, task.obsid)
        closed = conn.execute(
            # a task that someone is claiming right now is left out: its worker will find the same
            query(
                """UPDATE {tasks}
                   SET state = 'done', parcels = 0, rows = 0, reason = NULL, not_before = NULL,
                       cut = NULL, elsewhere = NULL, elsewhere_seen = NULL, finished_at = now()
                   WHERE (obsid, bandset) IN (
                       SELECT obsid, bandset FROM {tasks} WHERE obsid = %s AND state = 'ready'
                       FOR UPDATE SKIP LOCKED)
                   RETURNING bandset""",
                **names(tables),
            ),
            [task.obsid],
        ).fetchall()
        delete_rows(conn, tables, [(task.obsid, bandset) for (bandset,) in [(task.bandset,), *closed]])
        conn.execute(
            query("UPDATE {catalogue} SET applied_offset = NULL WHERE id = %s", **names(tables)), [task.obsid]
        )
        _close(conn, tables, task, state="done", parcels=0, rows=0)


def fail(
    conn: psycopg.Connection,
    config: Config,
    task: Task,
    *,
    status: str,
    reason: str,
    lasting: bool = False,
) -> bool:
    """Give a task back for another attempt after a pause or, after the last one, park it.

    Args:
        conn: the connection that claimed the task.
        config: tells the pauses, and by their number how often a task is tried.
        task: the task.
        status: the manual's word for `dias_catalogue.status`.
        reason: one sentence.
        lasting: whether another attempt is of no use, so that the task is parked at once.

    Returns:
        Whether that was the last attempt.
    """
    pauses = config.extraction.retry_seconds
    with conn.transaction():
        lock_datatake(conn, config.tables, task.obsid)
        # an earlier attempt may have turned out not to count meanwhile
        counted = one(
            conn,
            query("SELECT attempts FROM {tasks} WHERE obsid = %s AND bandset = %s", **names(config.tables)),
            [task.obsid, task.bandset],
        )
        attempt = max(min(task.attempt, *counted), 1)
        last = lasting or attempt > len(pauses)
        state, pause = ("failed", None) if last else ("ready", pauses[attempt - 1])
        _close(conn, config.tables, task, state=state, reason=f"{status}: {reason}", pause=pause)
    return last


def release(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Give a task back as if it had never been claimed."""
    with conn.transaction():
        lock_datatake(conn, tables, task.obsid)
        conn.execute(
            query(
                "UPDATE {tasks} SET state = 'ready', attempts = attempts - 1, worker = NULL"
                " WHERE obsid = %s AND bandset = %s",
                **names(tables),
            ),
            [task.obsid, task.bandset],
        )
        settle(conn, tables, [task.obsid])
    unlock(conn, task)


def unlock(conn: psycopg.Connection, task: Task) -> None:
    """Let go of a task, after its last transaction."""
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", _lock(task))


def _start(conn: psycopg.Connection, tables: Tables, task: Task, worker: str) -> None:
    conn.execute(
        query(
            """UPDATE {tasks} SET state = 'running', attempts = %s, worker = %s,
                   claimed_at = clock_timestamp(), finished_at = NULL, not_before = NULL, host_boot = %s,
                   server_start = pg_postmaster_start_time()
               WHERE obsid = %s AND bandset = %s""",
            **names(tables),
        ),
        [task.attempt, worker, vanished_workers.boot_id(), task.obsid, task.bandset],
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
    pause: int | None = None,
    slivers: list[int] | None = None,
    cut: list[int] | None = None,
    elsewhere: list[int] | None = None,
) -> None:
    parameters = asdict(task) | {
        "bands": list(task.bands),
        "method": Jsonb(asdict(task.method)),
        "state": state,
        "reason": reason,
        "parcels": parcels,
        "rows": rows,
        "pause": pause,
        "slivers": slivers,
        "cut": cut,
        "elsewhere": elsewhere,
    }
    conn.execute(
        query(
            # a task that fails keeps what is known of the rows of an earlier time, which it has not touched
            """UPDATE {tasks}
               SET (state, attempts, reason, not_before) = (
                       SELECT CASE WHEN same THEN %(state)s ELSE 'ready' END,
                           CASE WHEN same THEN attempts ELSE 0 END,
                           CASE WHEN same THEN %(reason)s::text END,
                           CASE WHEN same THEN clock_timestamp() + %(pause)s::integer * interval '1 s' END
                       FROM (VALUES (bands = %(bands)s AND method = %(method)s)) AS asked (same)),
                   parcels = coalesce(%(parcels)s, parcels), rows = coalesce(%(rows)s, rows),
                   slivers = coalesce(%(slivers)s::integer[], slivers),
                   cut = CASE WHEN %(rows)s IS NULL THEN cut ELSE %(cut)s::integer[] END,
                   elsewhere = CASE WHEN %(rows)s IS NULL THEN elsewhere ELSE %(elsewhere)s::integer[] END,
                   elsewhere_seen = CASE WHEN %(rows)s IS NULL THEN elsewhere_seen END,
                   finished_at = now()
               WHERE obsid = %(obsid)s AND bandset = %(bandset)s""",
            **names(tables),
        ),
        parameters,
    )
    settle(conn, tables, [task.obsid])


def _method(stored: dict[str, Any]) -> Method:
    return Method(**stored | {"cloud_classes": tuple(stored["cloud_classes"])})


def _lock(task: Task) -> tuple[int, int]:
    # SQL's array_position counts from one
    return LOCK_SPACE + list(BANDSETS).index(task.bandset) + 1, task.obsid


def _array(obsids: Sequence[int] | None) -> list[int] | None:
    return None if obsids is None else list(obsids)
