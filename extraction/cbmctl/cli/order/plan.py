"""`cbmctl order plan`: what is missing over an area, how long the orders take, and what they cost."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import click
import psycopg
from psycopg import sql

from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.table import read_area
from cbmctl.cli import Context, pass_context
from cbmctl.cli.order.group import group
from cbmctl.cli.output import table
from cbmctl.cli.period import read_period
from cbmctl.config import Config
from cbmctl.config.catalogue import unusable
from cbmctl.database import connect, one, query
from cbmctl.errors import NotSetUpError, UserError, counted
from cbmctl.invocation import command
from cbmctl.ordering.coherence_pairs import DAYS, gaps
from cbmctl.ordering.existing_products import catalogued, listed, odata, proven
from cbmctl.ordering.forecast import FREE_IN_PARALLEL, FREE_PER_MONTH, Forecast, Quota, forecast
from cbmctl.ordering.ledger import ON_ORDER, STOPPED, last_states, ordered_in_month
from cbmctl.ordering.level_1_products import LEVEL_1, Search, level_1
from cbmctl.ordering.plan import Plan, make_plan, search_start
from cbmctl.ordering.plan_file import WANTED
from cbmctl.ordering.wanted_product import PRODUCT_TYPES


@group.command(
    "plan",
    short_help="Find what is to be ordered; show time and cost.",
    epilog="\b\nExamples:\n"
    "  cbmctl order plan parcels_2021 2020-10-01 2022-01-01 bs\n"
    "  cbmctl order plan parcels_2021 2020-10-01 2022-01-01 c6 --per-month 500 --price 1.20\n"
    "  cbmctl --json order plan parcels_2021 2020-10-01 2022-01-01 bs > plan.json",
)
@click.argument("aoi")
@click.argument("start")
@click.argument("end")
@click.argument("card", type=click.Choice(list(PRODUCT_TYPES)))
@click.option(
    "--per-month",
    type=click.IntRange(min=1),
    default=FREE_PER_MONTH,
    show_default=True,
    help="Products that the account may order in a calendar month; the default is that of a free account.",
)
@click.option("--unlimited", is_flag=True, help="The account has no monthly quota.")
@click.option(
    "--in-parallel",
    type=click.IntRange(min=1),
    default=FREE_IN_PARALLEL,
    show_default=True,
    help="Number of products that the service makes at a time for the account.",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Hours in which one product is made, to predict the last day. The service promises no time.",
)
@click.option("--price", type=click.FloatRange(min=0), help="Price of one product, in any currency.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    help="Money for a calendar month. It may allow fewer products than --per-month; needs --price.",
)
@click.option(
    "--any-timeliness",
    is_flag=True,
    help="If a slice has no GRD of timeliness NRT-3h (before March 2021: Fast-24h), take one of another"
    " timeliness.",
)
@click.option(
    "--all-satellites",
    is_flag=True,
    help="Plan all products of a satellite of which no CARD product is known. Without this option, one is"
    " planned first.",
)
@click.option(
    "--url", help="URL of an OData service.  [default: as in db_config.json, else the Copernicus Data Space]"
)
@pass_context
def plan_command(
    context: Context,
    *,
    aoi: str,
    start: str,
    end: str,
    card: str,
    per_month: int,
    unlimited: bool,
    in_parallel: int,
    hours: float | None,
    price: float | None,
    budget: float | None,
    any_timeliness: bool,
    all_satellites: bool,
    url: str | None,
) -> None:
    """Find which CARD products are missing over AOI, sensed from START to the day before END (YYYY-MM-DD).

    AOI is an area of cbmctl aoi set. The last argument is the card: bs is backscatter, c6 and c12 are
    coherence of pairs 6 or 12 days apart.

    The command searches the Level-1 products from which the card is made: GRD for bs, SLC for c6 and c12. It
    leaves out products that exist as CARD or are on order, and SLC without an SLC of the same orbit 6 or 12
    days before. Nothing is ordered, and no account is needed.

    The output of cbmctl --json order plan is the input of cbmctl order place.

    Exit code 4: the tables of the season, or AOI, do not exist yet.
    """
    config, output = context.config, context.output
    first, last = read_period(start, end)
    quota = Quota(None if unlimited else per_month, in_parallel, hours)
    if budget is not None:
        if price is None:
            raise UserError(
                "order.no_price", "--budget needs the price of a product", "Add --price", about="--price"
            )
        quota = quota.within(budget, price)
    if url is not None and (mend := unusable(url)):
        raise UserError("service.invalid_url", f"--url '{url}' is not a valid URL", mend, about="--url")
    service = odata(config, output.note, url)
    with connect(config, purpose="cbmctl order plan", autocommit=True) as conn:
        _refuse_if_not_set_up(conn, config, aoi)
        area = read_area(conn, config, aoi)
        begin = search_start(card, first)
        days = (last - begin).days + (last - first).days
        with output.progress(f"Asking {service.url}", days) as bar:
            inputs = level_1(
                Search(service, area, begin, last, bar, output.note), card, any_timeliness=any_timeliness
            )
            made = listed(Search(service, area, first, last, bar, output.note), card)
        made += catalogued(conn, config.tables, card, first, last)
        seen = proven(conn, config.tables, card) | {one.satellites for one in made}
        last_orders = {
            (sensor, sensed): state
            for (product_type, sensor, sensed), state in last_states(conn, config.tables).items()
            if product_type == PRODUCT_TYPES[card]
        }
        today = datetime.now(UTC).date()
        plan = make_plan(
            card,
            inputs,
            (first, last),
            existing={one.key for one in made},
            on_order={key for key, state in last_orders.items() if state in ON_ORDER},
            stopped={key for key, state in last_orders.items() if state in STOPPED},
            proven=None if all_satellites else seen,
            label=f"{aoi} {first} to {last}",
        )
        used = ordered_in_month(conn, config.tables, today)
    if not plan.level_1:
        raise _nothing(plan, service.url, aoi, card, (first, last))
    expected = forecast(plan.number, quota, used=used, today=today, price=price)
    without = gaps(first, last) if card == "c6" else []
    output.result(
        {
            "changed": False,
            **_data(plan),
            "ordered_this_month": used,
            "forecast": asdict(expected),
            "no_six_day_pairs": [{"start": begin, "end": end} for begin, end in without],
        },
        _products(plan, card),
        *_orders(expected, quota, used, price),
        *_explained(plan, card, without),
    )


def _refuse_if_not_set_up(conn: psycopg.Connection, config: Config, aoi: str) -> None:
    """Raise NotSetUpError if a table or the area does not exist."""
    tables = config.tables
    for needed in (tables.aois, tables.order_items, tables.catalogue):
        if one(conn, query("SELECT to_regclass(%s)"), [str(needed)])[0] is None:
            raise NotSetUpError(
                "schema.missing", f"the table {needed} does not exist", f"Run {command('schema apply')} first"
            )
    names = {"aois": tables.aois.sql, "field": sql.Identifier(config.args.aoi_field)}
    if not one(conn, query("SELECT EXISTS (SELECT FROM {aois} WHERE {field} = %s)", **names), [aoi])[0]:
        raise NotSetUpError(
            "area.missing",
            f"{tables.aois} has no area '{aoi}'",
            f"Create it with {command('aoi set')} first",
            about=tables.aois,
        )


def _nothing(plan: Plan, url: str, aoi: str, card: str, period: tuple[date, date]) -> UserError:
    kind, (first, last) = LEVEL_1[card].ptype, period
    found = f"{url} has no {kind} product from {first} to the day before {last} that meets area '{aoi}'"
    if plan.other_timeliness:
        number = counted(len(plan.other_timeliness), "product")
        message = f"{found} with the manual's timeliness, but {number} with another"
        return UserError("order.other_timeliness", message, "Use --any-timeliness", about="--any-timeliness")
    hint = f"Check the dates, and the area ({command('aoi set')})"
    return UserError("order.no_input_found", found, hint)


def _data(plan: Plan) -> dict[str, Any]:
    return {
        "level_1": plan.level_1,
        "existing": plan.existing,
        "on_order": plan.on_order,
        "no_pair": [one.name for one in plan.no_pair],
        "held": dict(plan.held),
        "other_timeliness": [one.name for one in plan.other_timeliness],
        "offline": plan.offline,
        "stopped": plan.stopped,
        "to_order": plan.number,
        "satellites": dict(plan.satellites),
        WANTED: [asdict(each) for each in plan.wanted],
    }


def _products(plan: Plan, card: str) -> str:
    rows: list[tuple[str, int]] = [
        (f"{LEVEL_1[card].ptype} in area and period", plan.level_1),
        (f"exist as {CARDS[card].ptype}", plan.existing),
        ("on order", plan.on_order),
    ]
    if card in DAYS:
        rows.append((f"no SLC {DAYS[card]} days before", len(plan.no_pair)))
    if plan.held:
        rows.append(("held until the first product of the satellite is made", plan.held.total()))
    rows += [(f"missing, from satellite {word}", number) for word, number in sorted(plan.satellites.items())]
    if plan.stopped:
        rows.append(("failed, refused or cancelled before", plan.stopped))
    rows.append(("to order", plan.number))
    return table(["products", "number"], rows)


def _orders(expected: Forecast, quota: Quota, used: int, price: float | None) -> Iterator[str]:
    if expected.last_month is None:
        yield "Nothing to order now."
        return
    at_a_time = f"{quota.in_parallel} at a time"
    if quota.per_month is None:
        yield f"Quota: unlimited, {at_a_time}."
    else:
        yield (
            f"Quota: {quota.per_month} a month, {at_a_time}. Ordered this month: {used}. Can be ordered now:"
            f" {expected.this_month}. Months needed: {expected.months}, the last one is"
            f" {expected.last_month:%Y-%m}."
        )
    yield (
        f"The last product is made on {expected.done}."
        if expected.done
        else "The service promises no time in which a product is made."
    )
    if expected.cost is not None:
        yield f"Cost: {expected.cost:.2f} at {price:g} a product."


def _explained(plan: Plan, card: str, without: list[tuple[date, date]]) -> Iterator[str]:
    for first, end in without:
        yield (
            f"From {first} to the day before {end} no two satellites were 6 days apart, so that there is no"
            " CARD-COH6. Use card c12 for this time."
        )
    for word, number in sorted(plan.held.items()):
        yield (
            f"No {CARDS[card].ptype} of {word} is known. One is ordered first, and {number} more once it is"
            " in the catalogue (or with --all-satellites)."
        )
    if plan.stopped:
        yield (
            f"Failed, refused or cancelled before: {counted(plan.stopped, 'product')}."
            f" {command('order status')} shows why; {command('order place')} repeats such orders"
            " only with --again."
        )
    if plan.other_timeliness:
        others = counted(len(plan.other_timeliness), "product")
        yield f"Not planned: {others} of another timeliness than the manual's. --any-timeliness takes them."
    if plan.offline:
        yield f"Not online now: {counted(plan.offline, 'input')} of the products to order."
