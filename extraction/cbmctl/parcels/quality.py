"""Quality flags of parcels: the table `<parcels>_quality`, a row per parcel and grid of Sentinel-2.

- `pixels`: pixels whose centre lies in the parcel, as in the statistics.
- `full_pixels`: pixels that lie wholly in it.
- `lost`: the share of the area that a buffer of 5 m inwards takes, from 0 to 1.
- `usable`: at least 8 full pixels, and less than 60 % lost: the criteria of the JRC for evidence from
  Sentinel-2 (JRC115564).
- `sliver`: no pixel centre, so that there are no statistics.
- `overlap`: the share of the area that other parcels cover too, from 0 to 1.

All of them are about the parcel as it is declared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import psycopg
import shapely
from psycopg import sql

from cbmctl.config import Config, TableName
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.parcels.gone_parcels import gone_table
from cbmctl.parcels.grids import comment_of, grids, stamp_of
from cbmctl.parcels.overlapping_parcels import DIGITS, OVERLAPS, are_valid, find_overlaps
from cbmctl.parcels.projection import projected
from cbmctl.pixels.full_pixels import pixel_counts
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.steps import Steps, hidden

CHUNK = 10_000
INWARDS_M = 5.0
FULL_PIXELS, LOST = 8, 0.6
SEPARATOR = "; "  # of the stamp and the grids in the comment on the table


@dataclass(frozen=True)
class Quality:
    """The table after (or, when only checking, before) the run.

    Attributes:
        changed: whether the table was made, or would be.
        table: its name.
        parcels: rows of the parcel table.
        grids: the numbers of each grid; empty if the table would be made.
    """

    changed: bool
    table: str
    parcels: int
    grids: tuple["GridQuality", ...]


@dataclass(frozen=True)
class GridQuality:
    """Numbers of parcels on a grid, by flag.

    `left_out` cannot be projected into the zone, and have no row.
    """

    epsg: int
    resolution: int
    usable: int
    slivers: int
    overlapping: int
    left_out: int


def table_of(parcels: TableName) -> TableName:
    """The table beside the parcels."""
    return parcels.sibling(f"{parcels.name}_quality")


def assess(
    conn: psycopg.Connection,
    config: Config,
    *,
    check_only: bool = False,
    progress: Steps = hidden,
) -> Quality:
    """Make the quality table, unless it belongs to these parcels and grids. Clients may read meanwhile.

    Args:
        conn: the owner's connection, in autocommit mode.
        config: names the parcels, the area, the period and the bands.
        check_only: report what would be done, change nothing.
        progress: gets a label and the number of parcels, gives what to call with each number done.

    Raises:
        UserError: no parcels, no such area, no scenes, or somebody else's table of that name.
    """
    parcels, wanted = config.tables.parcels, grids(conn, config)
    table = table_of(parcels)
    with conn.transaction():
        lock_parcel_sets(conn, config.tables)
        listed = ", ".join(f"{epsg}/{resolution}" for epsg, resolution in wanted)
        stamp = f"{stamp_of(conn, config.tables)}{SEPARATOR}{listed}"
        count = int(one(conn, query("SELECT count(*) FROM {parcels}", parcels=parcels.sql))[0])
        made = comment_of(conn, table) == stamp
        if not made and not check_only:
            _create(conn, table)
            chunks = _chunks(conn, parcels)
            find_overlaps(
                conn, parcels, chunks, are_valid(conn, parcels), progress("overlaps of parcels", count)
            )
            for epsg, resolutions in _by_zone(wanted):
                advance = progress(f"quality of parcels in EPSG:{epsg}", count)
                for chunk in chunks:
                    _fill(conn, parcels, chunk, epsg, resolutions)
                    advance(len(chunk))
            conn.execute(query("ANALYZE {table}", table=table.sql))
            # the comment is the seal: it comes in the same transaction as the last row
            conn.execute(
                query("COMMENT ON TABLE {table} IS {stamp}", table=table.sql, stamp=sql.Literal(stamp))
            )
        found = () if check_only and not made else tuple(_summaries(conn, table, wanted, count))
    return Quality(not made, str(table), count, found)


def read_grids(listed: str) -> list[tuple[int, int]]:
    """EPSG code and resolution of each grid, from the comment on the table."""
    pairs = [grid.split("/") for grid in listed.split(", ") if grid]
    return [(int(epsg), int(resolution)) for epsg, resolution in pairs]


def update_flags(
    conn: psycopg.Connection,
    parcels: TableName,
    grids: list[tuple[int, int]],
    *,
    new: Sequence[int],
    gone: Sequence[int],
) -> None:
    """Delete the flags of parcels that are gone, add those of new ones, and make those of neighbours again.

    Args:
        conn: a connection with a transaction under way.
        parcels: the parcel table, which has the new parcels; those that are gone are in the table beside.
        grids: EPSG code and resolution of each grid in the table.
        new: numbers of parcels.
        gone: numbers of parcels.
    """
    near = conn.execute(
        query(
            """SELECT DISTINCT p.ogc_fid FROM (
                   SELECT wkb_geometry FROM {parcels} WHERE ogc_fid = ANY(%(new)s)
                   UNION ALL SELECT wkb_geometry FROM {beside} WHERE ogc_fid = ANY(%(gone)s)
               ) changed JOIN {parcels} p ON p.wkb_geometry && changed.wkb_geometry ORDER BY 1""",
            parcels=parcels.sql,
            beside=gone_table(parcels).sql if gone else parcels.sql,
        ),
        {"new": list(new), "gone": list(gone)},
    ).fetchall()
    pids = [pid for (pid,) in near]
    conn.execute(
        query("DELETE FROM {table} WHERE ogc_fid = ANY(%s)", table=table_of(parcels).sql), [[*pids, *gone]]
    )
    chunks = [pids[first : first + CHUNK] for first in range(0, len(pids), CHUNK)]
    find_overlaps(conn, parcels, chunks, False, lambda _: None)
    for epsg, resolutions in _by_zone(grids):
        for chunk in chunks:
            _fill(conn, parcels, chunk, epsg, resolutions)


def forget(conn: psycopg.Connection, parcels: TableName) -> None:
    """Delete all rows, because the parcels are replaced; in the caller's transaction."""
    table = table_of(parcels)
    if comment_of(conn, table) is not None:
        conn.execute(query("DELETE FROM {table}", table=table.sql))
        conn.execute(query("COMMENT ON TABLE {table} IS 'outdated'", table=table.sql))


