"""Coherence products: above all, VV must be VV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint

from cbmctl.pixels.grid import Grid
from cbmctl.scenes import SceneError
from cbmctl.scenes.coherence import open_coherence
from tests.support.products_s1 import (
    C6_NAME,
    LEFT,
    PAIR,
    TOP,
    coherences,
    dimap,
    make_coherence,
    write_snap_tiff,
)

BANDS = ("VVc", "VHc")
VALUES = coherences()
VV_VH, VH_VV = (VALUES["VV"], VALUES["VH"]), (VALUES["VH"], VALUES["VV"])
NAMED = C6_NAME.replace("S1B_", "S1B_IW_SLC__1S{}_")


def refusal(root: Path, path: str, bands: tuple[str, ...] = BANDS) -> SceneError:
    with pytest.raises(SceneError) as error:
        open_coherence(root, path, bands)
    assert "\n" not in error.value.reason
    return error.value


def numbers(root: Path, path: str, bands: tuple[str, ...] = BANDS) -> dict[str, int]:
    """Return what is in the scene, and check that the pixels are those that were written for the band."""
    scene = open_coherence(root, path, bands)
    for band in scene.bands:
        with rasterio.open(band.path) as dataset:
            np.testing.assert_array_equal(dataset.read(band.number), VALUES[band.name[:2]])
        assert (band.offset, band.raw) == (0, None)
    return {band.name: band.number for band in scene.bands}


def names(*order: str) -> list[str]:
    return [f"coh_IW1_{polarisation}_{PAIR}" for polarisation in order]


def tif(root: Path, path: str) -> Path:
    return root / path / f"{Path(path).name}.tif"


@pytest.mark.parametrize(
    ("bands", "order"), [(VV_VH, ("VV", "VH")), (VH_VV, ("VH", "VV"))], ids=["VV first", "VH first"]
)
class TestOrderIsWhatTheFileStates:
    def test_band_descriptions(
        self, tmp_path: Path, bands: Sequence[NDArray[np.float32]], order: tuple[str, str]
    ) -> None:
        path = make_coherence(tmp_path, bands, names(*order))
        assert numbers(tmp_path, path) == {f"{name}c": number for number, name in enumerate(order, 1)}

    def test_plain_descriptions(
        self, tmp_path: Path, bands: Sequence[NDArray[np.float32]], order: tuple[str, str]
    ) -> None:
        path = make_coherence(tmp_path, bands, [order[0].lower(), f"Coherence {order[1]}"])
        assert numbers(tmp_path, path) == {f"{name}c": number for number, name in enumerate(order, 1)}

    def test_band_tags(
        self, tmp_path: Path, bands: Sequence[NDArray[np.float32]], order: tuple[str, str]
    ) -> None:
        path = make_coherence(tmp_path, bands)
        with rasterio.open(tif(tmp_path, path), "r+") as dataset:
            for number, name in enumerate(order, 1):
                dataset.update_tags(number, polarisation=name)
        assert numbers(tmp_path, path) == {f"{name}c": number for number, name in enumerate(order, 1)}

    def test_image_description(
        self, tmp_path: Path, bands: Sequence[NDArray[np.float32]], order: tuple[str, str]
    ) -> None:
        tags = {"TIFFTAG_IMAGEDESCRIPTION": f"bands: {', '.join(names(*order))}"}
        path = make_coherence(tmp_path, bands, tags=tags)
        assert numbers(tmp_path, path) == {f"{name}c": number for number, name in enumerate(order, 1)}

    @pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
    @pytest.mark.parametrize("virtual", [(), ("Intensity_VV",)], ids=["plain", "with a virtual band"])
    def test_dimap_header(
        self,
        tmp_path: Path,
        bands: Sequence[NDArray[np.float32]],
        order: tuple[str, str],
        virtual: tuple[str, ...],
        big: bool,
    ) -> None:
        path = f"product/{C6_NAME}"
        write_snap_tiff(tif(tmp_path, path), bands, dimap(names(*order), virtual), big=big)
        assert numbers(tmp_path, path) == {f"{name}c": number for number, name in enumerate(order, 1)}


def test_grid_and_order_of_the_bands_asked_for(tmp_path: Path) -> None:
    path = make_coherence(tmp_path, VH_VV, names("VH", "VV"))
    scene = open_coherence(tmp_path, path, ("VHc", "VVc"))
    assert scene.name == C6_NAME
    assert scene.grid == Grid(32632, Affine(20, 0, LEFT, 0, -20, TOP), 60, 50)
    assert scene.applied_offset is None
    assert [band.name for band in scene.bands] == ["VHc", "VVc"]
    assert [band.name for band in open_coherence(tmp_path, path, ("VVc",)).bands] == ["VVc"]


def test_southern_zone(tmp_path: Path) -> None:
    path = make_coherence(tmp_path, VH_VV, names("VH", "VV"), epsg=32740)
    assert open_coherence(tmp_path, path, BANDS).grid.epsg == 32740


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interleave": "band"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
        {"nodata": 0},
        {"nodata": float("nan")},
    ],
)
def test_layouts(tmp_path: Path, options: dict[str, Any]) -> None:
    path = make_coherence(tmp_path, VV_VH, names("VV", "VH"), **options)
    assert numbers(tmp_path, path) == {"VVc": 1, "VHc": 2}


def test_silent_file_has_the_order_of_snap(tmp_path: Path) -> None:
    assert numbers(tmp_path, make_coherence(tmp_path, VH_VV)) == {"VHc": 1, "VVc": 2}


def test_silent_file_whose_pixels_say_otherwise_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, make_coherence(tmp_path, VV_VH))
    assert error.status == "Rio error"
    assert error.reason.startswith(f"{C6_NAME}.tif of {C6_NAME} does not state which band is VV and which VH")


def test_pixels_without_coherence_say_nothing(tmp_path: Path) -> None:
    """Growing crops and water: what is left is noise, in which either may be the higher one."""
    path = make_coherence(tmp_path, [np.minimum(values, 0.49) for values in VV_VH])
    assert [band.number for band in open_coherence(tmp_path, path, BANDS).bands] == [2, 1]


def test_unobserved_pixels_say_nothing(tmp_path: Path) -> None:
    """0 and NaN in VH are not "VV is higher"."""
    unobserved = np.zeros((60, 50), np.float32)
    unobserved[:, ::2] = np.nan
    path = make_coherence(tmp_path, [VALUES["VV"], unobserved])
    assert [band.number for band in open_coherence(tmp_path, path, BANDS).bands] == [2, 1]


def test_names_of_other_bands_are_no_statement(tmp_path: Path) -> None:
    path = f"product/{C6_NAME}"
    write_snap_tiff(tif(tmp_path, path), VH_VV, dimap([*names("VV", "VH"), "Phase"]))
    assert numbers(tmp_path, path) == {"VHc": 1, "VVc": 2}


def test_broken_dimap_header_is_no_statement(tmp_path: Path) -> None:
    path = f"product/{C6_NAME}"
    write_snap_tiff(tif(tmp_path, path), VH_VV, dimap(names("VV", "VH"))[:-20])
    assert numbers(tmp_path, path) == {"VHc": 1, "VVc": 2}


@pytest.mark.parametrize(
    ("descriptions", "tags", "reason"),
    [
        (["coh_VV", ""], {}, "does not say which polarisation its band 2 is"),
        (["coh_VV", "coh_VV"], {}, "states the same polarisation for several bands"),
        (
            ["coh_VV", "coh_VH"],
            {"TIFFTAG_IMAGEDESCRIPTION": "coh_VH_1 coh_VV_1"},
            "states both VH and VV for its band 1",
        ),
    ],
)
def test_half_statements_and_contradictions_are_refused(
    tmp_path: Path, descriptions: list[str], tags: dict[str, str], reason: str
) -> None:
    error = refusal(tmp_path, make_coherence(tmp_path, VV_VH, descriptions, tags=tags))
    assert error.status == "Rio error"
    assert reason in error.reason


def test_single_polarisation(tmp_path: Path) -> None:
    path = make_coherence(tmp_path, [VALUES["VV"]], names("VV"))
    assert numbers(tmp_path, path) == {"VVc": 1}
    error = refusal(tmp_path, path, ("VHc",))
    assert error.status == "!S3 .tif"
    assert error.reason.endswith("has no VHc: it holds VV")


def test_single_polarisation_by_name(tmp_path: Path) -> None:
    assert numbers(tmp_path, make_coherence(tmp_path, [VALUES["VV"]], name=NAMED.format("SV"))) == {"VVc": 1}
    error = refusal(tmp_path, make_coherence(tmp_path, [VALUES["VV"]]))
    assert "does not say which polarisation its band is" in error.reason


@pytest.mark.parametrize(
    ("code", "descriptions", "reason"),
    [
        ("SV", ["VV", "VH"], "states VV and VH, its product's name VV"),
        ("DH", ["VV", "VH"], "states VV and VH, its product's name HH and HV"),
        ("DH", [], "does not say which of its bands is which of HH and HV"),
        ("SV", [], "does not say which of its bands is which of VV"),
    ],
)
def test_name_and_file_must_agree(tmp_path: Path, code: str, descriptions: list[str], reason: str) -> None:
    error = refusal(tmp_path, make_coherence(tmp_path, VV_VH, descriptions, name=NAMED.format(code)))
    assert error.status == "Rio error"
    assert reason in error.reason


def test_name_and_file_that_agree(tmp_path: Path) -> None:
    path = make_coherence(tmp_path, VV_VH, names("VV", "VH"), name=NAMED.format("DV"))
    assert numbers(tmp_path, path) == {"VVc": 1, "VHc": 2}


def test_horizontal_transmission_has_none_of_our_bands(tmp_path: Path) -> None:
    error = refusal(tmp_path, make_coherence(tmp_path, VV_VH, ["coh_HH", "coh_HV"]))
    assert (error.status, error.reason.endswith("has no VVc or VHc: it holds HH and HV")) == (
        "!S3 .tif",
        True,
    )


def test_missing_things(tmp_path: Path) -> None:
    path = f"Sentinel-1/SAR/CARD-COH6/2021/03/02/{C6_NAME}"
    error = refusal(tmp_path, path)
    assert (error.status, error.reason) == ("!S3 subdir", f"{C6_NAME} is not in the archive")
    (tmp_path / path).mkdir(parents=True)
    error = refusal(tmp_path, path)
    assert (error.status, error.reason) == ("!S3 .tif", f"{C6_NAME} has no {C6_NAME}.tif")


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
def test_truncated(tmp_path: Path, options: dict[str, Any]) -> None:
    path = make_coherence(tmp_path, VV_VH, names("VV", "VH"), **options)
    file = tif(tmp_path, path)
    file.write_bytes(file.read_bytes()[:20_000])
    error = refusal(tmp_path, path)
    assert error.status == "Rio error"
    assert " is truncated: 20000 of at least " in error.reason


@pytest.mark.parametrize(("length", "reason"), [(0, "is empty: 0 bytes"), (100, "cannot be read")])
def test_stub(tmp_path: Path, length: int, reason: str) -> None:
    path = make_coherence(tmp_path, VV_VH, names("VV", "VH"))
    file = tif(tmp_path, path)
    file.write_bytes(file.read_bytes()[:length])
    error = refusal(tmp_path, path)
    assert error.status == "Rio error"
    assert error.reason.startswith(f"{C6_NAME}.tif of {C6_NAME} ")
    assert reason in error.reason


def test_ground_control_points_only(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(row, column, 8.6 + column / 1e4, 47.4 - row / 1e4)
        for row, column in ((0, 0), (0, 50), (60, 0), (60, 50))
    ]
    path = make_coherence(tmp_path, VV_VH, names("VV", "VH"), gcps=points, crs="EPSG:4326", transform=None)
    error = refusal(tmp_path, path)
    assert error.status == "Rio error"
    assert "has ground control points instead of a map grid: it is not terrain-corrected" in error.reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"epsg": None}, "has no CRS"),
        ({"epsg": 4326}, "is in EPSG:4326, which is not a map projection in metres"),
        ({"epsg": 2263}, "is in EPSG:2263, which is not a map projection in metres"),
        ({"step": 10}, "has pixels of 10 x 10 m, not 20 m"),
        ({"transform": Affine(20, 0, LEFT, 0, -10, TOP)}, "has pixels of 20 x 10 m, not 20 m"),
        ({"transform": Affine(20, 1, LEFT, 1, -20, TOP)}, "the grid is not north-up"),
        ({"transform": Affine(20, 0, LEFT, 0, 20, TOP)}, "the grid is not north-up"),
        ({"transform": None}, "its position is missing"),
        ({"nodata": -9999}, "marks nodata with -9999, not with 0 or NaN"),
    ],
)
def test_unusable_grids(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    error = refusal(tmp_path, make_coherence(tmp_path, VV_VH, names("VV", "VH"), **options))
    assert error.status == "Rio error"
    assert reason in error.reason


def test_wrong_type(tmp_path: Path) -> None:
    whole = [(values * 255).astype(np.uint8) for values in VV_VH]
    error = refusal(tmp_path, make_coherence(tmp_path, whole, names("VV", "VH")))
    assert (error.status, error.reason) == (
        "Rio error",
        f"{C6_NAME}.tif of {C6_NAME} holds uint8, not float32",
    )


def test_too_many_bands(tmp_path: Path) -> None:
    error = refusal(tmp_path, make_coherence(tmp_path, [*VV_VH, VALUES["VV"]], names("VV", "VH")))
    assert "holds 3 bands instead of one or two" in error.reason
