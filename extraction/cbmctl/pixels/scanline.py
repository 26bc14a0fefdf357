"""The scanline kernel: polygons to runs of pixels, by GDAL's rule and in GDAL's order of operations.

Polygons come in pixel coordinates, as ragged arrays: parcels of polygons of rings of points.
"""

from typing import Any

import numpy as np
from numba import boolean, float64, int32, int64
from numpy.typing import NDArray

from cbmctl.pixels.compiled import array, compiled, helper, readonly

# The types of x, y, rings, polygons, parcels and usable (`cbmctl.pixels.edges`).
EDGES = (
    readonly(float64), readonly(float64), readonly(int64), readonly(int64), readonly(int64),
    readonly(boolean),
)  # fmt: skip


@helper
def _emit(
    runs: NDArray[np.int64], found: int, place: int, height: int, width: int, starts: Any, lengths: Any
) -> tuple[int, int]:
    """Write a parcel's runs without what an earlier one holds; return runs in the image, and all pixels."""
    kept, total = 0, 0
    row, reached = np.int64(-(2**62)), np.int64(0)
    for k in range(found):
        first, last = runs[k, 1], runs[k, 2]
        if runs[k, 0] == row:
            first = max(first, reached)
        row = runs[k, 0]
        if last <= first:
            continue
        reached = last
        total += last - first
        first, last = max(first, 0), min(last, width)
        if 0 <= row < height and last > first:
            starts[place + kept], lengths[place + kept] = row * width + first, last - first
            kept += 1
    return kept, total


@helper
def _line(y: float) -> Any:
    """Return the first line of centres (row + 0.5) that is not above y."""
    return np.int64(np.ceil(y - 0.5))


@helper
def _column(x: float) -> Any:
    """Return the first column whose centre is not left of x."""
    return np.int64(np.floor(x + 0.5))


@helper
def _sort(values: NDArray[np.int64], begin: int, end: int) -> None:
    """Sort a few values; many at once, as of a polygon with a thousand teeth, by numpy."""
    if end - begin > 64:
        values[begin:end] = np.sort(values[begin:end])
        return
    for i in range(begin + 1, end):
        value, k = values[i], i
        while k > begin and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value


@helper
def _sort_runs(runs: NDArray[np.int64], found: int) -> None:
    """Sort by row, then by first column."""
    by_column = np.argsort(runs[:found, 1], kind="mergesort")
    runs[:found] = runs[:found][by_column]
    by_row = np.argsort(runs[:found, 0], kind="mergesort")
    runs[:found] = runs[:found][by_row]


