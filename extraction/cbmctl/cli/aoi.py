"""`cbmctl aoi`: the area of interest."""

from pathlib import Path

import click

from cbmctl import aoi
from cbmctl.cli import Context, cbmctl, check_option, pass_context
from cbmctl.database import connect
from cbmctl.errors import counted

SHOWN = 5


@cbmctl.group("aoi")
def group() -> None:
    """Define the area of interest in which scenes are searched."""


@group.command(
    "set",
    short_help="Store an area from a file or around the parcels.",
    epilog="\b\nExamples:\n  cbmctl aoi set parcels_2021 --from-parcels\n"
    "  cbmctl aoi set dk --file denmark.geojson",
)
@click.argument("name")
@click.option("--file", "path", type=click.Path(path_type=Path), help="GeoJSON in EPSG:4326.")
@click.option("--from-parcels", is_flag=True, help="The extent of the parcels.")
@check_option()
@pass_context
def set_command(context: Context, name: str, path: Path | None, from_parcels: bool, check: bool) -> None:
    """Store an area under NAME, from a file or as the extent of the parcels."""
    if (path is None) != from_parcels:
        raise click.UsageError("Give either --file or --from-parcels.")
    config = context.config
    drawn = aoi.Extent(aoi.from_file(path), {}) if path else None
    with connect(config, purpose="cbmctl aoi", autocommit=True) as conn:
        extent = drawn or aoi.from_parcels(conn, config)
        done = aoi.set_area(conn, config, name, extent.area, check_only=check)
    if extent.left_out:
        context.output.note(_left_out(extent.left_out))
    west, south, east, north = done.bounds
    state = ("would be set" if check else "is set") if done.changed else "is unchanged"
    context.output.result(
        {
            "changed": done.changed,
            "name": name,
            "bounds": done.bounds,
            "type": done.kind,
            "left_out": [{"ogc_fid": number, "reason": reason} for number, reason in extent.left_out.items()],
        },
        f"The area {name} {state}: {west:.4f} to {east:.4f} east, {south:.4f} to {north:.4f} north.",
    )


@group.command(
    "inspect",
    short_help="Check the file of an area.",
    epilog="\b\nExample:\n  cbmctl aoi inspect denmark.geojson",
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@pass_context
def inspect_command(context: Context, path: Path) -> None:
    """Check that FILE can be set as an area, without a database."""
    area = aoi.from_file(path.expanduser())
    west, south, east, north = area.bounds
    context.output.result(
        {"changed": False, "bounds": area.bounds, "type": area.geom_type},
        f"{path}: {west:.4f} to {east:.4f} east, {south:.4f} to {north:.4f} north.",
    )


def _left_out(found: dict[int, str]) -> str:
    some = "; ".join(f"{number} ({reason})" for number, reason in list(found.items())[:SHOWN])
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"{counted(len(found), 'stray parcel')} left out of the area: ogc_fid {some}{more}."
        " If the area must include them, draw it and use --file"
    )
