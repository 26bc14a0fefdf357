"""Which parcels count: all pixels observed, in every band; which blocks must be read for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from cbmctl.pixels import PixelIndex
from cbmctl.pixels.statistics import band_statistics, needed_blocks
from tests.support.effort import examples
from tests.support.pixel_values import GRID, HEIGHT, WIDTH, built, everyone, field, parcel_lists


def test_one_nodata_pixel_in_any_band_leaves_the_parcel_out() -> None:
    first, second = np.full((2, HEIGHT, WIDTH), 500, np.uint16)
    second[0, 3] = 0
    index = PixelIndex.build([1, 2], [field(0, 0, 2, 2), field(2, 0, 4, 2)], GRID)
    active = everyone(index)
    table = band_statistics(index, first, active)
    assert active.tolist() == [True, True]
    band_statistics(index, second, active)
    assert index.pids[active].tolist() == [1]
    assert table[0].tolist() == [4, 500, 0, 500, 500, 500, 500, 500]


@pytest.mark.parametrize(
    ("value", "positive", "counts"),
    [
        (0.0, False, False),
        (-0.0, False, False),
        (np.nan, False, False),
        (np.inf, False, False),
        (-np.inf, False, False),
        (-0.5, False, True),
        (-0.5, True, False),
        (-1e-45, True, False),
        (1e-45, True, True),
    ],
)
def test_what_counts_as_observed(value: float, positive: bool, counts: bool) -> None:
    image = np.full((HEIGHT, WIDTH), 0.25, np.float32)
    image[1, 1] = value
    for order in ("<f4", ">f4"):
        index = PixelIndex.build([1, 2], [field(0, 0, 2, 2), field(4, 0, 6, 2)], GRID)
        active = everyone(index)
        band_statistics(index, image.astype(order), active, positive=positive)
        assert active.tolist() == [counts, True]


def test_what_is_inactive_stays_so_and_costs_nothing() -> None:
    index = PixelIndex.build([1, 2], [field(0, 0, 2, 2), field(4, 0, 6, 2)], GRID)
    active = np.array([False, True])
    band_statistics(index, np.full((HEIGHT, WIDTH), 7, np.uint8), active)
    assert active.tolist() == [False, True]


@examples(25)
@given(parcel_lists, st.data(), st.integers(1, 9), st.integers(1, 9))
def test_needed_blocks_are_those_with_pixels_of_active_parcels(
    parcels: list[Polygon], data: st.DataObject, height: int, width: int
) -> None:
    index = built(parcels)
    active = np.array(data.draw(st.lists(st.booleans(), min_size=len(index), max_size=len(index))), bool)
    expected = np.zeros((-(-HEIGHT // height), -(-WIDTH // width)), bool)
    for pid in index.pids[active]:
        row, column = np.divmod(index.of(pid), WIDTH)
        expected[row // height, column // width] = True
    found = needed_blocks(index, active, (height, width))
    assert found.shape == expected.shape
    assert (found == expected).all()
