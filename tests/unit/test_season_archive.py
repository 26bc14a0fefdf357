"""`maintain archive` and `restore`: a season in Parquet and back, the same to the last bit."""

import shutil
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely

from cbmctl.config import Tables
from cbmctl.database import connect
from cbmctl.eodata.space import KEPT_FREE
from cbmctl.maintenance.season_archive import database_rows, drop, make, parquet, whole_tables
from cbmctl.maintenance.season_archive.layout import Scene
from cbmctl.parcels.load import Options, load
from cbmctl.queue import locks, progress
from cbmctl.queue.planning import plan

from ..conftest import Database
from .archiving import PARCELS, change, done, fill, refused, rows, run, spoken, state, words
from .loading import write

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
    assert "The files equal the database in 0 scenes; 7 scenes only in the archive." in said

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
    }


def test_files_are_sorted_by_parcel_and_say_what_they_are(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_rows, "BATCH", 50)
    done(season, "archive", tmp_path / "2021")
    names = {path.name for path in (tmp_path / "2021").iterdir()}
    assert names == {
        "archive.json",
        "dias_catalogue.parquet",
        "hists_bs.parquet",
        "hists_s2.parquet",
        "parcels.parquet",
        "sigs_bs.parquet",
        "sigs_s2.parquet",
        "tasks.parquet",
    }
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
    from cbmctl.parcels.geoparquet import describe, read

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


def test_rows_that_changed_since_are_not_deleted(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path)
    change(season, "UPDATE sigs SET mean = mean + 0.001 WHERE pid = 1 AND obsid = 1 AND band = 'B02'")
    change(season, "DELETE FROM hists WHERE pid = 1 AND obsid = 2")
    change(season, "UPDATE tasks SET state = 'ready' WHERE obsid = 4")
    change(season, "UPDATE dias_catalogue SET status = 'ingested' WHERE id = 5")
    dropped = done(season, "archive", tmp_path, "--drop")
    assert dropped["scenes"] == 3
    assert dropped["kept"] == {
        "s2_1": "sigs of s2_1 has 120 rows with other values",
        "s2_2": "hists of s2_2 has 39 rows, expected 40",
        "s2_4": "it has unfinished tasks",
        "s2_5": "its status is ingested",
    }
    assert words(rows(season, "SELECT DISTINCT obsid FROM sigs")) == {1, 2, 4, 5}
    restored = done(season, "restore", tmp_path)
    assert (restored["scenes"], restored["others"]) == (3, 4)
    assert rows(season, "SELECT count(DISTINCT obsid) FROM sigs") == [(7,)]


