"""Archived scenes in the queue: plans, searches and other tiles of the datatake leave them alone."""

from dataclasses import replace as replaced
from pathlib import Path

import pytest
from shapely.affinity import translate

from cbmctl.catalogue.replace_versions import replace
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.maintenance.season_archive.drop import drop
from cbmctl.maintenance.season_archive.make import make
from cbmctl.maintenance.season_archive.restore import restore
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.supersede import supersede
from cbmctl.queue.planning import plan, plan_scenes
from tests.support.acquisitions import BETTER, ORIGINAL, enter, extracted_as, here, pairs, statuses, write
from tests.support.datatakes import HERE, WEST, Datatake
from tests.support.parcel_changes import change
from tests.support.parcel_loading import write as write_parcels
from tests.support.season import PARCELS, Season

pytestmark = pytest.mark.postgis

RESULTS = "SELECT * FROM sigs ORDER BY 1, 2, 3", "SELECT pid, obsid, hist::text FROM hists ORDER BY 1, 2"


def archived(season: Season, folder: Path) -> None:
    with connect(season.config, autocommit=True) as conn:
        make(conn, season.config, folder)
        assert drop(conn, season.config, folder).kept == {}


def restored(season: Season, folder: Path) -> int:
    with connect(season.config, autocommit=True) as conn:
        return restore(conn, season.config, folder).scenes


def results(season: Season) -> list[object]:
    return [season.rows(query) for query in RESULTS]


def test_a_tile_that_is_extracted_again_beside_an_archived_one(season: Season, tmp_path: Path) -> None:
    datatake = Datatake(season)
    for tile in (WEST, HERE):
        datatake.enter(tile)
    datatake.plan()
    datatake.work()
    before = results(season)
    archived(season, tmp_path / "2021")
    datatake.plan()
    assert datatake.work() == []
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested' WHERE id = %s", [datatake.ids[HERE]])
    datatake.plan()
    datatake.work()
    assert season.status(datatake.ids[HERE]) == "extracted"
    assert season.status(datatake.ids[WEST]) == "archived"
    assert restored(season, tmp_path / "2021") == 1
    assert season.status(datatake.ids[WEST]) == "extracted"
    doubled = season.rows("SELECT pid, band FROM sigs GROUP BY pid, band HAVING count(*) > 1")
    assert doubled == [], "each parcel counts once in a datatake"
    datatake.plan()
    datatake.work()
    assert results(season) == before


def test_a_newer_version_is_offered_and_can_replace_an_archived_scene(season: Season, tmp_path: Path) -> None:
    write(season, BETTER)
    extracted_as(season, ORIGINAL)
    archived(season, tmp_path / "2021")
    newer = here(season, BETTER)
    assert enter(season, newer).versions.offered == pairs((ORIGINAL, BETTER))
    assert statuses(season) == {ORIGINAL.reference: "archived", BETTER.reference: "offered"}
    with connect(season.config, autocommit=True) as conn:
        assert tuple(replace(conn, season.config)) == pairs((ORIGINAL, BETTER))
    season.extract()
    assert statuses(season) == {ORIGINAL.reference: "superseded", BETTER.reference: "extracted"}
    after = results(season)
    assert restored(season, tmp_path / "2021") == 0
    assert results(season) == after


def test_extract_scene_says_what_to_do(season: Season, tmp_path: Path) -> None:
    obsid = season.scene(3)
    season.extract()
    archived(season, tmp_path / "2021")
    with connect(season.config, autocommit=True) as conn, pytest.raises(UserError) as refused:
        plan_scenes(conn, season.config, {"S2A": obsid})
    assert "is archived. To restore its rows, run cbmctl maintain restore." in str(refused.value)


def test_new_parcels_leave_archived_scenes_alone(season: Season, tmp_path: Path) -> None:
    first, later = season.scene(3), season.scene(4)
    season.extract()
    archived(season, tmp_path / "2021")
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested' WHERE id = %s", [later])
    season.extract()
    assert (season.status(first), season.status(later)) == ("archived", "extracted")
    before = season.rows("SELECT * FROM tasks WHERE obsid = %s ORDER BY bandset", first)
    with season.database.connect() as conn:
        supersede(conn, season.config.tables, drop_statistics=True)
    assert (season.status(first), season.status(later)) == ("archived", "ingested")
    assert season.rows("SELECT * FROM tasks WHERE obsid = %s ORDER BY bandset", first) == before
    with connect(season.config, autocommit=True) as conn:
        assert not plan(conn, season.config).changed
    assert season.rows("SELECT DISTINCT obsid FROM tasks WHERE state = 'ready'") == [(later,)]


