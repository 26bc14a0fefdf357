"""Attributes of a changed file, written into the parcel table: `ogc_fid`, geometry and statistics stay."""

import psycopg
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.parcels.changes import Changes
from cbmctl.parcels.files.columns import Column
from cbmctl.parcels.pairing import columns_of, differs, fits, pairing_names


def expect_types(
    conn: psycopg.Connection, parcels: TableName, columns: list[Column], changes: Changes
) -> None:
    """Raise UserError unless the columns of the parcel table hold the values of a staged file."""
    stored = columns_of(conn, parcels)
    other = [column for column in columns if not fits(column.type, stored.get(column.name, column.type))]
    if not other:
        return
    listed = ", ".join(f"{c.name} ({c.type} in the file, {stored[c.name]} in the table)" for c in other)
    if changes.same_geometries:
        advice = (
            "The geometries of the file and the table are the same. Replace only the columns with"
            f" {command('parcels load --keep-statistics')}. Columns that the file lacks are dropped then"
        )
    else:
        statement = ", ".join(f'ALTER "{c.name}" TYPE {c.type} USING "{c.name}"::{c.type}' for c in other)
        advice = f"Run this statement, then load again: ALTER TABLE {parcels} {statement};"
    message = f"Column types of the file and {parcels} differ: {listed}"
    raise UserError("parcels.other_column_types", message, advice, about=parcels)


def lacking(conn: psycopg.Connection, parcels: TableName, columns: list[Column]) -> list[Column]:
    """The columns of a staged file that the parcel table lacks."""
    stored = columns_of(conn, parcels)
    return [column for column in columns if column.name not in stored]


def add_columns(conn: psycopg.Connection, parcels: TableName, columns: list[Column]) -> None:
    """Add the columns of a staged file that the parcel table lacks."""
    added = [
        sql.SQL("ADD {} {}").format(sql.Identifier(c.name), sql.Identifier(c.type))
        for c in lacking(conn, parcels, columns)
    ]
    if added:
        conn.execute(
            query("ALTER TABLE {parcels} {added}", added=sql.SQL(", ").join(added), parcels=parcels.sql)
        )


def write_values(conn: psycopg.Connection, parcels: TableName, columns: list[Column]) -> None:
    """Write what differs in a staged file, which `changes` has paired, into the parcel table.

    Columns that the file lacks may be an analyst's, and stay as they are.

    Args:
        conn: a connection in the transaction that staged the file.
        parcels: the parcel table, which has the columns.
        columns: of the staged file.
    """
    if not columns:
        return
    stored = columns_of(conn, parcels)
    kinds = {column.name: column.type for column in columns}
    conn.execute(
        query(
            "UPDATE {parcels} p SET {values} FROM {staged} f JOIN {pairs} q USING ({feature})"
            " WHERE q.ogc_fid = p.ogc_fid AND ({differs})",
            values=sql.SQL(", ").join(sql.SQL("{0} = f.{0}").format(sql.Identifier(name)) for name in kinds),
            differs=sql.SQL(" OR ").join(differs(name, kinds, stored) for name in kinds),
            **pairing_names(parcels),
        )
    )
