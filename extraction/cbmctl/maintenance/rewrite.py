"""Rewrite tables with pg_repack while readers and writers go on: to give back space, or to cluster.

pg_repack copies the table, applies what is written meanwhile, and exchanges the files: the table keeps its
name, privileges, views and indexes. Who waits for its locks, and how long: docs/decisions/maintenance.md
"""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from cbmctl.archive.disk_space import KEPT_FREE
from cbmctl.config import Config, TableName
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.maintenance.closed_season import require_closed
from cbmctl.maintenance.free_space import free_space, log_size
from cbmctl.maintenance.statement_progress import watched
from cbmctl.maintenance.vacuum import vacuum_table
from cbmctl.steps import Steps, hidden

PROGRAM: Sequence[str] = ("pg_repack",)
# A smaller share of wasted pages is not worth writing the whole table.
WORTHWHILE = 0.1
# pg_stats.correlation of a table in the order of its parcels; rows that are written later lower it.
CLUSTERED = 0.99
# pg_repack asks for its locks again and again, at most a second each time, and ends nobody's session.
_LOCK_PATIENCE_S = 3600
# As pg_repack.c has it: it holds an advisory lock of this class on the table's oid minus 2**31.
_LOCK_SPACE = 16185446
_KEYS = {"sigs": "pid,obsid,band", "hists": "pid,obsid"}
_STOPPING_S = 60


@dataclass(frozen=True)
class Rewritten:
    """A table that was, or would be, rewritten.

    Attributes:
        table: its name.
        needed: whether it is worth it.
        before: bytes of table and indexes.
        after: the same afterwards; with --check an estimate.
        wasted: share of the table's pages that live rows do not need, as estimated from its statistics.
        correlation: of its order with that of the parcels, from -1 to 1.
    """

    table: str
    needed: bool
    before: int
    after: int
    wasted: float
    correlation: float


def rewrite(
    conn: psycopg.Connection,
    config: Config,
    *,
    by_parcel: bool,
    disk: Path | None = None,
    check: bool = False,
    progress: Steps = hidden,
) -> list[Rewritten]:
    """Rewrite hists and sigs, each if it is worth it, so that the next run continues an interrupted one.

    Args:
        conn: a connection in autocommit mode, of the tables' owner.
        config: says which tables.
        by_parcel: in the order of the parcels; else in the order in which the rows are.
        disk: a folder on the database's disk, whose free space counts; None: `cache` in the configuration.
        check: only say where it is worth it, and whether there is space.
        progress: given a label and a length in percent, returns what is called with percent points.

    Raises:
        UserError: too little space, pg_repack is missing, runs already or did not get its locks; by parcel,
            also if the season is not over or has unfinished tasks.
    """
    if by_parcel:
        # by parcel, a scene's rows lie on a page of each parcel
        require_closed(
            conn, config, "Tables are clustered", instead=f"Until then, use {command('maintain compact')}"
        )
    _require_program(conn)
    done = []
    for kind, table in (("hists", config.tables.hists), ("sigs", config.tables.sigs)):
        if not check:
            _clear_interrupted(conn, table)
        state = _survey(conn, table, by_parcel=by_parcel)
        if state.needed:
            _require_space(conn, table, state, disk or config.cache, by_parcel=by_parcel)
        if state.needed and not check:
            order = f"--order-by={_KEYS[kind]}" if by_parcel else "--no-order"
            bar = progress(f"Rewriting {table}", 100)
            _repack(conn, config, table, order=order, expected=state.after, progress=bar)
            vacuum_table(conn, config, table, lambda _steps: None)  # marks pages as visible to all
            state = replace(state, after=_total(conn, table))
        done.append(state)
    return done


def _survey(conn: psycopg.Connection, table: TableName, *, by_parcel: bool) -> Rewritten:
    conn.execute(query("ANALYZE {table}", table=table.sql))
    heap, total, pages = one(conn, _SURVEY, {"table": str(table)})
    (correlation,) = one(
        conn,
        query(
            """SELECT coalesce(max(correlation), 1) FROM pg_stats
               WHERE schemaname = %s AND tablename = %s AND attname = 'pid'"""
        ),
        [table.schema, table.name],
    )
    wasted = max(1 - pages * _PAGE / heap, 0.0) if heap else 0.0
    needed = correlation < CLUSTERED if by_parcel else wasted >= WORTHWHILE
    after = round(total * (1 - wasted)) if needed else total
    return Rewritten(str(table), needed, total, after, round(wasted, 3), round(float(correlation), 3))


def _require_space(
    conn: psycopg.Connection, table: TableName, state: Rewritten, disk: Path, *, by_parcel: bool
) -> None:
    """Refuse if copy, sorting and log could fill the disk; indexes are taken as large as they are."""
    heap, total, pages = one(conn, _SURVEY, {"table": str(table)})
    copy = pages * _PAGE * (2 if by_parcel else 1) + total - heap
    needed = copy + log_size(conn, state.before) + KEPT_FREE
    disk, free = free_space(disk)
    if free < needed:
        raise UserError(
            "maintain.disk_full",
            f"{table}: rewriting needs {needed / 1e9:.1f} GB, but {disk} has {free / 1e9:.1f} GB free",
            (
                "Free space or enlarge the disk. If the database is on another disk, name a folder there"
                " with --disk"
            ),
            about="--disk",
        )


