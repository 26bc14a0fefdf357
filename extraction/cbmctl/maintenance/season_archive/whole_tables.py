"""Tables that are archived as they are, with geometries as WKB: parcels, catalogue and tasks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from psycopg import sql

from cbmctl.config import TableName, Tables
from cbmctl.database import one, query
from cbmctl.maintenance.season_archive import parquet
from cbmctl.queue import parcel_sets

_BATCH = 10_000
# Numbers in arrays, or bytes, of a batch: Python takes up to 40 bytes for each.
_WIDE = 1_000_000
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
    """Count parcels of a file whose id is now that of another geometry; ids that are missing are not counted.

    Geometries are compared flat and as multipolygons, because an update may convert the column to them.
    """
    return _count(
        conn,
        path,
        query(
            """SELECT count(*) FROM unnest(%(ids)s::integer[], %(shapes)s::bytea[]) AS file (ogc_fid, shape)
               JOIN {parcels} p USING (ogc_fid)
               WHERE ST_AsBinary(ST_Multi(ST_Force2D(p.wkb_geometry)))
                   IS DISTINCT FROM ST_AsBinary(ST_Multi(ST_Force2D(ST_GeomFromWKB(file.shape))))""",
            parcels=parcels.sql,
        ),
        ["ogc_fid", "wkb_geometry"],
    )


def unknown_parcels(conn: psycopg.Connection, tables: Tables, path: Path) -> int:
    """Count parcels of a file whose id is neither that of a current parcel nor of one that is gone."""
    return _count(
        conn,
        path,
        query(
            """SELECT count(*) FROM unnest(%(ids)s::integer[]) AS file (ogc_fid)
               WHERE NOT EXISTS (SELECT FROM {parcels} p WHERE p.ogc_fid = file.ogc_fid)
                   AND ogc_fid NOT IN ({gone})""",
            gone=query(parcel_sets.GONE, **parcel_sets.names(tables)),
            parcels=tables.parcels.sql,
        ),
        ["ogc_fid"],
    )


def _count(conn: psycopg.Connection, path: Path, statement: sql.Composed, columns: list[str]) -> int:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                ids, *shapes = (batch.column(name).to_pylist() for name in columns)
                number += one(conn, statement, {"ids": ids, "shapes": shapes[0] if shapes else []})[0]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise parquet.invalid(path, str(error)) from error
    return number


def _batches(conn: psycopg.Connection, rows: sql.Composed, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield batches of so many rows, or of less if they have long arrays, texts or geometries."""

    def batch() -> pa.RecordBatch:
        columns = zip(zip(*held, strict=True), schema, strict=True)
        return pa.record_batch([pa.array(values, field.type) for values, field in columns], schema=schema)

    held: list[tuple[Any, ...]] = []
    size = 0
    with conn.cursor(binary=True) as cursor:
        for row in cursor.stream(rows, binary=True):
            held.append(row)
            size += sum(len(value) for value in row if isinstance(value, list | str | bytes))
            if len(held) >= _BATCH or size >= _WIDE:
                yield batch()
                held, size = [], 0
    if held:
        yield batch()


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
