"""Statistics of parcels equal those of numpy, value by value."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from shapely import Polygon

from cbmctl.pixels import Grid, PixelIndex
from cbmctl.pixels.statistics import STATISTICS, band_statistics, class_counts, needed_blocks
from tests.support.effort import examples
from tests.support.pixel_values import (
    GRID,
    HEIGHT,
    WIDTH,
    assert_floats,
    assert_integers,
    built,
    everyone,
    field,
    in_line,
    parcel_lists,
)

BIG = np.finfo(np.float32).max

integers = st.sampled_from([np.uint8, np.uint16])

floats = st.sampled_from(["<f4", ">f4"])


def elements(dtype: Any) -> st.SearchStrategy[Any]:
    high = np.iinfo(dtype).max
    return st.integers(0, high) | st.sampled_from([0, 1, high]) | st.integers(1, 3)


def images(dtype: Any) -> st.SearchStrategy[NDArray[Any]]:
    return arrays.arrays(dtype, (HEIGHT, WIDTH), elements=elements(dtype), fill=st.integers(1, 255))


float_images = arrays.arrays(
    np.float32,
    (HEIGHT, WIDTH),
    elements=st.floats(-1e6, 1e6, width=32)
    | st.floats(width=32)
    | st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, BIG]),
    fill=st.floats(0.0009765625, 1, width=32),
)


def observed(pixels: NDArray[Any], *, positive: bool = False) -> bool:
    good = np.isfinite(pixels) & (pixels != 0)
    return bool((good & (pixels > 0)).all() if positive else good.all())


@examples(50)
@given(st.data(), integers, parcel_lists, st.sampled_from([0, -1, -1000, -70000, 700]))
def test_every_row_of_digital_numbers_is_numpys(
    data: st.DataObject, dtype: Any, parcels: list[Polygon], offset: int
) -> None:
    """Two bands of a group: a parcel that misses a pixel in one has no row in the other."""
    bands = [data.draw(images(dtype)) for _ in range(2)]
    before = [band.copy() for band in bands]
    index = built(parcels)
    asked = np.array(data.draw(st.lists(st.booleans(), min_size=len(index), max_size=len(index))), bool)
    active = asked.copy()
    tables = [band_statistics(index, band, active, offset=offset) for band in bands]
    assert all(np.array_equal(*pair) for pair in zip(bands, before, strict=True))
    for row, pid in enumerate(index.pids):
        pixels = [band.reshape(-1)[index.of(pid)] for band in bands]
        assert active[row] == (asked[row] and all(observed(values) for values in pixels))
        if active[row]:
            for table, values in zip(tables, pixels, strict=True):
                moved = np.maximum(values.astype(np.int64) + offset, 1) if offset else values
                assert table.shape == (len(index), len(STATISTICS))
                assert_integers(table[row], moved)


@examples(50)
@given(st.lists(float_images, min_size=2, max_size=2), floats, parcel_lists, st.booleans())
def test_every_row_of_floats_is_numpys(
    bands: list[NDArray[Any]], order: str, parcels: list[Polygon], positive: bool
) -> None:
    index = built(parcels)
    active = everyone(index)
    tables = [band_statistics(index, band.astype(order), active, positive=positive) for band in bands]
    for row, pid in enumerate(index.pids):
        pixels = [band.reshape(-1)[index.of(pid)] for band in bands]
        assert active[row] == all(observed(values, positive=positive) for values in pixels)
        if active[row]:
            for table, values in zip(tables, pixels, strict=True):
                assert_floats(table[row], values)


def orders(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Orders that are hard on a selection: sorted ones, organ pipes, and those in between."""
    ascending = np.sort(values)
    return [
        values,
        ascending,
        ascending[::-1],
        np.concatenate((ascending[::2], ascending[1::2][::-1])),
        np.concatenate((ascending[1::2][::-1], ascending[::2])),
        np.roll(ascending, len(ascending) // 2),
    ]


@pytest.mark.parametrize(
    "size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 255, 256, 257, 258, 1023, 1024, 1025, 5003]
)
def test_parcels_of_every_size(size: int) -> None:
    random = np.random.default_rng(size)
    outliers = np.full(size, 700)
    outliers[random.integers(size)] = 65535
    outliers[random.integers(size)] = 1
    narrow = np.where(random.random(size) < 0.5, 400, 401)
    narrow[0] = 65535  # all others in one bin
    groups = [
        random.integers(1, 65536, size),
        random.integers(3000, 3010, size),
        random.integers(1, 3, size),
        np.full(size, 65535),
        np.full(size, 1),
        outliers,
        narrow,
        np.append(random.integers(1, 200, size - 1), 65535),
        np.minimum(random.lognormal(6, 2, size) + 1, 65535).astype(int),
        np.resize([5, 5, 5, 9], size),
    ]
    numbers = [order.astype(np.uint16) for group in groups for order in orders(group)]
    index, image = in_line(*numbers)
    active = everyone(index)
    table = band_statistics(index, image, active)
    assert active.all()
    for row, pid in enumerate(index.pids):
        assert_integers(table[row], numbers[pid])
    reals = [(group * np.float32(1 / 3)).astype(np.float32) for group in numbers]
    index, image = in_line(*reals)
    table = band_statistics(index, image, active)
    for row, pid in enumerate(index.pids):
        assert_floats(table[row], reals[pid])


@examples(25)
@given(st.data())
def test_selection_meets_numpys_percentiles(data: st.DataObject) -> None:
    """Few different values, many of them: where partitions go wrong, they do with equal values."""
    few = data.draw(st.lists(st.integers(1, 65535), min_size=1, max_size=6))
    picks = data.draw(st.lists(st.sampled_from(few), min_size=1, max_size=600))
    numbers = np.array(picks, np.uint16)
    index, image = in_line(numbers)
    assert_integers(band_statistics(index, image, everyone(index))[0], numbers)
    reals = numbers.astype(np.float32) / np.float32(7)
    index, image = in_line(reals)
    assert_floats(band_statistics(index, image, everyone(index))[0], reals)


def test_extreme_floats() -> None:
    tiny = np.float32(1e-45)
    groups = [
        np.array([BIG, -BIG, 1, -1, BIG], np.float32),
        np.array([tiny, 3 * tiny, 2 * tiny, tiny], np.float32),
        np.array([tiny, BIG, 1], np.float32),
        np.array([1, np.nextafter(np.float32(1), np.float32(2))] * 9, np.float32),
        np.array([-5, -4, -3], np.float32),
        np.full(7, 0.1, np.float32),
        np.append(np.full(400, 0.05), 1e30).astype(np.float32),
    ]
    for order in ("<f4", ">f4"):
        index, image = in_line(*(group.astype(order) for group in groups))
        active = everyone(index)
        table = band_statistics(index, image, active)
        assert active.all()
        for row, pid in enumerate(index.pids):
            assert_floats(table[row], groups[pid])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("offset", [-1000, -10, 0, 700])
def test_offset_arithmetic_is_that_of_wide_integers(dtype: Any, offset: int) -> None:
    """Every digital number there is, one parcel each; what goes below 1 becomes 1, and 0 stays nodata."""
    high = np.iinfo(dtype).max + 1
    stored = np.arange(high, dtype=dtype).reshape(high // 16, 16)
    grid = Grid(GRID.epsg, GRID.transform, *stored.shape)
    row, column = np.divmod(np.arange(high), 16)
    left, bottom = 500000 + 10.0 * column, 6000000 - 10.0 * (row + 1)
    index = PixelIndex.build(np.arange(high), shapely.box(left, bottom, left + 10, bottom + 10), grid)
    active = everyone(index)
    table = band_statistics(index, stored, active, offset=offset)
    assert active.tolist() == (index.pids > 0).tolist()
    wanted = np.maximum(index.pids.astype(np.int64) + offset, 1)[active]
    for name in ("mean", "min", "max", "p25", "p50", "p75"):
        assert (table[active, STATISTICS.index(name)] == wanted).all()


def test_images_that_are_views_or_readonly() -> None:
    wide = np.random.default_rng(1).integers(1, 60000, (2 * HEIGHT, 2 * WIDTH), dtype=np.uint16)
    index = built([field(0, 0, 5, 4)])
    view = wide[::2, 1::2]
    expected = band_statistics(index, view.copy(), everyone(index))
    assert np.array_equal(band_statistics(index, view, everyone(index)), expected)
    fixed = view.copy()
    fixed.flags.writeable = False
    assert np.array_equal(band_statistics(index, fixed, everyone(index)), expected)
    assert_integers(expected[0], view.reshape(-1)[index.of(0)])


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.int32, ">u2", np.complex64, bool])
def test_other_types_are_refused(dtype: Any) -> None:
    index = built([field(0, 0, 1, 1)])
    with pytest.raises(ValueError, match="only uint8, uint16 and float32"):
        band_statistics(index, np.ones((HEIGHT, WIDTH), dtype), everyone(index))


def test_wrong_shapes_are_refused() -> None:
    index = built([field(0, 0, 1, 1)])
    for shape in ((HEIGHT + 1, WIDTH), (WIDTH, HEIGHT), (HEIGHT * WIDTH,)):
        with pytest.raises(ValueError, match="does not fit"):
            band_statistics(index, np.ones(shape, np.uint16), everyone(index))
        with pytest.raises(ValueError, match="does not fit"):
            class_counts(index, np.ones(shape, np.uint8))
    with pytest.raises(ValueError, match="SCL of uint16"):
        class_counts(index, np.ones((HEIGHT, WIDTH), np.uint16))


def test_an_index_without_parcels_gives_no_rows() -> None:
    index = PixelIndex.build([1], [field(20, 20, 30, 30)], GRID)
    image = np.ones((HEIGHT, WIDTH), np.uint8)
    assert band_statistics(index, image, everyone(index)).shape == (0, len(STATISTICS))
    assert class_counts(index, image).shape == (0, 12)
    assert not needed_blocks(index, everyone(index), (4, 4)).any()
