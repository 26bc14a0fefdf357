"""`cbmctl maintain archive` and `cbmctl maintain restore`."""

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.maintain.group import DISK, group
from cbmctl.cli.output import few
from cbmctl.database import connect
from cbmctl.errors import counted
from cbmctl.invocation import command
from cbmctl.maintenance.season_archive.drop import Dropped, drop
from cbmctl.maintenance.season_archive.in_s3 import archive_to, drop_archived, restore_from
from cbmctl.maintenance.season_archive.make import Archived, make
from cbmctl.maintenance.season_archive.objects import Url, read_url
from cbmctl.maintenance.season_archive.restore import Restored, restore


class _Place(click.ParamType[Path | Url]):
    """A folder, or the URL of an archive in S3."""

    name = "folder"
    _folder = click.Path(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | Url:
        if isinstance(value, str) and value.lower().startswith("s3:"):
            return read_url(value)
        return Path(os.fsdecode(self._folder.convert(value, param, ctx)))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return self._folder.shell_complete(ctx, param, incomplete)


_FOLDER = click.argument("folder", type=_Place())


@group.command(
    "archive",
    short_help="Write the statistics of a closed season to Parquet files.",
    epilog="\b\nExamples:\n  cbmctl maintain archive /data/cbm/archive/2021 --check\n"
    "  cbmctl maintain archive /data/cbm/archive/2021\n"
    "  cbmctl maintain archive /data/cbm/archive/2021 --drop\n"
    "  cbmctl maintain archive s3://seasons/dk/2021\n"
    "  cbmctl maintain archive s3://seasons/dk/2021 --drop",
)
@_FOLDER
@click.option(
    "--drop",
    "dropping",
    is_flag=True,
    help="Delete from the database the rows that are in the archive in FOLDER. Files stay.",
)
@check_option()
@pass_context
def archive_command(context: Context, folder: Path | Url, dropping: bool, check: bool) -> None:
    """Write sigs and hists of all extracted scenes to FOLDER, with parcels, catalogue and tasks.

    Each card and table has one file, sorted by parcel; DuckDB, R and pandas can read it. After writing, all
    files are read again. For each scene, the number and checksum of the rows must equal those of the
    database. Nothing is deleted. The season must be over, and no task may be ready or running. An interrupted
    run is continued by the next run.

    With --drop, rows are deleted from the database. Copy FOLDER to a safe place first. All files are verified
    again. Then each scene is compared, deleted and set to 'archived' in a transaction of its own. Queries can
    run meanwhile. Afterwards, cbmctl maintain compact returns the space to the disk, and cbmctl maintain
    restore can restore the rows.

    FOLDER can be s3://BUCKET/PREFIX. Service and keys are set in archive_s3 of db_config.json. The files are
    written to a subfolder of cache (db_config.json), verified there, and uploaded. Then each object is read
    back and compared. With --drop, all objects are read again before rows are deleted.
    """
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl maintain archive", autocommit=True) as conn, output.steps() as steps:
        if isinstance(folder, Url):
            done = (drop_archived if dropping else archive_to)(
                conn, config, folder, check=check, progress=steps
            )
        else:
            done = (drop if dropping else make)(conn, config, folder, check=check, progress=steps)
    if isinstance(done, Dropped):
        output.result({"check": check, **vars(done)}, *_dropped(done, check=check))
    else:
        output.result({"check": check, **vars(done)}, *_archived(done, folder, check=check))


@group.command(
    "restore",
    short_help="Restore the rows of an archive to the database.",
    epilog="\b\nExamples:\n  cbmctl maintain restore /data/cbm/archive/2021 --check\n"
    "  cbmctl maintain restore /data/cbm/archive/2021\n"
    "  cbmctl maintain restore s3://seasons/dk/2021",
)
@_FOLDER
@DISK
@check_option()
@pass_context
def restore_command(context: Context, folder: Path | Url, disk: Path | None, check: bool) -> None:
    """Restore the rows of all scenes with status 'archived' from the archive in FOLDER.

    The files are verified first, and the database's disk must have space. Rows keep their ids and values, and
    are written in the order of the parcels. Scenes stay 'archived' until all rows are written and equal the
    archive. Then their status is 'extracted'. An interrupted run is continued by the next run.

    FOLDER can be s3://BUCKET/PREFIX. Service and keys are set in archive_s3 of db_config.json. The files are
    downloaded to a subfolder of cache (db_config.json) first.
    """
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl maintain restore", autocommit=True) as conn, output.steps() as steps:
        if isinstance(folder, Url):
            done = restore_from(conn, config, folder, disk=disk, check=check, progress=steps)
        else:
            done = restore(conn, config, folder, disk=disk, check=check, progress=steps)
    output.result({"check": check, **vars(done)}, *_restored(done, check=check))


def _archived(done: Archived, folder: Path | Url, *, check: bool) -> list[str]:
    what = f"{counted(done.scenes, 'scene')} with {counted(done.rows, 'row')}"
    size = f"{done.bytes / 1e9:.2f} GB"
    if check and done.changed:
        lines = [
            f"{counted(done.scenes, 'scene')} with about {counted(done.rows, 'row')} would be archived in"
            f" {folder}; the files would take at most {size}."
        ]
    elif done.changed:
        lines = [f"Archived {what} in {folder} ({size}). {_compared(done)}"]
    else:
        lines = [f"{folder} already holds {what} ({size}). {_compared(done)}"]
    if done.others:
        lines.append(
            f"Skipped {counted(done.others, 'scene')} that {'has' if done.others == 1 else 'have'} rows but"
            " not the status 'extracted'."
        )
    return lines


def _compared(done: Archived) -> str:
    if done.compared == done.scenes:
        return "The files equal the database."
    left = done.scenes - done.compared
    return (
        f"The files equal the database in {counted(done.compared, 'scene')}."
        f" {counted(left, 'scene')} {'is' if left == 1 else 'are'} only in the archive."
    )


def _dropped(done: Dropped, *, check: bool) -> list[str]:
    scenes, rows = counted(done.scenes, "scene"), counted(done.rows, "row")
    if check:
        lines = [f"Would archive {scenes} and delete {rows}."]
    else:
        lines = [f"Archived {scenes} and deleted {rows}."]
    if done.already:
        verb = "was" if done.already == 1 else "were"
        lines.append(f"{counted(done.already, 'scene')} {verb} archived before.")
    if done.kept:
        lines.append(f"Skipped {counted(len(done.kept), 'scene')}:")
        lines.append(few([f"{name}: {why}" for name, why in done.kept.items()]))
    if done.scenes and not check:
        lines.append(f"Run {command('maintain compact')} to return the space to the disk.")
    return lines


def _restored(done: Restored, *, check: bool) -> list[str]:
    elsewhere = [f"The rows of {counted(done.elsewhere, 'scene')} are in another archive."]
    if not done.scenes:
        lines = ["Nothing to restore: no scene is 'archived' with its rows in this archive."]
        return lines + (elsewhere if done.elsewhere else [])
    verb = "Would restore" if check else "Restored"
    lines = [f"{verb} {counted(done.scenes, 'scene')} with {counted(done.rows, 'row')}."]
    if done.others > done.elsewhere:
        lines.append(f"Skipped {counted(done.others - done.elsewhere, 'scene')} that are not archived.")
    return lines + (elsewhere if done.elsewhere else [])
