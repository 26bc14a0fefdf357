"""Backscatter products: what opens is placed right and mapped right, what does not is told for what it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from cbmctl.pixels.grid import Grid
from cbmctl.scenes import Band, RawLayout, SceneError
from cbmctl.scenes.backscatter import open_backscatter
from tests.support.products_s1 import BS_NAME, LEFT, TOP, envi_header, make_backscatter, power, write_envi

BANDS = ("VVb", "VHb")
AUTO_UTM = """{PROJCS["WGS 84 / Auto UTM",
  GEOGCS["World Geodetic System 1984",
    DATUM["World Geodetic System 1984",
      SPHEROID["WGS 84", 6378137.0, 298.257223563, AUTHORITY["EPSG","7030"]], AUTHORITY["EPSG","6326"]],
    PRIMEM["Greenwich", 0.0, AUTHORITY["EPSG","8901"]], UNIT["degree", 0.017453292519943295]],
  PROJECTION["Transverse_Mercator"], PARAMETER["central_meridian", 9.0],
  PARAMETER["latitude_of_origin", 0.0], PARAMETER["scale_factor", 0.9996],
  PARAMETER["false_easting", 500000.0], PARAMETER["false_northing", 0.0], UNIT["m", 1.0]]}"""


def mapped(band: Band, grid: Grid) -> NDArray[np.float32]:
    assert band.raw is not None
    return np.memmap(band.path, band.raw.dtype, "r", band.raw.start, (grid.height, grid.width))


def image(root: Path, path: str, polarisation: str) -> Path:
    return root / path / f"{Path(path).name}.data" / f"Gamma0_{polarisation}.img"


def refusal(root: Path, path: str, bands: tuple[str, ...] = BANDS) -> SceneError:
    with pytest.raises(SceneError) as error:
        open_backscatter(root, path, bands)
    assert "\n" not in error.value.reason
    return error.value


def broken(tmp_path: Path, **header: Any) -> str:
    """Return the reason why a product with such headers is refused; its status is always the same."""
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()}, **header)
    error = refusal(tmp_path, path)
    assert error.status == "Rio error"
    assert error.reason.startswith(f"Gamma0_VV.img of {BS_NAME} ")
    return error.reason


def test_both_polarisations(tmp_path: Path) -> None:
    values = {"VV": power(seed=1), "VH": power(seed=2)}
    path = make_backscatter(tmp_path, values)
    scene = open_backscatter(tmp_path, path, BANDS)
    assert scene.name == BS_NAME
    assert scene.grid == Grid(32632, Affine(10, 0, LEFT, 0, -10, TOP), 40, 30)
    assert scene.applied_offset is None
    assert [(band.name, band.number, band.offset, band.raw) for band in scene.bands] == [
        ("VVb", 1, 0, RawLayout(">f4", 0)),
        ("VHb", 1, 0, RawLayout(">f4", 0)),
    ]
    for band in scene.bands:
        with rasterio.open(band.path) as dataset:
            np.testing.assert_array_equal(dataset.read(band.number), mapped(band, scene.grid))
        np.testing.assert_array_equal(mapped(band, scene.grid), values[band.name[:2]])


def test_bands_come_in_the_order_asked_for_and_only_those(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    assert [band.name for band in open_backscatter(tmp_path, path, ("VHb", "VVb")).bands] == ["VHb", "VVb"]
    image(tmp_path, path, "VV").unlink()  # nobody asks for it
    assert [band.name for band in open_backscatter(tmp_path, path, ("VHb",)).bands] == ["VHb"]


def test_southern_zone(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()}, epsg=32740)
    assert open_backscatter(tmp_path, path, BANDS).grid.epsg == 32740


def test_utm_written_out_in_full_is_recognised(tmp_path: Path) -> None:
    """SNAP's automatic UTM zone has a name of its own and no EPSG code."""
    info = f"{{WGS 84 / Auto UTM, 1.0, 1.0, {LEFT}, {TOP}, 10.0, 10.0, WGS84, units=Meters}}"
    changes = {"map info": info, "coordinate system string": AUTO_UTM}
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()}, changes=changes)
    scene = open_backscatter(tmp_path, path, BANDS)
    assert scene.grid == Grid(32632, Affine(10, 0, LEFT, 0, -10, TOP), 40, 30)


