"""`maintain archive` and `restore`: a season in Parquet and back, the same to the last bit."""

from pathlib import Path

import psycopg
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely

from cbmctl.database import connect
from cbmctl.maintenance.season_archive import database_rows, parquet, whole_tables
from cbmctl.queue import progress
from cbmctl.queue.planning import plan
from tests.conftest import Database
from tests.support.season_archives import FILES, PARCELS, change, done, fill, rows, run, spoken, state, words

pytestmark = pytest.mark.postgis


@pytest.fixture
def season(database: Database) -> Database:
    return fill(database)


def test_a_season_comes_back_as_it_was(season: Database, tmp_path: Path) -> None:
    folder = tmp_path / "2021"
    before = state(season)
    would = done(season, "archive", folder, "--check")
    assert (would["changed"], would["scenes"]) == (True, 7)
    assert not folder.exists()
    made = done(season, "archive", folder)
    number = len(before["sigs"]) + len(before["hists"])
    assert (made["changed"], made["scenes"], made["rows"], made["others"]) == (True, 7, number, 0)
    assert made["compared"] == 7
    assert state(season) == before, "archiving deletes nothing"
    assert done(season, "archive", folder) == made | {"changed": False}

    would = done(season, "archive", folder, "--drop", "--check")
    assert (would["scenes"], would["rows"]) == (7, number)
    assert state(season) == before
    touched = (
        "SELECT (SELECT count(*) FROM sigs WHERE xmax <> 0), (SELECT count(*) FROM hists WHERE xmax <> 0)"
    )
    assert rows(season, touched) == [(0, 0)], "no row is deleted and rolled back"
    dropped = done(season, "archive", folder, "--drop")
    assert (dropped["scenes"], dropped["rows"], dropped["kept"]) == (7, number, {})
    assert words(rows(season, "SELECT status FROM dias_catalogue")) == {"archived"}
    assert rows(season, "SELECT (SELECT count(*) FROM sigs), (SELECT count(*) FROM hists)") == [(0, 0)]
    assert state(season)["tasks"] == before["tasks"]
    again = done(season, "archive", folder, "--drop")
    assert (again["changed"], again["scenes"], again["already"]) == (False, 0, 7)
    again = done(season, "archive", folder)
    assert (again["changed"], again["compared"]) == (False, 0), "the archive is whole without the database"
    said = spoken(season, "archive", folder)
    assert "The files equal the database in 0 scenes. 7 scenes are only in the archive." in said

    assert done(season, "restore", folder, "--check")["scenes"] == 7
    restored = done(season, "restore", folder)
    assert (restored["changed"], restored["scenes"], restored["rows"]) == (True, 7, number)
    assert state(season) == before
    assert done(season, "restore", folder) == {
        "check": False,
        "changed": False,
        "scenes": 0,
        "rows": 0,
        "others": 7,
        "elsewhere": 0,
    }


