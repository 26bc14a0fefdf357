"""The work queue in PostgreSQL: one task is one scene and one set of bands.

Whoever works on a task holds an advisory lock on its connection for as long as it works. A dead worker's
lock is gone with its connection, so its task is free again at once: no leases, no clean-up. A connection may
hold several [cbmctl.queue.locks].

An attempt whose worker vanished counts only where the scene may be to blame [cbmctl.queue.vanished_workers].

A task carries its bands and its method, so that a worker needs no opinion of its own: `cbmctl.queue.planning`
writes them.

`dias_catalogue.status` follows the tasks in the manual's words, always in the same transaction.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cbmctl.bandsets import Method
from cbmctl.config import Config, Tables
from cbmctl.database import query
from cbmctl.queue import rows as scene_rows
from cbmctl.queue import scene_status, states, vanished_workers
from cbmctl.queue.locks import LIVE_PARAMETERS, lock_datatake, try_task, unlock_task
from cbmctl.queue.scene_changes import update_scenes
from cbmctl.queue.statements import ASKED, DUE, ORDER, THIS, names
from cbmctl.reasons import WORKER_VANISHED, Reason

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


class Withdrawn(Exception):  # noqa: N818 - nothing is wrong
    """A task is not the worker's any more.

    It was deleted while it was being worked on: with its scene, or because another version counts.
    """


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
        "obsids": None if obsids is None else list(obsids),
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
                                  t.failed_status || ': ' || t.reason, d.reference, d.path
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
                if not try_task(conn, bandset, obsid):
                    continue  # its worker came between the look and the lock: look again
                task = found
                if state == "ready" or attempts < most:
                    _start(conn, tables, task, worker, state)
                    return task
            # another transaction, because the datatake is locked before the task
            with suppress(Withdrawn), conn.transaction():
                lock_datatake(conn, tables, task.obsid)
                text = vanished_workers.parked(attempts, reason)
                _close(conn, tables, task, states.VANISHED, failure=_failure(WORKER_VANISHED, text))
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

    Raises:
        Withdrawn: its rows must not be written.
    """
    _close(
        conn,
        tables,
        task,
        states.FINISHED,
        _found(
            parcels=parcels,
            rows=rows,
            slivers=list(slivers),
            cut=list(cut) or None,
            elsewhere=list(elsewhere) or None,
        ),
    )


