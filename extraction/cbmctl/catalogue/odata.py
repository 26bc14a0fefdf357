"""The OData interface of the Copernicus Data Space, which knows every product."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import requests
import shapely

from cbmctl.catalogue.http import ServiceError, ask
from cbmctl.catalogue.record import Card
from cbmctl.catalogue.service_interface import Page, Product, Question, begun, counted, keyed, zulu
from cbmctl.catalogue.service_products import Told

URL = "https://catalogue.dataspace.copernicus.eu/odata/v1"


class OData:
    """A service as `/odata/v1/Products`."""

    name = "odata"
    page_size = 1000
    reach = 10_000  # $skip goes no further

    def __init__(self, session: requests.Session, url: str | None = None) -> None:
        """`url`: of the interface, with or without /Products."""
        self.url = (url or URL).rstrip("/").removesuffix("/Products")
        self._session = session

    def pages(self, question: Question, page_size: int) -> Iterator[Page]:
        """Ask by sensing start, which makes the order of pages certain."""
        seen, total = 0, None
        while True:
            parameters: dict[str, str | int] = {
                "$filter": _filter(question),
                "$orderby": "ContentDate/Start asc",
                "$expand": "Attributes",
                "$top": page_size,
                "$skip": seen,
            }
            if not seen:
                parameters["$count"] = "true"  # slow, and once is enough
            answer = ask(self._session, f"{self.url}/Products", parameters)
            products = answer.get("value")
            if not isinstance(products, list):
                raise ServiceError(
                    "service.no_products",
                    f"{self.url} answers without products",
                    "Check the URL of the service",
                    about="--url",
                )
            total = counted(answer.get("@odata.count", total))
            yield Page(products, total)
            seen += len(products)
            if not products or (seen >= total if total is not None else len(products) < page_size):
                return
            if seen > self.reach:
                return

    def named(self, card: Card, beginning: str, start: datetime, end: datetime) -> list[str]:
        """Return names of products.

        Args:
            card: their kind.
            beginning: of the name.
            start: sensed from then on, UTC without a zone; the service searches by name slowly without it.
            end: and before then.

        Raises:
            ServiceError: the service does not answer, or not as it should.
        """
        conditions = [*_kind(card), *_period(start, end), f"startswith(Name,'{beginning}')"]
        parameters: dict[str, str | int] = {"$filter": " and ".join(conditions), "$top": self.page_size}
        products = ask(self._session, f"{self.url}/Products", parameters).get("value")
        if not isinstance(products, list):
            raise ServiceError(
                "service.no_products",
                f"{self.url} answers without products",
                "Check the URL of the service",
                about="--url",
            )
        return [str(each.get("Name")) for each in products if isinstance(each, dict)]

    def key(self, product: Product) -> str:
        """Return the product's UUID."""
        return keyed(product, product["Id"])

    def sensed(self, product: Product) -> datetime:
        """Return ContentDate/Start."""
        return begun(product["ContentDate"]["Start"])

    def tell(self, product: Product) -> Told:
        """Return what its fields and attributes say."""
        attributes = {each["Name"]: each.get("Value") for each in product.get("Attributes") or []}
        return Told(
            name=product["Name"],
            path=product.get("S3Path"),
            footprint=product.get("GeoFootprint") or _geojson(product.get("Footprint")),
            cloud_cover=attributes.get("cloudCover"),
            datatake=attributes.get("productGroupId"),
            datastrip=attributes.get("datastripId"),
            processed=attributes.get("processingDate"),
            published=product.get("PublicationDate"),
            online=product.get("Online") is not False,
            relative_orbit=attributes.get("relativeOrbitNumber"),
            direction=attributes.get("orbitDirection"),
            timeliness=attributes.get("timeliness"),
        )


def _filter(question: Question) -> str:
    conditions = [
        *_kind(question.card),
        *_period(question.start, question.end),
        f"OData.CSC.Intersects(area=geography'SRID=4326;{shapely.to_wkt(question.area, trim=True)}')",
    ]
    if question.published:
        conditions.append(f"PublicationDate ge {zulu(question.published)}")
    return " and ".join(conditions)


def _kind(card: Card) -> list[str]:
    return [
        # of the folder Sentinel-1/SAR/… it is the mission
        f"Collection/Name eq '{card.folder.partition('/')[0].upper()}'",
        "Attributes/OData.CSC.StringAttribute/any(att:att/Name eq 'productType'"
        f" and att/OData.CSC.StringAttribute/Value eq '{card.ptype}')",
    ]


def _period(start: datetime, end: datetime) -> list[str]:
    return [f"ContentDate/Start ge {zulu(start)}", f"ContentDate/Start lt {zulu(end)}"]


def _geojson(text: str | None) -> Mapping[str, Any] | None:
    """Return the outline in `geography'SRID=4326;POLYGON ((…))'`."""
    if not text:
        return None
    try:
        outline: Mapping[str, Any] = shapely.from_wkt(text.rpartition(";")[2].rstrip("'")).__geo_interface__
    except shapely.errors.ShapelyError:
        return {"type": text[:40]}
    return outline
