"""The work queue in PostgreSQL: one task is one scene and one set of bands.

Whoever works on a task holds an advisory lock on its connection for as long as it works. A dead worker's
lock is gone with its connection, so its task is free again at once: no leases, no clean-up. A connection may
hold several [cbmctl.queue.locks].

An attempt whose worker vanished counts only where the scene may be to blame [cbmctl.queue.vanished_workers].

A task carries its bands and its method, so that a worker needs no opinion of its own: `cbmctl.queue.planning`
writes them.

A task whose rows are there is done again for new parcels alone, a delta: what it finds is added to what there
is [cbmctl.queue.parcel_changes].

`dias_catalogue.status` follows the tasks in the manual's words, always in the same transaction.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from cbmctl.config import Config, Tables
from cbmctl.config.extraction import Method
from cbmctl.database import query
from cbmctl.queue import extracted_rows, parcel_sets, scene_status, states, task_outcome, vanished_workers
from cbmctl.queue.locks import LIVE_PARAMETERS, lock_datatake, try_task, unlock_task
from cbmctl.queue.scene_changes import update_scenes
from cbmctl.queue.statements import ASKED, DUE, ORDER, THIS, names
from cbmctl.reasons import WORKER_VANISHED, Reason

_FEW = 100  # more than there are workers that claim at the same instant


@dataclass(frozen=True)
class Task:
    """A claimed task: what to read, how, and where it lies.

    Attributes:
        version: of the set of parcels, when the task was claimed.
        covered: only parcels that came after this version are to be read; None means all.
    """

    obsid: int
    card: str
    bandset: str
    bands: tuple[str, ...]
    method: Method
    attempt: int
    reference: str
    path: str | None
    version: int = 1
    covered: int | None = None


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
                                  t.failed_status || ': ' || t.reason, d.reference, d.path, {version},
                                  t.parcels_covered
                           FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
                           WHERE {due} AND (t.obsid, t.bandset) IN (
                               SELECT t.obsid, t.bandset FROM {tasks} t JOIN {catalogue} d ON d.id = t.obsid
                               WHERE {due} AND NOT {live} ORDER BY {order} LIMIT %(few)s)
                           ORDER BY {order} LIMIT 1 FOR UPDATE OF t SKIP LOCKED""",
                        due=DUE.format(asked=ASKED, vanished=tables.vanished.sql),
                        order=ORDER,
                        version=query(parcel_sets.VERSION, **parcel_sets.names(tables)),
                        **names(tables),
                    ),
                    parameters,
                ).fetchone()
                if row is None:
                    return None
                obsid, card, bandset, bands, method, attempts, state, reason, *place = row
                found = Task(obsid, card, bandset, tuple(bands), _method(method), attempts + 1, *place)
                if not try_task(conn, tables, bandset, obsid):
                    continue  # its worker came between the look and the lock: look again
                task = found
                if state == "ready" or attempts < most:
                    _start(conn, tables, task, worker, state)
                    return task
            # another transaction, because the datatake is locked before the task
            with suppress(Withdrawn), conn.transaction():
                lock_datatake(conn, tables, task.obsid)
                text = vanished_workers.parked(attempts, reason)
                _close(conn, tables, task, states.VANISHED, task_outcome.Failure(WORKER_VANISHED, text))
        except psycopg.Error:
            # the lock is the session's: a transaction that is rolled back does not give it up
            if task and not conn.broken:
                unlock(conn, tables, task)
            raise
        if task:
            unlock(conn, tables, task)


def finish(
    conn: psycopg.Connection,
    tables: Tables,
    task: Task,
    *,
    parcels: int,
    rows: int,
    version: int | None = None,
    slivers: Sequence[int] = (),
    cut: Sequence[int] = (),
    elsewhere: Sequence[int] = (),
) -> None:
    """Close a task. Call it in the transaction that writes its rows and that began with `lock_datatake`.

    `unlock` after that.

    It stays to be done when other bands or another method have been asked for meanwhile, and for new parcels
    that came after those that were read. Of a delta, all numbers and lists are added to those that exist.

    Args:
        conn: the connection that claimed the task.
        tables: the tables.
        task: the task.
        parcels: parcels in the image.
        rows: rows written to sigs or hists.
        version: of the set of parcels that was read; that of the claim unless it is given.
        slivers: parcels that hold no pixel centre, so that they can have no row.
        cut: parcels that reach beyond the image.
        elsewhere: parcels that were left out, because another scene of the datatake has them.

    Raises:
        Withdrawn: its rows must not be written.
    """
    gone_rows, gone_parcels = (
        (0, 0) if task.covered is not None else extracted_rows.of_gone(conn, tables, task.obsid, task.bandset)
    )
    _close(
        conn,
        tables,
        task,
        states.FINISHED,
        task_outcome.Found(
            parcels=parcels + gone_parcels,
            rows=rows + gone_rows,
            version=task.version if version is None else version,
            slivers=list(slivers),
            cut=list(cut) or None,
            elsewhere=list(elsewhere) or None,
        ),
    )


