"""The attributes of a GeoJSON file by Python's own parser, where GDAL's would lose digits or change dates."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.parcels.files import gdal
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.raw.others import refuse_rounded, rounded
from cbmctl.parcels.files.raw.written import dates, decimals, instants

ID = "id"  # RFC 7946: the identifier of a feature
LONG_IN_TEXT = r"[0-9][eE]\+?[0-9]|9223372036854775807"
LONG_AS_TEXT = r"^-?[0-9](\.[0-9]+)?[eE]\+?[0-9]+$"


def correct(fix: Corrections, file: Path, layer: str, *, fids: Rows, options: Mapping[str, str]) -> None:
    """Put the attributes right, and add the numbers that identify features if the file has them.

    Args:
        fix: the attributes as GDAL read them.
        file: the file.
        layer: the layer.
        fids: the feature number of each row, which GDAL takes from "id" if all are whole numbers.
        options: GDAL's open options.
    """
    _, numbered = gdal.read_arrow(
        file, layer=layer, columns=[], return_fids=True, read_geometry=False, **options
    )
    everything = numbered.column(0).to_numpy()
    rows = {int(fid): row for row, fid in enumerate(everything)}
    taken = [rows[int(fid)] for fid in fids]
    _dates(fix, file, layer, taken, options)
    long = [name for name in fix.table.column_names if _may_lose_digits(fix.table[name])]
    own_ids = ID not in fix and not np.array_equal(everything, np.arange(len(everything)))
    if not long and not (own_ids and (fix.wanted is None or ID in fix.wanted)):
        return
    features = _features(file)
    if len(features) != len(everything):  # not a list of features, so nobody knows which is which
        for name in long:
            refuse_rounded(fix, name, file)
        return
    properties = [one.get("properties") or {} for one in features]
    for name in long:
        own = name == ID and not any(ID in one for one in properties)
        exact = [features[row].get(ID) if own else properties[row].get(name) for row in taken]
        fix.replace(name, _exact(exact))
    ids = [features[row].get(ID) for row in taken]
    if own_ids and (fix.wanted is None or ID in fix.wanted) and any(one is not None for one in ids):
        fix.insert(0, ID, _exact(ids))


def _dates(
    fix: Corrections, file: Path, layer: str, taken: Sequence[int], options: Mapping[str, str]
) -> None:
    """GDAL takes a text for a date if all of them look like one, and reckons with months of 31 days."""
    typed = [f.name for f in fix.table.schema if pa.types.is_date(f.type) or pa.types.is_timestamp(f.type)]
    if not typed:
        return
    as_text = {**options, "DATE_AS_STRING": "YES"}
    _, text = gdal.read_arrow(file, layer=layer, columns=typed, read_geometry=False, **as_text)
    for name in typed:
        if pa.types.is_string(text[name].type):
            put_right = dates if pa.types.is_date(fix.table[name].type) else instants
            put_right(fix, name, text[name].take(pa.array(taken, pa.int64())).combine_chunks())


def _may_lose_digits(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):  # JSON in JSON, as text
        plain = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        return bool(pc.any(pc.match_substring_regex(plain, LONG_IN_TEXT)).as_py())
    if pa.types.is_string(kind):  # what GDAL makes of numbers beside texts
        return bool(pc.any(pc.match_substring_regex(column, LONG_AS_TEXT)).as_py())
    if pa.types.is_list(kind):
        return any(_may_lose_digits(pa.chunked_array([chunk.flatten()])) for chunk in column.chunks)
    return len(rounded(column)) > 0


def _features(file: Path) -> list[dict[str, Any]]:
    """The features of a collection, a single one, or one in each line."""
    text = file.read_bytes().decode("utf-8-sig")
    try:
        content = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError:
        lines = (line.strip(" \t\r\x1e") for line in text.split("\n"))
        return [json.loads(line, parse_float=Decimal) for line in lines if line]
    features = content.get("features", [content]) if isinstance(content, dict) else None
    return features if isinstance(features, list) else []


def _exact(values: Sequence[Any]) -> pa.Array:
    """Numbers as whole numbers or decimals, if they are longer than 64 bits; all else as JSON's text."""
    if all(value is None or (type(value) is int and -(2**63) <= value < 2**63) for value in values):
        return pa.array(values, pa.int64())
    if all(value is None or type(value) in (int, Decimal) for value in values):
        return decimals([None if value is None else Decimal(value) for value in values])
    return pa.array([value if value is None or isinstance(value, str) else _text(value) for value in values])


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_shortest)


def _shortest(value: Decimal) -> float | int:
    return int(value) if value == value.to_integral_value() else float(value)
