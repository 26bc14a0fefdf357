"""What a change of tasks, versions, archive or parcels means for scenes and for their rows.

The scene's status is written again [cbmctl.queue.scene_status]; versions whose place is taken lose their
rows; each parcel of a datatake stays in one of its scenes [cbmctl.queue.overlap].
"""

from collections.abc import Collection, Sequence

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue import extracted_rows, scene_status, states
from cbmctl.queue.acquisitions import Acquisition, Version, acquisitions, siblings
from cbmctl.queue.locks import lock_scenes
from cbmctl.queue.overlap import reopen, settle_overlaps
from cbmctl.queue.scene_status import Place

_OF_SCENES = sql.SQL("t.obsid = ANY(%s)")


def update_scenes(
    conn: psycopg.Connection, tables: Tables, obsids: Sequence[int], *, pids: Sequence[int] | None = None
) -> None:
    """Let the scenes' status say what their tasks have come to, and the reason why.

    A scene whose tasks nobody has begun, and of which there are no rows of an earlier time, is 'ingested'.
    One that is extracted takes the place of the older versions of its acquisition, in the same transaction;
    where it does so only together with others, it is 'inprogress' until these are done. One that failed gives
    way to a newer version that was offered. Each parcel that a scene shares with other tiles of the datatake
    stays in one of them.

    Args:
        conn: a connection in a transaction that has locked the datatake, or the queue.
        tables: the tables.
        obsids: scenes whose tasks have changed.
        pids: the only parcels whose rows have; None means all.
    """
    before = lock_scenes(conn, tables, obsids, siblings(conn, tables, obsids))
    extracted = {obsid for obsid, status in before.items() if status == "extracted"}
    scene_status.update(conn, tables, dict.fromkeys(obsids))
    others = _update_versions(conn, tables, obsids, extracted)
    settle_overlaps(conn, tables, obsids, pids=pids)
    settle_overlaps(conn, tables, others)


def _update_versions(
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
        # a version that is being worked on stays until that is done
        gone = {old for old in settled.replaced | failed if old.status != "superseded" and not old.running}
        waited = {old for old in versions if old.done and old.status == "inprogress"} - settled.early - gone
        # an offer stays one while there is another scene that counts and that it would replace
        waited_for = {
            new
            for old in versions
            if old.status != "superseded" and old not in gone
            for new in acquisition.successors(old)
        }
        freed = {new for old in failed & gone for new in acquisition.successors(old)} - waited_for
        forget(conn, tables, [old.id for old in gone])
        places = {old.id: Place.SUPERSEDED for old in gone}
        places |= {new.id: Place.WAITS for new in settled.early}
        places |= {new.id: Place.CURRENT for new in waited}
        places |= {new.id: Place.CURRENT for new in freed if new.status == "offered"}
        scene_status.update(conn, tables, places)
        extracted += [new.id for new in waited]
    return extracted


def _gives_way(acquisition: Acquisition, old: Version) -> bool:
    return (old.failed or old.status == "No parcels") and any(
        new.status == "offered" for new in acquisition.successors(old)
    )


def forget(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Remove the tasks and rows of scenes that no longer count; parcels that only they had are done again."""
    if not obsids:
        return
    # tasks first: workers touch a task before its scene
    conn.execute(states.change(tables, states.SUPERSEDED, _OF_SCENES), [list(obsids)])
    extracted_rows.delete(conn, tables, [(obsid, None) for obsid in obsids])
    extracted_rows.forget_offset(conn, tables, obsids)
    reopen(conn, tables, obsids)


def go_offline(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Let failed scenes wait for the archive. Their rows stay, but other scenes may take their parcels."""
    follow_archive(conn, tables, obsids)
    reopen(conn, tables, obsids)


def follow_archive(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Let scenes be 'offline', or 'ingested' to be extracted whole, as `online` says.

    They have no open task until the next plan; tasks with rows stay, as done.
    """
    if not obsids:
        return
    without_rows = query("{of_scenes} AND t.rows IS NULL", of_scenes=_OF_SCENES)
    conn.execute(states.change(tables, states.OFFLINE, without_rows), [list(obsids)])
    conn.execute(states.change(tables, states.OFFLINE_WITH_ROWS, _OF_SCENES), [list(obsids)])
    scene_status.update(conn, tables, dict.fromkeys(obsids, Place.AGAIN))


def start_over(
    conn: psycopg.Connection, tables: Tables, obsids: Sequence[int], *, plan_anew: bool = False
) -> None:
    """Make all tasks ready again, because the parcels are replaced and the rows deleted.

    A newer version need not wait any more for the older one. Tasks whose bands or method are not known are
    deleted; the next plan enters them again.

    Args:
        conn: a connection in a transaction that holds the table of tasks.
        tables: the tables.
        obsids: scenes that are not as the catalogue delivered them.
        plan_anew: delete the tasks instead; the next plan enters those of its period.
    """
    names = {"catalogue": tables.catalogue.sql}
    scenes = conn.execute(
        query("SELECT id, superseded_by, online FROM {catalogue} WHERE id = ANY(%s)", **names), [list(obsids)]
    ).fetchall()
    waiting = [obsid for obsid, newer, online in scenes if newer is not None or not online]
    unknown = query(
        """t.bands IS NULL OR t.method IS NULL OR t.obsid = ANY(%s)
           OR t.obsid IN (SELECT id FROM {catalogue} WHERE status IN ('superseded', 'offline'))""",
        **names,
    )
    # what is in an archive is of the former parcels, and so are its tasks
    here = query("t.obsid NOT IN (SELECT id FROM {catalogue} WHERE status = 'archived')", **names)
    begun = query("(t.state <> 'ready' OR t.attempts > 0 OR t.rows IS NOT NULL) AND {here}", here=here)
    if plan_anew:
        conn.execute(states.change(tables, states.NEW_PARCELS_UNKNOWN, begun))
    unknown = query("({unknown}) AND {here}", unknown=unknown, here=here)
    conn.execute(states.change(tables, states.NEW_PARCELS_UNKNOWN, unknown), [waiting])
    conn.execute(states.change(tables, states.NEW_PARCELS, begun))
    extracted_rows.forget_offset(conn, tables, obsids)
    places = {obsid: Place.CURRENT if newer is None else Place.SUPERSEDED for obsid, newer, _ in scenes}
    scene_status.update(conn, tables, places)
