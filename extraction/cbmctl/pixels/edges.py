"""Polygons as the kernels read them: their corners in pixels of a grid, in ragged arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cbmctl.pixels.grid import Grid

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Edges = tuple[Floats, Floats, Ints, Ints, Ints, NDArray[np.bool_], NDArray[np.bool_]]
# Pixels from the image's corner to the other side of the Earth, at 1 m: no place lies further away.
_NOWHERE = 4e7


def edges_of(parcels: Sequence[Any] | NDArray[Any], grid: Grid) -> Edges:
    """Return the arguments x, y, rings, polygons, parcels, usable and ccw of the kernels."""
    polygons, owner = shapely.get_parts(parcels, return_index=True)
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    # The inverse geotransform in GDAL's order of operations: one rounding can decide who gets a centre
    # on a border.
    t = grid.transform
    x = -t.c / t.a + xy[:, 0] * (1.0 / t.a)
    y = -t.f / t.e + xy[:, 1] * (1.0 / t.e)
    # A polygon with a coordinate that the projection could not express is nowhere on this grid.
    nowhere = ~((np.abs(x) < _NOWHERE) & (np.abs(y) < _NOWHERE))
    usable = np.ones(len(polygons), bool)
    usable[polygon[ring[nowhere]]] = False
    ccw = np.zeros(len(rings), bool)
    sound = usable[polygon]  # GEOS refuses rings with infinite coordinates
    ccw[sound] = shapely.is_ccw(rings[sound])
    return (
        x,
        y,
        _offsets(ring, len(rings)),
        _offsets(polygon, len(polygons)),
        _offsets(owner, len(parcels)),
        usable,
        ccw,
    )


def _offsets(owner: Ints, number: int) -> Ints:
    """Return where the things of each owner begin, owners ascending."""
    return np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=number))))
