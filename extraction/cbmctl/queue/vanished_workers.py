"""Workers that vanished: whose fault it was, and so whether the attempt counts against the task.

A task whose worker is gone is 'running' while nobody holds its lock. Whoever claims next notices that, and
enters it into `vanished_workers`. The attempt does not count where the scene cannot be to blame:

- 'server': PostgreSQL has been started since the claim;
- 'host': the host of the worker has been started since the claim, by its boot id;
- 'connection': the worker is alive, and has only lost its connection;
- 'together': another worker vanished within TOGETHER_S, from other tasks: memory, a restart of Docker.

At most EXCUSES attempts of a task are excused within a day, so that a scene that takes the whole machine with
it is not tried without end. Two tasks from which workers vanished twice are never worked on together, so that
tasks that kill their workers are distinguished from a common cause. docs/statuses.md
"""

from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue import states
from cbmctl.queue.locks import LIVE_PARAMETERS, live, lock_vanished
from cbmctl.queue.statements import names

TOGETHER_S = 10.0
EXCUSES = 10
# Of the kernel: in a container it is the host's.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str | None:
    """Return the id of this start of the host; None if the system has none."""
    try:
        return BOOT_ID.read_text().strip() or None
    except OSError:
        return None


def notice(conn: psycopg.Connection, tables: Tables, worker: str) -> list[tuple[int, str]]:
    """Enter the workers that have vanished, and take back the attempts that do not count.

    Args:
        conn: a connection in autocommit mode and in no transaction.
        tables: the tables.
        worker: the name of the worker that asks.

    Returns:
        Tasks, by scene and band set, that are not to be begun now: workers vanished from them twice, and
        another such task is being worked on.
    """
    statements = _names(tables)
    parameters = LIVE_PARAMETERS | {
        "worker": worker,
        "boot": boot_id(),
        "together": TOGETHER_S,
        "excuses": EXCUSES,
    }
    if conn.execute(query(_ORPHANS, **statements), parameters).fetchone():
        with conn.transaction():
            lock_vanished(conn, tables)
            conn.execute(query(_FORGET, **statements))
            entered = conn.execute(query(_ENTER, **statements), parameters).fetchall()
            entered += conn.execute(query(_TOGETHER, **statements), parameters).fetchall()
        for obsid, bandset, excuse in entered:
            if excuse:  # one at a time, with no other lock held: others lock several tasks, in their order
                conn.execute(states.change(tables, states.EXCUSED, _TAKE_BACK), [obsid, bandset])
    suspects = conn.execute(query(_SUSPECTS, **statements), parameters).fetchall()
    at_work = any(alive for _, _, alive in suspects)
    return [(obsid, bandset) for obsid, bandset, _ in suspects if at_work]


def parked(attempts: int, reason: str | None) -> str:
    """Return the reason of a task that is given up because its workers vanished.

    Args:
        attempts: how many count.
        reason: of the failure before, if any.
    """
    before = f"; before that, {reason}" if reason else ""
    return (
        f"the worker of this task alone vanished in attempt {attempts}, the last; memory may be"
        f" too small for this scene (journalctl -k){before}"
    )


def _names(tables: Tables) -> dict[str, sql.Composable]:
    return names(tables) | {"vanished": tables.vanished.sql, "other_live": live(tables, "o")}


_ORPHANS: LiteralString = """
    SELECT true FROM {tasks} t WHERE t.state = 'running' AND NOT {live} AND NOT EXISTS (
        SELECT FROM {vanished} v WHERE (v.obsid, v.bandset) = (t.obsid, t.bandset)
            AND v.noticed_at > coalesce(t.claimed_at, '-infinity'))
    LIMIT 1
"""
_FORGET: LiteralString = "DELETE FROM {vanished} WHERE noticed_at < now() - interval '1 day'"
# Another host counts as running if another of its workers is alive.
_ENTER: LiteralString = """
    INSERT INTO {vanished} (obsid, bandset, worker, attempt, noticed_at, excuse)
    SELECT t.obsid, t.bandset, coalesce(t.worker, ''), t.attempts, clock_timestamp(), CASE
        WHEN (SELECT count(*) FROM {vanished} v WHERE (v.obsid, v.bandset) = (t.obsid, t.bandset)
            AND v.excuse IS NOT NULL) >= %(excuses)s THEN NULL
        WHEN t.server_start <> pg_postmaster_start_time() THEN 'server'
        WHEN t.worker = %(worker)s THEN 'connection'
        WHEN t.host_boot <> %(boot)s AND NOT EXISTS (
            SELECT FROM {tasks} o WHERE o.state = 'running' AND o.host_boot = t.host_boot AND {other_live})
            THEN 'host' END
    FROM {tasks} t
    WHERE t.state = 'running' AND NOT {live} AND NOT EXISTS (
        SELECT FROM {vanished} v WHERE (v.obsid, v.bandset) = (t.obsid, t.bandset)
            AND v.noticed_at > coalesce(t.claimed_at, '-infinity'))
    RETURNING obsid, bandset, excuse
"""
# Two workers that vanished from the same task do not excuse each other: the scene may have killed both.
_TOGETHER: LiteralString = """
    UPDATE {vanished} v SET excuse = 'together'
    WHERE v.excuse IS NULL AND v.noticed_at > clock_timestamp() - %(together)s * interval '1 s'
        AND (SELECT count(*) FROM {vanished} e WHERE (e.obsid, e.bandset) = (v.obsid, v.bandset)
            AND e.excuse IS NOT NULL) < %(excuses)s
        AND EXISTS (
            SELECT FROM {vanished} o
            WHERE o.worker <> v.worker AND o.noticed_at > v.noticed_at - %(together)s * interval '1 s'
                AND o.noticed_at < v.noticed_at + %(together)s * interval '1 s'
                AND NOT EXISTS (
                    SELECT FROM {vanished} mine JOIN {vanished} yours USING (obsid, bandset)
                    WHERE mine.worker = v.worker AND yours.worker = o.worker))
    RETURNING obsid, bandset, excuse
"""
_TAKE_BACK = sql.SQL("t.obsid = %s AND t.bandset = %s AND t.attempts > 0")
_SUSPECTS: LiteralString = """
    SELECT t.obsid, t.bandset, {at_work}
    FROM {tasks} t JOIN (
        SELECT obsid, bandset FROM {vanished} WHERE coalesce(excuse, 'together') = 'together'
        GROUP BY obsid, bandset HAVING count(*) > 1
    ) twice USING (obsid, bandset)
    WHERE t.state IN ('ready', 'running')
"""
