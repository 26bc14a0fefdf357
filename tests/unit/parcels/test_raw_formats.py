"""Identifiers and dates of GML, GeoJSON, FlatGeobuf and MapInfo: as written, or NULL and a finding."""

import json
import mmap
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely

from cbmctl.errors import UserError
from cbmctl.parcels.files import formats
from cbmctl.parcels.files.flatgeobuf import header_of
from cbmctl.parcels.files.raw.corrections import Corrections
from cbmctl.parcels.files.raw.fgb import COLUMNS, TYPE
from cbmctl.parcels.files.raw.gml import correct
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check
from tests.support.parcel_loading import fields
from tests.unit.parcels.test_read_delivery import write

BIG, HUGE = 2**53 + 1, 12345678901234567890
RING = "500000 6000000 500100 6000000 500100 6000100 500000 6000000"


def gml(path: Path, records: Sequence[dict[str, str | list[str]]]) -> Path:
    """Features with these elements; a list repeats one."""
    members = "".join(
        f'<gml:featureMember><o:parcel gml:id="p{i}"><o:geom>'
        f'<gml:Polygon srsName="urn:ogc:def:crs:EPSG::25832"><gml:exterior><gml:LinearRing>'
        f"<gml:posList>{RING}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon></o:geom>"
        f"{''.join(f'<o:{name}>{t}</o:{name}>' for name, ts in record.items() for t in np.atleast_1d(ts))}"
        "</o:parcel></gml:featureMember>"
        for i, record in enumerate(records)
    )
    path.write_text(
        '<o:FeatureCollection xmlns:gml="http://www.opengis.net/gml/3.2" xmlns:o="http://ogr.maptools.org/">'
        f"{members}</o:FeatureCollection>"
    )
    return path


def geojson(path: Path, records: Sequence[str], ids: Sequence[Any] = ()) -> Path:
    """Features with these properties, written as they are."""
    shape = json.dumps(shapely.geometry.mapping(shapely.box(10, 54, 10.1, 54.1)))
    features = [
        f'{{"type": "Feature", {f"{chr(34)}id{chr(34)}: {ids[i]}, " if ids else ""}"properties": {record},'
        f' "geometry": {shape}}}'
        for i, record in enumerate(records)
    ]
    path.write_text(f'{{"type": "FeatureCollection", "features": [{", ".join(features)}]}}')
    return path


def values(path: Path, name: str, **options: Any) -> tuple[str, list[Any], list[str]]:
    table = read(path, **options)
    found = [f.reason for f in check(table).of("invalid_value") if f.column == name]
    return str(table.attributes[name].type), table.attributes[name].to_pylist(), found


