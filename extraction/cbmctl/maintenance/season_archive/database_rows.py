"""Rows of sigs and hists as batches of Arrow, with bounded memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from psycopg import sql

from cbmctl.config import TableName, Tables
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.maintenance.season_archive.layout import FIGURES, HISTS, SIGS

# Rows of a batch; also about as many as a statement asks for, so that PostgreSQL sorts them in memory.
BATCH = 100_000
_WIDEST = 100_000  # parcels in one statement
_COLUMNS = {
    "sigs": {"pid": "int4", "obsid": "int4", "band": "bpchar", **dict.fromkeys(FIGURES, "float4")},
    "hists": {"pid": "int4", "obsid": "int4", "hist": "json"},
}
# Before the first row of a binary COPY and after the last, as PostgreSQL documents it.
_HEADER, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def require_columns(conn: psycopg.Connection, tables: Tables) -> None:
    """Raise UserError if a table has columns that an archive would lose, or others than the manual's."""
    for kind, table in (("sigs", tables.sigs), ("hists", tables.hists)):
        found: dict[str, str] = dict(
            conn.execute(
                """SELECT attname, typname FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
                   WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped""",
                [str(table)],
            ).fetchall()
        )
        for name in sorted(found.keys() | _COLUMNS[kind].keys()):
            wanted = _COLUMNS[kind].get(name)
            if found.get(name) != wanted:
                if wanted is None:
                    problem, remedy = f"unexpected column {name} ({found[name]})", "Drop"
                elif name not in found:
                    problem, remedy = f"column {name} ({wanted}) is missing", "Add"
                else:
                    problem, remedy = f"column {name} is {found[name]}, expected {wanted}", "Convert"
                raise UserError(
                    "season_archive.wrong_columns",
                    f"{table}: {problem}",
                    f"An archive holds exactly the manual's columns. {remedy} the column",
                    about=table,
                )


def by_parcel(
    conn: psycopg.Connection, tables: Tables, kind: str, obsids: Sequence[int]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of scenes, sorted by parcel, scene and band.

    Args:
        conn: a connection in autocommit mode: each range of parcels is a statement of its own, so that
            vacuum goes on.
        tables: the tables.
        kind: "sigs" or "hists".
        obsids: the scenes.
    """
    table = _table(tables, kind)
    first, last = one(conn, query("SELECT min(pid), max(pid) FROM {table}", table=table.sql))
    if first is None:
        return
    begin, width = int(first), 100
    while begin <= last:
        found = 0
        where = query("obsid = ANY(%(obsids)s) AND pid >= %(begin)s AND pid < %(end)s")
        end = min(begin + width, int(last) + 1)
        for batch in _read(conn, table, kind, where, {"obsids": list(obsids), "begin": begin, "end": end}):
            found += batch.num_rows
            yield batch
        begin = end
        width = min(2 * width, max(width * BATCH // max(found, 1), 1), _WIDEST)


def of_scene(conn: psycopg.Connection, tables: Tables, kind: str, obsid: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a scene in any order; `kind` is "sigs" or "hists"."""
    return _read(
        conn, _table(tables, kind), kind, query("obsid = %(obsid)s"), {"obsid": obsid}, ordered=False
    )


def _table(tables: Tables, kind: str) -> TableName:
    return tables.sigs if kind == "sigs" else tables.hists


def _read(
    conn: psycopg.Connection,
    table: TableName,
    kind: str,
    where: sql.Composed,
    parameters: dict[str, Any],
    *,
    ordered: bool = True,
) -> Iterator[pa.RecordBatch]:
    columns, order = (_SIGS, "pid, obsid, band") if kind == "sigs" else (_HISTS, "pid, obsid")
    statement = query(
        "COPY (SELECT {columns} FROM {table} WHERE {where} {order}) TO STDOUT (FORMAT binary)",
        columns=columns,
        table=table.sql,
        where=where,
        order=sql.SQL("ORDER BY {}").format(sql.SQL(order)) if ordered else sql.SQL(""),
    )
    with conn.cursor() as cursor, cursor.copy(statement, parameters) as copy:
        if kind == "sigs":
            yield from _sigs(copy)
        else:
            yield from _hists(copy)


def _sigs(copy: psycopg.Copy) -> Iterator[pa.RecordBatch]:
    parts: list[bytes] = []
    skip = len(_HEADER)
    for message in copy:
        part = bytes(message)[skip:] if skip else bytes(message)
        skip = 0
        if len(part) == _ROW.itemsize:
            parts.append(part)
        elif part and part != _END:
            raise UserError(
                "season_archive.invalid_band",
                "sigs: a row has a band that is not 3 characters of ASCII",
                "Correct or delete it",
            )
        if len(parts) == BATCH:
            yield _sigs_batch(b"".join(parts))
            parts = []
    if parts:
        yield _sigs_batch(b"".join(parts))


def _sigs_batch(data: bytes) -> pa.RecordBatch:
    rows = np.frombuffer(data, _ROW)
    bands, codes = np.unique(rows["band"], return_inverse=True)
    names = pa.array([band.decode("ascii").rstrip() for band in bands], pa.string())
    nulls = rows["nulls"]
    columns = [
        pa.array(rows["pid"].astype(np.int32)),
        pa.array(rows["obsid"].astype(np.int32)),
        pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), names),
    ]
    for place, name in enumerate(FIGURES):
        mask = (nulls & (1 << place)) != 0 if nulls.any() else None
        columns.append(pa.array(_float32(rows[name]), pa.float32(), mask=mask))
    return pa.record_batch(columns, schema=SIGS)


