"""What a change of the configuration means for scenes that are queued, being done, or done."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.queue import tasks
from cbmctl.queue.planning import Planned, plan
from cbmctl.reasons import UNREADABLE, file_missing
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.support.season import BANDS_10, BANDS_20, OFFSET, Season

pytestmark = pytest.mark.postgis

ALL = ("B02", "B03", "B05")


def configured(season: Season, ten: list[str], twenty: list[str], *, scl: bool = True) -> Config:
    return season.database.configured(
        extraction={"s2": {"scl": scl, "10": ten, "20": twenty}, "retry_seconds": [0, 0]}
    )


def planned(config: Config, *, check: bool = False) -> Planned:
    with connect(config, autocommit=True) as conn:
        return plan(conn, config, check=check)


def extract(config: Config) -> list[str]:
    """Plan and work; return the band sets of the tasks that were worked on."""
    lines: list[str] = []
    planned(config)
    work(config, stop=Stop(), note=lines.append)
    return [line.split(":")[0].split()[1] for line in lines]


def changes(result: Planned) -> tuple[int, int, int]:
    return result.created, result.again, result.dropped


def bands(season: Season, obsid: int) -> tuple[str, ...]:
    rows = season.rows("SELECT DISTINCT band FROM sigs WHERE obsid = %s ORDER BY 1", obsid)
    return tuple(band for (band,) in rows)


def agree(season: Season) -> bool:
    """Whether tasks say how many rows there are."""
    return season.rows(
        "SELECT (SELECT count(*) FROM sigs) = coalesce(sum(rows) FILTER (WHERE bandset <> 'scl'), 0)"
        " AND (SELECT count(*) FROM hists) = coalesce(sum(rows) FILTER (WHERE bandset = 'scl'), 0) FROM tasks"
    ) == [(True,)]


@pytest.fixture
def conn(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as connection:
        yield connection


@pytest.fixture
def done(season: Season) -> int:
    """A scene that is extracted as configured."""
    scene = season.scene(5)
    assert extract(season.config) == ["scl", "10", "20"]
    assert bands(season, scene) == ALL
    return scene


def die(season: Season, config: Config) -> tasks.Task:
    """Claim a task and vanish."""
    with connect(config, autocommit=True) as victim:
        task = tasks.claim(victim, config, "victim")
    with connect(season.config, autocommit=True) as admin:
        while admin.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchone():
            pass
    assert task is not None
    return task


def test_nothing_changed(season: Season, done: int) -> None:
    for config in (season.config, configured(season, ["B03", "B02", "B03"], ["B05"])):
        for check in (True, False):
            result = planned(config, check=check)
            assert (result.changed, changes(result)) == (False, (0, 0, 0))
    assert season.status(done) == "extracted"


def test_an_added_band(season: Season) -> None:
    scene = season.scene(5)
    before = configured(season, ["B02"], ["B05"])
    extract(before)
    after = configured(season, ["B02", "B03"], ["B05"])
    would = planned(after, check=True)
    assert (changes(would), season.status(scene)) == ((0, 1, 0), "extracted")
    assert planned(after) == would
    assert season.status(scene) == "inprogress"
    assert extract(after) == ["10"]
    assert (bands(season, scene), season.status(scene), agree(season)) == (ALL, "extracted", True)
    assert not planned(after).changed


def test_an_added_band_set(season: Season) -> None:
    scene = season.scene(5)
    extract(configured(season, ["B02", "B03"], []))
    after = configured(season, ["B02", "B03"], ["B05"])
    would = planned(after, check=True)
    assert changes(would) == (1, 0, 0)
    assert planned(after) == would
    assert season.status(scene) == "inprogress"
    assert extract(after) == ["20"]
    assert (bands(season, scene), season.status(scene), agree(season)) == (ALL, "extracted", True)
    assert season.rows("SELECT count(*) FROM hists") == [(2,)]


def test_clouds_that_can_be_seen_from_now_on(season: Season) -> None:
    scene = season.scene(5)
    extract(configured(season, ["B02"], ["B05"], scl=False))
    after = configured(season, ["B02"], ["B05"])
    assert changes(planned(after)) == (1, 2, 0)
    assert extract(after) == ["scl", "10", "20"]
    assert (season.status(scene), agree(season)) == ("extracted", True)


def test_another_method(season: Season, done: int) -> None:
    before = season.rows("SELECT pid, band, mean FROM sigs ORDER BY 1, 2")
    s2 = {"10": list(BANDS_10), "20": list(BANDS_20), "reflectance": "as-stored"}
    after = season.database.configured(extraction={"s2": s2})
    would = planned(after, check=True)
    assert changes(would) == (0, 2, 0)
    assert planned(after) == would
    assert (season.status(done), changes(planned(after))) == ("inprogress", (0, 0, 0))
    assert season.rows("SELECT pid, band, mean FROM sigs ORDER BY 1, 2") == before, "until they are replaced"
    assert extract(after) == ["10", "20"]
    assert season.rows("SELECT pid, band, round(mean) FROM sigs ORDER BY 1, 2") == [
        (pid, band, pytest.approx(mean - OFFSET, abs=2)) for pid, band, mean in before
    ]
    assert not planned(after).changed


def test_a_method_that_is_not_known_is_another(season: Season, done: int) -> None:
    with season.database.connect() as conn:
        conn.execute("UPDATE tasks SET method = NULL WHERE bandset <> 'scl'")
    assert changes(planned(season.config)) == (0, 2, 0)
    assert season.status(done) == "inprogress"
    assert extract(season.config) == ["10", "20"]
    assert not planned(season.config).changed


def test_a_method_that_changes_while_a_worker_is_at_the_task(
    season: Season, conn: psycopg.Connection
) -> None:
    scene = season.scene(5)
    before = configured(season, ["B02"], [], scl=False)
    planned(before)
    task = tasks.claim(conn, before, "live")
    assert task is not None
    s2 = {"scl": False, "10": ["B02"], "20": [], "edge": "keep"}
    after = season.database.configured(extraction={"s2": s2, "retry_seconds": []})
    assert changes(planned(after)) == (0, 1, 0)
    assert not tasks.fail(conn, before, task, UNREADABLE, "it is torn")
    tasks.unlock(conn, season.config.tables, task)
    assert season.rows("SELECT state, attempts, reason, not_before FROM tasks") == [("ready", 0, None, None)]
    again = tasks.claim(conn, after, "live")
    assert again is not None
    assert (again.attempt, again.method.edge) == (1, "keep")
    with conn.transaction():
        tasks.finish(conn, season.config.tables, again, parcels=1, rows=0)
    assert season.status(scene) == "extracted"


def test_what_failed_with_other_bands_begins_anew(season: Season, conn: psycopg.Connection) -> None:
    season.scene(5)
    planned(configured(season, ["B08"], [], scl=False))
    impatient = season.database.configured(extraction={"retry_seconds": [3600]})
    task = tasks.claim(conn, impatient, "test")
    assert task is not None
    tasks.fail(conn, impatient, task, file_missing("B08.jp2"), "it is not there")
    tasks.unlock(conn, season.config.tables, task)
    after = configured(season, ["B02"], [], scl=False)
    assert changes(planned(after)) == (0, 1, 0)
    assert season.rows("SELECT attempts, reason, not_before FROM tasks") == [(0, None, None)]
    assert extract(after) == ["10"]


def test_a_removed_band(season: Season, done: int) -> None:
    after = configured(season, ["B03"], ["B05"])
    assert changes(planned(after)) == (0, 1, 0)
    assert extract(after) == ["10"]
    assert (bands(season, done), season.status(done), agree(season)) == (("B03", "B05"), "extracted", True)


def test_a_removed_band_set_stays_where_it_is_done(season: Season, done: int) -> None:
    open_scene = season.scene(6)
    planned(season.config)
    after = configured(season, ["B02", "B03"], [])
    assert changes(planned(after)) == (0, 0, 1)
    assert extract(after) == ["scl", "10"]
    assert (bands(season, done), bands(season, open_scene)) == (ALL, ("B02", "B03"))
    assert {season.status(scene) for scene in (done, open_scene)} == {"extracted"}
    assert changes(planned(season.config)) == (1, 0, 0), "and is wanted again"


def test_a_failed_task_is_tried_without_the_band_that_was_missing(season: Season) -> None:
    scene = season.scene(5)
    extract(configured(season, ["B02", "B08"], ["B05"]))
    assert season.status(scene) == "!S3 B08.jp2"
    extract(configured(season, ["B02"], ["B05"]))
    assert (season.status(scene), bands(season, scene)) == ("extracted", ("B02", "B05"))


def test_a_failed_task_of_an_unwanted_band_set_is_forgotten(season: Season) -> None:
    scene = season.scene(5)
    extract(configured(season, ["B02"], ["B06"]))
    assert season.status(scene) == "!S3 B06.jp2"
    assert changes(planned(configured(season, ["B02"], []))) == (0, 0, 1)
    assert season.status(scene) == "extracted"


def test_bands_that_cannot_be_had_leave_the_rows_of_before(season: Season, done: int) -> None:
    extract(configured(season, ["B02", "B03"], ["B05", "B06"]))
    assert (season.status(done), bands(season, done)) == ("!S3 B06.jp2", ALL)
    assert agree(season)
    assert changes(planned(configured(season, ["B02", "B03"], []))) == (0, 0, 1)
    assert (season.status(done), agree(season)) == ("extracted", True)
    assert changes(planned(season.config)) == (0, 1, 0), "of which bands is not known any more"


def test_a_dead_workers_task_of_an_unwanted_band_set_is_dropped(season: Season) -> None:
    scene = season.scene(5)
    twenty = configured(season, [], ["B05"], scl=False)
    planned(twenty)
    assert die(season, twenty).bandset == "20"
    after = configured(season, ["B02"], [], scl=False)
    assert changes(planned(after)) == (1, 0, 1)
    assert extract(after) == ["10"]
    assert season.tasks() == {(scene, "10"): "done"}


def test_a_live_workers_task_of_an_unwanted_band_set_is_left_to_it(
    season: Season, conn: psycopg.Connection
) -> None:
    scene = season.scene(5)
    planned(configured(season, [], ["B05"], scl=False))
    task = tasks.claim(conn, season.config, "live")
    assert task is not None
    assert changes(planned(configured(season, ["B02"], [], scl=False))) == (1, 0, 0)
    with conn.transaction():
        tasks.finish(conn, season.config.tables, task, parcels=1, rows=0)
    assert season.tasks() == {(scene, "10"): "ready", (scene, "20"): "done"}


def test_bands_that_change_while_a_worker_is_at_the_task(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5)
    planned(configured(season, ["B02"], [], scl=False))
    task = tasks.claim(conn, season.config, "live")
    assert task is not None
    after = configured(season, ["B02", "B03"], [], scl=False)
    assert changes(planned(after)) == (0, 1, 0)
    assert not planned(after).changed
    with conn.transaction():
        tasks.finish(conn, season.config.tables, task, parcels=1, rows=0)
    tasks.unlock(conn, season.config.tables, task)
    assert (season.tasks(), season.status(scene)) == ({(scene, "10"): "ready"}, "inprogress")
    assert extract(after) == ["10"]
    assert bands(season, scene) == ("B02", "B03")


def test_a_dead_workers_task_is_done_with_the_new_bands(season: Season) -> None:
    scene = season.scene(5)
    before = configured(season, ["B02"], [], scl=False)
    planned(before)
    die(season, before)
    after = configured(season, ["B03"], [], scl=False)
    assert changes(planned(after)) == (0, 1, 0)
    assert extract(after) == ["10"]
    assert (bands(season, scene), season.status(scene)) == (("B03",), "extracted")


def test_a_scene_without_parcels_is_not_looked_at_again(season: Season) -> None:
    scene = season.scene(5, product=False, shift=0.3)
    extract(configured(season, ["B02"], []))
    assert season.status(scene) == "No parcels"
    assert not planned(configured(season, ["B02", "B03"], ["B05"])).changed


def test_a_scene_out_of_period_keeps_what_it_has(season: Season, done: int) -> None:
    season.database.configured(args={"startdate": "2021-04-01"})
    assert not planned(configured(season, ["B02"], ["B05"])).changed
    assert bands(season, done) == ALL


def test_a_scene_that_loses_its_last_task_is_as_delivered(season: Season) -> None:
    scene = season.scene(5)
    twenty = configured(season, [], ["B05"], scl=False)
    planned(twenty)
    die(season, twenty)
    season.database.configured(args={"startdate": "2021-04-01"})
    assert changes(planned(configured(season, ["B02"], [], scl=False))) == (0, 0, 1)
    assert (season.tasks(), season.status(scene)) == ({}, "ingested")


def test_plans_and_workers_at_once_never_wait_in_a_circle(season: Season) -> None:
    for day in range(1, 15):
        season.scene(day, product=False)
    configs = (
        configured(season, ["B02"], ["B05"]),
        configured(season, ["B02", "B03"], []),
        configured(season, [], ["B05", "B06"], scl=False),
    )

    def plan_often(_number: int) -> None:
        for number in range(30):
            planned(configs[number % 3])

    def finish_many(number: int) -> None:
        with connect(season.config, autocommit=True) as conn:
            for _ in range(30):
                if task := tasks.claim(conn, season.config, f"worker {number}"):
                    with conn.transaction():
                        tasks.finish(conn, season.config.tables, task, parcels=1, rows=1)
                    tasks.unlock(conn, season.config.tables, task)

    planned(configs[0])
    with ThreadPoolExecutor(6) as pool:
        at_work = [pool.submit(job, number) for job in (plan_often, finish_many) for number in (1, 2, 3)]
    assert [error for job in at_work if (error := job.exception())] == []

    planned(configs[1])
    finish_many(0)
    assert not planned(configs[1]).changed
    wanted = season.rows("SELECT DISTINCT bandset, bands, state FROM tasks WHERE bandset <> '20' ORDER BY 1")
    assert wanted == [("10", ["B02", "B03"], "done"), ("scl", ["SCL"], "done")]