def skip(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Close a task that has no parcel to read.

    Raises:
        Withdrawn: the task is not the worker's any more.
    """
    if task.covered is None:
        skip_scene(conn, tables, task)
        return
    with conn.transaction():
        lock_datatake(conn, tables, task.obsid)
        finish(conn, tables, task, parcels=0, rows=0)


def skip_scene(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Close a task whose scene meets no parcel, and the scene's other tasks, unread.

    If parcels came to the scene meanwhile, the other tasks stay to be done. Rows of an earlier time, of other
    parcels, go; those of parcels that are gone stay, and count as parcels that the scene shows.

    Raises:
        Withdrawn: the task is not the worker's any more.
    """
    with conn.transaction():
        lock_datatake(conn, tables, task.obsid)
        # a task that someone is claiming right now is left out: its worker will find the same. Parcels that
        # came since the claim are asked of this task, and not of those that nobody has begun
        ready = conn.execute(
            query(
                """SELECT bandset FROM {tasks}
                   WHERE obsid = %(obsid)s AND state = 'ready' AND %(version)s >= (
                       SELECT max(parcels_asked) FROM {tasks} WHERE obsid = %(obsid)s)
                   FOR UPDATE SKIP LOCKED""",
                **names(tables),
            ),
            {"obsid": task.obsid, "version": task.version},
        ).fetchall()
        bandsets = [task.bandset, *(bandset for (bandset,) in ready)]
        extracted_rows.delete(conn, tables, [(task.obsid, bandset) for bandset in bandsets], keep_gone=True)
        kept = [extracted_rows.of_gone(conn, tables, task.obsid, bandset) for bandset in bandsets]
        if not any(rows for rows, _ in kept):
            extracted_rows.forget_offset(conn, tables, [task.obsid])
        found = [
            task_outcome.Found(parcels=parcels, rows=rows, version=task.version) for rows, parcels in kept
        ]
        for bandset, nothing in zip(bandsets[1:], found[1:], strict=True):
            task_outcome.close_unread(conn, tables, task.obsid, bandset, nothing)
        _close(conn, tables, task, states.NO_PARCELS, found[0])


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
            _close(conn, config.tables, task, states.GIVEN_UP, task_outcome.Failure(cause, text))
        else:
            failure = task_outcome.Failure(cause, text, pauses[attempt - 1])
            _close(conn, config.tables, task, states.RETRIED, failure)
    return last


def release(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Give a task back as if it had never been claimed."""
    with conn.transaction():
        lock_datatake(conn, tables, task.obsid)
        conn.execute(states.change(tables, states.RELEASED, THIS), _key(task))
        update_scenes(conn, tables, [task.obsid], pids=None if task.covered is None else [])
    unlock(conn, tables, task)


def unlock(conn: psycopg.Connection, tables: Tables, task: Task) -> None:
    """Let go of a task, after its last transaction."""
    unlock_task(conn, tables, task.bandset, task.obsid)


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
    if task.covered is None:
        scene_status.begin(conn, tables, task.obsid)


def _close(
    conn: psycopg.Connection,
    tables: Tables,
    task: Task,
    event: states.Event,
    record: task_outcome.Record,
) -> None:
    claimed = _key(task) | {
        "bands": list(task.bands),
        "method": Jsonb(asdict(task.method)),
        "covered": task.covered,
    }
    if not task_outcome.close(conn, tables, claimed, event, record):
        raise Withdrawn
    pids = None if task.covered is None else parcel_sets.read_by_all(conn, tables, task.obsid, task.covered)
    update_scenes(conn, tables, [task.obsid], pids=pids)


def _key(task: Task) -> dict[str, Any]:
    return {"obsid": task.obsid, "bandset": task.bandset}


def _method(stored: dict[str, Any]) -> Method:
    return Method(**stored | {"cloud_classes": tuple(stored["cloud_classes"])})
