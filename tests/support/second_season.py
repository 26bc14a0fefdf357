"""A second season in a database, and what a schema holds."""

import json
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from cbmctl.config import Config, load_config
from tests.conftest import Database

SCHEMA = "season_2022"


def later(database: Database, schema: str = SCHEMA, **args: Any) -> Config:
    """Write the configuration of another season beside that of the first, and read it."""
    data = json.loads(database.config_path.read_text())
    parcels = data["database"]["tables"]["parcel_table"].partition(".")[2]
    data["database"]["tables"] = {
        "parcel_table": f"{schema}.{parcels}",
        "catalog_table": f"{schema}.dias_catalogue",
        "sigs_table": f"{schema}.sigs",
        "hists_table": f"{schema}.hists",
    }
    data["database"]["args"] |= args
    path = database.config_path.with_name(f"db_config.{schema.removeprefix('season_')}.json")
    path.write_text(json.dumps(data))
    return load_config(path)


def definitions(conn: psycopg.Connection, schema: str, *, without: Iterable[str] = ()) -> dict[str, Any]:
    """Return columns, keys, indexes, views and comments of a schema's tables, without the schema's name."""
    found = conn.execute(
        """SELECT c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                  pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum),
                  obj_description(c.oid, 'pg_class')
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
           LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
           WHERE relnamespace = %(schema)s::text::regnamespace
             AND relkind IN ('r', 'v', 'S') AND c.relname <> ALL(%(without)s)
           UNION ALL
           SELECT conrelid::regclass::text, 'constraint', conname, pg_get_constraintdef(c.oid), NULL, NULL,
                  NULL, NULL
           FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid
           WHERE connamespace = %(schema)s::text::regnamespace AND t.relname <> ALL(%(without)s)
           UNION ALL
           SELECT tablename, 'index', indexname, indexdef, NULL, NULL, NULL, NULL FROM pg_indexes
           WHERE schemaname = %(schema)s AND tablename <> ALL(%(without)s)
           UNION ALL
           SELECT viewname, 'view', NULL, definition, NULL, NULL, NULL, NULL FROM pg_views
           WHERE schemaname = %(schema)s AND viewname <> ALL(%(without)s)
           ORDER BY 1, 2, 3""",
        {"schema": schema, "without": list(without)},
    ).fetchall()
    short = [tuple(_short(value, schema) for value in row) for row in found]
    return {f"{row[0]} {row[1]} {row[2]}": row[3:] for row in short}


def _short(value: Any, schema: str) -> Any:
    if not isinstance(value, str):
        return value
    # shared by all seasons
    value = value.replace("public.order_items", "order_items")
    return value.replace(f"{schema}.", "").replace("public.", "")


def stored(conn: psycopg.Connection, schema: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of a schema's tables, each with the transaction that wrote it."""
    tables = conn.execute(
        """SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'S')
           ORDER BY 1""",
        [schema],
    ).fetchall()
    return {
        table: conn.execute(
            sql.SQL("SELECT xmin::text, ctid::text, * FROM {} ORDER BY 2").format(
                sql.Identifier(schema, table)
            )
        ).fetchall()
        for (table,) in tables
    }
