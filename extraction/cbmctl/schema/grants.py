"""Who may do what: the writer changes the workers' tables, the reader reads everything, now and later."""

from collections.abc import Iterator

import psycopg
from psycopg import sql

from cbmctl.config import TableName, Tables
from cbmctl.database import query

WRITER, READER = "cbm_writer", "cbm_reader"
DML = ("SELECT", "INSERT", "UPDATE", "DELETE")


def grant_roles(conn: psycopg.Connection, tables: Tables) -> Iterator[str]:
    """Grant what is missing to the roles that exist, and yield each privilege that was."""
    existing = conn.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[WRITER, READER]]
    ).fetchall()
    written = (
        tables.catalogue,
        tables.sigs,
        tables.hists,
        tables.tasks,
        tables.file_checks,
        tables.vanished,
        tables.orders,
        tables.order_items,
    )
    for (role,) in sorted(existing):
        yield from _schemas(conn, role, {table.schema for table in (*written, tables.parcels)})
        yield from _read_everything(conn, role)
        yield from _read_future_tables(conn, role)
        if role == WRITER:
            for table in written:
                yield from _write(conn, role, table)
            yield from _number_scenes(conn, role, tables.catalogue)


def _schemas(conn: psycopg.Connection, role: str, schemas: set[str]) -> Iterator[str]:
    missing = conn.execute(
        "SELECT nspname FROM pg_namespace"
        " WHERE nspname = ANY(%s) AND NOT has_schema_privilege(%s, oid, 'USAGE') ORDER BY nspname",
        [list(schemas), role],
    ).fetchall()
    for (schema,) in missing:
        yield _grant(conn, "USAGE", sql.SQL("SCHEMA {}").format(sql.Identifier(schema)), role)


def _read_everything(conn: psycopg.Connection, role: str) -> Iterator[str]:
    """Only the owner's own tables: those of PostGIS let everyone read, and belong to the superuser."""
    missing = conn.execute(
        "SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_get_userbyid(relowner) = current_user"
        " AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'"
        " AND NOT has_table_privilege(%s, pg_class.oid, 'SELECT') ORDER BY 1, 2",
        [role],
    ).fetchall()
    for schema, name in missing:
        yield _grant(conn, "SELECT", TableName(schema, name).sql, role)


def _read_future_tables(conn: psycopg.Connection, role: str) -> Iterator[str]:
    granted = conn.execute(
        "SELECT FROM pg_default_acl, aclexplode(defaclacl) acl"
        " WHERE pg_get_userbyid(defaclrole) = current_user AND defaclnamespace = 0 AND defaclobjtype = 'r'"
        " AND pg_get_userbyid(acl.grantee) = %s AND acl.privilege_type = 'SELECT'",
        [role],
    ).fetchone()
    if granted is None:
        conn.execute(
            query("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}", role=sql.Identifier(role))
        )
        yield f"SELECT on future tables to {role}"


def _write(conn: psycopg.Connection, role: str, table: TableName) -> Iterator[str]:
    for privilege in DML:
        held = conn.execute(
            "SELECT has_table_privilege(%s, %s, %s)", [role, str(table), privilege]
        ).fetchone()
        if held != (True,):
            yield _grant(conn, privilege, table.sql, role)


def _number_scenes(conn: psycopg.Connection, role: str, catalogue: TableName) -> Iterator[str]:
    row = conn.execute("SELECT pg_get_serial_sequence(%s, 'id')", [str(catalogue)]).fetchone()
    sequence = row[0] if row else None
    if sequence is None:
        return
    held = conn.execute("SELECT has_sequence_privilege(%s, %s, 'USAGE')", [role, sequence]).fetchone()
    if held != (True,):
        name = TableName(*sequence.replace('"', "").split("."))
        yield _grant(conn, "USAGE", sql.SQL("SEQUENCE {}").format(name.sql), role)


def _grant(conn: psycopg.Connection, privilege: str, thing: sql.Composable, role: str) -> str:
    statement = sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(privilege), thing, sql.Identifier(role))
    conn.execute(statement)
    return f"{privilege} on {thing.as_string(conn).replace('"', '')} to {role}"
