"""`cbmctl eodata`: the archive of products."""

import sys
from contextlib import closing

import click

from cbmctl.archive.interface import Archive
from cbmctl.archive.open_archive import open_archive
from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.database import connect
from cbmctl.errors import counted

# The check did its work, and found something.
FOUND = 3


@cbmctl.group("eodata")
def group() -> None:
    """Look at the archive of products."""


@group.command(
    "check",
    short_help="Check the archive, or the files of extracted scenes.",
    epilog="\b\nExamples:\n  cbmctl eodata check\n  cbmctl eodata check --scenes"
    "\n  cbmctl --json eodata check --scenes --older-than 90",
)
@click.option(
    "--scenes", is_flag=True, help="Compare the files of extracted scenes with their products' checksums."
)
@click.option(
    "--older-than",
    "max_age_days",
    metavar="DAYS",
    type=click.IntRange(min=0),
    help="With --scenes: also files whose last match is older than DAYS.  [default: only changed files]",
)
@pass_context
def check_command(context: Context, scenes: bool, max_age_days: int | None) -> None:
    """Check that the archive is reachable and accepts the credentials.

    For a mount its root is listed; for a bucket some objects are listed, and a byte of one is read.

    With --scenes, the files of all extracted scenes are compared with the checksums in manifest.safe. Nothing
    is decoded or changed. The next check continues an interrupted one. Files that matched and are
    unchanged are skipped. An archive in S3 has to send all other files.

    \b
    Exit code:
      0  everything is as it should be
      1  the archive or the database cannot be used
      3  files are damaged or missing; each is listed with what to do
    """  # noqa: D301 - for click the control character keeps the lines apart
    config = context.config
    if max_age_days is not None and not scenes:
        raise click.UsageError("--older-than is only for --scenes. Add --scenes.")
    with closing(open_archive(config.eodata, config.cache)) as archive:
        archive.check()
        if scenes:
            _check_scenes(context, archive, max_age_days)
            return
    context.output.result({"changed": False, "eodata": str(config.eodata)}, f"{config.eodata} can be used.")


def _check_scenes(context: Context, archive: Archive, max_age_days: int | None) -> None:
    from cbmctl.archive.file_check import check_scenes, extracted_scenes  # noqa: PLC0415 - GDAL, only for this

    config = context.config
    with connect(config, purpose="cbmctl eodata check", autocommit=True) as conn:
        scenes = extracted_scenes(conn, config)
        with context.output.progress("Checking scenes", len(scenes)) as progress:
            report = check_scenes(conn, config, archive, scenes, max_age_days=max_age_days, progress=progress)
    context.output.result(
        {
            "changed": False,
            "scenes": report.scenes,
            "files_compared": report.compared,
            "files_unchanged": report.unchanged,
            "files_without_checksum": report.files_without_checksum,
            "scenes_without_checksum": report.without_checksum,
            "findings": [vars(finding) for finding in report.findings],
        },
        *(f"{finding.message} {finding.hint}." for finding in report.findings),
        f"{counted(report.scenes, 'extracted scene')} checked: {counted(report.compared, 'file')} compared,"
        f" {report.unchanged} unchanged since an earlier check,"
        f" {report.files_without_checksum} not listed in manifest.safe,"
        f" {counted(report.without_checksum, 'scene')} without checksums.",
        f"{counted(len(report.findings), 'problem')} found; nothing was changed."
        if report.findings
        else "No problems found.",
    )
    if report.findings:
        sys.exit(FOUND)
