"""Numbers of pixels in a parcel: by their centre, as in the statistics, and with their whole area."""

from typing import Any

import numpy as np
from affine import Affine
from numba import int64
from numpy.typing import NDArray

from cbmctl.pixels.compiled import array, compiled
from cbmctl.pixels.edges import edges_of
from cbmctl.pixels.grid import Grid
from cbmctl.pixels.scanline import EDGES, capacities, scan

# A share of a pixel (10 µm at 10 m): a border along the border of a pixel is not inside it, despite rounding.
_TOLERANCE = 1e-6


def pixel_counts(parcels: Any, epsg: int, resolution: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels of parcels on the grid whose borders are multiples of the resolution.

    Args:
        parcels: (n,) shapely polygons or multi-polygons in the CRS of the grid.
        epsg: its code.
        resolution: metres.

    Returns:
        (n,) pixels whose centre is inside, as in `PixelIndex`, and (n,) pixels that lie wholly inside.
    """
    # an image without rows: pixels are counted, and no runs are stored
    grid = Grid(epsg, Affine(resolution, 0, 0, 0, -resolution, 0), 0, 0)
    edges = edges_of(parcels, grid)
    number = len(parcels)
    places = np.concatenate(([0], np.cumsum(capacities(*edges[:-1]))))
    kept, total = np.zeros(number, np.int64), np.zeros(number, np.int64)
    scan(*edges, places, 0, number, 0, 0, np.empty(0, np.int64), np.empty(0, np.int32), kept, total)
    return total, full_pixels(*edges[:-1])


@compiled(array(int64)(*EDGES))
def full_pixels(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    rings: NDArray[np.int64],
    polygons: NDArray[np.int64],
    parcels: NDArray[np.int64],
    usable: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return for each parcel how many pixels no border crosses and whose centre is inside.

    Args: as in `capacities`.
    """
    result = np.zeros(len(parcels) - 1, np.int64)
    crossings = np.empty(64, np.float64)  # of the row's line of centres
    touched = np.empty((64, 2), np.int64)  # columns that a border crosses: first, and after the last
    for parcel in range(len(parcels) - 1):
        for polygon in range(parcels[parcel], parcels[parcel + 1]):
            first, last = rings[polygons[polygon]], rings[polygons[polygon + 1]]
            if not usable[polygon] or last - first < 2:
                continue
            if last - first > len(crossings):
                crossings = np.empty(2 * (last - first), np.float64)
                touched = np.empty((2 * (last - first), 2), np.int64)
            top, bottom = np.int64(np.floor(y[first:last].min())), np.int64(np.ceil(y[first:last].max()))
            for row in range(top, bottom):
                above, below, centre = row + _TOLERANCE, row + 1 - _TOLERANCE, row + 0.5
                found, hit = 0, 0
                for ring in range(polygons[polygon], polygons[polygon + 1]):
                    for i in range(rings[ring], rings[ring + 1] - 1):
                        x1, y1, x2, y2 = x[i], y[i], x[i + 1], y[i + 1]
                        if y1 > y2:
                            x1, y1, x2, y2 = x2, y2, x1, y1
                        if y1 >= below or y2 <= above:
                            continue
                        left, right = min(x1, x2), max(x1, x2)
                        if y1 < y2:
                            slope = (x2 - x1) / (y2 - y1)
                            if y1 < centre <= y2:
                                crossings[found] = x1 + (centre - y1) * slope
                                found += 1
                            start = x1 + (max(y1, above) - y1) * slope
                            end = x1 + (min(y2, below) - y1) * slope
                            left, right = max(left, min(start, end)), min(right, max(start, end))
                        touched[hit, 0] = np.int64(np.floor(left + _TOLERANCE))
                        touched[hit, 1] = np.int64(np.ceil(right - _TOLERANCE))
                        hit += 1
                if found == 0:
                    continue
                inside = np.sort(crossings[:found])
                order = np.argsort(touched[:hit, 0])
                for k in range(0, found - 1, 2):
                    # columns whose centre lies between two crossings, without those that are touched
                    column = np.int64(np.ceil(inside[k] - 0.5))
                    end_column = np.int64(np.ceil(inside[k + 1] - 0.5))
                    for j in order:
                        if touched[j, 0] > column:
                            result[parcel] += max(min(touched[j, 0], end_column) - column, 0)
                        column = max(column, touched[j, 1])
                    result[parcel] += max(end_column - column, 0)
    return result
