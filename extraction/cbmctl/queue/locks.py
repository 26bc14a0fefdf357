"""Every lock of the queue, and the one order in which a transaction takes them, so that none deadlocks.

The order is that of `Lock`; each function refuses to take a lock after a later one. ALTER TABLE, DROP TABLE
and TRUNCATE lock their table against readers, too: whoever uses them locks it here before.

Rows of other scenes of a datatake change only under its lock, or under the lock of the whole queue. The task
of a worker is locked by the worker's connection, not by a transaction, for as long as the worker works. Such
locks are tried, never waited for. So are the rows of tasks that `cbmctl.queue.tasks` selects with SKIP
LOCKED.

Each season has locks of its own: seasons have the same ids of scenes. Two seasons whose names have the same
checksum share them; a worker then leaves a task until the other season's task of the same number is done.
"""

import time
import zlib
from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql

from cbmctl.config import PUBLIC, TableName, Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import one, query
from cbmctl.errors import UserError

# Keys of advisory locks of the season in `public`: of tasks, this plus the band set's place in BANDSETS, and
# the scene's id. Those of other seasons: `lock_space`.
LOCK_SPACE = 0x43424D00
_ARCHIVE, _VANISHED, _DATATAKE = 0xFD, 0xFE, 0xFF
# The server notices a moment late that the connection of an earlier command has ended.
ARCHIVE_PATIENCE_S = 10
# Two minutes in all, of which workers wait for one.
TABLE_PATIENCE_S, TABLE_PAUSE_S, TABLE_ATTEMPTS = 5.0, 5.0, 12
LIVE_PARAMETERS: dict[str, Any] = {"order": list(BANDSETS)}


class Lock(IntEnum):
    """What is locked, first to last.

    Attributes:
        PARCELS: the table of parcel sets.
        VANISHED: the list of vanished workers.
        DATATAKE: a datatake, by an advisory lock.
        QUEUE: the table of tasks: for a worker, or as a whole.
        RESULTS: the tables sigs and hists.
        PARCEL_TABLES: tables of parcels and what is made of them, against readers.
        SCENES: rows of tasks, then of the catalogue.
        READER: the table of parcels against those who alter it; the only lock of its transaction.
    """

    PARCELS = 1
    VANISHED = 2
    DATATAKE = 3
    QUEUE = 4
    RESULTS = 5
    PARCEL_TABLES = 6
    SCENES = 7
    READER = 8


# By connection: when its transaction began, the last lock, and whether the queue as a whole is locked.
_held: WeakKeyDictionary[psycopg.Connection, tuple[datetime, Lock, bool]] = WeakKeyDictionary()


def lock_space(tables: Tables) -> int:
    """Return the first of the 256 keys of a season's advisory locks."""
    if tables.schema == PUBLIC:
        return LOCK_SPACE
    # PostgreSQL's keys are signed, so the first bit is left out
    return (zlib.crc32(tables.schema.encode()) & 0x7FFFFF) << 8


def lock_parcel_sets(conn: psycopg.Connection, tables: Tables) -> None:
    """Let no other load or rasterisation begin until the transaction ends; everyone may read."""
    _in_order(conn, Lock.PARCELS)
    conn.execute(query("LOCK TABLE {sets} IN SHARE ROW EXCLUSIVE MODE", sets=tables.parcel_sets.sql))


def lock_parcel_table_shared(conn: psycopg.Connection, tables: Tables) -> None:
    """Let nobody rewrite or replace the parcel table until the transaction ends; everyone may change rows.

    To be called before any statement of a REPEATABLE READ transaction. Its snapshot would be older than a
    table that was rewritten while the statement waited, and would show that table without rows. So the order
    of locks is checked only afterwards: the transaction must take no other lock.
    """
    conn.execute(query("LOCK TABLE {parcels} IN ACCESS SHARE MODE", parcels=tables.parcels.sql))
    _in_order(conn, Lock.READER)


def lock_vanished(conn: psycopg.Connection, tables: Tables) -> None:
    """Let nobody else enter vanished workers until the transaction ends."""
    _in_order(conn, Lock.VANISHED)
    conn.execute("SELECT pg_advisory_xact_lock(%s, 0)", [lock_space(tables) + _VANISHED])


