"""`cbmctl parcels quality`: the quality flags of each parcel."""

from dataclasses import asdict

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.output import table
from cbmctl.cli.parcels.group import group
from cbmctl.database import connect
from cbmctl.errors import counted
from cbmctl.parcels.quality import assess


@group.command(
    "quality",
    short_help="Make the table of quality flags of the parcels.",
    epilog="\b\nExample:\n  cbmctl parcels quality",
)
@check_option("check_only")
@pass_context
def quality_command(context: Context, check_only: bool) -> None:
    """Make the table of quality flags: pixels, full pixels, share lost by a 5 m inward buffer, overlaps.

    The table has a row per parcel, UTM zone and resolution. It is made again after parcels are loaded.
    """
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl parcels", autocommit=True) as conn, output.steps() as steps:
        done = assess(conn, config, check_only=check_only, progress=steps)
    state = ("would be made" if check_only else "is made") if done.changed else "is unchanged"
    rows = [
        [f"EPSG:{one.epsg}", one.resolution, one.usable, one.slivers, one.overlapping, one.left_out]
        for one in done.grids
    ]
    output.result(
        asdict(done),
        f"{done.table} of {counted(done.parcels, 'parcel')} {state}.",
        *([table(["zone", "metres", "usable", "slivers", "overlapping", "left out"], rows)] if rows else []),
    )