UTC8, UTC10 = datetime(2021, 5, 1, 8, tzinfo=UTC), datetime(2021, 5, 1, 10, tzinfo=UTC)
ZONES = ["2021-05-01T10:00:00+02:00", "2021-05-01T10:00:00Z"]
MIXED = ["2021-05-01T10:00:00Z", "2021-05-01T10:00:00"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["9007199254740993", "1.5"], ("decimal128(38, 1)", [Decimal(BIG), Decimal("1.5")], [])),
        ([str(HUGE), "5"], ("decimal128(38, 0)", [Decimal(HUGE), Decimal(5)], [])),
        ([str(BIG), "5"], ("int64", [BIG, 5], [])),
        (["0071", "12"], ("string", ["0071", "12"], [])),
        (["1e5", "77"], ("string", ["1e5", "77"], [])),
        (["1.5e-3", "77"], ("double", [0.0015, 77.0], [])),
        (
            ["2021-02-31", "2021-05-01"],
            ("date32[day]", [None, date(2021, 5, 1)], ["a: '2021-02-31' is not a valid date"]),
        ),
        (ZONES, ("timestamp[us, tz=UTC]", [UTC8, UTC10], [])),
        (MIXED, ("string", MIXED, [])),
        (["true", "0"], ("bool", [True, False], [])),
        (["", "7"], ("int32", [None, 7], [])),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_gml_is_read_as_written(
    tmp_path: Path, texts: list[str], expected: tuple[str, list[Any], list[str]]
) -> None:
    path = gml(tmp_path / "parcels.gml", [{"a": text} for text in texts])
    assert values(path, "a") == expected
    assert pyogrio.get_gdal_config_option("GML_FIELDTYPES") is None


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([["1", "2"], "5"], [[1, 2], [5]]),
        ([["1.50", "-2"], "5e-1"], [[1.5, -2.0], [0.5]]),
        ([["true", "0"], "1"], [[True, False], [True]]),
        ([["900719925474099301", str(HUGE)], "5"], [["900719925474099301", str(HUGE)], ["5"]]),
        ([[str(BIG), "1.5"], "5"], [[str(BIG), "1.5"], ["5"]]),
        ([["2021-05-01", "2021-06-01"], "2021-02-31"], [["2021-05-01", "2021-06-01"], ["2021-02-31"]]),
        ([ZONES, ZONES[0]], [ZONES, ZONES[:1]]),
        ([["10:00:00", "11:00:00"], "12:00:00"], [["10:00:00", "11:00:00"], ["12:00:00"]]),
        ([["2021-05-01", "x"], "y"], [["2021-05-01", "x"], ["y"]]),
        ([["1e5", "77"], "007"], [["1e5", "77"], ["007"]]),
        ([["a", "b"], "c"], [["a", "b"], ["c"]]),
    ],
    ids=lambda value: str(value[0]),
)
def test_repeated_elements_of_gml_keep_every_value(
    tmp_path: Path, texts: list[str | list[str]], expected: list[list[Any]]
) -> None:
    path = gml(tmp_path / "parcels.gml", [{"a": text} for text in texts])
    assert values(path, "a")[1:] == (expected, [])


def test_elements_that_repeat_although_the_schema_says_once_keep_every_value(tmp_path: Path) -> None:
    path = write(
        tmp_path / "parcels.gml", fields(2), driver="GML", attributes={"block": pa.array(["00123", "7"])}
    )
    assert path.with_suffix(".xsd").exists()
    text = path.read_text()
    path.write_text(text.replace("</ogr:block>", "</ogr:block><ogr:block>0456</ogr:block>", 1))
    assert values(path, "block")[1] == [["00123", "0456"], ["7"]]


def test_long_numbers_in_lists_under_another_name_are_refused(tmp_path: Path) -> None:
    path = gml(tmp_path / "parcels.gml", [{"a": "1"}, {"a": "1"}])
    fix = Corrections(pa.table({"renamed": [[1.0], [2.0, float(BIG)]]}))
    with pytest.raises(UserError, match=f"column renamed has .*, such as {BIG - 1} of feature 2. Export"):
        correct(fix, path, "parcel", fids=np.array([0, 1]), options=formats.GML.options)


