"""Parcel files in the database: names, types and characters right; everything or nothing; never unasked."""

import itertools
import json
import sqlite3
import statistics
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import shapely
from click.testing import CliRunner

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from cbmctl.errors import UserError
from cbmctl.parcels.load import Loaded, Options, checksum, load
from cbmctl.queue.locks import try_task
from tests.conftest import Database
from tests.support.parcel_loading import fields, rows, write

pytestmark = pytest.mark.postgis


def everything(conn: psycopg.Connection) -> Any:
    """All of the database that a load may touch, to see that nothing did."""
    relations = rows(
        conn, "SELECT relname, oid FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    contents = [
        rows(conn, f"SELECT t::text FROM public.{name} t ORDER BY 1")
        for name in ("parcel_sets", "tasks", "dias_catalogue", "sigs", "hists")
    ]
    return relations, contents


def test_nothing_happens_twice(conn: psycopg.Connection, tables: Tables, three: Path) -> None:
    assert load(conn, tables, three, Options(), check_only=True).changed
    assert rows(conn, "SELECT to_regclass('public.parcels_2021')::text") == [(None,)]
    first = load(conn, tables, three, Options())
    assert first.changed
    before = everything(conn)
    for check_only in (True, False):
        again = load(conn, tables, three, Options(), check_only=check_only)
        assert not again.changed
        assert (again.parcels, again.srid, again.findings) == (3, 25832, first.findings)
    assert everything(conn) == before
    assert load(conn, tables, three, Options(where="name = 'å'")).changed, "other options make other parcels"
    assert rows(conn, "SELECT ogc_fid, name FROM parcels_2021") == [(1, "å")]


