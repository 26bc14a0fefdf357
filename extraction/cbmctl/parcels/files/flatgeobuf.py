"""FlatGeobuf's own bytes: the header, and the features one by one.

The layout is that of flatgeobuf.org: magic bytes, a header and a spatial index, then one FlatBuffers table
for each feature, with its length before it.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cbmctl.errors import UserError, counted
from cbmctl.parcels.files.delivery import Dataset

MAGIC = 8
# numbers of fields in the schema's table Header
FEATURES_COUNT, INDEX_NODE_SIZE = 8, 9
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


def header_of(data: mmap.mmap) -> Table:
    """The header of a file."""
    return _root(data, MAGIC + 4)


def _root(data: mmap.mmap, at: int) -> Table:
    return Table(data, at + int(struct.unpack_from("<I", data, at)[0]))


def features(data: mmap.mmap) -> Iterator[Table]:
    """The features, in the order of the file."""
    for at in _starts(data):
        yield _root(data, at)


def count_features(dataset: Dataset) -> int:
    """Count the features one by one.

    Raises:
        UserError: the file is truncated, or its header has another number.
    """
    with dataset.file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            promised = header_of(data).number(FEATURES_COUNT, "<Q", 0)
            number, end = 0, 0
            for at in _starts(data):
                number += 1
                end = at + int(struct.unpack_from("<I", data, at - 4)[0])
        except struct.error as error:
            raise UserError(
                "parcels.damaged",
                f"{dataset.shown} is damaged (its header is not complete)",
                "Deliver it again",
                about=dataset.shown,
            ) from error
        if end > len(data) or (promised and promised != number):
            whole, all_of_them = number - (end > len(data)), counted(promised or number, "feature")
            raise UserError(
                "parcels.truncated",
                f"{dataset.shown} is not complete: it holds {whole} of {all_of_them}",
                "Deliver it again",
                about=dataset.shown,
            )
    return number


def _starts(data: mmap.mmap) -> Iterator[int]:
    """Where each feature begins, behind its length; the last one may be without its end."""
    header = header_of(data)
    number = header.number(FEATURES_COUNT, "<Q", 0)
    node_size = header.number(INDEX_NODE_SIZE, "<H", DEFAULT_NODE_SIZE)
    (size,) = struct.unpack_from("<I", data, MAGIC)
    at = MAGIC + 4 + size + _index_bytes(number, node_size)
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield at + 4
        at += 4 + size


def _index_bytes(features: int, node_size: int) -> int:
    if not node_size or not features:
        return 0
    nodes = level = features
    while level > 1:
        level = -(-level // node_size)
        nodes += level
    return nodes * NODE_BYTES