def skip_scene(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Close a task whose scene meets no parcel, and the scene's other tasks, unread.

    Rows of an earlier time, of other parcels, go.

    Raises:
        Withdrawn: the task is not the worker's any more.
    """
    with conn.transaction():
        lock_datatake(conn, tables, task.obsid)
        closed = conn.execute(
            # a task that someone is claiming right now is left out: its worker will find the same
            states.change(
                tables,
                states.NO_PARCELS,
                query(
                    """(t.obsid, t.bandset) IN (
                           SELECT obsid, bandset FROM {tasks} WHERE obsid = %(obsid)s AND state = 'ready'
                           FOR UPDATE SKIP LOCKED)""",
                    **names(tables),
                ),
                also=_FOUND,
            ),
            _found(parcels=0, rows=0) | {"obsid": task.obsid},
        ).fetchall()
        scene_rows.delete(conn, tables, [(task.obsid, task.bandset), *closed])
        scene_rows.forget_offset(conn, tables, [task.obsid])
        _close(conn, tables, task, states.NO_PARCELS, _found(parcels=0, rows=0))


def fail(
    conn: psycopg.Connection,
    config: Config,
    task: Task,
    cause: Reason,
    text: str,
    *,
    lasting: bool = False,
) -> bool:
    """Give a task back for another attempt after a pause or, after the last one, park it.

    Args:
        conn: the connection that claimed the task.
        config: tells the pauses, and by their number how often a task is tried.
        task: the task.
        cause: of REASONS.
        text: one sentence.
        lasting: whether another attempt is of no use, so that the task is parked at once.

    Returns:
        Whether that was the last attempt.

    Raises:
        Withdrawn: the task is not the worker's any more.
    """
    pauses = config.extraction.retry_seconds
    with conn.transaction():
        lock_datatake(conn, config.tables, task.obsid)
        # an earlier attempt may have turned out not to count meanwhile
        counted = conn.execute(
            query("SELECT attempts FROM {tasks} WHERE obsid = %s AND bandset = %s", **names(config.tables)),
            [task.obsid, task.bandset],
        ).fetchone()
        if counted is None:
            raise Withdrawn
        attempt = max(min(task.attempt, *counted), 1)
        last = lasting or attempt > len(pauses)
        if last:
            _close(conn, config.tables, task, states.GIVEN_UP, failure=_failure(cause, text))
        else:
            failure = _failure(cause, text, pauses[attempt - 1])
            _close(conn, config.tables, task, states.RETRIED, failure=failure)
    return last


def release(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Give a task back as if it had never been claimed."""
    with conn.transaction():
        lock_datatake(conn, tables, task.obsid)
        conn.execute(states.change(tables, states.RELEASED, THIS), _key(task))
        update_scenes(conn, tables, [task.obsid])
    unlock(conn, task)


def unlock(conn: psycopg.Connection, task: Task) -> None:
    """Let go of a task, after its last transaction."""
    unlock_task(conn, task.bandset, task.obsid)


def _start(conn: psycopg.Connection, tables: Tables, task: Task, worker: str, state: str) -> None:
    conn.execute(
        states.change(
            tables,
            states.CLAIMED if state == states.READY else states.TAKEN_OVER,
            THIS,
            also=query("attempts = %(attempt)s, worker = %(worker)s, host_boot = %(host_boot)s"),
        ),
        _key(task) | {"attempt": task.attempt, "worker": worker, "host_boot": vanished_workers.boot_id()},
    )
    scene_status.begin(conn, tables, task.obsid)


def _close(
    conn: psycopg.Connection,
    tables: Tables,
    task: Task,
    event: states.Event,
    found: dict[str, Any] | None = None,
    *,
    failure: dict[str, Any] | None = None,
) -> None:
    parameters = _key(task) | {
        "bands": list(task.bands),
        "method": Jsonb(asdict(task.method)),
    }
    parameters |= (found or _found()) | (failure or {})
    outdated = query("{this} AND (t.bands, t.method) IS DISTINCT FROM (%(bands)s, %(method)s)", this=THIS)
    if not conn.execute(states.change(tables, states.OUTDATED, outdated, also=_FOUND), parameters).rowcount:
        also = sql.SQL(", ").join((_FOUND, _FAILURE)) if failure else _FOUND
        if not conn.execute(states.change(tables, event, THIS, also=also), parameters).rowcount:
            raise Withdrawn
    update_scenes(conn, tables, [task.obsid])


# a task that fails keeps what is known of the rows of an earlier time, which it has not touched
_FOUND = sql.SQL(
    """parcels = coalesce(%(parcels)s, t.parcels), rows = coalesce(%(rows)s, t.rows),
       slivers = coalesce(%(slivers)s::integer[], t.slivers),
       cut = CASE WHEN %(rows)s IS NULL THEN t.cut ELSE %(cut)s::integer[] END,
       elsewhere = CASE WHEN %(rows)s IS NULL THEN t.elsewhere ELSE %(elsewhere)s::integer[] END,
       elsewhere_seen = CASE WHEN %(rows)s IS NULL THEN t.elsewhere_seen END,
       finished_at = now()"""
)
_FAILURE = sql.SQL(
    """reason_code = %(code)s, failed_status = %(status)s, reason = %(text)s,
       not_before = clock_timestamp() + %(pause)s::integer * interval '1 s'"""
)


def _found(
    *,
    parcels: int | None = None,
    rows: int | None = None,
    slivers: list[int] | None = None,
    cut: list[int] | None = None,
    elsewhere: list[int] | None = None,
) -> dict[str, Any]:
    return {"parcels": parcels, "rows": rows, "slivers": slivers, "cut": cut, "elsewhere": elsewhere}


def _failure(cause: Reason, text: str, pause: int | None = None) -> dict[str, Any]:
    return {"code": cause.code, "status": cause.status, "text": text, "pause": pause}


def _key(task: Task) -> dict[str, Any]:
    return {"obsid": task.obsid, "bandset": task.bandset}


def _method(stored: dict[str, Any]) -> Method:
    return Method(**stored | {"cloud_classes": tuple(stored["cloud_classes"])})
