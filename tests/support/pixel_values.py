"""Parcels whose pixel values are given, and the statistics that numpy gives for them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid, PixelIndex
from tests.support.pixel_images import NORTH_UP, field

HEIGHT, WIDTH = 6, 8
GRID = Grid(32632, NORTH_UP, HEIGHT, WIDTH)
EXACT = [0, 3, 4, 5, 6, 7]  # all but mean and std, which may differ by the last bit


fields = st.tuples(st.integers(-2, 7), st.integers(-2, 5), st.integers(1, 4), st.integers(1, 4)).map(
    lambda f: field(f[0], f[1], f[0] + f[2], f[1] + f[3])
)

parcel_lists = st.lists(fields, min_size=1, max_size=6)


def built(parcels: Sequence[BaseGeometry], grid: Grid = GRID) -> PixelIndex:
    return PixelIndex.build(range(len(parcels)), parcels, grid)


def everyone(index: PixelIndex) -> NDArray[np.bool_]:
    return np.ones(len(index), bool)


def in_line(*groups: NDArray[Any]) -> tuple[PixelIndex, NDArray[Any]]:
    """Return parcels that hold these values each, and an image, a row for each."""
    width = max(len(group) for group in groups)
    image = np.zeros((len(groups), width), groups[0].dtype)
    for row, group in enumerate(groups):
        image[row, : len(group)] = group
    grid = Grid(GRID.epsg, GRID.transform, *image.shape)
    parcels = [field(0, row, len(group), row + 1) for row, group in enumerate(groups)]
    return built(parcels, grid), image


def numpys(pixels: NDArray[Any]) -> NDArray[np.float64]:
    wide = pixels.astype(np.float64)
    quartiles = np.percentile(wide, (25, 50, 75))
    return np.array([wide.size, wide.mean(), wide.std(), wide.min(), wide.max(), *quartiles])


def assert_integers(found: NDArray[np.float32], pixels: NDArray[Any]) -> None:
    wanted = numpys(pixels).astype(np.float32)
    assert (found[EXACT] == wanted[EXACT]).all(), (found, wanted)
    np.testing.assert_array_max_ulp(found[1:3], wanted[1:3], maxulp=1)


def assert_floats(found: NDArray[np.float32], pixels: NDArray[Any]) -> None:
    with np.errstate(over="ignore"):
        exact = numpys(pixels)
        wanted = exact.astype(np.float32)
    assert (found[[0, 3, 4]] == wanted[[0, 3, 4]]).all(), (found, wanted)
    np.testing.assert_array_max_ulp(found[5:], wanted[5:], maxulp=1)
    scale = max(abs(exact[3]), abs(exact[4]))
    np.testing.assert_allclose(found[1:3], wanted[1:3], rtol=1e-6, atol=1e-6 * scale)
