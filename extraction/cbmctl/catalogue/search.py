"""A catalogue service as a source: month by month, what it lists becomes records that meet the true area."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.found_products import Broken, Findings
from cbmctl.catalogue.record import CARDS, Card, Record
from cbmctl.catalogue.search_area import pieces
from cbmctl.catalogue.service_interface import Product, Question, Service
from cbmctl.catalogue.service_products import normal
from cbmctl.catalogue.slicing import SHORTEST, complete
from cbmctl.reasons import RECORD_INVALID
from cbmctl.scenes import SceneError

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Search:
    """What is wanted of a source.

    Attributes:
        area: EPSG:4326; products must meet its true shape.
        start: first day of sensing.
        end: the day after the last.
        card: one of CARDS.
        published: only what the service entered from then on; None means all.
        reached: what was sensed before is known from a search that was cut short.
        again: instants whose products are asked for whenever they were published.
        known: products by reference that an archive need not open.
    """

    area: BaseGeometry
    start: date
    end: date
    card: str
    published: datetime | None = None
    reached: datetime | None = None
    again: Sequence[datetime] = ()
    known: Mapping[str, Record] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What one step of a search has found.

    Attributes:
        findings: products, and what cannot be catalogued.
        until: everything sensed before is found with this step; None where that does not follow.
    """

    findings: Findings
    until: datetime | None


def search(
    service: Service, wanted: Search, progress: Callable[[int], None], note: Callable[[str], None]
) -> Iterator[Batch]:
    """Ask a service for everything that is wanted, a month at a time.

    Args:
        service: asked.
        wanted: what for.
        progress: told how many days of the period are done.
        note: told of what is doubtful.

    Raises:
        ServiceError: it does not answer, or not as it should.
    """
    outline = pieces(wanted.area)
    shapely.prepare(wanted.area)
    for start, end in months(wanted.start, wanted.end):
        if wanted.reached is None or end > wanted.reached:
            found = _findings(service, wanted, outline, (start, end), wanted.published, note=note)
            progress((end - start).days)
            yield Batch(found, end)
    for instant in wanted.again:
        yield Batch(_findings(service, wanted, outline, (instant, instant + SHORTEST), None, note=note), None)


def months(start: date, end: date) -> Iterator[Span]:
    """Cut a period at the first day of each month."""
    while start < end:
        following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        stop = min(following, end)
        yield datetime(start.year, start.month, start.day), datetime(stop.year, stop.month, stop.day)
        start = stop


def _findings(
    service: Service,
    wanted: Search,
    outline: Sequence[Polygon],
    span: Span,
    published: datetime | None,
    *,
    note: Callable[[str], None],
) -> Findings:
    card = CARDS[wanted.card]
    products: dict[str, Product] = {}
    for piece in outline:
        question = Question(card, *span, piece, published)
        products |= {service.key(product): product for product in complete(service, question, note)}
    findings = Findings()
    for product in products.values():
        _sort(service, card, product, wanted.area, findings)
    # a product that the service lists twice, under two keys, is one; it can be read if either is online
    findings.records.sort(key=lambda record: record.online)
    findings.records = list({record.reference: record for record in findings.records}.values())
    return findings


def _sort(service: Service, card: Card, product: Product, area: BaseGeometry, findings: Findings) -> None:
    """Put a product where it belongs."""
    name = service.key(product)
    try:
        told = service.tell(product)
        name = told.name if isinstance(told.name, str) and told.name else name
        record = normal(card, told)
    except SceneError as error:
        findings.broken.append(Broken(name, error.status, error.reason))
        return
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        findings.broken.append(Broken(name, RECORD_INVALID.status, f"its description is invalid: {error!r}"))
        return
    if area.intersects(record.footprint):
        findings.records.append(record)
    else:
        findings.elsewhere[record.tile or "beside it"] += 1
