"""Place orders: write each to the ledger, send it once, and look for a lost one in the service's list.

Whenever this is interrupted, one of three things is true of an item. It is not in the ledger, and was not
sent. It is in the ledger as `sending`; the next look at the service's list finds it or makes it `unknown`. Or
it is known to be accepted or refused. Only the operator's word sends an item of unknown acceptance again.
"""

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.ordering.account_lock import BusyError, locked
from cbmctl.ordering.ledger import ACCOUNT_REFUSED, STOPPED, Item, Key, Ledger, Refusal, last_states
from cbmctl.ordering.order_service import LostError, NoTokenError, NotSentError, OrderService, RefusedError
from cbmctl.ordering.reconcile import NAME, Duplicate, look, reconcile, refresh
from cbmctl.ordering.wanted_product import Wanted

# If the last order of a product is in one of these states, only the operator's word orders it again.
AGAIN = (*STOPPED, "unknown")
MADE = "made"  # in Chosen.left: products that exist by now
_TOO_FAST = "too_many_requests"  # code of an unsent item: any order would be refused at this moment
_LOCK = 0x6F72646572  # "order"


@dataclass(frozen=True)
class Chosen:
    """What is to be sent, and what is not.

    Attributes:
        new: products to order.
        again: items of unknown acceptance to send once more, under their own name, with their inputs.
        adopted: products that the service already has an order for.
        left: inputs that are not ordered because of the state of their last order, by that state; and those
            that exist by now, by MADE.
        unsent: items that were not accepted before and are used again, by Wanted.key.
        workflows: name by product type.
        duplicates: items that the service carries out more than once.
        held: inputs that are not sent, because the service refused the account in this calendar month.
        refusal: why they are held; None if nothing is held.
    """

    new: list[Wanted] = field(default_factory=list)
    again: list[tuple[uuid.UUID, Wanted]] = field(default_factory=list)
    adopted: list[Wanted] = field(default_factory=list)
    left: dict[str, list[str]] = field(default_factory=dict)
    unsent: dict[Key, uuid.UUID] = field(default_factory=dict)
    workflows: dict[str, str] = field(default_factory=dict)
    duplicates: list[Duplicate] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    refusal: Refusal | None = None

    @property
    def products(self) -> list[Wanted]:
        """What is to be sent, in this order."""
        return [*(product for _, product in self.again), *self.new]


@dataclass
class Placed:
    """The outcome of sending.

    Attributes:
        order: number of the order in the ledger; None if nothing was sent.
        accepted: inputs that the service accepted.
        refused: input, HTTP status and body of the answer; the rest was not sent.
        unknown: inputs whose acceptance is not known; the rest was not sent.
        unsent: inputs that were not sent, or not accepted because of the account. The next call sends them.
        reason: why the sending ended early; None if every order is accepted.
        account_refused: whether the service refused the account, so that the next call sends nothing in this
            calendar month.
    """

    order: int | None = None
    accepted: list[str] = field(default_factory=list)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    reason: str | None = None
    account_refused: bool = False


@contextmanager
def placing(ledger: Ledger) -> Iterator[None]:
    """Hold the right to place orders: one process an account on this machine, and one a database.

    Raises:
        BusyError: another process holds it.
    """
    account = f"{ledger.service} {ledger.account}"
    code, hint = "order.another_command", "Wait until it ends, then run the command again"
    busy = BusyError(code, f"another cbmctl order command uses the account '{ledger.account}' now", hint)
    with locked("place", account, busy=busy):
        if not one(ledger.conn, query("SELECT pg_try_advisory_lock(%s)"), [_LOCK])[0]:
            raise BusyError(code, "another cbmctl order command uses this database now", hint)
        # a server's crash must not take an item back that is on its way to the service
        ledger.conn.execute("SET synchronous_commit = on")
        try:
            yield
        finally:
            if not ledger.conn.closed:
                ledger.conn.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def choose(
    ledger: Ledger,
    service: OrderService,
    wanted: Sequence[Wanted],
    exists: Callable[[Wanted], bool],
    *,
    limit: int | None = None,
    again: Collection[str] = (),
    retry_refused_account: bool = False,
    check: bool = False,
) -> Chosen:
    """Look at the service's list, bring the ledger up to date, and choose what is to be sent.

    Args:
        ledger: of the account.
        service: asked for its workflows and orders.
        wanted: products, in the order in which they are to be sent.
        exists: whether a product is made; called for products that no order in the ledger holds back.
        limit: products at most.
        again: states of AGAIN; inputs whose last order has one of them are ordered again.
        retry_refused_account: send although the service refused the account in this calendar month.
        check: leave the ledger as it is.

    Raises:
        UserError: a workflow is missing, or a service does not answer.
    """
    # names are checked first: a mistake must not stop the sending in the middle
    unique: dict[Key, Wanted] = {}
    for each in wanted:
        unique.setdefault(each.key, each)
    kinds = sorted({each.product_type for each in wanted})
    chosen = Chosen(workflows={kind: service.workflow(kind) for kind in kinds})
    listed = look(service.orders())
    with ledger.conn.transaction(force_rollback=check):
        chosen.duplicates.extend(reconcile(ledger, service, listed))
        last = last_states(ledger.conn, ledger.tables)
        items = ledger.items()
        own = {item.key: item for item in items if item.state == "unknown"}
        unsent = {item.key: item for item in items if item.state == "unsent"}
        order = None
        for key, product in sorted(unique.items(), key=lambda each: _turn(unsent.get(each[0]))):
            if limit is not None and len(chosen.products) >= limit:
                break
            state = last.get(key)
            workflow = chosen.workflows[product.product_type]
            if state not in (None, "unsent", *again):
                chosen.left.setdefault(str(state), []).append(product.input)
            elif state == "unknown" and key not in own:  # of another account, whose list this one cannot read
                chosen.left.setdefault("unknown", []).append(product.input)
            elif exists(product):  # others may have ordered it since the plan
                chosen.left.setdefault(MADE, []).append(product.input)
            elif state == "unknown":  # the input that was sent, of whatever version the plan has it now
                chosen.again.append((own[key].id, replace(product, input=own[key].input)))
            elif found := listed.adoptable(workflow, product):
                order = order or ledger.open_order(product.label)
                ledger.adopt(order, product, workflow, found, uuid.uuid4())
                listed.claimed.add(found.id)
                chosen.adopted.append(product)
            else:
                chosen.new.append(product)
                if key in unsent:
                    chosen.unsent[key] = unsent[key].id
        refusal = None if retry_refused_account else ledger.refusal()
    return _held(chosen, refusal) if refusal and chosen.products else chosen


