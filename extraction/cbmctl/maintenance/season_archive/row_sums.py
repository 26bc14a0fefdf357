"""Number and checksum of each scene's rows: the same in files and tables, in whatever order the rows are.

A row is hashed to 64 bits, from the bits of its values, so that a NaN or a null counts as what it is; the
checksum is the sum of the hashes modulo 2**64. It shows rows that were lost, changed or doubled by accident.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# Constants of the splitmix64 generator (Steele, Lea, Flood 2014).
_STEP, _MIX_1, _MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
_S30, _S27, _S31, _S32 = (np.uint64(shift) for shift in (30, 27, 31, 32))
_NULL = np.uint64(1 << 40)  # no value of 32 bits


class Numbers(NamedTuple):
    """How many rows a scene has, and the sum of their hashes."""

    rows: int
    checksum: int


NOTHING = Numbers(0, 0)


def numbers(batches: Iterable[pa.RecordBatch]) -> dict[int, Numbers]:
    """Return the numbers of each scene that has rows in the batches, by `obsid`."""
    rows: dict[int, int] = {}
    checksums: dict[int, int] = {}
    for batch in batches:
        if not batch.num_rows:
            continue
        obsids = batch.column("obsid").to_numpy(zero_copy_only=False)
        order = np.argsort(obsids, kind="stable")
        scenes, begins, counts = np.unique(obsids[order], return_index=True, return_counts=True)
        added = np.add.reduceat(hashes(batch)[order], begins)
        for obsid, count, checksum in zip(scenes.tolist(), counts.tolist(), added.tolist(), strict=True):
            rows[obsid] = rows.get(obsid, 0) + count
            checksums[obsid] = (checksums.get(obsid, 0) + checksum) % 2**64
    return {obsid: Numbers(count, checksums[obsid]) for obsid, count in rows.items()}


def hashes(batch: pa.RecordBatch) -> Words:
    """Return the hash of each row."""
    found = np.zeros(batch.num_rows, np.uint64)
    for column in batch.columns:
        found += _STEP
        found ^= _words(column)
        found ^= found >> _S30
        found *= _MIX_1
        found ^= found >> _S27
        found *= _MIX_2
        found ^= found >> _S31
    return found


def _words(column: pa.Array) -> Words:
    """Return a number for each value, different for different values (of text: for all that occur)."""
    if pa.types.is_dictionary(column.type):
        words = _texts(column.dictionary)
        codes = column.indices
        found = words[codes.fill_null(0).to_numpy(zero_copy_only=False)] if len(words) else None
        found = np.zeros(len(column), np.uint64) if found is None else found
    elif pa.types.is_string(column.type):
        found = _texts(column)
    elif pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        found = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    else:
        raise TypeError(f"{column.type} has no hash")
    if column.null_count:
        found[column.is_null().to_numpy(zero_copy_only=False)] = _NULL
    return found


def _texts(column: pa.Array) -> Words:
    values = (text.encode() if text is not None else b"" for text in column.to_pylist())
    digests = b"".join(blake2b(value, digest_size=8).digest() for value in values)
    return np.frombuffer(digests, np.uint64).copy()
