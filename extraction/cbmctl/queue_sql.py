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


def official(scene: str) -> sql.Composed:
    """Return whether a scene is a product of the Copernicus ground segment, as a condition.

    Sen2Cor writes baseline 99.xx (N9999, N9933, …) into every product that a user makes with it, so that says
    nothing about the version: docs/decisions/versions.md.

    Args:
        scene: alias of a row of the catalogue in the statement.
    """
    return sql.SQL(
        "(coalesce({scene}.baseline, '') !~ '^99' AND {scene}.reference !~ '^S2.*_N99[0-9][0-9]_')"
    ).format(scene=sql.Identifier(scene))


def names(tables: Tables) -> dict[str, sql.Composable]:
    """What the queue's statements name: tables and conditions."""
    return {
        "tasks": tables.tasks.sql,
        "catalogue": tables.catalogue.sql,
        "aois": tables.aois.sql,
        "live": LIVE,
        "asked": ASKED,
    }
