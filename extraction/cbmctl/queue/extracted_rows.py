"""Delete what was extracted from scenes; `cbmctl.worker.rows` writes it."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import one, query
from cbmctl.queue import parcel_sets


def delete(
    conn: psycopg.Connection,
    tables: Tables,
    bandsets: Sequence[tuple[int, str | None]],
    *,
    keep_gone: bool = False,
) -> dict[int, tuple[int, int]]:
    """Delete rows of scenes.

    Args:
        conn: a connection in a transaction of the caller's.
        tables: the tables.
        bandsets: scenes' ids with keys of BANDSETS; None means all rows of the scene.
        keep_gone: whether rows of parcels that are gone stay.

    Returns:
        How many rows of sigs and of hists were deleted, by scene.
    """
    bands = [
        (obsid, band)
        for obsid, bandset in bandsets
        if bandset != "scl"
        for band in (BANDSETS[bandset].bands if bandset else [None])
    ]
    which = of_current(conn, tables) if keep_gone else sql.SQL("true")
    sigs = conn.execute(
        query(
            """WITH gone AS (
                   DELETE FROM {sigs} s USING (
                       SELECT id, array_agg(band::bpchar) AS bands, bool_or(band IS NULL) AS whole
                       FROM unnest(%s::integer[], %s::text[]) AS b (id, band) GROUP BY id
                   ) b
                   WHERE s.obsid = b.id AND (b.whole OR s.band = ANY(b.bands)) AND {which} RETURNING s.obsid)
               SELECT obsid, count(*) FROM gone GROUP BY obsid""",
            sigs=tables.sigs.sql,
            which=which,
        ),
        [[obsid for obsid, _ in bands], [band for _, band in bands]],
    ).fetchall()
    hists = conn.execute(
        query(
            """WITH gone AS (
                   DELETE FROM {hists} s WHERE obsid = ANY(%s::integer[]) AND {which} RETURNING obsid)
               SELECT obsid, count(*) FROM gone GROUP BY obsid""",
            hists=tables.hists.sql,
            which=which,
        ),
        [[obsid for obsid, bandset in bandsets if bandset in ("scl", None)]],
    ).fetchall()
    of_sigs: dict[int, int] = dict(sigs)
    of_hists: dict[int, int] = dict(hists)
    return {obsid: (of_sigs.get(obsid, 0), of_hists.get(obsid, 0)) for obsid, _ in bandsets}


def of_current(conn: psycopg.Connection, tables: Tables) -> sql.Composable:
    """Return whether a row `s` is not of a parcel that is gone, as a condition."""
    if not parcel_sets.any_gone(conn, tables):
        return sql.SQL("true")
    gone = query(parcel_sets.GONE, **parcel_sets.names(tables))
    return query("s.pid NOT IN ({gone})", gone=gone)


def of_gone(conn: psycopg.Connection, tables: Tables, obsid: int, bandset: str) -> tuple[int, int]:
    """Count the rows in a scene's band set of parcels that are gone, and these parcels."""
    if not parcel_sets.any_gone(conn, tables):
        return 0, 0
    rows, parcels = one(
        conn,
        query(
            """SELECT count(*), count(DISTINCT s.pid) FROM {rows} s
               WHERE s.obsid = %(obsid)s AND {which} AND s.pid IN ({gone})""",
            rows=(tables.hists if bandset == "scl" else tables.sigs).sql,
            which=sql.SQL("true" if bandset == "scl" else "s.band = ANY(%(bands)s::bpchar[])"),
            gone=query(parcel_sets.GONE, **parcel_sets.names(tables)),
        ),
        {"obsid": obsid, "bands": list(BANDSETS[bandset].bands)},
    )
    return rows, parcels


def forget_offset(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Clear `applied_offset` of scenes whose rows are deleted."""
    conn.execute(
        query(
            "UPDATE {catalogue} SET applied_offset = NULL WHERE id = ANY(%s) AND applied_offset IS NOT NULL",
            catalogue=tables.catalogue.sql,
        ),
        [list(obsids)],
    )
