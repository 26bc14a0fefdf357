"""`status`: what is done, what is being worked on, what waits, and what was given up."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner

from cbmctl.cli import cbmctl
from cbmctl.database import connect
from cbmctl.queue import progress, tasks
from cbmctl.queue.planning import plan
from cbmctl.reasons import UNREADABLE
from tests.support.season import Season

pytestmark = pytest.mark.postgis

FIFTH = "S2A_MSIL2A_20210305T102921_N0400_R108_T32TMT_20210305T135811.SAFE"


@pytest.fixture
def conn(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as connection:
        yield connection


def claim(season: Season, conn: psycopg.Connection, worker: str = "host:1") -> tasks.Task:
    task = tasks.claim(conn, season.config, worker)
    assert task is not None
    return task


def test_rows_are_counted_by_the_table_that_they_are_in(season: Season, conn: psycopg.Connection) -> None:
    for day, card in enumerate(("s2", "bs", "c6", "c12"), 1):
        scene = season.scene(day, product=False)
        conn.execute("UPDATE dias_catalogue SET card = %s WHERE id = %s", [card, scene])
    plan(conn, season.config)
    for number in range(6):
        task = claim(season, conn)
        with conn.transaction():
            tasks.finish(conn, season.config.tables, task, parcels=1, rows=10**number)
        tasks.unlock(conn, season.config.tables, task)
    now = progress.read(conn, season.config)
    assert (now.sigs, now.hists) == (111110, 1)
    assert list(now.tasks) == ["scl", "10", "20", "bs", "c6", "c12"]
    assert now.tasks["c12"] == {"ready": 0, "running": 0, "done": 1, "failed": 0}
    assert {(scene["card"], scene["status"], scene["count"]) for scene in now.scenes} == {
        (card, "extracted", 1) for card in ("s2", "bs", "c6", "c12")
    }


def test_what_goes_on(season: Season, conn: psycopg.Connection) -> None:
    season.scene(5, product=False)
    config = season.database.configured(extraction={"retry_seconds": [90]})
    plan(conn, config)
    waiting, dead = claim(season, conn), connect(config, autocommit=True)
    tasks.fail(conn, config, waiting, UNREADABLE, "line 1\nit is torn")
    tasks.unlock(conn, season.config.tables, waiting)
    claim(season, dead, "host:2")
    conn.execute("SELECT pg_terminate_backend(%s, 5000)", [dead.info.backend_pid])
    claim(season, conn)
    claim(season, conn)
    conn.execute("UPDATE tasks SET claimed_at = now() - interval '5 min 1 s' WHERE bandset = '20'")
    now = progress.read(conn, config)
    assert [
        (task["reference"], task["bandset"], task["attempt"], task["worker"], task["alive"])
        for task in now.running_tasks
    ] == [(FIFTH, "20", 1, "host:1", True), (FIFTH, "10", 2, "host:1", True)]
    (task,) = now.waiting_tasks
    assert (task["reference"], task["bandset"], task["attempts"]) == (FIFTH, "scl", 1)
    assert 80 < task["seconds"] <= 90
    assert (task["reason_code"], task["status"], task["reason"]) == (
        "archive.unreadable",
        "Rio error",
        "line 1\nit is torn",
    )

    shown = CliRunner().invoke(cbmctl, ["--config", str(season.database.config_path), "status"]).stdout
    assert f"running: {FIFTH} (20): by host:1 for 5 min\n" in shown
    assert re.search(rf"waiting: {FIFTH} \(scl\): Rio error: it is torn \[attempt 2 in \d\d s\]\n", shown)
    conn.execute("UPDATE tasks SET not_before = now()")
    conn.execute("SELECT pg_advisory_unlock_all()")
    shown = CliRunner().invoke(cbmctl, ["--config", str(season.database.config_path), "status"]).stdout
    assert "(scl): Rio error: it is torn [attempt 2 as soon as a worker is free]\n" in shown
    assert "(10): worker host:1 has ended, and another worker takes the task\n" in shown
    conn.execute("UPDATE tasks SET state = 'failed' WHERE bandset = 'scl'")
    shown = CliRunner().invoke(cbmctl, ["--config", str(season.database.config_path), "status"]).stdout
    assert f"failed: {FIFTH} (scl): Rio error: it is torn\n" in shown


def test_long_lists_are_cut(season: Season, conn: psycopg.Connection) -> None:
    conn.execute(
        """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status)
           SELECT id, '2021-03-05', id::text, '2A', 's2', 'Rio error' FROM generate_series(1, 25) id;
           INSERT INTO tasks (obsid, bandset, state, reason_code, failed_status, reason)
           SELECT id, '10', 'failed', 'archive.unreadable', 'Rio error', 'x'
           FROM generate_series(1, 25) id"""
    )
    shown = CliRunner().invoke(cbmctl, ["--config", str(season.database.config_path), "status"]).stdout
    assert shown.count("failed: ") == 20
    assert "… and 5 more failed\n" in shown
    assert len(progress.read(conn, season.config).failed_tasks) == 25
