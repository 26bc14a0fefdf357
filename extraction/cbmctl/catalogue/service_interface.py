"""What a catalogue service is asked, and what it is to be able to do."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from shapely import Polygon

from cbmctl.catalogue.record import Card, utc
from cbmctl.catalogue.service_products import Told

Product = dict[str, Any]  # as the service describes it


@dataclass(frozen=True)
class Question:
    """Which products are wanted.

    Attributes:
        card: of which kind.
        start: sensed from then on, UTC without a zone.
        end: and before then.
        area: where; meeting it is enough.
        published: entered by the service from then on; None means whenever.
    """

    card: Card
    start: datetime
    end: datetime
    area: Polygon
    published: datetime | None = None


@dataclass(frozen=True)
class Page:
    """Part of an answer.

    Attributes:
        products: in the service's words.
        total: how many there are on all pages, where the service says it.
        exact: whether that is counted, and not estimated.
        more: whether the service says that this is not all and gives no way to the rest.
    """

    products: Sequence[Product]
    total: int | None = None
    exact: bool = True
    more: bool = False


def zulu(time: datetime) -> str:
    """Return a time of ours, UTC without a zone, as all services understand it."""
    return time.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(told: object) -> int | None:
    """Return how many products a service says there are; None where that is no number."""
    if isinstance(told, str) and told.isascii() and told.isdecimal():
        return int(told)
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None


def keyed(product: Product, told: object) -> str:
    """Return the key that a service gives a product; where it gives none, one of all that it says."""
    if isinstance(told, str | int) and told:
        return str(told)
    said = json.dumps(product, sort_keys=True).encode()
    return f"a product without a name ({hashlib.sha256(said).hexdigest()[:12]})"


def begun(told: str | None) -> datetime:
    """Return a start of sensing.

    Raises:
        ValueError: it is none.
        TypeError: likewise.
    """
    if time := utc(told):
        return time
    raise ValueError("the start of sensing is missing")


class Service(Protocol):
    """A catalogue that answers over the network.

    Attributes:
        name: of the protocol, as in `--source`.
        url: where it is.
        page_size: products a page, as far as the service allows.
        reach: how many products its pages can show at most.
    """

    name: str
    url: str
    page_size: int
    reach: int

    def pages(self, question: Question, page_size: int) -> Iterator[Page]:
        """Ask, page by page; products may be more than those asked for, but not fewer."""
        ...

    def key(self, product: Product) -> str:
        """Return what no two products have in common; LookupError, TypeError, AttributeError: it is none."""
        ...

    def sensed(self, product: Product) -> datetime:
        """Return the start of sensing by which the service searches, UTC without a zone.

        Where it says none the exception is any that reading a wrong form brings about.
        """
        ...

    def tell(self, product: Product) -> Told:
        """Return what is said about a product."""
        ...
