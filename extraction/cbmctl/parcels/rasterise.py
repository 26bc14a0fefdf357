"""The manual's raster tables: each parcel as pixels of the images' own grid.

`<parcels>_<epsg>_<resolution>_rast(pid, rast)`, one table for each UTM zone of the scenes over the area
and each resolution of the configured bands. The pixels are those whose centre lies in the parcel (GDAL's
rule), on the grid whose corners are multiples of the resolution: that of every Sentinel-2 tile. Without
the grid's origin, as in the manual, ST_AsRaster makes up a grid for each parcel, up to half a pixel off
the image's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from cbmctl.config import Config, TableName
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.parcels.grids import comment_of, grids, stamp_of
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.steps import Steps, hidden

CHUNK = 5_000
# Whole numbers would choose ST_AsRaster(geom, width, height, …), which counts pixels instead of metres.
# Given an SRID it would have GDAL parse the coordinate system again for each parcel: six times the work
# of the pixels.
AS_RASTER = (
    "ST_SetSRID(ST_AsRaster(ST_SetSRID(ST_Transform(wkb_geometry, {epsg}), 0), {res}::float8, -{res}::float8,"
    " 0::float8, 0::float8, '8BUI', 1::float8, 0::float8, 0::float8, 0::float8, false), {epsg})"
)


@dataclass(frozen=True)
class RasterTable:
    """A raster table after (or, when only checking, before) the run.

    `without_pixel` are the ogc_fid of parcels that contain no pixel centre; they can have no statistics.
    `left_out` are those of which PostGIS cannot make a raster, because they cannot be projected into the zone
    or are too large: without a row. `reason` is what PostGIS says of the first of them, or "".
    """

    table: str
    epsg: int
    resolution: int
    changed: bool
    parcels: int
    without_pixel: tuple[int, ...]
    left_out: tuple[int, ...]
    reason: str = ""


def rasterise(
    conn: psycopg.Connection,
    config: Config,
    *,
    check_only: bool = False,
    progress: Steps = hidden,
) -> list[RasterTable]:
    """Make the raster tables that are missing or older than the parcels.

    Args:
        conn: the owner's connection, in autocommit mode; each table is made in a transaction of its own.
        config: tells the parcels, the area, the period and the bands.
        check_only: find out what would be made, change nothing.
        progress: gets a label and the number of parcels, gives what to call with each number done.

    Raises:
        UserError: no parcels, no such area, no scenes, or PostGIS cannot make a raster of any parcel.
    """
    return [
        _table(conn, config, epsg, resolution, check_only=check_only, progress=progress)
        for epsg, resolution in grids(conn, config)
    ]


def update_rasters(
    conn: psycopg.Connection,
    parcels: TableName,
    raster: TableName,
    grid: tuple[int, int],
    *,
    new: Sequence[int],
    gone: Sequence[int],
) -> None:
    """Delete the rasters of parcels that are gone from a table, and insert those of new ones.

    Args:
        conn: a connection with a transaction under way.
        parcels: the parcel table, which has the new parcels.
        raster: the table.
        grid: its EPSG code and resolution in metres.
        new: numbers of parcels, ascending and without gaps.
        gone: numbers of parcels.
    """
    conn.execute(query("DELETE FROM {raster} WHERE pid = ANY(%s)", raster=raster.sql), [list(gone)])
    insert = query("INSERT INTO {raster} ", raster=raster.sql) + _statement(parcels, *grid)
    for first in range(0, len(new), CHUNK):
        _insert(conn, insert, list(new[first : first + CHUNK]))


def _table(
    conn: psycopg.Connection,
    config: Config,
    epsg: int,
    resolution: int,
    *,
    check_only: bool,
    progress: Steps,
) -> RasterTable:
    parcels = config.tables.parcels
    raster = parcels.sibling(f"{parcels.name}_{epsg}_{resolution}_rast")
    with conn.transaction():
        lock_parcel_sets(conn, config.tables)
        stamp = stamp_of(conn, config.tables)
        count = int(one(conn, query("SELECT count(*) FROM {parcels}", parcels=parcels.sql))[0])
        complete = comment_of(conn, raster) == stamp
        reasons: dict[int, str] = {}
        if not complete and not check_only:
            label = f"{parcels.name} in EPSG:{epsg} at {resolution} m"
            reasons = _burn(conn, parcels, raster, (epsg, resolution), progress(label, count))
            if reasons and len(reasons) == count:
                raise UserError(
                    "parcels.not_rasterised",
                    (
                        f"{raster} cannot be created: PostGIS says '{next(iter(reasons.values()))}' of every"
                        " parcel"
                    ),
                    f"Check the coordinates of {parcels}, and that the server knows EPSG:{epsg}",
                    about=raster,
                )
            # the comment is the seal: it comes in the same transaction as the last raster
            conn.execute(
                query(
                    "COMMENT ON TABLE {raster} IS {stamp}",
                    raster=raster.sql,
                    stamp=psycopg.sql.Literal(stamp),
                )
            )
        unknown = check_only and not complete
        without = () if unknown else _without_pixel(conn, raster)
        left_out = () if unknown else _left_out(conn, parcels, raster)
        if left_out and not reasons:  # of an earlier run
            reasons = _insert(conn, _statement(parcels, epsg, resolution), [left_out[0]])
        reason = next(iter(reasons.values()), "")
        return RasterTable(str(raster), epsg, resolution, not complete, count, without, left_out, reason)


def _burn(
    conn: psycopg.Connection,
    parcels: TableName,
    raster: TableName,
    grid: tuple[int, int],
    advance: Callable[[int], None],
) -> dict[int, str]:
    """Make a table and fill it; return the parcels that are left out, in their order, and why."""
    names = {"raster": raster.sql, "parcels": parcels.sql}
    conn.execute(query("DROP TABLE IF EXISTS {raster}", **names))
    conn.execute(query("CREATE TABLE {raster} (pid integer NOT NULL, rast raster NOT NULL)", **names))
    insert = query("INSERT INTO {raster} ", **names) + _statement(parcels, *grid)
    reasons: dict[int, str] = {}
    chunk = query("SELECT ogc_fid FROM {parcels} WHERE ogc_fid > %s ORDER BY ogc_fid LIMIT %s", **names)
    last = -(2**31)
    while pids := [pid for (pid,) in conn.execute(chunk, [last, CHUNK])]:
        reasons |= _insert(conn, insert, pids)
        last = pids[-1]
        advance(len(pids))
    conn.execute(query("ALTER TABLE {raster} ADD PRIMARY KEY (pid)", **names))
    conn.execute(query("ANALYZE {raster}", **names))
    return reasons


def _statement(parcels: TableName, epsg: int, resolution: int) -> psycopg.sql.Composed:
    """The rasters of the parcels from one number to another."""
    return query(
        f"SELECT ogc_fid, {AS_RASTER} FROM {{parcels}}"  # noqa: S608  (no value in it)
        " WHERE ogc_fid BETWEEN %s AND %s ORDER BY ogc_fid",
        parcels=parcels.sql,
        epsg=psycopg.sql.Literal(epsg),
        res=psycopg.sql.Literal(resolution),
    )


def _insert(conn: psycopg.Connection, insert: psycopg.sql.Composed, pids: list[int]) -> dict[int, str]:
    """Insert the rasters of some parcels; return those of which PostGIS cannot make one, and what it says."""
    try:
        with conn.transaction():
            conn.execute(insert, [pids[0], pids[-1]])
    except psycopg.errors.InternalError_ as error:  # PROJ's or the raster library's own, or anything else
        if len(pids) == 1:
            return {pids[0]: error.diag.message_primary or str(error)}
        middle = len(pids) // 2
        return _insert(conn, insert, pids[:middle]) | _insert(conn, insert, pids[middle:])
    return {}


def _left_out(conn: psycopg.Connection, parcels: TableName, raster: TableName) -> tuple[int, ...]:
    rows = conn.execute(
        query(
            "SELECT ogc_fid FROM {parcels} WHERE NOT EXISTS (SELECT FROM {raster} WHERE pid = ogc_fid)"
            " ORDER BY ogc_fid",
            parcels=parcels.sql,
            raster=raster.sql,
        )
    ).fetchall()
    return tuple(pid for (pid,) in rows)


def _without_pixel(conn: psycopg.Connection, raster: TableName) -> tuple[int, ...]:
    rows = conn.execute(
        query("SELECT pid FROM {raster} WHERE ST_BandIsNoData(rast, 1, true) ORDER BY pid", raster=raster.sql)
    ).fetchall()
    return tuple(pid for (pid,) in rows)
