"""The report as text and as numbers."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cbmctl.invocation import command
from cbmctl.parcels.files.findings import KINDS, features, others
from cbmctl.report.queries import Facts

_SHOWN = 5
_FAILURES_SHOWN = 20


def as_text(facts: Facts, picture: str) -> str:
    """A page that a person understands; `picture` is the sentence about the picture."""
    return "\n".join(_lines(facts, picture)) + "\n"


def as_numbers(facts: Facts) -> dict[str, Any]:
    """The same for machines."""
    numbers = asdict(facts)
    for scenes in numbers["scenes"]:
        scenes["first"], scenes["last"] = str(scenes["first"]), str(scenes["last"])
    return numbers | {"attribution": facts.attribution}


def _lines(facts: Facts, picture: str) -> Iterator[str]:
    heading = f"{facts.table}: area {facts.area}, {facts.period[0]} to {facts.period[1]} (exclusive)"
    yield from (heading, "=" * len(heading), "")

    yield f"Parcels       {count(facts.parcels)}" + (f"  from {facts.source}" if facts.source else "")
    for kind, words in KINDS.items():
        found = facts.findings.get(kind, [])
        if found:
            yield f"              {count(features(found))} {words}"
            yield from (
                f"                feature {one['feature']}{others(one)}: {one['reason']}"
                for one in found[:_SHOWN]
            )
            if len(found) > _SHOWN:
                yield f"                … and {count(len(found) - _SHOWN)} more, all in parcel_sets.findings"
    if not any(facts.findings.values()):
        yield (
            "              nothing wrong was found in them"
            if facts.source
            else "              loaded by hand"
        )

    yield ""
    yield f"Scenes        {count(facts.scene_count)}"
    for scenes in facts.scenes:
        yield (
            f"              {scenes.card:<4}{scenes.status:<14}{count(scenes.count):>7}"
            f"   {scenes.first:%Y-%m-%d} to {scenes.last:%Y-%m-%d}"
        )

    yield ""
    yield f"Statistics    {count(facts.sigs)} rows in sigs, {count(facts.hists)} histograms in hists"
    if facts.bands:
        yield "              " + ", ".join(f"{band} {count(rows)}" for band, rows in facts.bands.items())
        yield (
            f"              {count(facts.observed)} of {count(facts.parcels)} parcels observed,"
            f" {facts.observations:g} scenes each (median)"
        )
        if unseen := facts.parcels - facts.observed:
            yield f"              {count(unseen)} never: outside the images, or without a pixel centre"

    yield ""
    yield f"Failures      {count(len(facts.failures)) if facts.failures else 'none'}"
    for failure in facts.failures[:_FAILURES_SHOWN]:
        yield f"              {failure.reference}"
        yield f"                {failure.status}: {failure.reason.splitlines()[-1]}"
    if len(facts.failures) > _FAILURES_SHOWN:
        more = count(len(facts.failures) - _FAILURES_SHOWN)
        yield f"              … and {more} more, see `{command('status')}`"

    yield from ("", f"Picture       {picture}", "", facts.attribution + ".")


def count(number: int) -> str:
    """A whole number with thin groups of thousands."""
    return f"{number:,}".replace(",", "\u202f")