def test_several_files_are_one_set_of_parcels(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    for region, n in (("R11", 2), ("R24", 3)):
        (tmp_path / "fr" / region).mkdir(parents=True)
        write(tmp_path / "fr" / region / "p.gpkg", fields(n, shift=5000 * n), name=["é"] * n)
    paths = sorted((tmp_path / "fr").rglob("*.gpkg"))
    loaded = load(conn, tables, paths, Options(layer="par*"))
    assert loaded.changed
    found = "SELECT name, source_layer, count(*) FROM parcels_2021 GROUP BY 1, 2 ORDER BY 2"
    assert rows(conn, found) == [("é", "R11/p.gpkg:parcels", 2), ("é", "R24/p.gpkg:parcels", 3)]
    assert not load(conn, tables, paths, Options(layer="par*")).changed
    assert load(conn, tables, paths[:1], Options(layer="par*"), check_only=True).changed
    assert load(conn, tables, tmp_path / "fr", Options()).changed
    assert not load(conn, tables, tmp_path / "fr", Options()).changed
    assert rows(conn, "SELECT source FROM parcel_sets") == [("fr",)]
    paths[1].rename(paths[1].with_name("q.gpkg"))
    assert load(conn, tables, tmp_path / "fr", Options()).changed, "its parcels are of another layer"


@pytest.mark.usefixtures("conn")
def test_what_the_reader_noticed_is_printed(database: Database, three: Path) -> None:
    with closing(sqlite3.connect(three)) as package:
        package.execute("PRAGMA journal_mode = WAL")
    note = f"{three} was written in WAL mode and has no file {three.name}-wal beside it."
    for command in ("inspect", "load"):
        result = CliRunner().invoke(
            cbmctl, ["--config", str(database.config_path), "parcels", command, str(three)]
        )
        assert result.exception is None
        assert note in result.stdout + result.stderr


def test_a_dropped_table_is_loaded_again(conn: psycopg.Connection, tables: Tables, three: Path) -> None:
    load(conn, tables, three, Options())
    conn.execute("DROP TABLE parcels_2021")
    assert load(conn, tables, three, Options()).changed
    assert rows(conn, "SELECT count(*) FROM parcels_2021") == [(3,)]


def test_a_changed_file_replaces_the_parcels_and_their_rasters(
    conn: psycopg.Connection, tables: Tables, three: Path, four: Path
) -> None:
    load(conn, tables, three, Options())
    conn.execute("CREATE TABLE parcels_2021_32632_10_rast (pid integer)")
    conn.execute("CREATE TABLE parcels_2021_32632_10_raster_of_mine (pid integer)")
    would = load(conn, tables, four, Options(), check_only=True)
    assert rows(conn, "SELECT count(*) FROM parcels_2021") == [(3,)]
    done = load(conn, tables, four, Options())
    assert would == done
    assert done.superseded is not None
    assert done.superseded.rasters == ("public.parcels_2021_32632_10_rast",)
    assert rows(conn, "SELECT count(*), to_regclass('parcels_2021_32632_10_rast') FROM parcels_2021") == [
        (4, None)
    ]
    assert rows(conn, "SELECT to_regclass('parcels_2021_32632_10_raster_of_mine') IS NOT NULL") == [(True,)]
    assert rows(conn, "SELECT source, parcels FROM parcel_sets") == [("four.gpkg", 4)]
    assert rows(conn, "SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'parcels_2021%'") == [(2,)]


@pytest.fixture
def extracted(conn: psycopg.Connection, tables: Tables, three: Path) -> Loaded:
    loaded = load(conn, tables, three, Options())
    conn.execute(
        """
        INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status, applied_offset, footprint)
        VALUES
            (1, '2021-03-05', 'a', '2A', 's2', 'extracted', -1000, ST_MakeEnvelope(8, 53, 10, 55, 4326)),
            (2, '2021-03-08', 'b', '2A', 's2', 'ingested', NULL, ST_MakeEnvelope(8, 53, 10, 55, 4326));
        INSERT INTO tasks (obsid, bandset, bands, method, state, attempts, rows)
        VALUES (1, '10', '{B02}', '{}', 'done', 1, 3), (2, '10', '{B02}', '{}', 'ready', 0, NULL);
        INSERT INTO sigs (pid, obsid, band, count) VALUES (1, 1, 'B02', 9), (2, 1, 'B02', 9);
        INSERT INTO hists (pid, obsid, hist) VALUES (1, 1, '{"4": 9}');
        """
    )
    return loaded


@pytest.mark.usefixtures("extracted")
def test_statistics_are_given_up_only_on_the_operators_word(
    conn: psycopg.Connection, tables: Tables, three: Path, four: Path
) -> None:
    before = everything(conn)
    for check_only in (True, False):
        with pytest.raises(
            UserError, match=r"public.sigs \(2 rows\) and public.hists \(1 rows\).*--drop-statistics"
        ):
            load(conn, tables, four, Options(crs="EPSG:32632"), check_only=check_only)
    assert not load(conn, tables, three, Options()).changed, "the same file needs no permission"
    would = load(conn, tables, four, Options(), drop_statistics=True, check_only=True)
    assert everything(conn) == before
    done = load(conn, tables, four, Options(), drop_statistics=True)
    assert done == would
    assert done.superseded is not None
    assert (done.superseded.sigs, done.superseded.hists, done.superseded.scenes) == (2, 1, 1)
    assert "2 statistics and 1 histograms" in done.superseded.sentences()[0]
    assert rows(conn, "SELECT (SELECT count(*) FROM sigs), (SELECT count(*) FROM hists)") == [(0, 0)]
    assert set(rows(conn, "SELECT status, applied_offset FROM dias_catalogue")) == {("ingested", None)}
    assert set(rows(conn, "SELECT state, attempts, rows FROM tasks")) == {("ready", 0, None)}


@pytest.mark.usefixtures("extracted")
def test_what_was_done_in_an_unknown_way_is_left_to_the_next_plan(
    conn: psycopg.Connection, tables: Tables, four: Path
) -> None:
    conn.execute("UPDATE tasks SET bands = NULL, method = NULL WHERE obsid = 1")
    assert load(conn, tables, four, Options(), drop_statistics=True).changed
    assert rows(conn, "SELECT obsid, state FROM tasks") == [(2, "ready")]
    assert set(rows(conn, "SELECT status FROM dias_catalogue")) == {("ingested",)}


@pytest.mark.usefixtures("extracted")
def test_not_while_a_worker_works(
    database: Database, conn: psycopg.Connection, tables: Tables, four: Path
) -> None:
    conn.execute("UPDATE tasks SET state = 'running' WHERE obsid = 2")
    with database.connect() as worker:
        assert try_task(worker, tables, "10", 2)
        with pytest.raises(UserError, match=r"1 tasks are being extracted with public.parcels_2021\. Stop"):
            load(conn, tables, four, Options(), drop_statistics=True)
    # the worker died: its lock went with its connection
    assert load(conn, tables, four, Options(), drop_statistics=True).changed


def test_interrupted_in_the_middle_leaves_nothing(
    database: Database, conn: psycopg.Connection, tables: Tables, three: Path, four: Path
) -> None:
    load(conn, tables, three, Options())
    before = everything(conn)

    def unplug(_total: int) -> Callable[[int], None]:
        def cut(_done: int) -> None:
            conn.execute("SELECT pg_terminate_backend(%s)", [victim.info.backend_pid])

        return cut

    with database.connect(autocommit=True) as victim, pytest.raises(psycopg.OperationalError):
        load(victim, tables, four, Options(), progress=unplug)
    assert everything(conn) == before
    assert load(conn, tables, four, Options()).changed


def test_the_old_parcels_stay_readable_while_the_new_ones_load(
    database: Database, conn: psycopg.Connection, tables: Tables, three: Path, four: Path
) -> None:
    load(conn, tables, three, Options())
    seen: list[Any] = []

    def look(_total: int) -> Callable[[int], None]:
        def reader(_done: int) -> None:
            with database.connect() as other:
                seen.extend(rows(other, "SELECT count(*) FROM parcels_2021"))

        return reader

    load(conn, tables, four, Options(), progress=look)
    assert seen == [(3,)]


def test_two_loads_at_once_follow_each_other(
    database: Database, conn: psycopg.Connection, tables: Tables, three: Path
) -> None:
    outcomes: list[Loaded] = []

    def work() -> None:
        with database.connect(autocommit=True) as own:
            outcomes.append(load(own, tables, three, Options()))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.changed for outcome in outcomes) == [False, True]
    assert rows(conn, "SELECT count(*) FROM parcels_2021") == [(3,)]


