"""Answers with empty and odd fields: what cannot be read is told one by one, and the rest comes in."""

import json
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from shapely import box
from shapely.geometry import mapping

from cbmctl.catalogue import http
from cbmctl.catalogue.archive_products import describe
from cbmctl.catalogue.odata import OData
from cbmctl.catalogue.opensearch import OpenSearch
from cbmctl.catalogue.record import CARDS, as_footprint, utc
from cbmctl.catalogue.service_products import normal
from cbmctl.catalogue.stac import Stac
from cbmctl.scenes import SceneError
from tests.conftest import Database
from tests.support.catalogue_search import BS, S2, Words, run, sync
from tests.support.odata_server import Catalogue, reply, serve
from tests.support.recorded_answers import AREA, backscatter, recorded, sentinel2

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty")]
ODD: tuple[Any, ...] = (None, 7, -1e300, True, [], ["x"], {}, {"x": None}, "x", "", "\x00")
TIME = "2024-02-06T04:11:37.189Z"


def answering(answer: Any, words: Words, area: Database, protocol: str) -> dict[str, Any]:
    """What a sync says of a service that always gives the same answer."""
    known = Catalogue([])
    known.faults.extend([lambda handler: reply(handler, 200, answer)] * 9)
    with serve(known) as url:
        result = run(area, url, "--source", protocol, card=words)
    assert result.exception is None, result.exception
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def item(testdata: Path) -> dict[str, Any]:
    """The recorded STAC item, over the area of the tests and in their month."""
    name = "S2A_MSIL2A_20240206T041137_N0510_R055_T13SDV_20240516T022440"
    own: dict[str, Any] = recorded(testdata, "stac-item-s2-l2a.json")
    href = f"s3://eodata/Sentinel-2/MSI/L2A_N0500/2024/02/06/{name}.SAFE/manifest.safe"
    properties = own["properties"] | {"datetime": TIME}
    assets = {"safe_manifest": {"href": href}}
    return own | {"id": name, "geometry": mapping(AREA), "properties": properties, "assets": assets}


def resto(testdata: Path) -> dict[str, Any]:
    """A recorded feature likewise."""
    product, (own, *_) = backscatter(testdata, 0), recorded(testdata, "resto-search-CARD-BS.json")["features"]
    properties = own["properties"] | {
        "title": product["Name"],
        "productIdentifier": product["S3Path"],
        "startDate": TIME,
    }
    return {"id": "one", "type": "Feature", "geometry": mapping(AREA), "properties": properties}


def test_odata(area: Database, testdata: Path) -> None:
    good = sentinel2(testdata, 0)
    fields = ("Id", "Name", "S3Path", "GeoFootprint", "ContentDate", "Attributes", "PublicationDate")
    odd = [
        sentinel2(testdata, 1 + number) | {field: value}
        for number, (field, value) in enumerate((field, value) for field in fields for value in ODD)
    ]
    start = [sentinel2(testdata, 0, ContentDate={"Start": value}) | {"Id": f"{value}!"} for value in ODD]
    nameless = [sentinel2(testdata, 0, Name=None, Id=None, Checksum=number) for number in (1, 2)]
    told = answering({"value": [good, *odd, *start, *nameless]}, S2, area, "odata")
    assert good["Name"] in told["added"]
    broken = [each["path"] for each in told["broken"]]
    assert len({path for path in broken if path.startswith("a product without a name (")}) == 2


@pytest.mark.parametrize("count", ["1", 1, None, [], "one", True, 1.5, -1])
def test_a_count_is_one_or_none(area: Database, testdata: Path, count: Any) -> None:
    product = backscatter(testdata, 0)
    answer = {"value": [product], "@odata.count": count}
    assert answering(answer, BS, area, "odata")["added"] == [product["Name"]]
    features = {"features": [resto(testdata)], "properties": {"totalResults": count, "links": count}}
    assert answering(features, BS, area, "opensearch")["known"] == 1
    items = {"features": [item(testdata)], "numberMatched": count, "links": []}
    assert answering(items, S2, area, "stac")["added"] == [f"{item(testdata)['id']}.SAFE"]


@pytest.mark.parametrize("count", [0, 3, 9_999, 20_000])
def test_a_count_of_stac_is_an_estimate(area: Database, testdata: Path, count: int) -> None:
    """By its own words: the list goes by its links, and by what the halves of a period show."""
    one = item(testdata)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers["Content-Length"])
        start, end = map(utc, json.loads(handler.rfile.read(length))["datetime"].split("/"))
        assert start
        assert end
        there = [one] if start <= datetime(2024, 2, 6, 4, 11, 37, 189000) <= end else []
        long = end - start > timedelta(hours=1)
        reply(handler, 200, {"features": there, "numberMatched": count if long else 1, "links": []})

    known = Catalogue([])
    known.faults.extend([answer] * 3000)
    with serve(known) as url:
        result = run(area, url, "--source", "stac", card=S2)
    assert result.exception is None, result.exception
    assert json.loads(result.stdout)["added"] == [f"{one['id']}.SAFE"]


