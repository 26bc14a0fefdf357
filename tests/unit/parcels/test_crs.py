"""The coordinate system of a file: its EPSG code, whatever the file calls it, and the order of its axes."""

from pathlib import Path

import pytest
import shapely
from pyproj import CRS

from cbmctl.errors import UserError
from cbmctl.parcels.files.crs import resolve
from cbmctl.parcels.files.read_delivery import read
from tests.unit.parcels.test_read_delivery import boxes, polygons, write


def test_a_gml_with_latitude_first(tmp_path: Path) -> None:
    box = shapely.box(-8.0, 53.0, -7.9, 53.1)
    path = write(
        tmp_path / "ie.gml", [box], driver="GML", crs="EPSG:4258", dataset_options={"FORMAT": "GML3.2"}
    )
    assert "53 -8" in path.read_text()
    assert polygons(read(path))[0].equals(box)


def test_no_coordinate_system(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.shp", boxes(), driver="ESRI Shapefile")
    path.with_suffix(".prj").unlink()
    with pytest.raises(UserError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: no coordinate system found."
        " Set the EPSG code of the coordinates with --crs, such as --crs EPSG:25832."
    )
    assert read(path, crs="EPSG:25832").srid == 25832
    with pytest.raises(UserError, match="--crs utm32 is invalid"):
        read(path, crs="utm32")
    with pytest.raises(UserError, match=r"outside the area of EPSG:2056.*or set the EPSG code"):
        read(path, crs="EPSG:2056")


def test_swapped_axes(tmp_path: Path) -> None:
    path = write(tmp_path / "swapped.gpkg", [shapely.box(53.0, -8.0, 53.1, -7.9)], crs="EPSG:4258")
    with pytest.raises(UserError, match=r"around x=53.* y=-.*Its axes are swapped: add --axes swapped"):
        read(path)


@pytest.mark.parametrize(
    ("definition", "srid"),
    [
        ("EPSG:25832", 25832),
        ("25832", 25832),
        ("OGC:CRS84", 4326),
        ("EPSG:25832+5783", 25832),
        ("EPSG:4937", 4258),
        (CRS.from_epsg(31287).to_wkt("WKT1_ESRI"), 31287),
        (CRS.from_epsg(3035).to_wkt("WKT1_GDAL"), 3035),
        (CRS.from_epsg(2180).to_wkt("WKT1_GDAL"), 2180),
        (CRS.from_epsg(28992).to_wkt("WKT1_GDAL"), 28992),
        ("+proj=utm +zone=32 +datum=WGS84 +units=m", 32632),
    ],
)
def test_coordinate_systems(definition: str, srid: int) -> None:
    assert resolve(definition, Path("parcels.shp"))[0] == srid


def test_a_coordinate_system_of_no_one_else() -> None:
    renamed = CRS.from_epsg(31287).to_wkt("WKT1_ESRI").replace("400000.0", "500000.0")
    with pytest.raises(UserError, match="has no EPSG code"):
        resolve(renamed, Path("parcels.shp"))
    with pytest.raises(UserError, match=r"has no EPSG code\. Set the EPSG code of the coordinates"):
        resolve("+proj=laea +lat_0=47 +lon_0=9 +x_0=123 +ellps=bessel", Path("parcels.shp"))


@pytest.mark.parametrize("crs", ["EPSG:4978", "EPSG:5773", "EPSG:5801"])
def test_a_system_that_is_not_of_the_surface_is_refused(tmp_path: Path, crs: str) -> None:
    path = write(tmp_path / "m.gpkg", boxes())
    with pytest.raises(UserError, match=rf"--crs {crs} \(.*\) is neither projected nor geographic\. Set the"):
        read(path, crs=crs)