def test_a_view_on_the_parcels_is_named(
    conn: psycopg.Connection, tables: Tables, three: Path, four: Path
) -> None:
    load(conn, tables, three, Options())
    conn.execute("CREATE VIEW big_fields AS SELECT * FROM parcels_2021")
    with pytest.raises(
        UserError, match=r"view big_fields depends on table parcels_2021.*Drop the dependent objects"
    ):
        load(conn, tables, four, Options())
    assert rows(conn, "SELECT count(*) FROM big_fields") == [(3,)]


def test_refused_parcels_leave_no_gap_and_are_listed(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    bowtie = shapely.Polygon([(500000, 6000000), (500100, 6000100), (500100, 6000000), (500000, 6000100)])
    path = write(tmp_path / "mixed.gpkg", [bowtie, None, shapely.Point(500000, 6000000), *fields(2)])
    loaded = load(conn, tables, path, Options())
    assert [f["feature"] for f in loaded.findings["repaired"]] == [1]
    assert [f["feature"] for f in loaded.findings["refused"]] == [2, 3]
    assert rows(conn, "SELECT ogc_fid FROM parcels_2021 ORDER BY 1") == [(1,), (2,), (3,)]
    assert rows(conn, "SELECT parcels, findings FROM parcel_sets") == [(3, loaded.findings)]


def test_ids_follow_space(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> None:
    """Parcels of a grid in any order of the file: the next number is a neighbour's, and none is left out."""
    side = 32
    row, column = np.divmod(np.random.default_rng(13).permutation(side**2), side)
    west, south = 500_000 + 200 * column, 6_000_000 + 200 * row
    grid = shapely.box(west, south, west + 150, south + 150)
    load(conn, tables, write(tmp_path / "grid.gpkg", list(grid)), Options())
    corner = "ST_XMin(wkb_geometry), ST_YMin(wkb_geometry)"
    found = rows(conn, f"SELECT ogc_fid, {corner} FROM parcels_2021 ORDER BY 1")
    assert [number for number, *_ in found] == list(range(1, side**2 + 1))
    steps = [abs(x - left) + abs(y - below) for (_, left, below), (_, x, y) in itertools.pairwise(found)]
    assert statistics.mean(steps) < 500, "metres; a random order has 4,300"
    stored = rows(conn, "SELECT array_agg(ogc_fid ORDER BY ctid) FROM parcels_2021")
    assert stored == [(list(range(1, side**2 + 1)),)]


def test_a_file_of_nothing_but_refused_parcels(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    flat = shapely.Polygon([(500000, 6000000), (500100, 6000000), (500200, 6000000)])
    path = write(tmp_path / "flat.gpkg", [flat, flat])
    for check_only in (True, False):
        with pytest.raises(UserError, match=r"flat.gpkg has no parcels to load"):
            load(conn, tables, path, Options(), check_only=check_only)
    assert rows(conn, "SELECT to_regclass('public.parcels_2021')::text") == [(None,)]


def test_the_checksum_is_of_the_whole_shapefile(testdata: Path, tmp_path: Path) -> None:
    for part in (testdata / "parcels/dk_gsaa2016").iterdir():
        (tmp_path / part.name).write_bytes(part.read_bytes())
    path = tmp_path / "marker2016_small.shp"
    before = checksum(path)
    dbf = path.with_suffix(".dbf")
    dbf.write_bytes(dbf.read_bytes().replace(b"7-1", b"7-2", 1))
    assert checksum(path) != before
    with pytest.raises(UserError, match=r"none.gpkg does not exist"):
        checksum(tmp_path / "none.gpkg")


def test_a_coordinate_system_that_postgis_does_not_know(
    conn: psycopg.Connection, tables: Tables, three: Path
) -> None:
    conn.execute("DELETE FROM spatial_ref_sys WHERE srid = 25832")
    assert "is unknown to the server's PostGIS" in load(conn, tables, three, Options()).notes[0]
    assert load(conn, tables, three, Options(where="name = 'å'")).notes == ()


def test_commands(database: Database, conn: psycopg.Connection, four: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(cbmctl, ["--config", str(database.config_path), *arguments])
        assert result.exception is None, result.exception
        return result

    def as_json(*arguments: str) -> Any:
        return json.loads(run("--json", *arguments).stdout)

    bad = write(tmp_path / "bad.gpkg", [*fields(1), None, *fields(1)], count=[1, 2, 3])
    looked = as_json("parcels", "inspect", str(bad))
    assert looked["changed"] is False
    assert [layer["name"] for layer in looked["layers"]] == ["parcels"]
    assert looked["parcels"]["findings"]["refused"] == [{"feature": 2, "reason": "no geometry"}]
    assert (
        "1 duplicate, loaded: feature 3 (same geometry as feature 1)"
        in run("parcels", "inspect", str(bad)).stdout
    )

    assert as_json("parcels", "load", str(bad), "--check")["changed"] is True
    told = run("parcels", "load", str(bad))
    assert told.stdout == "2 parcels of bad.gpkg are loaded in public.parcels_2021, EPSG:25832.\n"
    assert "1 refused, not loaded: feature 2 (no geometry)" in told.stderr
    assert "renamed columns: count -> count_" in told.stderr
    again = as_json("parcels", "load", str(bad))
    assert (again["changed"], again["parcels"]) == (False, 2)
    assert as_json("parcels", "load", str(four), "--attribute", "name")["columns"] == [
        {"attribute": "name", "name": "name", "type": "text"}
    ]

    run("aoi", "set", "parcels_2021", "--from-parcels")
    conn.execute(
        "INSERT INTO dias_catalogue (obstime, reference, sensor, card, epsg, footprint)"
        " SELECT '2021-06-01', 'a', '2A', 's2', 32632, wkb_geometry FROM aois"
    )
    made = as_json("parcels", "rasterise")
    assert made["changed"] is True
    assert [entry["table"] for entry in made["tables"]] == [
        "public.parcels_2021_32632_10_rast",
        "public.parcels_2021_32632_20_rast",
    ]
    assert "unchanged" in run("parcels", "rasterise").stdout
    for command in ("inspect", "load", "rasterise"):
        assert "Example" in run("parcels", command, "--help").stdout
