"""What the commands that talk to the order service share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from cbmctl.cli import Context
from cbmctl.cli.output import Output, few
from cbmctl.database import connect
from cbmctl.errors import UserError, counted
from cbmctl.invocation import command
from cbmctl.ordering.access_token import Tokens
from cbmctl.ordering.credentials import read_credentials
from cbmctl.ordering.existing_products import Existing, odata
from cbmctl.ordering.ledger import Ledger, Refusal
from cbmctl.ordering.order_service import OrderService
from cbmctl.ordering.place import AGAIN, MADE, Chosen, Placed, send
from cbmctl.ordering.reconcile import Duplicate, refresh

INCOMPLETE = 3  # exit code: not everything was ordered, or something needs a person

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
again_option = click.option(
    "--again",
    "again",
    multiple=True,
    type=click.Choice(AGAIN),
    help="Order products again whose last order has this state; repeatable. With 'unknown' a product may be"
    " ordered twice: look at the service's web page first.",
)

retry_account_option = click.option(
    "--retry-refused-account",
    is_flag=True,
    help="Send orders although the service refused the account in this calendar month, for its quota or its"
    " rights. Use it after you raised the quota or corrected the rights.",
)


@contextmanager
def account(context: Context, purpose: str) -> Iterator[tuple[Ledger, OrderService, Existing]]:
    """Open the ledger, the order service and the catalogues; log out at the end."""
    config = context.config
    credentials = read_credentials(config.ordering)
    with (
        connect(config, purpose=f"cbmctl order {purpose}", autocommit=True) as conn,
        Tokens(config.ordering, credentials, context.output.note) as tokens,
    ):
        service = OrderService(config.ordering, tokens, context.output.note)
        yield (
            Ledger(conn, config.tables, service.url, service.account),
            service,
            Existing(conn, config.tables, odata(config, context.output.note)),
        )


def confirm(question: str, done: str, *, yes: bool) -> None:
    """Ask on stderr, so that stdout stays one result.

    Args:
        question: for a person.
        done: what a yes leads to, such as "ordered".
        yes: do not ask.

    Raises:
        UserError: the answer is no, or nobody can answer.
    """
    if yes:
        return
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        raise UserError(
            "order.not_confirmed",
            f"nothing was {done}, because nobody answered",
            "--yes needs no answer",
            about="--yes",
        ) from None
    if not agreed:
        raise UserError("order.not_confirmed", f"nothing was {done}, because the answer was no")


def order(
    ledger: Ledger, service: OrderService, chosen: Chosen, output: Output, *, yes: bool, check: bool
) -> int:
    """Ask for confirmation, send the chosen products and print the outcome; return the exit code."""
    _notes(output, chosen)
    number = len(chosen.products)
    if check or not number:
        output.result(
            {"changed": bool(number or chosen.adopted), "check": check, **_chosen_data(chosen)},
            *_chosen_text(chosen),
        )
        return INCOMPLETE if chosen.held and not check else 0
    confirm(
        f"Order {counted(number, 'product')} as '{service.account}'{_doubt(chosen)}?"
        " Each counts against the quota or costs money.",
        "ordered",
        yes=yes,
    )
    with output.progress("Ordering", number) as bar:
        placed = _send(ledger, service, chosen, output, bar)
    duplicates = _duplicates(ledger, service, output)
    output.result(
        {
            "changed": True,
            "check": False,
            **_chosen_data(chosen),
            **asdict(placed),
            "duplicates": duplicate_data(duplicates),
        },
        *_placed_text(placed),
        *duplicate_text(duplicates),
    )
    return INCOMPLETE if placed.reason or duplicates else 0


def _send(
    ledger: Ledger, service: OrderService, chosen: Chosen, output: Output, bar: Callable[[int], None]
) -> Placed:
    """Send the chosen products; if this is interrupted, say how far it is."""
    accepted = 0

    def progress(number: int) -> None:
        nonlocal accepted
        accepted += number
        bar(number)

    try:
        return send(ledger, service, chosen, progress)
    except KeyboardInterrupt:
        output.note(
            f"\nInterrupted after {accepted} of {counted(len(chosen.products), 'product')}. The"
            f" service may have accepted one more: run {command('order status')}."
        )
        raise


def _doubt(chosen: Chosen) -> str:
    """Return what a person is to know of products that are sent a second time."""
    again, number = len(chosen.again), len(chosen.products)
    if not again:
        return ""
    if again < number:
        return f", of which {again} may be on order already"
    return f", which may be on order already{' all' if number > 1 else ''}"


def _duplicates(ledger: Ledger, service: OrderService, output: Output) -> Sequence[Duplicate]:
    """Look at the service's list once more: a gateway may have delivered an order twice."""
    try:
        return refresh(ledger, service)
    except UserError as error:
        output.note(
            f"The list of orders could not be read afterwards: {error} Run {command('order status')}."
        )
        return []


