"""Sentinel-2 products: bands as the metadata says they are to be read, and every defect by its name."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely import box

from cbmctl.pixels import PixelIndex
from cbmctl.pixels.statistics import STATISTICS, band_statistics
from cbmctl.scenes import Scene, SceneError
from cbmctl.scenes.reading import read_needed
from cbmctl.scenes.sentinel2 import open_product
from cbmctl.scenes.sentinel2_metadata import read_safe_metadata
from tests.support import products_s2
from tests.support.products_s2 import (
    image_file,
    make_product,
    metadata,
    read_band,
    reflectance,
    spectral_information,
)

OFFSETS = dict.fromkeys(range(13), -1000)


def status_of(error: pytest.ExceptionInfo[SceneError]) -> str:
    assert "\n" not in error.value.reason  # people read it in a table
    return error.value.status


def values(scene: Scene) -> dict[str, NDArray[Any]]:
    """Return what statistics see of each pixel, band by band; 0: not observed."""
    height, width = scene.grid.height, scene.grid.width
    row, column = np.divmod(np.arange(height * width), width)
    t = scene.grid.transform
    left, bottom = t.c + t.a * column, t.f + t.e * (row + 1)
    every = PixelIndex.build(
        np.arange(height * width), shapely.box(left, bottom, left + t.a, bottom - t.e), scene.grid
    )
    found = {}
    for band in scene.bands:
        active = np.ones(height * width, bool)
        table = band_statistics(every, read_needed(scene, band, every), active, offset=band.offset)
        found[band.name] = np.where(active, table[:, STATISTICS.index("mean")], 0).reshape(height, width)
    return found


def test_offset_is_added_and_nodata_stays(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 1000, 1001], [1002, 1500, 11000, 65535]], dtype=np.uint16)
    path = make_product(tmp_path, {"B02_10m": stored}, metadata(OFFSETS))
    product = open_product(tmp_path, path)
    scene = product.scene(["B02"], 10)
    assert values(scene)["B02"].tolist() == [[0, 1, 1, 1], [2, 500, 10000, 64535]]
    assert read_band(scene.bands[0]).dtype == np.uint16
    assert (scene.grid.epsg, scene.name, scene.applied_offset) == (32632, products_s2.NAME, -1000)
    assert product.metadata.boa_offset == -1000
    assert product.metadata.baseline == "04.00"
    as_stored = product.scene(["B02"], 10, harmonise=False)
    assert np.array_equal(values(as_stored)["B02"], stored)
    assert np.array_equal(read_band(as_stored.bands[0]), stored)
    assert as_stored.applied_offset == 0


def test_product_without_offsets_is_read_as_stored(tmp_path: Path) -> None:
    stored = reflectance()
    product = open_product(tmp_path, make_product(tmp_path, {"B04_10m": stored}))
    assert product.metadata.boa_offset == 0
    scene = product.scene(["B04"], 10)
    assert np.array_equal(values(scene)["B04"], stored)
    assert scene.applied_offset == 0


def test_classes_never_get_an_offset(tmp_path: Path) -> None:
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = make_product(
        tmp_path, {"SCL_20m": classes, "B05_20m": classes + np.uint16(2000)}, metadata(OFFSETS)
    )
    scene = open_product(tmp_path, path).scene(["SCL", "B05"], 20)
    assert [(band.name, band.number, band.offset) for band in scene.bands] == [
        ("SCL", 1, 0),
        ("B05", 1, -1000),
    ]
    assert np.array_equal(read_band(scene.bands[0]), classes)
    assert np.array_equal(values(scene)["B05"], classes + np.uint16(1000))


def test_each_band_gets_its_own_offset_by_the_products_numbering(tmp_path: Path) -> None:
    """A product whose metadata leaves out B10 numbers B11 as 10."""
    without_b10 = tuple(band for band in products_s2.BANDS if band != "B10")
    xml = metadata({10: -500, 11: -700}, bands=spectral_information(without_b10))
    stored = np.full((4, 4), 2000, np.uint16)
    path = make_product(tmp_path, {"B11_20m": stored, "B12_20m": stored, "B05_20m": stored}, xml)
    product = open_product(tmp_path, path)
    scene = product.scene(["B11", "B12", "B05"], 20)
    assert {band: int(pixels[0, 0]) for band, pixels in values(scene).items()} == {
        "B11": 1500,
        "B12": 1300,
        "B05": 2000,
    }
    assert product.metadata.boa_offset is None
    assert scene.applied_offset is None


def test_grid_is_the_images_own(tmp_path: Path) -> None:
    path = make_product(tmp_path, {"B02_10m": reflectance(30, 50), "B05_20m": reflectance(15, 25)})
    product = open_product(tmp_path, path)
    grid = product.grid(20)
    assert (grid.epsg, grid.height, grid.width) == (32632, 15, 25)
    assert grid.transform == Affine(20, 0, products_s2.LEFT, 0, -20, products_s2.TOP)
    assert product.scene(["B02"], 10).grid == product.grid(10)
    assert product.grid(10).bounds == grid.bounds


def test_southern_tile_is_in_its_southern_zone(tmp_path: Path) -> None:
    name = products_s2.NAME.replace("T32TMT", "T40KCB")
    path = make_product(tmp_path, {"B02_10m": reflectance()}, name=name, epsg=32740)
    assert open_product(tmp_path, path).grid(10).epsg == 32740


def test_missing_folders_and_files_have_the_manuals_words(tmp_path: Path) -> None:
    path = make_product(tmp_path, {"B02_10m": reflectance()})
    product = open_product(tmp_path, path)
    with pytest.raises(SceneError, match="lacks B03, B08") as error:
        product.scene(["B02", "B03", "B08"], 10)
    assert status_of(error) == "!S3 B03.jp2"
    with pytest.raises(SceneError) as error:
        product.scene(["SCL"], 20)
    assert status_of(error) == "!S3 SCL.jp2"
    with pytest.raises(SceneError) as error:
        product.grid(20)
    assert status_of(error) == "!S3 subdir"
    with pytest.raises(SceneError) as error:
        product.scene(["B05"], 20)
    assert status_of(error) == "!S3 B05.jp2"
    with pytest.raises(SceneError) as error:
        open_product(tmp_path, path.replace("135811", "000000"))
    assert status_of(error) == "!S3 subdir"
    (tmp_path / path / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(SceneError) as error:
        open_product(tmp_path, path)
    assert status_of(error) == "!S3 MTD_MSIL2A.xml"
    shutil.rmtree(tmp_path / path / "GRANULE")
    with pytest.raises(SceneError) as error:
        open_product(tmp_path, path)
    assert status_of(error) == "!S3 subdir"


@pytest.mark.parametrize("keep", [0, 200, 0.5, 0.95])
def test_cut_off_file_is_a_rio_error(tmp_path: Path, keep: float) -> None:
    path = make_product(tmp_path, {"B02_10m": reflectance(400, 400)})
    file = image_file(tmp_path, path, "B02_10m")
    os.truncate(file, int(keep * file.stat().st_size) if keep < 1 else int(keep))
    with pytest.raises(SceneError, match="cannot be read") as error:
        values(open_product(tmp_path, path).scene(["B02"], 10))
    assert status_of(error) == "Rio error"


def test_image_of_another_zone_or_grid_is_a_rio_error(tmp_path: Path) -> None:
    path = make_product(tmp_path, {"B02_10m": reflectance()}, epsg=32633)
    with pytest.raises(SceneError, match="32633, but its tile is in EPSG:32632") as error:
        open_product(tmp_path, path).scene(["B02"], 10)
    assert status_of(error) == "Rio error"
    path = make_product(
        tmp_path,
        {"B02_10m": reflectance(), "B03_10m": reflectance(39, 40)},
        folder="Sentinel-2/MSI/L2A_N0500",
    )
    with pytest.raises(SceneError, match="not on the grid of B02") as error:
        open_product(tmp_path, path).scene(["B02", "B03"], 10)
    assert status_of(error) == "Rio error"


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<cut",
        metadata({99: -1000}),
        metadata(OFFSETS, footprint="47 8 48 8"),
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    ],
)
def test_unusable_metadata_is_a_rio_error(tmp_path: Path, xml: str) -> None:
    path = make_product(tmp_path, {"B02_10m": reflectance()}, xml)
    with pytest.raises(SceneError, match=r"MTD_MSIL2A\.xml of S2A_MSIL2A_20220305") as error:
        open_product(tmp_path, path)
    assert status_of(error) == "Rio error"


def test_metadata_says_where_and_how_cloudy(tmp_path: Path) -> None:
    xml = metadata(footprint="47 8 47 9 48 9 48 8 47 8", cloud="12.5")
    found = open_product(tmp_path, make_product(tmp_path, {}, xml)).metadata
    assert found.footprint is not None
    assert found.footprint.equals(box(8, 47, 9, 48))
    assert found.cloud_cover == 12.5
    assert found.quantification == 10000


@pytest.mark.parametrize(
    ("product", "baseline", "offset"),
    [
        ("S2A_MSIL2A_20220214T070051_N0400_R120_T38KQA_20220214T085403.SAFE", "04.00", -1000),
        ("S2A_MSIL2A_20230625T234621_N0509_R073_T01WCS_20230626T022157.SAFE", "05.09", -1000),
        ("esa_S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.SAFE", "02.14", 0),
    ],
)
def test_real_metadata(testdata: Path, product: str, baseline: str, offset: int) -> None:
    found = read_safe_metadata(testdata / "safe_metadata" / product)
    assert (found.baseline, found.boa_offset, found.quantification) == (baseline, offset, 10000)
    assert found.footprint is not None
    assert found.cloud_cover is not None
    if offset:
        assert set(found.boa_offsets) == {*(f"B{n:02}" for n in range(1, 13)), "B8A"}


def test_real_product_with_empty_files_is_a_rio_error(testdata: Path) -> None:
    name = "S2A_MSIL2A_20220214T070051_N0400_R120_T38KQA_20220214T085403.SAFE"
    with pytest.raises(SceneError) as error:
        open_product(testdata / "safe_metadata", name).scene(["B02"], 10)
    assert status_of(error) == "Rio error"
