"""Free space on a disk, and the log that PostgreSQL writes there."""

import shutil
from pathlib import Path

import psycopg

from cbmctl.database import one, query


def free_space(folder: Path) -> tuple[Path, int]:
    """Return the free bytes of a folder's disk; before them the nearest folder that exists."""
    disk = folder.absolute()
    while not disk.exists() and disk != disk.parent:
        disk = disk.parent
    return disk, shutil.disk_usage(disk).free


def log_size(conn: psycopg.Connection, written: int) -> int:
    """Return at most how many bytes of log stay on the disk while so many bytes of tables are written."""
    (most,) = one(conn, query("SELECT pg_size_bytes(current_setting('max_wal_size'))"))
    return int(min(most, written))
