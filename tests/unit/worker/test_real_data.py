"""Real parcels on real scenes: every row against a plain computation with rasterio's mask of each parcel."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid, PixelIndex
from cbmctl.pixels.statistics import band_statistics, class_counts
from cbmctl.scenes.reading import Reader
from cbmctl.scenes.sentinel2 import open_product
from tests.support.products_s2 import image_file, read_band

BANDS = {10: ("B02", "B03", "B04"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12")}
ZURICH = (
    "Sentinel-2/MSI/L2A/2022/03/05/S2A_MSIL2A_20220305T102921_N0400_R108_T32TMT_20220305T135811.SAFE",
    "Sentinel-2/MSI/L2A/2022/06/20/S2A_MSIL2A_20220620T102041_N9999_R065_T32TMT_20221231T122258.SAFE",
    "Sentinel-2/MSI/L2A/2022/07/18/S2B_MSIL2A_20220718T102559_N0400_R108_T32TMT_20220718T133811.SAFE",
)
DENMARK = "Sentinel-2/MSI/L2A/2016/07/20/S2A_MSIL2A_20160720T103032_N0204_R108_T32VNH_20160720T103031.SAFE"
Parcels = list[tuple[int, BaseGeometry]]


def read_parcels(path: Path, epsg: int = 32632) -> Parcels:
    meta, fids, geometries, _ = pyogrio.raw.read(path, return_fids=True)
    shapes = shapely.make_valid(shapely.from_wkb(geometries))
    to_scene = Transformer.from_crs(meta["crs"], epsg, always_xy=True)
    moved = [
        shapely.transform(shape, lambda xy: np.column_stack(to_scene.transform(xy[:, 0], xy[:, 1])))
        for shape in shapes
    ]
    return list(zip(fids.tolist(), moved, strict=True))


def indexed(parcels: Parcels, grid: Grid) -> PixelIndex:
    return PixelIndex.build([pid for pid, _ in parcels], [shape for _, shape in parcels], grid)


@cache  # the same in all scenes of a tile
def covered(parcel: BaseGeometry, shape: tuple[int, int], transform: Affine) -> tuple[NDArray[np.intp], bool]:
    """Return where a parcel's pixels are in the flat image, and whether it reaches beyond the image."""
    margin = 400  # pixels around the image
    wide = transform @ transform.translation(-margin, -margin)
    around = ~geometry_mask([parcel], (shape[0] + 2 * margin, shape[1] + 2 * margin), wide)
    mask = around[margin:-margin, margin:-margin]
    return np.flatnonzero(mask), bool(around.sum() > mask.sum())


def plainly(
    parcels: Parcels, files: Sequence[Path], offset: int
) -> tuple[dict[int, list[tuple[float, ...]]], dict[int, int]]:
    """Compute a row for each band of each parcel that is whole and valid, and count each parcel's pixels."""
    rows: dict[int, list[tuple[float, ...]]] = {}
    counts: dict[int, int] = {}
    images = []
    for file in files:
        with rasterio.open(file) as dataset:
            images.append(dataset.read(1).astype(np.int64))
            transform, shape = dataset.transform, dataset.shape
    for pid, parcel in parcels:
        inside, beyond = covered(parcel, shape, transform)
        counts[pid] = len(inside)
        pixels = [image.ravel()[inside] for image in images]
        if not len(inside) or beyond or any((values == 0).any() for values in pixels):
            continue
        rows[pid] = []
        for stored in pixels:
            values = np.maximum(stored + offset, 1)
            quartiles = np.percentile(values, (25, 50, 75))
            summary = (values.mean(), values.std(), values.min(), values.max(), *quartiles)
            rows[pid].append((len(values), *summary))
    return rows, counts


def assert_equal(testdata: Path, path: str, parcels: Parcels, resolution: int, offset: int) -> int:
    """Compare product and plain computation; return how many parcels have rows."""
    root, bands = testdata / "eodata", BANDS[resolution]
    scene = open_product(root, path).scene(bands, resolution)
    index = indexed(parcels, scene.grid)
    active = ~index.beyond
    found = {}
    with Reader() as reader:
        for band in scene.bands:
            image = reader.start(scene, band, index, active).result()
            found[band.name] = band_statistics(index, image, active, offset=band.offset)
            reader.release(image)
    rows, counts = plainly(
        parcels, [image_file(root, path, f"{band}_{resolution}m") for band in bands], offset
    )
    assert dict(zip(index.pids.tolist(), index.counts().tolist(), strict=True)) == {
        pid: count for pid, count in counts.items() if count
    }
    assert sorted(index.pids[active].tolist()) == sorted(rows)
    exact = [0, 3, 4, 5, 6, 7]  # all but mean and std, which may differ by the last bit
    for place in np.flatnonzero(active):
        for name, wanted in zip(bands, rows[index.pids[place]], strict=True):
            actual, expected = found[name][place], np.array(wanted, np.float32)
            assert (actual[exact] == expected[exact]).all(), (index.pids[place], name)
            np.testing.assert_array_max_ulp(actual[1:3], expected[1:3], maxulp=1)
    return len(rows)