@compiled(array(int64)(*EDGES))
def capacities(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    rings: NDArray[np.int64],
    polygons: NDArray[np.int64],
    parcels: NDArray[np.int64],
    usable: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return for each parcel how many runs it can have at most.

    Args:
        x: columns of all points; 0 is the left border of the first pixel.
        y: rows of all points, southwards.
        rings: (rings + 1,) where each ring's points begin.
        polygons: (polygons + 1,) where each polygon's rings begin.
        parcels: (parcels + 1,) where each parcel's polygons begin.
        usable: whether a polygon's coordinates are numbers.
    """
    result = np.zeros(len(parcels) - 1, np.int64)
    for parcel in range(len(parcels) - 1):
        crossings, flats = 0, 0
        for polygon in range(parcels[parcel], parcels[parcel + 1]):
            if not usable[polygon]:
                continue
            for ring in range(polygons[polygon], polygons[polygon + 1]):
                for i in range(rings[ring], rings[ring + 1] - 1):
                    if y[i] == y[i + 1]:
                        flats += 1
                    crossings += abs(_line(y[i + 1]) - _line(y[i]))
        result[parcel] = crossings // 2 + flats
    return result


@compiled(
    int64(
        *EDGES, readonly(boolean), readonly(int64), int64, int64, int64, int64,
        array(int64), array(int32), array(int64), array(int64),
    )
)  # fmt: skip
def scan(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    rings: NDArray[np.int64],
    polygons: NDArray[np.int64],
    parcels: NDArray[np.int64],
    usable: NDArray[np.bool_],
    ccw: NDArray[np.bool_],
    places: NDArray[np.int64],
    begin: int,
    end: int,
    height: int,
    width: int,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
    kept: NDArray[np.int64],
    total: NDArray[np.int64],
) -> int:
    """Cut the parcels from `begin` to `end` into disjoint runs of pixels, in ascending order.

    Args (further ones as in `capacities`):
        ccw: whether a ring turns anti-clockwise in the map.
        places: (parcels + 1,) where each parcel's runs go in `starts` and `lengths`.
        begin, end: which parcels.
        height, width: of the image.
        starts: out; the run's first pixel, row * width + column.
        lengths: out; its pixels.
        kept: out; runs inside the image, by parcel.
        total: out; pixel centres by parcel, in the image and outside.

    Returns:
        The number of runs inside the image.
    """
    lines = np.empty(256, np.int64)  # where the crossings of each line begin
    columns = np.empty(1024, np.int64)
    runs = np.empty((256, 3), np.int64)  # row, first column, column after the last
    sum_kept = 0
    for parcel in range(begin, end):
        most = places[parcel + 1] - places[parcel]
        if most > len(runs):
            runs = np.empty((2 * most, 3), np.int64)
        found, ordered = 0, parcels[parcel + 1] - parcels[parcel] < 2
        for polygon in range(parcels[parcel], parcels[parcel + 1]):
            if not usable[polygon]:
                continue
            first, last = rings[polygons[polygon]], rings[polygons[polygon + 1]]
            top, bottom = np.int64(2**62), np.int64(-(2**62))
            for i in range(first, last):
                line = _line(y[i])
                top, bottom = min(top, line), max(bottom, line)
            if last - first < 2:
                continue
            span = bottom - top + 2
            if span > len(lines):
                lines = np.empty(2 * span, np.int64)
            lines[:span] = 0
            for ring in range(polygons[polygon], polygons[polygon + 1]):
                for i in range(rings[ring], rings[ring + 1] - 1):
                    above, below = _line(y[i]), _line(y[i + 1])
                    for row in range(min(above, below), max(above, below)):
                        lines[row - top + 1] += 1
            for row in range(1, span):
                lines[row] += lines[row - 1]
            if lines[span - 1] > len(columns):
                columns = np.empty(2 * lines[span - 1], np.int64)
            for ring in range(polygons[polygon], polygons[polygon + 1]):
                for i in range(rings[ring], rings[ring + 1] - 1):
                    x1, y1, x2, y2 = x[i], y[i], x[i + 1], y[i + 1]
                    if y1 > y2:
                        x1, y1, x2, y2 = x2, y2, x1, y1
                    for row in range(_line(y1), _line(y2)):
                        # lines[k] runs from the begin of line k to its end, which is the begin of line k + 1
                        columns[lines[row - top]] = _column((row + 0.5 - y1) * (x2 - x1) / (y2 - y1) + x1)
                        lines[row - top] += 1
                    # Where a ring's lower border runs along a line of centres, GDAL takes the centres on it
                    # too. It turns all rings clockwise, which makes it the border that leads to the left.
                    if y1 == y2 and y1 - 0.5 == np.floor(y1) and (x[i] < x[i + 1]) == ccw[ring] and x1 != x2:
                        low, high = _column(min(x1, x2)), _column(max(x1, x2))
                        if high > low:
                            runs[found, 0], runs[found, 1], runs[found, 2] = np.int64(np.floor(y1)), low, high
                            found += 1
                            ordered = False
            # A closed ring crosses a line an even number of times: entry, exit, entry, exit …
            here = 0
            for k in range(span - 1):
                _sort(columns, here, lines[k])
                for c in range(here, lines[k], 2):
                    if columns[c + 1] > columns[c]:
                        runs[found, 0], runs[found, 1], runs[found, 2] = top + k, columns[c], columns[c + 1]
                        found += 1
                here = lines[k]
        if not ordered:
            _sort_runs(runs, found)
        kept[parcel], total[parcel] = _emit(runs, found, places[parcel], height, width, starts, lengths)
        sum_kept += kept[parcel]
    return sum_kept
