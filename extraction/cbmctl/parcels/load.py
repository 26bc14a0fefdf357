"""A parcels file becomes the table that everything else refers to: all of it, or nothing."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import file_digest, sha256
from typing import Any

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.parcels import spatial_ref
from cbmctl.parcels.changes import Changes, changes, has_parcels
from cbmctl.parcels.check import check
from cbmctl.parcels.columns import Column, plan
from cbmctl.parcels.delivery import Paths, as_paths, files_of, folder_above
from cbmctl.parcels.edits import apply_edits, only_edits
from cbmctl.parcels.filling import expect_parcels, number_as_paired, number_by_place, stage
from cbmctl.parcels.findings import Findings
from cbmctl.parcels.keys import expect_key
from cbmctl.parcels.source import read
from cbmctl.parcels.supersede import (
    Superseded,
    expect_same_parcels,
    in_use,
    refuse_if_in_use,
    refuse_if_running,
    supersede,
)
from cbmctl.queue.locks import lock_parcel_sets


@dataclass(frozen=True)
class Options:
    """How to read the file; the fields are those of `source.read`."""

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


def load(
    conn: psycopg.Connection,
    tables: Tables,
    paths: Paths,
    options: Options,
    *,
    drop_statistics: bool = False,
    keep_statistics: bool = False,
    again: bool = False,
    check_only: bool = False,
    key: str | None = None,
    progress: Callable[[int], Callable[[int], None]] = lambda _total: lambda _done: None,
) -> Loaded:
    """Load a file, unless the table already holds exactly its content.

    Args:
        conn: the owner's connection, without a transaction under way.
        tables: the tables of the configuration; the parcels go to `tables.parcels`.
        paths: the files, archives and folders of the delivery.
        options: how to read them.
        drop_statistics: delete the statistics that were computed with the former parcels.
        keep_statistics: replace columns only; all parcels must have the geometry that they had.
        again: read the file also if the table was made of the same content.
        check_only: find out everything, change nothing.
        key: the attribute that identifies parcels.
        progress: gets the number of features, gives what to call with each number done.

    Raises:
        UserError: the file cannot be used, statistics or running tasks refer to the parcels of before, or
            something in the database stands in the way. Nothing is changed then.
    """
    content = checksum(paths)
    with conn.transaction():
        lock_parcel_sets(conn, tables)
        if not again and (same := _same(conn, tables, content, options)):
            return same
        table = read(paths, **asdict(options))
        column = expect_key(table, key) if key else None
        entered = spatial_ref.enter(conn, table.srid, check_only=check_only)
        findings, advance = Findings(), progress(len(table))
        changed = superseded = None
        if check_only and not has_parcels(conn, tables.parcels):
            findings, columns = check(table, advance), plan(table.attributes.schema)
            expect_parcels(findings, table)
        else:
            columns = stage(conn, table, findings=findings, advance=advance)
            expect_parcels(findings, table)
            changed = changes(conn, tables.parcels, columns, table.srid, key=column)
        # without statistics the table is replaced, so that numbers follow space
        edits = (
            changed is not None
            and not (keep_statistics or drop_statistics)
            and in_use(conn, tables)
            and only_edits(conn, tables.parcels, columns, changed)
        )
        if not edits:
            refuse_if_running(conn, tables)
        if keep_statistics:
            expect_same_parcels(tables.parcels, changed)
        elif not edits:
            if not drop_statistics:
                refuse_if_in_use(conn, tables, changed)
            superseded = supersede(
                conn, tables, changed, drop_statistics=drop_statistics, check_only=check_only
            )
        if not check_only:
            if edits:
                apply_edits(conn, tables.parcels, columns)
            else:
                if keep_statistics:
                    number_as_paired(conn, _building(tables), columns, table.srid, tables.parcels)
                else:
                    number_by_place(conn, _building(tables), columns, table.srid)
                _swap(conn, tables)
            loaded = {
                "source": names(paths),
                "checksum": content,
                "options": json.dumps(options.as_json()),
            }
            _record(conn, tables, loaded, table.srid, findings, same_places=edits or keep_statistics)
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
        )


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
                    f"{part} cannot be read ({error.strerror}). Correct the name of the parcels file."
                ) from error
    return total.hexdigest()


def names(paths: Paths) -> str:
    """What the files of a delivery are called, without their folders."""
    return ", ".join(path.name for path in as_paths(paths))


def _same(conn: psycopg.Connection, tables: Tables, content: str, options: Options) -> Loaded | None:
    row = conn.execute(
        query(
            "SELECT parcels, srid, findings FROM {sets} WHERE table_name = %s AND checksum = %s"
            " AND options = %s::jsonb AND to_regclass(table_name) IS NOT NULL",
            sets=tables.parcel_sets.sql,
        ),
        [str(tables.parcels), content, json.dumps(options.as_json())],
    ).fetchone()
    return Loaded(False, str(tables.parcels), *row) if row else None


def _building(tables: Tables) -> sql.Identifier:
    return tables.parcels.sibling(f"{tables.parcels.name}_new").sql


def _swap(conn: psycopg.Connection, tables: Tables) -> None:
    """The new table takes the old one's place and its indexes their usual names."""
    parcels = tables.parcels
    try:
        conn.execute(query("DROP TABLE IF EXISTS {parcels}", parcels=parcels.sql))
    except psycopg.errors.DependentObjectsStillExist as error:
        dependents = (error.diag.message_detail or "").replace("\n", "; ")
        raise UserError(
            f"{parcels} cannot be replaced ({dependents}). Drop the dependent objects first."
        ) from error
    except psycopg.errors.WrongObjectType as error:
        raise UserError(f"{parcels} is not a table. Set another parcel_table, or drop it.") from error
    conn.execute(
        query(
            "ALTER TABLE {building} RENAME TO {name}",
            building=_building(tables),
            name=sql.Identifier(parcels.name),
        )
    )
    for old, new in (("new_pkey", "pkey"), ("new_wkb_geometry_idx", "wkb_geometry_geom_idx")):
        conn.execute(
            query(
                "ALTER INDEX {old} RENAME TO {new}",
                old=parcels.sibling(f"{parcels.name}_{old}").sql,
                new=sql.Identifier(f"{parcels.name}_{new}"),
            )
        )
    conn.execute(query("ANALYZE {parcels}", parcels=parcels.sql))


def _record(
    conn: psycopg.Connection,
    tables: Tables,
    loaded: dict[str, str],
    srid: int,
    findings: Findings,
    *,
    same_places: bool,
) -> None:
    conn.execute(
        query(
            "INSERT INTO {sets} AS s (table_name, source, checksum, options, srid, parcels, findings)"
            " VALUES (%(table)s, %(source)s, %(checksum)s, %(options)s, %(srid)s, %(parcels)s, %(findings)s)"
            " ON CONFLICT (table_name) DO UPDATE"
            " SET (source, checksum, options, srid, parcels, findings, loaded_at, placed_at)"
            " = (excluded.source, excluded.checksum, excluded.options, excluded.srid, excluded.parcels,"
            " excluded.findings, now(), CASE WHEN %(same_places)s THEN s.placed_at ELSE now() END)",
            sets=tables.parcel_sets.sql,
        ),
        loaded
        | {
            "table": str(tables.parcels),
            "same_places": same_places,
            "srid": srid,
            "parcels": findings.parcels,
            "findings": json.dumps(findings.as_json(), ensure_ascii=False),
        },
    )
