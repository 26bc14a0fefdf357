"""`cbmctl catalogue`: the scenes of an area, in the manual's words and order of arguments."""

from typing import Any

import click

from cbmctl.catalogue import summary
from cbmctl.catalogue.found_products import Findings
from cbmctl.catalogue.orbits import satellites
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.replace_versions import replace
from cbmctl.catalogue.search_history import Place
from cbmctl.catalogue.sources import source
from cbmctl.catalogue.sync import run
from cbmctl.catalogue.sync_outcome import Outcome
from cbmctl.catalogue.table import read_area
from cbmctl.cli import Context, cbmctl, check_option, pass_context
from cbmctl.cli.output import SHOWN, Output, few, table
from cbmctl.cli.period import read_period
from cbmctl.config.catalogue import SOURCES
from cbmctl.database import connect
from cbmctl.errors import UserError, counted
from cbmctl.invocation import command


@cbmctl.group("catalogue")
def group() -> None:
    """Find scenes and list them in the database."""


@group.command(
    "sync",
    short_help="Enter the scenes of an area and a period.",
    epilog="\b\nExamples:\n"
    "  cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2\n"
    "  cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 bs CARD-BS --since last\n"
    "  cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2 S2MSI2A --source archive --check",
)
@click.argument("aoi")
@click.argument("start")
@click.argument("end")
@click.argument("card", type=click.Choice(list(CARDS)))
@click.argument("ptype", required=False)
@click.option(
    "--source",
    "name",
    type=click.Choice(SOURCES),
    help="Search a service of this protocol, or the mounted archive.  [default: as in db_config.json, else"
    " stac for s2 and odata for the others]",
)
@click.option(
    "--url",
    help="URL of the service.  [default: as in db_config.json if --source is not given, else the Copernicus"
    " Data Space]",
)
@click.option(
    "--since",
    type=click.Choice(["last"]),
    help="Search only products published since the last complete sync of this area, period and card. Once a"
    " week all are searched, because a service may publish products under an old date.",
)
@check_option()
@pass_context
def sync_command(
    context: Context,
    *,
    aoi: str,
    start: str,
    end: str,
    card: str,
    ptype: str | None,
    name: str | None,
    url: str | None,
    since: str | None,
    check: bool,
) -> None:
    """Enter the scenes of CARD that meet AOI, sensed from START to the day before END (YYYY-MM-DD).

    END itself is excluded: for all of 2021 write 2021-01-01 2022-01-01. PTYPE is the product type that the
    manual's command names (such as S2MSI2A); CARD implies it, so it may be left out.

    New scenes get status 'ingested', or 'offline' where the archive does not have them at once; known ones
    keep theirs. Older versions of a scene become 'superseded'.
    """
    config, output = context.config, context.output
    first, last = read_period(start, end)
    if ptype not in (None, CARDS[card].ptype):
        raise UserError(
            "catalogue.wrong_product_type",
            f"PTYPE: card {card} has the product type {CARDS[card].ptype}, not {ptype}",
            "Leave PTYPE out",
            about="PTYPE",
        )
    place = source(name, card, url, config, output.note)
    with connect(config, purpose="cbmctl catalogue sync", autocommit=True) as conn:
        asked = Place(aoi, card, place.name, place.place, read_area(conn, config, aoi), first, last)
        outcome, last_only = Outcome(), since is not None
        try:
            with output.progress(f"Asking {place.place}", (last - first).days) as bar:
                run(conn, config, place, asked, outcome, since_last=last_only, check=check, progress=bar)
        except BaseException:
            # what is entered stays so; the next sync would not tell of it again
            _notes(output, outcome)
            if outcome.synced.changed:
                output.note(f"Entered before the error: {_sentence(outcome, check=check)}")
            raise
    _notes(output, outcome)
    if not outcome.findings.records and outcome.published is None and outcome.reached is None:
        raise _nothing(outcome.findings, place.place, asked)
    output.result(
        {"check": check, "source": place.name, "place": place.place, **_outcome_data(outcome)},
        _sentence(outcome, check=check),
        f"Searched {place.place} ({place.name}).",
        *_summary_text(outcome.summary),
    )


@group.command(
    "summary",
    short_help="Count the scenes over an area.",
    epilog="\b\nExample:\n  cbmctl catalogue summary parcels_2021",
)
@click.argument("aoi")
@pass_context
def summary_command(context: Context, aoi: str) -> None:
    """Count the scenes over AOI by card and sensor, and list their UTM zones.

    For Sentinel-1 a second table shows which satellite saw each relative orbit, and when: a step in a series
    may be a change from one satellite to another.
    """
    with connect(context.config, purpose="cbmctl catalogue summary") as conn:
        found = summary.summary(conn, context.config, aoi)
    data = _summary_data(found) | {"orbits": [vars(line) for line in found.orbits]}
    context.output.result({"changed": False, **data}, *_summary_text(found), *_orbits_text(found))


