"""Scenes whose rows are in an archive of the season instead of sigs and hists.

Their tasks stay as they are. An archive is named by its id [cbmctl.maintenance.season_archive.layout].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.queue import extracted_rows, scene_status, states
from cbmctl.queue.locks import lock_datatake, lock_queue, lock_scenes
from cbmctl.queue.overlap import settle_overlaps
from cbmctl.queue.parcel_changes import plan_missed_parcels
from cbmctl.queue.scene_status import Place

_OF_SCENES = sql.SQL("t.obsid = ANY(%s)")


@dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    Attributes:
        archived: whether it is archived from now on.
        already: whether it was archived before, in this archive.
        rows: of sigs and hists that were deleted; also what an interrupted restore had left.
        kept: why it is skipped; else empty.
    """

    archived: bool = False
    already: bool = False
    rows: int = 0
    kept: str = ""


def archive_scene(
    conn: psycopg.Connection,
    tables: Tables,
    obsid: int,
    archive: str,
    differs: Callable[[], str],
    *,
    expected: int,
    last_id: int,
    check: bool = False,
) -> Outcome:
    """Delete a scene's rows, if they are those of the archive; its status becomes `archived`.

    Args:
        conn: a connection in a transaction of the caller's.
        tables: the tables.
        obsid: the scene.
        archive: id of the archive.
        differs: returns how the scene's rows differ from the archive; empty if they do not.
        expected: rows that the archive has of it.
        last_id: no parcel of the archive has a higher number.
        check: only say what would become of it.
    """
    lock_datatake(conn, tables, obsid)
    status = lock_scenes(conn, tables, [obsid], [obsid]).get(obsid)
    if status == "archived":
        if obsid not in archived_in(conn, tables, archive):
            return Outcome(kept="its rows are in another archive")
        return Outcome(already=True, rows=(_number if check else _delete)(conn, tables, obsid))
    if why := _why_kept(conn, tables, obsid, status) or differs():
        return Outcome(kept=why)
    if check:
        return Outcome(archived=True, rows=expected)
    with conn.transaction() as deletion:
        deleted = _delete(conn, tables, obsid)
        if deleted != expected:
            raise psycopg.Rollback(deletion)
    if deleted != expected:
        return Outcome(kept="its rows changed after they were compared")
    conn.execute(
        query(
            """INSERT INTO {archived} (obsid, archive, last_id) VALUES (%s, %s, %s)
               ON CONFLICT (obsid) DO UPDATE SET (archive, last_id) = (excluded.archive, excluded.last_id)""",
            archived=tables.archived_scenes.sql,
        ),
        [obsid, archive, last_id],
    )
    conn.execute(states.change(tables, states.ARCHIVED, _OF_SCENES), [[obsid]])
    scene_status.update(conn, tables, {obsid: Place.ARCHIVED})
    return Outcome(archived=True, rows=deleted)


def _why_kept(conn: psycopg.Connection, tables: Tables, obsid: int, status: str | None) -> str:
    """Return why a scene that is not archived cannot be; empty if it can."""
    if status != "extracted":
        return f"its status is {status}" if status else "it was deleted from the catalogue"
    open_tasks = query(
        "SELECT count(*) FROM {tasks} WHERE obsid = %s AND state <> 'done'", tasks=tables.tasks.sql
    )
    return "it has unfinished tasks" if one(conn, open_tasks, [obsid])[0] else ""


def archived_in(conn: psycopg.Connection, tables: Tables, archive: str) -> list[int]:
    """Return the scenes whose rows are in an archive only."""
    found = conn.execute(
        query(
            """SELECT obsid FROM {archived} JOIN {catalogue} d ON d.id = obsid
               WHERE archive = %s AND d.status = 'archived' ORDER BY obsid""",
            archived=tables.archived_scenes.sql,
            catalogue=tables.catalogue.sql,
        ),
        [archive],
    )
    return [obsid for (obsid,) in found]


