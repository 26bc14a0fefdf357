"""All products of a period, however few a service shows at once: it is split until nothing can be missing.

An answer is complete if as many products were listed as the service says there are. Where it does not say,
an answer is complete if its last page was not full; a full one is asked for once more by pages of another
size. Everything else is asked for again in two halves.
"""

from dataclasses import replace
from datetime import timedelta
from math import floor

from cbmctl.catalogue.polite import ServiceError
from cbmctl.catalogue.service import Page, Product, Question, Service

SHORTEST = timedelta(seconds=1)
_ATTEMPTS = 3


class _TooManyError(Exception):
    """The answer is, or may be, cut off."""


class _UnsteadyError(Exception):
    """The answer changed while it was read."""


def complete(service: Service, question: Question) -> list[Product]:
    """Return every product that was asked for, each once.

    Raises:
        ServiceError: the service contradicts itself, repeats a page, or has more products at one instant
            than it can show.
    """
    try:
        found = _steady(service, question)
    except _TooManyError:
        if question.end - question.start <= SHORTEST:
            raise ServiceError(
                f"{service.url} has more products at {question.start} than it can list: ask for a smaller"
                " area (cbmctl aoi set)"
            ) from None
        half = (question.end - question.start) / 2
        middle = question.start + timedelta(milliseconds=floor(half / timedelta(milliseconds=1)))
        return [
            *complete(service, replace(question, end=middle)),
            *complete(service, replace(question, start=middle)),
        ]
    return [product for product in found if _within(service, question, product)]


def _within(service: Service, question: Question, product: Product) -> bool:
    """Whether a product was sensed in the period; one that does not say it is for the caller to judge."""
    try:
        return question.start <= service.sensed(product) < question.end
    except (LookupError, TypeError, ValueError):
        return True


def _steady(service: Service, question: Question) -> list[Product]:
    for _ in range(_ATTEMPTS):
        try:
            for size in (service.page_size, service.page_size * 7 // 10):
                found, certain = _gather(service, question, size)
                if certain:
                    return found
            raise _TooManyError
        except _UnsteadyError as error:
            contradiction = error
    raise ServiceError(f"{service.url} contradicts itself ({contradiction}): try again later")


def _gather(service: Service, question: Question, size: int) -> tuple[list[Product], bool]:
    """Read all pages; tell whether the answer is complete for certain."""
    found: dict[str, Product] = {}
    total, largest, last, number = None, 0, 0, 0
    for page in service.pages(question, size):
        number += 1
        _take(service, question, page, found)
        total = page.total if total is None else total
        if page.more or len(found) > service.reach or (total or 0) > service.reach:
            raise _TooManyError
        last = len(page.products)
        largest = max(largest, last)
    if total is not None:
        if len(found) != total:
            raise _UnsteadyError(f"it says {total} products and lists {len(found)}")
        return list(found.values()), True
    full = last >= size or (number > 1 and last >= largest)
    return list(found.values()), not full


def _take(service: Service, question: Question, page: Page, found: dict[str, Product]) -> None:
    try:
        new = {service.key(product): product for product in page.products}
    except (LookupError, TypeError) as error:
        raise ServiceError(
            f"{service.url} lists something that is no product ({error!r}): check the URL of the service"
        ) from error
    if new and found.keys() >= new.keys():
        raise ServiceError(
            f"{service.url} repeats a page of its answer for {question.start:%Y-%m-%d} to"
            f" {question.end:%Y-%m-%d}, so that the rest cannot be read: try again later, or choose another"
            " --source"
        )
    found |= new
