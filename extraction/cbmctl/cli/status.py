"""`cbmctl status`: how far the extraction is, in the manual's table and by task."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.cli.output import table
from cbmctl.database import connect
from cbmctl.queue import progress
from cbmctl.queue.tasks import STATES

_SHOWN = 20


@cbmctl.command(
    "status",
    short_help="Show how far it is, and what failed and why.",
    epilog="\b\nExamples:\n  cbmctl status\n  cbmctl --json status",
)
@pass_context
def status_command(context: Context) -> None:
    """Show scenes by card and status, tasks by state, what is being worked on, and what failed and why."""
    with connect(context.config, purpose="cbmctl status", autocommit=True) as conn:
        now = progress.read(conn, context.config)
    scenes = [[scene["card"], scene["status"], scene["count"]] for scene in now.scenes]
    tasks = [[bandset, *(counts[state] for state in STATES)] for bandset, counts in now.tasks.items()]
    context.output.result(
        {"changed": False, **vars(now)},
        table(["card", "status", "count"], scenes),
        "",
        table(["tasks", *STATES], tasks),
        *_list("running", [_running(task) for task in now.running_tasks]),
        *_list("waiting", [_waiting(task) for task in now.waiting_tasks]),
        *_list("failed", [told(task) for task in now.failed_tasks]),
        "",
        f"{now.parcels or 'no'} parcels, {now.sigs} rows in sigs, {now.hists} in hists",
    )


def told(task: Mapping[str, Any]) -> str:
    """Name a task and the last line of its reason: of a traceback it is the one that says what happened."""
    return f"{task['reference']} ({task['bandset']}): {last_line(task['reason'])}"


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
        return f"{name}: worker {task['worker']} is gone, the next one takes it over"
    return f"{name}: by {task['worker']} for {_time(task['seconds'])}"


def _waiting(task: Mapping[str, Any]) -> str:
    when = f"in {_time(task['seconds'])}" if task["seconds"] else "as soon as a worker is free"
    return f"{told(task)} [attempt {task['attempts'] + 1} {when}]"


def _time(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
