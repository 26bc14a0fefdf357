"""Parcels to pixels: which pixels of an image belong to which parcel.

The rule is GDAL's for polygons: a pixel belongs to a parcel when its centre lies inside. The sets equal those
of `rasterio.features.rasterize(..., all_touched=False)` on the whole image, pixel by pixel, because the same
scanline arithmetic is done in the same order of operations. It is done for all parcels at once and for each
on its own: no parcel takes a pixel from another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cbmctl.pixels.grid import Grid

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Runs = tuple[Ints, Ints, Ints, Ints]  # parcel, row, first column, column after the last

_CHUNK = 10_000  # parcels rasterised together; bounds the memory for edges and crossings


@dataclass(frozen=True, eq=False)
class PixelIndex:
    """Pixels by parcel, in compressed rows: parcel i has `pixels[offsets[i]:offsets[i + 1]]`.

    Attributes:
        pids: (n,) parcels with at least one pixel in the image, in the order given.
        offsets: (n + 1,) where each parcel's pixels begin.
        pixels: flat indices (row * width + column) into the image, ascending within a parcel.
        beyond: (n,) the parcel also has pixel centres outside the image.
        empty: parcels that hold no pixel centre at all, in the image or outside: slivers.
        outside: parcels whose pixel centres all lie outside the image.
        grid: the image's grid.
    """

    pids: Ints
    offsets: Ints
    pixels: NDArray[Any]
    beyond: NDArray[np.bool_]
    empty: list[int]
    outside: list[int]
    grid: Grid

    @classmethod
    def build(cls, parcels: Sequence[tuple[int, bytes]], grid: Grid) -> "PixelIndex":
        """Index parcels.

        Args:
            parcels: (pid, WKB) with polygons or multi-polygons in the CRS of the grid; they may overlap.
            grid: the image's own grid.
        """
        dtype = np.int32 if grid.height * grid.width < 2**31 else np.int64
        counts, totals, pixels = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, dtype)]
        for start in range(0, len(parcels), _CHUNK):
            chunk = parcels[start : start + _CHUNK]
            owner, pixel, total = _rasterise(shapely.from_wkb([wkb for _, wkb in chunk]), grid)
            counts.append(np.bincount(owner, minlength=len(chunk)))
            totals.append(total)
            pixels.append(pixel.astype(dtype))
        pids = np.array([pid for pid, _ in parcels], dtype=np.int64)
        count, total = np.concatenate(counts), np.concatenate(totals)
        inside = count > 0
        return cls(
            pids=pids[inside],
            offsets=np.concatenate(([0], np.cumsum(count[inside]))),
            pixels=np.concatenate(pixels),
            beyond=(total > count)[inside],
            empty=pids[total == 0].tolist(),
            outside=pids[~inside & (total > 0)].tolist(),
            grid=grid,
        )

    def __len__(self) -> int:
        return len(self.pids)

    def of(self, pid: int) -> NDArray[Any]:
        """Return the pixels of one parcel; KeyError when it has none in the image."""
        (found,) = np.nonzero(self.pids == pid)
        if not len(found):
            raise KeyError(pid)
        return self.pixels[self.offsets[found[0]] : self.offsets[found[0] + 1]]

    def chunks(self, size: int) -> Iterator[slice]:
        """Cut the parcels into slices of about `size` pixels, so that work on them needs bounded memory."""
        start = 0
        while start < len(self):
            stop = int(np.searchsorted(self.offsets, self.offsets[start] + size, side="right")) - 1
            stop = max(stop, start + 1)
            yield slice(start, stop)
            start = stop


def _rasterise(parcels: NDArray[Any], grid: Grid) -> tuple[Ints, Ints, Ints]:
    """Return owner (position in `parcels`) and index of all pixels in the image, and each parcel's size.

    The size counts pixels outside the image too.
    """
    owner, row, first, last = _runs(parcels, grid)
    total = np.bincount(owner, weights=last - first, minlength=len(parcels)).astype(np.int64)
    first, last = np.clip(first, 0, grid.width), np.clip(last, 0, grid.width)
    kept = (row >= 0) & (row < grid.height) & (last > first)
    owner, row, first, last = owner[kept], row[kept], first[kept], last[kept]
    owner, pixel = _expand(owner, row * grid.width + first, last - first)
    return owner, pixel, total


def _runs(parcels: NDArray[Any], grid: Grid) -> Runs:
    """Cut parcels into disjoint runs of pixels in ascending order, unlimited by the image."""
    polygons, owner = shapely.get_parts(parcels, return_index=True)
    polygon, x1, y1, x2, y2 = _edges(polygons, grid)

    # Where a ring's lower border runs along a line of centres, GDAL takes the centres on it too. With all
    # rings turned clockwise, as GDAL turns them, the lower border is the one that leads to the left.
    flat = (y1 == y2) & (x1 > x2) & (y1 - 0.5 == np.floor(y1))
    along = polygon[flat], np.floor(y1[flat]).astype(np.int64), _column(x2[flat]), _column(x1[flat])

    # Turn edges to ascending y; each crosses the lines of centres row + 0.5 in [y1, y2).
    swap = y1 > y2
    x1, x2 = np.where(swap, x2, x1), np.where(swap, x1, x2)
    y1, y2 = np.where(swap, y2, y1), np.where(swap, y1, y2)
    top = np.ceil(y1 - 0.5).astype(np.int64)
    edge, row = _expand(np.arange(len(top)), top, np.ceil(y2 - 0.5).astype(np.int64) - top)
    x = (row + 0.5 - y1[edge]) * (x2 - x1)[edge] / (y2 - y1)[edge] + x1[edge]
    polygon, column = polygon[edge], _column(x)

    # Closed rings cross a line an even number of times: in order these are entry, exit, entry, exit …
    order = np.lexsort((column, row, polygon))
    enter, leave = order[0::2], order[1::2]
    within = polygon[enter], row[enter], column[enter], column[leave]

    polygon, row, first, last = (np.concatenate(parts) for parts in zip(within, along, strict=True))
    return _disjoint(owner[polygon], row, first, last)


def _edges(polygons: NDArray[Any], grid: Grid) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    """Return polygon and end points, in pixel coordinates, of every edge of every ring."""
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    with np.errstate(invalid="ignore"):  # of coordinates that are dropped below
        rings = np.where(shapely.is_ccw(rings), shapely.reverse(rings), rings)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    # The inverse geotransform in GDAL's order of operations: one rounding can decide who gets a centre
    # on a border.
    t = grid.transform
    x = -t.c / t.a + xy[:, 0] * (1.0 / t.a)
    y = -t.f / t.e + xy[:, 1] * (1.0 / t.e)
    # A polygon with a coordinate that the projection could not express is nowhere on this grid.
    nowhere = np.unique(polygon[ring[~(np.isfinite(x) & np.isfinite(y))]])
    edge = ring[1:] == ring[:-1]
    if len(nowhere):
        edge &= ~np.isin(polygon[ring[1:]], nowhere)
    start = np.flatnonzero(edge)
    return polygon[ring[start]], x[start], y[start], x[start + 1], y[start + 1]


def _column(x: Floats) -> Ints:
    """Return the first column whose centre is not left of x."""
    return np.floor(x + 0.5).astype(np.int64)


def _expand(keys: Ints, starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Repeat each key `length` times, beside the numbers from `start` on."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(keys, lengths), np.arange(lengths.sum()) + np.repeat(starts - before, lengths)


def _disjoint(owner: Ints, row: Ints, first: Ints, last: Ints) -> Runs:
    """Sort runs; cut off what an earlier run of the same parcel holds (overlapping parts, lower borders)."""
    kept = last > first
    order = np.flatnonzero(kept)[np.lexsort((first[kept], row[kept], owner[kept]))]
    owner, row, first, last = owner[order], row[order], first[order], last[order]
    if not len(owner):
        return owner, row, first, last
    line = np.concatenate(([0], np.cumsum((owner[1:] != owner[:-1]) | (row[1:] != row[:-1]))))
    # The furthest column reached so far on the same line; lines are set apart by more than columns differ.
    apart = line * int(last.max() - first.min() + 1)
    reached = np.maximum.accumulate(last + apart) - apart
    first[1:] = np.where(line[1:] == line[:-1], np.maximum(first[1:], reached[:-1]), first[1:])
    kept = last > first
    return owner[kept], row[kept], first[kept], last[kept]
