"""Rows of `sigs` as PostgreSQL's binary COPY takes them, as fast as numpy makes them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
STATISTICS = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
BANDS_10 = ("B02", "B03", "B04", "B08")
BANDS_20 = ("B05", "B11")
CHUNK = 100_000  # rows


def parcels_of(bands: tuple[str, ...], parcels: int) -> NDArray[np.int32]:
    """The parcels that get rows: at 20 m every fifth is too small."""
    pids = np.arange(1, parcels + 1, dtype=np.int32)
    return pids if bands == BANDS_10 else pids[pids % 5 != 0]


class Task:
    """The rows of one task, for any scene: only `obsid` and the values change.

    Args:
        bands: of the task.
        parcels: how many there are.
        by_band: all parcels of the first band, then of the second; else all bands of the first parcel, then …
    """

    def __init__(self, bands: tuple[str, ...], parcels: int, *, by_band: bool = False) -> None:
        pids = parcels_of(bands, parcels)
        rng = np.random.default_rng([len(bands), parcels])
        shape = (len(bands), len(pids))
        pid, band = np.broadcast_to(pids, shape), np.broadcast_to(np.array(bands, "S3")[:, None], shape)
        if not by_band:
            pid, band = pid.T, band.T
        self.rows = np.zeros(pid.size, _row_type())
        self.rows["fields"] = 3 + len(STATISTICS)
        self.rows["pid"], self.rows["band"] = pid.ravel(), band.ravel()
        for name, length in (("pid", 4), ("obsid", 4), ("band", 3), *((s, 4) for s in STATISTICS)):
            self.rows[f"{name}_length"] = length
        level = rng.lognormal(7.3, 0.4, pid.size).astype(np.float32)
        spread = rng.uniform(20, 200, pid.size).astype(np.float32)
        self.rows["count"] = rng.integers(4, 900, pid.size)
        self.values: dict[str, NDArray[np.float32]] = {"mean": level, "std": spread} | {
            name: level + spread * np.float32(factor)
            for name, factor in (("min", -2.5), ("max", 2.5), ("p25", -0.7), ("p50", 0.0), ("p75", 0.7))
        }

    def chunks(self, obsid: int) -> Iterator[bytes]:
        """The task's rows for a scene, 100,000 at a time, without the ends that COPY wants."""
        season = np.float32(1 + 0.3 * np.sin(obsid / 15))
        for start in range(0, len(self.rows), CHUNK):
            part: NDArray[Any] = self.rows[start : start + CHUNK]
            part["obsid"] = obsid
            for name, value in self.values.items():
                part[name] = value[start : start + CHUNK] * season
            yield part.tobytes()


def copy(conn: psycopg.Connection, table: str, tasks: list[tuple[Task, int]]) -> int:
    """Copy tasks (with their obsid) into a table of the manual's columns; return the number of rows."""
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(table))
    with conn.cursor() as cursor, cursor.copy(statement) as stream:
        stream.write(SIGNATURE)
        for task, obsid in tasks:
            for chunk in task.chunks(obsid):
                stream.write(chunk)
        stream.write(TRAILER)
    return sum(len(task.rows) for task, _ in tasks)


def _row_type() -> np.dtype[Any]:
    fields = [("fields", ">i2")]
    for name, kind in (("pid", ">i4"), ("obsid", ">i4"), ("band", "S3"), *((s, ">f4") for s in STATISTICS)):
        fields += [(f"{name}_length", ">i4"), (name, kind)]
    return np.dtype(fields)