def _require_program(conn: psycopg.Connection) -> None:
    row = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'pg_repack'").fetchone()
    if row is None:
        raise UserError(
            "maintain.no_repack_extension",
            "The database has no extension pg_repack",
            "Run playbooks/database.yml first",
        )
    try:
        command = [*PROGRAM, "--version"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            "maintain.no_repack",
            "pg_repack is not installed here",
            "Use the cbmctl of the worker image: run playbooks/worker_image.yml, then cbmctl on the VM",
        ) from error
    version = said.split()[-1]
    if version != row[0]:
        raise UserError(
            "maintain.repack_version",
            f"pg_repack {version} cannot be used with the database's extension pg_repack {row[0]}",
            (
                "Run playbooks/worker_image.yml and playbooks/database.yml with the same"
                " container_image_release"
            ),
        )


def _clear_interrupted(conn: psycopg.Connection, table: TableName) -> None:
    """Remove what a killed pg_repack has left: its trigger makes every write slower.

    Raises:
        UserError: pg_repack was not killed, but still runs.
    """
    (oid, working, left) = one(
        conn,
        query(
            """SELECT c.oid::bigint, EXISTS (
                   SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %(space)s
                     AND objid::bigint = (c.oid::bigint + 2147483648) %% 4294967296
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())),
                   to_regclass('repack.log_' || c.oid) IS NOT NULL
               FROM pg_class c WHERE c.oid = %(table)s::regclass"""
        ),
        {"space": _LOCK_SPACE, "table": str(table)},
    )
    if working:
        raise UserError(
            "maintain.repack_running", f"{table}: pg_repack runs already", "Wait until it ends", about=table
        )
    if left:
        names = {
            "table": table.sql,
            "copy": sql.Identifier("repack", f"table_{oid}"),
            "log": sql.Identifier("repack", f"log_{oid}"),
            "key": sql.Identifier("repack", f"pk_{oid}"),
        }
        try:
            with conn.transaction():
                conn.execute(query("SET LOCAL lock_timeout = '10s'"))
                conn.execute(query("DROP TRIGGER IF EXISTS repack_trigger ON {table}", **names))
                conn.execute(query("DROP TABLE IF EXISTS {copy}, {log}", **names))
                conn.execute(query("DROP TYPE IF EXISTS {key}", **names))
        except psycopg.errors.LockNotAvailable as error:
            raise UserError(
                "maintain.repack_leftover",
                (
                    f"{table}: the copy of an interrupted pg_repack cannot be removed, because others hold"
                    " locks"
                ),
                "Run the command again",
                about=table,
            ) from error


def _repack(
    conn: psycopg.Connection,
    config: Config,
    table: TableName,
    *,
    order: str,
    expected: int,
    progress: Callable[[int], None],
) -> None:
    (before, oid) = one(conn, _FILE, [str(table)])
    command = [
        *PROGRAM,
        f"--table={table}",
        order,
        "--no-superuser-check",
        "--no-kill-backend",
        f"--wait-timeout={_LOCK_PATIENCE_S}",
    ]
    share = query("SELECT pg_total_relation_size(to_regclass(%(copy)s))::float8 / %(bytes)s")
    with watched(config, share, {"copy": f"repack.table_{oid}", "bytes": max(expected, 1)}, progress):
        said = _run(command, _environment(config))
    if one(conn, _FILE, [str(table)])[0] == before:
        raise UserError(
            "maintain.not_rewritten",
            f"{table} was not rewritten. pg_repack says: {said or 'nothing'}",
            "Its rows are as before. Run the command again, if others held locks at a time when fewer do",
            about=table,
        )


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    """Run pg_repack and return the last line that it printed; an interruption lets it clean up first."""
    with subprocess.Popen(  # noqa: S603 - PROGRAM is the constant above
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=_STOPPING_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return " ".join((said.strip().splitlines() or [""])[-1].split())


def _environment(config: Config) -> dict[str, str]:
    where = config.connection
    given = {
        "PGHOST": where.host,
        "PGPORT": str(where.port),
        "PGDATABASE": where.dbname,
        "PGUSER": where.user,
        "PGPASSWORD": where.password,
        "PGSSLMODE": where.sslmode,
        "PGSSLROOTCERT": str(where.sslrootcert) if where.sslrootcert else None,
        "PGAPPNAME": "cbmctl maintain",
    }
    return os.environ | {name: value for name, value in given.items() if value is not None}


def _total(conn: psycopg.Connection, table: TableName) -> int:
    return int(one(conn, query("SELECT pg_total_relation_size(%s::regclass)"), [str(table)])[0])


_PAGE = 8192
_FILE = query("SELECT pg_relation_filenode(oid), oid::bigint FROM pg_class WHERE oid = %s::regclass")
# Pages that the live rows need: header and item pointer of a row are 24 and 4 bytes, of a page 24.
_SURVEY = query(
    """SELECT pg_relation_size(c.oid), pg_total_relation_size(c.oid), ceil(
           greatest(reltuples, 0) / floor(8168 / (8 * ceil((24 + width) / 8.0) + 4)))::bigint
       FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, LATERAL (
           SELECT coalesce(sum(avg_width * (1 - null_frac)), 0)::float8 AS width FROM pg_stats
           WHERE schemaname = nspname AND tablename = relname) s
       WHERE c.oid = %(table)s::regclass"""
)
