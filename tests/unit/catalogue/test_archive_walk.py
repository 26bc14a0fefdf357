"""The walk of the archive: what meets the area and the dates, and what is broken, one by one."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely import MultiPolygon, Point, Polygon, box

from cbmctl.catalogue.archive_products import may_meet
from cbmctl.catalogue.archive_walk import Broken, walk
from cbmctl.catalogue.record import as_footprint
from cbmctl.errors import UserError
from tests.support.products_s2 import (
    FOLDER,
    LEFT,
    NAME,
    TOP,
    image_file,
    make_product,
    metadata,
    reflectance,
    write_image,
)

ZURICH = box(8.67, 47.43, 8.70, 47.46)
YEAR = (date(2022, 1, 1), date(2023, 1, 1))
BS = "S1A_IW_GRDH_1SDV_20171030T053232_20171030T053257_019039_020331_0A1B_CARD_BS"
OFFSETS = dict.fromkeys(range(13), -1000)


def test_record_of_a_product(tmp_path: Path) -> None:
    xml = metadata(OFFSETS, footprint="47 8 47 9 48 9 48 8 47 8", cloud="42.5")
    path = make_product(tmp_path, {}, xml)
    (record,) = walk(tmp_path, ZURICH, *YEAR, "s2").records
    assert record.reference == NAME
    assert record.path == path == f"{FOLDER}/{NAME}"
    assert (record.card, record.sensor, record.tile, record.epsg) == ("s2", "2A", "32TMT", 32632)
    assert record.obstime == datetime(2022, 3, 5, 10, 29, 21)
    assert (record.baseline, record.boa_offset, record.cloud_cover) == ("04.00", -1000, 42.5)
    assert record.footprint.equals(box(8, 47, 9, 48))


def test_image_gives_the_footprint_where_metadata_is_silent(tmp_path: Path) -> None:
    make_product(tmp_path, {"B05_20m": reflectance(50, 50)})
    (record,) = walk(tmp_path, ZURICH, *YEAR, "s2").records
    to_degrees = Transformer.from_crs(32632, 4326, always_xy=True)
    corners = [
        to_degrees.transform(LEFT + x, TOP - y) for x, y in ((0, 0), (1000, 0), (1000, 1000), (0, 1000))
    ]
    assert record.footprint.symmetric_difference(Polygon(corners)).area < 1e-9


@pytest.mark.parametrize("folder", ["L2A", "L2A_N0500", "L2A_N0600"])
def test_every_l2a_folder_is_searched(tmp_path: Path, folder: str) -> None:
    make_product(tmp_path, {"B02_10m": reflectance()}, folder=FOLDER.replace("L2A", folder))
    (record,) = walk(tmp_path, ZURICH, *YEAR, "s2").records
    assert record.path.startswith(f"Sentinel-2/MSI/{folder}/2022")


def test_product_in_two_folders_is_one_product(tmp_path: Path) -> None:
    for folder in (FOLDER, FOLDER.replace("L2A", "L2A_N0500")):
        make_product(tmp_path, {"B02_10m": reflectance()}, folder=folder)
    (record,) = walk(tmp_path, ZURICH, *YEAR, "s2").records
    assert record.path.startswith(FOLDER)


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (date(2022, 3, 5), date(2022, 3, 6), 1),
        (date(2022, 3, 4), date(2022, 3, 5), 0),
        (date(2022, 3, 6), date(2023, 3, 5), 0),
        (date(2021, 12, 31), date(2022, 4, 1), 1),
    ],
)
def test_end_is_the_day_after_the_last(tmp_path: Path, start: date, end: date, found: int) -> None:
    make_product(tmp_path, {"B02_10m": reflectance()})
    assert len(walk(tmp_path, ZURICH, start, end, "s2").records) == found


def test_only_days_asked_for_are_read(tmp_path: Path) -> None:
    make_product(tmp_path, {"B02_10m": reflectance()})
    make_product(tmp_path, {"B02_10m": reflectance()}, folder=FOLDER.replace("2022/03/05", "2022/03/06"))
    read: list[date] = []
    walk(tmp_path, ZURICH, date(2022, 3, 6), date(2022, 4, 1), "s2", progress=read.append)
    assert read == [date(2022, 3, 6)]


def test_bounding_boxes_are_not_enough(tmp_path: Path) -> None:
    """The product lies in the bay of a U-shaped area: their boxes meet, they do not."""
    make_product(tmp_path, {"B02_10m": reflectance()})
    bay = Point(8.68, 47.446).buffer(0.05, quad_segs=1)
    area = box(8, 47, 9, 48).difference(bay.union(box(8.6, 47.4, 9, 47.5)))
    found = walk(tmp_path, area, *YEAR, "s2")
    assert found.records == []
    assert found.elsewhere == {"32TMT": 1}


def test_tiles_far_away_are_not_opened(tmp_path: Path) -> None:
    far = NAME.replace("T32TMT", "T55HBU")
    (tmp_path / FOLDER / far).mkdir(parents=True)  # an empty folder: opened, it would be broken
    found = walk(tmp_path, ZURICH, *YEAR, "s2")
    assert (found.records, found.broken, found.elsewhere) == ([], [], {"55HBU": 1})


def test_broken_products_are_reported_and_do_not_stop_the_walk(tmp_path: Path) -> None:
    good = make_product(tmp_path, {"B02_10m": reflectance()})
    names = [NAME.replace("135811", f"00000{number}") for number in range(5)]
    (tmp_path / FOLDER / names[0]).mkdir()
    make_product(tmp_path, {"B02_10m": reflectance()}, "<cut", name=names[1])
    path = make_product(tmp_path, {"B02_10m": reflectance()}, name=names[2])
    image_file(tmp_path, path, "B02_10m").write_bytes(b"")
    path = make_product(tmp_path, {"B02_10m": reflectance()}, name=names[3])
    (tmp_path / path / "MTD_MSIL2A.xml").unlink()
    make_product(tmp_path, {}, metadata(footprint="47 8 47 8 47 8 47 8"), name=names[4])
    found = walk(tmp_path, ZURICH, *YEAR, "s2")
    assert [record.path for record in found.records] == [good]
    assert [(Path(item.path).name, item.status) for item in found.broken] == [
        (names[0], "!S3 subdir"),
        (names[1], "Rio error"),
        (names[2], "Rio error"),
        (names[3], "!S3 MTD_MSIL2A.xml"),
        (names[4], "Rio error"),
    ]
    assert all(item.reason and "\n" not in item.reason for item in found.broken)


def test_other_things_in_the_archive_are_passed_over(tmp_path: Path) -> None:
    make_product(tmp_path, {"B02_10m": reflectance()})
    (tmp_path / FOLDER / "readme.txt").write_text("hello")
    (tmp_path / FOLDER / NAME.replace("MSIL2A", "MSIL1C")).mkdir()
    (tmp_path / "Sentinel-2/MSI/L2A/2022/02/30").mkdir(parents=True)
    (tmp_path / "Sentinel-2/MSI/L2A/2022/latest").mkdir()
    found = walk(tmp_path, ZURICH, *YEAR, "s2")
    assert (len(found.records), found.broken) == (1, [])


def test_backscatter(tmp_path: Path) -> None:
    folder = tmp_path / "Sentinel-1/SAR/CARD-BS/2017/10/30" / BS
    values = np.ones((30, 30), np.float32)
    write_image(folder / f"{BS}.data" / "Gamma0_VH.img", values, 10, driver="ENVI")
    (record,) = walk(tmp_path, ZURICH, date(2017, 10, 30), date(2017, 10, 31), "bs").records
    assert (record.reference, record.card, record.sensor, record.epsg) == (BS, "bs", "1A", 32632)
    assert record.obstime == datetime(2017, 10, 30, 5, 32, 32)
    assert (record.tile, record.baseline, record.boa_offset) == (None, None, None)
    assert record.footprint.intersects(ZURICH)


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("c6", "S1B_20201012T053232__1A__20201006T053300_20201006T053327_CARD-COH6"),
        ("c12", "S1A_20230105T172619__1A__20221224T172620_20221224T172647_CARD-COH12"),
        ("c12", "S1A_20241105T172619__S1A_20241024T172620_20241024T172647_CARD-COH12"),
    ],
)
def test_coherence(tmp_path: Path, card: str, name: str) -> None:
    day = name.split("_")[1]
    place = tmp_path / f"Sentinel-1/SAR/CARD-COH{card[1:]}" / day[:4] / day[4:6] / day[6:8] / name
    write_image(place / f"{name}.tif", np.ones((30, 30), np.float32), 20, driver="GTiff")
    (record,) = walk(tmp_path, ZURICH, date(2020, 1, 1), date(2025, 1, 1), card).records
    assert (record.reference, record.card, record.sensor) == (name, card, name[1:3])
    assert record.obstime == datetime.strptime(day, "%Y%m%dT%H%M%S")


def test_backscatter_without_image_or_projection_is_broken(tmp_path: Path) -> None:
    folder = tmp_path / "Sentinel-1/SAR/CARD-BS/2017/10/30"
    (folder / BS).mkdir(parents=True)
    second = BS.replace("0A1B", "0A1C")
    image = folder / second / f"{second}.data" / "Gamma0_VV.img"
    write_image(image, np.ones((3, 3), np.float32), 10, epsg=None, driver="ENVI")
    found = walk(tmp_path, ZURICH, date(2017, 1, 1), date(2018, 1, 1), "bs")
    assert found.records == []
    assert [item.status for item in found.broken] == ["!S3 VV.img", "Rio error"]
    assert isinstance(found.broken[0], Broken)


def test_unusable_roots_are_one_sentence(tmp_path: Path) -> None:
    def complaint(root: Path, card: str = "s2") -> str:
        with pytest.raises(UserError) as error:
            walk(root, ZURICH, *YEAR, card)
        return str(error.value)

    assert "nowhere does not exist. Mount it" in complaint(tmp_path / "nowhere")
    assert "is empty. Mount it" in complaint(tmp_path)
    make_product(tmp_path, {})
    assert "has no folder Sentinel-1/SAR/CARD-COH6 for CARD-COH6 products" in complaint(tmp_path, "c6")
    assert "is not a folder" in complaint(tmp_path / FOLDER / NAME / "MTD_MSIL2A.xml")


@pytest.mark.parametrize(
    ("tile", "lon", "lat", "meets"),
    [
        ("32TMT", 8.7, 47.4, True),
        ("32VNH", 9.9, 56.2, True),
        ("32VKK", 3.5, 58.0, True),  # zone 32V is wider than the others
        ("33XVG", 12.0, 78.5, True),
        ("31TCJ", 8.7, 47.4, True),  # near: its metadata decides
        ("40KCB", 55.5, -21.1, True),
        ("01KAB", 179.9, -17.5, True),  # across the 180th meridian
        ("29TNE", 25.0, 41.0, False),
        ("32TMT", 8.7, 60.0, False),
    ],
)
def test_a_tiles_name_tells_roughly_where_it_is(tile: str, lon: float, lat: float, meets: bool) -> None:
    assert may_meet(tile, Point(lon, lat)) == meets


def test_footprint_across_the_180th_meridian_is_cut_there() -> None:
    footprint = as_footprint(Polygon([(179, 10), (-179, 10), (-179, 12), (179, 12)]))
    assert isinstance(footprint, MultiPolygon)
    assert footprint.equals(shapely.union(box(179, 10, 180, 12), box(-180, 10, -179, 12)))


def test_footprint_that_crosses_itself_becomes_valid() -> None:
    footprint = as_footprint(Polygon([(8, 47), (9, 48), (9, 47), (8, 48)]))
    assert footprint.is_valid
    assert footprint.area == pytest.approx(0.5)


def test_real_archive(testdata: Path) -> None:
    root = testdata / "eodata"
    zurich = walk(root, ZURICH, *YEAR, "s2")
    assert (len(zurich.records), zurich.broken) == (37, [])
    assert {record.boa_offset for record in zurich.records} == {-1000}
    denmark = walk(root, box(9, 56, 11, 57), date(2016, 1, 1), date(2023, 1, 1), "s2")
    assert [record.boa_offset for record in denmark.records] == [0]
    assert denmark.elsewhere == {"32TMT": 37}
    assert len(walk(root, box(9, 56, 11, 57.5), date(2017, 1, 1), date(2018, 1, 1), "bs").records) == 1
