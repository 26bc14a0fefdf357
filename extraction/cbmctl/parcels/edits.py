"""Attributes of a changed file, written into the parcel table: `ogc_fid`, geometry and statistics stay."""

import psycopg
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import query
from cbmctl.parcels.changes import Changes
from cbmctl.parcels.columns import Column
from cbmctl.parcels.pairing import columns_of, differs, pairing_names


def only_edits(conn: psycopg.Connection, parcels: TableName, columns: list[Column], changes: Changes) -> bool:
    """Whether a staged file has the geometries of the table, and its columns hold the file's values."""
    stored = columns_of(conn, parcels)
    return changes.same_geometries and all(
        stored.get(column.name, column.type) == column.type for column in columns
    )


def apply_edits(conn: psycopg.Connection, parcels: TableName, columns: list[Column]) -> None:
    """Write what differs in a staged file, which `changes` has paired, into the parcel table.

    The table is not replaced, so that views on it stay and clients can read meanwhile. Columns that the table
    lacks are added. Columns that the file lacks may be an analyst's, and stay as they are.

    Args:
        conn: a connection in the transaction that staged the file.
        parcels: the parcel table.
        columns: of the staged file.
    """
    if not columns:
        return
    names = pairing_names(parcels)
    stored = columns_of(conn, parcels)
    added = [column for column in columns if column.name not in stored]
    if added:
        definitions = [
            sql.SQL("ADD {} {}").format(sql.Identifier(c.name), sql.Identifier(c.type)) for c in added
        ]
        conn.execute(query("ALTER TABLE {parcels} {added}", added=sql.SQL(", ").join(definitions), **names))
    kinds = {column.name: column.type for column in columns}
    conn.execute(
        query(
            "UPDATE {parcels} p SET {values} FROM {staged} f JOIN {pairs} q USING ({feature})"
            " WHERE q.ogc_fid = p.ogc_fid AND ({differs})",
            values=sql.SQL(", ").join(sql.SQL("{0} = f.{0}").format(sql.Identifier(name)) for name in kinds),
            differs=sql.SQL(" OR ").join(differs(name, kinds, kinds) for name in kinds),
            **names,
        )
    )
    conn.execute(query("ANALYZE {parcels}", **names))
