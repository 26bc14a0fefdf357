"""`cbmctl demo`: data to try everything with."""

from pathlib import Path

import click

from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.demo import DEFAULT_SEED


@cbmctl.group()
def demo() -> None:
    """Data to try everything with, made on the spot."""


@demo.command(
    short_help="Make a synthetic season over synthetic parcels.",
    epilog="\b\nExample:\n  cbmctl demo make demo-data",
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", type=int, default=DEFAULT_SEED, show_default=True, help="Random seed.")
@click.option("--check", is_flag=True, help="Report what would be made; change nothing.")
@pass_context
def make(ctx: Context, directory: Path, seed: int, check: bool) -> None:
    """Make a synthetic season of Sentinel-2 L2A over synthetic parcels in DIRECTORY.

    What is already there and made by this version stays as it is.
    """
    from cbmctl.demo.make import make_demo  # noqa: PLC0415 - heavy imports, only for this command

    wanted = make_demo(directory, seed, check=True)
    made = wanted
    if not check and wanted.changed:
        scenes = sum(name.endswith(".SAFE") for name in wanted.missing)
        with ctx.output.progress("Making the season", scenes) as progress:
            made = make_demo(directory, seed, progress=progress)
    ctx.output.result(
        {
            "changed": made.changed,
            "directory": str(directory),
            "parcels": made.parcels,
            "products": made.products,
            "made": list(made.missing),
        },
        f"{directory}: {made.parcels} parcels, {made.products} products, "
        + (
            f"{len(made.missing)} files and products {'to make' if check else 'made'}"
            if made.changed
            else "nothing to do"
        ),
    )