def archived_elsewhere(
    conn: psycopg.Connection, tables: Tables, archive: str, obsids: Sequence[int]
) -> list[int]:
    """Return those of some scenes whose rows are in another archive only."""
    found = conn.execute(
        query(
            """SELECT obsid FROM {archived} JOIN {catalogue} d ON d.id = obsid
               WHERE archive <> %s AND obsid = ANY(%s) AND d.status = 'archived' ORDER BY obsid""",
            archived=tables.archived_scenes.sql,
            catalogue=tables.catalogue.sql,
        ),
        [archive, list(obsids)],
    )
    return [obsid for (obsid,) in found]


def restored_rows(conn: psycopg.Connection, tables: Tables, archive: str) -> dict[str, int]:
    """Return how many rows of each file an interrupted restore has written; empty without such a restore."""
    return dict(
        conn.execute(
            query("SELECT file, rows FROM {restored} WHERE archive = %s", restored=tables.restored_files.sql),
            [archive],
        ).fetchall()
    )


def begin_restore(conn: psycopg.Connection, tables: Tables, archive: str) -> dict[str, int]:
    """Return `restored_rows`. If that is empty, delete rows that another restore may have left."""
    progress = restored_rows(conn, tables, archive)
    if not progress:
        for obsid in archived_in(conn, tables, archive):
            with conn.transaction():
                lock_datatake(conn, tables, obsid)
                if lock_scenes(conn, tables, [obsid], [obsid]).get(obsid) == "archived":
                    _delete(conn, tables, obsid)
    return progress


def note_restored(conn: psycopg.Connection, tables: Tables, archive: str, file: str, number: int) -> None:
    """Record how many rows of a file are restored, in the transaction that writes them."""
    conn.execute(
        query(
            """INSERT INTO {restored} (archive, file, rows) VALUES (%s, %s, %s)
               ON CONFLICT (archive, file) DO UPDATE SET rows = excluded.rows""",
            restored=tables.restored_files.sql,
        ),
        [archive, file, number],
    )


def forget_restore(conn: psycopg.Connection, tables: Tables) -> None:
    """Let the next restore begin with the first row."""
    conn.execute(query("DELETE FROM {restored}", restored=tables.restored_files.sql))


def mark_restored(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Let scenes count again whose rows are restored, in one transaction.

    If another tile of their datatake was extracted meanwhile, the overlap rule is applied to both tiles.
    """
    names = {"archived": tables.archived_scenes.sql, "catalogue": tables.catalogue.sql}
    with conn.transaction():
        lock_queue(conn, tables)
        found = lock_scenes(conn, tables, obsids, [])
        ids = [obsid for obsid, status in found.items() if status == "archived"]
        conn.execute(states.change(tables, states.RESTORED, _OF_SCENES), [ids])
        plan_missed_parcels(conn, tables, ids)
        scene_status.update(conn, tables, dict.fromkeys(ids, Place.RESTORED))
        conn.execute(query("DELETE FROM {archived} WHERE obsid = ANY(%s)", **names), [ids])
        mixed = conn.execute(
            query(
                """SELECT DISTINCT s.id FROM {catalogue} s JOIN {catalogue} n USING (card, sensor, obstime)
                   WHERE s.id = ANY(%(ids)s) AND n.id <> ALL(%(ids)s) ORDER BY s.id""",
                **names,
            ),
            {"ids": ids},
        ).fetchall()
        settle_overlaps(conn, tables, [obsid for (obsid,) in mixed])
        forget_restore(conn, tables)


def _delete(conn: psycopg.Connection, tables: Tables, obsid: int) -> int:
    return sum(extracted_rows.delete(conn, tables, [(obsid, None)])[obsid])


def _number(conn: psycopg.Connection, tables: Tables, obsid: int) -> int:
    statement = query(
        """SELECT (SELECT count(*) FROM {sigs} WHERE obsid = %(obsid)s)
               + (SELECT count(*) FROM {hists} WHERE obsid = %(obsid)s)""",
        sigs=tables.sigs.sql,
        hists=tables.hists.sql,
    )
    return int(one(conn, statement, {"obsid": obsid})[0])