def test_parcels_that_came_meanwhile_are_read_after_the_restore(season: Season, tmp_path: Path) -> None:
    obsid = season.scene(3)
    season.extract()
    before = results(season)
    archived(season, tmp_path / "2021")
    new = {101: translate(PARCELS[1], 3, 3)}
    assert change(season, 2, new, gone=[7]).scenes == 0
    assert restored(season, tmp_path / "2021") == 1
    assert results(season) == before
    assert season.status(obsid) == "extracted"
    tasks = season.rows("SELECT DISTINCT state, parcels_covered, parcels_asked FROM tasks")
    assert tasks == [("ready", 1, 2)], "only the new parcel is to be read"
    season.extract()
    assert season.rows("SELECT DISTINCT state, parcels_covered FROM tasks") == [("done", 2)]
    assert season.rows("SELECT count(*) > 0 FROM sigs WHERE pid = 101") == [(True,)]
    old = [query.replace(" ORDER", " WHERE pid <> 101 ORDER") for query in RESULTS]
    assert [season.rows(query) for query in old] == before, "also those of the parcel that is gone"


class Few(list[str]):
    """Lines of a worker that ends by itself."""

    def append(self, line: str, /) -> None:
        super().append(line)
        assert len(self) < 30, self


def test_the_parcels_of_the_next_season_are_loaded_beside_an_archive(season: Season, tmp_path: Path) -> None:
    shared, former, without = season.scene(3), season.scene(4), season.scene(5, shift=0.3)
    season.extract()
    change(season, 2, {101: translate(PARCELS[1], 3, 3)}, gone=[7])
    season.extract()
    assert [season.status(obsid) for obsid in (shared, former, without)] == [*["extracted"] * 2, "No parcels"]
    assert season.rows("SELECT DISTINCT parcels_asked FROM tasks WHERE obsid <> %s", without) == [(2,)]
    with season.database.connect() as conn:
        conn.execute("UPDATE parcel_sets SET last_id = NULL")  # loaded by an earlier version
    archived(season, tmp_path / "2021")
    drawn = [translate(shape, 5, 5) for shape in PARCELS.values()]
    file = write_parcels(tmp_path / "2022.gpkg", drawn, crs="EPSG:32632", id=list(PARCELS))
    next_season = replaced(season.config.tables, parcels=season.config.tables.parcels.sibling("parcels_2022"))
    with connect(season.config, autocommit=True) as conn:
        load(conn, next_season, file, Options())
    assert season.rows("SELECT min(ogc_fid) FROM parcels_2022") == [(102,)], (
        "after all numbers of the archive"
    )
    assert (season.status(former), results(season)) == ("archived", [[], []])
    assert season.status(without) == "ingested"
    assert season.rows("SELECT count(*) FROM tasks WHERE obsid = %s", without) == [(0,)], "planned by period"
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested' WHERE id = %s", [shared])
    season.extract(replaced(season.config, tables=next_season), Few())
    assert (season.status(shared), season.status(former)) == ("extracted", "archived")
    assert season.rows("SELECT DISTINCT obsid, pid >= 102 FROM sigs") == [(shared, True)]
    with pytest.raises(UserError, match=r"not in public\.parcels_2021, such as pid 10\d: a later season was"):
        restored(season, tmp_path / "2021")
    with connect(season.config, autocommit=True) as conn:
        conn.execute("DROP TABLE parcels_2021")
        with pytest.raises(UserError, match="parcels_2021 is missing, or has no ogc_fid"):
            load(conn, season.config.tables, file, Options())


def test_the_next_season_has_a_schema_of_its_own(season: Season, tmp_path: Path) -> None:
    """Deleting what no archive holds is not advised."""
    season.scene(3)
    season.extract()
    file = write_parcels(tmp_path / "2022.gpkg", list(PARCELS.values()), crs="EPSG:32632", id=list(PARCELS))
    next_season = replaced(season.config.tables, parcels=season.config.tables.parcels.sibling("parcels_2022"))
    with connect(season.config, autocommit=True) as conn:
        load(conn, season.config.tables, file, Options())
        with pytest.raises(UserError) as refused:
            load(conn, next_season, file, Options())
    assert str(refused.value).startswith(
        "public.sigs and public.hists have statistics of public.parcels_2021, and public.parcels_2022 is a"
        " new table."
    )
    assert "tenant_seasons" in str(refused.value)
    assert "--drop-statistics" not in str(refused.value)
