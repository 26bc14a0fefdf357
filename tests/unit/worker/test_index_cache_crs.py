"""Indexes of parcels in their own coordinate systems, whose long edges bend on the image."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.features import rasterize
from shapely import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.parcels.files.read_delivery import read
from cbmctl.pixels import Grid
from cbmctl.worker.index_cache import Indexes
from tests.conftest import Database
from tests.support.burnt_pixels import burnt, pixels
from tests.unit.parcels.test_national import NATIONAL
from tests.unit.parcels.test_read_delivery import polygons

pytestmark = pytest.mark.postgis


def table(database: Database, srid: int, shapes: dict[int, BaseGeometry]) -> None:
    with database.connect() as conn:
        conn.execute("DROP TABLE IF EXISTS parcels_2021")
        conn.execute(
            f"""CREATE TABLE parcels_2021
                (ogc_fid integer PRIMARY KEY, wkb_geometry geometry(MultiPolygon, {srid}))"""
        )
        for pid, shape in shapes.items():
            conn.execute(
                "INSERT INTO parcels_2021 VALUES (%s, ST_Multi(ST_GeomFromWKB(%s, %s)))",
                [pid, shape.wkb, srid],
            )


def projected(shape: BaseGeometry, srid: int, epsg: int) -> BaseGeometry:
    to = Transformer.from_crs(srid, epsg, always_xy=True)
    return shapely.transform(shape, lambda xy: np.column_stack(to.transform(xy[:, 0], xy[:, 1])))


def around(shapes: list[BaseGeometry], epsg: int, step: float = 10) -> Grid:
    """Return a grid, a multiple of the step as those of Sentinel-2, with a margin around some shapes."""
    west, south, east, north = shapely.total_bounds(shapes)
    left, top = (west // step - 3) * step, (north // step + 3) * step
    return Grid(
        epsg,
        Affine(step, 0, left, 0, -step, top),
        int((top - south) // step) + 4,
        int((east - left) // step) + 4,
    )


def mask(shape: BaseGeometry, grid: Grid) -> NDArray[np.bool_]:
    image = rasterize([(shape, 1)], out_shape=(grid.height, grid.width), transform=grid.transform)
    return np.asarray(image, bool)


LONG_EDGES = {
    3035: (32632, box(4_150_000, 2_700_000, 4_180_000, 2_700_900)),
    4326: (32632, Polygon([(8.1, 47.301), (8.5, 47.302), (8.499, 47.31), (8.101, 47.308)])),
    # far from the middle of zone 32, where lines of zone 33 are straight
    25832: (32633, Polygon([(790_000, 5_300_000), (820_000, 5_304_000), (819_500, 5_305_000)])),
    2056: (32632, box(2_655_000, 1_250_000, 2_685_000, 1_250_800)),
}


@pytest.mark.parametrize("srid", LONG_EDGES)
def test_long_edges_bend_as_the_projection_does(database: Database, config: Config, srid: int) -> None:
    """As if they had a corner every ten metres, but for centres within a centimetre of the border."""
    epsg, shape = LONG_EDGES[srid]
    table(database, srid, {1: shape})
    fine = projected(shapely.segmentize(shape, 1e-4 if srid == 4326 else 10), srid, epsg)
    grid = around([fine], epsg)
    with connect(config, autocommit=True) as conn:
        index = Indexes(conn, config).get(grid)
    found = np.zeros(grid.height * grid.width, bool)
    found[index.of(1)] = True
    expected = mask(fine, grid)
    differing = np.argwhere(found.reshape(expected.shape) != expected)
    centres = [shapely.Point(grid.transform @ (column + 0.5, row + 0.5)) for row, column in differing]
    assert all(fine.boundary.distance(centre) < 0.011 for centre in centres)
    assert len(differing) <= 5
    straight = mask(projected(shape, srid, epsg), grid)
    assert (straight != expected).sum() > 50 * max(1, len(differing)), "it would matter"
    assert index.beyond.tolist() == [False]


def test_parcels_at_the_bent_border_of_the_image_are_found(database: Database, config: Config) -> None:
    """The image's sides are curves in the parcels' projection: nobody at the edge is overlooked."""
    tile = Grid(32632, Affine(10, 0, 300_000, 0, -10, 5_300_040), 10980, 10980)
    left, bottom, right, top = tile.bounds
    along = np.linspace(0.001, 0.999, 199)
    x = left + along * (right - left)
    y = bottom + along * (top - bottom)
    places = np.concatenate(
        [
            np.c_[x, np.full_like(x, bottom + 15)],
            np.c_[x, np.full_like(x, top - 15)],
            np.c_[np.full_like(y, left + 15), y],
            np.c_[np.full_like(y, right - 15), y],
        ]
    )
    boxes = shapely.box(*(places - 12).T, *(places + 12).T)
    for srid in (3035, 4326):
        moved = projected(MultiPolygon(list(boxes)), 32632, srid)
        shapes: dict[int, BaseGeometry] = dict(enumerate(shapely.get_parts(moved)))
        table(database, srid, shapes)
        with connect(config, autocommit=True) as conn:
            index = Indexes(conn, config).get(tile)
        assert sorted(index.pids.tolist()) == list(shapes)
        assert set(index.counts().tolist()) <= {4, 5, 6, 8, 9}
        assert not index.beyond.any()


@pytest.mark.parametrize("srid", [2180, 3003, 4326, 5514])
def test_parcels_in_their_own_crs(database: Database, config: Config, srid: int) -> None:
    """A field of a hundred metres lies where PostGIS puts it, to the pixel."""
    area = pyproj_area(srid)
    zone = 32601 + int((area[0] + 180) // 6)
    x, y = Transformer.from_crs(4326, zone, always_xy=True).transform(*area)
    fields = {pid: box(x + dx, y, x + dx + 95, y + 130) for pid, dx in enumerate((3.2, 111.7, 404.4), 1)}
    table(database, srid, {pid: projected(shape, zone, srid) for pid, shape in fields.items()})
    shapes = by_postgis(database, zone)
    grid = around(list(shapes.values()), zone)
    with connect(config, autocommit=True) as conn:
        assert pixels(Indexes(conn, config).get(grid)) == burnt(shapes, grid)


def pyproj_area(srid: int) -> tuple[float, float]:
    """Return a place in the middle of where a CRS is used; for those of all of Europe, in it."""
    area = CRS.from_epsg(srid).area_of_use
    assert area is not None
    if area.east - area.west > 30:
        return 8.6, 47.4
    return (area.west + area.east) / 2, (area.south + area.north) / 2


def test_real_parcels_of_countries(database: Database, config: Config, testdata: Path) -> None:
    """Whatever the CRS and the lengths of their edges: more corners change no pixel of a real parcel."""
    # one file for each CRS
    for srid, (name, layer) in {srid: (name, layer) for name, _, srid, layer in NATIONAL}.items():
        shapes = polygons(read(testdata / "parcels/gsaa_by_country" / name, layer=layer))
        kept: dict[int, BaseGeometry] = dict(enumerate(shapely.force_2d(shapely.make_valid(shapes)), 1))
        table(database, srid, kept)
        x, y = kept[1].representative_point().coords[0]
        lon, _ = Transformer.from_crs(srid, 4326, always_xy=True).transform(x, y)
        there = by_postgis(database, zone := 32601 + int((lon + 180) // 6))
        # a tile around the first one
        west, _, _, north = there[1].bounds
        left, top = west // 10 * 10 - 5000, north // 10 * 10 + 5000
        grid = Grid(zone, Affine(10, 0, left, 0, -10, top), 1200, 1200)
        with connect(config, autocommit=True) as conn:
            found = pixels(Indexes(conn, config).get(grid))
        assert found == burnt(there, grid) != {}, name


def by_postgis(database: Database, epsg: int) -> dict[int, BaseGeometry]:
    """Return the parcels in another CRS, with the corners that they have."""
    with database.connect() as conn:
        rows = conn.execute(
            "SELECT ogc_fid, ST_AsBinary(ST_Transform(wkb_geometry, %s::integer)) FROM parcels_2021", [epsg]
        ).fetchall()
    return {pid: shapely.from_wkb(bytes(wkb)) for pid, wkb in rows}
