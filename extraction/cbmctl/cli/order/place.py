"""`cbmctl order place`: order the products of a plan, each once."""

from typing import TextIO

import click

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.order.account import account, again_option, order, retry_account_option, yes_option
from cbmctl.cli.order.group import group
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.ordering.place import choose, placing
from cbmctl.ordering.plan_file import read_plan


@group.command(
    "place",
    short_help="Order the products of a plan.",
    epilog="\b\nExamples:\n"
    "  cbmctl order place plan.json --check\n"
    "  cbmctl order place plan.json --limit 25 --yes\n"
    "  cbmctl order place plan.json --again refused",
)
@click.argument("plan", type=click.File(encoding="utf-8"))
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Order at most this number of products, in the order of the plan.",
)
@again_option
@retry_account_option
@check_option()
@yes_option
@pass_context
def place_command(
    context: Context,
    *,
    plan: TextIO,
    limit: int | None,
    again: tuple[str, ...],
    retry_refused_account: bool,
    check: bool,
    yes: bool,
) -> int:
    """Order the products in PLAN, the output of cbmctl --json order plan; "-" reads it from stdin.

    Each product is ordered once. These are left out: products that are on order, products that exist by now
    in the catalogue of the season or of the service, and products whose last order failed, was refused or
    was cancelled. --again orders the last three again.

    If the service does not answer an order, its list of orders shows whether it was accepted. If the list
    does not show the order either, its state is 'unknown', and only --again unknown sends it a second time.

    If the service refuses the account, for its quota or its rights, nothing more is sent in this calendar
    month (UTC) without --retry-refused-account.

    Exit code 3: not everything was ordered; the reason is printed.
    """
    wanted = read_plan(plan)
    if not wanted:
        raise UserError(
            "order.nothing_to_order",
            f"{plan.name} lists nothing to order",
            f"Check area, period and card of {command('order plan')}",
            about=plan.name,
        )
    with account(context, "place") as (ledger, service, exists), placing(ledger):
        chosen = choose(
            ledger,
            service,
            wanted,
            exists,
            limit=limit,
            again=again,
            retry_refused_account=retry_refused_account,
            check=check,
        )
        return order(ledger, service, chosen, context.output, yes=yes, check=check)
