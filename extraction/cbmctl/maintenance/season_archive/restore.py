"""Restore the rows of an archive to the tables, in the order of the parcels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from cbmctl.config import Config, TableName, Tables
from cbmctl.database import query
from cbmctl.errors import UserError, counted
from cbmctl.maintenance.season_archive import comparison, database_rows, parquet, whole_tables
from cbmctl.maintenance.season_archive.layout import SCHEMAS, Description, read_description
from cbmctl.maintenance.season_archive.space_needed import require_space_to_restore
from cbmctl.queue import parcel_sets
from cbmctl.queue.archived_scenes import (
    archived_elsewhere,
    archived_in,
    begin_restore,
    forget_restore,
    mark_restored,
    note_restored,
    restored_rows,
)
from cbmctl.queue.locks import lock_archived_scenes, lock_archives
from cbmctl.steps import Steps, hidden


@dataclass(frozen=True)
class Restored:
    """What was, or would be, restored.

    Attributes:
        changed: whether rows were written.
        scenes: how many scenes are extracted again.
        rows: their rows of sigs and hists.
        others: scenes of the archive that are skipped.
        elsewhere: of these, scenes whose rows are in another archive.
    """

    changed: bool
    scenes: int
    rows: int
    others: int
    elsewhere: int


def restore(
    conn: psycopg.Connection,
    config: Config,
    folder: Path,
    *,
    disk: Path | None = None,
    check: bool = False,
    progress: Steps = hidden,
) -> Restored:
    """Restore the rows of all scenes that are archived in this archive, and verify them.

    Rows are committed in batches; a scene stays `archived` until all rows are written and equal those of the
    archive. The next run continues an interrupted one. Workers and queries can run meanwhile.

    Args:
        conn: a connection in autocommit mode, of the tables' owner.
        config: says which tables.
        folder: of the archive.
        disk: a folder on the database's disk, whose free space counts; None: `cache` in the configuration.
        check: verify only, and say what would be restored.
        progress: given a label and a number of rows or scenes, returns what is called with each that is done.

    Raises:
        UserError: the folder holds no archive, that of another database or of other parcels, or a damaged
            one; the disk has too little space; or the rows that were written differ from the archive.
    """
    tables = config.tables
    lock_archives(conn, tables)
    description = read_description(folder)
    database_rows.require_columns(conn, tables)
    comparison.require_own(conn, tables, folder, description)
    wanted = archived_in(conn, tables, description.id)
    others = len(description.scenes) - len(wanted)
    elsewhere = len(archived_elsewhere(conn, tables, description.id, list(description.scenes)))
    if not wanted:
        return Restored(False, 0, 0, others, elsewhere)
    _require_parcels(conn, tables, folder, description)
    _require_no_later_season(conn, tables, folder, description)
    left = _left(conn, tables, description, wanted)
    require_space_to_restore(conn, folder, left, disk or config.cache)
    comparison.verify_files(folder, description, progress("Reading", sum(description.files.values())))
    if not check:
        _write(conn, tables, folder, description, progress)
        wanted = _verify(conn, tables, description, progress)
        mark_restored(conn, tables, wanted)
    scenes = [description.scenes[obsid] for obsid in wanted]
    rows = sum(scene.sigs.rows + scene.hists.rows for scene in scenes)
    return Restored(True, len(wanted), rows, others, elsewhere)


def _require_parcels(
    conn: psycopg.Connection, tables: Tables, folder: Path, description: Description
) -> None:
    if description.parcels != str(tables.parcels):
        raise UserError(
            "season_archive.other_parcels",
            (
                f"{folder} holds statistics of {description.parcels}, but parcel_table in the"
                f" configuration is {tables.parcels}"
            ),
            "Use the configuration of that season",
            about="parcel_table",
        )
    file = folder / "parcels.parquet"
    if unknown := whole_tables.unknown_parcels(conn, tables, file):
        raise UserError(
            "season_archive.unknown_parcels",
            (
                f"{counted(unknown, 'parcel')} of {folder} not found in {tables.parcels} or"
                f" {tables.parcels}_gone"
            ),
            (
                "The parcels were probably replaced with --drop-statistics, and now have other ogc_fid."
                " Read the files with DuckDB, R or pandas. To extract the scenes with the current"
                " parcels, set their status to 'ingested'"
            ),
            about=folder,
        )
    if changed := whole_tables.changed_parcels(conn, tables.parcels, file):
        raise UserError(
            "season_archive.changed_parcels",
            (
                f"{counted(changed, 'parcel')} of {tables.parcels} {'has' if changed == 1 else 'have'}"
                f" another geometry than in {folder}"
            ),
            (
                f"If geometries were edited in the table, restore them from {file}. Otherwise read the"
                " files with DuckDB, R or pandas. To extract the scenes with the current parcels, set"
                " their status to 'ingested'"
            ),
            about=folder,
        )


def _require_no_later_season(
    conn: psycopg.Connection, tables: Tables, folder: Path, description: Description
) -> None:
    """Raise UserError if there are statistics of a later table of parcels.

    Both seasons extract some scenes. If rows of both were in one, an extraction for the later parcels would
    replace all of them, and a restored scene would count as extracted without the later parcels.
    """
    for table in (tables.sigs, tables.hists):
        found = conn.execute(
            query(
                """SELECT pid FROM {table} s WHERE pid > %s
                       AND NOT EXISTS (SELECT FROM {parcels} WHERE ogc_fid = pid)
                       AND pid NOT IN ({gone}) LIMIT 1""",
                table=table.sql,
                gone=query(parcel_sets.GONE, **parcel_sets.names(tables)),
                parcels=tables.parcels.sql,
            ),
            [description.last_id],
        ).fetchone()
        if found:
            raise UserError(
                "season_archive.later_season",
                (
                    f"{table} has statistics of parcels that are not in {tables.parcels}, such as pid"
                    f" {found[0]}: a later season was extracted"
                ),
                (
                    f"Scenes of both seasons could not hold the rows of both. Read the files of {folder} with"
                    " DuckDB, R or pandas, or restore them in a copy of the database from before that season"
                ),
                about=table,
            )


def _left(
    conn: psycopg.Connection, tables: Tables, description: Description, wanted: Sequence[int]
) -> dict[str, int]:
    """Return how many rows of each table are at most still to be written."""
    done = restored_rows(conn, tables, description.id)
    left = {}
    for kind in SCHEMAS:
        rows = sum(getattr(description.scenes[obsid], kind).rows for obsid in wanted)
        back = sum(number for file, number in done.items() if comparison.kind_of(file) == kind)
        left[kind] = max(rows - back, 0)
    return left


def _write(
    conn: psycopg.Connection, tables: Tables, folder: Path, description: Description, progress: Steps
) -> None:
    done = begin_restore(conn, tables, description.id)
    for name, rows in description.files.items():
        kind = comparison.kind_of(name)
        if not kind:
            continue
        step, position = progress(f"Restoring {name}", rows), 0
        for batch in parquet.read(folder / name, kind):
            begin = position
            position += batch.num_rows
            if position <= done.get(name, 0):
                step(batch.num_rows)
                continue
            rest = batch.slice(max(done.get(name, 0) - begin, 0))
            with conn.transaction():
                still = lock_archived_scenes(conn, tables, archived_in(conn, tables, description.id))
                chosen = rest.filter(pc.is_in(rest.column("obsid"), pa.array(still, pa.int32())))
                _COPIES[kind](conn, tables, chosen)
                note_restored(conn, tables, description.id, name, position)
            step(batch.num_rows)


def _verify(conn: psycopg.Connection, tables: Tables, description: Description, progress: Steps) -> list[int]:
    """Compare what is there now, and return the scenes.

    Raises:
        UserError: rows differ; the next run begins with the first row.
    """
    wanted = archived_in(conn, tables, description.id)
    step, found = progress("Comparing", len(wanted)), {}
    for obsid in wanted:
        found[obsid] = comparison.of_scene(conn, tables, obsid)
        step(1)
    if differ := comparison.differing(description.scenes, found):
        forget_restore(conn, tables)
        raise UserError(
            "season_archive.rows_differ",
            f"Restored rows differ from the archive: {comparison.first_sentences(differ.values())}",
            (
                "The scenes stay archived. Stop all other programs that write to these tables, then run"
                " the command again"
            ),
        )
    return wanted


def _copy_sigs(conn: psycopg.Connection, tables: Tables, batch: pa.RecordBatch) -> None:
    with conn.cursor() as cursor, cursor.copy(_statement(tables.sigs, batch, "binary")) as copy:
        copy.write(database_rows.binary_sigs(batch))


def _copy_hists(conn: psycopg.Connection, tables: Tables, batch: pa.RecordBatch) -> None:
    with conn.cursor() as cursor, cursor.copy(_statement(tables.hists, batch, "text")) as copy:
        columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            copy.write_row(row)


def _statement(table: TableName, batch: pa.RecordBatch, form: LiteralString) -> sql.Composed:
    return query(
        "COPY {table} ({columns}) FROM STDIN (FORMAT {form})",
        table=table.sql,
        columns=sql.SQL(", ").join(map(sql.Identifier, batch.schema.names)),
        form=sql.SQL(form),
    )


_COPIES: dict[str, Callable[[psycopg.Connection, Tables, pa.RecordBatch], None]] = {
    "sigs": _copy_sigs,
    "hists": _copy_hists,
}
