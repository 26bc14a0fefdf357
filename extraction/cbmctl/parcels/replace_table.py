"""A new parcel table in place of the old one: of a file, or of the old parcels with the columns of a file."""

import psycopg
from psycopg import sql

from cbmctl.config import TableName, Tables
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.invocation import option
from cbmctl.parcels import parcel_history
from cbmctl.parcels.changes import has_parcels
from cbmctl.parcels.files.columns import Column
from cbmctl.parcels.fill_table import number_as_paired, number_by_place
from cbmctl.parcels.pairing import srid_of
from cbmctl.queue.locks import lock_parcel_tables


def why_needed(conn: psycopg.Connection, parcels: TableName, srid: int) -> str:
    """Why a parcel table cannot be updated in place with a file in EPSG:`srid`, and what to do about that."""
    stored = srid_of(conn, parcels.sql) if has_parcels(conn, parcels) else None
    if stored is None:
        return (
            f"{parcels} is missing, or has no ogc_fid and wkb_geometry. Restore the table, or delete the"
            f" statistics with {option('--drop-statistics')}"
        )
    return (
        f"The table is in EPSG:{stored}, but the file is in EPSG:{srid}. Request the file in EPSG:{stored},"
        f" or delete the statistics with {option('--drop-statistics')}"
    )


def next_numbers(conn: psycopg.Connection, tables: Tables, *, in_use: bool) -> tuple[int, int]:
    """The version of the parcel set that replaces the present one, and the number before its first parcel.

    Clients may have kept numbers, so a parcel that had statistics keeps its number for itself. Numbers of
    parcels that never had any are assigned again: files that follow each other before the first extraction
    begin with the same number.

    Args:
        conn: a connection.
        tables: the tables.
        in_use: whether there are statistics, here or in an archive.
    """
    known = parcel_history.recorded_set(conn, tables)
    if not has_parcels(conn, tables.parcels):
        return known.version + 1, max(known.last_id, parcel_history.last_archived(conn, tables))
    if in_use or parcel_history.had_statistics(conn, tables):
        return known.version + 1, parcel_history.current_set(conn, tables).last_id
    return known.version + 1, parcel_history.first_number(conn, tables) - 1


def replace_parcels(
    conn: psycopg.Connection, tables: Tables, columns: list[Column], srid: int, *, after: int
) -> None:
    """Make the parcel table of a staged file, with numbers along a Hilbert curve that begin after `after`.

    Raises:
        UserError: something depends on the table, or readers do not end.
    """
    number_by_place(conn, _building(tables), columns, srid, after=after)
    _swap(conn, tables)


def replace_columns(conn: psycopg.Connection, tables: Tables, columns: list[Column], srid: int) -> int:
    """Give the stored parcels the columns of a staged file with the same geometries; return their version.

    Raises:
        UserError: something depends on the table, or readers do not end.
    """
    number_as_paired(conn, _building(tables), columns, srid, tables.parcels)
    _swap(conn, tables)
    return max(parcel_history.current_set(conn, tables).version, 1)


def _building(tables: Tables) -> sql.Identifier:
    return tables.parcels.sibling(f"{tables.parcels.name}_new").sql


def _swap(conn: psycopg.Connection, tables: Tables) -> None:
    """The new table takes the old one's place and its indexes their usual names."""
    parcels = tables.parcels
    try:
        lock_parcel_tables(conn, tables, [parcels], queue=False)
        conn.execute(query("DROP TABLE IF EXISTS {parcels}", parcels=parcels.sql))
    except psycopg.errors.DependentObjectsStillExist as error:
        dependents = (error.diag.message_detail or "").replace("\n", "; ")
        raise UserError(
            "parcels.dependent_objects",
            f"{parcels} cannot be replaced ({dependents})",
            "Drop the dependent objects first",
            about=parcels,
        ) from error
    except psycopg.errors.WrongObjectType as error:
        raise UserError(
            "parcels.not_a_table",
            f"{parcels} is not a table",
            "Drop it, or set another parcel_table in db_config.json",
            about="parcel_table",
        ) from error
    conn.execute(
        query(
            "ALTER TABLE {building} RENAME TO {name}",
            building=_building(tables),
            name=sql.Identifier(parcels.name),
        )
    )
    for old, new in (("new_pkey", "pkey"), ("new_wkb_geometry_idx", "wkb_geometry_geom_idx")):
        conn.execute(
            query(
                "ALTER INDEX {old} RENAME TO {new}",
                old=parcels.sibling(f"{parcels.name}_{old}").sql,
                new=sql.Identifier(f"{parcels.name}_{new}"),
            )
        )
    conn.execute(query("ANALYZE {parcels}", parcels=parcels.sql))
