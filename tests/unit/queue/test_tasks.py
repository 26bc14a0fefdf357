"""The queue: what is planned, who gets what, and what a scene's status says."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cbmctl.config.bandsets import BANDSETS
from cbmctl.errors import UserError
from cbmctl.queue import planning, progress, tasks
from cbmctl.queue.locks import LOCK_SPACE
from tests.support.season import BANDS_10, BANDS_20, Season
from tests.support.worker_steps import claim, finish, line, plan

pytestmark = pytest.mark.postgis


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
