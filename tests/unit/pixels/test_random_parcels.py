"""Parcels of random shape and place get the same pixels as from rasterio."""

import numpy as np
import shapely
from affine import Affine
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from rasterio.features import rasterize
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid
from tests.support.effort import examples
from tests.support.pixel_images import HEIGHT, WIDTH, assert_whole, built, by_rasterio, of, on_map, polygons

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
