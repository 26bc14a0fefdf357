"""Raster tables: GDAL's pixels on the images' own grid, made when needed and not otherwise."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
import shapely
from click.testing import CliRunner
from rasterio.features import rasterize
from rasterio.transform import Affine

from cbmctl import aoi
from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config
from cbmctl.errors import UserError
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.grids import zones
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.rasterise import rasterise
from tests.conftest import Database
from tests.support.parcel_loading import in_file_order
from tests.unit.parcels.test_read_delivery import write

pytestmark = pytest.mark.postgis

Pixels = set[tuple[int, int]]


def catalogue(
    conn: psycopg.Connection, *tiles: str, epsg: int | None = None, day: str = "2021-06-01"
) -> None:
    """A scene for each tile, its footprint that of the area, known by name only unless `epsg` is given."""
    for tile in tiles:
        conn.execute(
            "INSERT INTO dias_catalogue (obstime, reference, sensor, card, epsg, footprint)"
            " SELECT %s, %s, '2A', 's2', %s, wkb_geometry FROM aois",
            [day, f"S2A_MSIL2A_20210601T103021_N0300_R108_T{tile}_20210601T134215.SAFE", epsg],
        )


def prepare(conn: psycopg.Connection, config: Config, path: Path, *tiles: str) -> None:
    load(conn, config.tables, path, Options())
    aoi.set_area(conn, config, config.args.name, aoi.from_parcels(conn, config).area)
    catalogue(conn, *tiles)


def stored(conn: psycopg.Connection, table: str, resolution: int) -> dict[int, Pixels]:
    """Each parcel's pixels as (row, column) of the grid whose corners are multiples of the resolution."""
    found = {}
    rows = conn.execute(
        "SELECT pid, ST_UpperLeftX(rast), ST_UpperLeftY(rast), ST_ScaleX(rast), ST_ScaleY(rast),"
        f" ST_SkewX(rast), ST_SRID(rast), ST_BandPixelType(rast), ST_DumpValues(rast, 1, false) FROM {table}"
    )
    for pid, x, y, scale_x, scale_y, skew, srid, kind, values in rows:
        assert (x % resolution, y % resolution, scale_x, scale_y, skew) == (0, 0, resolution, -resolution, 0)
        assert (kind, str(srid)) == ("8BUI", table.split("_")[2])
        marked = np.argwhere(np.array(values) == 1)
        top, left = round(-y / resolution), round(x / resolution)
        found[pid] = {(top + int(r), left + int(c)) for r, c in marked}
    return found


def expected(geometry: Any, resolution: int) -> Pixels:
    """What GDAL burns into an image of that grid."""
    west, south, east, north = geometry.bounds
    left, top = int(west // resolution) - 1, int(-north // resolution) - 1
    shape = (int(-south // resolution) - top + 2, int(east // resolution) - left + 2)
    transform = Affine(resolution, 0, left * resolution, 0, -resolution, -top * resolution)
    image: npt.NDArray[np.uint8] = rasterize(
        [(geometry, 1)], out_shape=shape, transform=transform, dtype="uint8"
    )
    return {(top + int(r), left + int(c)) for r, c in np.argwhere(image)}


def projected(conn: psycopg.Connection, epsg: int) -> dict[int, Any]:
    rows = conn.execute(
        "SELECT ogc_fid, ST_AsBinary(ST_Transform(wkb_geometry, %s::int)) FROM parcels_2021", [epsg]
    )
    return {pid: shapely.from_wkb(bytes(wkb)) for pid, wkb in rows}


def compare(conn: psycopg.Connection, config: Config, epsg: int) -> None:
    parcels = projected(conn, epsg)
    for raster in rasterise(conn, config):
        if raster.epsg != epsg:
            continue
        burnt = stored(conn, raster.table, raster.resolution)
        right = {pid: expected(geometry, raster.resolution) for pid, geometry in parcels.items()}
        assert burnt == right
        assert raster.without_pixel == tuple(sorted(pid for pid, pixels in right.items() if not pixels))
        assert raster.parcels == len(right)


def test_pixels_of_danish_parcels(conn: psycopg.Connection, config: Config, testdata: Path) -> None:
    file = testdata / "parcels/dk_gsaa2016/marker2016_small.shp"
    prepare(conn, config, file, "32VNH")
    compare(conn, config, 32632)
    made = {raster.resolution: raster for raster in rasterise(conn, config)}
    assert sorted(made) == [10, 20]
    # four on the 20 m grid of that image, which was cut off the tile 10 m beside its pixels
    numbers = [row[0] for row in in_file_order(conn, read(file))]
    assert made[20].without_pixel == tuple(sorted(numbers[feature - 1] for feature in (9, 100)))


def test_pixels_of_swiss_parcels_in_two_zones(
    conn: psycopg.Connection, config: Config, testdata: Path
) -> None:
    prepare(
        conn, config, testdata / "parcels/ch_zurich/ZH_Polygons_2020_ESCH_EPSG32632.shp", "32TMT", "31TGN"
    )
    compare(conn, config, 32632)
    compare(conn, config, 32631)
    names = [raster.table for raster in rasterise(conn, config)]
    assert names == [f"public.parcels_2021_{epsg}_{res}_rast" for epsg in (32631, 32632) for res in (10, 20)]


def test_pixels_of_random_shapes(conn: psycopg.Connection, config: Config, tmp_path: Path) -> None:
    path = write(tmp_path / "random.gpkg", shapes(), geometry_type="Unknown", crs="EPSG:32632")
    prepare(conn, config, path, "32UNF")
    compare(conn, config, 32632)


def shapes() -> list[Any]:
    """Stars of 4 to 150 m, boxes with sides on pixel edges and centres, rings with strips, thin diagonals."""
    random = np.random.default_rng(20210601)

    def corner() -> tuple[float, float]:
        return 500_000 + random.uniform(0, 5000), 5_250_000 + random.uniform(0, 5000)

    found: list[Any] = []
    for size in (4, 12, 40, 150):
        for _ in range(150):
            angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 12)))
            radii = size * random.uniform(0.3, 1, len(angles))
            star = np.c_[radii * np.cos(angles), radii * np.sin(angles)]
            found.append(shapely.Polygon(np.array(corner()) + star))
    for _ in range(150):
        x, y = 5.0 * random.integers((100_000, 1_050_000), (101_000, 1_051_000))
        found.append(shapely.box(x, y, x + 5 * random.integers(1, 20), y + 5 * random.integers(1, 20)))
    for _ in range(50):
        x, y = corner()
        ring = shapely.Point(x, y).buffer(60).difference(shapely.Point(x, y).buffer(35))
        found.append(shapely.union(ring, shapely.box(x + 100, y - 80, x + 103, y + 200)))
        end = (x + random.uniform(-500, 500), y + random.uniform(-500, 500))
        found.append(shapely.LineString([(x, y), end]).buffer(random.uniform(0.5, 6), cap_style="flat"))
    return [shape for shape in found if shape.is_valid and shape.area > 0]


