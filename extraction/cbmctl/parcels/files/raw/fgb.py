"""The attributes of a FlatGeobuf file from its own bytes, for columns that GDAL reads as another type.

The layout is that of flatgeobuf.org: magic bytes, a header and a spatial index, then one FlatBuffers table
for each feature, whose attributes are pairs of a column's number (16 bits) and its value.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from cbmctl.parcels.files.flatgeobuf import Table, features, header_of
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.raw.written import instants

# numbers of fields in the schema's tables Header, Column and Feature
COLUMNS = 7
NAME, TYPE = 0, 1
PROPERTIES = 1
ULONG, DATETIME = 8, 13
SIZES = {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 9: 4, 10: 8}  # other types begin with a length


def correct(fix: Corrections, file: Path, *, fids: Rows) -> None:
    """Put whole numbers without sign, which GDAL takes for doubles, and dates right.

    Args:
        fix: the attributes as GDAL read them.
        file: the file.
        fids: the feature number of each row: its position in the file, from 0.
    """
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = header_of(data)
        kinds = {i: column.number(TYPE, "<B", 0) for i, column in enumerate(header.tables(COLUMNS))}
        names = [column.text(NAME) for column in header.tables(COLUMNS)]
        wanted = {i for i, kind in kinds.items() if kind in (ULONG, DATETIME) and names[i] in fix}
        if not wanted:
            return
        found: dict[int, list[int | str | None]] = {i: [] for i in wanted}
        for feature in features(data):
            values = dict(_properties(feature, kinds, wanted))
            for i in wanted:
                found[i].append(values.get(i))
        for i in wanted:
            values_of_rows = [found[i][fid] for fid in fids]
            if kinds[i] == ULONG:
                fix.replace(names[i], pa.array(values_of_rows, pa.uint64()))
            else:
                instants(fix, names[i], pa.array(values_of_rows, pa.string()))


def _properties(feature: Table, kinds: dict[int, int], wanted: set[int]) -> Iterator[tuple[int, int | str]]:
    at, length = feature.vector(PROPERTIES)
    end = at + length
    while at < end:
        (column,) = struct.unpack_from("<H", feature.data, at)
        at += 2
        kind = kinds[column]
        if size := SIZES.get(kind):
            if column in wanted:
                yield column, int(struct.unpack_from("<Q", feature.data, at)[0])
        else:
            (size,) = struct.unpack_from("<I", feature.data, at)
            at += 4
            if column in wanted:
                yield column, feature.data[at : at + size].decode("utf-8", "replace")
        at += size
