"""The group `cbmctl maintain`, and an option that its commands share."""

from pathlib import Path

import click

from cbmctl.cli import cbmctl

DISK = click.option(
    "--disk",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder on the database's disk, whose free space counts.  [default: cache in db_config.json]",
)


@cbmctl.group("maintain")
def group() -> None:
    """Maintain the tables; archive and restore a season."""
