"""The completeness ledger: what was published of each day, and what became of it."""

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from cbmctl.config import Config
from cbmctl.database import query


@dataclass(frozen=True)
class Completeness:
    """How complete the season of the configuration is.

    Attributes:
        days: card, relative_orbit, tile, day, numbers of products, searched_at: the view `completeness` for
            the days of the season.
        searches: card, source, url, area of interest, first_day, end_day, and complete_at of each search of
            the catalogue; complete_at is None if no search was complete.
        rejected: card, day, reference, status and reason of products that could not be entered.
    """

    days: list[dict[str, Any]]
    searches: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


def read(conn: psycopg.Connection, config: Config) -> Completeness:
    """Read the ledger of the season that the configuration names."""
    tables = config.tables
    names = {
        "completeness": tables.completeness.sql,
        "syncs": tables.syncs.sql,
        "rejected": tables.rejected.sql,
        "catalogue": tables.catalogue.sql,
    }

    def rows(text: LiteralString) -> list[dict[str, Any]]:
        with conn.cursor(row_factory=dict_row) as cursor:
            parameters = {"start": config.args.start, "end": config.args.end}
            return cursor.execute(query(text, **names), parameters).fetchall()

    return Completeness(
        days=rows(
            """SELECT * FROM {completeness} WHERE day >= %(start)s AND day < %(end)s
               ORDER BY card, day, relative_orbit, tile"""
        ),
        searches=rows(
            """SELECT card, source, url, aoi, first_day, end_day, complete_at FROM {syncs}
               ORDER BY card, source, url, aoi"""
        ),
        rejected=rows(
            """SELECT DISTINCT ON (card, day, reference) card, day, reference, status, reason
               FROM {rejected} r
               WHERE day >= %(start)s AND day < %(end)s
                 AND NOT EXISTS (SELECT FROM {catalogue} d WHERE d.reference = r.reference)
               ORDER BY card, day, reference, noticed_at DESC"""
        ),
    )