def test_rows_that_change_after_they_were_compared_are_not_deleted(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(season, "archive", tmp_path)
    differs = drop._differs

    def late(conn: psycopg.Connection, tables: Tables, obsid: int, scene: Scene) -> str:
        why = differs(conn, tables, obsid, scene)
        if obsid == 2:
            change(season, "INSERT INTO hists (pid, obsid, hist) VALUES (999, 2, '{}')")
        return why

    monkeypatch.setattr(drop, "_differs", late)
    before = state(season)
    dropped = done(season, "archive", tmp_path, "--drop")
    assert dropped["kept"] == {"s2_2": "its rows changed after they were compared"}
    assert dropped["scenes"] == 6
    assert [row for row in state(season)["sigs"] if row[1] == 2] == [
        row for row in before["sigs"] if row[1] == 2
    ]
    assert rows(season, "SELECT status FROM dias_catalogue WHERE id = 2") == [("extracted",)]


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


@pytest.mark.parametrize("damage", [False, True])
def test_the_only_copy_of_a_scene_is_not_overwritten(season: Database, tmp_path: Path, damage: bool) -> None:
    folder, other = tmp_path / "2021", tmp_path / "other"
    done(season, "archive", folder)
    change(season, "UPDATE tasks SET state = 'ready' WHERE obsid > 3")
    assert done(season, "archive", folder, "--drop")["scenes"] == 4
    change(season, "UPDATE tasks SET state = 'done'")
    (folder / "archive.json").rename(tmp_path / "archive.json")
    if damage:
        (folder / "hists_s2.parquet").write_bytes(b"PAR1")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for more in ([], ["--check"]):
        message = refused(season, "archive", folder, *more)
        assert "may be the only copy of scenes that are archived, and archive.json is missing" in message
    assert {path: path.read_bytes() for path in folder.iterdir()} == before

    assert done(season, "archive", other)["scenes"] == 3
    (other / "archive.json").unlink()
    assert done(season, "archive", other)["scenes"] == 3, "an interrupted run goes on beside archived scenes"
    if not damage:
        (tmp_path / "archive.json").rename(folder / "archive.json")
        assert done(season, "restore", folder)["scenes"] == 4


def test_a_scene_that_changes_while_the_archive_is_written(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = make.parquet.write

    def writing(path: Path, *arguments: object) -> int:
        number = written(path, *arguments)  # type: ignore[arg-type]
        if path.name == "sigs_bs.parquet":
            change(season, "DELETE FROM sigs WHERE obsid = 3 AND pid = 1")
        return number

    monkeypatch.setattr(make.parquet, "write", writing)
    message = refused(season, "archive", tmp_path)
    assert message.startswith("Rows changed while they were archived: sigs of bs_3 has 39 rows, expected 40")
    assert not (tmp_path / "archive.json").exists()
    monkeypatch.undo()
    assert done(season, "archive", tmp_path)["changed"]


def test_bad_input(season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = tmp_path / "2021", tmp_path / "other"
    other.mkdir()
    assert refused(season, "restore", other).startswith(f"{other} is not an archive")
    season.configured(args={"enddate": "2999-01-01"})
    assert refused(season, "archive", folder).startswith(
        "The season ends on 2999-01-01. A season is archived"
    )
    season.configured(args={"enddate": "2022-01-01"})
    change(season, "UPDATE tasks SET state = 'running' WHERE obsid = 1")
    assert refused(season, "archive", folder).startswith("2 tasks not done. A season is archived only after")
    change(season, "UPDATE tasks SET state = 'done'")
    change(season, "ALTER TABLE sigs ADD extra integer")
    assert "sigs: column extra has type int4, expected none" in refused(season, "archive", folder)
    change(season, "ALTER TABLE sigs DROP extra")
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        assert "but" in refused(season, "archive", folder)
        assert "free. Free space, or name a folder" in refused(season, "archive", folder)
    assert not folder.exists()

    done(season, "archive", folder)
    (folder / "archive.json").rename(folder / "archive")
    assert f"{folder}: archive.json is missing" in refused(season, "archive", folder, "--drop")
    (folder / "archive").rename(folder / "archive.json")
    whole = (folder / "archive.json").read_text()
    (folder / "archive.json").write_text(whole.replace('"bs_3"', '"bs_4"'))
    assert "archive.json is damaged" in refused(season, "archive", folder, "--drop")
    (folder / "archive.json").write_text(whole.replace('"format": 1', '"format": 9'))
    assert "format 9 is unknown" in refused(season, "restore", folder)
    (folder / "archive.json").write_text(whole)
    with connect(season.config, autocommit=True) as conn:
        locks.lock_archives(conn)
        monkeypatch.setattr(locks, "ARCHIVE_PATIENCE_S", 1)
        assert refused(season, "archive", folder).startswith("Another cbmctl maintain archive")
    change(season, "UPDATE dias_catalogue SET status = 'No parcels'")
    assert "has no extracted scene" in refused(season, "archive", other)
    change(
        season, "UPDATE dias_catalogue SET status = 'extracted', reference = 'x' || reference WHERE id = 2"
    )
    assert refused(season, "archive", folder, "--drop").startswith(
        f"{folder} is the archive of another database"
    )


def test_a_restore_needs_space_on_the_database_s_disk(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(season, "archive", tmp_path)
    done(season, "archive", tmp_path, "--drop")
    usage, asked = shutil.disk_usage(tmp_path), []

    def disk_usage(disk: Path) -> object:
        asked.append(disk)
        return usage._replace(free=KEPT_FREE)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    for more in ([], ["--check"]):
        message = refused(season, "restore", tmp_path, "--disk", tmp_path, *more)
        assert message.startswith(f"{tmp_path}: to restore it needs up to 2.1 GB, but {tmp_path} has 2.1 GB")
    assert set(asked) == {tmp_path}
    assert words(rows(season, "SELECT status FROM dias_catalogue")) == {"archived"}
    monkeypatch.undo()
    assert done(season, "restore", tmp_path)["scenes"] == 7


@pytest.mark.parametrize("damage", ["value", "row", "cut", "missing", "parcels"])
def test_an_archive_that_does_not_verify_is_refused(season: Database, tmp_path: Path, damage: str) -> None:
    done(season, "archive", tmp_path)
    path = tmp_path / "sigs_s2.parquet"
    table = pq.read_table(path)
    if damage == "value":
        changed = pa.array([9.0, *table["mean"].to_pylist()[1:]], pa.float32())
        pq.write_table(table.set_column(4, table.schema.field("mean"), changed), path)
    elif damage == "row":
        pq.write_table(table.slice(1), path)
    elif damage == "parcels":
        path = tmp_path / "parcels.parquet"
        column = pq.read_metadata(path).row_group(0).column(1)
        content = bytearray(path.read_bytes())
        content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.unlink()
    before = state(season)
    assert "does not verify" in refused(season, "archive", tmp_path, "--drop")
    assert state(season) == before


def test_parcels_that_were_replaced_refuse_a_restore(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path)
    done(season, "archive", tmp_path, "--drop")
    change(season, "UPDATE parcels_2021 SET crop = 'barley'")
    change(season, "DELETE FROM parcels_2021 WHERE ogc_fid = 3")
    message = refused(season, "restore", tmp_path)
    assert message.startswith(f"1 parcel of {tmp_path} not found in public.parcels_2021, and not among")
    change(
        season,
        "INSERT INTO parcel_history (table_name, ogc_fid, since, until)"
        " VALUES ('public.parcels_2021', 3, 1, 2)",
    )
    assert done(season, "restore", tmp_path, "--check")["scenes"] == 7
    change(
        season, "UPDATE parcels_2021 SET wkb_geometry = ST_Translate(wkb_geometry, 1, 0) WHERE ogc_fid < 3"
    )
    message = refused(season, "restore", tmp_path)
    assert message.startswith(
        "2 parcels of public.parcels_2021 changed: the same ogc_fid has another geometry"
    )
    assert "Put the geometries of gsaa_2021.gpkg back" in message


def test_statistics_of_dropped_parcels_do_not_come_back(season: Database, tmp_path: Path) -> None:
    folder, file = tmp_path / "2021", tmp_path / "parcels_2021.gpkg"
    with season.connect() as conn:
        wkb = conn.execute("SELECT ST_AsBinary(wkb_geometry) FROM parcels_2021 ORDER BY ogc_fid").fetchall()
    write(file, [shapely.from_wkb(bytes(shape)) for (shape,) in wkb], crs="EPSG:32632")
    done(season, "archive", folder)
    done(season, "archive", folder, "--drop")
    with connect(season.configured(), autocommit=True) as conn:
        load(conn, season.configured().tables, file, Options(), drop_statistics=True)
    assert rows(season, "SELECT min(ogc_fid) FROM parcels_2021") == [(PARCELS + 1,)]
    message = refused(season, "restore", folder)
    assert message.startswith(f"{PARCELS} parcels of {folder} not found in public.parcels_2021")
    assert words(rows(season, "SELECT status FROM dias_catalogue")) == {"archived"}
    assert rows(season, "SELECT count(*) FROM sigs") == [(0,)]


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygonZ"])
def test_an_archive_of_before_an_update_that_converts_geometries(
    season: Database, tmp_path: Path, kind: str
) -> None:
    using = "ST_Force3D(wkb_geometry)" if kind.endswith("Z") else "ST_GeometryN(wkb_geometry, 1)"
    alter = "ALTER TABLE parcels_2021 ALTER wkb_geometry TYPE geometry({}, 32632) USING {}"
    change(season, alter.format(kind, using))
    done(season, "archive", tmp_path)
    done(season, "archive", tmp_path, "--drop")
    change(season, alter.format("MultiPolygon", "ST_Multi(ST_Force2D(wkb_geometry))"))
    assert done(season, "restore", tmp_path)["scenes"] == 7


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
            f"{path} cannot be written (No space left on device). Free space on that disk, or name another"
            " folder."
        )
    else:
        assert result.exit_code == 1
    assert done(season, "archive", tmp_path / "2021")["changed"]
