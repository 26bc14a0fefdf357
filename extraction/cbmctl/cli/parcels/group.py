"""The group `cbmctl parcels`, and what its commands share: how a file is read, how numbers are shown."""

from collections.abc import Callable
from pathlib import Path

import click

from cbmctl.cli import cbmctl
from cbmctl.parcels.files.crs import AS_IS, SWAPPED

SHOWN = 5


@cbmctl.group("parcels")
def group() -> None:
    """Load the declared parcels, look at them, rasterise them."""


def reads_files(command: Callable[..., None]) -> Callable[..., None]:
    """The argument FILE... and the options that say how to read it."""
    for option in (
        click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)),
        click.option(
            "--attribute", "attributes", multiple=True, help="Keep only this column (repeat it for more)."
        ),
        click.option("--where", help="Take only features that meet this SQL condition."),
        click.option(
            "--axes",
            type=click.Choice([SWAPPED, AS_IS]),
            help="Exchange x and y, or keep them as they are, if cbmctl reports swapped or doubtful axes.",
        ),
        click.option("--crs", help="Coordinate system, such as EPSG:25832, instead of the file's own."),
        click.option(
            "--encoding",
            help="Character set of a shapefile or MapInfo file, if the file names none or a wrong one.",
        ),
        click.option(
            "--layer",
            help="The layer with the parcels if there are several; a pattern such as 'Culturas_*' takes all"
            " matching layers.",
        ),
    ):
        command = option(command)
    return command


def key_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option for the attribute that identifies a parcel in every file."""
    return click.option("--key", help="The attribute that identifies parcels; its values must be unique.")(
        command
    )


def numbers(pids: tuple[int, ...]) -> str:
    """The first of some parcels, and how many more there are."""
    some = ", ".join(str(pid) for pid in pids[: 2 * SHOWN])
    return f"ogc_fid {some}" + (f" and {len(pids) - 2 * SHOWN} more" if len(pids) > 2 * SHOWN else "")
