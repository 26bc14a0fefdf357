"""GML as web services and national programs write it."""

import math
import os
import re
import time
from pathlib import Path

import pyogrio
import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.files.findings import Findings
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import cleaned
from tests.support.parcel_files import content, write

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
BLOCKS = ["12345678901234567890", "00123", "7"]


@pytest.fixture
def gml(tmp_path: Path) -> Path:
    """A file with its .xsd, as GDAL writes them, that names its coordinate system on the geometries only."""
    path = write(tmp_path / "parcels.gml", 3, block=BLOCKS, crop=["a", "b", "c"])
    text = path.read_text()
    path.write_text(re.sub(r"<gml:boundedBy>.*?</gml:boundedBy>", "", text, flags=re.DOTALL))
    assert "srsName" in path.read_text()
    assert path.with_suffix(".xsd").exists()
    return path


def test_the_coordinate_system_is_found_on_the_geometries(gml: Path) -> None:
    table = read(gml)
    assert table.srid == 25832
    assert table.attributes.select(["block", "crop"]).to_pydict() == {
        "block": BLOCKS,
        "crop": ["a", "b", "c"],
    }


def test_a_schema_that_lacks_an_attribute_is_not_used(gml: Path) -> None:
    schema = gml.with_suffix(".xsd")
    text = schema.read_text()
    schema.write_text(re.sub(r'<xs:element name="crop".*?</xs:element>', "", text, flags=re.DOTALL))
    assert schema.read_text() != text
    table = read(gml)
    assert table.attributes["crop"].to_pylist() == ["a", "b", "c"]
    assert table.notes == (f"{gml}: its .xsd lacks parcels/crop. It is read without the .xsd.",)


def test_what_inspire_puts_into_links_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.gml", 2, crop=["a", "b"])
    href = "http://inspire.ec.europa.eu/codelist/HILUCSValue/1_1_Agriculture"
    text = path.read_text().replace("<ogr:FeatureCollection", f"<ogr:FeatureCollection {XLINK}", 1)
    text = text.replace("<ogr:crop>a</ogr:crop>", f'<ogr:use xlink:href="{href}" xlink:title="Pasture"/>')
    path.write_text(text.replace("<ogr:crop>b</ogr:crop>", f'<ogr:use xlink:href="{href}"/>'))
    table = read(path).attributes
    assert table["use_title"].to_pylist() == ["Pasture", None]
    assert table["use_href"].to_pylist() == [href, href]


@pytest.mark.parametrize("suffix", ["gml", "GML", "xml"])
def test_no_template_is_written_beside_the_file_nor_believed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "new").mkdir()
    path = write(tmp_path / "new" / "p.gml")
    old = tmp_path / f"p.{suffix}"
    old.write_text(path.read_text().replace("<ogr:crop>", "<!--").replace("</ogr:crop>", "-->"))
    before = content(tmp_path)
    assert "crop" not in read(old).attributes.column_names
    assert content(tmp_path) == before
    # what GDAL itself leaves beside the file, and takes for the description of next year's file
    pyogrio.read_info(old)
    template = old.with_suffix(".gfs")
    assert template.exists()
    old.write_text(path.read_text())
    os.utime(old, (time.time() - 60, time.time() - 60))
    assert "crop" not in pyogrio.read_info(old)["fields"], "this GDAL no longer believes an old template"
    assert read(old).attributes["crop"].to_pylist() == ["crop 0", "crop 1", "crop 2"]


def test_a_file_that_breaks_off_between_two_parcels_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.gml")
    text = path.read_text()
    path.write_text(text[: text.rindex("</ogr:featureMember>") + len("</ogr:featureMember>")])
    with pytest.raises(UserError, match=r"is truncated or is not XML at line \d+ \(no element found\)"):
        read(path)


SRS = 'srsName="urn:ogc:def:crs:EPSG::25832"'
RING = """<gml:Surface><gml:patches><gml:PolygonPatch><gml:exterior><gml:Ring><gml:curveMember>
<gml:Curve><gml:segments>
<gml:Arc><gml:posList>500000 6000000 500100 6000100 500200 6000000</gml:posList></gml:Arc>
<gml:LineStringSegment><gml:posList>500200 6000000 500000 6000000</gml:posList></gml:LineStringSegment>
</gml:segments></gml:Curve></gml:curveMember></gml:Ring></gml:exterior></gml:PolygonPatch></gml:patches>
</gml:Surface>"""
SQUARE = """<gml:Polygon><gml:exterior><gml:LinearRing><gml:posList>500300 6000000 500400 6000000
500400 6000100 500300 6000100 500300 6000000</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>"""
POINT = "<gml:Point><gml:pos>500050 6000050</gml:pos></gml:Point>"


@pytest.mark.parametrize(
    ("outer", "member", "members", "squares"),
    [
        ("MultiGeometry", "geometryMember", [RING], 0),
        ("MultiGeometry", "geometryMember", [POINT, SQUARE, RING, POINT], 1),
        ("MultiSurface", "surfaceMember", [RING, SQUARE], 1),
    ],
)
def test_curves_in_collections_become_lines(
    tmp_path: Path, outer: str, member: str, members: list[str], squares: int
) -> None:
    inner = "".join(f"<gml:{member}>{geometry}</gml:{member}>" for geometry in members)
    path = tmp_path / "curves.gml"
    path.write_text(
        '<ogr:FeatureCollection xmlns:gml="http://www.opengis.net/gml/3.2" xmlns:ogr="http://ogr.maptools.org/">'
        f"<ogr:featureMember><ogr:p><ogr:n>1</ogr:n><ogr:geom><gml:{outer} {SRS}>{inner}</gml:{outer}>"
        "</ogr:geom></ogr:p></ogr:featureMember></ogr:FeatureCollection>"
    )
    table, findings = read(path), Findings()
    (_, clean), *_ = cleaned(table, findings)
    assert not findings.of("refused")
    half_disc = math.pi * 100**2 / 2
    assert clean.geometry[0].area == pytest.approx(half_disc + squares * 100**2, rel=2e-3)
