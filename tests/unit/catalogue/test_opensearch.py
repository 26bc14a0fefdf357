"""The manual's protocol: one page of at most 2,000 products, and shorter periods where that is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import shapely
from shapely.geometry import shape

from cbmctl.catalogue import http
from cbmctl.catalogue.opensearch import OpenSearch
from cbmctl.catalogue.record import CARDS, utc
from cbmctl.catalogue.service_products import normal
from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support.catalogue_search import BS, PERIOD, command, refuse, sync
from tests.support.free_ports import listening
from tests.support.odata_server import reply
from tests.support.recorded_answers import DAY, moved, recorded

Feature = dict[str, Any]
KNOWN = {"productType", "startDate", "completionDate", "geometry", "maxRecords", "exactCount", "sortParam"}
KNOWN |= {"sortOrder", "publishedAfter", "page"}


class Resto:
    """Answers as recorded ones do; `counts`: it says how many there are, or nearly; `wrong`: by so many."""

    def __init__(
        self, features: list[Feature], *, counts: bool = True, most: int = 2000, wrong: int | None = None
    ) -> None:
        self.features, self.counts, self.most, self.asked = features, counts, most, list[dict[str, str]]()
        self.wrong = wrong

    def answer(self, given: dict[str, str]) -> tuple[int, Any]:
        self.asked.append(given)
        if strange := given.keys() - KNOWN:
            return 400, {"detail": {"ErrorMessage": "Unknown query parameter(s).", "ErrorCode": 400}} | {
                "loc": sorted(strange)
            }
        start, end = utc(given["startDate"]), utc(given["completionDate"])
        area = shapely.from_wkt(given["geometry"])
        found = [
            feature
            for feature in self.features
            if start <= utc(feature["properties"]["startDate"])
            and utc(feature["properties"]["completionDate"]) <= end
            and area.intersects(shape(feature["geometry"]))
        ]
        page = found[: min(int(given["maxRecords"]), self.most)]
        more = [{"rel": "next", "href": "x"}] if len(page) < len(found) and not self.counts else []
        about = {
            "totalResults": len(found) + (self.wrong or 0) if self.counts else None,
            "exactCount": int(self.counts and self.wrong is None),
            "links": more,
        }
        return 200, {"type": "FeatureCollection", "properties": about, "features": page}


@contextmanager
def serve(resto: Resto) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path != "/resto/api/collections/Sentinel1/search.json":
                reply(self, 404, {"detail": {"ErrorMessage": "loadFromStore - Not Found", "ErrorCode": 404}})
                return
            reply(self, *resto.answer({key: values[0] for key, values in parse_qs(parts.query).items()}))

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}/resto/api"


def feature(template: Feature, odata: Feature, number: int) -> Feature:
    """A recorded feature of another time and place."""
    product = moved(odata, number)
    properties = template["properties"] | {
        "title": product["Name"],
        "startDate": product["ContentDate"]["Start"],
        "completionDate": product["ContentDate"]["End"],
        "productIdentifier": product["S3Path"],
    }
    return template | {"id": product["Id"], "properties": properties, "geometry": odata["GeoFootprint"]}


@pytest.fixture
def features(testdata: Path) -> list[Feature]:
    template = recorded(testdata, "resto-search-CARD-BS.json")["features"][0]
    (odata,) = recorded(testdata, "odata-products-card-bs.json")["value"]
    return [feature(template, odata, number) for number in range(4500)]


@pytest.mark.postgis
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("counts", "most"), [(True, 2000), (False, 2000), (True, 300), (False, 300)])
def test_more_products_than_a_page_holds(
    area: Database, features: list[Feature], *, counts: bool, most: int
) -> None:
    resto = Resto(features, counts=counts, most=most)
    with serve(resto) as url:
        answer = sync(area, url, "--source", "opensearch")
    assert len(answer["added"]) == len(set(answer["added"])) == len(features)
    assert all("page" not in given for given in resto.asked)


@pytest.mark.postgis
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("wrong", "most"), [(0, 2000), (1, 2000), (5000, 300), (-3, 2000), (-3, 300)])
def test_an_estimate_of_how_many_there_are(
    area: Database, features: list[Feature], wrong: int, most: int
) -> None:
    with serve(Resto(features[:400], wrong=wrong, most=most)) as url:
        answer = sync(area, url, "--source", "opensearch")
    assert len(answer["added"]) == len(set(answer["added"])) == 400


@pytest.mark.postgis
@pytest.mark.usefixtures("hasty")
def test_errors_are_one_sentence(area: Database) -> None:
    result = command(area, "sync", "there", *PERIOD, *BS, "--source", "opensearch")
    assert isinstance(result.exception, UserError)
    assert "--source opensearch needs the --url of an OpenSearch service" in str(result.exception)
    with serve(Resto([])) as url:
        refuse(area, url, f"{url} has no CARD-BS product from 2024-02-01", "--source", "opensearch")
        refuse(area, f"{url}/x", "refuses the search (HTTP 404: ", "--source", "opensearch")


@pytest.mark.parametrize(
    ("name", "card"),
    [("CARD-BS", "bs"), ("CARD-COH6", "c6"), ("CARD-COH12", "c12"), ("S2MSI2A", "s2")],
)
def test_recorded_answers_of_every_card(testdata: Path, name: str, card: str) -> None:
    service = OpenSearch(http.polite_session(print), "http://x/resto/api")
    for product in recorded(testdata, f"resto-search-{name}.json")["features"]:
        record = normal(CARDS[card], service.tell(product))
        title = product["properties"]["title"]
        assert (record.reference, record.card, record.sensor, record.online) == (
            title,
            card,
            "1A" if card != "s2" else "2A",
            True,
        )
        assert record.path == product["properties"]["productIdentifier"].removeprefix("/eodata/")
        assert record.obstime == service.sensed(product).replace(microsecond=0)
        assert record.published
        assert record.footprint.is_valid
        assert (record.tile is not None, record.epsg is not None) == (card == "s2", card == "s2")
    assert service.sensed({"properties": {"startDate": "2024-02-06T05:11:37+01:00"}}) == DAY
    assert utc("2024-02-06T04:11:37") == datetime(2024, 2, 6, 4, 11, 37)
