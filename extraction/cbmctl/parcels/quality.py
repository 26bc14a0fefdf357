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

from collections.abc import Callable
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
from cbmctl.parcels.grids import comment_of, grids, stamp_of
from cbmctl.parcels.projecting import projected
from cbmctl.pixels.full import pixel_counts
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.steps import Steps, hidden

CHUNK = 10_000
INWARDS_M = 5.0
FULL_PIXELS, LOST = 8, 0.6
DIGITS = 4  # of a share; neighbours that were digitised together overlap by less

_OVERLAPS = sql.Identifier("pg_temp", "cbm_parcel_overlaps")


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
        stamp = f"{stamp_of(conn, config)}; {', '.join(f'{epsg}/{res}' for epsg, res in wanted)}"
        count = int(one(conn, query("SELECT count(*) FROM {parcels}", parcels=parcels.sql))[0])
        made = comment_of(conn, table) == stamp
        if not made and not check_only:
            _create(conn, table)
            _overlaps(conn, parcels, progress("overlaps of parcels", count))
            for epsg, resolutions in groupby(wanted, key=lambda grid: grid[0]):
                advance = progress(f"quality of parcels in EPSG:{epsg}", count)
                _fill(conn, parcels, epsg, [resolution for _, resolution in resolutions], advance)
            conn.execute(query("ANALYZE {table}", table=table.sql))
            # the comment is the seal: it comes in the same transaction as the last row
            conn.execute(
                query("COMMENT ON TABLE {table} IS {stamp}", table=table.sql, stamp=sql.Literal(stamp))
            )
        found = () if check_only and not made else tuple(_summaries(conn, table, wanted, count))
    return Quality(not made, str(table), count, found)


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
            f"The table {table} exists, but was not made by cbmctl parcels quality."
            " Rename it, and run this again"
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


def _overlaps(conn: psycopg.Connection, parcels: TableName, advance: Callable[[int], None]) -> None:
    """Make a temporary table of the parcels that others overlap, and by which share of their area."""
    names: dict[str, sql.Composable] = {"overlaps": _OVERLAPS, "parcels": parcels.sql}
    conn.execute(
        query(
            "CREATE TEMPORARY TABLE {overlaps} (ogc_fid integer PRIMARY KEY, overlap real NOT NULL)"
            " ON COMMIT DROP",
            **names,
        )
    )
    # loaded parcels are valid; parcels of a table that was made by hand may not be
    invalid = one(
        conn, query("SELECT EXISTS (SELECT FROM {parcels} WHERE NOT ST_IsValid(wkb_geometry))", **names)
    )[0]
    valid = sql.SQL("ST_MakeValid({}.wkb_geometry)" if invalid else "{}.wkb_geometry")
    statement = query(
        """INSERT INTO {overlaps}
           SELECT ogc_fid, share FROM (
               SELECT ogc_fid, round((CASE WHEN count(*) = 1 THEN sum(ST_Area(piece))
                   -- pieces of several others may overlap each other
                   ELSE ST_Area(ST_Union(piece)) END / min(area))::numeric, {digits}) AS share
               FROM (
                   SELECT a.ogc_fid, ST_Area(a.wkb_geometry) AS area,
                       ST_CollectionExtract(ST_Intersection({one}, {other}), 3) AS piece
                   FROM {parcels} a
                   JOIN {parcels} b ON b.wkb_geometry && a.wkb_geometry AND b.ogc_fid <> a.ogc_fid
                   WHERE a.ogc_fid BETWEEN %s AND %s
                   OFFSET 0) pieces
               WHERE area > 0 AND NOT ST_IsEmpty(piece)
               GROUP BY ogc_fid) shares
           WHERE share > 0""",
        digits=sql.Literal(DIGITS),
        one=valid.format(sql.SQL("a")),
        other=valid.format(sql.SQL("b")),
        **names,
    )
    for first, last, number in _chunks(conn, parcels):
        conn.execute(statement, [first, last])
        advance(number)


def _fill(
    conn: psycopg.Connection,
    parcels: TableName,
    epsg: int,
    resolutions: list[int],
    advance: Callable[[int], None],
) -> None:
    for first, last, number in _chunks(conn, parcels):
        fetched = _fetch(conn, parcels, epsg, first, last)
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
        advance(number)


def _lost(geometry: Any) -> list[float]:
    """The share of each area that the buffer takes; 1 if the area is 0."""
    # GEOS makes valid what an inward buffer needs; an area may be 0 after it was projected
    area, left = shapely.area(geometry), shapely.area(shapely.buffer(geometry, -INWARDS_M))
    share = 1 - np.divide(left, area, out=np.zeros_like(area), where=area > 0)
    found: list[float] = np.round(share, DIGITS).clip(0, 1).tolist()
    return found


def _fetch(
    conn: psycopg.Connection, parcels: TableName, epsg: int, first: int, last: int
) -> list[tuple[int, float, bytes]]:
    """Fetch numbers, overlaps and geometries of some parcels; those that cannot be projected are left out."""
    statement = query(
        "SELECT ogc_fid, coalesce(overlap, 0), ST_AsBinary({projected}) FROM {parcels}"
        " LEFT JOIN {overlaps} USING (ogc_fid) WHERE ogc_fid BETWEEN %s AND %s ORDER BY ogc_fid",
        projected=projected(parcels, epsg),
        parcels=parcels.sql,
        overlaps=_OVERLAPS,
    )
    try:
        with conn.transaction():
            rows = conn.execute(statement, [first, last], binary=True).fetchall()
        return [row for row in rows if row[2] is not None]  # wider than the Earth
    except psycopg.errors.InternalError_:  # PROJ's own
        if first == last:
            return []
        middle = (first + last) // 2
        return _fetch(conn, parcels, epsg, first, middle) + _fetch(conn, parcels, epsg, middle + 1, last)


def _chunks(conn: psycopg.Connection, parcels: TableName) -> list[tuple[int, int, int]]:
    """The first and the last number of groups of parcels, and how many each holds."""
    found = conn.execute(
        query(
            "SELECT min(ogc_fid), max(ogc_fid), count(*) FROM ("
            " SELECT ogc_fid, (row_number() OVER (ORDER BY ogc_fid) - 1) / {size} AS piece FROM {parcels}) a"
            " GROUP BY piece ORDER BY 1",
            size=sql.Literal(CHUNK),
            parcels=parcels.sql,
        )
    ).fetchall()
    return [(int(first), int(last), int(number)) for first, last, number in found]


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
