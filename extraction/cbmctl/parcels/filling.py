"""A parcels file as a table of PostGIS: its columns, rows, key and index."""

from collections.abc import Callable

import psycopg
import shapely
from psycopg import sql

from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.parcels.check import cleaned
from cbmctl.parcels.columns import Column, plan
from cbmctl.parcels.findings import Findings
from cbmctl.parcels.table import ParcelTable


def fill(
    conn: psycopg.Connection,
    building: sql.Identifier,
    table: ParcelTable,
    *,
    findings: Findings,
    advance: Callable[[int], None],
) -> list[Column]:
    """Make a table of a file, and return its columns.

    Args:
        conn: a connection with a transaction under way.
        building: the table's name; it does not exist yet.
        table: the file.
        findings: is filled on the way.
        advance: called with the number of features done.
    """
    columns = plan(table.attributes.schema)
    conn.execute(
        query(
            "CREATE TABLE {building}"
            " (ogc_fid integer NOT NULL{columns}, wkb_geometry geometry(MultiPolygon, {srid}) NOT NULL)",
            building=building,
            columns=sql.Composed(
                [sql.SQL(", {} {}").format(sql.Identifier(c.name), sql.Identifier(c.type)) for c in columns]
            ),
            srid=sql.Literal(table.srid),
        )
    )
    names = sql.SQL(", ").join(
        sql.Identifier(n) for n in ("ogc_fid", "wkb_geometry", *(c.name for c in columns))
    )
    statement = query("COPY {building} ({names}) FROM STDIN (FORMAT binary)", building=building, names=names)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        # PostGIS reads EWKB, and bytea is sent as the bytes it is
        copy.set_types(["int4", "bytea", *(c.type for c in columns)])
        for rows, clean in cleaned(table, findings, advance):
            ewkb = shapely.to_wkb(shapely.set_srid(clean.geometry, table.srid), include_srid=True)
            for ogc_fid, geometry, others in zip(clean.ogc_fid.tolist(), ewkb, rows, strict=True):
                copy.write_row((ogc_fid, geometry, *others))
    conn.execute(query("ALTER TABLE {building} ADD PRIMARY KEY (ogc_fid)", building=building))
    conn.execute(query("CREATE INDEX ON {building} USING gist (wkb_geometry)", building=building))
    return columns


def expect_parcels(findings: Findings, table: ParcelTable) -> None:
    """Raise UserError when a file gave nothing to load."""
    if not findings.parcels:
        reasons = {f.reason for f in findings.of("refused")}
        why = f"all are refused: {', '.join(sorted(reasons)[:3])}" if reasons else "there are none"
        raise UserError(f"{table.shown} has no parcel to load ({why}): check the layer and --where")
