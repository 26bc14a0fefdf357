"""Curves in geometries become lines; a geometry that is damaged is refused, and no other with it."""

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
import shapely

from cbmctl.parcels.files.curves import wkb_type
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check
from tests.support.parcel_files import write

X, Y, R = 500_000, 6_000_000, 100
ARC = struct.pack("<BII6d", 1, 8, 3, X, Y, X + R, Y + R, X + 2 * R, Y)
SIDE = struct.pack("<BII4d", 1, 2, 2, X + 2 * R, Y, X, Y)
CURVE_POLYGON = struct.pack("<BII", 1, 10, 1) + struct.pack("<BII", 1, 9, 2) + ARC + SIDE
COLLECTION = struct.pack("<BII", 1, 7, 2) + CURVE_POLYGON + struct.pack("<BI2d", 1, 1, X, Y)
DAMAGED = {
    "collection_cut_in_a_member": COLLECTION[:-30],
    "collection_cut_before_a_member": COLLECTION[: 9 + len(CURVE_POLYGON)],
    "collection_cut_in_its_number": COLLECTION[:7],
    "collection_of_too_many": struct.pack("<BII", 1, 7, 2**32 - 1) + CURVE_POLYGON,
    "collections_without_end": struct.pack("<BII", 1, 7, 1) * 5000,
    "curve_polygon_cut": CURVE_POLYGON[:-9],
    "curve_polygon_of_nonsense": struct.pack("<BII", 1, 10, 1) + b"\x09" * 40,
}


def with_geometries(path: Path, **wkb: bytes) -> Path:
    """A GeoPackage of three parcels, some of which have the geometry given: `crop_1=...` the second."""
    write(path)
    with closing(sqlite3.connect(path)) as database:
        # triggers call functions that only GDAL has
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        for crop, geometry in wkb.items():
            blob = b"GP\x00\x01" + struct.pack("<i", 25832) + geometry
            database.execute("UPDATE parcels SET geom = ? WHERE crop = ?", [blob, crop.replace("_", " ")])
        database.commit()
    return path


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_geometry_is_refused_alone(tmp_path: Path, damage: str) -> None:
    table = read(with_geometries(tmp_path / "parcels.gpkg", crop_1=DAMAGED[damage]))
    findings = check(table)
    assert (len(table), findings.parcels) == (3, 2)
    refused = [(finding.feature, finding.reason) for finding in findings.of("refused")]
    assert refused == [(2, "geometry that cannot be read")]


@pytest.mark.parametrize(("wkb", "kind"), [(CURVE_POLYGON, 3), (COLLECTION, 7)])
def test_curves_beside_a_damaged_geometry_become_lines(tmp_path: Path, wkb: bytes, kind: int) -> None:
    path = with_geometries(tmp_path / "parcels.gpkg", crop_0=DAMAGED["curve_polygon_cut"], crop_1=wkb)
    straight = read(path).geometry.to_pylist()[1]
    assert wkb_type(straight) == kind
    assert shapely.from_wkb(straight).area == pytest.approx(3.14159 * R**2 / 2, rel=2e-3)