@pytest.fixture
def small(conn: psycopg.Connection, config: Config, tmp_path: Path) -> Path:
    path = write(tmp_path / "small.gpkg", [shapely.box(500000, 6000000, 500100, 6000100)], crs="EPSG:25832")
    prepare(conn, config, path, "32UNF")
    return path


@pytest.mark.usefixtures("small")
def test_made_once_and_again_when_the_parcels_are_newer(
    conn: psycopg.Connection, config: Config, tmp_path: Path
) -> None:
    would = rasterise(conn, config, check_only=True)
    assert [raster.changed for raster in would] == [True, True]
    assert conn.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '%_rast'").fetchone() == (0,)
    assert [raster.changed for raster in rasterise(conn, config)] == [True, True]
    tables = "SELECT relname, oid FROM pg_class WHERE relname LIKE '%_rast' ORDER BY 1"
    before = conn.execute(tables).fetchall()
    for check_only in (True, False):
        assert not any(raster.changed for raster in rasterise(conn, config, check_only=check_only))
    assert conn.execute(tables).fetchall() == before
    newer = write(tmp_path / "newer.gpkg", [shapely.box(500000, 6000000, 500300, 6000100)], crs="EPSG:25832")
    load(conn, config.tables, newer, Options())
    assert all(raster.changed for raster in rasterise(conn, config))
    assert conn.execute("SELECT ST_Count(rast) FROM parcels_2021_32632_10_rast").fetchone() == (300,)


@pytest.mark.usefixtures("small")
def test_a_table_made_by_hand_or_half_is_made_anew(conn: psycopg.Connection, config: Config) -> None:
    conn.execute("CREATE TABLE parcels_2021_32632_10_rast AS SELECT 1 AS pid, NULL::raster AS rast")
    assert rasterise(conn, config)[0].changed
    assert conn.execute("SELECT ST_Count(rast) FROM parcels_2021_32632_10_rast").fetchone() == (100,)


@pytest.mark.usefixtures("small")
def test_interrupted_leaves_no_half_table(
    database: Database, conn: psycopg.Connection, config: Config
) -> None:
    def unplug(_label: str, _total: int) -> Any:
        return lambda _done: conn.execute("SELECT pg_terminate_backend(%s)", [victim.info.backend_pid])

    with database.connect(autocommit=True) as victim, pytest.raises(psycopg.OperationalError):
        rasterise(victim, config, progress=unplug)
    assert conn.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '%_rast'").fetchone() == (0,)


@pytest.mark.usefixtures("small")
def test_parcels_that_nobody_loaded_with_this_program(conn: psycopg.Connection, config: Config) -> None:
    conn.execute("DELETE FROM parcel_sets")
    assert rasterise(conn, config)[0].changed
    assert not rasterise(conn, config)[0].changed


