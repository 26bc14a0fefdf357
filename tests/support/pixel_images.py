"""Parcels on a small image, their index, and the pixels that rasterio gives them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely import Polygon, box
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid, PixelIndex

HEIGHT, WIDTH = 24, 30
EMPTY: list[int] = []
NORTH_UP = Affine(10, 0, 500000, 0, -10, 6000000)
GRID = Grid(32632, NORTH_UP, HEIGHT, WIDTH)


def field(left: float, top: float, right: float, bottom: float) -> Polygon:
    """A parcel given in pixels from the image's upper left corner; it may reach beyond the image."""
    return box(500000 + left * 10, 6000000 - bottom * 10, 500000 + right * 10, 6000000 - top * 10)


def on_map(shape: BaseGeometry, grid: Grid) -> BaseGeometry:
    """Take a shape from pixels to the grid's CRS."""
    t = grid.transform
    return shapely.transform(shape, lambda xy: xy * [t.a, t.e] + [t.c, t.f])


def polygons(shape: BaseGeometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(shapely.get_parts(shape)) if isinstance(part, Polygon)]


def built(shapes: Sequence[BaseGeometry], grid: Grid) -> PixelIndex:
    index = PixelIndex.build(range(100, 100 + len(shapes)), shapes, grid)
    assert_whole(index)
    return index


def assert_whole(index: PixelIndex) -> None:
    """Check what every index promises: of its arrays, runs, and order of parcels."""
    assert index.offsets[0] == 0
    assert index.offsets[-1] == len(index.starts) == len(index.lengths)
    assert (np.diff(index.offsets) > 0).all()
    assert (index.lengths > 0).all()
    ends = index.starts + index.lengths
    assert ((index.starts >= 0) & (ends <= index.grid.height * index.grid.width)).all()
    assert (index.starts // index.grid.width == (ends - 1) // index.grid.width).all()  # within a row
    for begin, end in pairwise(index.offsets.tolist()):
        assert (ends[begin : end - 1] <= index.starts[begin + 1 : end]).all()  # disjoint and ascending
    assert len(index.beyond) == len(index)
    assert index.counts().tolist() == [len(index.of(pid)) for pid in index.pids.tolist()]
    everyone = np.concatenate((index.pids, index.empty, index.outside))
    assert len(np.unique(everyone)) == len(everyone)


def by_rasterio(shape: BaseGeometry, grid: Grid) -> list[int]:
    if shape.is_empty:
        return EMPTY
    burnt = rasterize(
        [(shape, 1)], out_shape=(grid.height, grid.width), transform=grid.transform, all_touched=False
    )
    return np.flatnonzero(burnt).tolist()


def of(index: PixelIndex, pid: int) -> list[int]:
    return index.of(pid).tolist() if pid in index.pids else EMPTY