def _create(conn: psycopg.Connection, table: TableName) -> None:
    """Make the table, or empty it: views on it stay."""
    exists = one(conn, query("SELECT to_regclass(%s) IS NOT NULL"), [str(table)])[0]
    if exists and comment_of(conn, table) is None:
        raise UserError(
            "parcels.foreign_table",
            f"The table {table} exists, but was not made by cbmctl parcels quality",
            "Rename it, and run this again",
        )
    conn.execute(
        query(
            """CREATE TABLE IF NOT EXISTS {table} (
                   ogc_fid integer NOT NULL,
                   epsg integer NOT NULL,
                   resolution smallint NOT NULL,
                   pixels integer NOT NULL,
                   full_pixels integer NOT NULL,
                   lost real NOT NULL,
                   overlap real NOT NULL,
                   usable boolean NOT NULL GENERATED ALWAYS AS (
                       full_pixels >= {full_pixels} AND lost < {lost}) STORED,
                   sliver boolean NOT NULL GENERATED ALWAYS AS (pixels = 0) STORED,
                   PRIMARY KEY (ogc_fid, epsg, resolution))""",
            table=table.sql,
            full_pixels=sql.Literal(FULL_PIXELS),
            lost=sql.Literal(LOST),
        )
    )
    conn.execute(query("DELETE FROM {table}", table=table.sql))


