"""Pixels inside a parcel, by centre and whole, against geometry of the pixels one by one."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import example, given
from hypothesis import strategies as st
from rasterio.features import rasterize

from cbmctl.pixels.full_pixels import pixel_counts
from tests.support.effort import examples

LEFT, TOP = 499_980, 6_000_000  # of the tile; the grid's borders are multiples of 10 m
TOLERANCE = 1e-5  # m, of full_pixels at 10 m


def squares(parcel: shapely.MultiPolygon) -> np.ndarray:
    """All pixels of 10 m over a parcel, smaller by the tolerance: borders may run along them."""
    west, south, east, north = parcel.bounds
    columns, rows = np.arange(west // 10, east // 10 + 1), np.arange(south // 10, north // 10 + 1)
    x, y = (a.ravel() * 10 for a in np.meshgrid(columns, rows))
    return shapely.box(x + TOLERANCE, y + TOLERANCE, x + 10 - TOLERANCE, y + 10 - TOLERANCE)


def burnt(parcel: shapely.MultiPolygon) -> int:
    transform = Affine(10, 0, LEFT, 0, -10, TOP)
    return int(rasterize([parcel], out_shape=(60, 60), transform=transform).sum())


def star(seed: int, corners: int, size: float) -> shapely.Geometry:
    """A shape with spikes around a place on the tile."""
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    radius = size * random.uniform(0.2, 1, corners)
    x, y = LEFT + random.uniform(250, 350), TOP - random.uniform(250, 350)
    corner = np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])
    return shapely.make_valid(shapely.Polygon(corner))


@examples(100)
@given(st.integers(0, 10**6), st.integers(3, 40), st.floats(3, 240), st.booleans())
@example(219, 3, 223.05078125, False)  # a border cuts 65 µm off a pixel's corner
def test_counts_are_those_of_the_pixels(seed: int, corners: int, size: float, hole: bool) -> None:
    shape = star(seed, corners, size)
    if hole:
        shape = shape.difference(star(seed + 1, corners, size / 2))
    parts = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"]
    parcels = [shapely.MultiPolygon([part]) for part in parts] + [shapely.MultiPolygon(parts)]
    pixels, full = pixel_counts(np.array(parcels, object), 32632, 10)
    assert full.tolist() == [
        int(shapely.covers(p, squares(p)).sum()) if not p.is_empty else 0 for p in parcels
    ]
    assert pixels.tolist() == [burnt(p) for p in parcels]


@pytest.mark.parametrize(("off", "full"), [(0.0, 12), (1e-7, 12), (-1e-7, 12), (0.01, 6), (5.0, 6)])
def test_borders_along_pixels_are_not_inside_them(off: float, full: int) -> None:
    parcel = shapely.box(LEFT + off, TOP - 30 + off, LEFT + 40 + off, TOP + off)
    for drawn in (parcel, shapely.MultiPolygon([parcel]), parcel.reverse()):
        assert pixel_counts(np.array([drawn], object), 32632, 10)[1].tolist() == [full]


def test_at_20_m_and_nothing() -> None:
    parcels = np.array([shapely.box(LEFT, TOP - 80, LEFT + 70, TOP), shapely.MultiPolygon()], object)
    pixels, full = pixel_counts(parcels, 32632, 20)
    assert (LEFT % 20, pixels.tolist(), full.tolist()) == (0, [16, 0], [12, 0])
    assert [counts.tolist() for counts in pixel_counts(parcels[:0], 32632, 20)] == [[], []]
