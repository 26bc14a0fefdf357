"""Parcel files made on the spot, and looks into the database that they were loaded into."""

from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyogrio
import shapely

from cbmctl.config import TableName
from cbmctl.database import query
from cbmctl.parcels.filling import FEATURE, PAIRS, stage
from cbmctl.parcels.findings import Findings
from cbmctl.parcels.pairing import pair
from cbmctl.parcels.table import ParcelTable


def write(path: Path, geometries: list[Any], **attributes: Any) -> Path:
    table = pa.table({**attributes, "geom": pa.array(shapely.to_wkb(geometries), pa.binary())})
    pyogrio.write_arrow(
        table,
        path,
        layer="parcels",
        driver="GPKG",
        geometry_name="geom",
        geometry_type="Unknown",
        crs="EPSG:25832",
    )
    return path


def fields(n: int, shift: float = 0.0) -> list[Any]:
    return [
        shapely.box(500000 + 200 * i + shift, 6000000, 500150 + 200 * i + shift, 6000150) for i in range(n)
    ]


def rows(conn: psycopg.Connection, statement: str) -> list[tuple[Any, ...]]:
    return conn.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return,unused-ignore]


def in_file_order(
    conn: psycopg.Connection, table: ParcelTable, name: str = "parcels_2021"
) -> list[tuple[Any, ...]]:
    """The rows of the parcel table that was loaded from a file: `ogc_fid`, attributes, geometry."""
    parcels = TableName("public", name)
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