def test_gml_with_a_condition_on_numbers(tmp_path: Path) -> None:
    path = gml(tmp_path / "parcels.gml", [{"a": "9"}, {"a": "10"}, {"a": str(HUGE)}])
    assert values(path, "a", where="a > 9.5")[1] == [Decimal(10), Decimal(HUGE)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([str(HUGE), "5"], ("decimal128(38, 0)", [Decimal(HUGE), Decimal(5)], [])),
        ([str(BIG), "1.5"], ("decimal128(38, 1)", [Decimal(BIG), Decimal("1.5")], [])),
        ([str(BIG), "5"], ("int64", [BIG, 5], [])),
        ([str(HUGE), str(HUGE + 1)], ("decimal128(38, 0)", [Decimal(HUGE), Decimal(HUGE + 1)], [])),
        ([f'{{"b": {HUGE}}}', '{"b": 0.5}'], ("string", [f'{{"b": {HUGE}}}', '{"b": 0.5}'], [])),
        ([f"[{BIG}, 1.5]", "[1, 2]"], ("string", [f"[{BIG}, 1.5]", "[1, 2]"], [])),
        (
            ['"2021-02-31"', '"2021-05-01"'],
            ("date32[day]", [None, date(2021, 5, 1)], ["a: '2021-02-31' is not a valid date"]),
        ),
        ([json.dumps(text) for text in ZONES], ("timestamp[us, tz=UTC]", [UTC8, UTC10], [])),
        ([json.dumps(text) for text in MIXED], ("string", MIXED, [])),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_geojson_is_read_as_written(
    tmp_path: Path, texts: list[str], expected: tuple[str, list[Any], list[str]]
) -> None:
    path = geojson(tmp_path / "parcels.geojson", [f'{{"a": {text}}}' for text in texts])
    assert values(path, "a") == expected


def test_where_compares_every_digit_of_geojson(tmp_path: Path) -> None:
    records = [f'{{"a": {HUGE}, "crop": "a"}}', f'{{"a": {HUGE + 1}, "crop": "b"}}']
    path = geojson(tmp_path / "parcels.geojson", records)
    assert read(path, where=f"a = {HUGE + 1}", attributes=["crop"]).attributes.to_pydict() == {"crop": ["b"]}


def test_features_in_lines_and_other_json(tmp_path: Path) -> None:
    shape = shapely.geometry.mapping(shapely.box(10, 54, 10.1, 54.1))
    lines = [
        json.dumps({"type": "Feature", "id": 7 + i, "properties": {"a": HUGE, "d": text}, "geometry": shape})
        for i, text in enumerate(["2021-02-31", "2021-05-01"])
    ]
    (tmp_path / "lines.geojson").write_text("\n".join(lines))
    assert read(tmp_path / "lines.geojson").attributes.to_pydict() == {
        "id": [7, 8],
        "a": [Decimal(HUGE)] * 2,
        "d": [None, date(2021, 5, 1)],
    }
    (tmp_path / "one.geojson").write_text(lines[0])
    assert read(tmp_path / "one.geojson").attributes.to_pylist() == [{"id": 7, "a": Decimal(HUGE), "d": None}]
    ring = [[500000, 6000000], [500000, 6000100], [500100, 6000100], [500000, 6000000]]
    esri = {
        "geometryType": "esriGeometryPolygon",
        "spatialReference": {"wkid": 25832},
        "fields": [{"name": "id", "type": "esriFieldTypeDouble"}, {"name": "d", "type": "esriFieldTypeDate"}],
        "features": [{"attributes": {"id": BIG, "d": 1619863200000}, "geometry": {"rings": [ring]}}],
    }
    (tmp_path / "esri.json").write_text(json.dumps(esri))
    with pytest.raises(
        UserError, match=f"^esri.json: column id has numbers .*, such as {BIG - 1} of feature 1"
    ):
        read(tmp_path / "esri.json")
    assert values(tmp_path / "esri.json", "d", attributes=["d"])[1] == [datetime(2021, 5, 1, 10)]


def test_the_identifier_of_a_geojson_feature_is_an_attribute(tmp_path: Path) -> None:
    records = ['{"crop": "a"}', '{"crop": "b"}']
    path = geojson(tmp_path / "a.geojson", records, [BIG, 17])
    assert read(path).attributes.to_pydict() == {"id": [BIG, 17], "crop": ["a", "b"]}
    assert read(path, where="crop = 'b'").attributes.to_pydict() == {"id": [17], "crop": ["b"]}
    assert read(path, attributes=["crop"]).attributes.column_names == ["crop"]
    huge = geojson(tmp_path / "b.geojson", records, [HUGE, HUGE + 1])
    assert read(huge).attributes["id"].to_pylist() == [Decimal(HUGE), Decimal(HUGE + 1)]
    texts = geojson(tmp_path / "c.geojson", records, ['"0017"', '"x"'])
    assert read(texts).attributes["id"].to_pylist() == ["0017", "x"]
    none = geojson(tmp_path / "d.geojson", records)
    assert read(none).attributes.column_names == ["crop"]


def flatgeobuf(path: Path, n: int = 40) -> Path:
    """Whole numbers without sign, which GDAL cannot write, and a 2 May that becomes a 31 February."""
    columns = {
        "name": pa.array([f"n{i}" for i in range(n)]),
        "id": pa.array([BIG + i for i in range(n)], pa.int64()),
        "seen": pa.array([datetime(2021, 5, 1 + i % 28, 10) for i in range(n)], pa.timestamp("ms")),
    }
    write(path, fields(n), driver="FlatGeobuf", attributes=columns)
    data = bytearray(path.read_bytes())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        data[header_of(content).tables(COLUMNS)[1].field(TYPE)] = 8  # ULong
    at = data.find(b"2021-05-02")
    data[at : at + 10] = b"2021-02-31"
    path.write_bytes(data)
    return path


def test_flatgeobuf_is_read_as_written(tmp_path: Path) -> None:
    path = flatgeobuf(tmp_path / "parcels.fgb")
    assert str(pyogrio.read_arrow(path)[1]["id"].type) == "double", "GDAL rounds"
    table = read(path).attributes.to_pylist()
    assert {row["name"]: row["id"] for row in table} == {f"n{i}": BIG + i for i in range(40)}
    assert {row["name"]: row["seen"] for row in table if row["name"] in ("n0", "n1", "n2")}.keys() == {
        "n0",
        "n1",
        "n2",
    }
    assert sum(row["seen"] is None for row in table) == 1
    assert values(path, "seen")[2] == ["seen: '2021-02-31T10:00:00' is not a valid date and time"]
    assert values(path, "id", where="name = 'n7'") == ("uint64", [BIG + 7], [])


@pytest.mark.parametrize(
    ("suffix", "driver"),
    [("shp", "ESRI Shapefile"), ("geojson", "GeoJSON"), ("gml", "GML"), ("fgb", "FlatGeobuf")],
)
def test_where_on_an_attribute_called_fid(tmp_path: Path, suffix: str, driver: str) -> None:
    columns = {"fid": pa.array([7, 7, 9]), "crop": pa.array(["a", "b", "c"])}
    path = write(tmp_path / f"parcels.{suffix}", fields(3), driver=driver, attributes=columns)
    assert sorted(read(path, where="fid = 7").attributes["crop"].to_pylist()) == ["a", "b"]
    assert sorted(read(path).attributes["fid"].to_pylist()) == [7, 7, 9]


def test_mapinfo_has_no_invalid_date(tmp_path: Path) -> None:
    columns = {"sown": pa.array([date(2021, 5, 1), date(2021, 5, 2)])}
    path = write(tmp_path / "parcels.mif", fields(2), driver="MapInfo File", attributes=columns)
    content = path.with_suffix(".mid")
    content.write_text(content.read_text().replace("20210502", "20210231"))
    assert values(path, "sown") == (
        "date32[day]",
        [date(2021, 5, 1), None],
        ["sown: '2021/02/31' is not a valid date"],
    )


def test_what_has_another_name_in_the_text_of_gml_is_refused(tmp_path: Path) -> None:
    path = gml(tmp_path / "parcels.gml", [{"a": str(BIG)}, {"a": "1"}])
    fix = Corrections(pa.table({"renamed": [float(BIG), 1.0]}))
    with pytest.raises(UserError) as error:
        correct(fix, path, "parcel", fids=np.array([0, 1]), options=formats.GML.options)
    assert str(error.value) == (
        f"parcels.gml: column renamed has numbers with more digits than can be read, such as {BIG - 1}"
        " of feature 1. Export the file again with this column as text,"
        " or name the columns to keep with --attribute."
    )
