"""Scenes that were left half done, for tests of `repair`."""

from dataclasses import replace
from typing import Any

import psycopg

from cbmctl.database import connect
from cbmctl.queue import extracted_rows, tasks
from cbmctl.queue.planning import plan
from cbmctl.queue.repair import Repair, repair
from cbmctl.reasons import UNREADABLE
from tests.support.season import BANDS_10, BANDS_20, Season

S2 = {"10": list(BANDS_10), "20": list(BANDS_20)}


REFERENCE = "S2A_MSIL2A_20210305T102921_N0400_R108_T32TMT_20210305T135811.SAFE"


def tried_once(season: Season) -> Season:
    """The season with tasks that are tried once."""
    return replace(season, config=season.database.configured(extraction={"s2": S2, "retry_seconds": []}))


def repaired(season: Season, *references: str, check: bool = False) -> Repair:
    with connect(season.config, autocommit=True) as conn:
        return repair(conn, season.config, references, check=check)


def planned(season: Season) -> None:
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)


def claim(season: Season, conn: psycopg.Connection, bandset: str) -> tasks.Task:
    """Do what comes before that band set, then claim it."""
    while True:
        task = tasks.claim(conn, season.config, "host:1")
        assert task is not None
        if task.bandset == bandset:
            return task
        finish(season, conn, task)


def finish(season: Season, conn: psycopg.Connection, task: tasks.Task) -> None:
    """Write one row of each band instead of those that are there, and close the task."""
    with conn.transaction():
        extracted_rows.delete(conn, season.config.tables, [(task.obsid, task.bandset)])
        if task.bandset == "scl":
            conn.execute("INSERT INTO hists VALUES (1, %s, '{}')", [task.obsid])
        else:
            conn.execute(
                "INSERT INTO sigs (pid, obsid, band) SELECT 1, %s, unnest(%s::text[])",
                [task.obsid, list(task.bands)],
            )
        rows = len(task.bands)
        tasks.finish(conn, season.config.tables, task, parcels=1, rows=rows)
    tasks.unlock(conn, season.config.tables, task)


def fail(season: Season, conn: psycopg.Connection, task: tasks.Task) -> None:
    tasks.fail(conn, season.config, task, UNREADABLE, "line 1\nB02.jp2 is torn")
    tasks.unlock(conn, season.config.tables, task)


def rows(season: Season) -> list[tuple[Any, ...]]:
    return season.rows(
        "SELECT obsid, band FROM sigs UNION ALL SELECT obsid, 'SCL' FROM hists ORDER BY obsid, band"
    )
