"""`cbmctl report`: one page and one picture."""

from pathlib import Path

import click

from cbmctl.cli import Context, cbmctl, pass_context


@cbmctl.command(
    "report",
    short_help="Summarise the database as text and picture.",
    epilog="\b\nExample:\n  cbmctl report --output report --title Denmark",
)
@click.option(
    "--output",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for report.txt and report.png.",
)
@click.option("--title", help="Title of the picture, such as the Member State's name.  [default: the area]")
@click.option("--check", is_flag=True, help="Report whether the files would change; write nothing.")
@pass_context
def report_command(context: Context, directory: Path, title: str | None, check: bool) -> None:
    """Summarise the database: parcels, scenes, statistics, failures, a map and a season.

    Reads only; the reader role suffices. Needs matplotlib.
    """
    from cbmctl.report.make import make_report  # noqa: PLC0415 - numpy and shapely, only for this command

    report = make_report(context.config, directory, title=title, check=check)
    context.output.result(
        {"changed": report.changed, "files": [str(path) for path in report.files], **report.numbers},
        report.text,
        *(str(path) for path in report.files),
    )
