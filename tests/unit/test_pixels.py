"""Parcels to pixels: the same sets as rasterio's, for every shape and place."""

import time
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid, PixelIndex
from cbmctl.pixels.index import STRIP_ROWS

from .examples import examples

HEIGHT, WIDTH = 24, 30
EMPTY: list[int] = []

# Origins on the grid of Sentinel-2 tiles and off every grid, as Sentinel-1 scenes have them; south of the
# equator, where rows count from ten million; pixels that are not square.
grids = st.builds(
    lambda origin, across, down: Grid(
        32632, Affine(across, 0, origin[0], 0, -down, origin[1]), HEIGHT, WIDTH
    ),
    st.sampled_from(
        [
            (499980.0, 6300000.0),
            (475780.0, 5255000.0),
            (549892.697031448, 6344077.61425945),
            (475783.4, 5255006.8),
            (300000.0, 9999980.0),
            (166021.44308054, 1100000.123456),
            (-3.3e6, 2.1e7),
        ]
    ),
    st.sampled_from([10.0, 20.0, 9.9999999]),
    st.sampled_from([10.0, 20.0, 13.7]),
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


def on_map(shape: BaseGeometry, grid: Grid) -> BaseGeometry:
    """Take a shape from pixels to the grid's CRS."""
    t = grid.transform
    return shapely.transform(shape, lambda xy: xy * [t.a, t.e] + [t.c, t.f])


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
    return on_map(MultiPolygon(polygons(shape)), grid)


def polygons(shape: BaseGeometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(shapely.get_parts(shape)) if isinstance(part, Polygon)]


@st.composite
def slivers(draw: st.DrawFn, grid: Grid) -> BaseGeometry:
    """Strips and needles, narrower than a pixel."""
    step = draw(st.sampled_from([0.001, 0.125]))
    corner = st.tuples(
        st.integers(int(-2 / step), int(32 / step)), st.integers(int(-2 / step), int(26 / step))
    )
    start = np.array(draw(corner)) * step
    along = np.array(draw(st.tuples(st.integers(-40, 40), st.integers(-40, 40)))) / 8
    across = np.array(draw(st.tuples(st.integers(-9, 9), st.integers(-9, 9)))) / 16
    shape = Polygon([start, start + along, start + along + across, start + across])
    return on_map(MultiPolygon([shape] if shape.is_valid and shape.area else []), grid)


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


@examples(100)
@given(st.data())
def test_pixel_sets_are_rasterios(data: st.DataObject) -> None:
    grid = data.draw(grids)
    shapes = data.draw(st.lists(parcels(grid) | slivers(grid), min_size=1, max_size=4))
    index = built(shapes, grid)
    for pid, shape in enumerate(shapes, 100):
        assert of(index, pid) == by_rasterio(shape, grid)


@examples(25)
@given(st.data())
def test_parts_that_overlap_are_one_set(data: st.DataObject) -> None:
    """Invalid as they are, GDAL burns them one over the other; so must be counted once."""
    grid = data.draw(grids)
    parts = data.draw(st.lists(parcels(grid), min_size=2, max_size=4))
    joint = MultiPolygon([polygon for part in parts for polygon in polygons(part)])
    apart = {pixel for part in parts for pixel in by_rasterio(part, grid)}
    assert of(built([joint], grid), 100) == sorted(apart)


@examples(25)
@given(st.data())
def test_lists_agree_with_an_image_that_holds_everything(data: st.DataObject) -> None:
    grid = data.draw(grids)
    # elsewhere, moving the origin by some pixels also moves centres by a rounding
    assume(all(number == round(number) for number in grid.transform))
    shapes = data.draw(st.lists(parcels(grid) | slivers(grid), min_size=1, max_size=4))
    index = built(shapes, grid)
    wider = Grid(grid.epsg, grid.transform @ Affine.translation(-9, -9), HEIGHT + 18, WIDTH + 18)
    in_wider = built(shapes, wider)
    for pid in range(100, 100 + len(shapes)):
        total = len(of(in_wider, pid))
        assert (pid in index.empty) == (total == 0)
        assert (pid in index.outside) == (total > 0 and pid not in index.pids)
        if pid in index.pids:
            assert index.beyond[index.pids == pid].item() == (total > len(of(index, pid)))


@examples(25)
@given(st.data())
def test_slivers_get_the_pixels_of_their_quarters(data: st.DataObject) -> None:
    grid = data.draw(grids)
    shapes = data.draw(st.lists(slivers(grid), min_size=1, max_size=8))
    index = built(shapes, grid)
    with_slivers = index.touching(range(100, 100 + len(shapes)), shapes)
    assert_whole(with_slivers)
    t = grid.transform
    finer = Affine(t.a / 2, 0, t.c, 0, t.e / 2, t.f)
    for pid, shape in enumerate(shapes, 100):
        expected = by_rasterio(shape, grid)
        if not expected and not shape.is_empty:
            quarters = rasterize([(shape, 1)], out_shape=(2 * HEIGHT, 2 * WIDTH), transform=finer)
            whole = quarters.reshape(HEIGHT, 2, WIDTH, 2).any(axis=(1, 3))
            expected = np.flatnonzero(whole).tolist()
        assert of(with_slivers, pid) == expected
        assert (pid in with_slivers.pids) == bool(expected)
    assert with_slivers.pids[: len(index)].tolist() == index.pids.tolist()
    again = with_slivers.touching(range(100, 100 + len(shapes)), shapes)
    assert again.pids.tolist() == with_slivers.pids.tolist()
    assert again.starts.tolist() == with_slivers.starts.tolist()


GRID = Grid(32632, Affine(10, 0, 500000, 0, -10, 6000000), HEIGHT, WIDTH)


def at(*corners: float) -> Polygon:
    """A box given in pixels: left, top, right, bottom."""
    left, top, right, bottom = corners
    return box(500000 + left * 10, 6000000 - bottom * 10, 500000 + right * 10, 6000000 - top * 10)


def test_lists_with_slivers() -> None:
    """Of each kind of parcel without a pixel's centre one, inside the image, across its side and outside."""
    shapes = {
        1: at(3, 3, 4, 4),  # a pixel
        2: at(1.2, 1.2, 1.3, 1.3),  # a quarter's centre
        3: at(1.1, 1.1, 1.2, 1.2),  # nothing
        4: at(-0.8, 2.2, -0.7, 2.3),  # a quarter's centre outside
        5: at(-0.9, 4, 0.3, 4.3),  # of quarters in the image and outside
        6: at(-0.6, 6, 0.3, 6.6),  # a pixel's centre outside, a quarter's inside
        7: at(-9, 0, -5, 4),  # pixels outside
        8: at(7.2, 7.2, 8.3, 8.3),  # a pixel's centre, and quarters of others
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
    index = built([at(0, 0, 3, 1), at(2, 0, 4, 1), at(2, 0, 3, 1)], GRID)
    assert [of(index, pid) for pid in (100, 101, 102)] == [[0, 1, 2], [2, 3], [2]]


def test_overlapping_parts_count_a_pixel_once() -> None:
    index = built([MultiPolygon([at(0, 0, 3, 1), at(2, 0, 4, 1)])], GRID)
    assert of(index, 100) == [0, 1, 2, 3]
    assert not index.beyond.any()


def test_neighbours_share_no_pixel_when_their_border_runs_through_centres() -> None:
    for left, right in (
        (at(0, 0, 4.5, 4), at(4.5, 0, 9, 4)),
        (at(0, 0, 4, 4.5), at(0, 4.5, 4, 9)),
    ):
        index = built([left, right], GRID)
        pixels = [set(of(index, pid)) for pid in (100, 101)]
        if left.bounds[3] == right.bounds[3]:
            assert not pixels[0] & pixels[1]
        assert len(pixels[0] | pixels[1]) == 9 * 4
        assert [sorted(one) for one in pixels] == [by_rasterio(shape, GRID) for shape in (left, right)]


def test_lists_tell_slivers_from_parcels_elsewhere() -> None:
    sliver, away, crossing, inside = (
        at(1.6, 1.1, 2.4, 1.4),
        at(-9, 0, -5, 4),
        at(-2, 0, 2, 1),
        at(3, 3, 4, 4),
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
        Polygon(at(0, 0, 9, 9).exterior.coords, [[(500050, 5999950), (value, 5999960), (500060, 5999950)]]),
    ]
    index = built([*broken, at(0, 0, 1, 1), MultiPolygon([broken[0], at(5, 5, 6, 6)])], GRID)
    assert (index.empty.tolist(), index.pids.tolist()) == ([100, 101, 102], [103, 104])
    assert of(index, 104) == [5 * WIDTH + 5]


def test_what_is_huge_covers_the_image() -> None:
    index = built([box(-2e5, 0, 4e6, 7e6), at(-1e4, 3, 1e4, 4), at(0, 0, WIDTH, HEIGHT)], GRID)
    assert of(index, 100) == of(index, 102) == list(range(HEIGHT * WIDTH))
    assert of(index, 101) == list(range(3 * WIDTH, 4 * WIDTH))
    assert index.beyond.tolist() == [True, False, True]  # in the order 100, 102, 101


def test_empty_shapes_are_slivers() -> None:
    collapsed = Polygon([(500000, 6000000), (500100, 5999900), (500000, 6000000)])
    index = built([MultiPolygon(), Polygon(), collapsed, MultiPolygon([Polygon(), at(0, 0, 1, 1)])], GRID)
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


TALL = Grid(32632, Affine(10, 0, 500000, 0, -10, 6000000), 4 * STRIP_ROWS + 100, 40)


def tall_and_small() -> list[BaseGeometry]:
    """Parcels in every row of a tall image; some reach over two strips, some over the whole image."""
    rng = np.random.default_rng(5)
    left, top = rng.uniform(-3, 38, 400), rng.uniform(-5, TALL.height + 2, 400)
    high = np.where(np.arange(400) % 50, rng.uniform(1, 200, 400), rng.uniform(500, 2500, 400))
    shapes = [at(x, y, x + 6, y + h).buffer(0) for x, y, h in zip(left, top, high, strict=True)]
    hole = at(5, 10, 35, 1900).difference(at(9, 30, 30, 1700)).difference(at(0, 400, 12, 500))
    exact = [at(1, 700, 3, 700 + rows) for rows in (STRIP_ROWS - 1, STRIP_ROWS, STRIP_ROWS + 1)]
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


def test_polygons_with_a_thousand_teeth() -> None:
    """More crossings in a line than are sorted by hand."""
    grid = Grid(32632, Affine(10, 0, 500000, 0, -10, 6000000), 40, 600)
    x = np.linspace(0, 590, 600)
    comb = Polygon([*zip(x, np.where(np.arange(600) % 2, 1.3, 37.8), strict=True), (590, 39), (0, 39)])
    shapes = [on_map(comb, grid), on_map(shapely.MultiPoint(np.c_[x, x % 37]).buffer(0.9), grid)]
    index = built(shapes, grid)
    assert [of(index, pid) for pid in (100, 101)] == [by_rasterio(shape, grid) for shape in shapes]


def test_saved_and_loaded(tmp_path: Path) -> None:
    shapes = [at(0, 0, 3, 1), at(-2, 2, 4, 9), at(1.2, 1.2, 1.3, 1.3), at(50, 50, 60, 60), Polygon()]
    index = built(shapes, GRID).touching(range(100, 105), shapes)
    path = tmp_path / "index.npz"
    for _ in range(2):  # also over one that is there
        index.save(path)
    assert list(tmp_path.iterdir()) == [path]
    loaded = PixelIndex.load(path, GRID)
    assert loaded.grid == GRID
    for name in ("pids", "offsets", "starts", "lengths", "beyond", "empty", "outside"):
        before, after = getattr(index, name), getattr(loaded, name)
        assert (before.dtype, before.tolist()) == (after.dtype, after.tolist())


@pytest.mark.parametrize("keep", [0, 1, 3, 100, 0.5, 0.99])
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "index.npz"
    built([at(0, 0, 3, 1)], GRID).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    with pytest.raises((OSError, ValueError, KeyError, zipfile.BadZipFile)):
        PixelIndex.load(path, GRID)


def test_a_file_with_a_wrong_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    index = built([at(0, 0, 3, 7)], GRID)
    index.save(path)
    whole = bytearray(path.read_bytes())
    where = bytes(whole).index(index.starts.tobytes())
    whole[where] ^= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(zipfile.BadZipFile):
        PixelIndex.load(path, GRID)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        built([at(0, 0, 3, 1)], GRID).save(tmp_path / "nowhere" / "index.npz")
    with pytest.raises(OSError, match="No such file"):
        PixelIndex.load(tmp_path / "index.npz", GRID)


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
