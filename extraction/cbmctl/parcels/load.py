"""A parcels file becomes the table that everything else refers to: all of it, or nothing."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from hashlib import file_digest, sha256
from typing import Any

import psycopg

from cbmctl.config import Tables
from cbmctl.errors import UserError
from cbmctl.parcels import derived_tables, replace_table, spatial_ref, update
from cbmctl.parcels.changes import Changes, changes, has_parcels
from cbmctl.parcels.edits import expect_types
from cbmctl.parcels.files.columns import Column, plan
from cbmctl.parcels.files.delivery import Paths, as_paths, files_of, folder_above
from cbmctl.parcels.files.findings import Findings
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.fill_table import expect_parcels, stage
from cbmctl.parcels.geometry_check import check
from cbmctl.parcels.grids import stamp_of
from cbmctl.parcels.keys import expect_key
from cbmctl.parcels.load_record import File, record, recorded
from cbmctl.parcels.supersede import (
    Superseded,
    expect_same_parcels,
    in_use,
    refuse_another_table,
    refuse_if_in_use,
    refuse_if_running,
    supersede,
)
from cbmctl.parcels.update import Updated
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.queue.parcel_changes import change_parcels


@dataclass(frozen=True)
class Options:
    """How to read the file; the fields are those of `read_delivery.read`."""

    layer: str | None = None
    encoding: str | None = None
    crs: str | None = None
    axes: str | None = None
    where: str | None = None
    attributes: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """What was asked for; two loads with the same options and content make the same table."""
        return {
            key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items() if v is not None
        }


@dataclass(frozen=True)
class Loaded:
    """What a load did, or would do."""

    changed: bool
    table: str
    parcels: int
    srid: int
    findings: dict[str, list[dict[str, Any]]]
    columns: list[Column] = field(default_factory=list)
    superseded: Superseded | None = None
    notes: tuple[str, ...] = ()
    changes: Changes | None = None
    updated: Updated | None = None


def load(
    conn: psycopg.Connection,
    tables: Tables,
    paths: Paths,
    options: Options,
    *,
    drop_statistics: bool = False,
    keep_statistics: bool = False,
    accept_removals: bool = False,
    again: bool = False,
    check_only: bool = False,
    key: str | None = None,
    progress: Callable[[int], Callable[[int], None]] = lambda _total: lambda _done: None,
) -> Loaded:
    """Load a file, unless the table already holds exactly its content.

    While there are statistics, the table is updated in place, and workers may go on. Else it is replaced.

    Args:
        conn: the owner's connection, without a transaction under way.
        tables: the tables of the configuration; the parcels go to `tables.parcels`.
        paths: the files, archives and folders of the delivery.
        options: how to read them.
        drop_statistics: delete all statistics, and replace the table.
        keep_statistics: replace columns only; all parcels must have the geometry that they had.
        accept_removals: update the table also if many of its parcels are gone or have another geometry.
        again: read the file also if the table was made of the same content.
        check_only: find out everything, change nothing.
        key: the attribute that identifies parcels.
        progress: gets the number of features, gives what to call with each number done.

    Raises:
        UserError: the file cannot be used, or the state of the database forbids the load. Nothing is changed
            then.
    """
    content = checksum(paths)
    with conn.transaction():
        lock_parcel_sets(conn, tables)
        if not again and (same := recorded(conn, tables, content, options.as_json())):
            return Loaded(False, str(tables.parcels), *same)
        table = read(paths, **asdict(options))
        column = expect_key(table, key) if key else None
        entered = spatial_ref.enter(conn, table.srid, check_only=check_only)
        findings, advance = Findings(), progress(len(table))
        changed = superseded = updated = None
        if check_only and not has_parcels(conn, tables.parcels):
            findings, columns = check(table, advance), plan(table.attributes.schema)
            expect_parcels(findings, table)
        else:
            columns = stage(conn, table, findings=findings, advance=advance)
            expect_parcels(findings, table)
            changed = changes(conn, tables.parcels, columns, table.srid, key=column)
        file = File(names(paths), content, options.as_json(), table.srid, findings)
        used = in_use(conn, tables)
        if changed and used and not (keep_statistics or drop_statistics):
            expect_types(conn, tables.parcels, columns, changed)
            if not accept_removals:
                update.expect_few_removals(tables.parcels, changed)
            updated = update.preview(conn, tables, changed, forecast=check_only)
            if not check_only:
                updated = _update(conn, tables, columns, updated, file)
        elif keep_statistics:
            refuse_if_running(conn, tables)
            expect_same_parcels(tables.parcels, changed)
            if not check_only:
                version = replace_table.replace_columns(conn, tables, columns, table.srid)
                record(conn, tables, file, version=version, same_places=True)
        else:
            refuse_if_running(conn, tables)
            if used and not drop_statistics:
                refuse_another_table(conn, tables)
                refuse_if_in_use(conn, tables, replace_table.why_needed(conn, tables.parcels, table.srid))
            # if there are none to drop yet, a worker may write some before `supersede` locks them
            version, last = replace_table.next_numbers(conn, tables, in_use=used or drop_statistics)
            superseded = supersede(conn, tables, drop_statistics=drop_statistics, check_only=check_only)
            if not check_only:
                replace_table.replace_parcels(conn, tables, columns, table.srid, after=last)
                record(conn, tables, file, version=version, same_places=False)
        return Loaded(
            True,
            str(tables.parcels),
            findings.parcels,
            table.srid,
            findings.as_json(),
            columns,
            superseded,
            (*table.notes, *([entered] if entered else [])),
            changed,
            updated,
        )


def _update(
    conn: psycopg.Connection, tables: Tables, columns: list[Column], planned: Updated, file: File
) -> Updated:
    """Update the table and all that follows it; return what was planned, with the scenes that it touched."""
    former = stamp_of(conn, tables)
    gone = update.apply(conn, tables, columns, planned, file.source)
    record(conn, tables, file, version=planned.version, same_places=not (gone or planned.new))
    derived_tables.update_derived(conn, tables, former, new=planned.numbers, gone=gone)
    if not (gone or planned.new):
        return planned
    # last, because workers wait from here on
    delta = change_parcels(conn, tables, version=planned.version, new=planned.numbers, gone=gone)
    return replace(planned, scenes=delta.scenes)


def checksum(paths: Paths) -> str:
    """SHA-256 over the bytes of a delivery's files; of a shapefile, over those of its parts.

    Names count where several files or a folder are named: each parcel is loaded with that of its layer.

    Raises:
        UserError: a file does not exist or cannot be read.
    """
    named, above = as_paths(paths), folder_above(paths)
    total = sha256()
    for path in named:
        for part in files_of(path):
            if len(named) > 1 or path.is_dir():
                total.update(str(part.absolute().relative_to(above)).encode())
            try:
                with part.open("rb") as file:
                    total.update(file_digest(file, "sha256").digest())
            except OSError as error:
                raise UserError(
                    "parcels.file_unreadable",
                    f"{part} cannot be read ({error.strerror})",
                    "Correct the name of the parcels file",
                    about=part,
                ) from error
    return total.hexdigest()


def names(paths: Paths) -> str:
    """What the files of a delivery are called, without their folders."""
    return ", ".join(path.name for path in as_paths(paths))
