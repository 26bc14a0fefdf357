"""An area of interest as catalogue services take it: polygons of few corners that leave nothing of it out."""

import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

# Services take the outline in the address of a request, and some check it slowly.
CORNERS = 100
PIECES = 8
_FIRST_STEP_DEGREES = 0.005
_DIGITS = 4


def pieces(area: BaseGeometry, corners: int = CORNERS, most: int = PIECES) -> list[Polygon]:
    """Cover an area (EPSG:4326) by a few simple polygons.

    What lies far apart, such as an overseas region, gets a polygon of its own, so that nobody searches the
    sea between. The results are to be filtered by the true area.

    Args:
        area: polygonal.
        corners: of all polygons together.
        most: polygons.
    """
    step, wide = _FIRST_STEP_DEGREES, area
    while step < 10:
        # simplified before, because widening a coast takes long; and by less than it is widened: what remains
        # contains the area
        wide = shapely.buffer(shapely.simplify(wide, step), 3 * step, quad_segs=2)
        wide = shapely.simplify(wide, step)
        found = [_round(part) for part in shapely.get_parts(wide).tolist()]
        simple = [part for part in found if isinstance(part, Polygon) and part.is_valid]
        few = len(found) <= most and sum(len(part.exterior.coords) for part in simple) <= corners
        if few and len(simple) == len(found) and shapely.union_all(simple).covers(area):
            return sorted(simple, key=lambda part: part.bounds)
        step *= 2
    return [shapely.box(*area.bounds)]


def _round(part: Polygon) -> BaseGeometry:
    """Fill holes, cut what lies beyond the world, leave out digits that nobody needs."""
    within = Polygon(part.exterior).intersection(shapely.box(-180, -90, 180, 90))
    # and back to full precision, which whatever is made of it would not have otherwise
    return shapely.set_precision(shapely.set_precision(within, 10.0**-_DIGITS), 0)
