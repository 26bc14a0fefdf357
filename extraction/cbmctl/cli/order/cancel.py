"""`cbmctl order cancel`: cancel orders that the service has not begun."""

from collections.abc import Iterator
from dataclasses import asdict

import click

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.order.account import INCOMPLETE, account, confirm, yes_option
from cbmctl.cli.order.group import group
from cbmctl.cli.output import few
from cbmctl.errors import UserError, counted
from cbmctl.invocation import command
from cbmctl.ordering.cancel import Cancellable, cancel, cancellable
from cbmctl.ordering.place import placing


@group.command(
    "cancel",
    short_help="Cancel orders.",
    epilog="\b\nExamples:\n  cbmctl order cancel 3\n  cbmctl order cancel --all --yes",
)
@click.argument("orders", metavar="[ORDER]...", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="Cancel all orders, except those placed elsewhere.")
@check_option()
@yes_option
@pass_context
def cancel_command(
    context: Context, *, orders: tuple[int, ...], everything: bool, check: bool, yes: bool
) -> int:
    """Cancel the products of ORDER (numbers from cbmctl order status) that are not made yet.

    The service removes queued products. It finishes products in progress: they count against the quota and
    enter the catalogue like others. A product in state 'unknown' cannot be cancelled; it is listed.

    Orders that were placed elsewhere with the account, such as on the web page, are cancelled only if ORDER
    is their number.

    Exit code 3: something could not be cancelled.
    """
    if bool(orders) == everything:
        raise UserError(
            "order.none_named",
            "name the orders to cancel, or use --all",
            f"{command('order status')} lists the orders",
            about="--all",
        )
    output = context.output
    with account(context, "cancel") as (ledger, service, _), placing(ledger):
        with ledger.conn.transaction(force_rollback=check):
            found = cancellable(ledger, service, None if everything else orders)
        items = found.items
        for line in _left_out(found):
            output.note(line)
        left = {
            "unknown": [item.input for item in found.unknown],
            "elsewhere": [item.input for item in found.elsewhere],
        }
        running = sum(item.state == "in_progress" for item in items)
        stays = (
            f"{counted(running, 'product')} in progress cannot be stopped: the service goes on, and the quota"
            " is spent."
            if running
            else ""
        )
        if check or not items:
            output.result(
                {
                    "changed": bool(items),
                    "check": check,
                    "to_cancel": [item.input for item in items],
                    **left,
                },
                f"{counted(len(items), 'product')} would be cancelled." if items else "Nothing to cancel.",
                *([stays] if stays else []),
            )
            return INCOMPLETE if found.unknown and not check else 0
        confirm(f"Cancel {counted(len(items), 'product')}? {stays}".rstrip(), "cancelled", yes=yes)
        with output.progress("Cancelling", len(items)) as bar:
            outcome = cancel(ledger, service, items, bar)
    lines = [f"Cancelled: {counted(len(outcome.removed), 'product')}."]
    if outcome.running:
        lines.append(f"Not stopped, because in progress; the quota is spent: {few(outcome.running)}")
    lines += [f"Not cancelled: {given}. Answer of the service: {answer}" for given, answer in outcome.refused]
    output.result({"changed": True, "check": False, **asdict(outcome), **left}, *lines)
    return INCOMPLETE if outcome.running or outcome.refused or found.unknown else 0


def _left_out(found: Cancellable) -> Iterator[str]:
    if found.unknown:
        yield (
            "Not cancelled, because it is not known whether the service accepted the order:"
            f" {few([item.input for item in found.unknown])}. Look at the service's web page. Once it"
            " lists the order, it can be cancelled."
        )
    if found.elsewhere:
        numbers = sorted({item.order_id for item in found.elsewhere})
        yield (
            "Not cancelled, because placed elsewhere:"
            f" {few([item.input for item in found.elsewhere])}. To cancel them, run"
            f" {command('order cancel')} {' '.join(map(str, numbers))}."
        )
