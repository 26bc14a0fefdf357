"""The record of what a parcel table was loaded from: a row of `parcel_sets`."""

import json
from dataclasses import dataclass
from typing import Any

import psycopg

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.parcels.files.findings import Findings


@dataclass(frozen=True)
class File:
    """What is recorded of a file.

    Attributes:
        source: its name.
        checksum: SHA-256 over its content.
        options: how it was read.
        srid: the EPSG code of its parcels.
        findings: what is wrong with it.
    """

    source: str
    checksum: str
    options: dict[str, Any]
    srid: int
    findings: Findings


def recorded(
    conn: psycopg.Connection, tables: Tables, checksum: str, options: dict[str, Any]
) -> tuple[int, int, dict[str, list[dict[str, Any]]]] | None:
    """Parcels, EPSG code and findings of the parcel table, if it holds exactly this content."""
    return conn.execute(
        query(
            "SELECT parcels, srid, findings FROM {sets} WHERE table_name = %s AND checksum = %s"
            " AND options = %s::jsonb AND to_regclass(table_name) IS NOT NULL",
            sets=tables.parcel_sets.sql,
        ),
        [str(tables.parcels), checksum, json.dumps(options)],
    ).fetchone()


def record(conn: psycopg.Connection, tables: Tables, file: File, *, version: int, same_places: bool) -> None:
    """Record that the parcel table holds a file.

    Args:
        conn: a connection in the transaction of the load.
        tables: the tables.
        file: what was loaded.
        version: of the parcel set.
        same_places: whether the geometries are unchanged.
    """
    conn.execute(
        query(
            """INSERT INTO {sets} AS s
                   (table_name, source, checksum, options, srid, parcels, findings, version, last_id)
               SELECT %(table)s, %(source)s, %(checksum)s, %(options)s, %(srid)s, %(parcels)s, %(findings)s,
                   %(version)s, max(ogc_fid) FROM {parcels}
               ON CONFLICT (table_name) DO UPDATE
               SET (source, checksum, options, srid, parcels, findings, version, last_id, loaded_at,
                   placed_at)
               = (excluded.source, excluded.checksum, excluded.options, excluded.srid, excluded.parcels,
                   excluded.findings, excluded.version, greatest(s.last_id, excluded.last_id), now(),
                   CASE WHEN %(same_places)s THEN s.placed_at ELSE now() END)""",
            sets=tables.parcel_sets.sql,
            parcels=tables.parcels.sql,
        ),
        {
            "table": str(tables.parcels),
            "source": file.source,
            "checksum": file.checksum,
            "options": json.dumps(file.options),
            "srid": file.srid,
            "parcels": file.findings.parcels,
            "findings": json.dumps(file.findings.as_json(), ensure_ascii=False),
            "version": version,
            "same_places": same_places,
        },
    )
