"""What the file itself says, where GDAL would lose a digit or read an invalid date or number as a valid one.

Each format has a module that goes to the file by another way, and puts right the attributes that GDAL read.

Imports point one way, from top to bottom:

- `geojson`, `gml`, `mapinfo`, `dbf`, `fgb`, `gpkg`: one format each.
- `others`: formats that only GDAL can read.
- `written`: numbers and dates as text.
- `corrections`: attributes as GDAL read them, put right.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.invocation import option
from cbmctl.parcels.files import formats
from cbmctl.parcels.files.findings import Finding
from cbmctl.parcels.files.layers import Layer
from cbmctl.parcels.files.mapinfo import charset_of
from cbmctl.parcels.files.raw import dbf, fgb, geojson, gml, gpkg, mapinfo, others
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.shapefile_encoding import CharacterSet


def corrected(
    layer: Layer,
    table: pa.Table,
    names: Sequence[str],
    *,
    fid: str,
    fids: Rows,
    where: str | None,
    wanted: Sequence[str] | None,
) -> Corrections:
    """The attributes as the file has them.

    Args:
        layer: where they are from.
        table: as GDAL read them.
        names: of all attributes of the file, in its order.
        fid: GDAL's name of the column of feature numbers; "" if the format has none.
        fids: the feature number of each row.
        where: the condition that the rows meet.
        wanted: the names of those to look at; None: all.

    Raises:
        UserError: a column has a type, or numbers, that cannot be read.
    """
    looked_at = [name for name in table.column_names if wanted is None or name in wanted]
    fix = Corrections(table.select(looked_at), wanted)
    data, options = layer.dataset, layer.dataset.format.options
    match layer.driver:  # the suffix may promise another
        case "ESRI Shapefile":
            characters = CharacterSet(layer.codec, layer.doubt)
            dbf.correct(fix, data.parts[".dbf"], names, fids, characters=characters, shown=layer.shown)
            _tell_guess(fix, characters)
        case "GPKG":
            shown = layer.shown
            gpkg.correct(
                fix, data.file, layer.name, fields=names, fid=fid, fids=fids, where=where, shown=shown
            )
        case "GML":
            gml.correct(fix, data.file, layer.name, fids=fids, options=options)
        case "GeoJSONSeq":
            others.correct(fix, data.file, layer.name, fids=fids, exact=True, options=options)
            geojson.correct(fix, data.file, layer.name, fids=fids, options=options)
        case "GeoJSON":
            geojson.correct(fix, data.file, layer.name, fids=fids, options=options)
        case "FlatGeobuf":
            fgb.correct(fix, data.file, fids=fids)
        case "MapInfo File":
            others.correct(fix, data.file, layer.name, fids=fids, exact=True, options=options)
            mapinfo.correct_numbers(fix, data, names, fids)
            mapinfo.correct(fix, charset_of(data))
        case driver:
            exact = driver == formats.FILE_GDB.driver
            others.correct(fix, data.file, layer.name, fids=fids, exact=exact, options=options)
    return fix


def _tell_guess(fix: Corrections, characters: CharacterSet) -> None:
    """Show the first text with letters beyond ASCII, by which a person sees whether the guess is right."""
    if not characters.doubt:
        return
    for name, column in zip(fix.table.column_names, fix.table.columns, strict=True):
        if not pa.types.is_string(column.type):
            continue
        foreign = pc.not_equal(pc.utf8_length(column), pc.binary_length(column))
        rows = np.flatnonzero(np.asarray(pc.fill_null(foreign, False)))
        if len(rows):
            raw = str(column[int(rows[0])].as_py())
            reason = (
                f"is read as {characters.shown}: {characters.doubt}. If letters are wrong, name the"
                f" character set with {option('--encoding')}"
            )
            fix.found.append(Finding(int(rows[0]) + 1, "guessed_encoding", reason, name, raw, len(rows)))
