"""STAC, the interface of the Copernicus Data Space for Sentinel-2, by pystac-client."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urljoin

import requests
import shapely
from pystac import Link
from pystac_client.exceptions import APIError
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO

from cbmctl.catalogue.http import ServiceError, no_address, refused
from cbmctl.catalogue.service_interface import Page, Product, Question, begun, counted, keyed, zulu
from cbmctl.catalogue.service_products import Told
from cbmctl.config.catalogue import unusable
from cbmctl.errors import UserError

URL = "https://stac.dataspace.copernicus.eu/v1"
_COLLECTIONS = {"s2": "sentinel-2-l2a"}
# A whole item takes 90 kB, most of it about assets that lie where the manifest does.
_FIELDS = ["id", "collection", "geometry", "properties", "assets.safe_manifest.href"]
_MANIFEST = "safe_manifest"
_MOST_EMPTY = 10  # pages in a row that list nothing and lead on


class Stac:
    """A service with `/search`."""

    name = "stac"
    page_size = 100
    reach = 10_000  # deeper paging is what services break off

    def __init__(self, session: requests.Session, url: str | None = None) -> None:
        """`url`: of the landing page, with or without /search."""
        self.url = (url or URL).rstrip("/").removesuffix("/search")
        self._io = StacApiIO(max_retries=None)
        self._io.session = session

    def pages(self, question: Question, page_size: int) -> Iterator[Page]:
        """Ask by sensing start; both ends of a STAC period count, so there may be products of the end."""
        card = question.card
        if card.name not in _COLLECTIONS:
            raise UserError(
                "catalogue.no_collection",
                f"STAC has no collection of {card.ptype} products",
                "Use --source odata",
                about="--source",
            )
        published: dict[str, Any] | None = None
        if question.published:
            published = {"op": ">=", "args": [{"property": "published"}, zulu(question.published)]}
        # the search itself and no Client: what that asks beforehand counts against the rate limit
        items = ItemSearch(
            f"{self.url}/search",
            stac_io=self._io,
            collections=[_COLLECTIONS[card.name]],
            datetime=f"{zulu(question.start)}/{zulu(question.end)}",
            intersects=shapely.geometry.mapping(question.area),
            filter=published,
            filter_lang="cql2-json" if published else None,
            fields=_FIELDS,
            limit=page_size,
        )
        source: str | Link = items.url
        asked, empty = set[str](), 0
        # not the client's own loop: to that an answer that lists nothing, or is no list, is the end
        while True:
            features, total, following = self._read(source, items)
            # of the whole answer, not of what lies before the end; by STAC's own words possibly estimated
            yield Page(features, total, exact=False)
            if following is None:
                return
            source, way = Link.from_dict(following), json.dumps(following, sort_keys=True)
            empty = 0 if features else empty + 1
            if way in asked or empty == _MOST_EMPTY:
                raise ServiceError(
                    "service.repeats_page",
                    f"{self.url} repeats a page or lists only empty ones, so that the rest cannot be read",
                    "Try again later, or choose another --source",
                    about="--url",
                )
            asked.add(way)

    def _read(
        self, source: str | Link, items: ItemSearch
    ) -> tuple[list[Product], int | None, dict[str, Any] | None]:
        """Return what a page lists, how many there are on all pages, and the way to the next one."""
        try:
            page = self._io.read_json(source, method=items.method, parameters=items.get_parameters())
            features, following = page["features"], None
            if not isinstance(features, list):
                raise TypeError(f"features is {features!r}")
            for link in page.get("links", []):
                if link["rel"] == "next":
                    here = source.href if isinstance(source, Link) else source
                    following = {**link, "href": urljoin(here, str(link["href"]))}
                    if unusable(following["href"]):  # pystac would read a file of ours
                        raise ValueError(f"the URL of the next page is invalid: {link['href']}")
            return features, counted(page.get("numberMatched")), following
        except APIError as error:
            if isinstance(error.__context__, ServiceError):
                raise error.__context__ from None
            if isinstance(error.__context__, requests.RequestException):
                raise no_address(self.url, error.__context__) from error
            raise refused(self.url, getattr(error, "status_code", None), str(error)) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ServiceError(
                "service.not_stac",
                f"{self.url} is not a valid STAC service ({what})",
                "Check the URL of the service",
                about="--url",
            ) from error

    def key(self, product: Product) -> str:
        """Return the item's id."""
        return keyed(product, product["id"])

    def sensed(self, product: Product) -> datetime:
        """Return `datetime`, or the start where that is empty."""
        properties = product["properties"]
        return begun(properties.get("datetime") or properties["start_datetime"])

    def tell(self, product: Product) -> Told:
        """Return what its properties say, and where its manifest lies.

        `raster:offset` of the assets is left alone: the service writes one constant whatever the baseline.
        """
        properties, assets = product["properties"], product.get("assets") or {}
        manifest = (assets.get(_MANIFEST) or {}).get("href")
        return Told(
            name=product["id"],
            path=manifest.rpartition("/")[0] if manifest else None,
            footprint=product.get("geometry"),
            cloud_cover=properties.get("eo:cloud_cover"),
            datatake=properties.get("eopf:datatake_id"),
            datastrip=properties.get("eopf:datastrip_id"),
            processed=properties.get("processing:datetime"),
            published=properties.get("published"),
            # the word of STAC's order extension for what is to be fetched first; CDSE was not seen to say it
            online=properties.get("order:status") in (None, "succeeded"),
            relative_orbit=properties.get("sat:relative_orbit"),
            direction=properties.get("sat:orbit_state"),
        )
