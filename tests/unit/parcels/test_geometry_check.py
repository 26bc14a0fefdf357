"""Geometries: what is refused, repaired or only told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import Clean, Findings, check, cleaned
from tests.unit.parcels.test_read_delivery import write

X, Y = 500000.0, 6000000.0


def at(*corners: tuple[float, float]) -> shapely.Polygon:
    return shapely.Polygon([(X + x, Y + y) for x, y in corners])


FIELD = at((0, 0), (200, 0), (200, 100), (0, 100))
BOWTIE = at((0, 0), (100, 100), (100, 0), (0, 100))


def look(tmp_path: Path, geometries: list[Any], *, flavor: str = "iso") -> tuple[Findings, Any]:
    path = write(tmp_path / "parcels.gpkg", [FIELD, *geometries], geometry_type="Unknown", flavor=flavor)
    findings = Findings()
    pieces: list[Clean] = [clean for _, clean in cleaned(read(path), findings)]
    assert findings.as_json() == check(read(path)).as_json()
    return findings, {
        int(i): g for piece in pieces for i, g in zip(piece.feature, piece.geometry, strict=True)
    }


def reasons(findings: Findings, kind: str) -> dict[int, str]:
    return {finding.feature: finding.reason for finding in findings.of(kind)}


def test_a_good_parcel_is_a_multipolygon_of_itself(tmp_path: Path) -> None:
    findings, parcels = look(tmp_path, [])
    assert findings.found == []
    assert findings.parcels == 1
    assert parcels[1].geom_type == "MultiPolygon"
    assert parcels[1].equals_exact(shapely.MultiPolygon([FIELD]))


def test_invalid_polygons_keep_their_area(tmp_path: Path) -> None:
    hole_outside = shapely.Polygon(FIELD.exterior, [at((300, 0), (310, 0), (310, 10)).exterior])
    overlapping = shapely.MultiPolygon([FIELD, shapely.affinity.translate(FIELD, 100, 0)])
    spike = at((0, 0), (100, 0), (100, 300), (100, 100), (0, 100))
    findings, parcels = look(tmp_path, [BOWTIE, hole_outside, overlapping, spike])
    assert {i: reason.split("[")[0] for i, reason in reasons(findings, "repaired").items()} == {
        2: "Self-intersection",
        3: "Hole lies outside shell",
        4: "Self-intersection",
        5: "Self-intersection",
    }
    assert all(parcel.is_valid and parcel.geom_type == "MultiPolygon" for parcel in parcels.values())
    assert parcels[2].area == pytest.approx(5000)
    assert parcels[4].area == pytest.approx(300 * 100), "what two parts share belongs to the parcel once"
    assert parcels[5].area == pytest.approx(100 * 100)


def test_what_is_no_polygon_is_refused(tmp_path: Path) -> None:
    with np.errstate(invalid="ignore"):
        not_numbers = at((0, 0), (np.nan, 0), (100, 100))
    geometries = [
        None,
        shapely.Point(X, Y),
        shapely.LineString([(X, Y), (X + 1, Y)]),
        shapely.Polygon(),
        at((0, 0), (100, 0), (200, 0)),
        at((0, 0), (0, 0), (0, 0)),
        not_numbers,
        shapely.GeometryCollection([shapely.Point(X, Y)]),
    ]
    findings, parcels = look(tmp_path, geometries)
    refused = reasons(findings, "refused")
    assert list(refused) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert list(parcels) == [1]
    assert refused[2] == "no geometry"
    assert refused[3] == "a point, not a polygon"
    assert refused[4] == "a line, not a polygon"
    assert refused[5] == "empty geometry"
    assert refused[6].startswith("no area")
    assert refused[8] == "coordinates that are not numbers"


def test_the_polygons_of_a_mixed_geometry_are_kept(tmp_path: Path) -> None:
    other = shapely.affinity.translate(FIELD, 150, 0)
    nested = shapely.GeometryCollection(
        [shapely.GeometryCollection([FIELD, shapely.Point(X, Y)]), shapely.MultiPolygon([other])]
    )
    findings, parcels = look(tmp_path, [nested])
    assert list(reasons(findings, "repaired")) == [2]
    assert parcels[2].area == pytest.approx(350 * 100)
    assert parcels[2].is_valid


def test_duplicates_whatever_their_order_of_points(tmp_path: Path) -> None:
    turned = at((200, 100), (200, 0), (0, 0), (0, 100))
    moved = shapely.affinity.translate(FIELD, 0.001, 0)
    findings, _ = look(tmp_path, [moved, turned, shapely.MultiPolygon([FIELD]), moved])
    assert reasons(findings, "duplicate") == {
        3: "same geometry as feature 1",
        4: "same geometry as feature 1",
        5: "same geometry as feature 2",
    }


def test_slivers(tmp_path: Path) -> None:
    strip = at((0, 0), (300, 0), (300, 9), (0, 9))
    ribbon = at((0, 0), (300, 0), (300, 11), (0, 11))
    crumb = at((0, 0), (9, 0), (9, 9), (0, 9))
    disc = shapely.Point(X, Y).buffer(50)
    findings, _ = look(tmp_path, [strip, ribbon, crumb, disc])
    assert reasons(findings, "sliver") == {2: "2700 m², about 9.0 m wide", 4: "81 m², about 9.0 m wide"}


def test_slivers_are_measured_in_metres_everywhere(tmp_path: Path) -> None:
    degree = 111_320.0
    field, strip = (
        shapely.box(-8, 53, -8 + 200 / degree, 53 + 100 / degree),
        shapely.box(-8, 53, -8 + 8 / degree, 53.01),
    )
    path = write(tmp_path / "ie.gpkg", [field, strip], crs="EPSG:4258")
    assert list(reasons(check(read(path)), "sliver")) == [2]
    # US survey feet: 1 ft = 0.3048 m
    feet = write(tmp_path / "feet.gpkg", [shapely.box(900000, 200000, 900300, 200031)], crs="EPSG:2263")
    assert list(reasons(check(read(feet)), "sliver")) == [1]


def test_real_parcels_of_zurich(testdata: Path) -> None:
    findings = check(read(testdata / "parcels/ch_zurich/ZH_Polygons_2020_ESCH_EPSG32632.shp"))
    assert findings.parcels == 281
    assert [finding.feature for finding in findings.of("repaired")] == [80, 216]
    assert findings.of("refused") == []


def test_many_parcels_in_pieces(tmp_path: Path) -> None:
    fields = [shapely.affinity.translate(FIELD, 300 * (i % 200), 200 * (i // 200)) for i in range(20_500)]
    path = write(tmp_path / "many.gpkg", [*fields, fields[0]])
    done: list[int] = []
    findings = check(read(path), done.append)
    assert done == [20_000, 501]
    assert reasons(findings, "duplicate") == {20_501: "same geometry as feature 1"}
