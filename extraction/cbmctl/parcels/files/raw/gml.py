"""The attributes of a GML file as text: GDAL guesses types, drops zones, and rounds or cuts long numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio

from cbmctl.parcels.files import gdal
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.raw.others import correct as correct_others
from cbmctl.parcels.files.raw.written import NUMBER, dates, instants, numbers

FOLDER = "as_written"  # beside the file in its view, so that no schema or list of types is found
TRUTH = "^(true|false|0|1)$"
EXACT = re.compile(NUMBER)
CODE = "^[0-9]+[eE][0-9]+$|^[+-]?0[0-9]"  # 1E5 and 007 are codes, not numbers
CODED = re.compile(CODE)


def correct(fix: Corrections, file: Path, layer: str, *, fids: Rows, options: Mapping[str, str]) -> None:
    """Put the attributes of a layer right.

    Args:
        fix: the attributes as GDAL read them.
        file: the file, in its view.
        layer: the layer.
        fids: the feature number of each row.
        options: GDAL's open options.
    """
    names = fix.table.column_names
    if not names:
        return
    alone = file.parent / FOLDER / file.name
    alone.parent.mkdir(exist_ok=True)
    if not alone.exists():
        alone.symlink_to(file.resolve())
    with _config("GML_FIELDTYPES", "ALWAYS_STRING"):
        _, text = gdal.read_arrow(
            alone, layer=layer, columns=names, return_fids=True, read_geometry=False, **options
        )
    rows = {int(fid): row for row, fid in enumerate(text.column(0).to_pylist())}
    known = [
        name
        for name in names
        if name in text.column_names
        and (pa.types.is_string(text[name].type) or pa.types.is_list(text[name].type))
        and rows.keys() >= set(fids.tolist())
    ]
    taken = pa.array([rows[int(fid)] for fid in fids] if known else [], pa.int64())
    for name in known:
        written = text[name].take(taken).combine_chunks()
        if pa.types.is_list(written.type) or pa.types.is_list(fix.table[name].type):
            _repeated(fix, name, written)
        elif not pa.types.is_string(fix.table[name].type):
            written = pc.utf8_trim_whitespace(written)
            _column(fix, name, pc.if_else(pc.equal(written, ""), pa.scalar(None, pa.string()), written))
    # a schema may give other names to what lies within elements
    others = [name for name in names if name not in known]
    correct_others(fix, file, layer, fids=fids, exact=False, options=options, names=others)


def _repeated(fix: Corrections, name: str, text: pa.Array) -> None:
    """An element that occurs several times in a feature: all its texts, as numbers if no digit is lost."""
    found = [
        None if value is None else [one.strip() for one in ([value] if isinstance(value, str) else value)]
        for value in text.to_pylist()
    ]
    if not _same(fix.table[name].to_pylist(), found):
        fix.replace(name, pa.array(found, pa.list_(pa.string())))


def _same(values: Sequence[Any], texts: Sequence[list[str] | None]) -> bool:
    """Whether the values are lists of exactly what the texts say, and null if a text is missing."""
    return all(
        value is text
        or (
            isinstance(value, list)
            and text is not None
            and len(value) == len(text)
            and all(map(_says, text, value))
        )
        for value, text in zip(values, texts, strict=True)
    )


def _says(text: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value == {"true": True, "1": True, "false": False, "0": False}.get(text)
    if isinstance(value, int | float):
        return not CODED.search(text) and bool(EXACT.search(text)) and Decimal(text) == Decimal(repr(value))
    return bool(value == text)


def _column(fix: Corrections, name: str, text: pa.Array) -> None:
    kind = fix.table[name].type
    if pa.types.is_boolean(kind):
        wrong = pc.fill_null(pc.invert(pc.match_substring_regex(text, TRUTH)), False)
        rows = np.flatnonzero(np.asarray(wrong))
        fix.invalid(name, rows, pc.take(text, pa.array(rows)).to_pylist(), "is neither true nor false")
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if pc.any(pc.match_substring_regex(text, CODE)).as_py():
            fix.replace(name, text)
        else:
            numbers(fix, name, text)
    elif pa.types.is_date(kind):
        dates(fix, name, text)
    elif pa.types.is_timestamp(kind):
        instants(fix, name, text)


@contextmanager
def _config(option: str, value: str) -> Iterator[None]:
    before = pyogrio.get_gdal_config_option(option)
    pyogrio.set_gdal_config_options({option: value})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({option: before})