def duplicate_data(duplicates: Sequence[Duplicate]) -> list[dict[str, Any]]:
    """Return for programs the items that are ordered more than once."""
    return [{"input": each.item.input, "service_ids": each.service_ids} for each in duplicates]


def duplicate_text(duplicates: Sequence[Duplicate]) -> list[str]:
    """Return for people the items that are ordered more than once."""
    return [
        f"Ordered more than once: {each.item.input} ({each.item.product_type}), as"
        f" {' and '.join(each.service_ids)} at the service. Cancel one on the service's web page."
        for each in duplicates
    ]


def _notes(output: Output, chosen: Chosen) -> None:
    for line in duplicate_text(chosen.duplicates):
        output.note(line)
    for state, inputs in sorted(chosen.left.items()):
        if state == MADE:
            output.note(f"Not ordered, the product exists by now: {few(inputs)}")
            continue
        if state in AGAIN:
            why = f"last order {state}; order again with --again {state}"
        else:
            why = f"on order already ({state})"
        output.note(f"Not ordered, {why}: {few(inputs)}")
    if chosen.adopted:
        names = few([each.input for each in chosen.adopted])
        output.note(f"Not ordered, already on order at the service: {names}")


def _chosen_data(chosen: Chosen) -> dict[str, Any]:
    return {
        "to_order": [asdict(each) for each in chosen.products],
        "adopted": [each.input for each in chosen.adopted],
        "left": chosen.left,
        "held": chosen.held,
        "refusal": refusal_data(chosen.refusal),
        "duplicates": duplicate_data(chosen.duplicates),
    }


def refusal_data(refusal: Refusal | None) -> dict[str, Any] | None:
    """Return for programs why nothing is sent in this month; None if orders are sent."""
    return None if refusal is None else asdict(refusal)


def refusal_text(refusal: Refusal) -> str:
    """Return for people why nothing is sent in this month, and what to do."""
    return (
        f"The service refused the account on {refusal.at:%Y-%m-%d} ({refusal.message}). No order is sent"
        f" before {refusal.until} (UTC) without --retry-refused-account."
    )


def _chosen_text(chosen: Chosen) -> list[str]:
    if chosen.refusal:
        return [
            f"Not ordered: {counted(len(chosen.held), 'product')}. {refusal_text(chosen.refusal)}",
        ]
    if not chosen.products:
        return ["Nothing to order: every input is on order, made, or needs the option --again."]
    lines = [f"{each.product_type}: {each.input}" for each in chosen.products]
    return [*lines, f"{counted(len(lines), 'product')} would be ordered."]


def _placed_text(placed: Placed) -> list[str]:
    lines = [f"Accepted: {counted(len(placed.accepted), 'product')}."]
    if placed.order is not None:
        lines[0] = f"Order {placed.order}. {lines[0]}"
    for given, status, body in placed.refused:
        lines.append(
            f"Refused: {given} (HTTP {status}). It is not sent again without --again refused."
            f" Answer of the service: {body}"
        )
    for given in placed.unknown:
        lines.append(
            f"Unknown: {given} was sent, but it is not known whether it is accepted ({placed.reason})."
            f" Run {command('order status')} later; --again unknown sends it a second time."
        )
    if placed.unsent:
        # the reason is in a line above if it is about one product
        reason = "" if placed.refused or placed.unknown else f": {placed.reason}"
        lines.append(
            f"Not ordered: {counted(len(placed.unsent), 'product')}{reason}."
            + (
                " No order is sent in the rest of this month (UTC) without --retry-refused-account."
                if placed.account_refused
                else (
                    f" The next {command('order place')} orders"
                    f" {'it' if len(placed.unsent) == 1 else 'them'}."
                )
            )
        )
    return lines
