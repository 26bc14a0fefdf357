"""Queries of the existing clients, on a table of parcels with the column `public_id`."""

from collections.abc import Collection
from typing import Any

import psycopg

UNIQUE = "SELECT count(*), count(DISTINCT public_id) FROM {parcels}"
# a parcel's time series with its scene classification [REST API]
SERIES = """
    SELECT s.obsid, s.band, s.mean, h.hist::text
    FROM {parcels} p, sigs s, dias_catalogue d, hists h
    WHERE p.ogc_fid = s.pid AND s.obsid = d.id AND h.pid = s.pid AND h.obsid = s.obsid
        AND p.public_id = '{key}' AND band IN {bands} ORDER BY obstime, band
"""
# one row for each parcel and instant [marker processing]
MARKERS = """
    SELECT DISTINCT ON (pid, obstime) pid, obstime, max(mean) FILTER (WHERE band = '{bands[1]}') AS nir,
        max(count)::integer, min(count)::integer, hist::text
    FROM sigs JOIN dias_catalogue d ON d.id = obsid JOIN hists USING (pid, obsid)
    WHERE pid IN (SELECT ogc_fid FROM {parcels}) AND status = 'extracted' AND card = 's2'
    GROUP BY pid, obstime, obsid, hist::text ORDER BY pid, obstime, obsid
"""
SAMPLE = "SELECT public_id::text FROM {parcels} TABLESAMPLE SYSTEM (100)"
Rows = list[tuple[Any, ...]]


def look(conn: psycopg.Connection, statement: str, **names: Any) -> Rows:
    return conn.execute(statement.format(**names).encode()).fetchall()


def series(conn: psycopg.Connection, parcels: str, key: str, bands: tuple[str, str]) -> Rows:
    """A parcel's series, each instant and band once."""
    found = look(conn, SERIES, parcels=parcels, key=key, bands=bands)
    assert len({row[:2] for row in found}) == len(found)
    return found


def markers(conn: psycopg.Connection, parcels: str, bands: tuple[str, str]) -> Rows:
    """One row for each parcel of the table and instant."""
    found = look(conn, MARKERS, parcels=parcels, bands=bands)
    assert len({row[:2] for row in found}) == len(found) > 0
    pids = {pid for (pid,) in look(conn, "SELECT ogc_fid FROM {parcels}", parcels=parcels)}
    assert {pid for pid, *_ in found} <= pids
    return found


def expect_public_ids(conn: psycopg.Connection, parcels: str, keys: Collection[str]) -> None:
    """Each public id is there once, also in a sample of the whole table."""
    assert look(conn, UNIQUE, parcels=parcels) == [(len(keys), len(keys))]
    assert sorted(key for (key,) in look(conn, SAMPLE, parcels=parcels)) == sorted(keys)
