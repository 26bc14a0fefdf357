"""What a worker does with tasks, step by step, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg

from cbmctl.database import connect
from cbmctl.queue import planning, tasks
from tests.support.season import BANDS_10, BANDS_20, Season


@contextmanager
def line(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as conn:
        yield conn


def plan(season: Season, *, check: bool = False) -> planning.Planned:
    with line(season) as conn:
        return planning.plan(conn, season.config, check=check)


def claim(season: Season, conn: psycopg.Connection, **options: Any) -> tasks.Task:
    task = tasks.claim(conn, season.config, f"worker {conn.info.backend_pid}", **options)
    assert task is not None
    return task


def impatient(season: Season, **s2: Any) -> Season:
    """With three attempts one right after the other."""
    s2 = {"10": list(BANDS_10), "20": list(BANDS_20)} | s2
    return replace(season, config=season.database.configured(extraction={"s2": s2, "retry_seconds": [0, 0]}))


def kill(season: Season, conn: psycopg.Connection) -> None:
    """End a worker's connection on the server, as its death would, and wait until it is gone."""
    with line(season) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])


def finish(season: Season, conn: psycopg.Connection, task: tasks.Task, parcels: int = 1) -> None:
    with conn.transaction():
        tasks.finish(conn, season.config.tables, task, parcels=parcels, rows=parcels)
    tasks.unlock(conn, season.config.tables, task)
