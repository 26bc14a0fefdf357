"""`cbmctl extract` and `cbmctl worker`: from catalogued scenes to statistics."""

import sys
from collections.abc import Mapping, Sequence

import click

from cbmctl.cli import Context, cbmctl, check_option, pass_context
from cbmctl.cli.status import told
from cbmctl.cli.worker_processes import run_crew, still_open
from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.invocation import command
from cbmctl.queue.find_scenes import find_scenes
from cbmctl.queue.planning import Planned, plan, plan_scenes
from cbmctl.queue.progress import failed_tasks
from cbmctl.worker.oom_score import offer_to_be_killed_first
from cbmctl.worker.stop_signal import Stop


class RunByDefault(click.Group):
    """A group that means its command `run`, with its options, where no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in, unless the arguments begin with a command or ask for help."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@cbmctl.group(
    "extract", cls=RunByDefault, epilog="\b\nExamples:\n  cbmctl extract\n  cbmctl extract plan --check"
)
def group() -> None:
    """Plan and run the extraction. Without a command it is run, with its options."""


@group.command(
    "plan",
    short_help="Queue the scenes that are not extracted yet.",
    epilog="\b\nExample:\n  cbmctl extract plan --check",
)
@check_option()
@pass_context
def plan_command(context: Context, check: bool) -> None:
    """Queue the scenes that meet the area and the dates and are not extracted yet, or otherwise."""
    planned = _plan(context.config, check=check)
    context.output.result(_data(planned), _sentence(planned.counts), _difference(planned))


@group.command(
    "run",
    short_help="Extract all scenes that are not extracted yet, or the scenes given.",
    epilog="\b\nExamples:\n  cbmctl extract run --workers 4\n  cbmctl extract run --scene"
    " S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Number of worker processes."
)
@click.option(
    "--scene",
    "references",
    metavar="REFERENCE",
    multiple=True,
    help="Extract only this scene again, whatever its status; may be repeated.",
)
@check_option()
@pass_context
def run_command(context: Context, workers: int, references: tuple[str, ...], check: bool) -> None:
    """Plan, then work until the queue is empty; show the progress.

    It may be interrupted at any time: run it again and it goes on.
    """
    config, output = context.config, context.output
    scenes, planned = _named(config, references, check=check) if references else (None, None)
    planned = planned or _plan(config, check=check)
    left = still_open(planned.counts)
    counts: Mapping[str, int] = planned.counts
    if left and not check:
        counts = run_crew(context, config, min(workers, left), left, scenes)
    data = _data(planned) | _counts(counts) | {"changed": planned.changed or left > 0}
    failed = _failed(config, scenes) if scenes and not check else []
    if not scenes and counts["failed"]:
        failed = [f"{command('status')} shows what failed."]
    output.result(data, _sentence(counts), *failed)


@cbmctl.command("worker", epilog="\b\nExample:\n  cbmctl --config writer/db_config.json worker --quiet")
@click.option("--quiet", is_flag=True, help="Do not print a line for each task.")
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    help="Decoder threads.  [default: number of processors]",
)
@click.option(
    "--scene",
    "references",
    metavar="REFERENCE",
    multiple=True,
    help="Work on tasks of this scene only; may be repeated.",
)
@pass_context
def worker_command(context: Context, quiet: bool, threads: int | None, references: tuple[str, ...]) -> None:
    """Work on the queue until it is empty.

    Any number may run at once, on any machine. SIGTERM and SIGINT give the task back before the end.
    """
    from cbmctl.worker.pipeline import work  # noqa: PLC0415 - the kernels and GDAL, only for this command

    offer_to_be_killed_first()
    stop, done = Stop().install(), 0

    def note(line: str) -> None:
        nonlocal done
        done += 1
        if not quiet:
            context.output.note(line)

    config, obsids = context.config, None
    if references:
        with connect(config, purpose="cbmctl worker", autocommit=True) as conn:
            obsids = list(find_scenes(conn, config.tables, references).values())
    work(config, stop=stop, note=note, warn=context.output.note, obsids=obsids, threads=threads)
    if stop.signal is not None:
        # not 0: a job of the swarm that was stopped before its end is to be started again
        if not quiet:
            context.output.note("cbmctl: stopped. Unfinished tasks are back in the queue.")
        sys.exit(128 + stop.signal)
    left = "no task of these scenes is left" if references else "the queue is empty"
    context.output.result({"changed": done > 0, "tasks": done}, f"Worked on {done} tasks; {left}.")


def _plan(config: Config, *, check: bool) -> Planned:
    with connect(config, purpose="cbmctl extract plan", autocommit=True) as conn:
        return plan(conn, config, check=check)


def _named(config: Config, references: Sequence[str], *, check: bool) -> tuple[dict[str, int], Planned]:
    with connect(config, purpose="cbmctl extract plan", autocommit=True) as conn:
        scenes = find_scenes(conn, config.tables, references)
        return scenes, plan_scenes(conn, config, scenes, check=check)


def _failed(config: Config, scenes: Mapping[str, int]) -> list[str]:
    with connect(config, purpose="cbmctl extract run", autocommit=True) as conn:
        return [f"failed: {told(task)}" for task in failed_tasks(conn, config, list(scenes.values()))]


def _data(planned: Planned) -> dict[str, object]:
    return {
        "changed": planned.changed,
        "created": planned.created,
        "again": planned.again,
        "dropped": planned.dropped,
        "kept": planned.kept,
        **_counts(planned.counts),
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {"pending": counts["ready"]} | {state: counts[state] for state in ("running", "done", "failed")}


def _sentence(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['ready']} tasks ready, {counts['running']} running, {counts['done']} done,"
        f" {counts['failed']} failed."
    )


def _difference(planned: Planned) -> str:
    kept = f", with a changed overlap rule only: {planned.kept}" if planned.kept else ""
    return f"New: {planned.created}, repeated: {planned.again}, removed: {planned.dropped}{kept}."
