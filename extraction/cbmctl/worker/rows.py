"""Rows of `sigs` and `hists`: what a task found replaces what an earlier run of it has left.

Rows of parcels that are gone are not found again, and stay.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from cbmctl.config import Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import query
from cbmctl.pixels.statistics import STATISTICS
from cbmctl.queue.extracted_rows import of_current

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
    only: NDArray[np.int32] | None = None,
) -> int:
    """Write the statistics of a scene's bands at one resolution.

    Args:
        conn: a connection in the transaction that closes the task.
        tables: the tables.
        obsid: the scene's id.
        bandset: key of BANDSETS; rows of all its bands are replaced.
        pids: (n,) parcels, ascending: so the primary key grows leaf by leaf.
        found: band to (n, 8) STATISTICS.
        only: rows of these parcels are replaced; None means of all.

    Returns:
        The number of rows; with `only`, by how many more there are now.
    """
    gone = conn.execute(
        query(
            "DELETE FROM {sigs} s WHERE obsid = %(obsid)s AND band = ANY(%(bands)s::bpchar[]) AND {which}",
            sigs=tables.sigs.sql,
            which=_replaced(conn, tables, only),
        ),
        {"obsid": obsid, "bands": list(BANDSETS[bandset].bands), **_pids(only)},
    ).rowcount
    before = 0 if only is None else gone
    statement = query(
        """COPY {sigs} (pid, obsid, band, "count", mean, std, "min", "max", p25, p50, p75)
           FROM STDIN (FORMAT binary)""",
        sigs=tables.sigs.sql,
    )
    if not found or not len(pids):
        return -before
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_SIGNATURE)
        for start in range(0, len(pids), _PARCELS_AT_ONCE):
            part = slice(start, start + _PARCELS_AT_ONCE)
            copy.write(_binary(obsid, pids[part], {band: table[part] for band, table in found.items()}))
        copy.write(_TRAILER)
    return len(pids) * len(found) - before


def replace_histograms(
    conn: psycopg.Connection,
    tables: Tables,
    obsid: int,
    pids: NDArray[np.int32],
    counts: NDArray[np.int32],
    *,
    only: NDArray[np.int32] | None = None,
) -> int:
    """Write the SCL histograms of a scene: (n,) pids and (n, classes) pixels.

    A histogram has only the classes that occur, as strings: clients test the keys. `only` and the number that
    is returned are as in `replace_signatures`.
    """
    gone = conn.execute(
        query(
            "DELETE FROM {hists} s WHERE obsid = %(obsid)s AND {which}",
            hists=tables.hists.sql,
            which=_replaced(conn, tables, only),
        ),
        {"obsid": obsid, **_pids(only)},
    ).rowcount
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
    return len(lines) - (0 if only is None else gone)


def _replaced(
    conn: psycopg.Connection, tables: Tables, only: NDArray[np.int32] | None
) -> psycopg.sql.Composable:
    """Return whether a row `s` of the scene is replaced, as a condition."""
    return of_current(conn, tables) if only is None else query("pid = ANY(%(pids)s::integer[])")


def _pids(only: NDArray[np.int32] | None) -> dict[str, list[int]]:
    return {} if only is None else {"pids": only.tolist()}


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