def _by_zone(grids: list[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """The resolutions of each EPSG code."""
    return [(epsg, [grid[1] for grid in found]) for epsg, found in groupby(grids, key=lambda grid: grid[0])]


def _fill(
    conn: psycopg.Connection, parcels: TableName, chunk: list[int], epsg: int, resolutions: list[int]
) -> None:
    fetched = _fetch(conn, parcels, epsg, chunk)
    pids, overlap = [row[0] for row in fetched], [row[1] for row in fetched]
    geometry = shapely.from_wkb([row[2] for row in fetched])
    lost = _lost(geometry)
    for resolution in resolutions:
        pixels, full = pixel_counts(geometry, epsg, resolution)
        statement = query(
            "COPY {table} (ogc_fid, epsg, resolution, pixels, full_pixels, lost, overlap)"
            " FROM STDIN (FORMAT binary)",
            table=table_of(parcels).sql,
        )
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(["int4", "int4", "int2", "int4", "int4", "float4", "float4"])
            for row in zip(pids, pixels.tolist(), full.tolist(), lost, overlap, strict=True):
                copy.write_row((row[0], epsg, resolution, *row[1:]))


def _lost(geometry: Any) -> list[float]:
    """The share of each area that the buffer takes; 1 if the area is 0."""
    # GEOS makes valid what an inward buffer needs; an area may be 0 after it was projected
    area, left = shapely.area(geometry), shapely.area(shapely.buffer(geometry, -INWARDS_M))
    share = 1 - np.divide(left, area, out=np.zeros_like(area), where=area > 0)
    found: list[float] = np.round(share, DIGITS).clip(0, 1).tolist()
    return found


def _fetch(
    conn: psycopg.Connection, parcels: TableName, epsg: int, pids: list[int]
) -> list[tuple[int, float, bytes]]:
    """Fetch numbers, overlaps and geometries of some parcels; those that cannot be projected are left out."""
    statement = query(
        "SELECT ogc_fid, coalesce(overlap, 0), ST_AsBinary({projected}) FROM {parcels}"
        " LEFT JOIN {overlaps} USING (ogc_fid) WHERE ogc_fid = ANY(%s) ORDER BY ogc_fid",
        projected=projected(parcels, epsg),
        parcels=parcels.sql,
        overlaps=OVERLAPS,
    )
    try:
        with conn.transaction():
            rows = conn.execute(statement, [pids], binary=True).fetchall()
        return [row for row in rows if row[2] is not None]  # wider than the Earth
    except psycopg.errors.InternalError_:  # PROJ's own
        if len(pids) == 1:
            return []
        middle = len(pids) // 2
        return _fetch(conn, parcels, epsg, pids[:middle]) + _fetch(conn, parcels, epsg, pids[middle:])


def _chunks(conn: psycopg.Connection, parcels: TableName) -> list[list[int]]:
    """The numbers of all parcels, in groups."""
    numbers = query("SELECT ogc_fid FROM {parcels} ORDER BY ogc_fid", parcels=parcels.sql)
    pids = [pid for (pid,) in conn.execute(numbers)]
    return [pids[first : first + CHUNK] for first in range(0, len(pids), CHUNK)]


def _summaries(
    conn: psycopg.Connection, table: TableName, wanted: list[tuple[int, int]], count: int
) -> list[GridQuality]:
    found = {
        (epsg, resolution): counts
        for epsg, resolution, *counts in conn.execute(
            query(
                "SELECT epsg, resolution, count(*) FILTER (WHERE usable), count(*) FILTER (WHERE sliver),"
                " count(*) FILTER (WHERE overlap > 0), {count} - count(*) FROM {table} GROUP BY 1, 2",
                table=table.sql,
                count=sql.Literal(count),
            )
        )
    }
    return [GridQuality(*grid, *found.get(grid, [0, 0, 0, count])) for grid in wanted]
