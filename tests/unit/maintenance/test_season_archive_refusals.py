"""`maintain archive` and `restore` leave alone what they must not touch, and say why."""

import json
import shutil
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from cbmctl.archive.disk_space import KEPT_FREE
from cbmctl.config import Tables
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.maintenance.season_archive import comparison, drop, make
from cbmctl.maintenance.season_archive.layout import Scene
from cbmctl.parcels.load import Options, load
from cbmctl.queue import locks
from tests.conftest import Database
from tests.support.parcel_loading import write
from tests.support.season_archives import PARCELS, change, done, fill, refused, rows, spoken, state, words

pytestmark = pytest.mark.postgis


@pytest.fixture
def season(database: Database) -> Database:
    return fill(database)


def test_rows_that_changed_since_are_not_deleted(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path)
    change(season, "UPDATE sigs SET mean = mean + 0.001 WHERE pid = 1 AND obsid = 1 AND band = 'B02'")
    change(season, "DELETE FROM hists WHERE pid = 1 AND obsid = 2")
    change(season, "UPDATE tasks SET state = 'ready' WHERE obsid = 4")
    change(season, "UPDATE dias_catalogue SET status = 'ingested' WHERE id = 5")
    dropped = done(season, "archive", tmp_path, "--drop")
    assert dropped["scenes"] == 3
    assert dropped["kept"] == {
        "s2_1": "sigs of s2_1 has 120 rows as expected, but at least one value differs",
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
    assert refused(season, "archive", folder).startswith(
        "2 unfinished tasks found. A season is archived only when no task is ready or running."
    )
    change(season, "UPDATE tasks SET state = 'done'")
    for statement, problem, undo in (
        ("ADD extra integer", "unexpected column extra (int4)", "DROP extra"),
        ("RENAME p75 TO p80", "column p75 (float4) is missing", "RENAME p80 TO p75"),
        ("ALTER p75 TYPE float8", "column p75 is float8, expected float4", "ALTER p75 TYPE float4"),
    ):
        change(season, f"ALTER TABLE sigs {statement}")
        assert f"sigs: {problem}. An archive holds exactly" in refused(season, "archive", folder)
        change(season, f"ALTER TABLE sigs {undo}")
    with monkeypatch.context() as patched:
        patched.setattr(make, "require_space", lambda *_: None)
        (tmp_path / "file").touch()
        assert refused(season, "archive", tmp_path / "file" / "2021").startswith(
            f"{tmp_path}/file/2021 cannot be written (Not a directory). Use a folder"
        )
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        assert "but" in refused(season, "archive", folder)
        assert "free. Free space, or use a folder" in refused(season, "archive", folder)
    assert not folder.exists()

    done(season, "archive", folder)
    (folder / "archive.json").rename(folder / "archive")
    assert f"{folder}: archive.json is missing" in refused(season, "archive", folder, "--drop")
    (folder / "archive").rename(folder / "archive.json")
    whole = (folder / "archive.json").read_text()
    (folder / "archive.json").write_text(whole.replace('"bs_3"', '"bs_4"'))
    assert "archive.json is damaged" in refused(season, "archive", folder, "--drop")
    (folder / "archive.json").write_text(whole.replace('"format": 1', '"format": 9'))
    assert "format 9 is unsupported" in refused(season, "restore", folder)
    (folder / "archive.json").write_text(whole)
    with connect(season.config, autocommit=True) as conn:
        locks.lock_archives(conn, season.config.tables)
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
        assert message.startswith(f"{tmp_path}: the restore needs up to 2.1 GB, but {tmp_path} has 2.1 GB")
    assert set(asked) == {tmp_path}
    assert words(rows(season, "SELECT status FROM dias_catalogue")) == {"archived"}
    monkeypatch.undo()
    assert done(season, "restore", tmp_path)["scenes"] == 7


@pytest.mark.parametrize("damage", ["value", "row", "cut", "missing", "parcels"])
def test_a_damaged_archive_is_refused(season: Database, tmp_path: Path, damage: str) -> None:
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
    assert ": verification failed: " in refused(season, "archive", tmp_path, "--drop")
    assert state(season) == before


@pytest.mark.parametrize("damage", ["cut", "missing"])
@pytest.mark.parametrize("name", ["parcels.parquet", "sigs_s2.parquet"])
def test_a_damaged_archive_is_not_restored(season: Database, tmp_path: Path, name: str, damage: str) -> None:
    done(season, "archive", tmp_path)
    done(season, "archive", tmp_path, "--drop")
    path = tmp_path / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.unlink()
    before = state(season)
    assert f"{path}: verification failed" in refused(season, "restore", tmp_path)
    assert state(season) == before


def test_the_folder_of_another_archive(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path / "first")
    change(season, "UPDATE sigs SET mean = 5 WHERE (pid, obsid) = (1, 1)")
    done(season, "archive", tmp_path / "second")
    done(season, "archive", tmp_path / "second", "--drop")
    assert "The rows of 7 scenes are in another archive." in spoken(season, "restore", tmp_path / "first")
    assert done(season, "restore", tmp_path / "first")["elsewhere"] == 7
    assert done(season, "restore", tmp_path / "second")["scenes"] == 7


def test_files_of_another_season_are_not_overwritten(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path)
    (tmp_path / "archive.json").unlink()
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.parquet")}
    change(season, "ALTER TABLE parcels_2021 RENAME TO parcels_2022")
    season.configured(tables={"parcel_table": "public.parcels_2022"})
    message = refused(season, "archive", tmp_path)
    assert "dias_catalogue.parquet belongs to another archive (public.parcels_2021) whose archive" in message
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.parquet")} == before


def test_files_of_another_member_state_are_not_overwritten(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Database, area and table have the same default names in both."""
    done(season, "archive", tmp_path)
    whole = (tmp_path / "archive.json").read_text()
    (tmp_path / "archive.json").unlink()
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.parquet")}
    server = json.loads(whole)["system"]
    with monkeypatch.context() as patched:
        patched.setattr(make, "_system", lambda _: "1")
        for more in ([], ["--check"]):
            message = refused(season, "archive", tmp_path, *more)
            assert f"belongs to another archive (database server {server}) whose archive.json" in message
        with connect(season.config) as conn:
            make.require_own_file(conn, season.config, "of an earlier version", {"cbm.area": "parcels_2021"})
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.parquet")} == before
    # an archive of an earlier version does not name the server, and has no checksum
    earlier = {key: value for key, value in json.loads(whole).items() if key not in {"system", "checksum"}}
    (tmp_path / "archive.json").write_text(json.dumps(earlier))
    assert done(season, "archive", tmp_path, "--drop")["scenes"] == 7
    assert done(season, "restore", tmp_path)["scenes"] == 7


@pytest.mark.parametrize("key", ["last_id", "parcels", "database", "files", "checksum", "lost"])
def test_each_field_of_the_description_is_verified(season: Database, tmp_path: Path, key: str) -> None:
    done(season, "archive", tmp_path)
    done(season, "archive", tmp_path, "--drop")
    path = tmp_path / "archive.json"
    whole = json.loads(path.read_text())
    damaged = whole | {"last_id": 1, "parcels": "public.parcels_2020", "database": "x", "checksum": ""}
    damaged |= {"files": whole["files"] | {"tasks.parquet": 1}}
    lost = {name: value for name, value in whole.items() if name != "checksum"}
    path.write_text(json.dumps(lost if key == "lost" else whole | {key: damaged[key]}))
    before = state(season)
    for command in (["restore", tmp_path], ["archive", tmp_path], ["archive", tmp_path, "--drop"]):
        assert f"{path} is damaged (" in refused(season, *command)
    assert state(season) == before
    path.write_text(json.dumps(whole))
    assert done(season, "restore", tmp_path)["scenes"] == 7


def test_a_file_that_cannot_be_read_is_not_overwritten(season: Database, tmp_path: Path) -> None:
    (tmp_path / "sigs_s2.parquet").mkdir()
    assert f"{tmp_path}/sigs_s2.parquet cannot be read (" in refused(season, "archive", tmp_path)


def test_an_archive_without_the_table_of_parcels(season: Database, tmp_path: Path) -> None:
    change(season, "DROP TABLE parcels_2021")
    done(season, "archive", tmp_path)
    assert not (tmp_path / "parcels.parquet").exists()


def test_parcels_that_were_replaced_refuse_a_restore(season: Database, tmp_path: Path) -> None:
    done(season, "archive", tmp_path)
    done(season, "archive", tmp_path, "--drop")
    change(season, "UPDATE parcels_2021 SET crop = 'barley'")
    change(season, "DELETE FROM parcels_2021 WHERE ogc_fid = 3")
    message = refused(season, "restore", tmp_path)
    assert message.startswith(
        f"1 parcel of {tmp_path} not found in public.parcels_2021 or public.parcels_2021_gone."
    )
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
    assert message.startswith(f"2 parcels of public.parcels_2021 have another geometry than in {tmp_path}.")
    assert f"restore them from {tmp_path}/parcels.parquet." in message


def parcels_file(season: Database, folder: Path) -> Path:
    """The parcels of the season, as a file."""
    with season.connect() as conn:
        wkb = conn.execute("SELECT ST_AsBinary(wkb_geometry) FROM parcels_2021 ORDER BY ogc_fid").fetchall()
    shapes = [shapely.from_wkb(bytes(shape)) for (shape,) in wkb]
    return write(folder / "parcels_2021.gpkg", shapes, crs="EPSG:32632", id=list(range(PARCELS)))


def test_statistics_of_dropped_parcels_do_not_come_back(season: Database, tmp_path: Path) -> None:
    folder, file = tmp_path / "2021", parcels_file(season, tmp_path)
    done(season, "archive", folder)
    done(season, "archive", folder, "--drop")
    with connect(season.configured(), autocommit=True) as conn:
        tables = season.configured().tables
        with pytest.raises(UserError, match=r"\(0 rows\) and the archive of 7 scenes refer to the parcels"):
            load(conn, tables, file, Options(crs="EPSG:32633"))
        loaded = load(conn, tables, file, Options(), drop_statistics=True)
    assert loaded.superseded
    assert (
        "7 archived scenes cannot be restored any more, because the parcels get other numbers; the files of"
        " the archive stay readable"
    ) in loaded.superseded.sentences()
    assert rows(season, "SELECT min(ogc_fid) FROM parcels_2021") == [(PARCELS + 1,)]
    message = refused(season, "restore", folder)
    assert message.startswith(f"{PARCELS} parcels of {folder} not found in public.parcels_2021")
    assert words(rows(season, "SELECT status FROM dias_catalogue")) == {"archived"}
    assert rows(season, "SELECT count(*) FROM sigs") == [(0,)]


@pytest.mark.parametrize("command", ["restore", "archive"])
def test_parcels_are_not_replaced_while_an_archive_is_read(
    season: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    folder, file = tmp_path / "2021", parcels_file(season, tmp_path)
    before, tables = state(season), season.configured().tables
    done(season, "archive", folder)
    if command == "restore":
        done(season, "archive", folder, "--drop")
    verify, refusals = comparison.verify_files, list[str]()

    def verifying(*arguments: object) -> None:
        with connect(season.config, autocommit=True) as conn:
            with pytest.raises(UserError) as error:
                load(conn, tables, file, Options(), drop_statistics=True)
            refusals.append(str(error.value))
            assert load(conn, tables, file, Options(), drop_statistics=True, check_only=True).superseded
        verify(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(comparison, "verify_files", verifying)
    done(season, command, folder)
    assert refusals == [
        "cbmctl maintain archive or restore is running. Nothing was changed. Wait until it ends, then load"
        " again."
    ]
    assert state(season) == before


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
