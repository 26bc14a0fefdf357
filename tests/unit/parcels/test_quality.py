"""Quality flags of each parcel, on every grid of the scenes."""

import json
from pathlib import Path

import psycopg
import pytest
import shapely
from click.testing import CliRunner

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config
from cbmctl.errors import UserError
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.quality import GridQuality, assess
from cbmctl.parcels.rasterise import rasterise
from tests.conftest import Database
from tests.support.parcel_loading import in_file_order, rows
from tests.unit.parcels.test_rasterise import prepare
from tests.unit.parcels.test_read_delivery import read, write

pytestmark = pytest.mark.postgis

X, Y = 500_000, 6_000_000
PARCELS = {
    "field": shapely.box(X, Y, X + 100, Y + 100),
    # 100 m² of each of two others and of their common part
    "across": shapely.box(X + 90, Y - 50, X + 100, Y + 10),
    "within": shapely.box(X + 95, Y, X + 100, Y + 10),
    "strip": shapely.box(X + 1, Y + 500, X + 4, Y + 600),
    "lane": shapely.box(X, Y + 700, X + 20, Y + 800),
    "beside": shapely.box(X + 100, Y, X + 200, Y + 100),
    "unlucky": shapely.box(X + 4, Y + 900, X + 33, Y + 929),
}


@pytest.fixture
def loaded(conn: psycopg.Connection, config: Config, tmp_path: Path) -> Path:
    path = write(tmp_path / "parcels.gpkg", list(PARCELS.values()), crs="EPSG:32632")
    prepare(conn, config, path, "32UNF")
    return path


def test_flags(conn: psycopg.Connection, config: Config, loaded: Path) -> None:
    done = assess(conn, config)
    numbers = dict(zip(PARCELS, (row[0] for row in in_file_order(conn, read(loaded))), strict=True))
    found = {
        (epsg, res, pid): values
        for pid, epsg, res, *values in rows(
            conn,
            "SELECT ogc_fid, epsg, resolution, pixels, full_pixels, round(lost::numeric, 3)::float8,"
            " round(overlap::numeric, 4)::float8, usable, sliver FROM parcels_2021_quality",
        )
    }
    assert {name: found[32632, 10, pid] for name, pid in numbers.items()} == {
        "field": [100, 100, 0.19, 0.01, True, False],
        "across": [6, 6, 1.0, 0.1667, False, False],
        "within": [0, 0, 1.0, 1.0, False, True],
        "strip": [0, 0, 1.0, 0.0, False, True],
        "lane": [20, 20, 0.55, 0.0, True, False],
        "beside": [100, 100, 0.19, 0.0, True, False],
        "unlucky": [9, 4, 0.571, 0.0, False, False],
    }
    assert found[32632, 20, numbers["lane"]] == [5, 5, 0.55, 0.0, False, False]
    assert len(found) == 2 * len(PARCELS)
    assert (done.changed, done.parcels) == (True, len(PARCELS))
    assert done.grids == (
        GridQuality(32632, 10, usable=3, slivers=2, overlapping=3, left_out=0),
        GridQuality(32632, 20, usable=2, slivers=3, overlapping=3, left_out=0),
    )


def test_pixels_are_those_of_the_raster_tables(
    conn: psycopg.Connection, config: Config, testdata: Path
) -> None:
    prepare(conn, config, testdata / "parcels/dk_gsaa2016/marker2016_small.shp", "32VNH", "33VUC")
    rasterise(conn, config)
    assess(conn, config)
    differs = " UNION ALL ".join(
        f"SELECT pid FROM parcels_2021_{epsg}_{res}_rast JOIN parcels_2021_quality ON ogc_fid = pid"
        f" WHERE epsg = {epsg} AND resolution = {res} AND pixels <> ST_Count(rast)"
        for epsg in (32632, 32633)
        for res in (10, 20)
    )
    assert rows(conn, differs) == []
    assert rows(conn, "SELECT count(*) FROM parcels_2021_quality") == [(4 * 276,)]


def test_made_once_and_emptied_with_the_parcels(
    conn: psycopg.Connection, config: Config, loaded: Path, tmp_path: Path
) -> None:
    would = assess(conn, config, check_only=True)
    assert (would.changed, would.grids) == (True, ())
    assert rows(conn, "SELECT to_regclass('parcels_2021_quality')::text") == [(None,)]
    made = assess(conn, config)
    conn.execute("CREATE VIEW good AS SELECT * FROM parcels_2021_quality WHERE usable")
    versions = "SELECT ogc_fid, xmin::text FROM parcels_2021_quality ORDER BY 1, 2"
    before = rows(conn, versions)
    for check_only in (True, False):
        again = assess(conn, config, check_only=check_only)
        assert (again.changed, again.grids) == (False, made.grids)
    assert rows(conn, versions) == before
    newer = write(tmp_path / "newer.gpkg", [PARCELS["lane"], PARCELS["field"]], crs="EPSG:32632")
    load(conn, config.tables, newer, Options())
    assert rows(conn, "SELECT count(*) FROM parcels_2021_quality") == [(0,)]
    assert assess(conn, config).changed
    assert rows(conn, "SELECT count(*) FROM good WHERE resolution = 10") == [(2,)]
    del loaded


@pytest.mark.usefixtures("loaded")
def test_a_table_of_somebody_else_stays(conn: psycopg.Connection, config: Config) -> None:
    conn.execute("CREATE TABLE parcels_2021_quality AS SELECT 1 AS mine")
    with pytest.raises(UserError, match=r"public\.parcels_2021_quality exists, but was not made by"):
        assess(conn, config)
    assert rows(conn, "SELECT * FROM parcels_2021_quality") == [(1,)]


@pytest.mark.usefixtures("loaded")
def test_parcels_that_no_zone_can_hold_have_no_row(
    database: Database, conn: psycopg.Connection, config: Config
) -> None:
    conn.execute(
        "UPDATE parcels_2021 SET wkb_geometry = ST_Multi(ST_MakeEnvelope(x, x, x * 1.1, x * 1.1, 32632))"
        " FROM (VALUES (3, 1e300), (5, 1e9)) AS bad (pid, x) WHERE ogc_fid = pid"
    )
    conn.execute(
        "ALTER TABLE parcels_2021 ALTER wkb_geometry TYPE geometry(MultiPolygon, 25832)"
        " USING ST_SetSRID(wkb_geometry, 25832)"
    )
    del config
    result = CliRunner().invoke(
        cbmctl, ["--config", str(database.config_path), "--json", "parcels", "quality"]
    )
    assert result.exit_code == 0, result.output
    assert [grid["left_out"] for grid in json.loads(result.stdout)["grids"]] == [2, 2]
    again = CliRunner().invoke(cbmctl, ["--config", str(database.config_path), "parcels", "quality"])
    assert again.stdout.splitlines()[0] == "public.parcels_2021_quality of 7 parcels is unchanged."