@pytest.mark.parametrize("code", ["SV", "VV"])
def test_single_polarisation_gives_the_band_there_is(tmp_path: Path, code: str) -> None:
    name = BS_NAME.replace("1SDV", f"1S{code}")
    path = make_backscatter(tmp_path, {"VV": power()}, name=name)
    assert [band.name for band in open_backscatter(tmp_path, path, BANDS).bands] == ["VVb"]


@pytest.mark.parametrize("code", ["SH", "DH", "HH"])
def test_horizontal_transmission_has_none_of_our_bands(tmp_path: Path, code: str) -> None:
    path = make_backscatter(tmp_path, {"HH": power()}, name=BS_NAME.replace("1SDV", f"1S{code}"))
    error = refusal(tmp_path, path)
    assert error.status == "!S3 VV.img"
    assert "has no VVb or VHb: it holds HH" in error.reason


def test_single_polarisation_without_the_band_wanted(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power()}, name=BS_NAME.replace("1SDV", "1SSV"))
    error = refusal(tmp_path, path, ("VHb",))
    assert error.status == "!S3 VH.img"
    assert error.reason.endswith("has no VHb: it holds VV")


@pytest.mark.parametrize("lost", ["VV", "VH"])
def test_missing_image(tmp_path: Path, lost: str) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    image(tmp_path, path, lost).unlink()
    error = refusal(tmp_path, path)
    assert error.status == f"!S3 {lost}.img"
    assert f"Gamma0_{lost}.img" in error.reason


