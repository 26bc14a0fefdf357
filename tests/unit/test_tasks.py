"""The queue: what is planned, who gets what, and what a scene's status says."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from cbmctl import planning, tasks
from cbmctl.database import connect
from cbmctl.errors import UserError

from .conftest import Season

pytestmark = pytest.mark.postgis


@contextmanager
def line(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as conn:
        yield conn


def plan(season: Season, **options: bool) -> planning.Planned:
    with line(season) as conn:
        return planning.plan(conn, season.config, **options)


def claim(season: Season, conn: psycopg.Connection) -> tasks.Task:
    task = tasks.claim(conn, season.config.tables, "test")
    assert task is not None
    return task


def finish(season: Season, conn: psycopg.Connection, task: tasks.Task, parcels: int = 1) -> None:
    with conn.transaction():
        tasks.finish(conn, season.config.tables, task, parcels=parcels, rows=parcels)
    tasks.unlock(conn, task)


def test_plan_takes_what_is_asked_for_and_only_once(season: Season) -> None:
    inside = season.scene(5, product=False)
    elsewhere = season.scene(6, product=False, shift=5.0)
    extracted = season.scene(7, product=False)
    radar = season.scene(8, product=False)
    season.database.connect(autocommit=True).execute(
        "UPDATE dias_catalogue SET status = 'extracted' WHERE id = %s", [extracted]
    )
    season.database.connect(autocommit=True).execute(
        "UPDATE dias_catalogue SET card = 'bs' WHERE id = %s", [radar]
    )
    would = plan(season, check=True)
    assert (would.changed, would.created, season.tasks()) == (True, 3, {})
    assert plan(season) == would
    assert season.tasks() == {(inside, bandset): "ready" for bandset in ("scl", "10", "20")}
    assert elsewhere != inside
    again = plan(season)
    assert (again.changed, again.counts) == (False, {"ready": 3, "running": 0, "done": 0, "failed": 0})


def test_plan_heeds_the_dates(season: Season) -> None:
    season.scene(5, product=False)
    on_last_day = season.scene(6, product=False)
    config = season.database.configured(args={"startdate": "2021-03-06", "enddate": "2021-03-07"})
    with line(season) as conn:
        planning.plan(conn, config)
    assert {obsid for obsid, _ in season.tasks()} == {on_last_day}


def test_plan_follows_the_configuration(season: Season) -> None:
    scene = season.scene(5, product=False)
    plan(season)
    config = season.database.configured(extraction={"s2": {"scl": True, "10": ["B02"], "20": []}})
    with line(season) as conn:
        assert planning.plan(conn, config).dropped == 1
    assert set(season.tasks()) == {(scene, "scl"), (scene, "10")}


def test_plan_without_area(season: Season) -> None:
    config = season.database.configured(args={"name": "nowhere"})
    with line(season) as conn, pytest.raises(UserError, match=r"public\.aois has no area 'nowhere'"):
        planning.plan(conn, config)


def test_order_is_scl_of_all_scenes_first_and_by_time(season: Season) -> None:
    late, early = season.scene(9, product=False), season.scene(4, product=False)
    plan(season)
    with line(season) as conn:
        order = []
        while task := tasks.claim(conn, season.config.tables, "test"):
            order.append((task.obsid, task.bandset))
    assert order == [(scene, bandset) for bandset in ("scl", "10", "20") for scene in (early, late)]


def test_nobody_gets_what_another_has(season: Season) -> None:
    for day in range(1, 15):
        season.scene(day, product=False)
    plan(season)

    def take_all(number: int) -> list[tuple[int, str]]:
        taken = []
        with line(season) as conn:
            while task := tasks.claim(conn, season.config.tables, f"worker {number}"):
                taken.append((task.obsid, task.bandset))
                finish(season, conn, task)
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [task for share in pool.map(take_all, range(6)) for task in share]
    assert len(taken) == 14 * 3
    assert set(taken) == set(season.tasks())
    assert set(season.tasks().values()) == {"done"}
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]


def test_a_task_with_a_live_worker_is_left_alone(season: Season) -> None:
    season.scene(5, product=False)
    plan(season)
    with line(season) as first, line(season) as second:
        mine = {claim(season, first).bandset for _ in range(3)}
        assert mine == {"scl", "10", "20"}
        assert tasks.claim(second, season.config.tables, "second") is None


def test_a_dead_workers_task_is_free_at_once(season: Season) -> None:
    scene = season.scene(5, product=False)
    plan(season)
    dead = connect(season.config, autocommit=True)
    lost = claim(season, dead)
    with line(season) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [dead.info.backend_pid])
    with line(season) as conn:
        assert season.tasks()[scene, "scl"] == "running"
        again = claim(season, conn)
        assert (again.obsid, again.bandset, again.attempt) == (lost.obsid, lost.bandset, 2)
        with pytest.raises(psycopg.OperationalError):
            finish(season, dead, lost)
        finish(season, conn, again)
    assert season.tasks()[scene, "scl"] == "done"


def test_a_task_that_kills_its_workers_is_given_up(season: Season) -> None:
    scene = season.scene(5, product=False)
    config = season.database.configured(extraction={"s2": {"scl": True, "10": [], "20": []}})
    with line(season) as conn:
        planning.plan(conn, config)
    for attempt in (1, 2, 3):
        with line(season) as victim:
            assert claim(season, victim).attempt == attempt
        with line(season) as admin:  # closing is not waited for by the client, the lock's end is
            while admin.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchone():
                pass
    with line(season) as conn:
        assert tasks.claim(conn, season.config.tables, "survivor") is None
    assert season.tasks() == {(scene, "scl"): "failed"}
    assert season.status(scene) == "No out db"


def test_three_attempts_then_the_manuals_word_and_the_reason(season: Season) -> None:
    scene, other = season.scene(5, product=False), season.scene(6, product=False)
    plan(season)
    with line(season) as conn:
        order = []
        for _ in range(4):
            task = claim(season, conn)
            order.append(task.obsid)
            if task.obsid == scene:
                tasks.fail(conn, season.config.tables, task, status="!S3 B02.jp2", reason="it is not there")
                tasks.unlock(conn, task)
            else:
                finish(season, conn, task)
        assert order == [scene, other, scene, scene], "a failure goes to the end of its line"
        assert season.status(scene) == "inprogress"
        for _ in range(4):
            finish(season, conn, claim(season, conn))
    assert season.status(other) == "extracted"
    assert season.rows("SELECT status, reason FROM dias_catalogue WHERE id = %s", scene) == [
        ("!S3 B02.jp2", "!S3 B02.jp2: it is not there")
    ]
    assert plan(season).changed is False
    assert plan(season, retry=True).again == 1
    assert season.status(scene) == "inprogress"


def test_a_scene_set_back_to_ingested_is_done_again(season: Season) -> None:
    scene = season.scene(5, product=False)
    plan(season)
    with line(season) as conn:
        for _ in range(3):
            finish(season, conn, claim(season, conn))
        assert season.status(scene) == "extracted"
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
    assert plan(season).again == 3
    assert set(season.tasks().values()) == {"ready"}


def test_a_scene_without_parcels_is_skipped_whole(season: Season) -> None:
    scene = season.scene(5, product=False)
    plan(season)
    with line(season) as conn:
        tasks.skip_scene(conn, season.config.tables, claim(season, conn))
        assert tasks.all_closed(conn, season.config.tables)
    assert season.status(scene) == "No parcels"
    assert plan(season).changed is False


def test_a_released_task_has_lost_nothing(season: Season) -> None:
    season.scene(5, product=False)
    plan(season)
    with line(season) as conn:
        task = claim(season, conn)
        tasks.release(conn, season.config.tables, task)
        assert claim(season, conn) == task
