"""Bring the ledger up to date: find each item's order in the service's list.

An order is recognised by its number, else by the UUID in its name. The service does not promise to list names
as they were given. Therefore an item whose answer was lost also matches an order of the same workflow and
input that was placed since and belongs to no other item. A wrong match costs nothing; a missed one orders
the product twice.
"""

import re
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta

from cbmctl.ordering.ledger import ON_ORDER, Item, Ledger
from cbmctl.ordering.order_service import ACTIVE, OrderService, ServiceOrder
from cbmctl.ordering.wanted_product import Wanted

NAME = "cbm {}"  # of an order at the service; names need not be unique there, so it carries the item's UUID
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_VERSION = re.compile(r"_[0-9A-F]{4}\.SAFE$")
_CLOCKS = timedelta(minutes=10)  # by which the database's clock and the service's may differ
_NO_ACCEPTANCE = "the service was sent the order, did not answer, and does not list it"
_NOT_LISTED = "the service accepted the order and does not list it any more"


@dataclass
class Listed:
    """The service's orders, and which of them belong to an item of the ledger."""

    by_id: Mapping[str, ServiceOrder]
    by_uuid: Mapping[uuid.UUID, Sequence[ServiceOrder]]
    claimed: set[str] = field(default_factory=set)

    def unclaimed(self, workflow: str, given: str) -> list[ServiceOrder]:
        """Return the orders of a workflow and an input that belong to no item of the ledger.

        All versions of the input match: their names differ only in the last four digits.
        """
        return [
            order
            for order in self.by_id.values()
            if order.input
            and _VERSION.sub("", order.input) == _VERSION.sub("", given)
            and order.workflow in (workflow, None)
            and order.id not in self.claimed
        ]

    def adoptable(self, workflow: str, wanted: Wanted) -> ServiceOrder | None:
        """Return an order placed elsewhere, on the web page or by another tenant, that makes a product."""
        found = [
            order
            for order in self.unclaimed(workflow, wanted.input)
            if order.workflow and not order.temporary and order.state in (*ACTIVE, "completed")
        ]
        return found[0] if found else None


@dataclass(frozen=True)
class Duplicate:
    """An item that the service carries out more than once, and the ids of its orders there."""

    item: Item
    service_ids: tuple[str, ...]


def look(orders: Sequence[ServiceOrder]) -> Listed:
    """Return the service's list by id, and by the UUIDs in the names of the orders."""
    by_uuid = defaultdict(list)
    for order in orders:
        for text in _UUID.findall(order.name.lower()):
            by_uuid[uuid.UUID(text)].append(order)
    return Listed({order.id: order for order in orders}, by_uuid)


def refresh(ledger: Ledger, service: OrderService) -> list[Duplicate]:
    """Read the service's list and bring the ledger up to date; return what is ordered more than once.

    Raises:
        UserError: the service does not answer, or not as documented.
    """
    return reconcile(ledger, service, look(service.orders()))


def reconcile(ledger: Ledger, service: OrderService, listed: Listed) -> list[Duplicate]:
    """Update the ledger's items from the service's list, and mark their orders in `listed` as claimed.

    An item that was sent and has no order in the list becomes `unknown`.

    Returns:
        Items that the service carries out more than once.
    """
    items = ledger.items()
    listed.claimed |= {item.service_id for item in items if item.service_id}
    listed.claimed |= {order.id for item in items for order in listed.by_uuid.get(item.id, ())}
    on_order = {item.key: item.id for item in items if item.state in ON_ORDER}
    for item in items:
        found = _found(item, service, listed)
        if found:
            listed.claimed.add(found.id)
        holder = on_order.setdefault(item.key, item.id) if found and found.state in ON_ORDER else item.id
        if found and holder == item.id:
            if (found.state, found.message, found.id) != (item.state, item.message, item.service_id):
                ledger.follow(item.id, found)
        elif not found:
            _absent(ledger, item)
    return _duplicates(items, listed)


def _found(item: Item, service: OrderService, listed: Listed) -> ServiceOrder | None:
    """Return the service's order of an item."""
    named = listed.by_uuid.get(item.id, ())
    if item.service_id:
        order = listed.by_id.get(item.service_id)
        # the list may be a page behind; an item that has ended does not change any more
        if order is None and item.state in (*ACTIVE, "sending", "unknown"):
            order = service.order(item.service_id)
        # of an item that the service carries out twice, the order that is on order or made counts
        if order is None or order.state not in ON_ORDER:
            order = _best([order, *named] if order else named)
        # an item that the service lost may have been sent again, with another number
        if order or item.state not in ("sending", "unknown"):
            return order
    if named:
        return _best(named)
    if item.state not in ("sending", "unknown"):
        return None
    since = item.sent_at.astimezone(UTC).replace(tzinfo=None) - _CLOCKS
    similar = [
        order
        for order in listed.unclaimed(item.workflow, item.input)
        if order.submitted is None or order.submitted >= since
    ]
    return _best(similar)


def _best(orders: Sequence[ServiceOrder]) -> ServiceOrder | None:
    """Return the first order that is on order or made, else the first one."""
    return min(orders, key=lambda order: order.state not in ON_ORDER, default=None)


def _absent(ledger: Ledger, item: Item) -> None:
    """Write the state of an item that has no order in the service's list."""
    if item.service_id and item.state in (*ACTIVE, "unknown"):
        if item.cancel_asked_at:
            ledger.end(item.id, "cancelled", "removed", "the service removed the order from its queue")
        elif item.state != "unknown":
            ledger.end(item.id, "unknown", "not_listed", _NOT_LISTED)
    elif item.state == "sending":
        ledger.end(item.id, "unknown", "no_answer", _NO_ACCEPTANCE)


def _duplicates(items: Sequence[Item], listed: Listed) -> list[Duplicate]:
    found = []
    for item in items:
        orders = {order.id: order for order in listed.by_uuid.get(item.id, ())}
        if item.service_id and item.service_id in listed.by_id:
            orders[item.service_id] = listed.by_id[item.service_id]
        ids = tuple(sorted(order.id for order in orders.values() if order.state in ON_ORDER))
        if len(ids) > 1:
            found.append(Duplicate(item, ids))
    return found