def _float32(big_endian: NDArray[Any]) -> NDArray[np.float32]:
    """Swap bytes without looking at the values, so that every NaN keeps its bits."""
    return big_endian.view(">u4").astype(np.uint32).view(np.float32)


def _hists(copy: psycopg.Copy) -> Iterator[pa.RecordBatch]:
    copy.set_types(["int4", "int4", "text"])
    rows: list[tuple[Any, ...]] = []
    for row in copy.rows():
        rows.append(row)
        if len(rows) == BATCH:
            yield _hists_batch(rows)
            rows = []
    if rows:
        yield _hists_batch(rows)


def _hists_batch(rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [
        pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), HISTS, strict=True)
    ]
    return pa.record_batch(columns, schema=HISTS)


def binary_sigs(batch: pa.RecordBatch) -> bytes:
    """Return rows of sigs as PostgreSQL's binary COPY has them."""
    rows = np.zeros(batch.num_rows, _WHOLE)
    rows["fields"] = len(SIGS)
    for name in SIGS.names:
        rows[f"{name}_length"] = rows.dtype[name].itemsize
    for name in ("pid", "obsid"):
        rows[name] = batch.column(name).to_numpy(zero_copy_only=False)
    bands = batch.column("band")
    names = np.array([f"{band:3}".encode() for band in bands.dictionary.to_pylist()], "S3")
    if len(names):
        rows["band"] = names[bands.indices.to_numpy(zero_copy_only=False)]
    for name in FIGURES:
        bits = pc.fill_null(batch.column(name), 0).to_numpy(zero_copy_only=False).view(np.uint32)
        rows[name].view(">u4")[:] = bits
    nulls = [name for name in FIGURES if batch.column(name).null_count]
    if not nulls:
        return _HEADER + rows.tobytes() + _END
    empty = {name: batch.column(name).is_null().to_numpy(zero_copy_only=False) for name in nulls}
    parts = [
        _without(row.tobytes(), [name for name in nulls if empty[name][place]])
        for place, row in enumerate(rows)
    ]
    return _HEADER + b"".join(parts) + _END


def _without(row: bytes, nulls: Sequence[str]) -> bytes:
    """Return a row with nulls, which have the length -1 and no value, in the place of numbers."""
    for name in reversed(nulls):
        begin = _BEGINS[f"{name}_length"]
        row = row[:begin] + b"\xff\xff\xff\xff" + row[begin + 8 :]
    return row


def _row_type(*, nulls: bool = True) -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in (
        ("pid", ">i4"),
        ("obsid", ">i4"),
        ("band", "S3"),
        *((name, ">f4") for name in FIGURES),
        *([("nulls", ">i4")] if nulls else []),
    ):
        fields += [(f"{name}_length", ">i4"), (name, kind)]
    return np.dtype(fields)


_ROW, _WHOLE = _row_type(), _row_type(nulls=False)
_BEGINS = {name: place for name, (_, place, *_) in (_WHOLE.fields or {}).items()}
# A null would make a row shorter: it is sent as 0, and which they are as bits of one more number.
_SIGS = sql.SQL(", ").join(
    [
        *(sql.Identifier(name) for name in ("pid", "obsid", "band")),
        *(sql.SQL("coalesce({}, 0)").format(sql.Identifier(name)) for name in FIGURES),
        sql.SQL(" + ").join(
            sql.SQL("({} IS NULL)::integer * {}").format(sql.Identifier(name), sql.Literal(1 << place))
            for place, name in enumerate(FIGURES)
        ),
    ]
)
_HISTS = sql.SQL("pid, obsid, hist::text")
