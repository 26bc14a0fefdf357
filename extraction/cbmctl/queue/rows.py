"""Delete what was extracted from scenes; `cbmctl.results` writes it."""

from collections.abc import Sequence

import psycopg

from cbmctl.bandsets import BANDSETS
from cbmctl.config import Tables
from cbmctl.database import query


def delete(
    conn: psycopg.Connection, tables: Tables, bandsets: Sequence[tuple[int, str | None]]
) -> dict[int, tuple[int, int]]:
    """Delete rows of scenes.

    Args:
        conn: a connection in a transaction of the caller's.
        tables: the tables.
        bandsets: scenes' ids with keys of BANDSETS; None means all rows of the scene.

    Returns:
        How many rows of sigs and of hists were deleted, by scene.
    """
    bands = [
        (obsid, band)
        for obsid, bandset in bandsets
        if bandset != "scl"
        for band in (BANDSETS[bandset].bands if bandset else [None])
    ]
    sigs = conn.execute(
        query(
            """WITH gone AS (
                   DELETE FROM {sigs} s USING (
                       SELECT id, array_agg(band::bpchar) AS bands, bool_or(band IS NULL) AS whole
                       FROM unnest(%s::integer[], %s::text[]) AS b (id, band) GROUP BY id
                   ) b
                   WHERE s.obsid = b.id AND (b.whole OR s.band = ANY(b.bands)) RETURNING s.obsid)
               SELECT obsid, count(*) FROM gone GROUP BY obsid""",
            sigs=tables.sigs.sql,
        ),
        [[obsid for obsid, _ in bands], [band for _, band in bands]],
    ).fetchall()
    hists = conn.execute(
        query(
            """WITH gone AS (DELETE FROM {hists} WHERE obsid = ANY(%s::integer[]) RETURNING obsid)
               SELECT obsid, count(*) FROM gone GROUP BY obsid""",
            hists=tables.hists.sql,
        ),
        [[obsid for obsid, bandset in bandsets if bandset in ("scl", None)]],
    ).fetchall()
    of_sigs: dict[int, int] = dict(sigs)
    of_hists: dict[int, int] = dict(hists)
    return {obsid: (of_sigs.get(obsid, 0), of_hists.get(obsid, 0)) for obsid, _ in bandsets}


def forget_offset(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Clear `applied_offset` of scenes whose rows are deleted."""
    conn.execute(
        query(
            "UPDATE {catalogue} SET applied_offset = NULL WHERE id = ANY(%s) AND applied_offset IS NOT NULL",
            catalogue=tables.catalogue.sql,
        ),
        [list(obsids)],
    )