def _held(chosen: Chosen, refusal: Refusal) -> Chosen:
    """Return what is chosen, with nothing to send."""
    held = [product.input for product in chosen.products]
    return replace(chosen, new=[], again=[], unsent={}, held=held, refusal=refusal)


def _turn(unsent: Item | None) -> datetime:
    """Return a key for sorting: products at which the account was refused come last, the latest at the end.

    If it was the product that the service refused after all, others still go on.
    """
    if unsent is None or unsent.code not in (ACCOUNT_REFUSED, _TOO_FAST):
        return datetime.min.replace(tzinfo=UTC)
    return unsent.sent_at


def send(
    ledger: Ledger,
    service: OrderService,
    chosen: Chosen,
    progress: Callable[[int], None],
) -> Placed:
    """Send what was chosen, one by one, until the service refuses an order or is unreachable.

    Args:
        ledger: of the account.
        service: gets the orders.
        chosen: by choose().
        progress: called with 1 for each order that is accepted.
    """
    placed = Placed()
    new = ((chosen.unsent.get(product.key) or uuid.uuid4(), product) for product in chosen.new)
    to_send = [*chosen.again, *new]
    for number, (item, product) in enumerate(to_send):
        workflow = chosen.workflows[product.product_type]
        sent_before = number < len(chosen.again)
        if sent_before:
            ledger.resending(item)
        else:
            placed.order = placed.order or ledger.open_order(product.label)
            ledger.sending(placed.order, item, product, workflow)
        if _sent(
            ledger, service, placed, item, workflow=workflow, given=product.input, sent_before=sent_before
        ):
            placed.accepted.append(product.input)
            progress(1)
        else:
            placed.unsent += [each.input for _, each in to_send[number + 1 :]]
            break
    return placed


def _sent(
    ledger: Ledger,
    service: OrderService,
    placed: Placed,
    item: uuid.UUID,
    *,
    workflow: str,
    given: str,
    sent_before: bool,
) -> bool:
    """Send one order of a workflow and an input, and write the outcome; return whether it is accepted."""
    try:
        found = service.place(workflow, given, NAME.format(item))
    except RefusedError as error:
        placed.reason = "the service refused an order"
        placed.account_refused = error.of_account and not error.too_fast
        code = (
            _TOO_FAST if error.too_fast else ACCOUNT_REFUSED if error.of_account else f"http_{error.status}"
        )
        if sent_before:  # the refusal of the second order says nothing about the first
            ledger.end(item, "unknown", code, str(error))
            placed.unknown.append(given)
            placed.reason += f" ({error})"
        elif error.of_account:
            ledger.end(item, "unsent", code, str(error))
            placed.unsent.append(given)
            placed.reason = f"the service refuses the account '{ledger.account}' now ({error})"
        else:
            ledger.end(item, "refused", code, error.body)
            placed.refused.append((given, error.status, error.body))
    except (NotSentError, NoTokenError) as error:
        ledger.end(item, "unknown" if sent_before else "unsent", "not_sent", str(error))
        (placed.unknown if sent_before else placed.unsent).append(given)
        placed.reason = str(error)
    except LostError as error:
        ledger.end(item, "unknown", "no_answer", str(error))
        reason = str(error)
        try:
            refresh(ledger, service)
        except UserError as unread:
            reason += f"; {unread.message}"
        # a number alone proves nothing: an item that is sent again has that of its first order
        if not any(each.id == item and each.state == "unknown" for each in ledger.items()):
            return True
        placed.unknown.append(given)
        placed.reason = reason
    else:
        ledger.follow(item, found)
        return True
    return False