def test_missing_header(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    image(tmp_path, path, "VH").with_suffix(".hdr").unlink()
    error = refusal(tmp_path, path)
    assert (error.status, error.reason) == (
        "!S3 VH.hdr",
        f"Gamma0_VH.img of {BS_NAME} has no Gamma0_VH.hdr",
    )


def test_missing_folders(tmp_path: Path) -> None:
    error = refusal(tmp_path, f"Sentinel-1/SAR/CARD-BS/2022/03/05/{BS_NAME}")
    assert (error.status, error.reason) == ("!S3 subdir", f"{BS_NAME} is not in the archive")
    path = make_backscatter(tmp_path, {})
    assert refusal(tmp_path, path).status == "!S3 VV.img"


def test_another_quantity_is_not_taken_for_gamma0(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    for file in image(tmp_path, path, "VV").parent.iterdir():
        file.rename(file.with_name(file.name.replace("Gamma0", "Sigma0")))
    assert refusal(tmp_path, path).status == "!S3 VV.img"


def test_truncated_image(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    file = image(tmp_path, path, "VH")
    file.write_bytes(file.read_bytes()[:-4])
    error = refusal(tmp_path, path)
    assert (error.status, error.reason) == (
        "Rio error",
        f"Gamma0_VH.img of {BS_NAME} is truncated: 4796 of 4800 bytes",
    )


@pytest.mark.parametrize("file", ["Gamma0_VV.img", "Gamma0_VV.hdr"])
def test_empty_file(tmp_path: Path, file: str) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    image(tmp_path, path, "VV").with_name(file).write_bytes(b"")
    error = refusal(tmp_path, path)
    assert error.status == "Rio error"
    assert ("is empty" if file.endswith("img") else "cannot be read") in error.reason


def test_little_endian(tmp_path: Path) -> None:
    values = power()
    path = make_backscatter(tmp_path, {"VV": values, "VH": values}, changes={"byte order": "0"})
    for polarisation in ("VV", "VH"):
        image(tmp_path, path, polarisation).write_bytes(values.astype("<f4").tobytes())
    scene = open_backscatter(tmp_path, path, BANDS)
    assert scene.bands[0].raw == RawLayout("<f4", 0)
    np.testing.assert_array_equal(mapped(scene.bands[0], scene.grid), values)


def test_embedded_header_is_skipped(tmp_path: Path) -> None:
    values = power()
    path = make_backscatter(tmp_path, {"VV": values, "VH": values}, changes={"header offset": " 512 "})
    for polarisation in ("VV", "VH"):
        file = image(tmp_path, path, polarisation)
        file.write_bytes(bytes(512) + file.read_bytes())
    scene = open_backscatter(tmp_path, path, BANDS)
    assert scene.bands[0].raw == RawLayout(">f4", 512)
    np.testing.assert_array_equal(mapped(scene.bands[0], scene.grid), values)


@pytest.mark.parametrize("spelling", ["Byte Order", "byte order  "])
def test_spelling_of_header_keys_does_not_matter(tmp_path: Path, spelling: str) -> None:
    changes = {"byte order": None, spelling: "1 "}
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()}, changes=changes)
    assert open_backscatter(tmp_path, path, BANDS).bands[0].raw == RawLayout(">f4", 0)


@pytest.mark.parametrize("change", [{"byte order": None}, {"byte order": "2"}, {"header offset": "none"}])
def test_nothing_is_guessed(tmp_path: Path, change: dict[str, str | None]) -> None:
    assert "does not state byte order (0 or 1) and header offset" in broken(tmp_path, changes=change)


def test_longer_file_is_left_to_gdal(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    with image(tmp_path, path, "VV").open("ab") as file:
        file.write(bytes(4))
    assert [band.raw for band in open_backscatter(tmp_path, path, BANDS).bands] == [
        None,
        RawLayout(">f4", 0),
    ]


def test_file_that_only_has_the_name_of_envi_is_left_to_gdal(tmp_path: Path) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    file = image(tmp_path, path, "VV")
    grid = {"crs": "EPSG:32632", "transform": Affine(10, 0, LEFT, 0, -10, TOP), "height": 40, "width": 30}
    with rasterio.open(
        tmp_path / "other.tif", "w", driver="GTiff", count=1, dtype="float32", **grid
    ) as other:
        other.write(power(), 1)
    file.write_bytes((tmp_path / "other.tif").read_bytes())
    assert open_backscatter(tmp_path, path, BANDS).bands[0].raw is None


@pytest.mark.parametrize(
    ("code", "dtype"), [("2", "int16"), ("5", "float64"), ("6", "complex64"), ("12", "uint16")]
)
def test_wrong_type(tmp_path: Path, code: str, dtype: str) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    values = power().astype(dtype)
    write_envi(image(tmp_path, path, "VV"), values, envi_header(values.shape, changes={"data type": code}))
    error = refusal(tmp_path, path)
    assert (error.status, error.reason) == (
        "Rio error",
        f"Gamma0_VV.img of {BS_NAME} holds {dtype}, not float32",
    )


def test_two_bands_in_one_file(tmp_path: Path) -> None:
    assert "holds 2 bands instead of one" in broken(tmp_path, changes={"bands": "2", "lines": "20"})


def test_no_map_projection(tmp_path: Path) -> None:
    assert "has no CRS" in broken(tmp_path, changes={"map info": None})


def test_ground_control_points_only(tmp_path: Path) -> None:
    points = "{1, 1, 47.4, 8.6, 30, 1, 47.4, 8.7, 1, 40, 47.3, 8.6, 30, 40, 47.3, 8.7}"
    reason = broken(tmp_path, changes={"map info": None, "geo points": points})
    assert "has ground control points instead of a map grid: it is not terrain-corrected" in reason


def test_degrees(tmp_path: Path) -> None:
    info = "{Geographic Lat/Lon, 1, 1, 8.6, 47.4, 0.0001, 0.0001, WGS-84, units=Degrees}"
    assert "is in EPSG:4326, which is not a map projection in metres" in broken(
        tmp_path, changes={"map info": info}
    )


def test_feet(tmp_path: Path) -> None:
    info = f"{{UTM, 1, 1, {LEFT}, {TOP}, 10, 10, 32, North, WGS-84, units=Feet}}"
    assert broken(tmp_path, changes={"map info": info})


def test_crs_of_nobody(tmp_path: Path) -> None:
    wkt = AUTO_UTM.replace("9.0]", "8.25]")
    info = f"{{Mine, 1.0, 1.0, {LEFT}, {TOP}, 10.0, 10.0, WGS84, units=Meters}}"
    reason = broken(tmp_path, changes={"map info": info, "coordinate system string": wkt})
    assert 'is in "WGS 84 / Auto UTM", which EPSG does not list' in reason


def test_rotated(tmp_path: Path) -> None:
    info = f"{{UTM, 1, 1, {LEFT}, {TOP}, 10, 10, 32, North, WGS-84, units=Meters, rotation=12}}"
    assert "the grid is not north-up" in broken(tmp_path, changes={"map info": info})


@pytest.mark.parametrize("step", [9.99, 20])
def test_another_resolution(tmp_path: Path, step: float) -> None:
    assert f"has pixels of {step:g} x {step:g} m, not 10 m" in broken(tmp_path, step=step)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    info = f"{{UTM, 1, 1, {LEFT}, {TOP}, 10, 20, 32, North, WGS-84, units=Meters}}"
    assert "has pixels of 10 x 20 m, not 10 m" in broken(tmp_path, changes={"map info": info})


def test_another_nodata_value(tmp_path: Path) -> None:
    assert "marks nodata with -9999, not with 0 or NaN" in broken(
        tmp_path, changes={"data ignore value": "-9999"}
    )


@pytest.mark.parametrize("nodata", ["0", "0.0", "NaN"])
def test_our_nodata_values(tmp_path: Path, nodata: str) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()}, changes={"data ignore value": nodata})
    assert len(open_backscatter(tmp_path, path, BANDS).bands) == 2