@pytest.mark.parametrize("path", ZURICH)
@pytest.mark.parametrize("resolution", [10, 20])
def test_zurich_parcels(testdata: Path, path: str, resolution: int) -> None:
    parcels = read_parcels(testdata / "parcels/ch_zurich/ZH_Polygons_2020_ESCH_EPSG32632.shp")
    assert len(parcels) == 281
    assert_equal(testdata, path, parcels, resolution, -1000)


@pytest.mark.parametrize("resolution", [10, 20])
def test_fields_with_valid_pixels(testdata: Path, resolution: int) -> None:
    """The images are valid inside the study fields only: here are rows to compare."""
    files = (testdata / "parcels/ch_strickhof_fields/field_parcels_ww_2022/Strickhof").glob("*.shp")
    shapes = [shape.buffer(-15) for file in sorted(files) for _, shape in read_parcels(file)]
    fields: Parcels = list(enumerate(shapes))
    compared = [assert_equal(testdata, path, fields, resolution, -1000) for path in ZURICH]
    assert sum(compared) > 0


def test_danish_parcels(testdata: Path) -> None:
    parcels = read_parcels(testdata / "parcels/dk_gsaa2016/marker2016_small.shp")
    assert assert_equal(testdata, DENMARK, parcels, 10, 0) == len(parcels) == 276


def test_danish_slivers_at_20_m_are_listed(testdata: Path) -> None:
    parcels = read_parcels(testdata / "parcels/dk_gsaa2016/marker2016_small.shp")
    fine = open_product(testdata / "eodata", DENMARK).grid(10)
    # the 20 m grid of tile 32VNH begins half a pixel further west than this part of it
    origin = fine.transform @ fine.transform.translation(-1, 0) @ fine.transform.scale(2)
    coarse = Grid(fine.epsg, origin, fine.height // 2 + 1, fine.width // 2 + 1)
    burnt = {
        pid: int((~geometry_mask([shape], (coarse.height, coarse.width), origin)).sum())
        for pid, shape in parcels
    }
    assert (
        indexed(parcels, coarse).empty.tolist() == [pid for pid, count in burnt.items() if count == 0] != []
    )


def test_zurich_classes(testdata: Path) -> None:
    """Parcels without a centre at 20 m have the classes of the pixels that hold their centres at 10 m."""
    parcels = read_parcels(testdata / "parcels/ch_zurich/ZH_Polygons_2020_ESCH_EPSG32632.shp")
    slivers = [(1000 + pid, shape.buffer(-0.48 * shape.area / shape.length)) for pid, shape in parcels]
    parcels += [(pid, shape) for pid, shape in slivers if not shape.is_empty]
    pids, shapes = [pid for pid, _ in parcels], [shape for _, shape in parcels]
    for path in ZURICH:
        scene = open_product(testdata / "eodata", path).scene(["SCL"], 20)
        image = read_band(scene.bands[0])
        index = PixelIndex.build(pids, shapes, scene.grid).touching(pids, shapes)
        counts = dict(zip(index.pids.tolist(), class_counts(index, image).tolist(), strict=True))
        only_quarters = 0
        for pid, parcel in parcels:
            mask = ~geometry_mask([parcel], image.shape, scene.grid.transform)
            if not mask.any():
                mask = quartered(parcel, scene.grid)
                only_quarters += int(mask.any())
            expected = np.bincount(image[mask], minlength=12).tolist()
            assert counts.get(pid, [0] * 12) == expected
            assert (pid in counts) == mask.any()
        assert only_quarters > 0


def quartered(parcel: BaseGeometry, grid: Grid) -> NDArray[np.bool_]:
    """Return the pixels with a quarter whose centre is in the parcel."""
    t, height, width = grid.transform, grid.height, grid.width
    quarters = ~geometry_mask([parcel], (2 * height, 2 * width), t @ t.scale(0.5))
    whole: NDArray[np.bool_] = quarters.reshape(height, 2, width, 2).any(axis=(1, 3))
    return whole
