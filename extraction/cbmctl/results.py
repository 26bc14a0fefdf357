"""Rows of `sigs` and `hists`: what a task found replaces what an earlier run of it has left."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from cbmctl.config import S2_BANDS, Tables
from cbmctl.database import query

STATISTICS = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")

# COPY's binary format, as PostgreSQL documents it: signature, flags, no header extension; rows of fields with
# their lengths, in network order; -1 instead of a further row. Our fields never vary, so numpy can write it.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_ROWS_AT_ONCE = 100_000


def replace_signatures(
    conn: psycopg.Connection, tables: Tables, obsid: int, bandset: str, found: NDArray[np.void]
) -> int:
    """Write the statistics of a scene's bands at one resolution.

    Args:
        conn: a connection in the transaction that closes the task.
        tables: the tables.
        obsid: the scene's id.
        bandset: '10' or '20'; rows of all its bands are replaced.
        found: rows with pid, band and the eight STATISTICS [cbmctl.pixels.statistics].

    Returns:
        The number of rows.
    """
    conn.execute(
        query("DELETE FROM {sigs} WHERE obsid = %s AND band = ANY(%s::bpchar[])", sigs=tables.sigs.sql),
        [obsid, list(S2_BANDS[bandset])],
    )
    statement = query(
        """COPY {sigs} (pid, obsid, band, "count", mean, std, "min", "max", p25, p50, p75)
           FROM STDIN (FORMAT binary)""",
        sigs=tables.sigs.sql,
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_SIGNATURE)
        for start in range(0, len(found), _ROWS_AT_ONCE):
            copy.write(_binary(obsid, found[start : start + _ROWS_AT_ONCE]))
        copy.write(_TRAILER)
    return len(found)


def replace_histograms(
    conn: psycopg.Connection, tables: Tables, obsid: int, found: Mapping[int, Mapping[str, int]]
) -> int:
    """Write the SCL histograms of a scene: pid to {class: pixels}. Return the number of rows."""
    conn.execute(query("DELETE FROM {hists} WHERE obsid = %s", hists=tables.hists.sql), [obsid])
    statement = query("COPY {hists} (pid, obsid, hist) FROM STDIN", hists=tables.hists.sql)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for pid, histogram in found.items():
            copy.write_row((pid, obsid, json.dumps(histogram)))
    return len(found)


def _binary(obsid: int, found: NDArray[np.void]) -> bytes:
    rows = np.zeros(len(found), _row_type())
    rows["fields"] = 3 + len(STATISTICS)
    rows["pid"], rows["obsid"], rows["band"] = found["pid"], obsid, found["band"]
    rows["pid_length"], rows["obsid_length"], rows["band_length"] = 4, 4, 3
    for name in STATISTICS:
        rows[name], rows[f"{name}_length"] = found[name], 4
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
