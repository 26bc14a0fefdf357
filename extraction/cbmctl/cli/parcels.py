"""`cbmctl parcels`: declared parcels from the agency's file to tables and rasters."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.cli.output import Output, table
from cbmctl.database import connect
from cbmctl.errors import UserError, counted
from cbmctl.parcels.check import KINDS, check
from cbmctl.parcels.columns import plan
from cbmctl.parcels.layers import layers
from cbmctl.parcels.load import Loaded, Options, load
from cbmctl.parcels.rasterise import RasterTable, rasterise
from cbmctl.parcels.source import read

SHOWN = 5
MEANING = {  # said of one as of many
    "refused": "refused, not loaded",
    "repaired": "repaired",
    "duplicate": "duplicate, loaded",
    "sliver": "perhaps too thin to hold a 10 m pixel, loaded",
}

Findings = dict[str, list[dict[str, Any]]]


@cbmctl.group("parcels")
def group() -> None:
    """Load the declared parcels, look at them, rasterise them."""


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how to read a parcels file."""
    for option in (
        click.option(
            "--attribute", "attributes", multiple=True, help="Keep only this column (repeat it for more)."
        ),
        click.option("--where", help="Take only features that meet this SQL condition."),
        click.option("--crs", help="Coordinate system, instead of what the file says, such as EPSG:25832."),
        click.option("--encoding", help="Character set of a shapefile, where it is not found out right."),
        click.option("--layer", help="The layer with the parcels, where there are several."),
    ):
        command = option(command)
    return command


@group.command(
    "inspect",
    short_help="Say what is in a file and what is wrong with it.",
    epilog="\b\nExample:\n  cbmctl parcels inspect gsaa_2021.gpkg --layer parcels",
)
@click.argument("file", type=click.Path(path_type=Path))
@reading_options
@pass_context
def inspect_command(
    context: Context, /, file: Path, attributes: tuple[str, ...], **chosen: str | None
) -> None:
    """Say what is in FILE and what is wrong with it; needs no database."""
    found = layers(file, chosen["encoding"])
    listed = [
        {key: value for key, value in asdict(layer).items() if key not in ("dataset", "member")}
        for layer in found
    ]
    lines = [table(["layer", "geometry", "features"], [[x.name, x.geometry, x.features] for x in found]), ""]
    data: dict[str, Any] = {
        "changed": False,
        "file": str(file),
        "layers": listed,
        "parcels": None,
        "problem": None,
    }
    try:
        parcels = read(file, attributes=attributes or None, **chosen)
    except UserError as error:
        # which layer, or which coordinate system, is what one inspects a file for
        data["problem"] = str(error)
        context.output.result(data, *lines[:1])
        raise
    with context.output.progress("checking", len(parcels)) as advance:
        findings = check(parcels, advance)
    columns = plan(parcels.attributes.schema)
    data["parcels"] = {
        "layer": parcels.layer.name,
        "features": len(parcels),
        "loadable": findings.parcels,
        "srid": parcels.srid,
        "crs": parcels.crs,
        "encoding": parcels.layer.encoding,
        "columns": [asdict(column) for column in columns],
        "findings": findings.as_json(),
    }
    context.output.result(
        data,
        *lines,
        f"{parcels.layer.name}: {counted(len(parcels), 'feature')}, {findings.parcels} to load",
        f"EPSG:{parcels.srid} ({parcels.crs}), characters in {parcels.layer.encoding}",
        "",
        table(["attribute", "column", "type"], [[c.attribute, c.name, c.type] for c in columns]),
        "",
        *(_findings(findings.as_json()) or ["Nothing is wrong with the geometries."]),
    )


