"""`cbmctl status`: how far the extraction is, in the manual's table and by task."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

import click

from cbmctl.catalogue import completeness
from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.cli.output import table
from cbmctl.database import connect
from cbmctl.invocation import command
from cbmctl.queue import progress
from cbmctl.queue.states import STATES

_SHOWN = 20
_NUMBERS = (
    "published",
    "catalogued",
    "waiting",
    "extracted",
    "no_parcels",
    "failed",
    "offered",
    "superseded",
    "archived",
    "missing",
    "on_order",
)


@cbmctl.command(
    "status",
    short_help="Show the progress of the extraction, and which tasks failed and why.",
    epilog="\b\nExamples:\n  cbmctl status\n  cbmctl --json status\n  cbmctl status --complete",
)
@click.option(
    "--complete", is_flag=True, help="Show per month which products are published, catalogued and extracted."
)
@pass_context
def status_command(context: Context, complete: bool) -> None:
    """Show scenes by card and status, tasks by state, what is being worked on, and what failed and why.

    With --complete, show what the searches of the catalogue found, by card and month, and list the days with
    products that are not extracted. With --json, all days are listed, by card, orbit and tile.
    """
    if complete:
        _complete(context)
        return
    with connect(context.config, purpose="cbmctl status", autocommit=True) as conn:
        now = progress.read(conn, context.config)
    scenes = [[scene["card"], scene["status"], scene["count"]] for scene in now.scenes]
    tasks = [[bandset, *(counts[state] for state in STATES)] for bandset, counts in now.tasks.items()]
    context.output.result(
        {"changed": False, **vars(now)},
        table(["card", "status", "count"], scenes),
        "",
        table(["tasks", *STATES], tasks),
        *(_change(change) for change in now.parcel_changes if change["done"] < change["scenes"]),
        *_list("running", [_running(task) for task in now.running_tasks]),
        *_list("waiting", [_waiting(task) for task in now.waiting_tasks]),
        *_list("failed", [told(task) for task in now.failed_tasks]),
        "",
        f"{now.parcels or 'no'} parcels, {now.sigs} rows in sigs, {now.hists} in hists",
    )


def _complete(context: Context) -> None:
    with connect(context.config, purpose="cbmctl status", autocommit=True) as conn:
        now = completeness.read(conn, context.config)
    months: dict[tuple[str, str], Counter[str]] = {}
    for day in now.days:
        month = months.setdefault((day["card"], f"{day['day']:%Y-%m}"), Counter())
        month.update({name: day[name] for name in _NUMBERS})
    unsearched = sorted({day["card"] for day in now.days if day["searched_at"] is None})
    context.output.result(
        {"changed": False, **vars(now)},
        table(
            ["card", "month", *(name.replace("_", " ") for name in _NUMBERS)],
            [[card, month, *(found[name] for name in _NUMBERS)] for (card, month), found in months.items()],
        ),
        *_list("missing", [_missing(day) for day in now.days if day["missing"]]),
        *_list("rejected", [f"{one['reference']}: {one['status']}: {one['reason']}" for one in now.rejected]),
        "",
        *(_search(search) for search in now.searches),
        *(
            f"Card {card} has days that no complete search covers. Run {command('catalogue sync')}."
            for card in unsearched
        ),
    )


def _missing(day: Mapping[str, Any]) -> str:
    place = [f"R{day['relative_orbit']:03d}"] if day["relative_orbit"] else []
    place += [f"T{day['tile']}"] if day["tile"] else []
    states = {
        "waiting": day["waiting"],
        "failed": day["failed"],
        "rejected": day["published"] - day["catalogued"],
    }
    why = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    return (
        f"{' '.join([day['card'], *place, str(day['day'])])}: {day['missing']} of {day['published']} ({why})"
    )


def _search(search: Mapping[str, Any]) -> str:
    what = f"{search['card']} from {search['first_day']} to {search['end_day']} over {search['aoi']}"
    complete_at = search["complete_at"]
    when = (
        f"complete as of {complete_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        if complete_at
        else "no complete search yet"
    )
    return f"{search['url']} ({search['source']}), {what}: {when}"


def told(task: Mapping[str, Any]) -> str:
    """Name a task and the last line of its reason: of a traceback it is the one that says what happened."""
    why = f"{task['status']}: {last_line(task['reason'])}" if task["status"] else "not failed"
    return f"{task['reference']} ({task['bandset']}): {why}"


def last_line(reason: str | None) -> str:
    """Return what happened, or nothing."""
    return (reason or "").rstrip().rpartition("\n")[2]


def _list(state: str, lines: Sequence[str]) -> Iterable[str]:
    yield from (f"{state}: {line}" for line in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"… and {len(lines) - _SHOWN} more {state}"


def _running(task: Mapping[str, Any]) -> str:
    name = f"{task['reference']} ({task['bandset']})"
    if not task["alive"]:
        return f"{name}: worker {task['worker']} has ended, and another worker takes the task"
    return f"{name}: by {task['worker']} for {_time(task['seconds'])}"


def _waiting(task: Mapping[str, Any]) -> str:
    when = f"in {_time(task['seconds'])}" if task["seconds"] else "as soon as a worker is free"
    return f"{told(task)} [attempt {task['attempts'] + 1} {when}]"


def _change(change: Mapping[str, Any]) -> str:
    failed = f", {change['failed']} failed" if change["failed"] else ""
    scenes = f"{change['done']} of {change['scenes']} scenes"
    return f"new parcels of version {change['version']}: extracted in {scenes}{failed}"


def _time(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