@group.command(
    "replace",
    short_help="Extract newer versions of extracted scenes.",
    epilog="\b\nExamples:\n  cbmctl catalogue replace --check\n  cbmctl catalogue replace"
    " S2A_MSIL2A_20210305T103021_N0500_R108_T32TMT_20230301T010203.SAFE",
)
@click.argument("references", metavar="[REFERENCE]...", nargs=-1)
@check_option()
@pass_context
def replace_command(context: Context, references: tuple[str, ...], check: bool) -> None:
    """Queue newer versions of scenes that are extracted; all that are offered, or those that are named.

    Of all, those of cards of which no band is configured are left out, and a note says how many.

    Run cbmctl extract afterwards. An older version counts until the newer one is extracted: in the
    transaction of its last rows those of the older one go.
    """
    with connect(context.config, purpose="cbmctl catalogue replace", autocommit=True) as conn:
        pairs = replace(conn, context.config, references, check=check, note=context.output.note)
    context.output.result(
        {"changed": bool(pairs), "check": check, "replaced": [vars(pair) for pair in pairs]},
        *(f"{pair.old}: by {pair.new}" for pair in pairs),
        f"{counted(len(pairs), 'scene')} {'would be' if check else 'to be'} replaced"
        + (f": run {command('extract')}." if pairs and not check else "."),
    )


def _notes(output: Output, outcome: Outcome) -> None:
    """What happened on the way."""
    for broken in outcome.findings.broken:
        output.note(f"not entered: {broken.path}: {broken.status}: {broken.reason}")
    if outcome.reached:
        output.note(f"continued from {outcome.reached:%Y-%m-%d}, where an earlier sync was interrupted")
    if outcome.full_because:
        output.note(f"all products were searched: {outcome.full_because}")
    absent = outcome.synced.offline
    for reference in absent[:SHOWN]:
        output.note(f"not online: {reference}")
    if len(absent) > SHOWN:
        output.note(f"… and {len(absent) - SHOWN} more not online")
    versions = outcome.synced.versions
    for pair in versions.superseded:
        output.note(f"superseded: {pair.old} by {pair.new}")
    for pair in versions.offered:
        output.note(f"newer version of the extracted {pair.old}: {pair.new}")
    if versions.offered:
        output.note(f"Run {command('catalogue replace')} to extract the newer versions instead.")


def _nothing(found: Findings, place: str, asked: Place) -> UserError:
    code, what, aoi = "catalogue.nothing_found", CARDS[asked.card].ptype, asked.aoi
    searched = f"{place} has no {what} product from {asked.start} to the day before {asked.end}"
    if found.elsewhere:
        return UserError(
            code,
            f"{searched} that meets area '{aoi}', only others ({few(sorted(found.elsewhere))})",
            f"Check the outline of the area ({command('aoi set')}), or the archive",
        )
    if found.broken:
        message = f"{searched} that can be read ({len(found.broken)} are damaged)"
        return UserError("catalogue.all_damaged", message, "The notes above say why")
    hint = "Check the dates, or search elsewhere with --source"
    return UserError(code, f"{searched} that meets area '{aoi}'", hint, about="--source")


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    synced = outcome.synced
    return {
        "changed": synced.changed,
        "published_since": outcome.published,
        "full_because": outcome.full_because,
        "added": synced.added,
        "completed": synced.completed,
        "known": synced.known,
        "offline": synced.offline,
        "superseded": [vars(pair) for pair in synced.versions.superseded],
        "offered": [vars(pair) for pair in synced.versions.offered],
        "renewed": list(synced.versions.renewed),
        "broken": [vars(broken) for broken in outcome.findings.broken],
        **_summary_data(outcome.summary),
    }


def _sentence(outcome: Outcome, *, check: bool) -> str:
    synced = outcome.synced
    since = f" published since {outcome.published:%Y-%m-%d %H:%M}" if outcome.published else ""
    parts = [
        f"{'Would be new' if check else 'New'}{since}: {counted(len(synced.added), 'scene')}",
        f"completed: {len(synced.completed)}",
        f"known: {synced.known}",
        f"broken: {len(outcome.findings.broken)}",
    ]
    for word, found in (
        ("not online", synced.offline),
        ("superseded", {pair.old for pair in synced.versions.superseded}),
        ("newer versions of what is extracted", {pair.new for pair in synced.versions.offered}),
    ):
        parts += [f"{word}: {len(found)}"] if found else []
    return "; ".join(parts) + "."


def _summary_data(found: summary.Summary) -> dict[str, object]:
    return {
        "summary": [vars(line) for line in found.lines],
        "epsg": found.epsg,
        "zone_unknown": found.unknown,
        "resolutions": found.resolutions,
    }


def _summary_text(found: summary.Summary) -> list[str]:
    rows = [[line.card, line.sensor, line.count, line.first, line.last] for line in found.lines]
    zones = ", ".join(map(_zone, found.epsg)) or "none"
    resolutions = " and ".join(f"{resolution} m" for resolution in found.resolutions)
    unknown = (
        [f"The zone of {counted(found.unknown, 'scene')} is read from the image during extraction."]
        if found.unknown
        else []
    )
    return [
        table(["card", "sensor", "count", "min", "max"], rows),
        f"UTM zones: {zones}; resolutions: {resolutions}",
        *unknown,
    ]


def _orbits_text(found: summary.Summary) -> list[str]:
    if not found.orbits:
        return []
    rows = [
        [
            line.card,
            line.relative_orbit,
            line.orbit_pass,
            satellites(line.sensor, line.pair_sensor),
            line.pair_days,
            line.count,
            line.first,
            line.last,
        ]
        for line in found.orbits
    ]
    return ["", table(["card", "orbit", "pass", "sensor", "days", "count", "min", "max"], rows)]


def _zone(epsg: int) -> str:
    """Return "32N (EPSG:32632)"."""
    return f"{epsg % 100}{'N' if epsg < 32700 else 'S'} (EPSG:{epsg})"
