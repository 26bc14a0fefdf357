"""The OpenSearch interface of resto, which the manual used, for archives that still speak it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import requests
import shapely

from cbmctl.catalogue.http import ServiceError, ask
from cbmctl.catalogue.service_interface import Page, Product, Question, begun, counted, keyed, zulu
from cbmctl.catalogue.service_products import Told
from cbmctl.errors import UserError

_COLLECTIONS = {"s2": "Sentinel2", "bs": "Sentinel1", "c6": "Sentinel1", "c12": "Sentinel1"}
# Archives differ in whether the end of the period is for the start or for the end of sensing.
_MARGIN = timedelta(minutes=2)


class OpenSearch:
    """An archive as `/resto/api/collections/<collection>/search.json`."""

    name = "opensearch"
    page_size = 2000
    reach = 2000  # one page and no other: what is more is asked for by shorter periods

    def __init__(self, session: requests.Session, url: str | None = None) -> None:
        """`url`: up to and without /collections."""
        if url is None:
            raise UserError(
                "catalogue.no_url",
                (
                    "--source opensearch needs the --url of an OpenSearch service, such as"
                    " https://archive.example/resto/api: the Copernicus Data Space switched off its own on 2"
                    " March 2026"
                ),
                about="--url",
            )
        self.url = url.rstrip("/").removesuffix("/collections")
        self._session = session

    def pages(self, question: Question, page_size: int) -> Iterator[Page]:
        """Ask for one page; a longer answer has `more`."""
        parameters: dict[str, str | int] = {
            "productType": question.card.ptype,
            "startDate": zulu(question.start - _MARGIN),
            "completionDate": zulu(question.end + _MARGIN),
            "geometry": shapely.to_wkt(question.area, trim=True),
            "maxRecords": page_size,
            "exactCount": 1,
            "sortParam": "startDate",
            "sortOrder": "ascending",
        }
        if question.published:
            parameters["publishedAfter"] = zulu(question.published)
        url = f"{self.url}/collections/{_COLLECTIONS[question.card.name]}/search.json"
        answer = ask(self._session, url, parameters)
        products, about = answer.get("features"), answer.get("properties")
        if not isinstance(products, list):
            raise ServiceError(
                "service.no_products",
                f"{self.url} answers without products",
                "Check the URL of the service",
                about="--url",
            )
        about = about if isinstance(about, dict) else {}
        total, links = counted(about.get("totalResults")), about.get("links")
        links = links if isinstance(links, list) else []
        following = any(isinstance(link, dict) and link.get("rel") == "next" for link in links)
        exact = about.get("exactCount") not in (0, "0")  # False is 0
        more = following or (exact and total is not None and total > len(products))
        yield Page(products, total, exact, more)

    def key(self, product: Product) -> str:
        """Return the product's id, or its title in answers that lack one."""
        return keyed(product, product.get("id") or product["properties"]["title"])

    def sensed(self, product: Product) -> datetime:
        """Return `startDate`."""
        return begun(product["properties"]["startDate"])

    def tell(self, product: Product) -> Told:
        """Return what its properties say; of the datastrip they say nothing."""
        properties = product["properties"]
        return Told(
            name=properties["title"],
            path=properties.get("productIdentifier"),
            footprint=product.get("geometry"),
            cloud_cover=properties.get("cloudCover"),
            published=properties.get("published"),
            online=properties.get("status") in (None, "ONLINE", 0, "0"),
            relative_orbit=properties.get("relativeOrbitNumber"),
            direction=properties.get("orbitDirection"),
        )
