"""Rows of `sigs` and `hists`: what a task found replaces what an earlier run of it has left."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from cbmctl.bandsets import BANDSETS
from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.pixels.statistics import STATISTICS

# COPY's binary format, as PostgreSQL documents it: signature, flags, no header extension; rows of fields with
# their lengths, in network order; -1 instead of a further row. Our fields never vary, so numpy can write it.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_PARCELS_AT_ONCE = 25_000


def replace_signatures(
    conn: psycopg.Connection,
    tables: Tables,
    obsid: int,
    bandset: str,
    *,
    pids: NDArray[np.int32],
    found: Mapping[str, NDArray[np.float32]],
) -> int:
    """Write the statistics of a scene's bands at one resolution.

    Args:
        conn: a connection in the transaction that closes the task.
        tables: the tables.
        obsid: the scene's id.
        bandset: key of BANDSETS; rows of all its bands are replaced.
        pids: (n,) parcels, ascending: so the primary key grows leaf by leaf.
        found: band to (n, 8) STATISTICS.

    Returns:
        The number of rows.
    """
    conn.execute(
        query("DELETE FROM {sigs} WHERE obsid = %s AND band = ANY(%s::bpchar[])", sigs=tables.sigs.sql),
        [obsid, list(BANDSETS[bandset].bands)],
    )
    statement = query(
        """COPY {sigs} (pid, obsid, band, "count", mean, std, "min", "max", p25, p50, p75)
           FROM STDIN (FORMAT binary)""",
        sigs=tables.sigs.sql,
    )
    if not found or not len(pids):
        return 0
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_SIGNATURE)
        for start in range(0, len(pids), _PARCELS_AT_ONCE):
            part = slice(start, start + _PARCELS_AT_ONCE)
            copy.write(_binary(obsid, pids[part], {band: table[part] for band, table in found.items()}))
        copy.write(_TRAILER)
    return len(pids) * len(found)


def replace_histograms(
    conn: psycopg.Connection,
    tables: Tables,
    obsid: int,
    pids: NDArray[np.int32],
    counts: NDArray[np.int32],
) -> int:
    """Write the SCL histograms of a scene: (n,) pids and (n, classes) pixels. Return the number of rows.

    A histogram has only the classes that occur, as strings: clients test the keys.
    """
    conn.execute(query("DELETE FROM {hists} WHERE obsid = %s", hists=tables.hists.sql), [obsid])
    statement = query("COPY {hists} (pid, obsid, hist) FROM STDIN", hists=tables.hists.sql)
    order = np.argsort(pids)
    row, scl = np.nonzero(counts[order])
    pairs = [
        f'"{name}": {pixels}'
        for name, pixels in zip(scl.tolist(), counts[order][row, scl].tolist(), strict=True)
    ]
    ends = np.cumsum(np.bincount(row, minlength=len(pids))).tolist()
    begin, lines = 0, []
    for pid, end in zip(pids[order].tolist(), ends, strict=True):
        lines.append(f"{pid}\t{obsid}\t{{{', '.join(pairs[begin:end])}}}\n")
        begin = end
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write("".join(lines))
    return len(lines)


def _binary(obsid: int, pids: NDArray[np.int32], found: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return rows by parcel, then by band, so that a parcel's bands lie side by side."""
    rows = np.zeros((len(pids), len(found)), _ROW)
    rows["fields"] = 3 + len(STATISTICS)
    rows["pid_length"], rows["obsid_length"], rows["band_length"] = 4, 4, 3
    rows["pid"], rows["obsid"] = pids[:, np.newaxis], obsid
    for place, (band, table) in enumerate(found.items()):
        rows["band"][:, place] = band.encode()
        for number, name in enumerate(STATISTICS):
            rows[f"{name}_length"][:, place], rows[name][:, place] = 4, table[:, number]
    return rows.tobytes()


def _row_type() -> np.dtype[Any]:
    def fields() -> Iterator[tuple[str, str]]:
        yield "fields", ">i2"
        for name, kind in (
            ("pid", ">i4"),
            ("obsid", ">i4"),
            ("band", "S3"),
            *((s, ">f4") for s in STATISTICS),
        ):
            yield f"{name}_length", ">i4"
            yield name, kind

    return np.dtype(list(fields()))


_ROW = _row_type()
