"""Parcels as 19 paying agencies publish them, and two files in their own alphabets."""

import shutil
from pathlib import Path

import pytest
import shapely
from pyproj import Transformer

from cbmctl.errors import UserError
from cbmctl.parcels.files.parcel_table import ParcelTable
from cbmctl.parcels.files.read_delivery import read
from tests.unit.parcels.test_read_delivery import polygons

NATIONAL = [
    ("at/inspire_schlaege_2025-1_polygon.gpkg.zip", 100, 31287, None),
    ("at_block/inspire_referenzen_2021_polygon.gpkg.zip", 100, 31287, None),
    ("be_vlg/Landbouwgebruikspercelen_2023_-_Definitief_(extractie_28-03-2024)_GPKG.zip", 100, 31370, None),
    ("be_vlg_2024_fiboa_0_2.parquet", 100, 31370, None),
    ("be_wal/LU_ExistingLandUse_SIGEC2022.gml.zip", 10, 3035, "ExistingLandUseObject"),
    ("bg/bg_arable_land_2024.zip", 100, 32635, None),
    ("ch/lwb_nutzungsflaechen_v2_0_lv95.gpkg", 100, 2056, None),
    ("de_bb/antrag.zip", 100, 25833, None),
    ("de_sh/Feldbloecke_2026_GPKG.zip", 100, 4647, None),
    ("dk/Marker_2026.zip", 100, 25832, None),
    ("dk_2024_fiboa_0_2.parquet", 100, 25832, None),
    ("ec_si/SI_2021.zip", 100, 3794, None),
    ("es_cat/Cultius_DUN2023_GPKG.zip", 100, 25831, None),
    ("fi/LandUse.ExistingLandUse.GSAAAgriculturalParcel.gpkg", 100, 3067, None),
    ("hr/land_parcels.gpkg", 100, 3765, None),
    ("ie/GSAA_2024.zip", 100, 4258, None),
    ("lt/LT_2024.zip", 100, 3035, None),
    ("nl/brpgewaspercelen_definitief_2023.gpkg", 100, 28992, None),
    ("nl_block/referentiepercelen.gpkg", 100, 28992, None),
    ("pt/Continente.gpkg", 100, 3763, "Culturas_Aveiro"),
    ("se/se2023.zip", 10, 3006, None),
]
# west, south, east, north of the countries, to see that no axis is swapped
COUNTRY = {
    "at": (9, 46, 18, 50),
    "be": (2, 49, 7, 52),
    "bg": (22, 41, 29, 45),
    "ch": (5, 45, 11, 48),
    "de": (5, 47, 16, 56),
    "dk": (7, 54, 16, 58),
    "ec": (13, 45, 17, 47),
    "es": (-10, 35, 5, 44),
    "fi": (19, 59, 32, 71),
    "hr": (13, 42, 20, 47),
    "ie": (-11, 51, -5, 56),
    "lt": (20, 53, 27, 57),
    "nl": (3, 50, 8, 54),
    "pt": (-10, 36, -6, 43),
    "se": (10, 55, 25, 70),
}


def degrees(table: ParcelTable) -> tuple[float, float]:
    point = polygons(table)[0].representative_point()
    lon, lat = Transformer.from_crs(table.srid, 4326, always_xy=True).transform(point.x, point.y)
    return lon, lat


@pytest.mark.parametrize(("name", "features", "srid", "layer"), NATIONAL)
def test_national_files(testdata: Path, name: str, features: int, srid: int, layer: str | None) -> None:
    path = testdata / "parcels/gsaa_by_country" / name
    table = read(path, layer=layer)
    assert (len(table), table.srid) == (features, srid)
    assert set(shapely.get_type_id(polygons(table))) <= {3, 6}
    west, south, east, north = COUNTRY[name[:2]]
    lon, lat = degrees(table)
    assert west < lon < east
    assert south < lat < north
    assert not any("\ufffd" in str(value) for row in table.attributes.to_pylist() for value in row.values())
    assert sorted(path.parent.glob("*.gfs")) == []


@pytest.mark.parametrize(
    ("name", "attribute", "word"),
    [
        ("dk_gsaa2016/marker2016_small.shp", "Afgroede", "Vårbyg"),
        ("gsaa_by_country/de_bb/antrag.zip", "egs_name", "Förderfähig, mit EGS-Beantragung"),
        ("gsaa_by_country/ie/GSAA_2024.zip", "specificLandUse_title", "Permanent Pasture"),
        (
            "gsaa_by_country/at/inspire_schlaege_2025-1_polygon.gpkg.zip",
            "SNAR_BEZEICHNUNG",
            "MÄHWIESE/-WEIDE DREI UND MEHR NUTZUNGEN",
        ),
    ],
)
def test_letters_of_real_files(testdata: Path, name: str, attribute: str, word: str) -> None:
    assert read(testdata / "parcels" / name).attributes.column(attribute)[0].as_py() == word


def test_several_polygon_layers_are_listed(testdata: Path) -> None:
    path = testdata / "parcels/gsaa_by_country/pt/Continente.gpkg"
    with pytest.raises(UserError) as error:
        read(path)
    assert str(error.value) == (
        f"{path} has several layers with polygons: Culturas_Aveiro (MultiPolygon, 100 features),"
        " OcupacoesSolo_Aveiro (MultiPolygon, 100 features). Choose one with --layer,"
        " or several with a pattern, such as --layer '*'."
    )
    with pytest.raises(UserError, match=r"has no layer 'culturas'\. Use one of Continente"):
        read(path, layer="culturas")


def test_reading_from_a_folder_that_nobody_may_write(testdata: Path, tmp_path: Path) -> None:
    source = testdata / "parcels/gsaa_by_country/be_wal/LU_ExistingLandUse_SIGEC2022.gml.zip"
    folder = tmp_path / "incoming"
    folder.mkdir()
    shutil.copy(source, folder)
    folder.chmod(0o555)
    assert len(read(folder / source.name, layer="ExistingLandUseObject")) == 10
