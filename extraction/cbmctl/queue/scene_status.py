"""What the tasks of a scene mean for it: its status and reason, and the rows that it may have."""

from collections.abc import Collection, Sequence

import psycopg

from cbmctl.bandsets import BANDSETS
from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue.acquisitions import Acquisition, Version, acquisitions, siblings
from cbmctl.queue.overlap import reopen, settle_overlaps


def settle(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Let the scenes' status say what their tasks have come to, and the reason why.

    A scene whose tasks nobody has begun, and of which there are no rows of an earlier time, is 'ingested'.
    One that is extracted takes the place of the older versions of its acquisition, in the same transaction;
    where it does so only together with others, it is 'inprogress' until these are done. One that failed gives
    way to a newer version that was offered. Each parcel that a scene shares with other tiles of the datatake
    stays in one of them.
    """
    seen = _lock(conn, tables, obsids)
    conn.execute(
        query(
            """UPDATE {catalogue} d
               SET status = CASE
                       WHEN t.tasks = t.untouched THEN 'ingested'
                       WHEN t.open > 0 THEN 'inprogress'
                       WHEN t.reason IS NOT NULL THEN left(split_part(t.reason, ': ', 1), 24)
                       WHEN t.parcels = 0 THEN 'No parcels'
                       ELSE 'extracted'
                   END,
                   reason = t.reason
               FROM (
                   SELECT id, count(obsid) AS tasks, sum(parcels) AS parcels,
                       count(*) FILTER (WHERE state = 'ready' AND attempts = 0 AND rows IS NULL) AS untouched,
                       count(*) FILTER (WHERE state IN ('ready', 'running')) AS open,
                       (array_agg(reason ORDER BY array_position(%(order)s, bandset))
                           FILTER (WHERE state = 'failed'))[1] AS reason
                   FROM unnest(%(obsids)s::integer[]) id LEFT JOIN {tasks} ON obsid = id GROUP BY id
               ) t
               WHERE d.id = t.id""",
            catalogue=tables.catalogue.sql,
            tasks=tables.tasks.sql,
        ),
        {"order": list(BANDSETS), "obsids": list(obsids)},
    )
    others = _settle_versions(conn, tables, obsids, seen)
    settle_overlaps(conn, tables, [*obsids, *others])


def _lock(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> set[int]:
    """Let nobody else change scenes, or others of their acquisitions, which may give way to them.

    Two workers may finish tasks of one scene at once; the second must see what the first has written.

    Returns:
        Those that are 'extracted'.
    """
    several = siblings(conn, tables, obsids)
    if several:  # tasks first: workers touch a task before its scene
        conn.execute(
            query(
                "SELECT FROM {tasks} WHERE obsid = ANY(%s) ORDER BY obsid, bandset FOR UPDATE",
                tasks=tables.tasks.sql,
            ),
            [several],
        )
    rows = conn.execute(
        query(
            "SELECT id, status FROM {catalogue} WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
            catalogue=tables.catalogue.sql,
        ),
        [[*obsids, *several]],
    )
    return {obsid for obsid, status in rows if status == "extracted"}


def _settle_versions(
    conn: psycopg.Connection, tables: Tables, obsids: Sequence[int], seen: Collection[int]
) -> list[int]:
    """Let go of versions whose place is taken, and of those that failed while a newer one was offered.

    Returns:
        Scenes that waited for others to be done, and are extracted now.
    """
    asked, extracted = set(obsids), []
    for acquisition in acquisitions(conn, tables, obsids):
        versions, settled = acquisition.versions, acquisition.settled(seen)
        failed = {old for old in versions if old.id in asked and _gives_way(acquisition, old)}
        # of one that is being worked on, not yet
        gone = {old for old in settled.replaced | failed if old.status != "superseded" and not old.running}
        early = [new.id for new in settled.early if new.status == "extracted"]
        waited = {old for old in versions if old.done and old.status == "inprogress"} - settled.early - gone
        # an offer stays one while there is another scene that counts and that it would replace
        waited_for = {
            new
            for old in versions
            if old.status != "superseded" and old not in gone
            for new in acquisition.successors(old)
        }
        freed = {new for old in failed & gone for new in acquisition.successors(old)} - waited_for
        _let_go(conn, tables, [old.id for old in gone])
        _set_status(conn, tables, "inprogress", early, "done; waits for another part of what it replaces")
        _set_status(conn, tables, "extracted", [new.id for new in waited])
        _set_status(conn, tables, "ingested", [new.id for new in freed if new.status == "offered"])
        extracted += [new.id for new in waited]
    return extracted


def _gives_way(acquisition: Acquisition, old: Version) -> bool:
    return (old.failed or old.status == "No parcels") and any(
        new.status == "offered" for new in acquisition.successors(old)
    )


def _let_go(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    if obsids:
        forget(conn, tables, obsids)
        _set_status(conn, tables, "superseded", obsids)


def _set_status(
    conn: psycopg.Connection, tables: Tables, status: str, obsids: Sequence[int], reason: str | None = None
) -> None:
    if obsids:
        conn.execute(
            query(
                "UPDATE {catalogue} SET status = %s, reason = %s WHERE id = ANY(%s)",
                catalogue=tables.catalogue.sql,
            ),
            [status, reason, list(obsids)],
        )


def forget(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Remove the tasks and rows of scenes that no longer count; parcels that only they had are done again."""
    # tasks first: workers touch a task before its scene
    conn.execute(query("DELETE FROM {tasks} WHERE obsid = ANY(%s)", tasks=tables.tasks.sql), [list(obsids)])
    delete_rows(conn, tables, [(obsid, None) for obsid in obsids])
    conn.execute(
        query(
            "UPDATE {catalogue} SET applied_offset = NULL WHERE id = ANY(%s) AND applied_offset IS NOT NULL",
            catalogue=tables.catalogue.sql,
        ),
        [list(obsids)],
    )
    reopen(conn, tables, obsids)


def let_rest(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Leave nothing to be done of scenes; tasks that there are rows of stay as done, in whatever bands."""
    names = {"tasks": tables.tasks.sql}
    conn.execute(
        query("DELETE FROM {tasks} WHERE obsid = ANY(%s) AND state <> 'done' AND rows IS NULL", **names),
        [list(obsids)],
    )
    conn.execute(
        query(
            """UPDATE {tasks}
               SET state = 'done', bands = NULL, method = NULL, reason = NULL, not_before = NULL
               WHERE obsid = ANY(%s) AND state <> 'done'""",
            **names,
        ),
        [list(obsids)],
    )


def delete_rows(
    conn: psycopg.Connection, tables: Tables, bandsets: Sequence[tuple[int, str | None]]
) -> dict[int, tuple[int, int]]:
    """Delete rows of scenes.

    Args:
        conn: a connection in a transaction of the caller's.
        tables: the tables.
        bandsets: scenes' ids with keys of BANDSETS; None means all rows of the scene.

    Returns:
        How many rows of sigs and of hists went, by scene.
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
