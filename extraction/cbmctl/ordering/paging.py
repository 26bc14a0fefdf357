"""A list that a service gives in pages, read so that no entity is missed if the list changes meanwhile."""

from collections.abc import Callable
from typing import Any

from cbmctl.catalogue.http import ServiceError

Entity = dict[str, Any]
_READINGS = 4


def read_list(url: str, page: Callable[[int], list[Entity]]) -> list[Entity]:
    """Return all entities; read again if the list changes while it is read.

    Args:
        url: of the list.
        page: returns the page that begins after so many entities.

    Raises:
        ServiceError: the list changes each time.
    """
    for _ in range(_READINGS):
        listed = _read(page)
        if listed is not None:
            return listed
    raise ServiceError(
        "service.inconsistent",
        f"{url} changes while it is read, {_READINGS} times, so that an order could be missed",
        "Nothing is ordered; try again later",
        about="ordering.url",
    )


def _read(page: Callable[[int], list[Entity]]) -> list[Entity] | None:
    """Return all entities; None if the list changed meanwhile.

    An entity that leaves the list moves all others forward, and one would be skipped. Therefore each page
    begins with the last entity of the page before. The last page brings nothing new, because the service may
    give no total and smaller pages than requested.
    """
    first = found = page(0)
    listed = list(first)
    while found:
        found = page(len(listed) - 1)
        if found == first:  # all there is, or the service does not know $skip
            break
        if not found or found[0].get("Id") != listed[-1].get("Id"):
            return None
        if len(found) == 1:
            break
        listed += found[1:]
    return listed
