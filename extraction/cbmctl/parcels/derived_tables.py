"""Raster tables and quality flags that follow the parcels of an update, parcel by parcel.

Tables that were outdated before stay so, and are made again by their commands.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.parcels import quality, rasterise
from cbmctl.parcels.grids import comment_of, stamp_of
from cbmctl.parcels.supersede import raster_tables


def update_derived(
    conn: psycopg.Connection, tables: Tables, former: str, *, new: Sequence[int], gone: Sequence[int]
) -> None:
    """Delete what belongs to parcels that are gone, and add what belongs to new ones.

    Args:
        conn: a connection in the transaction of the load, after the load is recorded.
        tables: the tables.
        former: what `stamp_of` returned before the load.
        new: numbers of the new parcels, ascending and without gaps.
        gone: numbers of the parcels that are gone.
    """
    stamp = stamp_of(conn, tables)
    for raster in raster_tables(conn, tables.parcels):
        if comment_of(conn, raster) == former:
            epsg, resolution = map(int, raster.name.split("_")[-3:-1])
            rasterise.update_rasters(conn, tables.parcels, raster, (epsg, resolution), new=new, gone=gone)
            _seal(conn, raster.sql, stamp)
    flags = quality.table_of(tables.parcels)
    comment = comment_of(conn, flags) or ""
    if comment.startswith(former + quality.SEPARATOR):
        listed = comment.removeprefix(former + quality.SEPARATOR)
        quality.update_flags(conn, tables.parcels, quality.read_grids(listed), new=new, gone=gone)
        _seal(conn, flags.sql, stamp + quality.SEPARATOR + listed)


def _seal(conn: psycopg.Connection, table: sql.Composable, stamp: str) -> None:
    conn.execute(query("COMMENT ON TABLE {table} IS {stamp}", table=table, stamp=sql.Literal(stamp)))
