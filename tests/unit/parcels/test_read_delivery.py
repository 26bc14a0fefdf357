"""Parcel files of every kind and country, whole and broken."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pyproj import CRS

from cbmctl.cli import commands, main  # noqa: F401
from cbmctl.errors import UserError
from cbmctl.parcels.files.delivery import opened
from cbmctl.parcels.files.findings import Findings
from cbmctl.parcels.files.layers import layers
from cbmctl.parcels.files.parcel_table import ParcelTable
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import cleaned


def boxes(n: int = 2) -> list[Any]:
    return [shapely.box(500000 + 200 * i, 6000000, 500150 + 200 * i, 6000150) for i in range(n)]


def write(path: Path, geometries: list[Any], *, driver: str = "GPKG", **options: Any) -> Path:
    options = {"layer": "parcels", "geometry_type": "Polygon", "crs": "EPSG:25832"} | options
    attributes = options.pop("attributes", {"number": pa.array(range(len(geometries)), pa.int32())})
    flavor = options.pop("flavor", "iso")
    table = pa.table({**attributes, "geom": pa.array(shapely.to_wkb(geometries, flavor=flavor), pa.binary())})
    pyogrio.write_arrow(table, path, driver=driver, geometry_name="geom", **options)
    return path


def geoparquet(path: Path, **column: Any) -> Path:
    described = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": CRS.from_epsg(25832).to_json_dict(),
    } | column
    described = {key: value for key, value in described.items() if value != "absent"}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": described}}
    geometries = boxes() if column.get("crs") != "absent" else [shapely.box(10, 54, 10.1, 54.1)]
    table = pa.table(
        {"number": range(len(geometries)), "geometry": pa.array(shapely.to_wkb(geometries), pa.binary())}
    )
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def zipped(path: Path, *members: Path, folder: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.write(member, folder + member.name)
    return path


def polygons(table: ParcelTable) -> Any:
    return shapely.from_wkb(table.geometry.to_pylist())


def parts(shapefile: Path) -> list[Path]:
    return sorted(shapefile.parent.glob(f"{shapefile.stem}.*"))


@pytest.mark.parametrize(
    ("suffix", "driver"),
    [("shp", "ESRI Shapefile"), ("gpkg", "GPKG"), ("gml", "GML"), ("geojson", "GeoJSON")],
)
def test_every_format_plain_and_zipped(tmp_path: Path, suffix: str, driver: str) -> None:
    path = write(tmp_path / f"parcels.{suffix}", boxes(), driver=driver)
    archive = zipped(tmp_path / "a (1).zip", *parts(path), folder="folder one/")
    for table in (read(path), read(archive)):
        assert (len(table), table.srid) == (2, 25832)
        assert table.attributes.column("number").to_pylist() == [0, 1]
        assert shapely.equals(polygons(table), boxes()).all()
    assert not path.with_suffix(".gfs").exists(), "reading must not write beside the file"


def test_geoparquet_plain_and_zipped(tmp_path: Path) -> None:
    path = geoparquet(tmp_path / "parcels.parquet")
    for table in (read(path), read(zipped(tmp_path / "a.zip", path))):
        assert (len(table), table.srid, table.layers[0].name) == (2, 25832, "parcels")
        assert table.attributes.to_pydict() == {"number": [0, 1]}
    assert read(geoparquet(tmp_path / "lonlat.parquet", crs="absent")).srid == 4326
    with pytest.raises(UserError, match=r"no coordinate system found\. Set"):
        read(geoparquet(tmp_path / "null.parquet", crs=None))
    assert read(tmp_path / "null.parquet", crs="25832").srid == 25832
    with pytest.raises(UserError, match="stores its geometries as 'multipolygon'"):
        read(geoparquet(tmp_path / "native.parquet", encoding="multipolygon"))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(UserError, match="Parquet without valid 'geo' metadata"):
        read(tmp_path / "plain.parquet")


@pytest.mark.parametrize("suffix", ["gpkg", "parquet"])
def test_where_and_attributes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"parcels.{suffix}"
    path = geoparquet(path) if suffix == "parquet" else write(path, boxes())
    table = read(path, where="number = 1")
    assert table.attributes.to_pydict() == {"number": [1]}
    assert polygons(table)[0].equals(boxes()[1])
    assert read(path, attributes=[]).attributes.num_columns == 0
    with pytest.raises(UserError) as error:
        read(path, where="nomber = 1")
    assert str(error.value) == (
        f"--where nomber = 1: this condition is invalid for {path} (no such column: nomber)."
        " Use an SQL condition on the columns number."
    )


def test_a_wrong_condition_is_shown_as_it_was_written(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.shp", boxes(), driver="ESRI Shapefile")
    with pytest.raises(UserError, match=r"\(Invalid SQL query for layer 'parcels': 'nomber = 'a''\)"):
        read(path, where="nomber = 'a'")


def shapefile_with_words(
    path: Path, words: list[str], encoding: str, *, cpg: bool = False, ldid: int = 0
) -> Path:
    """A shapefile whose .dbf holds the words in the given character set and says so, or not."""
    placeholders = [f"{i}" * 30 for i in range(len(words))]
    write(path, boxes(len(words)), driver="ESRI Shapefile", attributes={"crop": placeholders})
    dbf = bytearray(path.with_suffix(".dbf").read_bytes())
    for placeholder, word in zip(placeholders, words, strict=True):
        dbf = dbf.replace(placeholder.encode(), word.encode(encoding).ljust(30))
    dbf[29] = ldid
    path.with_suffix(".dbf").write_bytes(dbf)
    path.with_suffix(".cpg").write_text(encoding) if cpg else path.with_suffix(".cpg").unlink()
    return path


@pytest.mark.parametrize(
    ("encoding", "cpg", "ldid"),
    [
        ("ISO-8859-1", True, 0),
        ("UTF-8", True, 87),
        ("ISO-8859-1", False, 0),
        ("CP1252", False, 87),
        ("UTF-8", False, 87),
        ("UTF-8", False, 0),
        ("CP850", False, 2),
    ],
)
def test_character_sets_of_shapefiles(tmp_path: Path, encoding: str, cpg: bool, ldid: int) -> None:
    words = ["rødgrød", "Æble", "blå"]
    path = shapefile_with_words(tmp_path / "parcels.shp", words, encoding, cpg=cpg, ldid=ldid)
    for file in (path, zipped(tmp_path / "parcels.zip", *parts(path))):
        assert read(file).attributes.column("crop").to_pylist() == words


def test_a_character_set_that_only_a_person_knows(tmp_path: Path) -> None:
    path = shapefile_with_words(tmp_path / "parcels.shp", ["žito", "ř"], "MAC_LATIN2")
    assert read(path).attributes.column("crop").to_pylist() != ["žito", "ř"]
    assert read(path, encoding="mac_latin2").attributes.column("crop").to_pylist() == ["žito", "ř"]
    with pytest.raises(UserError, match="--encoding: 'klingon' is not a character set"):
        read(path, encoding="klingon")
    with pytest.raises(UserError, match=r"--encoding: .* states its own character set"):
        read(write(tmp_path / "a.gpkg", boxes()), encoding="UTF-8")


def test_a_letter_cut_in_two_by_the_end_of_a_field(tmp_path: Path) -> None:
    path = write(
        tmp_path / "cut.shp",
        boxes(3),
        driver="ESRI Shapefile",
        attributes={"crop": ["blåæø", "ærter", "grønt"]},
    )
    path.with_suffix(".cpg").unlink()
    dbf = path.with_suffix(".dbf").read_bytes()
    path.with_suffix(".dbf").write_bytes(dbf.replace("blåæø".encode(), "blåæ".encode() + b" \xc3"))
    table, findings = read(path), Findings()
    crops = [row for rows, _ in cleaned(table, findings) for (row,) in rows]
    assert crops == ["blåæ ", "ærter", "grønt"]
    assert [f.reason for f in findings.of("changed_text")] == [
        "crop: 'blåæ \\xc3' has bytes that are not valid text"
    ]


def test_curves_and_heights(tmp_path: Path) -> None:
    ring = (
        "<gml:Curve><gml:segments>"
        "<gml:Arc><gml:posList>500000 6000000 500100 6000100 500200 6000000</gml:posList></gml:Arc>"
        "<gml:LineStringSegment><gml:posList>500200 6000000 500000 6000000</gml:posList>"
        "</gml:LineStringSegment></gml:segments></gml:Curve>"
    )
    (tmp_path / "curve.gml").write_text(
        '<ogr:FeatureCollection xmlns:gml="http://www.opengis.net/gml/3.2" xmlns:ogr="http://ogr.maptools.org/">'
        '<gml:featureMember><ogr:parcel gml:id="a"><ogr:geom>'
        '<gml:Surface srsName="urn:ogc:def:crs:EPSG::25832">'
        "<gml:patches><gml:PolygonPatch><gml:exterior><gml:Ring>"
        f"<gml:curveMember>{ring}</gml:curveMember></gml:Ring></gml:exterior>"
        "</gml:PolygonPatch></gml:patches></gml:Surface></ogr:geom></ogr:parcel></gml:featureMember>"
        "</ogr:FeatureCollection>"
    )
    half_disc = polygons(read(tmp_path / "curve.gml"))[0]
    assert half_disc.geom_type == "Polygon"
    assert half_disc.area == pytest.approx(3.14159 * 100**2 / 2, rel=2e-3)
    high = write(
        tmp_path / "high.gpkg", [shapely.force_3d(box, 7.0) for box in boxes()], geometry_type="Polygon Z"
    )
    assert len(read(high)) == 2


def test_broken_files(tmp_path: Path) -> None:
    def complains(path: Path, sentence: str) -> None:
        with pytest.raises(UserError, match=sentence) as error:
            read(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    complains(tmp_path / "none.gpkg", "does not exist. Correct the name of the parcels file")
    (tmp_path / "folder").mkdir()
    complains(tmp_path / "folder", "holds no parcels file")
    (tmp_path / "zero.gpkg").touch()
    complains(tmp_path / "zero.gpkg", "is empty. Deliver it again")
    (tmp_path / "text.gpkg").write_text("no database")
    complains(tmp_path / "text.gpkg", r"is not a GeoPackage \(no SQLite database\)")
    (tmp_path / "text.fgb").write_text("no features")
    complains(tmp_path / "text.fgb", r"cannot be read .* one of \.shp, \.gpkg, .* or a \.zip of them")
    (tmp_path / "text.parquet").write_text("no parquet")
    complains(tmp_path / "text.parquet", "is not a readable Parquet file")

    shapefile = write(tmp_path / "parcels.shp", boxes(), driver="ESRI Shapefile")
    archive = zipped(tmp_path / "parcels.zip", *parts(shapefile))
    (tmp_path / "cut.zip").write_bytes(archive.read_bytes()[:-200])
    complains(tmp_path / "cut.zip", "is not a complete zip archive.*Deliver it again")
    bad = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as whole_archive:
        start = whole_archive.getinfo("parcels.shp").header_offset + 60
    bad[start : start + 4] = b"\x00\x00\x00\x00"
    (tmp_path / "bad.zip").write_bytes(bad)
    complains(tmp_path / "bad.zip", "Deliver it again")
    complains(
        zipped(tmp_path / "empty.zip", tmp_path / "text.parquet", folder="__MACOSX/"),
        "holds no parcels file. Put one of .shp",
    )

    for suffix in (".shx", ".dbf"):
        part = shapefile.with_suffix(suffix)
        part.rename(tmp_path / "away")
        complains(shapefile, f"lacks its {suffix}")
        (tmp_path / "away").rename(part)

    whole = geoparquet(tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-20])
    complains(tmp_path / "cut.parquet", "is not a readable Parquet file")


def test_files_without_polygons(tmp_path: Path) -> None:
    points = write(tmp_path / "points.gpkg", [shapely.Point(500000, 6000000)], geometry_type="Point")
    with pytest.raises(
        UserError, match=r"holds no polygons \(parcels \(Point, 1 feature\)\)\. Name a file of parcels"
    ):
        read(points)
    with pytest.raises(UserError, match=r"Layer 'parcels' of .* holds no polygons"):
        read(points, layer="parcels")
    with pytest.raises(UserError, match="holds no polygons"):
        read(write(tmp_path / "any.gpkg", [shapely.Point(500000, 6000000)], geometry_type="Unknown"))
    with pytest.raises(UserError, match=r"holds no polygons \(parcels \(Polygon, 0 features\)\)"):
        read(write(tmp_path / "empty.gpkg", []))


def test_an_empty_layer_and_a_table_beside_the_parcels_do_not_disturb(tmp_path: Path) -> None:
    path = write(tmp_path / "layers.gpkg", boxes())
    write(path, [], layer="nothing", append=False)
    write(path, [shapely.Point(500000, 6000000)], layer="wells", geometry_type="Point")
    with opened(path) as datasets:
        assert [layer.name for layer in layers(datasets)] == ["parcels", "nothing", "wells"]
    assert read(path).layers[0].name == "parcels"


def test_inspect_tells_what_there_is_and_fails_where_it_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = write(tmp_path / "points.gpkg", [shapely.Point(500000, 6000000)], geometry_type="Point")

    def inspect(*options: str) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["cbmctl", *options, "parcels", "inspect", str(points)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        return capsys.readouterr()

    told, problem = inspect()
    assert told.splitlines()[1].split() == ["parcels", "Point", "1"]
    assert problem == (
        f"cbmctl: {points} holds no polygons (parcels (Point, 1 feature)). Name a file of parcels.\n"
    )
    told, again = inspect("--json")
    looked = json.loads(told)
    error = looked["error"]
    assert (looked["parcels"], error["code"]) == (None, "parcels.no_polygons")
    assert f"cbmctl: {error['message']}. {error['hint']}.\n" == problem
    assert again == problem
