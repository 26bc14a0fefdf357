"""The demo's data: the same every time, and in the form of the real thing."""

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from click.testing import CliRunner
from defusedxml import ElementTree
from pyproj import Transformer

from cbmctl.archive.checksums import OK, Checksums
from cbmctl.archive.mount import Mount
from cbmctl.cli import cbmctl, commands  # noqa: F401
from cbmctl.demo import is_synthetic
from cbmctl.demo.make import STAMP, make_demo
from cbmctl.demo.season import passes
from cbmctl.errors import UserError
from cbmctl.scenes.manifest import MANIFEST_FILE

# Naming convention since December 2016 (Sentinel-2 Products Specification Document, "compact naming")
PRODUCT = re.compile(
    r"S2[ABC]_MSIL2A_(?P<sensed>\d{8}T\d{6})_N0511_R(?P<orbit>\d{3})_T33TWM_\d{8}T\d{6}\.SAFE"
)
GRANULE = re.compile(r"L2A_T33TWM_A\d{6}_\d{8}T\d{6}")
FILES = {
    "R10m": {"B02": "uint16", "B03": "uint16", "B04": "uint16", "B08": "uint16"},
    "R20m": {"B05": "uint16", "B11": "uint16", "SCL": "uint8"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo") / "data"
    assert make_demo(directory).changed
    return directory


def products(directory: Path) -> list[Path]:
    return sorted((directory / "eodata" / "Sentinel-2" / "MSI" / "L2A").glob("*/*/*/*.SAFE"))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as image:
        return image.read(1)


def image(product: Path, band: str) -> np.ndarray:
    return read(next(product.glob(f"GRANULE/*/IMG_DATA/*/*_{band}_*.jp2")))


def test_a_second_making_changes_nothing(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    again = make_demo(made)
    assert not again.changed
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_an_interrupted_making_is_completed_with_the_same_bytes(made: Path) -> None:
    lost = products(made)[5]
    kept = {path.name: path.read_bytes() for path in lost.rglob("*") if path.is_file()}
    parcels = (made / "parcels.gpkg").read_bytes()
    lost.rename(made / "elsewhere")
    (made / "parcels.gpkg").unlink()
    half = made / ".part" / lost.name
    half.mkdir(parents=True)
    (half / "MTD_MSIL2A.xml").write_text("cut off")

    assert make_demo(made, check=True).missing == ("parcels.gpkg", lost.name)
    assert not lost.exists(), "--check must not make anything"
    assert make_demo(made).missing == ("parcels.gpkg", lost.name)

    assert {path.name: path.read_bytes() for path in lost.rglob("*") if path.is_file()} == kept
    assert (made / "parcels.gpkg").read_bytes() == parcels
    assert not (made / ".part").exists()


def test_another_seed_replaces_the_data(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cbmctl.demo.make.passes", lambda: passes()[:2])
    directory = tmp_path / "data"
    directory.mkdir()
    old = directory / products(made)[0].relative_to(made)
    old.mkdir(parents=True)
    (directory / STAMP).write_text('{"seed": 7, "version": "older"}')
    assert len(make_demo(directory, seed=8).missing) == 3
    assert [p.name for p in products(directory)] == [p.name for p in products(made)][:2]
    assert not np.array_equal(image(products(directory)[0], "B08"), image(products(made)[0], "B08"))


def test_progress_is_told_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cbmctl.demo.make.passes", lambda: passes()[:3])
    steps: list[int] = []
    made = make_demo(tmp_path / "data", progress=steps.append)
    assert sum(steps) == made.products == 3


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/data cannot be written \(Not a directory\)\. Free"):
        make_demo(tmp_path / "file" / "data")
    with pytest.raises(UserError, match=r"file cannot be read \(Not a directory\)\. Choose another"):
        make_demo(tmp_path / "file")


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="did not create"):
        make_demo(tmp_path)


def test_names_are_those_of_real_products_and_tell_that_they_are_not(made: Path) -> None:
    found = products(made)
    assert len(found) == 24
    for product in found:
        name = PRODUCT.fullmatch(product.name)
        assert name, product.name
        assert is_synthetic(product.name)
        sensed = datetime.strptime(name["sensed"], "%Y%m%dT%H%M%S")
        assert product.parent.parts[-3:] == (f"{sensed:%Y}", f"{sensed:%m}", f"{sensed:%d}")
        (granule,) = (product / "GRANULE").iterdir()
        assert GRANULE.fullmatch(granule.name)
        for folder, bands in FILES.items():
            names = {path.name for path in (granule / "IMG_DATA" / folder).iterdir()}
            assert names == {f"T33TWM_{name['sensed']}_{band}_{folder[1:]}.jp2" for band in bands}
    assert not is_synthetic("S2B_MSIL2A_20220327T101629_N0400_R065_T32TMT_20220327T141610.SAFE")


def test_every_image_opens_on_the_tiles_grid(made: Path) -> None:
    for product in products(made):
        for folder, bands in FILES.items():
            pixel = int(folder[1:3])
            for band, dtype in bands.items():
                with rasterio.open(next(product.glob(f"GRANULE/*/IMG_DATA/{folder}/*_{band}_*"))) as opened:
                    assert opened.driver == "JP2OpenJPEG"
                    assert opened.crs == "EPSG:32633"
                    assert opened.transform == Affine(pixel, 0, 587000, 0, -pixel, 5170020)
                    assert opened.dtypes == (dtype,)
                    assert opened.shape == (4000 // pixel, 4000 // pixel)
    # the whole tile's corner is (499980, 5200020): the piece lies on its 20 m grid
    assert (587000 - 499980) % 20 == (5200020 - 5170020) % 20 == 0


def test_every_file_matches_its_checksum(made: Path) -> None:
    for product in products(made):
        checks = Checksums(product, Mount(product.parent).hold(product.name, ".*"))
        files = [path for path in product.rglob("*") if path.is_file() and path.name != MANIFEST_FILE]
        assert {checks.compare(path).outcome for path in files} == {OK}
        assert len(files) == 9


def test_metadata_say_offset_footprint_and_clouds(made: Path) -> None:
    to_utm = Transformer.from_crs(4326, 32633, always_xy=True)
    cloudy = []
    for product in products(made):
        root = ElementTree.parse(product / "MTD_MSIL2A.xml").getroot()
        assert root.findtext(".//PRODUCT_URI") == product.name
        assert [int(e.text) for e in root.iter("BOA_ADD_OFFSET")] == [-1000] * 13
        physical = {e.get("bandId"): e.get("physicalBand") for e in root.iter("Spectral_Information")}
        assert physical["8"] == "B8A"
        assert physical["11"] == "B11"
        for file in root.iter("IMAGE_FILE"):
            assert (product / f"{file.text}.jp2").is_file()

        scl = image(product, "SCL")
        numbers = [float(n) for n in root.findtext(".//EXT_POS_LIST").split()]
        ring = shapely.Polygon(list(zip(numbers[1::2], numbers[0::2], strict=True)))
        assert numbers[:2] == numbers[-2:]
        assert not shapely.is_ccw(ring.exterior)
        area = shapely.transform(ring, lambda xy: np.column_stack(to_utm.transform(xy[:, 0], xy[:, 1]))).area
        assert area / 4000**2 == pytest.approx(np.mean(scl > 0), abs=0.004)
        share = float(root.findtext(".//Cloud_Coverage_Assessment"))
        assert share == pytest.approx(100 * np.isin(scl, (8, 9, 10)).sum() / (scl > 0).sum(), abs=1e-4)
        cloudy.append(share)
    assert max(cloudy) == 100
    assert sum(share < 5 for share in cloudy) >= 8


def test_no_data_lies_in_one_orbit_only_and_in_all_bands_alike(made: Path) -> None:
    for product in products(made):
        has_edge = "_R079_" in product.name
        for band in (b for bands in FILES.values() for b in bands):
            assert bool((image(product, band) == 0).any()) == has_edge
        ten, twenty = image(product, "B08") > 0, image(product, "B05") > 0
        assert np.array_equal(image(product, "SCL") > 0, twenty)
        assert abs(ten.mean() - twenty.mean()) < 0.002


def test_parcels_are_as_mixed_as_a_real_file(made: Path) -> None:
    info = pyogrio.read_info(made / "parcels.gpkg")
    assert info["crs"] == "EPSG:3794"
    assert list(info["fields"]) == ["parcel_id", "crop_code", "crop_name", "holder", "area_ha"]
    _, _, wkb, columns = pyogrio.raw.read(made / "parcels.gpkg")
    geometry = shapely.from_wkb(wkb)
    ids, _, crops, holders, hectares = columns
    assert 280 <= len(geometry) <= 330
    assert len(set(ids)) == len(ids)
    assert any("š" in name for name in crops)
    assert any("Ž" in name for name in holders)
    assert (~shapely.is_valid(geometry)).sum() == 1
    assert sum(shapely.get_type_id(geometry) == 6) >= 5
    assert (
        sum(any(shapely.get_num_interior_rings(part) for part in shapely.get_parts(g)) for g in geometry) >= 4
    )
    assert len(geometry) - len({g.wkb for g in geometry}) == 1
    widths = 2 * shapely.area(geometry) / shapely.length(geometry)
    assert sum(widths < 2) >= 2
    assert float(np.quantile(hectares, 0.99)) < 25
    assert float(np.quantile(hectares, 0.05)) < 1


def test_crops_can_be_told_apart_by_their_season(made: Path) -> None:
    _, _, wkb, columns = pyogrio.raw.read(made / "parcels.gpkg")
    back = Transformer.from_crs(3794, 32633, always_xy=True)
    series: dict[str, list[float]] = {}
    clear = [p for p in products(made) if (image(p, "SCL") <= 7).all() and "_R122_" in p.name]
    by_crop = {}
    for crop, binary in zip(columns[2], wkb, strict=True):
        shape = shapely.from_wkb(binary)
        if shape.is_valid and shape.area > 3e4:
            by_crop.setdefault(crop, shape)
    for product in clear:
        red, nir = (image(product, band).astype(float) - 1000 for band in ("B04", "B08"))
        for crop, shape in by_crop.items():
            utm = shapely.transform(shape, lambda xy: np.column_stack(back.transform(xy[:, 0], xy[:, 1])))
            inside = ~rasterio.features.geometry_mask(
                [utm], red.shape, Affine(10, 0, 587000, 0, -10, 5170020)
            )
            assert nir[inside].std() > 0
            index = (nir[inside].mean() - red[inside].mean()) / (nir[inside].mean() + red[inside].mean())
            series.setdefault(crop, []).append(float(index))
    maize, wheat = np.array(series["Koruza za zrnje"]), np.array(series["Ozimna pšenica"])
    assert maize.argmax() > wheat.argmax()
    assert maize.max() - maize.min() > 0.4
    assert wheat.max() - wheat.min() > 0.4


def test_the_command_reports_what_it_did(made: Path) -> None:
    result = CliRunner().invoke(cbmctl, ["--json", "demo", "make", str(made)])
    assert result.exit_code == 0, result.output
    assert '"changed": false' in result.stdout
    result = CliRunner().invoke(cbmctl, ["demo", "make", str(made)])
    assert "nothing to do" in result.stdout
