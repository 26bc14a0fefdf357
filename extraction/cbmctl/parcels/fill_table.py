"""A parcels file as tables of PostGIS: staged as it was read, then numbered, with its key and index."""

from collections.abc import Callable

import psycopg
import shapely
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.invocation import option
from cbmctl.parcels.files.columns import Column, plan
from cbmctl.parcels.files.findings import Findings
from cbmctl.parcels.files.parcel_table import ParcelTable
from cbmctl.parcels.geometry_check import cleaned

# Temporary tables of one transaction. No column of a file is called like FEATURE, which has a space.
STAGED = sql.Identifier("pg_temp", "cbm_staged_parcels")
PAIRS = sql.Identifier("pg_temp", "cbm_parcel_pairs")
FEATURE = sql.Identifier("feature number")


def stage(
    conn: psycopg.Connection, table: ParcelTable, *, findings: Findings, advance: Callable[[int], None]
) -> list[Column]:
    """Make the temporary table STAGED of a file, and return the columns of its attributes.

    Its other columns are FEATURE, the feature's position in the file from 1, and `wkb_geometry`.

    Args:
        conn: a connection with a transaction under way; the table is gone at its end.
        table: the file.
        findings: is filled on the way.
        advance: called with the number of features done.
    """
    columns = plan(table.attributes.schema)
    conn.execute(
        query(
            "CREATE TEMPORARY TABLE {staged} ({feature} integer PRIMARY KEY{columns},"
            " wkb_geometry geometry(MultiPolygon, {srid}) NOT NULL) ON COMMIT DROP",
            staged=STAGED,
            feature=FEATURE,
            columns=_definitions(columns),
            srid=sql.Literal(table.srid),
        )
    )
    statement = query(
        "COPY {staged} ({feature}, wkb_geometry{names}) FROM STDIN (FORMAT binary)",
        staged=STAGED,
        feature=FEATURE,
        names=_names(columns),
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        # PostGIS reads EWKB, and bytea is sent as the bytes it is
        copy.set_types(["int4", "bytea", *(c.type for c in columns)])
        for rows, clean in cleaned(table, findings, advance):
            ewkb = shapely.to_wkb(shapely.set_srid(clean.geometry, table.srid), include_srid=True)
            for feature, geometry, others in zip(clean.feature.tolist(), ewkb, rows, strict=True):
                copy.write_row((feature, geometry, *others))
    conn.execute(query("ANALYZE {staged}", staged=STAGED))
    return columns


def number_by_place(
    conn: psycopg.Connection, building: sql.Identifier, columns: list[Column], srid: int, *, after: int = 0
) -> None:
    """Make a parcel table of the staged file: `ogc_fid` from `after` + 1 without gaps, along a Hilbert curve.

    Neighbours are seen by the same scenes, so their statistics share pages of `sigs` and of its key
    (docs/decisions/tables.md). PostGIS sorts geometries along that curve.
    """
    _create(
        conn,
        building,
        columns,
        srid,
        query(
            "SELECT {after} + row_number() OVER (ORDER BY wkb_geometry, {feature}), wkb_geometry{names}"
            " FROM {staged} ORDER BY 1",
            after=sql.Literal(after),
            feature=FEATURE,
            names=_names(columns),
            staged=STAGED,
        ),
    )


def number_as_paired(
    conn: psycopg.Connection,
    building: sql.Identifier,
    columns: list[Column],
    srid: int,
    parcels: TableName,
) -> None:
    """Make a parcel table of the staged file with the `ogc_fid` and geometry of the paired parcels (PAIRS).

    The stored geometry stays, because the file's may differ by a millimetre and so have other pixels.
    """
    _create(
        conn,
        building,
        columns,
        srid,
        query(
            "SELECT p.ogc_fid, ST_Multi(p.wkb_geometry){names} FROM {staged} f JOIN {pairs} USING ({feature})"
            " JOIN {parcels} p USING (ogc_fid) ORDER BY 1",
            feature=FEATURE,
            names=_names(columns, "f"),
            staged=STAGED,
            pairs=PAIRS,
            parcels=parcels.sql,
        ),
    )


def expect_parcels(findings: Findings, table: ParcelTable) -> None:
    """Raise UserError when a file gave nothing to load."""
    if not findings.parcels:
        reasons = {f.reason for f in findings.of("refused")}
        why = f"all are refused: {', '.join(sorted(reasons)[:3])}" if reasons else "it is empty"
        raise UserError(
            "parcels.none_left",
            f"{table.shown} has no parcels to load ({why})",
            f"Check the layer and {option('--where')}",
            about=option("--where"),
        )


def _create(
    conn: psycopg.Connection,
    building: sql.Identifier,
    columns: list[Column],
    srid: int,
    rows: sql.Composed,
) -> None:
    names = {"building": building, "columns": _definitions(columns), "names": _names(columns)}
    conn.execute(
        query(
            "CREATE TABLE {building}"
            " (ogc_fid integer NOT NULL{columns}, wkb_geometry geometry(MultiPolygon, {srid}) NOT NULL)",
            srid=sql.Literal(srid),
            **names,
        )
    )
    conn.execute(query("INSERT INTO {building} (ogc_fid, wkb_geometry{names}) {rows}", rows=rows, **names))
    conn.execute(query("ALTER TABLE {building} ADD PRIMARY KEY (ogc_fid)", building=building))
    conn.execute(query("CREATE INDEX ON {building} USING gist (wkb_geometry)", building=building))


def _definitions(columns: list[Column]) -> sql.Composed:
    """The columns of the attributes with their types, each after a comma."""
    return sql.Composed(
        [sql.SQL(", {} {}").format(sql.Identifier(c.name), sql.Identifier(c.type)) for c in columns]
    )


def _names(columns: list[Column], *alias: str) -> sql.Composed:
    """The names of the attributes' columns, each after a comma."""
    return sql.Composed([sql.SQL(", {}").format(sql.Identifier(*alias, c.name)) for c in columns])
