"""docs/schema.md, from the definitions in a database that was migrated and used."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

RENEW = ".venv/bin/pytest tests/unit/docs/test_schema_page.py --renew"
MANUAL = ("aois", "dias_catalogue", "sigs", "hists")
ROLES = ("cbm_owner", "cbm_writer", "cbm_reader")

HEAD = """# The schema

Each table, column, key, index and view of a tenant's database, and who may use it.

The page is generated from a migrated database, and a test compares the two. Do not edit it. To
renew it after [a new migration](development.md#add-a-migration):

    {renew}

[For the technician](technician.md#find-a-table) explains the tables and has queries to copy. The
comments here are those of the database, which psql shows too: `\\d+ tasks`.

The version of the schema is `{version}` (`version_num` in the table `cbm_schema`).
"""
ACCESS = """## Find out who may read and write

`cbm_owner` owns all tables: `cbmctl` on the VM uses it to migrate, load and maintain. Workers use
`cbm_writer`, analysts `cbm_reader`. The superuser `postgres` can connect through the server's local
socket only. R means SELECT; W means INSERT, UPDATE and DELETE.
"""
SEASONS = """## Find the tables of a later season

The first season is in the schema `public`. A later season, here {schema}, has its own schema with
the same tables, columns, keys, indexes, views and privileges. Only these are not in it, because all
seasons share those in `public`: {shared}. [Why](decisions/seasons.md)
"""
MADE = """## Look up the tables that commands create

`cbmctl parcels load` creates the table of parcels, `parcels rasterise` a raster table for each UTM
zone and resolution, `parcels quality` the table of quality flags. If a changed file lacks a stored
geometry, `parcels load` also creates the table of parcels that are gone. The year 2021, the zone
32632 and the column `name` of the parcels file are examples.
"""

TABLES = """
    SELECT c.oid, c.relname, c.relkind::text AS kind, obj_description(c.oid, 'pg_class') AS comment
    FROM pg_class c
    WHERE relnamespace = %s::text::regnamespace AND relkind IN ('r', 'v')
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
    ORDER BY relname
"""
COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull,
           coalesce(pg_get_expr(adbin, adrelid), ''), coalesce(col_description(a.attrelid, attnum), '')
    FROM pg_attribute a LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
CONSTRAINTS = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = %s AND contype <> 'n' ORDER BY array_position('{p,u,f,c}', contype), conname
"""
INDEXES = """
    SELECT relname, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = %s AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid
                                        AND contype IN ('p', 'u'))
    ORDER BY relname
"""
PRIVILEGES = """
    SELECT has_table_privilege(%(role)s, %(table)s::oid, 'SELECT'),
           (SELECT bool_and(has_table_privilege(%(role)s, %(table)s::oid, privilege))
            FROM unnest('{INSERT,UPDATE,DELETE}'::text[]) privilege),
           (SELECT bool_or(has_table_privilege(%(role)s, %(table)s::oid, privilege))
            FROM unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) privilege)
"""


def page(conn: psycopg.Connection, migrated: Sequence[str], later: str) -> str:
    """Return the page. `migrated`: the tables before any parcels were loaded; `later`: a second season."""
    found = {row[1]: row for row in conn.execute(TABLES, ["public"]).fetchall()}
    season = {row[1] for row in conn.execute(TABLES, [later]).fetchall()}
    version = conn.execute("SELECT version_num FROM public.cbm_schema").fetchone()
    own = [name for name in migrated if name not in MANUAL and found[name][2] == "r"]
    views = [name for name in migrated if found[name][2] == "v"]
    made = [name for name in found if name not in migrated]
    head = HEAD.format(renew=RENEW, version=version[0] if version else None)
    parts = [_wrapped(head), _wrapped(ACCESS)]
    parts.append(_access(conn, found.values()))
    shared = _list(f"`{name}`" for name in migrated if name not in season)
    parts.append(_wrapped(SEASONS.format(schema=f"`{later}`", shared=shared)))
    parts.append("## Look up the tables of the manual\n")
    parts += [_table(conn, *found[name]) for name in MANUAL]
    parts.append("## Look up the tables of cbmctl\n")
    parts += [_table(conn, *found[name]) for name in own]
    parts.append("## Look up the views\n")
    parts += [_table(conn, *found[name]) for name in views]
    parts.append(_wrapped(MADE))
    parts += [_table(conn, *found[name]) for name in made]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _access(conn: psycopg.Connection, tables: Any) -> str:
    lines = [_row(["table or view", *(f"`{role}`" for role in ROLES)]), _row(["---"] * (1 + len(ROLES)))]
    lines += [_row([f"`{name}`", *(_rights(conn, role, oid) for role in ROLES)]) for oid, name, *_ in tables]
    return "\n".join(lines)


def _rights(conn: psycopg.Connection, role: str, table: int) -> str:
    row = conn.execute(PRIVILEGES, {"role": role, "table": table}).fetchone()
    assert row is not None
    reads, writes, writes_some = row
    return " ".join(["R"] * reads + (["W"] if writes else ["some of W"] * writes_some))


def _table(conn: psycopg.Connection, oid: int, name: str, kind: str, comment: str | None) -> str:
    lines = [f"### {name}", ""]
    if comment:
        lines += [*textwrap.wrap(_sentence(_short(comment)), 120), ""]
    lines += [_row(["column", "type", "required", "default", "comment"]), _row(["---"] * 5)]
    for column, type_, required, default, about in conn.execute(COLUMNS, [oid]).fetchall():
        cells = [
            f"`{column}`",
            type_,
            "yes" if required else "",
            f"`{_short(default)}`" if default else "",
            about,
        ]
        lines.append(_row([cell.replace("|", "\\|") for cell in cells]))
    rules = [*conn.execute(CONSTRAINTS, [oid]).fetchall()]
    rules += [
        (index, re.sub(r"^CREATE (UNIQUE )?INDEX \S+ ON (ONLY )?\S+ USING", r"\1INDEX", definition))
        for index, definition in conn.execute(INDEXES, [oid]).fetchall()
    ]
    if rules:
        lines += ["", _row(["key, rule or index", "definition"]), _row(["---"] * 2)]
        lines += [_row([f"`{rule}`", f"`{_short(text)}`".replace("|", "\\|")]) for rule, text in rules]
    if kind == "v":
        row = conn.execute("SELECT pg_get_viewdef(%s::oid, 100)", [oid]).fetchone()
        assert row is not None
        lines += ["", "```sql", *_code(row[0].strip("\n")), "```"]
    return "\n".join([*lines, ""])


def _code(definition: str) -> Iterator[str]:
    for line in _short(definition).splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        yield from textwrap.wrap(line, 120, subsequent_indent=indent, drop_whitespace=True)


def _short(definition: str) -> str:
    """Leave out casts of texts, which PostgreSQL adds, and the time of a load."""
    text = re.sub(r"::(text|character varying)(\[\])?", "", definition)
    return re.sub(r"(?<=loaded )[0-9-]+ [0-9:.]+", "(date and time)", text)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _list(names: Iterator[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _wrapped(section: str) -> str:
    return "\n\n".join("\n".join(textwrap.wrap(paragraph, 120)) for paragraph in section.split("\n\n"))
