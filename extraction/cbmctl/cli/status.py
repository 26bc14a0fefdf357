"""`cbmctl status`: how far the extraction is, in the manual's table and by task."""

from collections.abc import Mapping
from typing import Any

from cbmctl import status
from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.cli.output import table
from cbmctl.database import connect
from cbmctl.tasks import STATES

_REASONS_SHOWN = 20


@cbmctl.command(
    "status",
    short_help="Show how far it is, and what failed and why.",
    epilog="\b\nExamples:\n  cbmctl status\n  cbmctl --json status",
)
@pass_context
def status_command(context: Context) -> None:
    """Show scenes by card and status, tasks by state, what failed and why, and how many rows there are."""
    with connect(context.config, purpose="cbmctl status", autocommit=True) as conn:
        now = status.read(conn, context.config)
    scenes = [[scene["card"], scene["status"], scene["count"]] for scene in now.scenes]
    tasks = [[bandset, *(counts[state] for state in STATES)] for bandset, counts in now.tasks.items()]
    context.output.result(
        {
            "changed": False,
            "scenes": now.scenes,
            "tasks": now.tasks,
            "failed_tasks": now.failed_tasks,
            "parcels": now.parcels,
            "sigs": now.sigs,
            "hists": now.hists,
        },
        table(["card", "status", "count"], scenes),
        "",
        table(["tasks", *STATES], tasks),
        *(f"failed: {_line(task)}" for task in now.failed_tasks[:_REASONS_SHOWN]),
        *([f"… and {more} more" for more in [len(now.failed_tasks) - _REASONS_SHOWN] if more > 0]),
        "",
        f"{now.parcels or 'no'} parcels, {now.sigs} rows in sigs, {now.hists} in hists",
    )


def _line(task: Mapping[str, Any]) -> str:
    """Show the last line of a reason: of a traceback it is the one that says what happened."""
    return f"{task['reference']} ({task['bandset']}): {task['reason'].splitlines()[-1]}"