def lock_datatake(conn: psycopg.Connection, tables: Tables, obsid: int) -> None:
    """Let no other worker close a task of this scene's datatake or acquisition until the transaction ends."""
    _in_order(conn, Lock.DATATAKE)
    conn.execute(
        query(
            """SELECT pg_advisory_xact_lock(%s, hashtext(sensor || to_char(obstime, 'YYYYMMDDHH24MISS')))
               FROM {catalogue} WHERE id = %s""",
            catalogue=tables.catalogue.sql,
        ),
        [lock_space(tables) + _DATATAKE, obsid],
    )
    _in_order(conn, Lock.QUEUE)
    # not only at the task itself, which comes after its rows
    conn.execute(query("LOCK TABLE {tasks} IN ROW EXCLUSIVE MODE", tasks=tables.tasks.sql))


def lock_queue(conn: psycopg.Connection, tables: Tables) -> None:
    """Let no worker claim or close a task, and nobody else plan, until the transaction ends."""
    _in_order(conn, Lock.QUEUE, whole=True)
    conn.execute(query("LOCK TABLE {tasks} IN EXCLUSIVE MODE", tasks=tables.tasks.sql))


def lock_parcel_tables(
    conn: psycopg.Connection, tables: Tables, parcels: Sequence[TableName], *, queue: bool
) -> None:
    """Let nobody read tables of parcels until the transaction ends, because they are altered or replaced.

    Whoever has read them in a transaction that is still open must end it first. Meanwhile others that read
    them wait, and so do workers; so all locks are let go again between the attempts.

    Args:
        conn: a connection in a transaction.
        tables: the tables.
        parcels: the tables of parcels; one that does not exist is left out.
        queue: whether to lock the queue before, as must be done if workers are not known to be stopped, or
            if the transaction locks the queue later: a worker reads the parcels while it holds the queue.

    Raises:
        UserError: a table was in use in each attempt.
    """
    there = [name for name in parcels if one(conn, query("SELECT to_regclass(%s)"), [str(name)])[0]]
    if not there:
        return
    names = {"parcels": sql.SQL(", ").join(name.sql for name in there)}
    for attempt in range(TABLE_ATTEMPTS):
        if attempt:
            time.sleep(TABLE_PAUSE_S)
        try:
            with conn.transaction():
                if queue:
                    lock_queue(conn, tables)
                _in_order(conn, Lock.PARCEL_TABLES)
                patience = sql.Literal(f"{TABLE_PATIENCE_S * 1000:.0f}ms")
                conn.execute(query("SET LOCAL lock_timeout = {patience}", patience=patience))
                conn.execute(query("LOCK TABLE {parcels} IN ACCESS EXCLUSIVE MODE", **names))
                conn.execute("SET LOCAL lock_timeout TO DEFAULT")
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            continue
        return
    holders = conn.execute(
        """SELECT DISTINCT format('process %%s of %%s, %%s', pid, usename, application_name)
           FROM pg_locks l JOIN pg_stat_activity a USING (pid)
           WHERE relation = ANY(%s::regclass[]) AND granted AND pid <> pg_backend_pid()
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           ORDER BY 1""",
        [[str(name) for name in there]],
    )
    found = "; ".join(text for (text,) in holders) or "other transactions"
    raise UserError(
        "database.busy",
        f"{' and '.join(map(str, there))} cannot be changed, because other transactions are open ({found})",
        "Nothing was changed. End these transactions, then load again",
        about=" and ".join(map(str, there)),
    )


def lock_results(conn: psycopg.Connection, tables: Tables) -> None:
    """Let nobody change tasks or statistics until the transaction ends; everyone may read."""
    lock_queue(conn, tables)
    _in_order(conn, Lock.RESULTS)
    for table in (tables.sigs, tables.hists):
        conn.execute(query("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE", table=table.sql))


def lock_scenes(
    conn: psycopg.Connection, tables: Tables, obsids: Sequence[int], siblings: Sequence[int]
) -> dict[int, str]:
    """Let nobody else change scenes until the transaction ends.

    Two workers may finish tasks of one scene at once; the second must see what the first has written.

    Args:
        conn: a connection in a transaction.
        tables: the tables.
        obsids: scenes whose tasks have changed.
        siblings: other versions, whose tasks may go; once in a transaction, unless that has the whole queue.

    Returns:
        The status of each.
    """
    _in_order(conn, Lock.SCENES)
    if siblings:  # tasks first: workers touch a task before its scene
        conn.execute(
            query(
                "SELECT FROM {tasks} WHERE obsid = ANY(%s) ORDER BY obsid, bandset FOR UPDATE",
                tasks=tables.tasks.sql,
            ),
            [list(siblings)],
        )
    return dict(
        conn.execute(
            query(
                "SELECT id, status FROM {catalogue} WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
                catalogue=tables.catalogue.sql,
            ),
            [[*obsids, *siblings]],
        ).fetchall()
    )


