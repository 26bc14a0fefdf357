"""OData: complete whatever its limits, polite, idempotent, and errors in one sentence."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import shapely
from shapely import MultiPolygon, box

from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.service_products import archive_path, reference
from cbmctl.scenes import SceneError
from tests.conftest import Database
from tests.support.catalogue_search import S2, parameters_of, refuse, rows, run, sync, with_areas
from tests.support.odata_server import Catalogue, reply, serve
from tests.support.recorded_answers import AREA, backscatter, east, many, sentinel2

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty")]


def test_a_record_holds_what_the_service_says(area: Database, testdata: Path) -> None:
    with serve(Catalogue([backscatter(testdata, 0)])) as url:
        answer = sync(area, url)
    name = "S1A_IW_GRDH_1SDV_20240206T041137_20240206T041202_052433_06574A_0000_CARD_BS"
    assert (answer["added"], answer["source"], answer["place"]) == ([name], "odata", url)
    assert rows(area, "reference, obstime, sensor, card, status, path, tile, baseline, epsg, boa_offset") == [
        (
            name,
            datetime(2024, 2, 6, 4, 11, 37),
            "1A",
            "bs",
            "ingested",
            f"Sentinel-1/SAR/CARD-BS/2024/02/06/{name}",
            *[None] * 4,
        )
    ]
    assert rows(area, "processed, published, online, cloud_cover") == [
        (datetime(2024, 2, 7, 2, 15, 21, 670000), datetime(2024, 2, 7, 2, 11, 37, 757000), True, None)
    ]
    assert (answer["epsg"], answer["zone_unknown"], answer["resolutions"]) == ([], 1, [10, 20])


def test_cloud_cover_of_any_form_keeps_no_scene_out(area: Database, testdata: Path) -> None:
    told: list[Any] = [0, 41.2, "n/a", None]
    products = [sentinel2(testdata, number) for number in range(len(told))]
    for product, value in zip(products, told, strict=True):
        others = [each for each in product["Attributes"] if each["Name"] != "cloudCover"]
        product["Attributes"] = [*others, {"Name": "cloudCover", "Value": value}]
    with serve(Catalogue(products)) as url:
        sync(area, url, "--source", "odata", card=S2)
    assert rows(area, "cloud_cover") == [(0.0,), (pytest.approx(41.2),), (None,), (None,)]


def test_the_second_sync_changes_nothing(area: Database, catalogue: tuple[Catalogue, str]) -> None:
    known, url = catalogue
    assert len(sync(area, url)["added"]) == 4
    before = rows(area, "xmin::text, dias_catalogue.*::text")
    again = sync(area, url)
    assert (again["changed"], again["added"], again["known"]) == (False, [], 4)
    assert rows(area, "xmin::text, dias_catalogue.*::text") == before
    assert sync(area, url, "--check")["changed"] is False
    known.products.pop(0)
    assert sync(area, url)["known"] == 3  # what the service forgets stays


def test_check_changes_nothing(area: Database, catalogue: tuple[Catalogue, str]) -> None:
    answer = sync(area, catalogue[1], "--check")
    assert (len(answer["added"]), answer["summary"][0]["count"]) == (4, 4)
    assert rows(area, "reference") == []
    with area.connect() as conn:
        assert conn.execute("SELECT * FROM catalogue_syncs").fetchall() == []


def test_more_products_than_the_service_shows(area: Database, testdata: Path) -> None:
    """10,500 in nine days: $skip ends at 10,000, so the month is asked for in parts."""
    known = Catalogue([p for number, p in zip(range(10_500), many(testdata, range(10_500)), strict=True)])
    with serve(known) as url:
        answer = sync(area, url)
    assert len(set(answer["added"])) == 10_500
    assert rows(area, "count(*) OVER ()")[0] == (10_500,)
    skips = [int(parse_qs(urlsplit(path).query)["$skip"][0]) for path in known.asked]
    assert max(skips) < 10_000
    assert len(known.asked) < 20


def test_every_product_once_at_the_borders_of_months(area: Database, testdata: Path) -> None:
    last_minute = 34_308  # of February
    on_the_border = backscatter(testdata, last_minute + 2)
    on_the_border["ContentDate"] = {"Start": "2024-03-01T00:00:00.000Z", "End": "2024-03-01T00:00:25.000Z"}
    known = Catalogue([on_the_border, *(backscatter(testdata, last_minute + n) for n in (0, 1))])
    with serve(known) as url:
        found = Counter(sync(area, url, period=("2024-02-01", "2024-05-01"))["added"])
    assert set(found.values()) == {1}
    assert len(found) == 3
    assert len(known.asked) == 3


def test_only_what_meets_the_true_area_is_entered(area: Database, testdata: Path) -> None:
    near = backscatter(testdata, 1)
    near["GeoFootprint"] = east(near, -2.89)  # meets the area as it is asked for, not the true one
    outline = shapely.geometry.shape(near["GeoFootprint"])
    assert not outline.intersects(AREA)
    assert outline.intersects(AREA.buffer(0.005))
    with serve(Catalogue([backscatter(testdata, 0), near])) as url:
        assert len(sync(area, url)["added"]) == 1


def test_an_area_of_many_parts_and_corners(database: Database, testdata: Path) -> None:
    coast = shapely.Point(30.5, 52.5).buffer(0.4, quad_segs=2000)
    islands = [shapely.Point(30 + i / 20, 52 + i % 3 / 20).buffer(0.01) for i in range(30)]
    overseas = box(-61, 14, -60.5, 15)
    whole = shapely.union_all([coast, *islands, overseas])
    assert isinstance(whole, MultiPolygon)
    with_areas(database, there=whole)
    far = backscatter(testdata, 2)
    far["GeoFootprint"] = {"type": "Polygon", "coordinates": [[[-62, 13], [-60, 13], [-60, 16], [-62, 13]]]}
    known = Catalogue([backscatter(testdata, 0), far])
    with serve(known) as url:
        assert len(sync(database, url)["added"]) == 2
    assert 1 < len(known.asked) < 10
    assert max(map(len, known.asked)) < 6000


def test_hard_footprints_are_handled_or_told_one_by_one(area: Database, testdata: Path) -> None:
    outlines: dict[str, Any] = {
        "multi": {
            "type": "MultiPolygon",
            "coordinates": [[[[29, 51], [32, 51], [32, 54], [29, 54], [29, 51]]]],
        },
        "bow tie": {"type": "Polygon", "coordinates": [[[29, 51], [32, 54], [32, 51], [29, 54], [29, 51]]]},
        "antimeridian": {
            "type": "Polygon",
            "coordinates": [[[179, 52], [-179, 52], [-179, 53], [179, 53], [179, 52]]],
        },
        "line": {"type": "Polygon", "coordinates": [[[30, 52], [31, 53], [30, 52], [30, 52]]]},
        "point": {"type": "Point", "coordinates": [30.5, 52.5]},
    }
    known = Catalogue(
        [backscatter(testdata, n, GeoFootprint=each) for n, each in enumerate(outlines.values())]
    )
    nowhere = backscatter(testdata, 8, GeoFootprint=None, Footprint=None)
    elsewhere = backscatter(testdata, 9, S3Path="/eodata/../../etc/passwd")
    strange = backscatter(testdata, 10, Name="S1A_IW_GRDH_1SDV_odd")
    silent = backscatter(testdata, 11)
    del silent["S3Path"]
    known.products += [elsewhere, strange, silent]
    known.shapes |= {id(p): box(30, 52, 31, 53) for p in [*known.products]}
    known.products.append(nowhere)
    known.shapes[id(nowhere)] = box(30, 52, 31, 53)
    with serve(known) as url:
        result = run(area, url)
    answer = json.loads(result.stdout)
    assert len(answer["added"]) == 2  # multi, bow tie; the one at the antimeridian is not here
    assert Counter(broken["status"] for broken in answer["broken"]) == {
        "No extent": 3,
        "!S3 subdir": 2,
        "Rio error": 1,
    }
    assert result.stderr.count("not entered: S1A_IW_GRDH") == 6
    assert "its footprint is a Point, not a polygon" in result.stderr
    assert "the service states no footprint for it" in result.stderr


def test_what_is_not_online_is_listed_and_taken_up_when_it_is_back(
    area: Database, catalogue: tuple[Catalogue, str]
) -> None:
    known, url = catalogue
    known.products[1]["Online"] = False
    result = run(area, url)
    answer = json.loads(result.stdout)
    assert (len(answer["added"]), len(answer["offline"])) == (4, 1)
    assert [status for (status,) in rows(area, "status")] == ["ingested", "offline", "ingested", "ingested"]
    (gone,) = answer["offline"]
    assert f"not online: {gone}\n" in result.stderr
    assert sync(area, url)["changed"] is False
    known.products[1]["Online"] = True
    back = sync(area, url, "--since", "last")  # published long ago, and asked for all the same
    assert back["completed"] == answer["offline"]
    assert {status for (status,) in rows(area, "status")} == {"ingested"}


def test_of_many_that_are_not_online_some_are_named(area: Database, testdata: Path) -> None:
    with serve(Catalogue([product | {"Online": False} for product in many(testdata, range(25))])) as url:
        result = run(area, url)
    assert len(json.loads(result.stdout)["offline"]) == 25
    assert result.stderr.count("not online: S1A_IW_GRDH") == 20
    assert "… and 5 more not online" in result.stderr


@pytest.mark.parametrize("first", [True, False])
def test_of_a_product_that_is_listed_twice_the_one_online_counts(
    area: Database, testdata: Path, *, first: bool
) -> None:
    known = Catalogue([backscatter(testdata, 0, Id=f"{n}", Online=first is (n == 0)) for n in range(2)])
    with serve(known) as url:
        answer = sync(area, url)
    assert (len(answer["added"]), answer["offline"]) == (1, [])


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        ("/eodata/{0}", True),
        ("/eodata/{0}/", True),
        ("s3://eodata/{0}", True),
        ("s3://EODATA//{0}", True),
        ("/vsis3/eodata/{0}", True),
        ("eodata/{0}", True),
        ("{0}", True),
        ("https://archive.example/{0}", False),
        ("https://archive.example/{0}/manifest.safe", False),
        ("/eodata/{0}/manifest.safe", False),
        ("/mirror/{0}", False),
        ("{1}", False),
        ("s3://eodata/{1}", False),
        ("/eodata/Sentinel-1/../{1}", False),
        ("/eodata/Sentinel-2/SAR/CARD-BS/2024/02/06/{1}", False),
        ("/eodata/Sentinel-1/SAR/CARD-BS/2024/02/06", False),
        (None, False),
        ("", False),
        ("/", False),
    ],
)
def test_only_a_products_folder_in_the_archive_is_taken(told: str | None, *, taken: bool) -> None:
    name = "S1A_IW_GRDH_1SDV_20240206T041137_20240206T041202_052433_06574A_0000_CARD_BS"
    path = f"Sentinel-1/SAR/CARD-BS/2024/02/06/{name}"
    told = told and told.format(path, name)
    if taken:
        assert archive_path(CARDS["bs"], told, name) == path
    else:
        with pytest.raises(SceneError, match="states no valid folder in the archive for it"):
            archive_path(CARDS["bs"], told, name)


OTHER = "S1A_IW_GRDH_1SDV_20240206T041202_20240206T041227_052433_06574A_0001_CARD_BS"
TILE = "S2A_MSIL2A_20240206T041137_N0510_R055_T13SDV_20240516T022440"


@pytest.mark.parametrize(
    ("card", "name", "folder", "same"),
    [
        ("bs", OTHER, OTHER.replace("_CARD_BS", "_CARD-BS"), True),
        ("bs", OTHER.replace("_CARD_BS", "_CARD-BS"), OTHER, True),
        ("bs", OTHER, OTHER.replace("0001", "0002"), False),
        ("bs", OTHER, OTHER.replace("041202", "041203"), False),
        ("s2", TILE, f"{TILE}.SAFE", True),
        ("s2", f"{TILE}.SAFE", TILE, True),
        ("s2", TILE, f"{TILE}.SAFE".replace("T13SDV", "T13SDU"), False),
        ("s2", TILE, f"{TILE}.SAFE".replace("20240516", "20240517"), False),
    ],
)
def test_the_folder_is_that_of_the_product_and_of_no_other(
    card: str, name: str, folder: str, *, same: bool
) -> None:
    told = f"/eodata/{CARDS[card].folder.rstrip('*')}/2024/02/06/{folder}"
    if same:
        assert archive_path(CARDS[card], told, reference(CARDS[card], name)) == told.removeprefix("/eodata/")
    else:
        with pytest.raises(SceneError, match=rf"states the folder of another product for it \({told}\)"):
            archive_path(CARDS[card], told, reference(CARDS[card], name))


def test_a_product_with_the_folder_of_another_is_told(area: Database, testdata: Path) -> None:
    one, other = (backscatter(testdata, number) for number in range(2))
    one["S3Path"] = other["S3Path"]
    with serve(Catalogue([one, other])) as url:
        answer = sync(area, url)
    assert answer["added"] == [other["Name"]]
    assert [(each["path"], each["status"]) for each in answer["broken"]] == [(one["Name"], "!S3 subdir")]


def test_an_empty_answer_says_what_was_searched(area: Database, testdata: Path) -> None:
    with serve(Catalogue([])) as url:
        refuse(
            area,
            url,
            f"{url} has no CARD-BS product from 2024-02-01 to the day before 2024-03-01 that meets",
        )
        refuse(area, url, "has no CARD-BS product")  # also the second time
    with serve(Catalogue([backscatter(testdata, 0)])) as url:
        assert len(sync(area, url)["added"]) == 1


def test_a_page_that_repeats(area: Database, testdata: Path) -> None:
    known = Catalogue(list(many(testdata, range(1200))))
    with serve(known) as url:
        for _ in range(2):
            known.faults.append(
                lambda handler: reply(handler, 200, known.answer("", parameters_of(handler) | {"$skip": "0"}))
            )
        refuse(area, url, f"{url} repeats a page of its answer for 2024-02-01 to 2024-03-01")


def test_a_count_that_does_not_fit(area: Database, catalogue: tuple[Catalogue, str]) -> None:
    known, url = catalogue
    known.lied_count = 5
    refuse(area, url, f"{url} gives inconsistent answers (it states 5 products and lists 4). Try again later")
