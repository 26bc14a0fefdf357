"""`cbmctl maintain`: care of a filled database."""

from collections.abc import Callable
from contextlib import ExitStack

import click

from cbmctl.bandsets import SCL_CLASSES
from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.cli.output import Output
from cbmctl.database import connect
from cbmctl.errors import UserError, counted
from cbmctl.maintenance.purge import Purged, purge


@cbmctl.group("maintain")
def group() -> None:
    """Delete rows of cloudy parcels, and give back space."""


@group.command(
    "purge",
    short_help="Delete statistics of fully cloudy parcels.",
    epilog="\b\nExamples:\n  cbmctl maintain purge --check\n  cbmctl maintain purge\n"
    "  cbmctl maintain purge --check --classes 3,8,9,10",
)
@click.option(
    "--classes",
    metavar="LIST",
    help="With --check: count with these SCL classes.  [default: cloud_classes in db_config.json]",
)
@click.option("--check", is_flag=True, help="Count rows and bytes; change nothing.")
@pass_context
def purge_command(context: Context, classes: str | None, check: bool) -> None:
    """Delete the rows of sigs of parcels that a Sentinel-2 scene saw through cloud only.

    A parcel is fully cloudy if its histogram in hists has no class but those of cloud_classes. Rows of hists
    stay. New scenes get no such rows, so this is for databases that were filled with fewer classes, or by the
    manual's scripts. Run it after a class was added to tenant_cloud_classes and before the next extraction,
    which would otherwise extract all scenes again.

    Each scene is one transaction. Readers and workers go on, and the next run continues an interrupted one.
    """
    config = context.config
    with connect(config, purpose="cbmctl maintain purge", autocommit=True) as conn, ExitStack() as bars:
        done = purge(conn, config, _classes(classes), check=check, progress=_progress(context.output, bars))
    context.output.result(
        {"check": check, **vars(done)},
        _purged(done, check=check),
        *_left(done),
    )


def _progress(output: Output, bars: ExitStack) -> Callable[[str, int], Callable[[int], None]]:
    return lambda label, length: bars.enter_context(output.progress(label, length))


def _classes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        classes = [int(each) for each in text.split(",")]
    except ValueError:
        classes = [-1]
    if not all(each in SCL_CLASSES for each in classes):
        raise UserError(
            f"--classes: '{text}' is not a list of SCL classes. Use numbers from 0 to 11: 8,9,10."
        )
    return classes


def _purged(done: Purged, *, check: bool) -> str:
    number = counted(done.scenes, "scene")
    what = f"{counted(done.rows, 'row')} of sigs, about {done.bytes / 1e9:.1f} GB, of {number}"
    return f"{what} {'would be deleted' if check else 'deleted'} (SCL {', '.join(map(str, done.classes))})."


def _left(done: Purged) -> list[str]:
    lines = []
    if done.purged:
        lines.append(f"{counted(done.purged, 'scene')} already extracted or purged with these classes.")
    if done.unfinished:
        lines.append(
            f"{counted(done.unfinished, 'scene')} skipped: tasks are not done, or there are no histograms."
        )
    if done.other:
        lines.append(
            f"{counted(done.other, 'scene')} skipped: extracted with other classes, which the next extraction"
            " replaces."
        )
    return lines
