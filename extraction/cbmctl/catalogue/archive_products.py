"""A product on the archive as a catalogue record."""

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyproj
import shapely
from rasterio.errors import RasterioError
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.orbits import scene_orbit
from cbmctl.catalogue.record import (
    LONGEST_NAME,
    Card,
    Footprint,
    Record,
    as_footprint,
    made_at,
    sensing_time,
    utc,
)
from cbmctl.pixels.grid import Grid
from cbmctl.reasons import RECORD_INVALID, UNREADABLE
from cbmctl.scenes import SceneError, backscatter, coherence
from cbmctl.scenes.sentinel2 import Product, open_product

_EDGE_STEP_M = 10_000  # straight in the image's CRS is not straight in degrees: corners are not enough
_LATITUDE_BANDS = "CDEFGHJKLMNPQRSTUVWX"  # of MGRS: 8 degrees each, from 80° S


def describe(root: Path, path: str, card: Card, match: re.Match[str]) -> Record:
    """Read what the catalogue needs of one product: its metadata, and an image's header where that is silent.

    Args:
        root: the archive's root.
        path: the product folder below it.
        card: what kind of product it is.
        match: its name, matched by the card's pattern.

    Raises:
        SceneError: the product is broken; the status is the manual's word.
    """
    name = match.string
    if len(name) > LONGEST_NAME:
        raise SceneError(
            RECORD_INVALID, f"its name is too long: at most {LONGEST_NAME} characters are supported"
        )
    try:
        obstime = sensing_time(match)
        if card.name != "s2":
            grid = _card_grid(root / path, card)
            published = _stored(root / path, card, obstime)
            extent = _extent(grid)
            return Record(
                name,
                card.name,
                match["sensor"],
                obstime,
                path,
                extent,
                grid.epsg,
                published=published,
                orbit=scene_orbit(name, obstime, extent),
            )
        product = open_product(root, path)
        meta = product.metadata
        footprint = as_footprint(meta.footprint) if meta.footprint else _extent(_any_grid(product))
        return Record(
            reference=name,
            card=card.name,
            sensor=match["sensor"],
            obstime=obstime,
            path=path,
            footprint=footprint,
            epsg=product.epsg,
            tile=match["tile"],
            baseline=meta.baseline or f"{match['baseline'][:2]}.{match['baseline'][2:]}",
            boa_offset=meta.boa_offset,
            cloud_cover=meta.cloud_cover,
            datatake=meta.datatake,
            datastrip=meta.datastrip,
            processed=utc(meta.generated) or made_at(name),
            orbit=scene_orbit(name, obstime, footprint),
        )
    except (ValueError, OSError, RasterioError, shapely.errors.ShapelyError) as error:
        raise SceneError(UNREADABLE, f"{name} cannot be catalogued: {error}") from error


def may_meet(tile: str, area: BaseGeometry) -> bool:
    """Tell from a tile's name alone whether it can meet an area, so that a continent's metadata stays unread.

    The tile's UTM zone and latitude band, with a margin for the zones of odd width (32V, 31X to 37X) and for
    tiles that reach into the next zone.
    """
    west = (int(tile[:2]) - 1) * 6 - 180
    south = _LATITUDE_BANDS.index(tile[2]) * 8 - 80
    aside = 12 if tile[2] == "X" else 5
    region = shapely.box(west - aside, south - 2, west + 6 + aside, south + 14)
    around = [region, *(shapely.affinity.translate(region, turn) for turn in (-360, 360))]
    return any(area.intersects(place) for place in around)


def _any_grid(product: Product) -> Grid:
    """Return the grid of the finest images there are."""
    for resolution in (10, 20):
        if (product.images / f"R{resolution}m").is_dir():
            return product.grid(resolution)
    return product.grid(60)


def _card_grid(folder: Path, card: Card) -> Grid:
    """Return the grid of a Sentinel-1 product's first image.

    Raises SceneError when there is none or it cannot be used.
    """
    if card.name == "bs":
        return backscatter.any_grid(folder)
    return coherence.grid_of(folder)


def _stored(folder: Path, card: Card, obstime: datetime) -> datetime | None:
    """Return when the archive got a Sentinel-1 product, which says nowhere else when it was made.

    None where the file system makes times up: no image is older than what it shows.
    """
    image = (
        next(iter(backscatter.find_images(folder).values()))
        if card.name == "bs"
        else coherence.find_image(folder)
    )
    changed = datetime.fromtimestamp(int(image.stat().st_mtime), UTC).replace(tzinfo=None)
    return changed if changed > obstime else None


def _extent(grid: Grid) -> Footprint:
    """Return the outline of an image in EPSG:4326."""
    outline = shapely.segmentize(shapely.box(*grid.bounds), _EDGE_STEP_M)
    to_degrees = pyproj.Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    return as_footprint(Polygon(np.column_stack(to_degrees.transform(*outline.exterior.xy))))
