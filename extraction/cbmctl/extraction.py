"""One task's computation: from a product and the parcels to rows, with no trace in the database yet."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.pixels.grid import Grid
from cbmctl.pixels.index import PixelIndex
from cbmctl.pixels.statistics import band_statistics, histograms
from cbmctl.results import replace_histograms, replace_signatures
from cbmctl.scenes import SceneError
from cbmctl.scenes.sentinel2 import open_product
from cbmctl.tasks import Task

RESOLUTION = {"scl": 20, "10": 10, "20": 20}
# An index of 100,000 parcels takes some 200 MB at 10 m. SCL and the 20 m bands of a tile share one.
INDEXES_KEPT = 3
# Footprints are drawn with few corners, in degrees; with this margin no parcel at the edge is overlooked.
FOOTPRINT_MARGIN_DEGREES = 0.02

Indexes = Callable[[Grid], PixelIndex]


@dataclass(frozen=True)
class Found:
    """What a task computed.

    Attributes:
        parcels: parcels with pixels in the image.
        applied_offset: what was added to the digital numbers; None for SCL.
        write: writes the rows in the caller's transaction and returns how many.
    """

    parcels: int
    applied_offset: int | None
    write: Callable[[], int]


def parcel_indexes(conn: psycopg.Connection, config: Config) -> Indexes:
    """Return a function from grid to pixel index that remembers the last few: a tile's grid never changes."""

    @lru_cache(maxsize=INDEXES_KEPT)
    def index(grid: Grid) -> PixelIndex:
        return PixelIndex.build(_parcels(conn, config, grid), grid)

    return index


def meets_parcels(conn: psycopg.Connection, config: Config, task: Task) -> bool:
    """Whether any parcel lies in the scene's footprint.

    Raises:
        SceneError: the parcels cannot be read ('Parcel SQL').
    """
    statement = query(
        """SELECT EXISTS (
               SELECT FROM {parcels} p
               WHERE ST_Intersects(p.wkb_geometry, (
                   SELECT ST_Transform(
                       ST_Buffer(footprint, %(margin)s), Find_SRID(%(schema)s, %(name)s, 'wkb_geometry'))
                   FROM {catalogue} WHERE id = %(obsid)s)))""",
        parcels=config.tables.parcels.sql,
        catalogue=config.tables.catalogue.sql,
    )
    parameters = {
        "margin": FOOTPRINT_MARGIN_DEGREES,
        "schema": config.tables.parcels.schema,
        "name": config.tables.parcels.name,
        "obsid": task.obsid,
    }
    try:
        return bool(one(conn, statement, parameters)[0])
    except psycopg.Error as error:
        raise _parcel_error(conn, config, error) from error


def extract(conn: psycopg.Connection, config: Config, task: Task, indexes: Indexes) -> Found:
    """Read the task's bands and compute every parcel's statistics.

    Raises:
        SceneError: the product or the parcels cannot be used.
    """
    if task.path is None:
        raise SceneError("!S3 subdir", f"the catalogue has no path for {task.reference}: sync it again")
    product = open_product(config.eodata, task.path)
    resolution = RESOLUTION[task.bandset]
    harmonise = config.extraction.reflectance == "harmonised"
    index = indexes(product.grid(resolution))
    # without a parcel in the image nothing needs decoding
    images: dict[str, Any] = (
        dict(product.read(task.bands, resolution, harmonise=harmonise).bands) if len(index) else {}
    )
    if task.bandset == "scl":
        classes = histograms(index, images["SCL"]) if images else {}
        return Found(len(index), None, lambda: replace_histograms(conn, config.tables, task.obsid, classes))
    rows = band_statistics(index, images)
    offset = product.metadata.boa_offset if harmonise else 0
    return Found(
        len(index), offset, lambda: replace_signatures(conn, config.tables, task.obsid, task.bandset, rows)
    )


def _parcels(conn: psycopg.Connection, config: Config, grid: Grid) -> list[tuple[int, bytes]]:
    """Fetch (pid, WKB) in the grid's CRS of the parcels that may have pixels there."""
    statement = query(
        """SELECT ogc_fid, ST_AsBinary(ST_Transform(wkb_geometry, %(epsg)s)) FROM {parcels}
           WHERE wkb_geometry && ST_Transform(
               ST_Segmentize(ST_MakeEnvelope(%(left)s, %(bottom)s, %(right)s, %(top)s, %(epsg)s), %(step)s),
               Find_SRID(%(schema)s, %(name)s, 'wkb_geometry'))
           ORDER BY ogc_fid""",
        parcels=config.tables.parcels.sql,
    )
    left, bottom, right, top = grid.bounds
    parameters = {
        "epsg": grid.epsg,
        "left": left,
        "bottom": bottom,
        "right": right,
        "top": top,
        # a straight edge of the image is bent in the parcels' CRS
        "step": max(right - left, top - bottom) / 20,
        "schema": config.tables.parcels.schema,
        "name": config.tables.parcels.name,
    }
    try:
        return conn.execute(statement, parameters, binary=True).fetchall()
    except psycopg.Error as error:
        raise _parcel_error(conn, config, error) from error


def _parcel_error(conn: psycopg.Connection, config: Config, error: psycopg.Error) -> Exception:
    """Tell a wrong parcel table, which is the scene's problem, from a lost connection, which is not."""
    if conn.broken:
        return error
    return SceneError(
        "Parcel SQL", f"{config.tables.parcels} cannot be read: {error.diag.message_primary or error}"
    )
