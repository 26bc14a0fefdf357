"""Parcels that are gone: the table `<parcels>_gone`, with the columns of the parcel table.

Clients name it by the suffix (`ptype=gone`). The statistics of these parcels stay. Its geometries are flat
multipolygons, whatever those of a table that was loaded by hand are.
"""

from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.parcels.grids import comment_of
from cbmctl.parcels.pairing import pairing_names, srid_of

_GEOMETRY = "wkb_geometry"
COMMENT = "parcels that are gone from the declarations; made by cbmctl parcels load"


def gone_table(parcels: TableName) -> TableName:
    """The table beside the parcels."""
    return parcels.sibling(f"{parcels.name}_gone")


def move_to_gone_table(conn: psycopg.Connection, parcels: TableName) -> list[int]:
    """Move the parcels without a pair (PAIRS) to the table beside, and return their numbers.

    Raises:
        UserError: somebody else has a table of that name.
    """
    gone = gone_table(parcels)
    columns = _types(conn, parcels)
    stored = _prepare(conn, parcels, gone, columns)
    moved = sql.SQL(", ").join(
        query(_value(name, kind, stored[name]), name=sql.Identifier(name)) for name, kind in columns.items()
    )
    found = conn.execute(
        query(
            """WITH moved AS (
                   DELETE FROM {parcels} p
                   WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.ogc_fid = p.ogc_fid) RETURNING *
               )
               INSERT INTO {gone} ({names}) SELECT {moved} FROM moved RETURNING ogc_fid""",
            gone=gone.sql,
            names=sql.SQL(", ").join(map(sql.Identifier, columns)),
            moved=moved,
            **pairing_names(parcels),
        )
    ).fetchall()
    conn.execute(query("ANALYZE {gone}", gone=gone.sql))
    return sorted(pid for (pid,) in found)


def is_behind(conn: psycopg.Connection, parcels: TableName) -> bool:
    """Whether the table lacks columns of the parcels, or has others, so that it must be altered."""
    gone = gone_table(parcels)
    if not is_made(conn, parcels):
        return False
    stored = _types(conn, gone)
    return any(stored.get(name) != kind for name, kind in _types(conn, parcels).items() if name != _GEOMETRY)


def is_made(conn: psycopg.Connection, parcels: TableName) -> bool:
    """Whether there is such a table, and it is not somebody else's."""
    return comment_of(conn, gone_table(parcels)) == COMMENT


def last_of(conn: psycopg.Connection, parcels: TableName) -> int:
    """Return the highest `ogc_fid` in the table of gone parcels, or 0."""
    gone = gone_table(parcels)
    if not is_made(conn, parcels):
        return 0
    return int(one(conn, query("SELECT coalesce(max(ogc_fid), 0) FROM {gone}", gone=gone.sql))[0])


def drop_gone_table(conn: psycopg.Connection, parcels: TableName) -> None:
    """Drop the table, because the parcels and all statistics are replaced.

    Raises:
        UserError: something depends on it.
    """
    gone = gone_table(parcels)
    if not is_made(conn, parcels):
        return
    try:
        conn.execute(query("DROP TABLE {gone}", gone=gone.sql))
    except psycopg.errors.DependentObjectsStillExist as error:
        dependents = (error.diag.message_detail or "").replace("\n", "; ")
        raise UserError(
            "parcels.dependent_objects",
            f"{gone} cannot be replaced ({dependents})",
            "Drop the dependent objects first",
            about=gone,
        ) from error


def _prepare(
    conn: psycopg.Connection, parcels: TableName, gone: TableName, columns: dict[str, str]
) -> dict[str, str]:
    """Make the table, or give it the columns that it lacks; return its columns and their types."""
    names = {"gone": gone.sql, "parcels": parcels.sql}
    if one(conn, query("SELECT to_regclass(%s) IS NULL"), [str(gone)])[0]:
        conn.execute(query("CREATE TABLE {gone} AS SELECT * FROM {parcels} WITH NO DATA", **names))
        srid = sql.Literal(srid_of(conn, parcels.sql))
        flat = "ALTER TABLE {gone} ALTER wkb_geometry TYPE geometry(MultiPolygon, {srid})"
        conn.execute(query(flat, srid=srid, **names))
        conn.execute(query("ALTER TABLE {gone} ADD PRIMARY KEY (ogc_fid)", **names))
        conn.execute(query("CREATE INDEX ON {gone} USING gist (wkb_geometry)", **names))
        conn.execute(query("COMMENT ON TABLE {gone} IS {comment}", comment=sql.Literal(COMMENT), **names))
        return _types(conn, gone)
    if comment_of(conn, gone) != COMMENT:
        raise UserError(
            "parcels.foreign_table",
            f"The table {gone} exists, but was not made by cbmctl parcels load",
            "Rename it, and load again",
        )
    stored = _types(conn, gone)
    for name, kind in columns.items():
        column = sql.Identifier(name)
        if name not in stored:
            added = query("ALTER TABLE {gone} ADD {column} {kind}", column=column, kind=_type(kind), **names)
            conn.execute(added)
        elif stored[name] != kind and name != _GEOMETRY:
            # altered by hand, or replaced with --keep-statistics
            fits = _keeps_values(conn, gone, name, kind)
            to = _type(kind if fits else "text")
            alter = "ALTER TABLE {gone} ALTER {column} TYPE {to} USING {column}::{to}"
            conn.execute(query(alter, column=column, to=to, **names))
    return _types(conn, gone)


def _keeps_values(conn: psycopg.Connection, gone: TableName, name: str, kind: str) -> bool:
    """Whether all values of a column are the same in another type."""
    statement = query(
        "SELECT NOT EXISTS (SELECT FROM {gone} WHERE {column}::{kind}::text IS DISTINCT FROM {column}::text)",
        gone=gone.sql,
        column=sql.Identifier(name),
        kind=_type(kind),
    )
    try:
        with conn.transaction():
            return bool(one(conn, statement)[0])
    except (psycopg.DataError, psycopg.errors.CannotCoerce):
        return False


def _value(name: str, kind: str, stored: str) -> LiteralString:
    if name == _GEOMETRY:
        return "ST_Multi(ST_Force2D(moved.{name}))"
    return "moved.{name}" if stored == kind else "moved.{name}::text"


def _types(conn: psycopg.Connection, table: TableName) -> dict[str, str]:
    """The columns of a table, in order, and their types with length or precision."""
    return dict(
        conn.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [str(table)],
        ).fetchall()
    )


def _type(kind: str) -> sql.SQL:
    """A type as PostgreSQL itself writes it."""
    return sql.SQL(kind)  # type: ignore[arg-type, unused-ignore]
