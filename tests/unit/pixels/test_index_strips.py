"""An image is read in strips of rows: each parcel is in one strip."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid
from cbmctl.pixels.index import STRIP_ROWS
from tests.support.pixel_images import NORTH_UP, built, by_rasterio, field, of

TALL = Grid(32632, NORTH_UP, 4 * STRIP_ROWS + 100, 40)


def tall_and_small() -> list[BaseGeometry]:
    """Parcels in every row of a tall image; some reach over two strips, some over the whole image."""
    rng = np.random.default_rng(5)
    left, top = rng.uniform(-3, 38, 400), rng.uniform(-5, TALL.height + 2, 400)
    high = np.where(np.arange(400) % 50, rng.uniform(1, 200, 400), rng.uniform(500, 2500, 400))
    shapes = [field(x, y, x + 6, y + h).buffer(0) for x, y, h in zip(left, top, high, strict=True)]
    hole = field(5, 10, 35, 1900).difference(field(9, 30, 30, 1700)).difference(field(0, 400, 12, 500))
    exact = [field(1, 700, 3, 700 + rows) for rows in (STRIP_ROWS - 1, STRIP_ROWS, STRIP_ROWS + 1)]
    return [*shapes, hole, *exact]


def test_strips_cover_every_parcel_once_and_hold_its_pixels() -> None:
    shapes = tall_and_small()
    index = built(shapes, TALL)
    image = np.arange(TALL.height * TALL.width)
    seen: list[int] = []
    pixels: dict[int, NDArray[Any]] = {}
    for strip in index.strips():
        held = np.concatenate([image[first : first + length] for first, length in strip.pieces])
        assert len(held) <= 2 * STRIP_ROWS * TALL.width or len(strip.offsets) == 2
        seen += range(strip.parcels.start, strip.parcels.stop)
        for place, (begin, end) in enumerate(pairwise(strip.offsets.tolist()), strip.parcels.start):
            runs = zip(strip.starts[begin:end], strip.lengths[begin:end], strict=True)
            pixels[int(index.pids[place])] = np.concatenate([held[s : s + n] for s, n in runs])
    assert seen == list(range(len(index)))
    for pid, found in pixels.items():
        assert found.tolist() == of(index, pid) == by_rasterio(shapes[pid - 100], TALL)
    alone = [strip for strip in index.strips() if len(strip.pieces) > 1]
    assert len(alone) > 3, "tall parcels are read run by run"


def test_parcels_follow_each_other_from_north_to_south() -> None:
    index = built(tall_and_small(), TALL)
    first = index.starts[index.offsets[:-1]]
    rows = index.starts[index.offsets[1:] - 1] // TALL.width - first // TALL.width
    low = int((rows < STRIP_ROWS).sum())
    assert len(index) - low > 3
    assert (rows[:low] < STRIP_ROWS).all()
    assert (np.diff(first[:low]) >= 0).all()
    assert (np.diff(first[low:]) >= 0).all()