def test_stac(area: Database, testdata: Path) -> None:
    odd = [item(testdata) | {"properties": value, "id": f"{value}"} for value in ODD]
    odd += [item(testdata) | {"id": value, "number": n} for n, value in enumerate((None, None, *ODD))]
    odd += [item(testdata) | {"assets": value, "id": f"assets {value}"} for value in ODD]
    answer = {"features": [item(testdata), *odd], "links": []}
    told = answering(answer, S2, area, "stac")
    assert told["added"] == [f"{item(testdata)['id']}.SAFE"]
    assert len(told["broken"]) >= 2 * len(ODD)
    assert {each["status"] for each in told["broken"]} == {"Rio error"}


def test_opensearch(area: Database, testdata: Path) -> None:
    good = resto(testdata)
    odd = [good | {"id": f"{n}", "properties": value} for n, value in enumerate(ODD)]
    odd += [
        good | {"id": f"{field}{n}", "properties": good["properties"] | {field: value}}
        for field in ("title", "startDate", "productIdentifier", "cloudCover")
        for n, value in enumerate(ODD)
    ]
    for about in (*ODD, {"links": ["x"]}):
        answer = {"features": [good, *odd], "properties": about}
        told = answering(answer, BS, area, "opensearch")
        assert len(told["added"]) + told["known"] == 1
        assert any("the service states no name for the product" in each["reason"] for each in told["broken"])


def test_what_could_not_be_entered_and_has_no_name_is_asked_for_again(area: Database, testdata: Path) -> None:
    known = Catalogue([backscatter(testdata, n) for n in range(2)])
    name = known.products[0]["Name"]
    known.products[0]["Name"] = None
    with serve(known) as url:
        (broken,) = sync(area, url)["broken"]
        assert broken["path"] == known.products[0]["Id"]
        known.products[0]["Name"] = name
        assert sync(area, url, "--since", "last")["added"] == [name]


@pytest.mark.parametrize(("said", "online"), [(True, True), (None, True), (False, False)])
def test_only_what_is_said_to_be_offline_is(testdata: Path, said: bool | None, online: bool) -> None:
    session = http.polite_session(print)
    product = backscatter(testdata, 0, Online=said)
    assert OData(session).tell(product).online is online
    feature = resto(testdata)
    feature["properties"]["status"] = (
        {True: "ONLINE", False: "OFFLINE"}.get(said) if said is not None else None
    )
    assert OpenSearch(session, "http://x").tell(feature).online is online
    own = item(testdata)
    own["properties"]["order:status"] = (
        {True: "succeeded", False: "orderable"}.get(said) if said is not None else None
    )
    assert Stac(session).tell(own).online is online


def test_a_name_that_is_too_long_is_told_and_the_rest_comes_in(area: Database, testdata: Path) -> None:
    first, second = (backscatter(testdata, number) for number in range(2))
    long = second["Name"].replace("_CARD_BS", "X" * 60 + "_CARD_BS")
    second |= {"Name": long, "S3Path": second["S3Path"].replace(second["Name"], long)}
    told = answering({"value": [first, second]}, BS, area, "odata")
    assert told["added"] == [first["Name"]]
    reason = "its name is too long: at most 120 characters are supported"
    assert told["broken"] == [{"path": long, "status": "Rio error", "reason": reason}]
    match = CARDS["bs"].pattern.fullmatch(long)
    assert match
    with pytest.raises(SceneError, match="its name is too long"):
        describe(Path("/eodata"), f"Sentinel-1/SAR/CARD-BS/2024/02/06/{long}", CARDS["bs"], match)


def test_a_time_at_the_end_of_all_time(testdata: Path) -> None:
    with pytest.raises(ValueError, match="is not a valid time in UTC"):
        utc("0001-01-01T00:00:00+05:00")
    service = OData(http.polite_session(print))
    record = normal(
        CARDS["bs"], service.tell(backscatter(testdata, 0, PublicationDate="2024-02-06T05:00:00+05:00"))
    )
    assert record.published == datetime(2024, 2, 6)


@pytest.mark.parametrize(("west", "east"), [(179.5, 180.5), (-180.5, -179.5)])
def test_an_outline_that_goes_on_beyond_the_180th_meridian_is_cut_there(west: float, east: float) -> None:
    found = as_footprint(box(west, 52, east, 53))
    assert found.geom_type == "MultiPolygon"
    assert found.equals(box(179.5, 52, 180, 53) | box(-180, 52, -179.5, 53))


def test_an_outline_wholly_beyond_the_180th_meridian_is_moved() -> None:
    assert as_footprint(box(190, 52, 191, 53)).equals(box(-170, 52, -169, 53))
    assert as_footprint(box(-191, 52, -190, 53)).equals(box(169, 52, 170, 53))
    assert as_footprint(box(179, 52, 180, 53)).equals(box(179, 52, 180, 53))
    assert as_footprint(box(-180, 52, -179, 53)).equals(box(-180, 52, -179, 53))
