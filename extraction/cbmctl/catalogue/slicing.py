"""All products of a period, however few a service shows at once: it is split until nothing can be missing.

An answer is complete if as many products were listed as the service says there are, and fewer than it can
show. Where it does not say how many there are, or only estimates it, the last page must not be full either: a
service that stops without a word stops after a full one. Where the estimate is higher than what was listed,
the halves of the period must show nothing else. Everything else is asked for again in two halves of the
period, and at one instant in two halves of the area.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from math import floor

import shapely
from shapely import Polygon

from cbmctl.catalogue.http import ServiceError
from cbmctl.catalogue.service_interface import Page, Product, Question, Service
from cbmctl.invocation import command

SHORTEST = timedelta(seconds=1)
NARROWEST = 0.1  # degrees: what is smaller lies in the same few tiles
_ATTEMPTS = 3


class _TooManyError(Exception):
    """The answer is, or may be, cut off."""


class _UnsteadyError(Exception):
    """The answer changed while it was read."""


def complete(
    service: Service, question: Question, note: Callable[[str], None] = lambda _line: None
) -> list[Product]:
    """Return every product that was asked for, each once.

    Args:
        service: asked.
        question: what for.
        note: told of a list that is believed though the service estimates that there is more.

    Raises:
        ServiceError: the service contradicts itself, repeats a page, or has more products at one instant
            and place than it can show.
    """
    try:
        found, total = _steady(service, question)
        if total is not None and total > len(found):
            if not _confirmed(service, question, found):
                raise _TooManyError
            note(
                f"{service.url} estimates {total} products from {question.start:%Y-%m-%d %H:%M} to"
                f" {question.end:%Y-%m-%d %H:%M} and lists {len(found)}; shorter periods list no others"
            )
    except _TooManyError:
        smaller = list(_halves(question))
        if not smaller:
            raise ServiceError(
                "service.too_many_products",
                f"{service.url} has, or may have, more products at {question.start} than it can list",
                f"Ask for a smaller area ({command('aoi set')}), or use another service",
                about="--url",
            ) from None
        # a product may lie in both halves of an area
        parts = {
            service.key(product): product for part in smaller for product in complete(service, part, note)
        }
        return list(parts.values())
    return [product for product in found if _within(service, question, product)]


def _confirmed(service: Service, question: Question, found: Sequence[Product]) -> bool:
    """Whether a list is all there is, of which an estimate says that there is more.

    One that was cut off goes on in the halves of the period, unless all of it lies in one of them: that one
    is halved in turn. At one instant the list is believed, because it ended as lists do.
    """
    known = {service.key(product) for product in found}
    doubtful = True
    while doubtful and question.end - question.start > SHORTEST:
        shown = []
        for half in _halves(question):
            try:
                found, total = _steady(service, half)
            except _TooManyError:
                return False
            new = {service.key(product) for product in found if _within(service, half, product)}
            if not new <= known:
                return False
            shown += [(half, total is not None and total > len(found))] if new else []
        if len(shown) != 1:
            return True
        ((question, doubtful),) = shown
    return True


def _halves(question: Question) -> Iterator[Question]:
    """Cut a question in two: by time, at one instant by place; nothing where both are as small as can be."""
    length = question.end - question.start
    if length > SHORTEST:
        middle = question.start + timedelta(milliseconds=floor(length / 2 / timedelta(milliseconds=1)))
        yield replace(question, end=middle)
        yield replace(question, start=middle)
        return
    west, south, east, north = question.area.bounds
    if max(east - west, north - south) <= NARROWEST:
        return
    # few digits: services get six, and the halves are to have the same border
    lon, lat = round((west + east) / 2, 4), round((south + north) / 2, 4)
    if east - west >= north - south:
        sides = shapely.box(west, south, lon, north), shapely.box(lon, south, east, north)
    else:
        sides = shapely.box(west, south, east, lat), shapely.box(west, lat, east, north)
    for side in sides:
        for part in shapely.get_parts(question.area.intersection(side)).tolist():
            if isinstance(part, Polygon):  # where the area only touches the cut, the other side has it
                yield replace(question, area=part)


def _within(service: Service, question: Question, product: Product) -> bool:
    """Whether a product was sensed in the period; one that does not say it is for the caller to judge."""
    try:
        return question.start <= service.sensed(product) < question.end
    except (LookupError, TypeError, ValueError, AttributeError):
        return True


def _steady(service: Service, question: Question) -> tuple[list[Product], int | None]:
    for _ in range(_ATTEMPTS):
        try:
            return _gather(service, question)
        except _UnsteadyError as error:
            contradiction = error
    raise ServiceError(
        "service.inconsistent",
        f"{service.url} gives inconsistent answers ({contradiction})",
        "Try again later",
        about="--url",
    )


def _gather(service: Service, question: Question) -> tuple[list[Product], int | None]:
    """Read all pages of an answer; return with it how many there are by the service's own words."""
    found: dict[str, Product] = {}
    total, exact, largest, last, number = None, True, 0, 0, 0
    for page in service.pages(question, service.page_size):
        _take(service, question, page, found)
        if total is None:
            total, exact = page.total, page.exact
        # a count that is as much as the service can show may be cut off as well
        if page.more or max(len(found), (total or 0) if exact else 0) >= service.reach:
            raise _TooManyError
        if page.products:  # an empty page says nothing that the one before did not
            number += 1
            last = len(page.products)
            largest = max(largest, last)
    if total is not None and exact and len(found) != total:
        raise _UnsteadyError(f"it states {total} products and lists {len(found)}")
    full = last >= service.page_size or (number > 1 and last >= largest)
    if full and len(found) != total:
        raise _TooManyError
    return list(found.values()), total


def _take(service: Service, question: Question, page: Page, found: dict[str, Product]) -> None:
    try:
        new = {service.key(product): product for product in page.products}
    except (LookupError, TypeError, AttributeError) as error:
        raise ServiceError(
            "service.invalid_product",
            f"{service.url} lists an invalid product ({error!r})",
            "Check the URL of the service",
            about="--url",
        ) from error
    if new and found.keys() >= new.keys():
        raise ServiceError(
            "service.repeats_page",
            (
                f"{service.url} repeats a page of its answer for {question.start:%Y-%m-%d} to"
                f" {question.end:%Y-%m-%d}, so that the rest cannot be read"
            ),
            "Try again later, or use another service",
            about="--url",
        )
    found |= new
