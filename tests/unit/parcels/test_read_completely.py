"""What is read from a parcels file is what the file holds; a file that is not complete is refused."""

import sqlite3
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
import pytest
import shapely

from cbmctl.errors import UserError
from cbmctl.parcels.files.count_features import count
from cbmctl.parcels.files.delivery import opened
from cbmctl.parcels.files.read_delivery import read
from tests.support.parcel_files import DRIVERS, parts, squares, write, zipped

CUT = {  # how a file of each format that ends early is refused
    "shp": r"its \.shp is truncated \(it has \d+ of \d+ bytes\)",
    "gpkg": r"is not complete: it has \d+ of \d+ bytes",
    "gml": r"is truncated or is not XML at line \d+",
    "geojson": "cannot be read .*GeoJSON",
    "geojsonl": "is not complete: a bracket is not closed",
    "fgb": r"is not complete: it holds \d+ of 300 features",
}


@pytest.mark.parametrize("suffix", DRIVERS)
def test_features_read_equal_features_counted(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"parcels.{suffix}", 300)
    table = read(path)
    assert (len(table), table.layers[0].features) == (300, 300)
    assert sorted(table.attributes["number"].to_pylist()) == list(range(300))
    assert len(read(path, where="number >= 290")) == 10
    with opened(path) as datasets:
        second = count(datasets[0], "parcels")
    assert second == 300


@pytest.mark.parametrize("share", [0.99, 0.5])
@pytest.mark.parametrize("suffix", CUT)
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path / f"parcels.{suffix}", 300)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for where in (None, "number < 3"):
        with pytest.raises(UserError, match=CUT[suffix]):
            read(path, where=where)


@pytest.mark.parametrize(
    ("name", "driver"),
    [("a.gmt", "OGR_GMT"), ("a.jml", "JML"), ("a.kml", "KML"), ("a", ""), ("a.7z", "")],
)
def test_a_format_that_cannot_be_counted_a_second_time_is_refused(
    tmp_path: Path, name: str, driver: str
) -> None:
    path = tmp_path / name
    if driver:
        wkb = pa.array(shapely.to_wkb([shapely.box(9, 55, 9.1, 55.1)]), pa.binary())
        options = {"driver": driver, "geometry_name": "geom", "geometry_type": "Polygon", "crs": "EPSG:4326"}
        pyogrio.write_arrow(pa.table({"Name": ["a"], "geom": wkb}), path, **options)
    else:
        path.write_bytes(b"7z")
    with pytest.raises(
        UserError, match=r"is not supported\. (Use .*convert the file to GeoPackage|Unpack it)"
    ):
        read(path)
    if driver:
        other = path.rename(tmp_path / "other.json")
        with pytest.raises(UserError, match=rf"other.json is not GeoJSON, but of the format \w*{driver}"):
            read(other)


@pytest.mark.parametrize("zip_it", [False, True])
@pytest.mark.parametrize("where", [None, "number < 3"])
@pytest.mark.parametrize(
    ("suffix", "reason"),
    [
        (".dbf", r"\.dbf is truncated \(it holds 60 of 100 records\)"),
        (".shx", r"\.shx is truncated \(it has \d+ of 900 bytes\)"),
    ],
)
def test_a_part_of_a_shapefile_that_breaks_off_is_named(
    tmp_path: Path, suffix: str, reason: str, where: str | None, zip_it: bool
) -> None:
    path = write(tmp_path / "parcels.shp", 100)
    part = path.with_suffix(suffix)
    part.write_bytes(part.read_bytes()[: int(part.stat().st_size * 0.605)])
    if zip_it:
        path = zipped(tmp_path / "parcels.zip", {p.name: p for p in parts(path).values()})
    with pytest.raises(UserError, match=rf"parcels\.(shp|zip) is not complete: its {reason}"):
        read(path, where=where)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("parcels.dat", r"its \.dat is truncated \(it holds \d+ of 300 records\)"),
        ("parcels.id", r"its \.id is truncated \(it holds 270 of 300 objects\)"),
        ("parcels.map", r"holds 300 features, but only \d+ can be read"),
        ("parcels.mif", r"has 270 objects, but its \.mid 300 lines"),
        ("parcels.mid", r"has 300 objects, but its \.mid \d+ lines"),
    ],
)
def test_a_part_of_mapinfo_that_breaks_off_or_is_missing_is_named(
    tmp_path: Path, name: str, reason: str
) -> None:
    path = write(tmp_path / ("parcels.mif" if ".mi" in name else "parcels.tab"), 300)
    part = tmp_path / name
    data = part.read_bytes()
    part.write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(UserError, match=reason):
        read(path)
    if part != path:
        part.unlink()
        with pytest.raises(UserError, match=rf"lacks its \{part.suffix}|cannot be read .*parcels.dat"):
            read(path)


