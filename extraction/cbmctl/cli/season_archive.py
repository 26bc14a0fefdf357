"""`cbmctl maintain archive` and `cbmctl maintain restore`."""

from pathlib import Path

import click

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.maintain import DISK, group
from cbmctl.cli.output import few
from cbmctl.database import connect
from cbmctl.errors import counted
from cbmctl.maintenance.season_archive.drop import Dropped, drop
from cbmctl.maintenance.season_archive.make import Archived, make
from cbmctl.maintenance.season_archive.restore import Restored, restore

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@group.command(
    "archive",
    short_help="Write the statistics of a closed season to Parquet files.",
    epilog="\b\nExamples:\n  cbmctl maintain archive /data/archive/2021 --check\n"
    "  cbmctl maintain archive /data/archive/2021\n"
    "  cbmctl maintain archive /data/archive/2021 --drop",
)
@_FOLDER
@click.option("--drop", "dropping", is_flag=True, help="Delete the rows that the archive in FOLDER holds.")
@check_option()
@pass_context
def archive_command(context: Context, folder: Path, dropping: bool, check: bool) -> None:
    """Write sigs and hists of all extracted scenes to FOLDER, with parcels, catalogue and tasks.

    There is a file for each card and table, sorted by parcel; DuckDB, R and pandas read it. The files are
    read again, and per scene the number of rows and their checksum must equal the database's. Nothing is
    deleted. The season must be over, and all tasks done. The next run continues an interrupted one.

    With --drop, delete the rows from the database: first copy FOLDER to a safe place. The files are read and
    verified again. Then each scene is compared, deleted and set to 'archived' in a transaction of its own.
    Readers go on, and the next run continues an interrupted one. Then cbmctl maintain compact gives the space
    back to the disk, and cbmctl maintain restore brings the rows back.
    """
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl maintain archive", autocommit=True) as conn, output.steps() as steps:
        done = (drop if dropping else make)(conn, config, folder, check=check, progress=steps)
    if isinstance(done, Dropped):
        output.result({"check": check, **vars(done)}, *_dropped(done, check=check))
    else:
        output.result({"check": check, **vars(done)}, *_archived(done, folder, check=check))


@group.command(
    "restore",
    short_help="Bring the rows of an archive back into the database.",
    epilog="\b\nExamples:\n  cbmctl maintain restore /data/archive/2021 --check\n"
    "  cbmctl maintain restore /data/archive/2021",
)
@_FOLDER
@DISK
@check_option()
@pass_context
def restore_command(context: Context, folder: Path, disk: Path | None, check: bool) -> None:
    """Bring back the rows of all scenes whose status is 'archived', from the archive in FOLDER.

    The files are verified first, and the database's disk must have space. Rows have the same ids and values
    as before, in the order of the parcels. Scenes stay 'archived' until all rows are back and compared with
    the archive; then they are 'extracted'. The next run continues an interrupted one.
    """
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl maintain restore", autocommit=True) as conn, output.steps() as steps:
        done = restore(conn, config, folder, disk=disk, check=check, progress=steps)
    output.result({"check": check, **vars(done)}, *_restored(done, check=check))


def _archived(done: Archived, folder: Path, *, check: bool) -> list[str]:
    what = f"{counted(done.scenes, 'scene')} with {counted(done.rows, 'row')}"
    size = f"{done.bytes / 1e9:.2f} GB"
    if check and done.changed:
        lines = [f"{what} (estimated) would be archived in {folder}, at most {size}."]
    else:
        state = "are archived in" if done.changed else "are already archived in"
        lines = [f"{what} {state} {folder}, {size}. {_compared(done)}"]
    if done.others:
        lines.append(
            f"{counted(done.others, 'scene')} with rows not archived: the status is not 'extracted'."
        )
    return lines


def _compared(done: Archived) -> str:
    if done.compared == done.scenes:
        return "The files equal the database."
    left = counted(done.scenes - done.compared, "scene")
    return f"The files equal the database in {counted(done.compared, 'scene')}; {left} only in the archive."


def _dropped(done: Dropped, *, check: bool) -> list[str]:
    verb = "would be" if check else "are"
    lines = [f"{counted(done.scenes, 'scene')} {verb} archived, {counted(done.rows, 'row')} {verb} deleted."]
    if done.already:
        lines.append(f"{counted(done.already, 'scene')} already archived.")
    if done.kept:
        lines.append(f"{counted(len(done.kept), 'scene')} left as they are:")
        lines.append(few([f"{name}: {why}" for name, why in done.kept.items()]))
    if done.scenes and not check:
        lines.append("Run cbmctl maintain compact to give the space back to the disk.")
    return lines


def _restored(done: Restored, *, check: bool) -> list[str]:
    elsewhere = [f"{counted(done.elsewhere, 'scene')} in another archive: restore from its folder."]
    if not done.scenes:
        lines = [f"Nothing to restore: none of {counted(done.others, 'scene')} is archived in this folder."]
        return lines + (elsewhere if done.elsewhere else [])
    verb = "would be" if check else "are"
    lines = [f"{counted(done.scenes, 'scene')} with {counted(done.rows, 'row')} {verb} restored."]
    if done.others:
        lines.append(f"{counted(done.others, 'scene')} left as they are: not archived in this folder.")
    return lines + (elsewhere if done.elsewhere else [])
