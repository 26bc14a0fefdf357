"""How large an archive and the tables that it is restored into get, and whether there is space."""

from collections.abc import Mapping
from pathlib import Path

import psycopg

from cbmctl.archive.disk_space import KEPT_FREE
from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.maintenance.free_space import free_space, log_size

# A row of sigs takes 76 bytes in the table, and at most 45 in a file.
_SHARE = 0.6
# Bytes of a row in the table and its indexes [docs/decisions/tables.md]; of hists with a few classes.
_ROW = {"sigs": 115, "hists": 160}


def estimate(conn: psycopg.Connection, tables: Tables, *kinds: str) -> tuple[int, int]:
    """Return the rows of tables and at most so many bytes of their files, from PostgreSQL's estimates.

    Args:
        conn: a connection.
        tables: the tables.
        kinds: "sigs", "hists"; none means both.
    """
    names = {"sigs": tables.sigs, "hists": tables.hists}
    rows, size = one(
        conn,
        query(
            """SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint,
                   coalesce(sum(pg_relation_size(oid)), 0)::bigint
               FROM pg_class WHERE oid = ANY(%s::regclass[])"""
        ),
        [[str(names[kind]) for kind in kinds or names]],
    )
    return rows, round(size * _SHARE)


def require_space(conn: psycopg.Connection, tables: Tables, folder: Path) -> None:
    """Raise UserError if an archive could fill the disk; files that are there already count."""
    there = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    needed = max(estimate(conn, tables)[1] - there, 0) + KEPT_FREE
    disk, free = free_space(folder)
    if free < needed:
        raise UserError(
            "season_archive.disk_full",
            (
                f"{folder}: the archive needs up to {needed / 1e9:.1f} GB, but {disk} has {free / 1e9:.1f}"
                " GB free"
            ),
            "Free space, or use a folder on another disk",
            about=folder,
        )


def require_space_to_restore(
    conn: psycopg.Connection, folder: Path, rows: Mapping[str, int], disk: Path
) -> None:
    """Raise UserError if restored rows could fill the database's disk.

    Space of deleted rows in the tables does not count, because it cannot be used before a vacuum.

    Args:
        conn: a connection.
        folder: of the archive.
        rows: how many are still to be written, by table.
        disk: a folder on the database's disk.
    """
    size = sum(number * _ROW[kind] for kind, number in rows.items())
    needed = size + log_size(conn, size) + KEPT_FREE
    disk, free = free_space(disk)
    if free < needed:
        raise UserError(
            "season_archive.disk_full",
            (
                f"{folder}: the restore needs up to {needed / 1e9:.1f} GB, but {disk} has {free / 1e9:.1f}"
                " GB free"
            ),
            (
                f"Run {command('maintain compact')}, free space or enlarge the disk. If the database is on"
                " another disk, pass a folder on that disk with --disk"
            ),
            about="--disk",
        )
