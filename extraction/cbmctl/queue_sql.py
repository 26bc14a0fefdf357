"""What statements about the queue have in common: tables, conditions and words."""

from typing import Any

from psycopg import sql

from cbmctl.bandsets import BANDSETS
from cbmctl.config import Tables

LOCK_SPACE = 0x43424D00
# The manual's words for what failed, beside '!S3 …'.
ERRORS = ("Rio error", "No in db", "No out db", "No extent", "Parcel SQL", "Worker error")

# Whether somebody works on the task t; takes LIVE_PARAMETERS.
LIVE = sql.SQL(
    """EXISTS (
           SELECT FROM pg_locks l
           WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.objid = t.obsid::oid
             AND l.classid = (%(space)s + array_position(%(order)s, t.bandset))::oid
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
)
LIVE_PARAMETERS: dict[str, Any] = {"space": LOCK_SPACE, "order": list(BANDSETS)}
# Whether the task t is of the scenes that the caller asks about: %(obsids)s, or NULL for all.
ASKED = sql.SQL("(%(obsids)s::integer[] IS NULL OR t.obsid = ANY(%(obsids)s::integer[]))")


def names(tables: Tables) -> dict[str, sql.Composable]:
    """What the queue's statements name: tables and conditions."""
    return {
        "tasks": tables.tasks.sql,
        "catalogue": tables.catalogue.sql,
        "aois": tables.aois.sql,
        "live": LIVE,
        "asked": ASKED,
    }
