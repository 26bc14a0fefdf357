"""`repair` while workers and other repairs run: nothing is lost, and nobody waits in a circle."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from cbmctl.database import connect
from cbmctl.queue import tasks
from cbmctl.queue.repair import repair
from tests.support.half_done_scenes import (
    REFERENCE,
    S2,
    claim,
    fail,
    finish,
    planned,
    repaired,
    rows,
    tried_once,
)
from tests.support.season import BANDS_10, BANDS_20, Season

pytestmark = pytest.mark.postgis


def test_a_scene_that_is_being_written_is_left_to_its_worker(season: Season) -> None:
    scene = season.scene(5, product=False)
    planned(season)
    with connect(season.config, autocommit=True) as worker, ThreadPoolExecutor(1) as pool:
        task = claim(season, worker, "10")
        with worker.transaction():
            worker.execute("INSERT INTO sigs (pid, obsid, band) VALUES (1, %s, 'B02')", [scene])
            assert repaired(season).live == (REFERENCE,), "before it closes the task"
            tasks.finish(worker, season.config.tables, task, parcels=1, rows=1)
            waiting = pool.submit(repaired, season)
            while not season.rows("SELECT FROM pg_locks WHERE mode = 'ExclusiveLock' AND NOT granted"):
                assert not waiting.done(), "a task is closed only when its transaction ends"
        done = waiting.result(timeout=120)
        assert not done.changed
        tasks.unlock(worker, season.config.tables, task)
    assert rows(season) == [(scene, "B02"), (scene, "SCL")]


def test_nobody_begins_while_a_repair_goes_on(season: Season) -> None:
    quick = tried_once(season)
    quick.scene(5, product=False)
    planned(quick)
    with (
        connect(quick.config, autocommit=True) as conn,
        connect(quick.config, autocommit=True) as worker,
        connect(quick.config, autocommit=True) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        fail(quick, conn, claim(quick, conn, "10"))
        with conn.transaction():
            assert repair(conn, quick.config).changed
            claimed = pool.submit(tasks.claim, worker, quick.config, "worker")
            again = pool.submit(repair, second, quick.config)
            while len(quick.rows("SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation'")) < 2:
                assert not claimed.done()
                assert not again.done()
        task = claimed.result(timeout=120)
        assert not again.result(timeout=120).changed
    assert task is not None
    assert (task.bandset, task.attempt) == ("10", 1)


def work_badly(season: Season, conn: psycopg.Connection, name: str) -> None:
    """Do some tasks, fail at others, give one back, and leave the last unfinished."""
    for number in range(10):
        task = tasks.claim(conn, season.config, name, fresh_only=number == 3)
        if task is None:
            continue
        if number in (0, 3, 6):
            fail(season, conn, task)
        elif number == 5:
            tasks.release(conn, season.config.tables, task)
        elif number != 8:
            finish(season, conn, task)


def test_repairs_plans_and_workers_at_once_never_wait_in_a_circle(
    season: Season, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    scenes = [season.scene(day, product=False) for day in range(1, 11)]
    config = season.database.configured(extraction={"s2": S2, "retry_seconds": [0]})
    season = replace(season, config=config)
    planned(season)

    def repair_often(_number: int) -> None:
        for _ in range(30):
            repaired(season)
            planned(season)

    def die_often(number: int) -> None:
        for _ in range(5):
            with connect(config, autocommit=True) as conn:
                work_badly(season, conn, f"worker {number}")

    with ThreadPoolExecutor(6) as pool:
        at_work = [pool.submit(job, number) for job in (repair_often, die_often) for number in (1, 2, 3)]
    assert [error for job in at_work if (error := job.exception())] == []

    eventually(lambda: not season.rows("SELECT FROM pg_locks WHERE locktype = 'advisory'"))
    repaired(season)
    assert season.rows("SELECT count(*) FROM tasks WHERE state <> 'done' AND attempts > 0") == [(0,)]
    with connect(config, autocommit=True) as conn:
        while task := tasks.claim(conn, config, "last"):
            finish(season, conn, task)
    assert {season.status(scene) for scene in scenes} == {"extracted"}
    assert rows(season) == sorted((scene, band) for scene in scenes for band in ("SCL", *BANDS_10, *BANDS_20))
    assert not repaired(season).changed
