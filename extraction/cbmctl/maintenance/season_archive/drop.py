"""Delete the rows that an archive holds, scene by scene."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from cbmctl.config import Config, Tables
from cbmctl.maintenance.season_archive import comparison, database_rows
from cbmctl.maintenance.season_archive.layout import Scene, read_description
from cbmctl.queue.archived_scenes import archive_scene, forget_restore
from cbmctl.queue.locks import lock_archives
from cbmctl.steps import Steps, hidden


@dataclass(frozen=True)
class Dropped:
    """What was, or would be, deleted.

    Attributes:
        changed: whether rows were deleted.
        scenes: how many scenes became archived.
        rows: rows of sigs and hists that were deleted.
        already: scenes that were archived before.
        kept: scenes that are skipped, with the reason.
    """

    changed: bool
    scenes: int
    rows: int
    already: int
    kept: dict[str, str]


def drop(
    conn: psycopg.Connection, config: Config, folder: Path, *, check: bool = False, progress: Steps = hidden
) -> Dropped:
    """Delete the rows of an archive's scenes from the database, after the files are read and verified again.

    Each scene is a transaction: its rows are compared with the archive and deleted, and its status becomes
    `archived`. Queries can run meanwhile. The next run continues an interrupted one. A scene that has other
    rows than the archive, unfinished tasks or another status is skipped.

    Args:
        conn: a connection in autocommit mode, of the tables' owner.
        config: says which tables.
        folder: of a finished archive.
        check: verify and compare only.
        progress: given a label and a number of rows or scenes, returns what is called with each that is done.

    Raises:
        UserError: the folder holds no archive, that of another database, or a damaged one.
    """
    tables = config.tables
    lock_archives(conn, tables)
    description = read_description(folder)
    database_rows.require_columns(conn, tables)
    comparison.require_own(conn, tables, folder, description)
    comparison.verify_files(folder, description, progress("Reading", sum(description.files.values())))
    if not check:
        forget_restore(conn, tables)
    step = progress("Comparing" if check else "Deleting", len(description.scenes))
    scenes = rows = already = 0
    kept = {}
    for obsid, scene in description.scenes.items():
        with conn.transaction():
            differs = partial(_differs, conn, tables, obsid, scene)
            expected = scene.sigs.rows + scene.hists.rows
            outcome = archive_scene(
                conn,
                tables,
                obsid,
                description.id,
                differs,
                expected=expected,
                last_id=description.last_id,
                check=check,
            )
        rows += outcome.rows
        scenes += outcome.archived
        already += outcome.already
        if outcome.kept:
            kept[scene.reference] = outcome.kept
        step(1)
    return Dropped(bool(scenes or rows), scenes, rows, already, kept)


def _differs(conn: psycopg.Connection, tables: Tables, obsid: int, scene: Scene) -> str:
    found = {obsid: comparison.of_scene(conn, tables, obsid)}
    return comparison.differing({obsid: scene}, found).get(obsid, "")
