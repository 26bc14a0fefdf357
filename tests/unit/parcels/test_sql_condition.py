"""--where selects by the values that are loaded, also where GDAL reads others."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check
from tests.support.parcel_files import add_view
from tests.unit.parcels.test_raw import geopackage, shapefile
from tests.unit.parcels.test_raw_formats import gml
from tests.unit.parcels.test_read_delivery import shapefile_with_words

LAYOUT = {"n9": ("N", 9, 0), "d": ("D", 8, 0), "l": ("L", 1, 0), "crop": ("C", 5, 0)}
RECORDS = [
    ["12", "20210501", "T", "a"],
    ["12a", "20210231", "", "b"],
    ["", "", "F", "c"],
    ["1.5", "20210601", "?", "d"],
]


@pytest.mark.parametrize(
    ("where", "crops"),
    [
        ("N9 > 0", "ad"),
        ("n9 = 12", "a"),
        ("n9 > 1.2 AND n9 < 2", "d"),
        ("n9 IS NULL", "bc"),
        ("\"n9\" > 0 OR crop = 'b'", "abd"),
        ("d >= '2021/01/01'", "ad"),
        ("d >= '2021-05-02'", "d"),
        ("d IS NULL", "bc"),
        ("d = '2021/05/01' OR n9 = 1.5", "ad"),
        ("l = 0", "c"),
        ("crop <> 'a'", "bcd"),
        ("crop ILIKE 'A'", "a"),
    ],
)
def test_where_selects_records_by_the_values_that_are_loaded(tmp_path: Path, where: str, crops: str) -> None:
    path = shapefile(tmp_path / "parcels.shp", LAYOUT, RECORDS)
    assert "".join(read(path, where=where).attributes["crop"].to_pylist()) == crops


def test_findings_are_those_of_the_features_selected(tmp_path: Path) -> None:
    path = shapefile(tmp_path / "parcels.shp", LAYOUT, RECORDS)
    table = read(path, where="n9 IS NULL", attributes=["n9", "d"])
    assert table.attributes.to_pydict() == {"n9": [None, None], "d": [None, None]}
    assert [(f.feature, f.raw) for f in check(table).of("invalid_value")] == [(1, "20210231"), (1, "12a")]


@pytest.mark.parametrize(
    ("kind", "given", "where", "expected"),
    [
        ("REAL", [1.5, "1,75", "n/a", None], "a > 0", [1.5]),
        ("MEDIUMINT", [7, "12a", 2**40], "a > 0", [7, 2**40]),
        ("SMALLINT", [99999, 5, "x"], "a > 6", [99999]),
        ("DATE", ["2021-05-01", "2021-02-31", "20210601"], "a >= '2021-01-01'", [(5, 1), (6, 1)]),
    ],
)
def test_where_selects_rows_of_a_geopackage_by_the_values_that_are_loaded(
    tmp_path: Path, kind: str, given: list[Any], where: str, expected: list[Any]
) -> None:
    path = geopackage(tmp_path / "a.gpkg", {"a": kind}, [[value] for value in given])
    days = [date(2021, *value) if isinstance(value, tuple) else value for value in expected]
    assert read(path, where=where).attributes["a"].to_pylist() == days


def test_where_may_name_the_feature_number_and_columns_that_gdal_leaves_out(tmp_path: Path) -> None:
    rows = [["12a", 1, "a"], [7, 2, "b"], [8, 3, "c"]]
    path = geopackage(tmp_path / "a.gpkg", {"a": "MEDIUMINT", "big": "BIGINT", "crop": "TEXT"}, rows)
    assert read(path, where="a IS NULL AND fid = 1 AND big < 9").attributes["crop"].to_pylist() == ["a"]
    assert read(path, where="a > 0 AND fid < 3 AND big < 9").attributes["crop"].to_pylist() == ["b"]
    dbf = shapefile(tmp_path / "parcels.shp", LAYOUT, RECORDS)
    none = read(path, where="a = 99").attributes
    assert (len(none), none.column_names) == (0, ["number", "a", "big", "crop"])
    assert read(dbf, where="n9 IS NULL AND FID = 1").attributes["crop"].to_pylist() == ["b"]


def test_where_on_a_view_without_feature_numbers(tmp_path: Path) -> None:
    rows = [["12a", "a"], [7, "b\0"], [None, "c"], [2**40, "d"], [-1, "e"]]
    path = geopackage(tmp_path / "a.gpkg", {"a": "MEDIUMINT", "crop": "TEXT"}, rows)
    add_view(path, "geom, a, crop")
    assert read(path, layer="v", where="a > 0").attributes.to_pylist() == [
        {"a": 7, "crop": "b\0"},
        {"a": 2**40, "crop": "d"},
    ]
    assert read(path, layer="v", where="a IS NULL").attributes["crop"].to_pylist() == ["a", "c"]
    assert read(path, layer="v", where="crop = 'e'").attributes["a"].to_pylist() == [-1]


def test_where_on_dates_of_gml(tmp_path: Path) -> None:
    path = gml(tmp_path / "parcels.gml", [{"a": "2021-02-31"}, {"a": "2021-05-01"}])
    assert read(path, where="a < '2021/04/01'").attributes["a"].to_pylist() == []
    assert read(path, where="a < '2021/06/01'").attributes["a"].to_pylist() == [date(2021, 5, 1)]


def test_where_cannot_name_an_element_that_repeats(tmp_path: Path) -> None:
    path = gml(tmp_path / "parcels.gml", [{"a": ["2021-05-01", "2021-06-01"]}, {"a": "2021-05-01"}])
    with pytest.raises(UserError, match="--where a = '2021/06/01': this condition is invalid"):
        read(path, where="a = '2021/06/01'")


def test_where_compares_the_letters_that_are_loaded(tmp_path: Path) -> None:
    path = shapefile_with_words(tmp_path / "parcels.shp", ["Größe", "x", "Straße"], "mac_roman", cpg=True)
    assert read(path, where="crop = 'Größe'").attributes["crop"].to_pylist() == ["Größe"]
    assert read(path, where="crop <> 'Größe'").attributes["crop"].to_pylist() == ["x", "Straße"]
    dbf = path.with_suffix(".dbf")
    dbf.write_bytes(dbf.read_bytes().replace(b"crop\0\0", "Größe".encode("mac_roman") + b"\0", 1))
    assert read(path, where="FID < 2").attributes["Größe"].to_pylist() == ["Größe", "x"]