def test_scaled_values(tmp_path: Path) -> None:
    assert "to be scaled" in broken(tmp_path, changes={"data gain values": "{0.1}"})


def shifted(root: Path, path: str) -> None:
    values = power()
    write_envi(image(root, path, "VH"), values, envi_header(values.shape, left=LEFT + 10))


def narrower(root: Path, path: str) -> None:
    write_envi(image(root, path, "VH"), power(width=29))


def other_zone(root: Path, path: str) -> None:
    values = power()
    write_envi(image(root, path, "VH"), values, envi_header(values.shape, epsg=32633))


@pytest.mark.parametrize("spoil", [shifted, narrower, other_zone])
def test_bands_on_different_grids(tmp_path: Path, spoil: Callable[[Path, str], None]) -> None:
    path = make_backscatter(tmp_path, {"VV": power(), "VH": power()})
    spoil(tmp_path, path)
    error = refusal(tmp_path, path)
    assert (error.status, error.reason) == (
        "Rio error",
        f"Gamma0_VH.img of {BS_NAME} is not on the grid of Gamma0_VV.img",
    )


def test_real_scene(testdata: Path) -> None:
    root = testdata / "eodata"
    (product,) = root.glob("Sentinel-1/SAR/CARD-BS/2017/10/30/*_CARD_BS")
    scene = open_backscatter(root, product.relative_to(root).as_posix(), BANDS)
    assert scene.name == product.name
    assert (scene.grid.epsg, scene.grid.height, scene.grid.width) == (32632, 224, 224)
    assert scene.grid.transform.c == pytest.approx(549892.697031448)
    for band in scene.bands:
        with rasterio.open(band.path) as dataset:
            np.testing.assert_array_equal(dataset.read(1), mapped(band, scene.grid))
    vv, vh = (mapped(band, scene.grid) for band in scene.bands)
    assert np.median(vv) > np.median(vh) > 0  # land returns more of what was sent
