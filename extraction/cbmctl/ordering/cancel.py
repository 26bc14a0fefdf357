"""Cancel orders, as far as the service allows it."""

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.ordering.ledger import Item, Ledger
from cbmctl.ordering.order_service import ACTIVE, OrderService
from cbmctl.ordering.reconcile import refresh


@dataclass
class Cancelled:
    """The outcome of cancelling items.

    Attributes:
        removed: inputs of cancelled items, as the service says; status shows a product that was made.
        running: inputs of items that the service finishes; they count against the quota.
        refused: inputs of items that the service refuses to cancel, with its answer.
    """

    removed: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Cancellable:
    """Which items of the named orders can be cancelled.

    Attributes:
        items: queued, or in progress.
        unknown: items that may be accepted; without an order at the service nothing can be cancelled.
        elsewhere: items like `items` whose order was placed elsewhere, left out unless the order is named.
    """

    items: Sequence[Item]
    unknown: Sequence[Item]
    elsewhere: Sequence[Item]


def cancellable(ledger: Ledger, service: OrderService, orders: Collection[int] | None) -> Cancellable:
    """Bring the ledger up to date and return what can be cancelled.

    Args:
        ledger: of the account.
        service: asked for its list.
        orders: numbers of orders; None means all.

    Raises:
        UserError: an order is unknown, or the service does not answer.
    """
    known = {item.order_id for item in ledger.items()}
    if missing := sorted(set(orders or ()) - known):
        raise UserError(
            "order.unknown_order",
            f"order {missing[0]} does not exist for the account '{ledger.account}'",
            f"{command('order status')} lists the orders",
        )
    refresh(ledger, service)
    named = [item for item in ledger.items() if orders is None or item.order_id in orders]
    active = [item for item in named if item.state in ACTIVE]
    return Cancellable(
        items=[item for item in active if orders is not None or not item.elsewhere],
        unknown=[item for item in named if item.state == "unknown"],
        elsewhere=[item for item in active if orders is None and item.elsewhere],
    )


def cancel(
    ledger: Ledger, service: OrderService, items: Sequence[Item], progress: Callable[[int], None]
) -> Cancelled:
    """Ask the service to cancel items, and read the outcome from its list.

    Raises:
        UserError: the service does not answer; requests that were sent before stay in effect.
    """
    outcome, asked = Cancelled(), dict[uuid.UUID, set[str]]()
    to_cancel = [item for item in items if item.service_id]
    while to_cancel:
        for item in to_cancel:
            number = str(item.service_id)
            ledger.cancel_asked(item.id)
            if refusal := service.cancel(number):
                outcome.refused.append((item.input, refusal))
                asked.pop(item.id, None)
            else:
                asked.setdefault(item.id, set()).add(number)
            progress(1)
        refresh(ledger, service)
        states = {item.id: item for item in ledger.items()}
        # of an item that the service carries out twice, the ledger has the other order now
        to_cancel = [
            states[each]
            for each, numbers in asked.items()
            if states[each].state in ACTIVE and states[each].service_id not in numbers
        ]
    for each in asked:
        item = states[each]
        (outcome.removed if item.state == "cancelled" else outcome.running).append(item.input)
    return outcome
