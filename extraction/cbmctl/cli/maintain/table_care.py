"""`cbmctl maintain purge`, `vacuum`, `compact` and `cluster`: care of the tables."""

from collections.abc import Sequence
from pathlib import Path

import click

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.maintain.group import DISK, group
from cbmctl.cli.output import Output
from cbmctl.config.extraction import SCL_CLASSES
from cbmctl.database import connect
from cbmctl.errors import UserError, counted
from cbmctl.maintenance.purge import Purged, purge
from cbmctl.maintenance.rewrite import Rewritten, rewrite
from cbmctl.maintenance.vacuum import Vacuumed, vacuum


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
@check_option()
@pass_context
def purge_command(context: Context, classes: str | None, check: bool) -> None:
    """Delete the rows of sigs of parcels that a Sentinel-2 scene saw through cloud only.

    A parcel is fully cloudy if its histogram in hists has no class but those of cloud_classes. Rows of hists
    stay. New scenes get no such rows, so this is for databases that were filled with fewer classes, or by the
    manual's scripts. Run it after a class was added to tenant_cloud_classes and before the next extraction,
    which would otherwise extract all scenes again.

    Each scene is one transaction. Readers and workers go on, and the next run continues an interrupted one.
    Then cbmctl maintain compact gives the space back to the disk.
    """
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl maintain purge", autocommit=True) as conn, output.steps() as steps:
        done = purge(conn, config, _classes(classes), check=check, progress=steps)
    output.result(
        {"check": check, **vars(done)},
        _purged(done, check=check),
        *_left(done),
    )


@group.command(
    "vacuum",
    short_help="Vacuum and analyze the tables.",
    epilog="\b\nExamples:\n  cbmctl maintain vacuum\n  cbmctl maintain vacuum --check",
)
@check_option()
@pass_context
def vacuum_command(context: Context, check: bool) -> None:
    """Vacuum and analyze dias_catalogue, tasks, hists and sigs, each if it needs it.

    The space of deleted rows can then be used again by the same table. To give it back to the disk, run
    cbmctl maintain compact. Readers and writers go on.
    """
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl maintain vacuum", autocommit=True) as conn, output.steps() as steps:
        done = vacuum(conn, config, check=check, progress=steps)
    _show_tables(output, done, [_vacuumed(table, check=check) for table in done], check=check)


@group.command(
    "compact",
    short_help="Give the space of deleted rows back to the disk.",
    epilog="\b\nExamples:\n  cbmctl maintain compact --check\n  cbmctl maintain compact",
)
@DISK
@check_option()
@pass_context
def compact_command(context: Context, disk: Path | None, check: bool) -> None:
    """Rewrite hists and sigs without the space of deleted rows, each if a tenth of it is wasted.

    Run it after cbmctl maintain purge, while no extraction runs. pg_repack copies the table while others read
    and write. At its end it locks the table and applies what was written last: if a scene is committed just
    then, readers can wait a minute or longer. It needs free space for a copy, which is checked first. An
    interruption leaves the table as it was; the next run begins with that table.
    """
    _rewrite(context, disk, by_parcel=False, check=check)


@group.command(
    "cluster",
    short_help="Put the rows of a closed season in the order of the parcels.",
    epilog="\b\nExamples:\n  cbmctl maintain cluster --check\n  cbmctl maintain cluster",
)
@DISK
@check_option()
@pass_context
def cluster_command(context: Context, disk: Path | None, check: bool) -> None:
    """Rewrite hists and sigs in the order of the parcels, each if it is in another order.

    A parcel's season then lies on a few neighbouring pages, but a scene's rows lie on a page of each parcel.
    Therefore the season must be over, and all tasks done. The command also does what cbmctl maintain compact
    does, in the same way; sorting needs free space for a second copy.
    """
    _rewrite(context, disk, by_parcel=True, check=check)


def _rewrite(context: Context, disk: Path | None, *, by_parcel: bool, check: bool) -> None:
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl maintain", autocommit=True) as conn, output.steps() as steps:
        done = rewrite(conn, config, by_parcel=by_parcel, disk=disk, check=check, progress=steps)
    _show_tables(output, done, [_rewritten(table, check=check) for table in done], check=check)


def _show_tables(
    output: Output, tables: Sequence[Vacuumed | Rewritten], lines: Sequence[str], *, check: bool
) -> None:
    changed = any(table.needed for table in tables)
    output.result({"changed": changed, "check": check, "tables": [vars(table) for table in tables]}, *lines)


def _rewritten(table: Rewritten, *, check: bool) -> str:
    size = f"{table.before / 1e9:.2f} GB"
    if not table.needed:
        return f"{table.table}: {size}, nothing to do."
    after = f"{'about ' if check else ''}{table.after / 1e9:.2f} GB"
    return f"{table.table}: {size}, {'would be' if check else 'is now'} {after}."


def _vacuumed(table: Vacuumed, *, check: bool) -> str:
    if not table.needed:
        return f"{table.table}: nothing to do."
    if check:
        return f"{table.table}: would be vacuumed, {counted(table.dead, 'dead row')}."
    left = f", {table.left} left that a transaction still sees" if table.left else ""
    return f"{table.table}: vacuumed, {counted(table.dead, 'dead row')} before{left}."


def _classes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        classes = [int(each) for each in text.split(",")]
    except ValueError:
        classes = [-1]
    if not all(each in SCL_CLASSES for each in classes):
        raise UserError(
            "option.invalid",
            f"--classes: '{text}' is not a list of SCL classes",
            "Use numbers from 0 to 11: 8,9,10",
            about="--classes",
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
        lines.append(f"{counted(done.unfinished, 'scene')} skipped: unfinished tasks or no histograms.")
    if done.other:
        lines.append(
            f"{counted(done.other, 'scene')} skipped: extracted with other classes, which the next extraction"
            " replaces."
        )
    return lines
