"""Scenes by their names, as people write them on the command line."""

import re
from collections.abc import Sequence

import psycopg

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.errors import UserError

NEAR_MATCHES = 3


def find_scenes(conn: psycopg.Connection, tables: Tables, references: Sequence[str]) -> dict[str, int]:
    """Return references with the ids of their scenes.

    Raises:
        UserError: the catalogue has no such reference; the sentence names those that are most like it.
    """
    found: dict[str, int] = dict(
        conn.execute(
            query(
                "SELECT reference, id FROM {catalogue} WHERE reference = ANY(%s)",
                catalogue=tables.catalogue.sql,
            ),
            [list(references)],
        ).fetchall()
    )
    for reference in references:
        if reference not in found:
            near = " or ".join(_near(conn, tables, reference)) or "one that cbmctl catalogue sync has entered"
            raise UserError(
                "catalogue.unknown_scene",
                f"{tables.catalogue} has no scene '{reference}'",
                f"Name {near}",
                about=tables.catalogue,
            )
    return {reference: found[reference] for reference in references}


def _near(conn: psycopg.Connection, tables: Tables, reference: str) -> list[str]:
    """Names that share most parts with this one, and at least half of them."""
    parts = [part for part in re.split(r"[\W_]+", reference.removesuffix(".SAFE")) if part]
    rows = conn.execute(
        query(
            """SELECT reference
               FROM {catalogue}, LATERAL (
                   SELECT count(*) AS shared FROM unnest(%(parts)s::text[]) part
                   WHERE strpos(lower(reference), lower(part)) > 0) near
               WHERE 2 * shared >= %(number)s AND shared > 0
               ORDER BY shared DESC, reference LIMIT %(limit)s""",
            catalogue=tables.catalogue.sql,
        ),
        {"parts": parts, "number": len(parts), "limit": NEAR_MATCHES},
    ).fetchall()
    return [near for (near,) in rows]
