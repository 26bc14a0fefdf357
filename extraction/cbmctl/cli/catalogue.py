"""`cbmctl catalogue`: the scenes of an area, in the manual's words and order of arguments."""

from collections import Counter
from datetime import date

import click

from cbmctl.catalogue import archive, sync
from cbmctl.catalogue.record import CARDS
from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.cli.output import table
from cbmctl.database import connect
from cbmctl.errors import UserError

_SHOWN = 20  # names in a message: enough to recognise the place, few enough to read


@cbmctl.group("catalogue")
def group() -> None:
    """Find scenes and list them in the database."""


@group.command(
    "sync",
    short_help="Enter the scenes of an area and a period.",
    epilog="\b\nExamples:\n"
    "  cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2 --source archive\n"
    "  cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2 S2MSI2A --source archive --check",
)
@click.argument("aoi")
@click.argument("start")
@click.argument("end")
@click.argument("card", type=click.Choice(list(CARDS)))
@click.argument("ptype", required=False)
@click.option(
    "--source", type=click.Choice(["archive"]), required=True, help="Where to look: the mounted archive."
)
@click.option("--check", is_flag=True, help="Say what would be done; change nothing.")
@pass_context
def sync_command(
    context: Context,
    *,
    aoi: str,
    start: str,
    end: str,
    card: str,
    ptype: str | None,
    source: str,
    check: bool,
) -> None:
    """Enter the scenes of CARD that meet AOI, sensed from START to the day before END (YYYY-MM-DD).

    END itself is excluded: for all of 2021 write 2021-01-01 2022-01-01. PTYPE is the product type that the
    manual's command names (such as S2MSI2A); CARD implies it, so it may be left out.

    New scenes get status 'ingested'; known ones keep theirs.
    """
    config, output = context.config, context.output
    first, last = _period(start, end)
    if ptype not in (None, CARDS[card].ptype):
        raise UserError(f"card {card} is product type {CARDS[card].ptype}, not {ptype}: leave PTYPE out")
    with connect(config, purpose="cbmctl catalogue sync") as conn:
        area = sync.read_area(conn, config, aoi)
        conn.commit()  # a walk can take hours; no transaction stays open meanwhile
        with output.progress(f"Reading {config.eodata}", (last - first).days) as bar:
            days: set[date] = set()

            def tell(day: date) -> None:
                if day not in days:
                    days.add(day)
                    bar(1)

            found = archive.walk(config.eodata, area, first, last, card, progress=tell)
        for broken in found.broken:
            output.note(f"not entered: {broken.path}: {broken.status}: {broken.reason}")
        if not found.records:
            raise UserError(_nothing(found, f"{config.eodata}/{CARDS[card].folder}", aoi, first, last))
        with conn.transaction(force_rollback=check):
            done = sync.store(conn, config, found.records)
            lines, zones = sync.summary(conn, config, aoi)
    output.result(
        {
            "changed": done.changed,
            "check": check,
            "source": source,
            "added": done.added,
            "completed": done.completed,
            "known": done.known,
            "broken": [vars(broken) for broken in found.broken],
            **_summary_data(lines, zones),
        },
        f"{'Would be new' if check else 'New'}: {len(done.added)} scenes; completed: {len(done.completed)};"
        f" known: {done.known}; broken: {len(found.broken)}.",
        *_summary_text(lines, zones),
    )


@group.command(
    "summary",
    short_help="Count the scenes over an area.",
    epilog="\b\nExample:\n  cbmctl catalogue summary parcels_2021",
)
@click.argument("aoi")
@pass_context
def summary_command(context: Context, aoi: str) -> None:
    """Count the scenes over AOI by card and sensor, and list their UTM zones."""
    with connect(context.config, purpose="cbmctl catalogue summary") as conn:
        lines, zones = sync.summary(conn, context.config, aoi)
    context.output.result({"changed": False, **_summary_data(lines, zones)}, *_summary_text(lines, zones))


def _period(start: str, end: str) -> tuple[date, date]:
    days = []
    for text in (start, end):
        try:
            days.append(date.fromisoformat(text))
        except ValueError:
            raise UserError(f"'{text}' is no date: write it as 2021-12-31") from None
    if days[0] >= days[1]:
        raise UserError(f"the end {end} is not after the start {start}: END is the day after the last one")
    return days[0], days[1]


def _nothing(found: archive.Findings, place: str, aoi: str, start: date, end: date) -> str:
    searched = f"{place} has no product from {start} to the day before {end}"
    if found.elsewhere:
        return (
            f"{searched} that meets area '{aoi}', only others ({_few(found.elsewhere)}): check the area's"
            " outline (cbmctl aoi set), or the archive"
        )
    if found.broken:
        return f"{searched} that can be read ({len(found.broken)} are broken): check the archive's mount"
    return f"{searched}: check the dates and what the archive holds"


def _few(places: Counter[str]) -> str:
    names = sorted(places)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _summary_data(lines: list[sync.Line], zones: list[int]) -> dict[str, object]:
    return {"summary": [vars(line) for line in lines], "epsg": zones}


def _summary_text(lines: list[sync.Line], zones: list[int]) -> list[str]:
    rows = [[line.card, line.sensor, line.count, line.first, line.last] for line in lines]
    return [
        table(["card", "sensor", "count", "min", "max"], rows),
        f"UTM zones: {', '.join(map(_zone, zones)) or 'none'}",
    ]


def _zone(epsg: int) -> str:
    """Return "32N (EPSG:32632)"."""
    return f"{epsg % 100}{'N' if epsg < 32700 else 'S'} (EPSG:{epsg})"
