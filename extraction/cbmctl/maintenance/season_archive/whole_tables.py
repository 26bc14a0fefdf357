"""Tables that are archived as they are, with geometries as WKB: parcels, catalogue and tasks."""

from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import one, query
from cbmctl.maintenance.season_archive import parquet

_BATCH = 10_000
_TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "bytea": pa.binary(),
    "_int4": pa.list_(pa.int32()),
    "_text": pa.list_(pa.string()),
}
_MOST_DIGITS = 38


def write(conn: psycopg.Connection, table: TableName, key: str, path: Path, metadata: dict[str, str]) -> int:
    """Write a table with all of its columns, as text if Parquet has no such type. Return the number of rows.

    Args:
        conn: a connection in autocommit mode.
        table: the table.
        key: column by which rows are sorted.
        path: the file; GeoParquet if the table has a geometry.
        metadata: for the footer.
    """
    fields: list[tuple[str, pa.DataType]] = []
    selected: list[sql.Composable] = []
    geometry = None
    for name, kind, digits, scale in conn.execute(_COLUMNS, [str(table)]).fetchall():
        column = sql.Identifier(name)
        if kind == "geometry":
            geometry = geometry or name
            fields.append((name, pa.binary()))
            selected.append(sql.SQL("ST_AsBinary({0}) AS {0}").format(column))
        elif kind == "numeric" and digits and 0 <= scale <= digits <= _MOST_DIGITS:
            fields.append((name, pa.decimal128(digits, scale)))
            selected.append(column)
        elif kind in _TYPES:
            fields.append((name, _TYPES[kind]))
            selected.append(column)
        else:
            fields.append((name, pa.string()))
            selected.append(sql.SQL("{0}::text AS {0}").format(column))
    schema = pa.schema(fields)
    if geometry:
        metadata = metadata | parquet.geo(geometry, _crs(conn, table, geometry))
    rows = query(
        "SELECT {columns} FROM {table} ORDER BY {key}",
        columns=sql.SQL(", ").join(selected),
        table=table.sql,
        key=sql.Identifier(key),
    )
    return parquet.write(path, schema, _batches(conn, rows, schema), metadata)


def changed_parcels(conn: psycopg.Connection, parcels: TableName, path: Path) -> int:
    """Count parcels of a file whose id is now that of another geometry; ids that are gone are not counted."""
    changed = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=["ogc_fid", "wkb_geometry"]):
            ids, shapes = (batch.column(name).to_pylist() for name in ("ogc_fid", "wkb_geometry"))
            digests = [md5(shape or b"", usedforsecurity=False).hexdigest() for shape in shapes]
            changed += one(
                conn,
                query(
                    """SELECT count(*) FROM unnest(%s::integer[], %s::text[]) AS file (ogc_fid, digest)
                       JOIN {parcels} p USING (ogc_fid)
                       WHERE md5(coalesce(ST_AsBinary(p.wkb_geometry), '')) <> file.digest""",
                    parcels=parcels.sql,
                ),
                [ids, digests],
            )[0]
    return changed


def _batches(conn: psycopg.Connection, rows: sql.Composed, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with conn.transaction(), conn.cursor("cbm_archive", binary=True) as cursor:
        cursor.execute(rows)
        while found := cursor.fetchmany(_BATCH):
            columns = zip(zip(*found, strict=True), schema, strict=True)
            yield pa.record_batch([pa.array(values, field.type) for values, field in columns], schema=schema)


def _crs(conn: psycopg.Connection, table: TableName, geometry: str) -> dict[str, Any] | None:
    row = conn.execute(
        """SELECT srtext FROM spatial_ref_sys WHERE srid = Find_SRID(%s, %s, %s)""",
        [table.schema, table.name, geometry],
    ).fetchone()
    return dict(pyproj.CRS.from_wkt(row[0]).to_json_dict()) if row else None


_COLUMNS = """
    SELECT attname, typname,
        CASE WHEN typname = 'numeric' AND atttypmod > 0 THEN (atttypmod - 4) >> 16 & 65535 END,
        CASE WHEN typname = 'numeric' AND atttypmod > 0 THEN (atttypmod - 4) & 2047 END
    FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
