"""Versions of the set of parcels: which parcels came after one, and which are gone.

A parcel without a row in `parcel_history` is current, and has been since version 1. A table that was loaded
by hand has version 1 only.
"""

from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import one, query

# Of the table {parcels}, whose name is {set}: current parcels that came after version %(covered)s, ...
CAME: LiteralString = """
    SELECT ogc_fid FROM {history} WHERE table_name = {set} AND until IS NULL AND since > %(covered)s
"""
# ... parcels that are gone, ...
GONE: LiteralString = "SELECT ogc_fid FROM {history} WHERE table_name = {set} AND until IS NOT NULL"
# ... and its version.
VERSION: LiteralString = "coalesce((SELECT version FROM {sets} WHERE table_name = {set}), 1)"
# Whether the task t is to read only parcels that came after `parcels_covered`.
DELTA: LiteralString = "(t.state <> 'done' AND t.parcels_covered IS NOT NULL)"


def names(tables: Tables) -> dict[str, sql.Composable]:
    """What the statements above name."""
    return {
        "parcels": tables.parcels.sql,
        "sets": tables.parcel_sets.sql,
        "history": tables.parcel_history.sql,
        "set": sql.Literal(str(tables.parcels)),
    }


def gone_since(conn: psycopg.Connection, tables: Tables, version: int) -> list[int]:
    """Return the parcels that are gone, and were there in a version."""
    rows = conn.execute(
        query(
            """SELECT ogc_fid FROM {history}
               WHERE table_name = {set} AND since <= %(version)s AND until > %(version)s""",
            **names(tables),
        ),
        {"version": version},
    )
    return [pid for (pid,) in rows]


def read_by_all(conn: psycopg.Connection, tables: Tables, obsid: int, covered: int) -> list[int]:
    """Return current parcels that came after a version and that no open task of a scene is still to read.

    So the last task of a scene that reads a parcel, or fails to, is the one that finds it here.
    """
    rows = conn.execute(
        query(
            """{came} AND since <= coalesce((
                   SELECT min(parcels_covered) FROM {tasks} WHERE obsid = %(obsid)s
                       AND state IN ('ready', 'running')), since)""",
            came=query(CAME, **names(tables)),
            tasks=tables.tasks.sql,
        ),
        {"obsid": obsid, "covered": covered},
    )
    return [pid for (pid,) in rows]


def any_gone(conn: psycopg.Connection, tables: Tables) -> bool:
    """Whether any parcel is gone."""
    return bool(one(conn, query("SELECT EXISTS ({gone})", gone=query(GONE, **names(tables))))[0])
