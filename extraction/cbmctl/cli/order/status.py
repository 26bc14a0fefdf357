"""`cbmctl order status`: how far the orders are, and which items need a person."""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict

import click

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.order.account import (
    INCOMPLETE,
    account,
    again_option,
    duplicate_data,
    duplicate_text,
    order,
    refusal_data,
    refusal_text,
    retry_account_option,
    yes_option,
)
from cbmctl.cli.order.group import group
from cbmctl.cli.output import Output, few, table
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.ordering.account_lock import BusyError
from cbmctl.ordering.ledger import Ledger, Refusal
from cbmctl.ordering.order_progress import STATES, Line, Problem, lines, problems
from cbmctl.ordering.order_service import OrderService
from cbmctl.ordering.place import choose, placing
from cbmctl.ordering.reconcile import Duplicate, refresh

# what a person can do about a problem; status stands for the command
_HINTS = {
    "unknown": ". Check the service's web page first. To order it again: {status} --again unknown",
    "failed": ". To order it again: {status} --retry-failed",
    "refused": ". To order it again: {status} --again refused",
}


@group.command(
    "status",
    short_help="Show how far the orders are.",
    epilog="\b\nExamples:\n  cbmctl order status\n  cbmctl order status --retry-failed --yes",
)
@click.option("--retry-failed", is_flag=True, help="Order failed products again; the same as --again failed.")
@again_option
@retry_account_option
@check_option()
@yes_option
@pass_context
def status_command(
    context: Context,
    *,
    retry_failed: bool,
    again: tuple[str, ...],
    retry_refused_account: bool,
    check: bool,
    yes: bool,
) -> int:
    """Ask the service how far the orders are, and count the products by order and state.

    \b
      sending       being sent by a command that runs now, or that was interrupted
      unknown       sent; whether the service accepted the order is not known
      queued, in_progress, failed, cancelled
                    as the service says
      completed     made by the service, and not in the catalogue yet
      catalogued    entered by cbmctl catalogue sync, whatever became of the last order
      refused       the service refused this product
      unsent        not sent, or the service refused the account

    --retry-failed and --again order products of this list again. They need no plan.

    Exit code 3: a product failed, was refused, is unknown, or is ordered more than once; or not everything
    was ordered again.
    """  # noqa: D301 - for click the control character keeps the lines apart
    output = context.output
    with (
        account(context, "status") as (ledger, service, exists),
        ledger.conn.transaction(force_rollback=True) if check else nullcontext(),
    ):
        duplicates = _refresh(ledger, service, output)
        found = problems(ledger)
        states = (*again, *(["failed"] if retry_failed else []))
        if states:
            wanted = [each.wanted for each in problems(ledger, states)]
            if not wanted:
                raise UserError(
                    "order.none_found",
                    f"No product found whose last order is {' or '.join(states)}",
                    f"Run {command('order status')} to list the orders",
                )
            with placing(ledger):
                chosen = choose(
                    ledger,
                    service,
                    wanted,
                    exists,
                    again=states,
                    retry_refused_account=retry_refused_account,
                    check=check,
                )
                return order(ledger, service, chosen, output, yes=yes, check=check)
        unsent, refusal = problems(ledger, ("unsent",)), ledger.refusal()
        counted = lines(ledger)
    output.result(
        {
            "changed": False,
            "orders": [asdict(line) for line in counted],
            "total": _total(counted),
            "problems": [asdict(problem) for problem in found],
            "unsent": [asdict(problem) for problem in unsent],
            "refusal": refusal_data(refusal),
            "duplicates": duplicate_data(duplicates),
        },
        *_text(counted, found, unsent, refusal, duplicates),
    )
    return INCOMPLETE if found or duplicates else 0


def _refresh(ledger: Ledger, service: OrderService, output: Output) -> Sequence[Duplicate]:
    """Ask the service; while another process places orders the ledger is shown as it is."""
    try:
        with placing(ledger):
            return refresh(ledger, service)
    except BusyError as error:
        output.note(f"Shown as last known: {error}")
        return []


def _total(counted: Sequence[Line]) -> dict[str, int]:
    total = Counter[str]()
    for line in counted:
        total[line.state] += line.items
    return dict(total)


def _text(
    counted: Sequence[Line],
    found: Sequence[Problem],
    unsent: Sequence[Problem],
    refusal: Refusal | None,
    duplicates: Sequence[Duplicate],
) -> list[str]:
    if not counted:
        return ["Nothing is ordered."]
    orders: dict[tuple[int, str, str], Counter[str]] = {}
    for line in counted:
        key = (line.order_id, line.product_type, line.label)
        orders.setdefault(key, Counter())[line.state] += line.items
    total = _total(counted)
    shown = [state for state in STATES if state in total]
    rows: list[list[object]] = [
        [number, kind, label, *(states[state] for state in shown), states.total()]
        for (number, kind, label), states in orders.items()
    ]
    rows.append(["all", "", "", *(total[state] for state in shown), sum(total.values())])
    # numbers as texts, because the last row has a word in the first column
    header = ["order", "product type", "label", *shown, "total"]
    return [
        table(header, rows),
        *(
            f"{each.state}: {each.input} ({each.product_type}, order {each.order_id}"
            f"{f', {each.service_id} at the service' if each.service_id else ''}):"
            f" {each.message or 'the service gives no reason'}{_hint(each)}"
            for each in found
        ),
        *([_unsent(unsent, refusal)] if unsent else []),
        *duplicate_text(duplicates),
    ]


def _hint(problem: Problem) -> str:
    return _HINTS.get(problem.state, "").format(status=command("order status"))


def _unsent(unsent: Sequence[Problem], refusal: Refusal | None) -> str:
    names = few([each.input for each in unsent])
    if refusal:
        return f"Not ordered: {names}. {refusal_text(refusal)}"
    return (
        f"Not ordered, the next {command('order place')} orders them: {names}. Reason of the"
        f" last one: {unsent[-1].message}"
    )
