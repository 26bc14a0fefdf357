"""The attributes of a FlatGeobuf file from its own bytes, for columns that GDAL reads as another type.

The layout is that of flatgeobuf.org: magic bytes, a header and a spatial index, then one FlatBuffers table
for each feature, whose attributes are pairs of a column's number (16 bits) and its value.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cbmctl.parcels.raw.corrections import Corrections, Rows
from cbmctl.parcels.raw.written import instants

MAGIC = 8
# numbers of fields in the schema's tables Header, Column and Feature
COLUMNS, FEATURES_COUNT, INDEX_NODE_SIZE = 7, 8, 9
NAME, TYPE = 0, 1
PROPERTIES = 1
ULONG, DATETIME = 8, 13
SIZES = {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 9: 4, 10: 8}  # other types begin with a length
NODE_BYTES = 40
DEFAULT_NODE_SIZE = 16


@dataclass(frozen=True)
class Table:
    """A FlatBuffers table at a position of a buffer."""

    data: mmap.mmap
    at: int

    def field(self, number: int) -> int:
        """Where a field is; 0 if it has its default."""
        vtable = self.at - self._int("<i", self.at)
        place = 4 + 2 * number
        if place >= self._int("<H", vtable):
            return 0
        offset = self._int("<H", vtable + place)
        return self.at + offset if offset else 0

    def number(self, number: int, kind: str, default: int) -> int:
        """A whole number."""
        at = self.field(number)
        return self._int(kind, at) if at else default

    def vector(self, number: int) -> tuple[int, int]:
        """Where the elements of a vector or text begin, and how many there are."""
        at = self.field(number)
        if not at:
            return 0, 0
        start = at + self._int("<I", at)
        return start + 4, self._int("<I", start)

    def tables(self, number: int) -> list["Table"]:
        """A vector of tables."""
        start, count = self.vector(number)
        places = (start + 4 * i for i in range(count))
        return [Table(self.data, at + self._int("<I", at)) for at in places]

    def text(self, number: int) -> str:
        """A text."""
        start, length = self.vector(number)
        return self.data[start : start + length].decode("utf-8", "replace")

    def _int(self, kind: str, at: int) -> int:
        return int(struct.unpack_from(kind, self.data, at)[0])


def correct(fix: Corrections, file: Path, *, fids: Rows) -> None:
    """Put whole numbers without sign, which GDAL takes for doubles, and dates right.

    Args:
        fix: the attributes as GDAL read them.
        file: the file.
        fids: the feature number of each row: its position in the file, from 0.
    """
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = _root(data, MAGIC + 4)
        kinds = {i: column.number(TYPE, "<B", 0) for i, column in enumerate(header.tables(COLUMNS))}
        names = [column.text(NAME) for column in header.tables(COLUMNS)]
        wanted = {i for i, kind in kinds.items() if kind in (ULONG, DATETIME) and names[i] in fix}
        if not wanted:
            return
        found: dict[int, list[int | str | None]] = {i: [] for i in wanted}
        for feature in _features(data, header):
            values = dict(_properties(feature, kinds, wanted))
            for i in wanted:
                found[i].append(values.get(i))
        for i in wanted:
            values_of_rows = [found[i][fid] for fid in fids]
            if kinds[i] == ULONG:
                fix.replace(names[i], pa.array(values_of_rows, pa.uint64()))
            else:
                instants(fix, names[i], pa.array(values_of_rows, pa.string()))


def _root(data: mmap.mmap, at: int) -> Table:
    return Table(data, at + int(struct.unpack_from("<I", data, at)[0]))


def _features(data: mmap.mmap, header: Table) -> Iterator[Table]:
    (size,) = struct.unpack_from("<I", data, MAGIC)
    at = (
        MAGIC
        + 4
        + size
        + _index_bytes(
            header.number(FEATURES_COUNT, "<Q", 0), header.number(INDEX_NODE_SIZE, "<H", DEFAULT_NODE_SIZE)
        )
    )
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield _root(data, at + 4)
        at += 4 + size


def _index_bytes(features: int, node_size: int) -> int:
    if not node_size or not features:
        return 0
    nodes = level = features
    while level > 1:
        level = -(-level // node_size)
        nodes += level
    return nodes * NODE_BYTES


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
