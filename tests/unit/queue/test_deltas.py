"""Parcels that are new or gone while there are statistics: scenes read what is new, and keep the rest."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import rasterio
from click.testing import CliRunner
from shapely import box

from cbmctl.archive.open_archive import open_archive
from cbmctl.cli import cbmctl
from cbmctl.database import connect
from cbmctl.queue.archived_scenes import archive_scene, mark_restored
from cbmctl.queue.parcel_changes import Delta
from cbmctl.queue.planning import plan, plan_scenes
from cbmctl.queue.repair import repair
from cbmctl.scenes import reading
from cbmctl.worker.index_cache import Indexes
from cbmctl.worker.pipeline import _Worker, work
from cbmctl.worker.stop_signal import Stop
from tests.support.datatakes import HERE, WEST, Datatake
from tests.support.parcel_changes import change
from tests.support.products_s2 import LEFT, TOP, image_file
from tests.support.rows import assert_rows, folder, found, hists, sentinel2
from tests.support.season import PARCELS, Season

pytestmark = pytest.mark.postgis

NEW = box(LEFT + 250, TOP - 150, LEFT + 350, TOP - 50)
NEXT = box(LEFT + 30, TOP - 350, LEFT + 130, TOP - 250)
FAR = box(LEFT + 30_000, TOP - 150, LEFT + 30_100, TOP - 50)


@pytest.fixture
def conn(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as connection:
        yield connection


def do(season: Season) -> list[str]:
    lines: list[str] = []
    work(season.config, stop=Stop(), note=lines.append)
    return lines


def tasks(season: Season) -> list[tuple[Any, ...]]:
    return season.rows(
        "SELECT DISTINCT state, parcels_asked, parcels_covered, attempts FROM tasks ORDER BY 1, 2"
    )


def rows_are_counted(season: Season) -> bool:
    return season.rows(
        """SELECT (SELECT count(*) FROM sigs) = sum(rows) FILTER (WHERE bandset <> 'scl')
               AND (SELECT count(*) FROM hists) = sum(rows) FILTER (WHERE bandset = 'scl') FROM tasks"""
    ) == [(True,)]


def test_new_parcels_get_rows_and_the_scene_stays_extracted(season: Season) -> None:
    scene = season.scene(5)
    season.extract()
    before = found(season, scene)
    assert change(season, 2, {100: NEW}) == Delta(1, 3)
    assert (season.status(scene), tasks(season)) == ("extracted", [("ready", 2, 1, 0)])
    lines = do(season)
    assert [line.split(":")[1].split(" (")[0] for line in lines] == [" 1 rows", " 2 rows", " 1 rows"]
    assert (season.status(scene), tasks(season)) == ("extracted", [("done", 2, 2, 1)])
    after = found(season, scene)
    assert {key: row for key, row in after.items() if key[0] != 100} == before
    assert_rows(after, sentinel2(5, {1: PARCELS[1], 7: PARCELS[7], 100: NEW}))
    assert hists(season, scene).keys() == {1, 7, 100}
    assert season.rows("SELECT DISTINCT parcels FROM tasks") == [(3,)]
    assert rows_are_counted(season)


def test_only_what_new_parcels_touch_is_decoded(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = season.scene(5)
    for file in season.config.eodata.glob("**/*.jp2"):
        with rasterio.open(file) as source:
            profile, image = source.profile, source.read()
        profile |= {"blockxsize": 32, "blockysize": 32, "REVERSIBLE": "YES", "QUALITY": "100"}
        with rasterio.open(file, "w", **profile) as target:
            target.write(image)
    monkeypatch.setattr(reading, "UNIT_PIXELS", 32 * 32)
    read: list[int] = []
    windows = reading._windows

    def counted(*arguments: Any) -> Any:
        found = windows(*arguments)
        read.append(len(found))
        return found

    monkeypatch.setattr(reading, "_windows", counted)
    season.extract()
    whole = list(read)
    read.clear()
    # in the last of four blocks at 10 m; at 20 m there is one
    change(season, 2, {100: box(LEFT + 330, TOP - 390, LEFT + 390, TOP - 330)})
    do(season)
    assert read == [1] * len(whole), "of scl, and of each band and its scl"
    assert max(whole) == 4
    assert (100, "B02") in found(season, scene)


def test_scenes_that_show_none_of_them_are_left_alone(season: Season) -> None:
    season.scene(5)
    season.extract()
    assert change(season, 2, {100: FAR}) == Delta(0, 0)
    assert tasks(season) == [("done", 1, 2, 1)]
    assert do(season) == []


def test_a_delta_that_finds_nothing_is_done(season: Season) -> None:
    scene = season.scene(5)
    season.extract()
    # within the margin of the footprint, and not in the image
    assert change(season, 2, {100: box(LEFT + 500, TOP - 150, LEFT + 600, TOP - 50)}).scenes == 1
    do(season)
    assert (season.status(scene), tasks(season)) == ("extracted", [("done", 2, 2, 1)])
    assert season.rows("SELECT DISTINCT parcels FROM tasks") == [(2,)]


def test_a_scene_without_parcels_gets_some(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5)
    conn.execute("DELETE FROM parcels_2021 WHERE ogc_fid <> 9")
    season.extract()
    assert season.status(scene) == "No parcels"
    change(season, 2, {100: NEW})
    assert season.status(scene) == "No parcels"
    do(season)
    assert season.status(scene) == "extracted"
    assert_rows(found(season, scene), sentinel2(5, {100: NEW}))


def test_parcels_that_are_gone_keep_their_rows(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5)
    season.extract()
    before, histograms = found(season, scene), hists(season, scene)
    change(season, 2, {100: NEW}, gone=[7])
    do(season)
    changed = found(season, scene)
    assert {key: row for key, row in changed.items() if key[0] != 100} == before
    references = season.rows("SELECT reference, id FROM dias_catalogue")
    plan_scenes(conn, season.config, dict(references))
    do(season)
    assert found(season, scene) == changed, "a whole extraction keeps them"
    assert hists(season, scene)[7] == histograms[7]
    assert rows_are_counted(season)
    # another method, too: nothing can make the rows of 7 anew
    bands = {"10": ["B02"], "20": []}
    config = season.database.configured(extraction={"s2": bands | {"reflectance": "as-stored"}})
    plan(conn, config)
    work(config, stop=Stop(), note=[].append)
    assert {band for pid, band in found(season, scene) if pid == 7} == {"B02", "B03", "B05"}
    assert {band for pid, band in found(season, scene) if pid == 1} == {"B02", "B05"}
    assert rows_are_counted(season)


def test_a_scene_whose_parcels_are_all_gone_stays_extracted(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5)
    season.extract()
    before = found(season, scene)
    change(season, 2, gone=[1, 7])
    plan_scenes(conn, season.config, dict(season.rows("SELECT reference, id FROM dias_catalogue")))
    do(season)
    assert (season.status(scene), found(season, scene)) == ("extracted", before)
    assert rows_are_counted(season)


def test_parcels_that_are_gone_leave_the_lists_of_tasks(season: Season, conn: psycopg.Connection) -> None:
    season.scene(5)
    season.extract()
    conn.execute(
        """UPDATE tasks SET slivers = '{4,7}', cut = '{7}', elsewhere = '{1,7,9}', elsewhere_seen = '{5,6,7}'
           WHERE bandset = 'scl'"""
    )
    change(season, 2, gone=[7])
    assert season.rows("SELECT slivers, cut, elsewhere, elsewhere_seen FROM tasks WHERE bandset = 'scl'") == [
        ([4], None, [1, 9], [5, 7])
    ]


def test_a_scene_that_was_archived_reads_new_parcels_once_it_is_back(
    season: Season, conn: psycopg.Connection
) -> None:
    scene, tables = season.scene(5), season.config.tables
    season.extract()
    conn.execute("CREATE TABLE kept_sigs AS TABLE sigs; CREATE TABLE kept_hists AS TABLE hists")
    ((number,),) = season.rows("SELECT (SELECT count(*) FROM sigs) + (SELECT count(*) FROM hists)")
    with conn.transaction():
        assert archive_scene(conn, tables, scene, "a", lambda: "", expected=number, last_id=9).archived
    assert change(season, 2, {100: NEW}) == Delta(0, 0)
    assert do(season) == []
    conn.execute("INSERT INTO sigs TABLE kept_sigs; INSERT INTO hists TABLE kept_hists")
    mark_restored(conn, tables, [scene])
    assert (season.status(scene), tasks(season)) == ("extracted", [("ready", 2, 1, 0)])
    do(season)
    assert_rows(found(season, scene), sentinel2(5, {1: PARCELS[1], 7: PARCELS[7], 100: NEW}))


def test_a_delta_that_fails_marks_its_task_only(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5)
    season.extract()
    file = image_file(season.config.eodata, folder(season, scene), "B05_20m")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    conn.execute("DELETE FROM file_checks")
    change(season, 2, {100: NEW})
    config = season.database.configured(extraction={"retry_seconds": []})
    work(config, stop=Stop(), note=[].append)
    assert season.status(scene) == "extracted"
    assert season.rows("SELECT bandset, reason_code FROM tasks WHERE state = 'failed'") == [
        ("20", "archive.unreadable")
    ]
    assert season.rows("SELECT reason_code FROM dias_catalogue") == [(None,)]
    shown = CliRunner().invoke(cbmctl, ["--config", str(season.database.config_path), "status"])
    assert "new parcels of version 2: extracted in 0 of 1 scenes, 1 failed" in shown.output
    file.write_bytes(whole)
    before = found(season, scene)
    (repaired,) = repair(conn, config).scenes
    assert (repaired.before, repaired.after) == ("extracted", "extracted")
    assert (repaired.tasks, repaired.sigs, repaired.hists) == (1, 0, 0)
    assert found(season, scene) == before
    do(season)
    assert_rows(found(season, scene), sentinel2(5, {1: PARCELS[1], 7: PARCELS[7], 100: NEW}))
    shown = CliRunner().invoke(cbmctl, ["--config", str(season.database.config_path), "status"])
    assert "parcel set" not in shown.output


def worker(season: Season, conn: psycopg.Connection, reader: reading.Reader) -> _Worker:

    config, note = season.config, [].append
    archive = open_archive(config.eodata, config.cache)
    return _Worker(conn, config, "w", archive, reader, Indexes(conn, config), Stop(), note, note, None)


def test_a_worker_that_read_the_parcels_of_before_leaves_its_task_open(
    season: Season, conn: psycopg.Connection
) -> None:
    scene = season.scene(5)
    plan(conn, season.config)
    with reading.Reader(1) as reader:
        hand = worker(season, conn, reader)
        begun = hand._begin()
        assert begun
        change(season, 2, {100: NEW}, gone=[7])
        following = hand._carry_out(begun)
        assert hists(season, scene).keys() == {1}, "none of a parcel that is gone"
        assert season.rows(
            "SELECT state, parcels_asked, parcels_covered, rows FROM tasks WHERE bandset = 'scl'"
        ) == [("ready", 2, 1, 1)]
        if following:
            hand._give_back(following)
    do(season)
    assert season.status(scene) == "extracted"
    assert hists(season, scene).keys() == {1, 100}
    assert_rows(found(season, scene), sentinel2(5, {1: PARCELS[1], 100: NEW}))
    assert rows_are_counted(season)


def test_a_delta_is_overtaken_by_the_next_and_by_a_whole_extraction(
    season: Season, conn: psycopg.Connection
) -> None:
    scene = season.scene(5)
    season.extract()
    change(season, 2, {100: NEW})
    with reading.Reader(1) as reader:
        hand = worker(season, conn, reader)
        begun = hand._begin()
        assert begun
        change(season, 3, {101: NEXT}, gone=[100])
        following = hand._carry_out(begun)
        assert hists(season, scene).keys() == {1, 7}
        if following:
            hand._give_back(following)
        begun = hand._begin()
        assert begun
        plan_scenes(conn, season.config, dict(season.rows("SELECT reference, id FROM dias_catalogue")))
        following = hand._carry_out(begun)
        assert ("done", 3) not in season.rows("SELECT state, parcels_covered FROM tasks"), "it is outdated"
        if following:
            hand._give_back(following)
    do(season)
    assert tasks(season) == [("done", 1, 3, 1)], "whatever version was asked for, it has read all"
    assert_rows(found(season, scene), sentinel2(5, {1: PARCELS[1], 7: PARCELS[7], 101: NEXT}))
    assert rows_are_counted(season)


def test_a_new_parcel_of_two_tiles_is_counted_in_one(season: Season) -> None:
    datatake = Datatake(season)
    datatake.enter(WEST)
    datatake.enter(HERE)
    datatake.plan()
    datatake.work()
    before = datatake.found()
    change(season, 2, {100: box(LEFT + 20, TOP - 390, LEFT + 120, TOP - 330)})
    for _ in range(3):  # either tile may be the last to read it
        datatake.work(HERE, tasks=1)
        datatake.work(WEST, tasks=1)
    assert datatake.where()[100] == {WEST: "stz"}
    assert {key: row for key, row in datatake.found().items() if key[0] != 100} == before
    assert season.rows("SELECT DISTINCT state FROM tasks") == [("done",)]
