"""Which pixels a parcel gets, in cases made by hand."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from shapely import MultiPolygon, Polygon, box

from cbmctl.pixels import Grid, PixelIndex
from tests.support.pixel_images import (
    GRID,
    HEIGHT,
    NORTH_UP,
    WIDTH,
    assert_whole,
    built,
    by_rasterio,
    field,
    of,
    on_map,
)


def test_lists_with_slivers() -> None:
    """Of each kind of parcel without a pixel's centre one, inside the image, across its side and outside."""
    shapes = {
        1: field(3, 3, 4, 4),  # a pixel
        2: field(1.2, 1.2, 1.3, 1.3),  # a quarter's centre
        3: field(1.1, 1.1, 1.2, 1.2),  # nothing
        4: field(-0.8, 2.2, -0.7, 2.3),  # a quarter's centre outside
        5: field(-0.9, 4, 0.3, 4.3),  # of quarters in the image and outside
        6: field(-0.6, 6, 0.3, 6.6),  # a pixel's centre outside, a quarter's inside
        7: field(-9, 0, -5, 4),  # pixels outside
        8: field(7.2, 7.2, 8.3, 8.3),  # a pixel's centre, and quarters of others
    }
    index = PixelIndex.build(list(shapes), list(shapes.values()), GRID)
    assert (index.pids.tolist(), index.empty.tolist(), index.outside.tolist()) == (
        [1, 8],
        [2, 3, 4, 5],
        [6, 7],
    )
    both = index.touching(list(shapes), list(shapes.values()))
    assert_whole(both)
    assert both.empty.tolist() == [3]
    assert sorted(both.outside.tolist()) == [4, 7]
    beyond = dict(zip(both.pids.tolist(), both.beyond.tolist(), strict=True))
    assert beyond == {1: False, 8: False, 2: False, 5: True, 6: True}
    assert [of(both, pid) for pid in (2, 5, 6)] == [[WIDTH + 1], [4 * WIDTH], [6 * WIDTH]]
    assert of(both, 8) == [7 * WIDTH + 7]


def test_overlapping_parcels_each_keep_the_pixel() -> None:
    index = built([field(0, 0, 3, 1), field(2, 0, 4, 1), field(2, 0, 3, 1)], GRID)
    assert [of(index, pid) for pid in (100, 101, 102)] == [[0, 1, 2], [2, 3], [2]]


def test_overlapping_parts_count_a_pixel_once() -> None:
    index = built([MultiPolygon([field(0, 0, 3, 1), field(2, 0, 4, 1)])], GRID)
    assert of(index, 100) == [0, 1, 2, 3]
    assert not index.beyond.any()


def test_neighbours_share_no_pixel_when_their_border_runs_through_centres() -> None:
    for left, right in (
        (field(0, 0, 4.5, 4), field(4.5, 0, 9, 4)),
        (field(0, 0, 4, 4.5), field(0, 4.5, 4, 9)),
    ):
        index = built([left, right], GRID)
        pixels = [set(of(index, pid)) for pid in (100, 101)]
        if left.bounds[3] == right.bounds[3]:
            assert not pixels[0] & pixels[1]
        assert len(pixels[0] | pixels[1]) == 9 * 4
        assert [sorted(one) for one in pixels] == [by_rasterio(shape, GRID) for shape in (left, right)]


def test_lists_tell_slivers_from_parcels_elsewhere() -> None:
    sliver, away, crossing, inside = (
        field(1.6, 1.1, 2.4, 1.4),
        field(-9, 0, -5, 4),
        field(-2, 0, 2, 1),
        field(3, 3, 4, 4),
    )
    index = built([sliver, away, crossing, inside], GRID)
    assert (index.empty.tolist(), index.outside.tolist(), index.pids.tolist()) == ([100], [101], [102, 103])
    assert index.beyond.tolist() == [True, False]
    with pytest.raises(KeyError):
        index.of(100)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e300, -1e13])
def test_coordinates_that_could_not_be_projected_are_nowhere(value: float) -> None:
    broken = [
        Polygon([(500100, 5999900), (value, value), (500200, 5999900)]),
        Polygon([(500050, 5999950), (500100, value), (500200, 5999900)]),
        Polygon(
            field(0, 0, 9, 9).exterior.coords, [[(500050, 5999950), (value, 5999960), (500060, 5999950)]]
        ),
    ]
    index = built([*broken, field(0, 0, 1, 1), MultiPolygon([broken[0], field(5, 5, 6, 6)])], GRID)
    assert (index.empty.tolist(), index.pids.tolist()) == ([100, 101, 102], [103, 104])
    assert of(index, 104) == [5 * WIDTH + 5]


def test_what_is_huge_covers_the_image() -> None:
    index = built([box(-2e5, 0, 4e6, 7e6), field(-1e4, 3, 1e4, 4), field(0, 0, WIDTH, HEIGHT)], GRID)
    assert of(index, 100) == of(index, 102) == list(range(HEIGHT * WIDTH))
    assert of(index, 101) == list(range(3 * WIDTH, 4 * WIDTH))
    assert index.beyond.tolist() == [True, False, True]  # in the order 100, 102, 101


def test_empty_shapes_are_slivers() -> None:
    collapsed = Polygon([(500000, 6000000), (500100, 5999900), (500000, 6000000)])
    index = built([MultiPolygon(), Polygon(), collapsed, MultiPolygon([Polygon(), field(0, 0, 1, 1)])], GRID)
    assert (index.empty.tolist(), index.pids.tolist()) == ([100, 101, 102], [103])


def test_no_parcels_make_an_empty_index(tmp_path: Path) -> None:
    nobodies: list[Any] = [[], np.array([], object), shapely.from_wkb([])]
    for none in nobodies:
        index = PixelIndex.build([], none, GRID)
        assert_whole(index)
        assert (len(index), index.starts.tolist(), index.offsets.tolist()) == (0, [], [0])
        assert list(index.strips()) == []
        assert len(index.touching([], none)) == 0
        index.save(tmp_path / "none.npz")
        assert len(PixelIndex.load(tmp_path / "none.npz", GRID)) == 0


def test_polygons_with_a_thousand_teeth() -> None:
    """More crossings in a line than are sorted by hand."""
    grid = Grid(32632, NORTH_UP, 40, 600)
    x = np.linspace(0, 590, 600)
    comb = Polygon([*zip(x, np.where(np.arange(600) % 2, 1.3, 37.8), strict=True), (590, 39), (0, 39)])
    shapes = [on_map(comb, grid), on_map(shapely.MultiPoint(np.c_[x, x % 37]).buffer(0.9), grid)]
    index = built(shapes, grid)
    assert [of(index, pid) for pid in (100, 101)] == [by_rasterio(shape, grid) for shape in shapes]


def test_rotated_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="not north-up"):
        Grid(32632, Affine(10, 1, 0, 1, -10, 0), 5, 5)


def test_many_parcels_take_seconds() -> None:
    """A tile's parcels, a tenth of them: a loop over parcels would take minutes for all."""
    rng = np.random.default_rng(3)
    tile = Grid(32632, Affine(10, 0, 499980, 0, -10, 6300000), 10980, 10980)
    left, _, right, top = tile.bounds
    corners = rng.uniform([left, top - 100000], [right - 400, top - 400], (10_000, 2))
    fields = shapely.box(*corners.T, *(corners + rng.uniform(50, 400, (10_000, 2))).T)
    begin = time.process_time()
    index = PixelIndex.build(np.arange(10_000), fields, tile)
    assert time.process_time() - begin < 2
    assert len(index) == 10_000