def test_what_lies_behind_the_end_of_an_index_does_not_count(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.shp", 4)
    with path.with_suffix(".shx").open("ab") as index:
        index.write(b"more than the header says")
    assert len(read(path)) == 4


def test_shapes_beyond_the_end_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.shp", 100)
    cut = path.read_bytes()[:-136]
    path.write_bytes(cut[:24] + struct.pack(">i", len(cut) // 2) + cut[28:])  # a header that agrees
    with pytest.raises(UserError, match=r"its \.shp is truncated \(1 shape of 100 lie beyond its end\)"):
        read(path)


def test_the_dbf_of_another_delivery_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.shp", 4)
    write(tmp_path / "before.shp", 3).with_suffix(".dbf").rename(path.with_suffix(".dbf"))
    with pytest.raises(
        UserError, match=r"has 4 shapes, but its \.dbf 3 records: the parts are of different files"
    ):
        read(path)
    path.with_suffix(".shx").write_bytes(b"not an index")
    with pytest.raises(UserError, match=r"its \.shx is not a \.shx file"):
        read(path)


def test_deleted_records_of_a_dbf_are_left_out_and_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.shp", 4)
    dbf = path.with_suffix(".dbf")
    data = bytearray(dbf.read_bytes())
    start, length = struct.unpack("<HH", data[8:12])
    data[start + length] = ord("*")
    dbf.write_bytes(data)
    table = read(path)
    assert table.attributes["number"].to_pylist() == [0, 2, 3]
    assert table.layers[0].features == 3
    assert table.notes == (f"{path}: 1 record marked as deleted, not loaded",)


def test_a_geopackage_is_counted_by_its_rows_not_by_a_number_that_another_program_left(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "parcels.gpkg", 3)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE gpkg_ogr_contents SET feature_count = 2")
    assert (len(read(path)), read(path).layers[0].features) == (3, 3)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 22])
@pytest.mark.parametrize(
    ("text", "features"),
    [
        ('{"type":"FeatureCollection","features":[]}', 0),
        ('{"a":"features","b":[[{}]],"features":[{"p":{"features":[{},{}]}},{"q":"]}{\\"{"}],"z":[{}]}', 2),
        ('{"type":"Feature","properties":{"features":[{}]}}', None),
        # a value "features" is no key, and a list behind another value of the key is not its list
        ('{"name":"features","links":[{},{}],"features" :\n [{}]}', 1),
        ('{"features":null,"links":[{},{}]}', None),
        ('{"type":"Feature"}\n{"type":"Feature","features":[{}]}\n\x1e{"type":"Feature"}', 3),
        ('{"features": [{}, {}, {}]', "open"),
        ('{"features": [{}, {"a": "', "open"),
    ],
)
def test_features_of_geojson_are_the_members_of_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, features: int | str | None, chunk: int
) -> None:
    monkeypatch.setattr("cbmctl.parcels.files.count_features.CHUNK", chunk)
    path = tmp_path / "parcels.geojson"
    path.write_text(text)
    with opened(path) as datasets:
        if features != "open":
            assert count(datasets[0], "parcels") == features
            return
        with pytest.raises(UserError, match="is not complete: a bracket is not closed"):
            count(datasets[0], "parcels")


def test_an_error_of_our_own_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "parcels.shp")
    for step in (
        "read_delivery.straightened",
        "read_delivery.corrected",
        "read_delivery.expected_features",
        "layers.count",
    ):
        for error in (ValueError("a fault of ours"), FileNotFoundError(2, "a fault of ours")):
            with monkeypatch.context() as patched:
                patched.setattr(f"cbmctl.parcels.files.{step}", _failing(error))
                with pytest.raises(type(error), match="a fault of ours"):
                    read(path)
        with monkeypatch.context() as patched:
            patched.setattr(f"cbmctl.parcels.files.{step}", _failing(OSError(5, "Input/output error")))
            with pytest.raises(
                UserError, match=r"shp cannot be read \(Input/output error\)\. Check the disk"
            ):
                read(path)


def _failing(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_a_layer_whose_first_thousand_parcels_have_no_geometry_has_polygons(tmp_path: Path) -> None:
    path = tmp_path / "late.gpkg"
    wkb = pa.array([None] * 70_000 + list(shapely.to_wkb(squares(3))), pa.binary())
    table = pa.table({"id": range(len(wkb)), "geom": wkb})
    options = {"driver": "GPKG", "geometry_name": "geom", "geometry_type": "Unknown", "crs": "EPSG:25832"}
    pyogrio.write_arrow(table, path, layer="declared", **options)
    assert len(read(path)) == 70_003


def test_a_table_of_a_geodatabase_that_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "gsaa.gdb", 300)
    table = path / "a00000009.gdbtable"
    table.write_bytes(struct.pack("<i", 4) + table.read_bytes()[4:])
    with (
        opened(path) as datasets,
        pytest.raises(UserError, match=r"rows of gsaa cannot be counted\. Its table"),
    ):
        count(datasets[0], "gsaa")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"a0000000a.gdbtable": None}, "it lacks a0000000a.gdbtable"),
        (
            {"a0000000a.gdbtable": None, "a0000000a.gdbtablx": None},
            "it lacks a0000000a.gdbtable, which holds two",
        ),
        ({"a0000000a.gdbtable": 0.9}, r"its a0000000a.gdbtable has \d+ of \d+ bytes"),
        ({"a0000000a.gdbtablx": 0.5}, r"its a0000000a.gdbtablx has \d+ of \d+ bytes"),
    ],
)
def test_a_geodatabase_with_a_table_that_is_not_whole_is_refused(
    tmp_path: Path, damage: dict[str, float | None], reason: str
) -> None:
    path = write(tmp_path / "gsaa.gdb", 300, layer="one")
    write(path, 200, layer="two")
    assert [len(read(path, layer=layer)) for layer in ("one", "two")] == [300, 200]
    for name, share in damage.items():
        file = path / name
        if share is None:
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    for layer in ("one", "two"):
        with pytest.raises(UserError, match=rf"gsaa.gdb is not complete: {reason}"):
            read(path, layer=layer)