@pytest.mark.usefixtures("small")
def test_zones_and_resolutions(database: Database, conn: psycopg.Connection, config: Config) -> None:
    assert zones(conn, config) == [32632]
    catalogue(conn, "33HXE")
    catalogue(conn, "31UFT", epsg=32631)
    catalogue(conn, "30UXC", day="2020-12-31")
    conn.execute(
        "INSERT INTO dias_catalogue (obstime, reference, sensor, card, epsg, footprint) VALUES"
        " ('2021-06-01', 'S2A_MSIL2A_20210601T103021_N0300_R108_T34UDB_20210601T134215.SAFE', '2A', 's2',"
        "  NULL, ST_MakeEnvelope(30, 50, 31, 51, 4326)),"
        " ('2021-06-01', 'S1A_IW_GRDH_1SDV_x_y_z_CARD_BS', '1A', 'bs',"
        "  32635, (SELECT wkb_geometry FROM aois))"
    )
    assert zones(conn, config) == [32631, 32632, 32733], "only over the area, in the period, by Sentinel-2"
    only_scl = database.configured(extraction={"s2": {"scl": True, "10": [], "20": []}})
    assert {raster.resolution for raster in rasterise(conn, only_scl, check_only=True)} == {20}


def test_what_is_missing_is_said(conn: psycopg.Connection, config: Config, testdata: Path) -> None:
    with pytest.raises(
        UserError, match=r"The table public.parcels_2021 does not exist. Load it with cbmctl parcels load"
    ):
        rasterise(conn, config)
    load(conn, config.tables, testdata / "parcels/dk_gsaa2016/marker2016_small.shp", Options())
    with pytest.raises(
        UserError, match=r"public.aois has no area 'parcels_2021'. Create it with cbmctl aoi set"
    ):
        rasterise(conn, config)
    aoi.set_area(conn, config, "parcels_2021", aoi.from_parcels(conn, config).area)
    with pytest.raises(
        UserError, match=r"no Sentinel-2 scene over 'parcels_2021' from 2021-01-01 to 2022-01-01"
    ):
        rasterise(conn, config)


def test_parcels_that_a_zone_cannot_hold_are_left_out_and_named(
    database: Database, conn: psycopg.Connection, config: Config, tmp_path: Path
) -> None:
    fields = [shapely.box(500000 + 200 * i, 6000000, 500100 + 200 * i, 6000100) for i in range(40)]
    path = write(tmp_path / "some.gpkg", fields, crs="EPSG:25832")
    prepare(conn, config, path, "32UNF")
    conn.execute(
        "UPDATE parcels_2021 SET wkb_geometry = ST_Multi(ST_MakeEnvelope(x, y, x * 1.1, y * 1.1, 25832))"
        " FROM (VALUES (7, 1e300, 1e300), (23, 400000, 1000)) AS bad (pid, x, y) WHERE ogc_fid = pid"
    )
    # half of Europe, because of one wrong corner
    conn.execute(
        "UPDATE parcels_2021 SET wkb_geometry = ST_Multi(ST_MakeEnvelope(0, 0, 500000, 6200000, 25832))"
        " WHERE ogc_fid = 40"
    )
    for changed in (True, False):
        made = rasterise(conn, config)
        assert {(raster.changed, raster.left_out) for raster in made} == {(changed, (7, 40))}
        assert all("transform" in raster.reason for raster in made), made
    assert conn.execute("SELECT count(*) FROM parcels_2021_32632_10_rast").fetchone() == (38,)
    arguments = ["--config", str(database.config_path), "parcels", "rasterise"]
    said = CliRunner().invoke(cbmctl, arguments).stderr
    assert "_32632_10_rast: ogc_fid 7, 40. PostGIS reports for the first: 'transform: " in said


@pytest.mark.usefixtures("small")
def test_a_table_without_any_raster_is_an_error_and_not_made(
    conn: psycopg.Connection, config: Config
) -> None:
    rasterise(conn, config)
    before = conn.execute("SELECT * FROM parcels_2021_32632_10_rast").fetchall()
    conn.execute(
        "UPDATE parcels_2021 SET wkb_geometry = ST_SetSRID(ST_Translate(wkb_geometry, 1e300, 0), 25832)"
    )
    conn.execute("UPDATE parcel_sets SET placed_at = now()")
    with pytest.raises(
        UserError, match=r"_32632_10_rast cannot be created: PostGIS says 'transform: .* every parcel"
    ):
        rasterise(conn, config)
    assert conn.execute("SELECT * FROM parcels_2021_32632_10_rast").fetchall() == before


def test_nothing_is_made_for_sentinel_1(conn: psycopg.Connection, database: Database, three: Path) -> None:
    s2 = {"scl": False, "10": [], "20": []}
    prepare(conn, database.config, three, "32VNH")
    assert rasterise(conn, database.configured(extraction={"s2": s2})) == []
    twenty = rasterise(conn, database.configured(extraction={"s2": s2 | {"20": ["B05"]}}), check_only=True)
    assert [raster.resolution for raster in twenty] == [20]
