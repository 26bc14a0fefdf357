"""Write an archive, and verify it against the database; nothing is deleted."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.errors import UserError, counted
from cbmctl.invocation import command
from cbmctl.maintenance.closed_season import require_closed
from cbmctl.maintenance.season_archive import comparison, database_rows, parquet, whole_tables
from cbmctl.maintenance.season_archive.layout import (
    DESCRIPTION,
    PARTIAL,
    SCHEMAS,
    Description,
    Scene,
    read_description,
    statistics_file,
    write_description,
)
from cbmctl.maintenance.season_archive.row_sums import NOTHING, Numbers
from cbmctl.maintenance.season_archive.space_needed import estimate, require_space
from cbmctl.parcels import parcel_history
from cbmctl.parcels.changes import has_parcels
from cbmctl.queue.locks import lock_archives
from cbmctl.steps import Steps, hidden


@dataclass(frozen=True)
class Archived:
    """An archive that was made, or would be.

    Attributes:
        changed: whether files were written.
        scenes: how many scenes it holds.
        rows: rows of sigs and hists; with --check as PostgreSQL estimates them.
        bytes: of all files; with --check an upper estimate.
        others: scenes that are not extracted, but have rows; these stay in the database only.
        compared: scenes of the archive whose rows are in the database, and equal those of the files.
    """

    changed: bool
    scenes: int
    rows: int
    bytes: int
    others: int
    compared: int


def make(
    conn: psycopg.Connection,
    config: Config,
    folder: Path,
    *,
    again: bool = False,
    check: bool = False,
    progress: Steps = hidden,
) -> Archived:
    """Write the extracted scenes of a closed season to a folder, and verify the files.

    An interrupted run is continued: files that are whole are verified instead of written again.

    Args:
        conn: a connection in autocommit mode, of the tables' owner.
        config: says which tables and which season.
        folder: created if it does not exist.
        again: make an archive that the folder holds again; files that equal the database are kept.
        check: only say what would be written, and whether there is space.
        progress: given a label and a number of rows or scenes, returns what is called with each that is done.

    Raises:
        UserError: the season is not closed, nothing is extracted, the folder cannot be written, holds another
            archive or the only copy of a scene, or has too little space, or rows changed while they were
            archived.
    """
    lock_archives(conn, config.tables)
    require_closed(conn, config, "A season is archived")
    database_rows.require_columns(conn, config.tables)
    work = _Archive(conn, config, folder, progress)
    if (folder / DESCRIPTION).exists() and not again:
        return work.existing()
    if not work.cards:
        raise UserError(
            "season_archive.nothing_extracted",
            f"{config.tables.catalogue} has no extracted scene, so there is nothing to archive",
            f"Run {command('status')}",
            about=config.tables.catalogue,
        )
    _require_no_only_copy(conn, config, folder)
    require_space(conn, config.tables, folder)
    return work.expected() if check else work.make()


def _require_no_only_copy(conn: psycopg.Connection, config: Config, folder: Path) -> None:
    """Raise UserError if files without a description hold scenes whose rows were deleted here."""
    archived = [
        obsid
        for (obsid,) in conn.execute(
            query(
                "SELECT id FROM {catalogue} WHERE status = 'archived'", catalogue=config.tables.catalogue.sql
            )
        )
    ]
    for file in sorted(folder.glob("*.parquet")):
        require_own_file(conn, config, str(file), parquet.footer(file))
        if archived and comparison.kind_of(file.name) and parquet.holds(file, archived):
            raise UserError(
                "season_archive.only_copy",
                f"{file} may be the only copy of scenes that are archived, and {DESCRIPTION} is missing",
                f"Copy {DESCRIPTION} back into the folder, or use an empty folder",
                about=file,
            )


def require_own_file(conn: psycopg.Connection, config: Config, name: str, footer: Mapping[str, str]) -> None:
    """Raise UserError if a file that would be overwritten belongs to another season, area or database."""
    own = {
        "cbm.system": _system(conn),
        "cbm.database": config.connection.dbname,
        "cbm.area": config.args.name,
        "cbm.parcels": str(config.tables.parcels),
    }
    # files of an earlier version do not name the server
    other = [
        f"database server {footer[key]}" if key == "cbm.system" else footer[key]
        for key, value in own.items()
        if footer.get(key, value) != value
    ]
    if other:
        raise UserError(
            "season_archive.other_archive",
            f"{name} belongs to another archive ({', '.join(other)}) whose {DESCRIPTION} is missing",
            "Keep that archive, and use an empty folder (in S3: another prefix)",
            about=name,
        )


class _Archive:
    def __init__(self, conn: psycopg.Connection, config: Config, folder: Path, progress: Steps) -> None:
        self._conn, self._config, self._folder, self._progress = conn, config, folder, progress
        self._tables = config.tables
        self._references: dict[int, str] = {}
        self.cards: dict[str, list[int]] = {}
        for obsid, reference, card in conn.execute(
            query(
                "SELECT id, reference, card FROM {catalogue} WHERE status = 'extracted' ORDER BY id",
                catalogue=self._tables.catalogue.sql,
            )
        ):
            self._references[obsid] = reference
            self.cards.setdefault(card, []).append(obsid)

    def existing(self) -> Archived:
        """Verify the archive that the folder holds.

        Raises:
            UserError: it does not hold what is extracted.
        """
        description = read_description(self._folder)
        comparison.require_own(self._conn, self._tables, self._folder, description)
        if missing := self._references.keys() - description.scenes.keys():
            example = self._references[min(missing)]
            raise UserError(
                "season_archive.incomplete",
                (
                    f"{self._folder} holds an archive that lacks {counted(len(missing), 'extracted scene')},"
                    f" such as {example}"
                ),
                "Keep that archive, and use an empty folder (in S3: another prefix) for a new one",
                about=self._folder,
            )
        comparison.verify_files(
            self._folder, description, self._step("Reading", sum(description.files.values()))
        )
        found = self._database(description.scenes.keys() & self._references.keys())
        if differ := comparison.differing(description.scenes, found):
            raise UserError(
                "season_archive.rows_differ",
                (
                    f"The rows in {self._folder} differ from the database:"
                    f" {comparison.first_sentences(differ.values())}"
                ),
                "Keep that archive, and use an empty folder (in S3: another prefix) for a new one",
                about=self._folder,
            )
        return self._archived(description, changed=False, compared=len(found))

    def expected(self) -> Archived:
        """Return what would be written."""
        rows, size = estimate(self._conn, self._tables)
        return Archived(True, len(self._references), rows, size, self._others(), compared=0)

    def make(self) -> Archived:
        """Write what is missing, and compare all of it with the database."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for unfinished in (*self._folder.glob(f"*{PARTIAL}"), self._folder / DESCRIPTION):
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                "season_archive.unwritable",
                f"{self._folder} cannot be written ({error.strerror or error})",
                (
                    "Use a folder in which cbmctl may write; on the VM, use a subdirectory of archive on the"
                    " data volume, such as /data/cbm/archive/2021"
                ),
                about=self._folder,
            ) from error
        empty = self._describe({}, {})
        wanted = {
            statistics_file(kind, card): (kind, obsids)
            for card, obsids in self.cards.items()
            for kind in SCHEMAS
        }
        kept = [name for name in wanted if parquet.footer(self._folder / name) == empty.footer()]
        found = self._write_and_read([name for name in wanted if name not in kept], wanted, empty)
        database = self._database(self._references)
        damaged = []
        for name in kept:
            with suppress(UserError):  # an interrupted run may have been followed by a change
                there = comparison.of_file(self._folder / name, self._step(f"Reading {name}", 0))
                kind, obsids = wanted[name]
                if there == _with_rows({obsid: _of(kind, database[obsid]) for obsid in obsids}):
                    found[name] = there
                    continue
            damaged.append(name)
        found |= self._write_and_read(damaged, wanted, empty)
        scenes = {
            obsid: Scene(
                self._references[obsid],
                *(found[statistics_file(kind, card)].get(obsid, NOTHING) for kind in SCHEMAS),
            )
            for card, obsids in self.cards.items()
            for obsid in obsids
        }
        if differ := comparison.differing(scenes, database):
            for obsid in differ:
                card = next(card for card, obsids in self.cards.items() if obsid in obsids)
                for kind in SCHEMAS:
                    (self._folder / statistics_file(kind, card)).unlink(missing_ok=True)
            raise UserError(
                "season_archive.rows_changed",
                f"Rows changed while they were archived: {comparison.first_sentences(differ.values())}",
                "Stop all programs that write to the database, then run the command again",
            )
        files = {name: sum(one.rows for one in there.values()) for name, there in found.items()}
        files |= self._write_tables(empty)
        description = self._describe(files, scenes)
        write_description(self._folder, description)
        return self._archived(description, changed=True, compared=len(database))

    def _write_and_read(
        self, names: Iterable[str], wanted: dict[str, tuple[str, list[int]]], empty: Description
    ) -> dict[str, dict[int, Numbers]]:
        found = {}
        for name in names:
            kind, obsids = wanted[name]
            step = self._step(f"Writing {name}", estimate(self._conn, self._tables, kind)[0])
            rows = _counted(database_rows.by_parcel(self._conn, self._tables, kind, obsids), step)
            written = parquet.write(self._folder / name, SCHEMAS[kind], rows, empty.footer())
            found[name] = comparison.of_file(self._folder / name, self._step(f"Reading {name}", written))
        return found

    def _write_tables(self, empty: Description) -> dict[str, int]:
        tables = self._tables
        files = {}
        for name, table, key in (
            ("parcels", tables.parcels, "ogc_fid"),
            ("parcels_gone", tables.parcels.sibling(f"{tables.parcels.name}_gone"), "ogc_fid"),
            ("dias_catalogue", tables.catalogue, "id"),
            ("tasks", tables.tasks, "obsid"),
        ):
            if one(self._conn, query("SELECT to_regclass(%s)"), [str(table)])[0] is None:
                continue
            path = self._folder / f"{name}.parquet"
            files[path.name] = whole_tables.write(self._conn, table, key, path, empty.footer())
        parcels = self._folder / "parcels.parquet"
        if parcels.name in files and (
            changed := whole_tables.changed_parcels(self._conn, tables.parcels, parcels)
        ):
            raise UserError(
                "season_archive.parcels_changed",
                f"{counted(changed, 'parcel')} of {tables.parcels} changed while it was archived",
                "Run the command again",
                about=tables.parcels,
            )
        return files

    def _database(self, obsids: Iterable[int]) -> dict[int, tuple[Numbers, Numbers]]:
        ids = sorted(obsids)
        step = self._step("Reading the database", len(ids))
        found = {}
        for obsid in ids:
            found[obsid] = comparison.of_scene(self._conn, self._tables, obsid)
            step(1)
        return found

    def _describe(self, files: dict[str, int], scenes: dict[int, Scene]) -> Description:
        args = self._config.args
        parcel_set = self._conn.execute(
            query(
                "SELECT source, checksum FROM {sets} WHERE table_name = %s", sets=self._tables.parcel_sets.sql
            ),
            [str(self._tables.parcels)],
        ).fetchone()
        source, checksum = parcel_set or ("", "")
        version = query("SELECT version_num FROM {version}", version=self._tables.version.sql)
        (revision,) = one(self._conn, version)
        return Description(
            schema=revision,
            system=_system(self._conn),
            database=self._config.connection.dbname,
            area=args.name,
            start=str(args.start),
            end=str(args.end),
            parcels=str(self._tables.parcels),
            parcels_file=source,
            parcels_checksum=checksum,
            last_id=self._last_id(),
            files=dict(sorted(files.items())),
            scenes=scenes,
        )

    def _last_id(self) -> int:
        tables = self._tables
        numbered = (
            parcel_history.current_set
            if has_parcels(self._conn, tables.parcels)
            else parcel_history.recorded_set
        )
        statement = query(
            "SELECT greatest((SELECT max(pid) FROM {sigs}), (SELECT max(pid) FROM {hists}), 0)",
            sigs=tables.sigs.sql,
            hists=tables.hists.sql,
        )
        (highest,) = one(self._conn, statement)
        return max(numbered(self._conn, tables).last_id, int(highest))

    def _others(self) -> int:
        return int(
            one(
                self._conn,
                query(
                    """SELECT count(*) FROM {catalogue} d WHERE status <> 'extracted' AND (
                           EXISTS (SELECT FROM {sigs} WHERE obsid = d.id)
                           OR EXISTS (SELECT FROM {hists} WHERE obsid = d.id))""",
                    catalogue=self._tables.catalogue.sql,
                    sigs=self._tables.sigs.sql,
                    hists=self._tables.hists.sql,
                ),
            )[0]
        )

    def _archived(self, description: Description, *, changed: bool, compared: int) -> Archived:
        rows = sum(scene.sigs.rows + scene.hists.rows for scene in description.scenes.values())
        size = sum(file.stat().st_size for file in self._folder.iterdir() if file.is_file())
        return Archived(changed, len(description.scenes), rows, size, self._others(), compared)

    def _step(self, label: str, length: int) -> Callable[[int], None]:
        return self._progress(label, length)


def _system(conn: psycopg.Connection) -> str:
    return str(one(conn, query("SELECT system_identifier FROM pg_control_system()"))[0])


def _of(kind: str, both: tuple[Numbers, Numbers]) -> Numbers:
    return both[list(SCHEMAS).index(kind)]


def _with_rows(numbers: dict[int, Numbers]) -> dict[int, Numbers]:
    return {obsid: one for obsid, one in numbers.items() if one != NOTHING}


def _counted(batches: Iterator[pa.RecordBatch], step: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        step(batch.num_rows)
