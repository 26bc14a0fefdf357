"""Parcel files made on the spot, and looks into the database that they were loaded into."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyogrio
import shapely
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import query
from cbmctl.parcels.files.findings import Findings
from cbmctl.parcels.files.parcel_table import ParcelTable
from cbmctl.parcels.fill_table import FEATURE, PAIRS, STAGED, stage
from cbmctl.parcels.pairing import pair

PARCELS = TableName("public", "parcels_2021")
Keyed = tuple[str, str | None, shapely.MultiPolygon]  # key, name, geometry


def write(
    path: Path,
    geometries: list[Any],
    *,
    crs: str = "EPSG:25832",
    driver: str = "GPKG",
    layer: str = "parcels",
    **attributes: Any,
) -> Path:
    table = pa.table({**attributes, "geom": pa.array(shapely.to_wkb(geometries), pa.binary())})
    pyogrio.write_arrow(
        table,
        path,
        layer=layer if driver == "GPKG" else None,
        driver=driver,
        geometry_name="geom",
        geometry_type="Unknown" if driver == "GPKG" else "Polygon",
        crs=crs,
    )
    return path


def fields(n: int, shift: float = 0.0) -> list[Any]:
    return [
        shapely.box(500000 + 200 * i + shift, 6000000, 500150 + 200 * i + shift, 6000150) for i in range(n)
    ]


def rows(conn: psycopg.Connection, statement: str) -> list[tuple[Any, ...]]:
    return conn.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return,unused-ignore]


def stage_and_store(conn: psycopg.Connection, file: Iterable[Keyed], table: Iterable[Keyed]) -> None:
    """Make the staged file and the parcel table, each numbered from 0, of a few parcels."""
    for made, number, parcels in (
        (STAGED, FEATURE, file),
        (PARCELS.sql, sql.Identifier("ogc_fid"), table),
    ):
        conn.execute(
            query(
                "CREATE TABLE {made} ({number} integer PRIMARY KEY, key text, name text,"
                " wkb_geometry geometry(MultiPolygon, 25832))",
                made=made,
                number=number,
            )
        )
        for i, (key, name, geometry) in enumerate(parcels):
            conn.execute(
                query("INSERT INTO {made} VALUES (%s, %s, %s, ST_GeomFromWKB(%s, 25832))", made=made),
                [i, key, name, geometry.wkb],
            )


def in_file_order(
    conn: psycopg.Connection, table: ParcelTable, name: str = PARCELS.name
) -> list[tuple[Any, ...]]:
    """The rows of the parcel table that was loaded from a file: `ogc_fid`, attributes, geometry."""
    parcels = PARCELS.sibling(name)
    with conn.transaction():
        planned = stage(conn, table, findings=Findings(), advance=lambda _: None)
        pair(conn, parcels, table.srid, alike=[c.name for c in planned])
        return conn.execute(
            query(
                "SELECT p.* FROM {parcels} p JOIN {pairs} USING (ogc_fid) ORDER BY {feature}",
                parcels=parcels.sql,
                pairs=PAIRS,
                feature=FEATURE,
            )
        ).fetchall()


def columns(conn: psycopg.Connection) -> dict[str, str]:
    return dict(
        conn.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'public.parcels_2021'::regclass AND attnum > 0 ORDER BY attnum"
        ).fetchall()
    )