def test_files_are_sorted_by_parcel_and_say_what_they_are(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_rows, "BATCH", 50)
    done(season, "archive", tmp_path / "2021")
    names = {path.name for path in (tmp_path / "2021").iterdir()}
    assert names == FILES
    file = pq.ParquetFile(tmp_path / "2021" / "sigs_s2.parquet")
    table = file.read()
    keys = list(zip(*(table[name].to_pylist() for name in ("pid", "obsid", "band")), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == 5 * PARCELS * 3
    assert set(table["band"].to_pylist()) == {"B02", "B03", "B2"}
    assert file.metadata.num_row_groups == 1
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    said = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    (revision,) = words(rows(season, "SELECT version_num FROM cbm_schema"))
    assert {name: said[f"cbm.{name}"] for name in ("schema", "area", "start", "end", "parcels_checksum")} == {
        "schema": revision,
        "area": "parcels_2021",
        "start": "2021-01-01",
        "end": "2022-01-01",
        "parcels_checksum": "abc",
    }


def test_parcels_are_geoparquet_with_their_attributes(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path)
    from cbmctl.parcels.files.geoparquet import describe, read

    described = describe(tmp_path / "parcels.parquet", "parcels.parquet")
    assert (described.geometry, described.features) == ("wkb_geometry", PARCELS)
    assert described.crs
    assert '"code": 32632' in described.crs
    attributes, shapes = read(tmp_path / "parcels.parquet", "parcels.parquet", described)
    first = attributes.slice(0, 1).to_pylist()[0]
    assert (first["ogc_fid"], first["crop"], str(first["area"])) == (1, "wheat 1", "1.25")
    assert (str(first["sown"]), first["codes"], first["note"]) == ("2021-04-01", [1, 1], '{"a": 1}')
    wanted = words(rows(season, "SELECT ST_AsBinary(wkb_geometry) FROM parcels_2021"))
    assert {bytes(shape) for shape in shapes.to_pylist()} == {bytes(shape) for shape in wanted}
    assert shapely.from_wkb(shapes[0].as_py()).area == pytest.approx(3.14 * 1600, rel=0.02)


def test_bounded_batches_and_row_groups(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(season)
    for module in (database_rows, parquet):
        monkeypatch.setattr(module, "BATCH", 33)
    monkeypatch.setattr(parquet, "ROW_GROUP", 100)
    done(season, "archive", tmp_path)
    metadata = pq.read_metadata(tmp_path / "sigs_s2.parquet")
    sizes = [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)]
    assert sum(sizes) == 600
    assert max(sizes) <= 100
    done(season, "archive", tmp_path, "--drop")
    done(season, "restore", tmp_path)
    assert state(season) == before


def test_tables_with_long_lists_are_read_in_small_batches(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(season, "UPDATE tasks SET slivers = ARRAY(SELECT generate_series(1, 400)), cut = '{7}'")
    monkeypatch.setattr(whole_tables, "_WIDE", 1000)
    monkeypatch.setattr(parquet, "GROUP_BYTES", 10_000)
    done(season, "archive", tmp_path)
    metadata = pq.read_metadata(tmp_path / "tasks.parquet")
    sizes = [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)]
    assert sum(sizes) == 10
    assert max(sizes) <= 6
    table = pq.read_table(tmp_path / "tasks.parquet")
    assert table["slivers"].to_pylist() == [list(range(1, 401))] * 10
    assert table["cut"].to_pylist() == [[7]] * 10
    keys = zip(table["obsid"].to_pylist(), table["bandset"].to_pylist(), strict=True)
    assert sorted(keys) == sorted(rows(season, "SELECT obsid, bandset FROM tasks"))


def test_the_planner_leaves_archived_scenes_alone(season: Database, tmp_path: Path) -> None:
    config = season.configured(extraction={"s2": {"10": ["B02"]}})
    done(season, "archive", tmp_path)
    done(season, "archive", tmp_path, "--drop")
    before = state(season)
    with connect(config, autocommit=True) as conn:
        assert not plan(conn, config).changed
        (complete,) = conn.execute(
            "SELECT sum(archived), sum(failed), sum(missing) FROM completeness"
        ).fetchall()
    assert state(season) == before
    assert complete == (7, 0, 0)


def test_the_status_counts_rows_that_are_there(season: Database, tmp_path: Path) -> None:
    with connect(season.configured(), autocommit=True) as conn:
        before = progress.read(conn, season.configured())
        done(season, "archive", tmp_path)
        done(season, "archive", tmp_path, "--drop")
        after = progress.read(conn, season.configured())
        done(season, "restore", tmp_path)
        assert (before.sigs > 0, before.hists > 0) == (True, True)
        assert (after.sigs, after.hists) == (0, 0)
        assert after.tasks == before.tasks
        assert progress.read(conn, season.configured()).sigs == before.sigs


def test_files_of_an_interrupted_run_are_used_if_they_equal_the_database(
    season: Database, tmp_path: Path
) -> None:
    made = done(season, "archive", tmp_path)
    (tmp_path / "archive.json").unlink()
    (tmp_path / "hists_s2.parquet.partial").write_bytes(b"PAR1")
    old = (tmp_path / "sigs_bs.parquet").stat().st_mtime_ns
    change(season, "UPDATE sigs SET mean = 5 WHERE pid = 1 AND obsid = 1")
    assert done(season, "archive", tmp_path)["rows"] == made["rows"]
    assert (tmp_path / "sigs_bs.parquet").stat().st_mtime_ns == old
    table = pq.read_table(tmp_path / "sigs_s2.parquet")
    chosen = table.filter(pc.and_(pc.equal(table["pid"], 1), pc.equal(table["obsid"], 1)))
    assert set(chosen["mean"].to_pylist()) == {5.0}
    assert not list(tmp_path.glob("*.partial"))


def test_readers_see_a_scene_or_not(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path)
    with psycopg.connect(season.dsn) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        before = reader.execute("SELECT count(*) FROM sigs").fetchone()
        done(season, "archive", tmp_path, "--drop")
        assert reader.execute("SELECT count(*) FROM sigs").fetchone() == before


@pytest.mark.parametrize("interruption", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interruption_while_rows_are_read(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    def write_table(*_: object, **__: object) -> None:
        raise interruption

    monkeypatch.setattr(database_rows, "BATCH", 50)
    with monkeypatch.context() as patched:
        patched.setattr(pq.ParquetWriter, "write_table", write_table)
        result = run(season, "archive", tmp_path / "2021")
    if isinstance(interruption, OSError):
        path = tmp_path / "2021" / "sigs_s2.parquet"
        assert str(result.exception) == (
            f"{path} cannot be written (No space left on device). Free space on that disk, or use another"
            " folder."
        )
    else:
        assert result.exit_code == 1
    assert done(season, "archive", tmp_path / "2021")["changed"]
