"""VACUUM (ANALYZE): dead rows become free space of their table, and the planner's statistics are renewed."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from cbmctl.config import Config, TableName
from cbmctl.database import one, query
from cbmctl.maintenance.statement_progress import watched
from cbmctl.steps import Steps, hidden

# A few pages are never marked as visible to all; they are no reason for a vacuum.
_MARKED = 0.99


@dataclass(frozen=True)
class Vacuumed:
    """A table.

    Attributes:
        table: its name.
        needed: whether it had dead rows, changes since the last ANALYZE, or unmarked pages.
        dead: dead rows before, as PostgreSQL estimates them.
        left: dead rows that could not be removed, because a transaction still sees them; 0 with --check.
    """

    table: str
    needed: bool
    dead: int
    left: int


def vacuum(
    conn: psycopg.Connection,
    config: Config,
    *,
    check: bool = False,
    progress: Steps = hidden,
) -> list[Vacuumed]:
    """Vacuum and analyze the tables that the extraction changes, where that is needed.

    Readers and writers go on. An interruption loses no row; the next run vacuums the rest.

    Args:
        conn: a connection in autocommit mode, of the tables' owner.
        config: says which tables.
        check: only say where it is needed.
        progress: given a label and a length in percent, returns what is called with percent points.
    """
    tables = config.tables
    found = []
    for table in (tables.catalogue, tables.tasks, tables.hists, tables.sigs):
        needed, dead = _need(conn, table)
        if needed and not check:
            vacuum_table(conn, config, table, progress(f"Vacuuming {table}", 100))
        left = _need(conn, table)[1] if needed and not check else 0
        found.append(Vacuumed(str(table), needed, dead, left))
    return found


def vacuum_table(
    conn: psycopg.Connection, config: Config, table: TableName, progress: Callable[[int], None]
) -> None:
    """Vacuum and analyze a table; readers and writers go on."""
    share = query(
        """SELECT heap_blks_scanned::float8 / nullif(heap_blks_total, 0)
           FROM pg_stat_progress_vacuum WHERE relid = %(table)s::regclass"""
    )
    with watched(config, share, {"table": str(table)}, progress):
        conn.execute(query("VACUUM (ANALYZE) {table}", table=table.sql))


def _need(conn: psycopg.Connection, table: TableName) -> tuple[bool, int]:
    dead, changed, pages, marked = one(
        conn,
        query(
            """SELECT n_dead_tup, n_mod_since_analyze, relpages, relallvisible
               FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid
               WHERE c.oid = %s::regclass"""
        ),
        [str(table)],
    )
    return bool(dead or changed or marked < _MARKED * pages), int(dead)
