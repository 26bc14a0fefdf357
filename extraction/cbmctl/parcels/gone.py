"""Parcels that are gone: the table `<parcels>_gone`, with the columns of the parcel table.

Clients name it by the suffix (`ptype=gone`). The statistics of these parcels stay.
"""

import psycopg
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.parcels.grids import comment_of
from cbmctl.parcels.pairing import pairing_names

COMMENT = "parcels that are gone from the declarations; made by cbmctl parcels load"


def table_of(parcels: TableName) -> TableName:
    """The table beside the parcels."""
    return parcels.sibling(f"{parcels.name}_gone")


def move(conn: psycopg.Connection, parcels: TableName) -> list[int]:
    """Move the parcels without a pair (PAIRS) to the table beside, and return their numbers.

    Raises:
        UserError: somebody else has a table of that name.
    """
    gone = table_of(parcels)
    columns = _types(conn, parcels)
    stored = _prepare(conn, parcels, gone, columns)
    moved = sql.SQL(", ").join(
        query("moved.{name}" if stored[name] == kind else "moved.{name}::text", name=sql.Identifier(name))
        for name, kind in columns.items()
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


def last_of(conn: psycopg.Connection, parcels: TableName) -> int:
    """The highest number of a parcel that is gone; 0 if there is none."""
    gone = table_of(parcels)
    if comment_of(conn, gone) != COMMENT:
        return 0
    return int(one(conn, query("SELECT coalesce(max(ogc_fid), 0) FROM {gone}", gone=gone.sql))[0])


def drop(conn: psycopg.Connection, parcels: TableName) -> None:
    """Drop the table, because the parcels and all statistics are replaced.

    Raises:
        UserError: something depends on it.
    """
    gone = table_of(parcels)
    if comment_of(conn, gone) != COMMENT:
        return
    try:
        conn.execute(query("DROP TABLE {gone}", gone=gone.sql))
    except psycopg.errors.DependentObjectsStillExist as error:
        dependents = (error.diag.message_detail or "").replace("\n", "; ")
        raise UserError(
            f"{gone} cannot be replaced ({dependents}). Drop the dependent objects first."
        ) from error


def _prepare(
    conn: psycopg.Connection, parcels: TableName, gone: TableName, columns: dict[str, str]
) -> dict[str, str]:
    """Make the table, or give it the columns that it lacks; return its columns and their types."""
    names = {"gone": gone.sql, "parcels": parcels.sql}
    if one(conn, query("SELECT to_regclass(%s) IS NULL"), [str(gone)])[0]:
        conn.execute(query("CREATE TABLE {gone} AS SELECT * FROM {parcels} WITH NO DATA", **names))
        conn.execute(query("ALTER TABLE {gone} ADD PRIMARY KEY (ogc_fid)", **names))
        conn.execute(query("CREATE INDEX ON {gone} USING gist (wkb_geometry)", **names))
        conn.execute(query("COMMENT ON TABLE {gone} IS {comment}", comment=sql.Literal(COMMENT), **names))
        return columns
    if comment_of(conn, gone) != COMMENT:
        raise UserError(
            f"The table {gone} exists, but was not made by cbmctl parcels load. Rename it, and load again"
        )
    stored = _types(conn, gone)
    for name, kind in columns.items():
        column = sql.Identifier(name)
        if name not in stored:
            added = query("ALTER TABLE {gone} ADD {column} {kind}", column=column, kind=_type(kind), **names)
            conn.execute(added)
        elif stored[name] != kind:  # replaced with --keep-statistics: both fit into text
            conn.execute(
                query(
                    "ALTER TABLE {gone} ALTER {column} TYPE text USING {column}::text", column=column, **names
                )
            )
    return _types(conn, gone)


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
