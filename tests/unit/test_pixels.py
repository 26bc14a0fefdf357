"""Parcels to pixels: the same sets as rasterio's, for every shape and place."""

import time

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from shapely import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid, PixelIndex

HEIGHT, WIDTH = 24, 30
EMPTY: list[int] = []

# Origins on the grid of Sentinel-2 tiles and off every grid, as Sentinel-1 scenes have them.
grids = st.builds(
    lambda left, top, resolution: Grid(
        32632, Affine(resolution, 0, left, 0, -resolution, top), HEIGHT, WIDTH
    ),
    st.sampled_from([499980.0, 475780.0, 549892.697031448]),
    st.sampled_from([6300000.0, 5255000.0, 6344077.61425945]),
    st.sampled_from([10.0, 20.0]),
)


def rings(step: float) -> st.SearchStrategy[list[tuple[float, float]]]:
    """Rings in pixels, inside and around the image; with a step of 0.5 many corners are pixel centres."""
    if step:
        x = st.integers(int(-8 / step), int((WIDTH + 8) / step)).map(lambda n: n * step)
        y = st.integers(int(-8 / step), int((HEIGHT + 8) / step)).map(lambda n: n * step)
    else:
        x, y = st.floats(-8, WIDTH + 8), st.floats(-8, HEIGHT + 8)
    return st.lists(st.tuples(x, y), min_size=3, max_size=9)


def area(ring: list[tuple[float, float]]) -> BaseGeometry:
    """Return what a ring encloses, also one that crosses itself."""
    return shapely.make_valid(Polygon(ring), method="structure", keep_collapsed=False)


@st.composite
def parcels(draw: st.DrawFn, grid: Grid) -> BaseGeometry:
    """A valid polygon or multi-polygon with holes, made by cutting and joining random rings."""
    step = draw(st.sampled_from([0, 0.25, 0.5, 1]))
    shape = area(draw(rings(step)))
    try:
        for _ in range(draw(st.integers(0, 2))):
            other = area(draw(rings(step)))
            shape = shape.difference(other) if draw(st.booleans()) else shape.union(other)
    except shapely.errors.GEOSException:  # lines that nearly coincide; GDAL would be given no such parcel
        reject()
    polygons = [part for part in shapely.get_parts(shapely.get_parts(shape)) if isinstance(part, Polygon)]
    t = grid.transform
    return shapely.transform(MultiPolygon(polygons), lambda xy: xy * [t.a, t.e] + [t.c, t.f])


def wkb(shapes: list[BaseGeometry]) -> list[tuple[int, bytes]]:
    return [(100 + number, shapely.to_wkb(shape)) for number, shape in enumerate(shapes)]


def by_rasterio(shape: BaseGeometry, grid: Grid) -> list[int]:
    if shape.is_empty:
        return EMPTY
    burnt = rasterize([(shape, 1)], out_shape=(grid.height, grid.width), transform=grid.transform)
    return np.flatnonzero(burnt).tolist()


def of(index: PixelIndex, pid: int) -> list[int]:
    return index.of(pid).tolist() if pid in index.pids else EMPTY


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_pixel_sets_are_rasterios(data: st.DataObject) -> None:
    grid = data.draw(grids)
    shapes = data.draw(st.lists(parcels(grid), min_size=1, max_size=4))
    index = PixelIndex.build(wkb(shapes), grid)
    for pid, shape in enumerate(shapes, 100):
        assert of(index, pid) == by_rasterio(shape, grid)


@settings(deadline=None)
@given(st.data())
def test_lists_agree_with_an_image_that_holds_everything(data: st.DataObject) -> None:
    grid = data.draw(grids)
    # elsewhere, moving the origin by some pixels also moves centres by a rounding
    assume(grid.transform.c % 20 == 0 and grid.transform.f % 20 == 0)
    shapes = data.draw(st.lists(parcels(grid), min_size=1, max_size=4))
    index = PixelIndex.build(wkb(shapes), grid)
    wider = Grid(grid.epsg, grid.transform @ Affine.translation(-9, -9), HEIGHT + 18, WIDTH + 18)
    in_wider = PixelIndex.build(wkb(shapes), wider)
    for pid in range(100, 100 + len(shapes)):
        total = len(of(in_wider, pid))
        assert (pid in index.empty) == (total == 0)
        assert (pid in index.outside) == (total > 0 and pid not in index.pids)
        if pid in index.pids:
            assert index.beyond[index.pids == pid].item() == (total > len(of(index, pid)))


GRID = Grid(32632, Affine(10, 0, 500000, 0, -10, 6000000), HEIGHT, WIDTH)


def at(*corners: float) -> Polygon:
    """A box given in pixels: left, top, right, bottom."""
    left, top, right, bottom = corners
    return box(500000 + left * 10, 6000000 - bottom * 10, 500000 + right * 10, 6000000 - top * 10)


def test_overlapping_parcels_each_keep_the_pixel() -> None:
    index = PixelIndex.build(wkb([at(0, 0, 3, 1), at(2, 0, 4, 1), at(2, 0, 3, 1)]), GRID)
    assert [of(index, pid) for pid in (100, 101, 102)] == [[0, 1, 2], [2, 3], [2]]


def test_overlapping_parts_count_a_pixel_once() -> None:
    index = PixelIndex.build(wkb([MultiPolygon([at(0, 0, 3, 1), at(2, 0, 4, 1)])]), GRID)
    assert of(index, 100) == [0, 1, 2, 3]


def test_neighbours_share_no_pixel_when_their_border_runs_through_centres() -> None:
    left, right = at(0, 0, 4.5, 4), at(4.5, 0, 9, 4)
    index = PixelIndex.build(wkb([left, right]), GRID)
    assert len(of(index, 100)) + len(of(index, 101)) == 9 * 4
    assert not set(of(index, 100)) & set(of(index, 101))


def test_lists_tell_slivers_from_parcels_elsewhere() -> None:
    sliver, away, crossing, inside = (
        at(1.6, 1.1, 2.4, 1.4),
        at(-9, 0, -5, 4),
        at(-2, 0, 2, 1),
        at(3, 3, 4, 4),
    )
    index = PixelIndex.build(wkb([sliver, away, crossing, inside]), GRID)
    assert (index.empty, index.outside, index.pids.tolist()) == ([100], [101], [102, 103])
    assert index.beyond.tolist() == [True, False]
    with pytest.raises(KeyError):
        index.of(100)


def test_coordinates_that_could_not_be_projected_are_nowhere() -> None:
    broken = Polygon([(np.inf, np.inf), (500100, 5999900), (500200, 5999900)])
    index = PixelIndex.build(wkb([broken, at(0, 0, 1, 1)]), GRID)
    assert (index.empty, index.pids.tolist()) == ([100], [101])


def test_no_parcels_make_an_empty_index() -> None:
    index = PixelIndex.build([], GRID)
    assert (len(index), index.pixels.tolist(), index.offsets.tolist()) == (0, [], [0])
    assert list(index.chunks(10)) == []


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_chunks_cover_every_parcel_once(size: int) -> None:
    index = PixelIndex.build(wkb([at(n, 0, n + 2, n + 1) for n in range(20)]), GRID)
    chunks = list(index.chunks(size))
    assert [n for chunk in chunks for n in range(chunk.start, chunk.stop)] == list(range(20))


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
    index = PixelIndex.build(wkb(list(fields)), tile)
    assert time.process_time() - begin < 10
    assert len(index) == 10_000
