"""`cbmctl extract` and `cbmctl worker`: from catalogued scenes to statistics."""

import signal
import subprocess
import sys
from collections.abc import Mapping

import click

from cbmctl import tasks
from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.planning import Planned, plan
from cbmctl.worker import Stop, StopRequested, work

LOOK_EVERY_S = 1.0

check_option = click.option("--check", is_flag=True, help="Say what would be done; change nothing.")
retry_option = click.option(
    "--retry-failed", "retry", is_flag=True, help="Also give failed tasks another three attempts."
)


@cbmctl.group("extract")
def group() -> None:
    """Plan and run the extraction."""


@group.command(
    "plan",
    short_help="Queue the scenes that are not extracted yet.",
    epilog="\b\nExample:\n  cbmctl extract plan --check",
)
@retry_option
@check_option
@pass_context
def plan_command(context: Context, retry: bool, check: bool) -> None:
    """Queue the scenes that meet the area and the dates and are not extracted yet, or with other bands."""
    planned = _plan(context.config, retry=retry, check=check)
    context.output.result(_data(planned), _sentence(planned.counts), _difference(planned))


@group.command(
    "run", epilog="\b\nExamples:\n  cbmctl extract run\n  cbmctl extract run --workers 4 --retry-failed"
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes at work."
)
@retry_option
@check_option
@pass_context
def run_command(context: Context, workers: int, retry: bool, check: bool) -> None:
    """Plan, then work until the queue is empty; shows how far it is.

    It may be interrupted at any time: run it again and it goes on.
    """
    config, output = context.config, context.output
    planned = _plan(config, retry=retry, check=check)
    left = _open(planned.counts)
    counts: Mapping[str, int] = planned.counts
    if left and not check:
        counts = _run(context, config, min(workers, left), left)
    data = _data(planned) | _counts(counts) | {"changed": planned.changed or left > 0}
    output.result(
        data, _sentence(counts), *(["cbmctl status shows what failed."] if counts["failed"] else [])
    )


@cbmctl.command("worker", epilog="\b\nExample:\n  cbmctl --config writer/db_config.json worker --quiet")
@click.option("--quiet", is_flag=True, help="Do not tell of each task.")
@pass_context
def worker_command(context: Context, quiet: bool) -> None:
    """Work on the queue until it is empty.

    Any number may run at once, on any machine. SIGTERM and SIGINT give the task back before the end.
    """
    stop, done = Stop().install(), 0

    def note(line: str) -> None:
        nonlocal done
        done += 1
        if not quiet:
            context.output.note(line)

    work(context.config, stop=stop, note=note)
    if stop.signal is not None:
        # not 0: a job of the swarm that was stopped before its end is to be started again
        if not quiet:
            context.output.note("cbmctl: stopped; what it had begun is back in the queue")
        sys.exit(128 + stop.signal)
    context.output.result(
        {"changed": done > 0, "tasks": done}, f"Worked on {done} tasks; the queue is empty."
    )


def _run(context: Context, config: Config, workers: int, left: int) -> Mapping[str, int]:
    """Keep worker processes at it and show their progress; return the counts at the end."""
    stop = Stop().install()
    crew = [_start(config) for _ in range(workers)]
    try:
        with (
            connect(config, purpose="cbmctl extract run", autocommit=True) as conn,
            context.output.progress("Extracting", left) as progress,
        ):
            shown = 0
            while True:
                alive = [member for member in crew if member.poll() is None]
                counts = tasks.counts(conn, config.tables)
                closed = left - _open(counts)
                if closed > shown:
                    progress(closed - shown)
                    shown = closed
                if not _open(counts):
                    return counts
                # one that was killed (memory) is replaced; the queue limits how often a task is tried
                killed = [member for member in crew if (member.returncode or 0) < 0]
                crew = alive + [_start(config) for _ in killed]
                if not crew:
                    raise UserError(f"{_open(counts)} tasks are left and no worker: see the lines above")
                with stop.interruptible():
                    _wait(crew[0])
    except StopRequested:
        if stop.signal == signal.SIGINT:
            raise
        sys.exit(128 + (stop.signal or signal.SIGTERM))
    finally:
        for member in crew:
            member.terminate()
        for member in crew:
            member.wait()


def _start(config: Config) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cbmctl", "--config", str(config.source), "worker", "--quiet"]
    # its own session: Ctrl-C reaches only this process, which passes it on
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603


def _wait(member: subprocess.Popen[bytes]) -> None:
    try:
        member.wait(LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return


def _plan(config: Config, *, retry: bool, check: bool) -> Planned:
    with connect(config, purpose="cbmctl extract plan", autocommit=True) as conn:
        return plan(conn, config, retry=retry, check=check)


def _data(planned: Planned) -> dict[str, object]:
    return {
        "changed": planned.changed,
        "created": planned.created,
        "again": planned.again,
        "dropped": planned.dropped,
        **_counts(planned.counts),
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {"pending": counts["ready"]} | {state: counts[state] for state in ("running", "done", "failed")}


def _open(counts: Mapping[str, int]) -> int:
    return counts["ready"] + counts["running"]


def _sentence(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['ready']} tasks to do, {counts['running']} being done, {counts['done']} done,"
        f" {counts['failed']} failed."
    )


def _difference(planned: Planned) -> str:
    return f"New: {planned.created}, again: {planned.again}, no longer wanted: {planned.dropped}."
