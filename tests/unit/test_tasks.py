"""The queue: what is planned, who gets what, and what a scene's status says."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from cbmctl.bandsets import BANDSETS
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.queue import planning, progress, tasks
from cbmctl.queue.locks import LOCK_SPACE
from cbmctl.queue.repair import repair
from cbmctl.reasons import UNREADABLE, file_missing

from .conftest import BANDS_10, BANDS_20, Season

pytestmark = pytest.mark.postgis


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
    tasks.unlock(conn, task)


def test_plan_takes_what_is_asked_for_and_only_once(season: Season) -> None:
    inside = season.scene(5, product=False)
    elsewhere = season.scene(6, product=False, shift=5.0)
    extracted = season.scene(7, product=False)
    other = season.scene(8, product=False)
    change = "UPDATE dias_catalogue SET {} = %s WHERE id = %s"
    with season.database.connect() as conn:
        conn.execute(change.format("status"), ["extracted", extracted])  # type: ignore[call-overload]
        conn.execute(change.format("card"), ["l1c", other])  # type: ignore[call-overload]
    would = plan(season, check=True)
    assert (would.changed, would.created, season.tasks()) == (True, 3, {})
    assert plan(season) == would
    assert season.tasks() == {(inside, bandset): "ready" for bandset in ("scl", "10", "20")}
    assert elsewhere != inside
    again = plan(season)
    assert (again.changed, again.counts) == (False, {"ready": 3, "running": 0, "done": 0, "failed": 0})


def test_every_card_has_its_own_band_sets(season: Season) -> None:
    scenes = {card: season.scene(day, product=False) for day, card in enumerate(("bs", "c6", "c12", "s2"), 1)}
    with season.database.connect() as conn:
        for card, scene in scenes.items():
            conn.execute("UPDATE dias_catalogue SET card = %s WHERE id = %s", [card, scene])
    assert plan(season).created == 6
    assert plan(season).changed is False
    with line(season) as conn, line(season) as other:
        taken = [claim(season, conn) for _ in range(6)]
        assert tasks.claim(other, season.config, "other") is None, "one connection holds all of them"
        assert [(task.card, task.bandset) for task in taken] == [
            (BANDSETS[bandset].card, bandset) for bandset in BANDSETS
        ]
        assert [task.obsid for task in taken] == [scenes[task.card] for task in taken]
        assert {task.bandset: task.bands for task in taken} == {
            "scl": ("SCL",),
            "10": BANDS_10,
            "20": BANDS_20,
            "bs": ("VHb", "VVb"),
            "c6": ("VHc", "VVc"),
            "c12": ("VHc", "VVc"),
        }
        assert {task.bandset: task.method for task in taken} == season.config.extraction.methods
        locks = "SELECT classid::bigint - %s FROM pg_locks WHERE locktype = 'advisory' ORDER BY 1"
        assert other.execute(locks, [LOCK_SPACE]).fetchall() == [(place,) for place in range(1, 7)]
        for task in taken:
            finish(season, conn, task)
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]


def test_a_radar_scene_without_parcels(season: Season) -> None:
    scene = season.scene(5, product=False)
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET card = 'c12'")
    plan(season)
    with line(season) as conn:
        tasks.skip_scene(conn, season.config.tables, claim(season, conn))
    assert season.status(scene) == "No parcels"


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
        while task := tasks.claim(conn, season.config, "test"):
            order.append((task.obsid, task.bandset))
    assert order == [(scene, bandset) for bandset in ("scl", "10", "20") for scene in (early, late)]


def test_nobody_gets_what_another_has(season: Season) -> None:
    for day in range(1, 15):
        season.scene(day, product=False)
    plan(season)

    def take_all(number: int) -> list[tuple[int, str]]:
        taken = []
        with line(season) as conn:
            while task := tasks.claim(conn, season.config, f"worker {number}"):
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
        assert tasks.claim(second, season.config, "second") is None


def test_a_dead_workers_task_is_free_at_once(season: Season) -> None:
    scene = season.scene(5, product=False)
    plan(season)
    dead = connect(season.config, autocommit=True)
    lost = claim(season, dead)
    kill(season, dead)
    with line(season) as conn:
        assert season.tasks()[scene, "scl"] == "running"
        again = claim(season, conn)
        assert (again.obsid, again.bandset, again.attempt) == (lost.obsid, lost.bandset, 2)
        with pytest.raises(psycopg.OperationalError):
            finish(season, dead, lost)
        finish(season, conn, again)
    assert season.tasks()[scene, "scl"] == "done"


def test_a_task_that_alone_kills_its_workers_is_parked(season: Season) -> None:
    scene = season.scene(5, product=False)
    season = impatient(season, **{"10": [], "20": []})
    plan(season)
    with line(season) as conn:
        tasks.fail(conn, season.config, claim(season, conn), UNREADABLE, "it is torn")
    for attempt in (2, 3):
        victim = connect(season.config, autocommit=True)
        assert claim(season, victim).attempt == attempt
        kill(season, victim)
    with line(season) as conn:
        assert tasks.claim(conn, season.config, "survivor") is None
        assert not progress.all_closed(conn, season.config.tables), "others may turn out to have died as well"
        conn.execute("UPDATE vanished_workers SET noticed_at = noticed_at - interval '10 s'")
        conn.execute("UPDATE tasks SET claimed_at = claimed_at - interval '10 s'")
        assert tasks.claim(conn, season.config, "survivor") is None
        assert progress.all_closed(conn, season.config.tables)
        assert conn.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchone() is None
    assert season.rows("SELECT status, reason FROM dias_catalogue WHERE id = %s", scene) == [
        (
            "Worker vanished",
            "the worker of this task alone vanished in attempt 3, the last; memory may be"
            " too small for this scene (journalctl -k); before that, Rio error: it is torn",
        )
    ]
    with line(season) as conn:
        (repaired,) = repair(conn, season.config).scenes
        assert (repaired.before, repaired.after) == ("Worker vanished", "ingested")
        assert claim(season, conn).attempt == 1


def test_three_attempts_then_the_manuals_word_and_the_reason(season: Season) -> None:
    scene, other = season.scene(5, product=False), season.scene(6, product=False)
    season = impatient(season)
    plan(season)
    reason = "it is not there, " + "although it was looked for everywhere, " * 10
    with line(season) as conn:
        order = []
        for _ in range(4):
            task = claim(season, conn)
            order.append(task.obsid)
            if task.obsid == scene:
                last = tasks.fail(conn, season.config, task, file_missing("B02.jp2"), reason)
                tasks.unlock(conn, task)
                assert last is (task.attempt == 3)
            else:
                finish(season, conn, task)
        assert order == [scene, other, scene, scene], "a failure goes to the end of its line"
        assert season.status(scene) == "inprogress"
        for _ in range(4):
            finish(season, conn, claim(season, conn))
    assert season.status(other) == "extracted"
    assert season.rows("SELECT status, reason_code, reason FROM dias_catalogue WHERE id = %s", scene) == [
        ("!S3 B02.jp2", "archive.file_missing", reason)
    ]
    assert plan(season).changed is False


def test_a_long_word_fits_and_its_reason_is_whole(season: Season) -> None:
    scene = season.scene(5, product=False)
    config = season.database.configured(extraction={"retry_seconds": []})
    with line(season) as conn:
        planning.plan(conn, config)
        for bandset in ("scl", "10", "20"):
            task = claim(season, conn)
            cause = file_missing("a_band_of_a_very_long_name.tif")
            if bandset == "scl":
                finish(season, conn, task)
            else:
                assert tasks.fail(conn, config, task, cause, f"{bandset} m are\nnot there")
                tasks.unlock(conn, task)
    assert season.rows("SELECT status, reason FROM dias_catalogue WHERE id = %s", scene) == [
        ("!S3 a_band_of_a_very_lon", "10 m are\nnot there")
    ]


def test_a_failure_waits_longer_each_time(season: Season) -> None:
    scene = season.scene(5, product=False)
    config = season.database.configured(extraction={"s2": {"10": [], "20": []}, "retry_seconds": [30, 300]})
    with line(season) as conn:
        planning.plan(conn, config)
        for attempt, pause in ((1, 30), (2, 300)):
            task = claim(season, conn)
            assert task.attempt == attempt
            assert not tasks.fail(conn, config, task, UNREADABLE, "it is torn")
            tasks.unlock(conn, task)
            assert season.rows(
                "SELECT round(extract(epoch FROM not_before - now()) / 10)::integer * 10 FROM tasks"
            ) == [(pause,)]
            assert tasks.claim(conn, config, "too early") is None
            assert not progress.all_closed(conn, config.tables)
            conn.execute("UPDATE tasks SET not_before = now() - interval '1 ms'")
        task = claim(season, conn)
        assert season.rows("SELECT not_before FROM tasks") == [(None,)]
        assert tasks.fail(conn, config, task, UNREADABLE, "it is torn")
    assert season.rows("SELECT state, not_before FROM tasks") == [("failed", None)]
    assert season.status(scene) == "Rio error"


def test_a_dead_workers_task_does_not_wait(season: Season) -> None:
    season.scene(5, product=False)
    config = season.database.configured(extraction={"s2": {"10": [], "20": []}, "retry_seconds": [0, 3600]})
    with line(season) as conn:
        planning.plan(conn, config)
        task = claim(season, conn)
        tasks.fail(conn, config, task, UNREADABLE, "it is torn")
        tasks.unlock(conn, task)
        victim = connect(config, autocommit=True)
        assert claim(season, victim).attempt == 2
        kill(season, victim)
        assert claim(season, conn).attempt == 3


def test_only_what_nobody_has_tried(season: Season) -> None:
    scene, other = season.scene(5, product=False), season.scene(6, product=False)
    season = impatient(season, **{"10": [], "20": []})
    plan(season)
    victim = connect(season.config, autocommit=True)
    assert claim(season, victim, fresh_only=True).obsid == scene
    kill(season, victim)
    with line(season) as conn:
        first = claim(season, conn, fresh_only=True)
        assert first.obsid == other
        tasks.fail(conn, season.config, first, UNREADABLE, "it is torn")
        tasks.unlock(conn, first)
        assert tasks.claim(conn, season.config, "test", fresh_only=True) is None
        assert {(task.obsid, task.attempt) for task in (claim(season, conn), claim(season, conn))} == {
            (scene, 2),
            (other, 2),
        }


def test_only_the_scenes_that_are_asked_for(season: Season) -> None:
    early, late = season.scene(5, product=False), season.scene(6, product=False)
    plan(season)
    tables = season.config.tables
    with line(season) as conn:
        while task := tasks.claim(conn, season.config, "test", obsids=[late]):
            assert task.obsid == late
            finish(season, conn, task)
        assert progress.counts(conn, tables, [late]) == {"ready": 0, "running": 0, "done": 3, "failed": 0}
        assert progress.counts(conn, tables, [])["done"] == 0
        assert (progress.all_closed(conn, tables, [late]), progress.all_closed(conn, tables)) == (True, False)
    assert (season.status(early), season.status(late)) == ("ingested", "extracted")


def test_what_is_ready_again_before_its_worker_let_go_is_not_taken(season: Season) -> None:
    season.scene(5, product=False)
    season = impatient(season, **{"10": [], "20": []})
    plan(season)
    with line(season) as conn, line(season) as other:
        task = claim(season, conn)
        tasks.fail(conn, season.config, task, UNREADABLE, "it is torn")
        assert tasks.claim(other, season.config, "other") is None
        tasks.unlock(conn, task)
        assert claim(season, other).attempt == 2


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
        conn.execute("INSERT INTO sigs (pid, obsid, band) VALUES (1, %s, 'B02'), (1, 99, 'B02'); ", [scene])
        conn.execute("INSERT INTO hists (pid, obsid, hist) VALUES (1, %s, '{}')", [scene])
        tasks.skip_scene(conn, season.config.tables, claim(season, conn))
        assert progress.all_closed(conn, season.config.tables)
    assert season.status(scene) == "No parcels"
    assert season.rows("SELECT obsid FROM sigs UNION ALL SELECT obsid FROM hists") == [(99,)]
    assert plan(season).changed is False


def test_a_released_task_has_lost_nothing(season: Season) -> None:
    season.scene(5, product=False)
    plan(season)
    with line(season) as conn:
        task = claim(season, conn)
        assert isinstance(task.method.cloud_classes, tuple)
        tasks.release(conn, season.config.tables, task)
        assert claim(season, conn) == task