def lock_archived_scenes(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> list[int]:
    """Let nobody change archived scenes, nor replace the parcels, until the transaction ends.

    Workers at other scenes go on.

    Returns:
        Those of the scenes that are archived.
    """
    _in_order(conn, Lock.QUEUE)
    conn.execute(query("LOCK TABLE {tasks} IN ROW EXCLUSIVE MODE", tasks=tables.tasks.sql))
    _in_order(conn, Lock.SCENES)
    found = conn.execute(
        query(
            "SELECT id FROM {catalogue} WHERE id = ANY(%s) AND status = 'archived' ORDER BY id FOR SHARE",
            catalogue=tables.catalogue.sql,
        ),
        [list(obsids)],
    )
    return [obsid for (obsid,) in found]


def lock_archives(conn: psycopg.Connection, tables: Tables) -> None:
    """Let nobody else archive or restore the season until the connection ends.

    Raises:
        UserError: somebody does.
    """
    try:
        with conn.transaction():
            conn.execute(query("SET LOCAL lock_timeout = {time}", time=sql.Literal(f"{ARCHIVE_PATIENCE_S}s")))
            conn.execute("SELECT pg_advisory_lock(%s, 0)", [lock_space(tables) + _ARCHIVE])
    except psycopg.errors.LockNotAvailable as error:
        raise UserError(
            "database.busy",
            (
                "Another cbmctl maintain archive or restore is running, or"
                " cbmctl parcels load replaces the parcels"
            ),
            "Wait until it ends",
        ) from error


def try_archives(conn: psycopg.Connection, tables: Tables) -> bool:
    """Let nobody archive or restore the season until the transaction ends; return whether nobody does."""
    return bool(
        one(conn, query("SELECT pg_try_advisory_xact_lock(%s, 0)"), [lock_space(tables) + _ARCHIVE])[0]
    )


def try_task(conn: psycopg.Connection, tables: Tables, bandset: str, obsid: int) -> bool:
    """Lock a task for this connection, until `unlock_task` or its end; return whether nobody else has it."""
    return bool(one(conn, query("SELECT pg_try_advisory_lock(%s, %s)"), _key(tables, bandset, obsid))[0])


def unlock_task(conn: psycopg.Connection, tables: Tables, bandset: str, obsid: int) -> None:
    """Let go of a task."""
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", _key(tables, bandset, obsid))


def live(tables: Tables, task: str) -> sql.Composed:
    """Return whether a task is locked by a worker, as a condition that takes LIVE_PARAMETERS.

    Args:
        tables: of the season.
        task: alias of a row of the tasks in the statement.
    """
    return sql.SQL(
        """EXISTS (
               SELECT FROM pg_locks l
               WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.objid = {task}.obsid::oid
                 AND l.classid = ({space} + array_position(%(order)s, {task}.bandset))::oid
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
    ).format(task=sql.Identifier(task), space=sql.Literal(lock_space(tables)))


def at_work(tables: Tables, task: str) -> sql.Composed:
    """Return whether somebody works on a task, as a condition that takes LIVE_PARAMETERS.

    The state alone is not enough: the worker of a 'running' task may have vanished. Nor is the lock alone: a
    worker holds it for a moment after it has closed the task.

    Args:
        tables: of the season.
        task: alias of a row of the tasks in the statement.
    """
    return sql.SQL("({task}.state = 'running' AND {live})").format(
        task=sql.Identifier(task), live=live(tables, task)
    )


def _in_order(conn: psycopg.Connection, lock: Lock, *, whole: bool = False) -> None:
    """Note a lock that is about to be taken. Raises RuntimeError if the transaction holds a later one."""
    began = one(conn, query("SELECT now()"))[0]
    then, last, queue = _held.get(conn, (None, lock, False))
    if then != began:
        last, queue = lock, False
    elif lock is Lock.QUEUE and queue:
        return  # it is held already, as a whole
    elif lock < last or (lock is last is Lock.SCENES and not queue) or lock is Lock.READER:
        raise RuntimeError(f"{lock.name} is locked after {last.name}: see cbmctl.queue.locks")
    _held[conn] = began, lock, queue or whole


def _key(tables: Tables, bandset: str, obsid: int) -> tuple[int, int]:
    # SQL's array_position counts from one
    return lock_space(tables) + list(BANDSETS).index(bandset) + 1, obsid
