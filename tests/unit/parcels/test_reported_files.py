"""Every file of real agencies and of public bug reports is read whole, or refused with the reason.

What values become, and where parcels lie, is tested beside the rules about values and places.
"""

from pathlib import Path

import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.files.delivery import candidates
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check

# below testdata/reports: features and columns
READ = {
    "appledouble.zip": (2, ["id"]),
    "backslashes.zip": (2, ["id"]),
    "brackets/GSAA 2025 [final].shp": (2, ["id"]),
    "cpg_ansi1250/parcels.shp": (1, ["CROP"]),
    "cpg_ansi1252/parcels.shp": (1, ["CROP"]),
    "cpg_oem852/parcels.shp": (1, ["CROP"]),
    "curve_in_collection.gpkg": (3, ["id"]),
    "date_big.parquet": (3, ["id", "until"]),
    "dates.gpkg": (4, ["d", "t"]),
    "dbf_values/parcels.shp": (8, ["D", "L", "N9", "N18", "F"]),
    "deflate64.zip": (2, ["id"]),
    "domain.gpkg": (4, ["crop", "name"]),
    "domain_hole.gpkg": (4, ["crop", "name"]),
    "dup_columns/parcels.shp": (2, ["CROP_DECLA", "CROP_DECLA_2"]),
    "fid_dup.parquet": (3, ["fid", "crop"]),
    "fid_text.parquet": (3, ["fid", "crop"]),
    "gfs/NEW.GML": (3, ["gml_id", "block", "crop", "eco"]),
    "gfs/OLD.GML": (3, ["gml_id", "block", "crop"]),
    "gml_xsd/parcels.gml": (3, ["gml_id", "block", "crop"]),
    "gsaa.gdb.zip": (3, ["parcel_id"]),
    "json.zip": (2, ["id"]),
    "late_geometry.gpkg": (1005, ["id"]),
    "lks2020.gpkg": (3, ["id"]),
    "mixed_case/gsaa.shp": (3, ["PARCEL_ID", "CROP"]),
    "nested_nan.parquet": (3, ["id", "d"]),
    "nested_nul.parquet": (3, ["id", "d"]),
    "nocpg_1250/parcels.shp": (1, ["CROP"]),
    "nocpg_1253/parcels.shp": (1, ["CROP"]),
    "sentinel_dates3.parquet": (3, ["id", "until"]),
    "stray.gpkg": (41, ["id"]),
    "stray_degrees.gpkg": (41, ["id"]),
    "text_in_number.gpkg": (3, ["area", "code", "declared"]),
    "views.parquet": (3, ["id"]),
    "wal/wal.gpkg": (4, ["id"]),
    "wal_only/wal.gpkg": (3, ["id"]),
    "wide_ids/parcels.shp": (3, ["PARCEL_ID", "CROP"]),
    "zip_in_zip.zip": (2, ["id"]),
}
REFUSED = {
    "cut.gml": r"is truncated or is not XML at line 4",
    "cut_dbf/parcels.shp": r"\.dbf is truncated \(it holds 58 of 100 records\)",
    "gml_3035_east_north/gsaa.gml": "swapped",
    "regions.zip": "has several layers with polygons: R11/PARCELLES_GRAPHIQUES",
}


@pytest.mark.parametrize("name", READ)
def test_reported_files_are_read(testdata: Path, name: str) -> None:
    table = read(testdata / "reports" / name)
    assert (len(table), table.attributes.column_names) == READ[name]


@pytest.mark.parametrize("name", REFUSED)
def test_reported_files_are_refused_with_the_reason(testdata: Path, name: str) -> None:
    with pytest.raises(UserError, match=REFUSED[name]):
        read(testdata / "reports" / name)


def test_no_parcel_of_a_reported_curve_or_late_geometry_is_lost(testdata: Path) -> None:
    curves = check(read(testdata / "reports/curve_in_collection.gpkg"))
    assert (curves.parcels, curves.of("refused")) == (3, [])
    late = check(read(testdata / "reports/late_geometry.gpkg"))
    assert (late.parcels, {finding.reason for finding in late.of("refused")}) == (5, {"no geometry"})


def test_every_reported_file_is_tested(testdata: Path) -> None:
    reports = testdata / "reports"
    others = {"catalogue", "overlap_after_change"}  # not about reading parcels
    found = {str(file.relative_to(reports)) for file in candidates(reports)}
    assert {name for name in found if name.split("/")[0] not in others} == {*READ, *REFUSED}


def test_regions_of_one_schema_are_one_set(testdata: Path) -> None:
    table = read(testdata / "reports/regions.zip", layer="*/PARCELLES_GRAPHIQUES")
    assert table.attributes["source_layer"].value_counts().to_pylist() == [
        {"values": "R11/PARCELLES_GRAPHIQUES", "counts": 3},
        {"values": "R24/PARCELLES_GRAPHIQUES", "counts": 5},
    ]
    continente = testdata / "parcels/gsaa_by_country/pt/Continente.gpkg"
    assert len(read(continente, layer="Culturas_*")) == 100


def test_every_real_file_is_read_whole(testdata: Path) -> None:
    layers = {"be_wal": "ExistingLandUseObject", "pt": "Culturas_*"}
    files = candidates(testdata / "parcels")
    assert len(files) >= 35
    for file in files:
        table = read(file, layer=layers.get(file.parent.name))
        assert len(table) > 0, file
        assert len(table) == sum(layer.features for layer in table.layers), file
