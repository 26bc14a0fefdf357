"""How large an archive gets, and whether there is space for it."""

import shutil
from pathlib import Path

import psycopg

from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.eodata.space import KEPT_FREE
from cbmctl.errors import UserError

# A row of sigs takes 76 bytes in the table, and at most 45 in a file.
_SHARE = 0.6


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
    disk = folder.absolute()
    while not disk.exists():
        disk = disk.parent
    there = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    needed = max(estimate(conn, tables)[1] - there, 0) + KEPT_FREE
    free = shutil.disk_usage(disk).free
    if free < needed:
        raise UserError(
            f"{folder}: the archive needs up to {needed / 1e9:.1f} GB, but {disk} has {free / 1e9:.1f} GB"
            " free. Free space, or name a folder on another disk."
        )