@group.command(
    "load",
    short_help="Load a file into the parcel table.",
    epilog="\b\nExamples:\n  cbmctl parcels load gsaa_2021.zip\n"
    "  cbmctl parcels load Continente.gpkg --layer Culturas_Aveiro",
)
@click.argument("file", type=click.Path(path_type=Path))
@reading_options
@click.option(
    "--drop-statistics", is_flag=True, help="Give up statistics computed with the parcels of before."
)
@click.option("--check", "check_only", is_flag=True, help="Say what would be done; change nothing.")
@pass_context
def load_command(
    context: Context,
    /,
    file: Path,
    attributes: tuple[str, ...],
    drop_statistics: bool,
    check_only: bool,
    **chosen: str | None,
) -> None:
    """Load FILE into the parcel table of the configuration; the same file again changes nothing.

    Shapefile, GeoPackage, GML or GeoParquet, also zipped. A changed file replaces the parcels in one
    transaction, but not while statistics refer to them.
    """
    config, output = context.config, context.output
    options = Options(attributes=attributes or None, **chosen)
    with connect(config, purpose="cbmctl parcels", autocommit=True) as conn, ExitStack() as bars:
        done = load(
            conn,
            config.tables,
            file,
            options,
            drop_statistics=drop_statistics,
            check_only=check_only,
            progress=partial(_bar, output, bars, "loading"),
        )
    told = [
        *_findings(done.findings),
        *_renamed(done),
        *(done.superseded.sentences() if done.superseded else []),
    ]
    for line in told if done.changed else []:
        output.note(line)
    state = ("would be loaded" if check_only else "are loaded") if done.changed else "are there already"
    output.result(
        asdict(done) | {"columns": [asdict(column) for column in done.columns]},
        f"{done.parcels} parcels of {file.name} {state} in {done.table}, EPSG:{done.srid}.",
    )


@group.command(
    "rasterise",
    short_help="Make the raster tables of the parcels.",
    epilog="\b\nExample:\n  cbmctl parcels rasterise",
)
@click.option("--check", "check_only", is_flag=True, help="Say what would be done; change nothing.")
@pass_context
def rasterise_command(context: Context, check_only: bool) -> None:
    """Make the raster tables for every UTM zone in the catalogue and every resolution of the bands."""
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl parcels", autocommit=True) as conn, ExitStack() as bars:
        made = rasterise(conn, config, check_only=check_only, progress=partial(_bar, output, bars))
    rows = [
        [raster.table, raster.parcels, len(raster.without_pixel), _state(raster, check_only)]
        for raster in made
    ]
    output.result(
        {"changed": any(raster.changed for raster in made), "tables": [asdict(raster) for raster in made]},
        table(["table", "parcels", "without a pixel centre", ""], rows),
        *(
            f"No pixel centre at {raster.resolution} m, EPSG:{raster.epsg}: {_numbers(raster.without_pixel)}"
            for raster in made
            if raster.without_pixel
        ),
    )


def _state(raster: RasterTable, check_only: bool) -> str:
    return ("would be made" if check_only else "made") if raster.changed else "unchanged"


def _bar(output: Output, bars: ExitStack, label: str, total: int) -> Callable[[int], None]:
    """A bar in the place of the one before; it ends with the stack."""
    bars.close()
    bar: Callable[[int], None] = bars.enter_context(output.progress(label, total))
    return bar


def _findings(findings: Findings) -> list[str]:
    """One line for each kind of finding, with the first few."""
    lines = []
    for kind in KINDS:
        if found := findings.get(kind, []):
            some = "; ".join(f"{item['ogc_fid']} ({item['reason']})" for item in found[:SHOWN])
            more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            lines.append(f"{len(found)} {MEANING[kind]}: ogc_fid {some}{more}")
    return lines


def _renamed(done: Loaded) -> list[str]:
    renamed = [f"{column.attribute} -> {column.name}" for column in done.columns if column.renamed]
    return [f"renamed columns: {', '.join(renamed)}"] if renamed else []


def _numbers(pids: tuple[int, ...]) -> str:
    some = ", ".join(str(pid) for pid in pids[: 2 * SHOWN])
    return f"ogc_fid {some}" + (f" and {len(pids) - 2 * SHOWN} more" if len(pids) > 2 * SHOWN else "")
