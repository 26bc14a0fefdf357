"""Which share of a parcel's area other parcels cover too."""

from collections.abc import Callable

import psycopg
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import one, query

DIGITS = 4  # of a share; neighbours that were digitised together overlap by less
OVERLAPS = sql.Identifier("pg_temp", "cbm_parcel_overlaps")


def are_valid(conn: psycopg.Connection, parcels: TableName) -> bool:
    """Whether all parcels are valid: loaded ones are, those of a table that was made by hand may not be."""
    statement = query(
        "SELECT NOT EXISTS (SELECT FROM {parcels} WHERE NOT ST_IsValid(wkb_geometry))", parcels=parcels.sql
    )
    return bool(one(conn, statement)[0])


def find_overlaps(
    conn: psycopg.Connection,
    parcels: TableName,
    chunks: list[list[int]],
    are_valid: bool,
    advance: Callable[[int], None],
) -> None:
    """Make the temporary table OVERLAPS of parcels that others overlap: `ogc_fid`, and `overlap`, a share.

    Args:
        conn: a connection with a transaction under way; the table is gone at its end.
        parcels: the parcel table.
        chunks: the parcels to look at, in groups.
        are_valid: whether all geometries are valid.
        advance: called with the number of parcels done.
    """
    names: dict[str, sql.Composable] = {"overlaps": OVERLAPS, "parcels": parcels.sql}
    conn.execute(
        query(
            "CREATE TEMPORARY TABLE {overlaps} (ogc_fid integer PRIMARY KEY, overlap real NOT NULL)"
            " ON COMMIT DROP",
            **names,
        )
    )
    valid = sql.SQL("{}.wkb_geometry" if are_valid else "ST_MakeValid({}.wkb_geometry)")
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
                   WHERE a.ogc_fid = ANY(%s)
                   OFFSET 0) pieces
               WHERE area > 0 AND NOT ST_IsEmpty(piece)
               GROUP BY ogc_fid) shares
           WHERE share > 0""",
        digits=sql.Literal(DIGITS),
        one=valid.format(sql.SQL("a")),
        other=valid.format(sql.SQL("b")),
        **names,
    )
    for pids in chunks:
        conn.execute(statement, [pids])
        advance(len(pids))
