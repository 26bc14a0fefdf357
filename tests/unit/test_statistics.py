"""Statistics of parcels: numpy's, value by value."""

import json
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from cbmctl.pixels import Grid, PixelIndex
from cbmctl.pixels.statistics import STATISTICS, band_statistics, histograms

HEIGHT, WIDTH = 6, 8
GRID = Grid(32632, Affine(10, 0, 500000, 0, -10, 6000000), HEIGHT, WIDTH)

dtypes = st.sampled_from([np.uint8, np.uint16, np.int16, np.float32])


def values(dtype: Any) -> st.SearchStrategy[Any]:
    if dtype == np.float32:
        return st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, float("nan")])
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return st.integers(low, high) | st.sampled_from([0, high])


def image(dtype: Any) -> st.SearchStrategy[NDArray[Any]]:
    return arrays.arrays(dtype, (HEIGHT, WIDTH), elements=values(dtype), fill=st.nothing())


def field(left: int, top: int, right: int, bottom: int) -> bytes:
    """A parcel given in pixels; it may reach beyond the image."""
    box = shapely.box(500000 + left * 10, 6000000 - bottom * 10, 500000 + right * 10, 6000000 - top * 10)
    return shapely.to_wkb(box)


fields = st.tuples(st.integers(-2, 7), st.integers(-2, 5), st.integers(1, 4), st.integers(1, 4)).map(
    lambda f: field(f[0], f[1], f[0] + f[2], f[1] + f[3])
)


def numpys(pixels: NDArray[Any]) -> tuple[float, ...]:
    wide = pixels.astype(np.float64)
    return (wide.size, wide.mean(), wide.std(), wide.min(), wide.max(), *np.percentile(wide, (25, 50, 75)))


def is_nodata(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    return (pixels == 0) | np.isnan(pixels)


@settings(deadline=None, max_examples=200)
@given(st.data(), dtypes, st.lists(fields, min_size=1, max_size=6), st.booleans())
def test_every_row_is_numpys(data: st.DataObject, dtype: Any, parcels: list[bytes], keep: bool) -> None:
    bands = {"B02": data.draw(image(dtype)), "B03": data.draw(image(dtype))}
    index = PixelIndex.build(list(enumerate(parcels)), GRID)
    rows = band_statistics(index, bands, 0, keep_beyond=keep)
    assert rows.dtype == STATISTICS
    got = {(row["pid"].item(), str(row["band"])): row for row in rows}
    expected = {
        (int(pid), band): numpys(array.reshape(-1)[index.of(pid)])
        for pid, beyond in zip(index.pids, index.beyond, strict=True)
        for band, array in bands.items()
        if (keep or not beyond)
        and not any(is_nodata(other.reshape(-1)[index.of(pid)]).any() for other in bands.values())
    }
    assert got.keys() == expected.keys()
    assert len(rows) == len(expected)
    for key, row in expected.items():
        actual = np.array(got[key].tolist()[2:], np.float64)
        if dtype == np.float32:
            scale = max(abs(row[3]), abs(row[4]))
            np.testing.assert_allclose(actual, row, rtol=1e-6, atol=1e-6 * scale)
        else:
            wanted = np.array(row, np.float32)
            assert (actual[[0, 3, 4, 5, 6, 7]] == wanted[[0, 3, 4, 5, 6, 7]]).all()
            np.testing.assert_array_max_ulp(actual[1:3].astype(np.float32), wanted[1:3], maxulp=1)


def test_one_nodata_pixel_in_any_band_leaves_the_parcel_out() -> None:
    first, second = np.full((2, HEIGHT, WIDTH), 500, np.uint16)
    second[0, 3] = 0
    index = PixelIndex.build([(1, field(0, 0, 2, 2)), (2, field(2, 0, 4, 2))], GRID)
    rows = band_statistics(index, {"B02": first, "B08": second})
    assert rows[["pid", "band"]].tolist() == [(1, "B02"), (1, "B08")]


def test_without_a_nodata_value_zero_counts() -> None:
    index = PixelIndex.build([(1, field(0, 0, 2, 2))], GRID)
    (row,) = band_statistics(index, {"B02": np.zeros((HEIGHT, WIDTH), np.uint16)}, None)
    assert (row["count"], row["mean"]) == (4, 0)


def test_parcels_beyond_the_image_are_left_to_the_neighbour_unless_asked_for() -> None:
    index = PixelIndex.build([(1, field(-1, 0, 1, 1)), (2, field(1, 0, 2, 1))], GRID)
    bands = {"B02": np.full((HEIGHT, WIDTH), 7, np.uint16)}
    assert band_statistics(index, bands)["pid"].tolist() == [2]
    kept = band_statistics(index, bands, keep_beyond=True)
    assert kept[["pid", "count"]].tolist() == [(1, 1), (2, 1)]


def test_an_index_without_parcels_gives_no_rows() -> None:
    index = PixelIndex.build([(1, field(20, 20, 30, 30))], GRID)
    assert len(band_statistics(index, {"B02": np.ones((HEIGHT, WIDTH), np.uint16)})) == 0
    assert histograms(index, np.ones((HEIGHT, WIDTH), np.uint8)) == {}


def test_wrong_shapes_and_types_are_refused() -> None:
    index = PixelIndex.build([(1, field(0, 0, 1, 1))], GRID)
    with pytest.raises(ValueError, match="does not fit"):
        band_statistics(index, {"B02": np.ones((HEIGHT + 1, WIDTH), np.uint16)})
    with pytest.raises(TypeError, match="float64"):
        band_statistics(index, {"B02": np.ones((HEIGHT, WIDTH))})


@settings(deadline=None)
@given(
    arrays.arrays(np.uint8, (HEIGHT, WIDTH), elements=st.integers(0, 11)),
    st.lists(fields, min_size=1, max_size=6),
)
def test_histograms_hold_what_occurs_and_nothing_else(scl: NDArray[np.uint8], parcels: list[bytes]) -> None:
    index = PixelIndex.build(list(enumerate(parcels)), GRID)
    found = histograms(index, scl)
    assert list(found) == index.pids.tolist()
    for pid, hist in found.items():
        classes, counts = np.unique(scl.reshape(-1)[index.of(pid)], return_counts=True)
        assert hist == {str(name): count for name, count in zip(classes, counts, strict=True)}
        assert json.loads(json.dumps(hist)) == hist
