"""`cbmctl parcels inspect`, `load` and `rasterise`: from the agency's file to tables and rasters."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from cbmctl.cli import Context, check_option, pass_context
from cbmctl.cli.output import table
from cbmctl.cli.parcels.group import SHOWN, group, key_option, numbers, reads_files
from cbmctl.database import connect
from cbmctl.errors import UserError, counted
from cbmctl.parcels import spatial_ref
from cbmctl.parcels.files.columns import plan
from cbmctl.parcels.files.crs import swapped_place
from cbmctl.parcels.files.delivery import Dataset, opened, shown
from cbmctl.parcels.files.findings import KINDS, features, others
from cbmctl.parcels.files.layers import choose, layers
from cbmctl.parcels.files.parcel_table import sample_points
from cbmctl.parcels.files.read_delivery import read_layers
from cbmctl.parcels.fill_table import expect_parcels
from cbmctl.parcels.geometry_check import check
from cbmctl.parcels.keys import expect_key
from cbmctl.parcels.load import Loaded, Options, load, names
from cbmctl.parcels.rasterise import RasterTable, rasterise

Findings = dict[str, list[dict[str, Any]]]
NO_PROBLEM = "No problems found in the geometries and values."


@group.command(
    "inspect",
    short_help="Show what a file contains and what is wrong with it.",
    epilog="\b\nExample:\n  cbmctl parcels inspect gsaa_2021.gpkg --layer parcels",
)
@reads_files
@key_option
@pass_context
def inspect_command(
    context: Context, /, files: tuple[Path, ...], attributes: tuple[str, ...], **chosen: str | None
) -> None:
    """Show what a delivery contains and what is wrong with it; needs no database.

    FILE is a parcels file, an archive or a folder; several are read as one set.
    """
    with opened(files) as datasets:
        _inspect(context, files, datasets, attributes or None, **chosen)


def _inspect(
    context: Context,
    files: tuple[Path, ...],
    datasets: list[Dataset],
    attributes: tuple[str, ...] | None,
    *,
    layer: str | None,
    encoding: str | None,
    crs: str | None,
    axes: str | None,
    where: str | None,
    key: str | None,
) -> None:
    name = shown(files)
    found = layers(datasets, encoding)
    listed = [
        {key: value for key, value in vars(layer).items() if key != "dataset"} | {"label": layer.label}
        for layer in found
    ]
    several = len(datasets) > 1
    rows = [[x.label if several else x.name, x.geometry, x.features] for x in found]
    lines = [table(["layer", "geometry", "features"], rows), ""]
    data: dict[str, Any] = {
        "changed": False,
        "file": name,
        "layers": listed,
        "parcels": None,
        "error": None,
    }
    try:
        parcels = read_layers(
            name, choose(found, name, layer), crs=crs, axes=axes, where=where, attributes=attributes
        )
        if key:
            expect_key(parcels, key)
        notes = [*parcels.notes, *spatial_ref.notes(parcels.srid)]
    except UserError as error:
        # which layer, or which coordinate system, is what one inspects a file for
        data["error"] = error.data()
        context.output.result(data, *lines[:1])
        raise
    with context.output.progress("checking", len(parcels)) as advance:
        findings = check(parcels, advance)
    columns = plan(parcels.attributes.schema)
    layer_names = ", ".join(x.label if several else x.name for x in parcels.layers)
    other = None if axes else swapped_place(sample_points(parcels), parcels.srid)
    encodings = ", ".join(dict.fromkeys(x.encoding for x in parcels.layers))
    data["parcels"] = {
        "layer": layer_names,
        "features": len(parcels),
        "loadable": findings.parcels,
        "srid": parcels.srid,
        "crs": parcels.crs,
        "bounds": findings.bounds,
        "swapped_place": other,
        "encoding": encodings,
        "columns": [asdict(column) for column in columns],
        "findings": findings.as_json(),
        "notes": notes,
    }
    nothing = None
    try:
        expect_parcels(findings, parcels)
    except UserError as error:
        # the findings say why, so they are shown before
        nothing, data["error"] = error, error.data()
    context.output.result(
        data,
        *lines,
        f"{layer_names}: {counted(len(parcels), 'feature')}, {findings.parcels} to load",
        f"EPSG:{parcels.srid} ({parcels.crs}), characters in {encodings}",
        *_places(findings.bounds),
        "",
        table(["attribute", "column", "type"], [[c.attribute, c.name, c.type] for c in columns]),
        "",
        *notes,
        *(_findings(findings.as_json()) or ([] if nothing else [NO_PROBLEM])),
    )
    if nothing:
        raise nothing


@group.command(
    "load",
    short_help="Load a file into the parcel table.",
    epilog="\b\nExamples:\n  cbmctl parcels load gsaa_2021.zip\n"
    "  cbmctl parcels load Continente.gpkg --layer 'Culturas_*'\n"
    "  cbmctl parcels load R11.shp R24.shp",
)
@reads_files
@key_option
@click.option(
    "--drop-statistics",
    is_flag=True,
    help="Delete all statistics and replace the table instead of updating it.",
)
@click.option(
    "--keep-statistics",
    is_flag=True,
    help="Replace only the columns; refused if the geometry of any parcel differs.",
)
@click.option(
    "--accept-removals",
    is_flag=True,
    help="Update the table even if the file lacks more than 10% of the stored geometries.",
)
@click.option("--again", is_flag=True, help="Read the file even if its content is loaded already.")
@check_option("check_only")
@pass_context
def load_command(
    context: Context,
    /,
    files: tuple[Path, ...],
    attributes: tuple[str, ...],
    check_only: bool,
    **chosen: Any,
) -> None:
    """Load FILE into the parcel table of the configuration; the same file again changes nothing.

    FILE is a shapefile, GeoPackage, GML, GeoParquet, FileGDB and the like, a .zip or a folder of them.
    Several files, or layers that --layer names by a pattern, are loaded as one set if they have the same
    columns. While there are statistics, a changed file updates the table: parcels with the same geometry keep
    ogc_fid and statistics; new parcels get a new ogc_fid; parcels whose geometry is missing in the file move
    to <parcel table>_gone. Workers may keep running; they extract the new parcels.
    """
    own = ("drop_statistics", "keep_statistics", "accept_removals", "again", "key")
    how = {name: chosen.pop(name) for name in own}
    if how["drop_statistics"] and how["keep_statistics"]:
        raise click.UsageError("Give either --drop-statistics or --keep-statistics.")
    config, output = context.config, context.output
    options = Options(attributes=attributes or None, **chosen)
    with connect(config, purpose="cbmctl parcels", autocommit=True) as conn, output.steps() as steps:
        done = load(
            conn,
            config.tables,
            files,
            options,
            **how,
            check_only=check_only,
            progress=partial(steps, "loading"),
        )
    told = [
        *done.notes,
        *_findings(done.findings),
        *_renamed(done),
        *(done.changes.sentences() if done.changes else []),
        *(done.superseded.sentences() if done.superseded else []),
        *(done.updated.sentences(check=check_only) if done.updated else []),
    ]
    for line in told if done.changed else []:
        output.note(line)
    state = ("would be loaded" if check_only else "are loaded") if done.changed else "are loaded already"
    output.result(
        asdict(done) | {"columns": [asdict(column) for column in done.columns]},
        f"{done.parcels} parcels of {names(files)} {state} in {done.table}, EPSG:{done.srid}.",
    )


@group.command(
    "rasterise",
    short_help="Make the raster tables of the parcels.",
    epilog="\b\nExample:\n  cbmctl parcels rasterise",
)
@check_option("check_only")
@pass_context
def rasterise_command(context: Context, check_only: bool) -> None:
    """Make the raster tables for every UTM zone in the catalogue and every resolution of the bands."""
    config, output = context.config, context.output
    with connect(config, purpose="cbmctl parcels", autocommit=True) as conn, output.steps() as steps:
        made = rasterise(conn, config, check_only=check_only, progress=steps)
    for raster in made:
        if raster.left_out:
            output.note(f"Left out of {raster.table}: {numbers(raster.left_out)}. {_reason(raster)}")
    rows = [
        [
            raster.table,
            raster.parcels,
            len(raster.without_pixel),
            len(raster.left_out),
            _state(raster, check_only),
        ]
        for raster in made
    ]
    output.result(
        {"changed": any(raster.changed for raster in made), "tables": [asdict(raster) for raster in made]},
        table(["table", "parcels", "without a pixel centre", "left out", ""], rows),
        *(
            f"No pixel centre at {raster.resolution} m, EPSG:{raster.epsg}: {numbers(raster.without_pixel)}"
            for raster in made
            if raster.without_pixel
        ),
    )


def _reason(raster: RasterTable) -> str:
    """What PostGIS says, now or when the table was made."""
    if not raster.reason:
        return "PostGIS can make their rasters now: load the parcels with --again, and repeat this command."
    return f"PostGIS reports for the first: '{raster.reason}'. Check their coordinates."


def _state(raster: RasterTable, check_only: bool) -> str:
    return ("would be made" if check_only else "made") if raster.changed else "unchanged"


def _findings(findings: Findings) -> list[str]:
    """One line for each kind of finding, with the first few."""
    lines = []
    for kind, meaning in KINDS.items():
        if found := findings.get(kind, []):
            some = "; ".join(f"{item['feature']}{others(item)} ({item['reason']})" for item in found[:SHOWN])
            left = features(found[SHOWN:])
            more = f"; and {left} more" if left else ""
            lines.append(f"{features(found)} {meaning}: feature {some}{more}")
    return lines


def _places(bounds: tuple[float, ...] | None) -> list[str]:
    """Where the parcels lie, for an eye that knows the country."""
    if not bounds:
        return []
    west, south, east, north = bounds
    return [f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"]


def _renamed(done: Loaded) -> list[str]:
    renamed = [f"{column.attribute} -> {column.name}" for column in done.columns if column.renamed]
    return [f"renamed columns: {', '.join(renamed)}"] if renamed else []
