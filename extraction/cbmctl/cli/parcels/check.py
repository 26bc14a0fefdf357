"""`cbmctl parcels check`: compare a loaded table with its file."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cbmctl.cli import Context, pass_context
from cbmctl.cli.parcels.group import group, reads_files
from cbmctl.database import connect
from cbmctl.errors import counted
from cbmctl.invocation import command
from cbmctl.parcels.compare_with_file import Comparison, Different, compare, options_of_load, read_again
from cbmctl.parcels.load import Options, names
from cbmctl.parcels.pairing import Features, Rows

# The check did its work, and found something.
FOUND = 3


@group.command(
    "check",
    short_help="Compare the parcel table with its file.",
    epilog="\b\nExamples:\n  cbmctl parcels check gsaa_2021.zip\n  cbmctl --json parcels check gsaa_2021.zip",
)
@reads_files
@pass_context
def check_command(
    context: Context, /, files: tuple[Path, ...], attributes: tuple[str, ...], **chosen: str | None
) -> None:
    """Compare the parcel table with FILE, read as this version reads it; change nothing.

    Finds what an earlier version lost or changed: parcels, their numbers and geometries, columns, values, and
    an area of interest that reaches to stray parcels. The options are those of the load, unless given here.

    \b
    Exit code:
      0  table and file are equal
      1  the file cannot be read, or the database not be used
      3  they differ; what, and what to do, is printed
    """  # noqa: D301 - for click the control character keeps the lines apart
    config, output = context.config, context.output
    given = Options(attributes=attributes or None, **chosen).as_json()
    with connect(config, purpose="cbmctl parcels", autocommit=True) as conn, output.steps() as steps:
        options = options_of_load(conn, config) | given
        table = read_again(conn, config, files, options)
        done = compare(conn, config, table, progress=partial(steps, "comparing"))
    advice = list(_advice(done, _load(files, options), config.args.name))
    output.result(
        {"changed": False, "file": names(files), "same": done.same, **asdict(done), "advice": advice},
        *_lines(done, names(files)),
        *advice,
    )
    if not done.same:
        sys.exit(FOUND)


def _lines(done: Comparison, file: str) -> Iterator[str]:
    if done.same:
        yield f"{done.table} and {file} are equal: {counted(done.in_table, 'parcel')}."
        return
    yield f"{done.table} and {file} differ."
    if done.in_file != done.in_table:
        yield f"Parcels: {done.in_file} in the file, {done.in_table} in the table."
    if done.srid[0] != done.srid[1]:
        yield f"Coordinate system: EPSG:{done.srid[0]} in the file, EPSG:{done.srid[1]} in the table."
    for rows, what in (
        (done.missing, "are missing in the table"),
        (done.extra, "are not in the file"),
        (done.geometry, "have a different geometry"),
        (done.strays, "are far from all others, but in the area of interest"),
    ):
        if rows.count:
            yield f"Parcels that {what}: {_numbered(rows)}."
    yield from (_column(different) for different in done.columns)


def _numbered(rows: Rows | Features) -> str:
    word, numbers = ("ogc_fid", rows.ogc_fid) if isinstance(rows, Rows) else ("feature", rows.feature)
    more = rows.count - len(numbers)
    return f"{rows.count} ({word} {', '.join(map(str, numbers))}{f' and {more} more' if more else ''})"


def _column(different: Different) -> str:
    column = f"Column {different.column}"
    if different.problem == "missing":
        return (
            f"{column}: missing in the table; {counted(different.rows, 'parcel')} of the file have a value."
        )
    if different.problem == "extra":
        return f"{column}: not in the file."
    kinds = f" {different.file_type} in the file, {different.table_type} in the table;" * (
        different.problem == "type"
    )
    shown = "; ".join(
        f"ogc_fid {one['ogc_fid']}: {_value(one['file'])} in the file, {_value(one['table'])} in the table"
        for one in different.examples
    )
    return f"{column}:{kinds} values that differ: {different.rows}{f' ({shown})' if shown else ''}."


def _value(text: str | None) -> str:
    return "nothing" if text is None else f"'{text}'"


def _load(files: tuple[Path, ...], options: dict[str, Any]) -> str:
    """The command that reads the file again, with the options of this comparison."""
    words = ["cbmctl", "parcels", "load", *map(str, files), "--again"]
    for name, value in options.items():
        several = name == "attributes"
        for one in value if several else [value]:
            words += ["--attribute" if several else f"--{name}", str(one)]
    return shlex.join(words)


def _advice(done: Comparison, load: str, area: str) -> Iterator[str]:
    """What to do, one sentence or two each."""
    if not done.statistics and not (done.same_parcels and not done.columns):
        yield f"Load the file again: {load}"
    elif done.srid[0] != done.srid[1]:
        yield (
            "The file is in another coordinate system than the parcel table. Delete the statistics,"
            f" and load the file again: {load} --drop-statistics. Then run {command('extract')}."
        )
    elif not done.same_parcels:
        yield (
            f"Some parcels differ from the file. Update the parcels: {load}. Then run {command('extract')}."
        )
    elif done.columns:
        yield (
            f"The statistics are correct, because the geometries are equal. Replace only the columns:"
            f" {load} --keep-statistics"
        )
    if done.strays.count:
        yield f"Set the area again: {command('aoi set')} {area} --from-parcels"
