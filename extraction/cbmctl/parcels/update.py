"""A changed file, written into the parcel table while its statistics stay.

Parcels with their geometry keep number, geometry and statistics, and get the attributes of the file. New
ones are appended, with numbers that no parcel had. Those that are gone move to `<parcels>_gone` [gone]. The
table is never replaced, so that views on it stay and clients can read meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from cbmctl.config import TableName, Tables
from cbmctl.database import one, query
from cbmctl.errors import UserError, counted
from cbmctl.invocation import option
from cbmctl.parcels import gone_parcels, parcel_history
from cbmctl.parcels.changes import Changes
from cbmctl.parcels.edits import add_columns, lacking, write_values
from cbmctl.parcels.files.columns import Column
from cbmctl.parcels.fill_table import FEATURE, STAGED
from cbmctl.parcels.pairing import pairing_names
from cbmctl.parcels.supersede import refuse_if_running
from cbmctl.queue.delta_cost import DeltaCost, delta_cost
from cbmctl.queue.locks import lock_parcel_tables
from cbmctl.queue.parcel_changes import scenes_that_show

# Number and geometry of the new parcels, in the caller's transaction.
NEW = sql.Identifier("pg_temp", "cbm_new_parcels")


@dataclass(frozen=True)
class Updated:
    """What an update in place did, or would do, beside the changes of attributes.

    Attributes:
        version: of the parcel set, afterwards.
        gone_table: where parcels that are gone are.
        last_id: the highest number before; new parcels have the numbers that follow it.
        new: how many parcels are new.
        gone: how many parcels are gone.
        scenes: scenes in which the new parcels are to be extracted.
        cost: of that, if it was asked for and there are such scenes.
    """

    version: int
    gone_table: str
    last_id: int
    new: int
    gone: int
    scenes: int
    cost: DeltaCost | None = None

    @property
    def numbers(self) -> range:
        """The numbers of the new parcels."""
        return range(self.last_id + 1, self.last_id + 1 + self.new)

    def sentences(self, *, check: bool = False) -> list[str]:
        """For people; `check`: nothing was changed."""
        said = []
        if self.gone:
            verb = "would move" if check else "moved"
            said.append(f"{counted(self.gone, 'parcel')} {verb} to {self.gone_table}; their statistics stay")
        if self.new:
            said.append(
                f"{counted(self.new, 'new parcel')} (ogc_fid {self.numbers[0]} to {self.numbers[-1]}) must"
                f" be extracted in {counted(self.scenes, 'scene')}"
            )
        if self.cost:
            said.append(self.cost.sentence())
        return said


def expect_few_removals(parcels: TableName, changes: Changes) -> None:
    """Raise UserError if so many parcels are gone that the file may be incomplete or inexact."""
    if changes.doubtful:
        raise UserError(
            "parcels.many_gone",
            " ".join([f"{parcels}: the file lacks many stored geometries.", *changes.sentences()]),
            f"If the file is correct, load it with {option('--accept-removals')}",
            about=option("--accept-removals"),
        )


def preview(conn: psycopg.Connection, tables: Tables, changes: Changes, *, forecast: bool) -> Updated:
    """Number the new parcels of a staged file, and find out what an update would do; change nothing.

    Args:
        conn: a connection in the transaction that staged the file.
        tables: the tables.
        changes: what the file changes.
        forecast: also what it costs to extract the new parcels.

    Raises:
        UserError: the table must be rewritten, and workers extract statistics of its parcels.
    """
    if changes.new and _only_polygons(conn, tables.parcels):
        refuse_if_running(conn, tables)
    current = parcel_history.current_set(conn, tables)
    names = pairing_names(tables.parcels) | {"new": NEW, "last": sql.Literal(current.last_id)}
    conn.execute(
        query(
            """CREATE TEMPORARY TABLE {new} ON COMMIT DROP AS
               SELECT {feature}, wkb_geometry,
                   ({last} + row_number() OVER (ORDER BY wkb_geometry, {feature}))::integer AS ogc_fid
               FROM {staged} f
               WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.{feature} = f.{feature})""",
            **names,
        )
    )
    conn.execute(query("ANALYZE {new}", **names))
    planned = Updated(
        # a table that was loaded by hand has version 1
        version=max(current.version, 1) + (not changes.same_geometries),
        gone_table=str(gone_parcels.gone_table(tables.parcels)),
        last_id=current.last_id,
        new=changes.new,
        gone=changes.gone,
        scenes=0,
    )
    scenes = scenes_that_show(conn, tables, planned.numbers, parcels=NEW)
    cost = delta_cost(conn, tables, scenes, new=NEW) if forecast and scenes else None
    return replace(planned, scenes=len(scenes), cost=cost)


def apply(
    conn: psycopg.Connection, tables: Tables, columns: list[Column], planned: Updated, source: str
) -> list[int]:
    """Write a staged and numbered file into the parcel table; return the numbers of parcels that are gone.

    Args:
        conn: a connection in the transaction that staged the file.
        tables: the tables.
        columns: of the staged file.
        planned: what `preview` returned.
        source: name of the file.

    Raises:
        UserError: a value, a constraint or a privilege forbids it, or workers or readers do.
    """
    parcels = tables.parcels
    with _refusals(parcels):
        single = planned.new and _only_polygons(conn, parcels)
        if single or lacking(conn, parcels, columns):
            altered = [parcels, *([gone_parcels.gone_table(parcels)] if planned.gone else [])]
            lock_parcel_tables(conn, tables, altered, queue=True)
            add_columns(conn, parcels, columns)
        if single:
            # a worker of an earlier version finds no parcels in a table that is rewritten while it waits
            refuse_if_running(conn, tables)
            _take_multipolygons(conn, parcels)
        if planned.gone and gone_parcels.is_behind(conn, parcels):
            lock_parcel_tables(conn, tables, [gone_parcels.gone_table(parcels)], queue=True)
        removed = gone_parcels.move_to_gone_table(conn, parcels) if planned.gone else []
        write_values(conn, parcels, columns)
        if planned.new:
            _append(conn, parcels, columns)
    if removed or planned.new:
        parcel_history.record(
            conn, tables, version=planned.version, source=source, numbers=NEW, removed=removed
        )
    conn.execute(query("ANALYZE {parcels}", parcels=parcels.sql))
    return removed


def _append(conn: psycopg.Connection, parcels: TableName, columns: list[Column]) -> None:
    named = [sql.Identifier(column.name) for column in columns]
    conn.execute(
        query(
            "INSERT INTO {parcels} (ogc_fid, wkb_geometry{named}) SELECT n.ogc_fid, f.wkb_geometry{values}"
            " FROM {new} n JOIN {staged} f USING ({feature}) ORDER BY 1",
            parcels=parcels.sql,
            named=sql.Composed([sql.SQL(", {}").format(name) for name in named]),
            values=sql.Composed([sql.SQL(", f.{}").format(name) for name in named]),
            new=NEW,
            staged=STAGED,
            feature=FEATURE,
        )
    )


def _only_polygons(conn: psycopg.Connection, parcels: TableName) -> bool:
    """Whether the type of the geometries, as ogr2ogr may choose it, holds no flat multipolygons."""
    kind = one(
        conn,
        query(
            "SELECT lower(postgis_typmod_type(atttypmod)) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attname = 'wkb_geometry'"
        ),
        [str(parcels)],
    )[0]
    return kind not in {"multipolygon", "geometry"}


def _take_multipolygons(conn: psycopg.Connection, parcels: TableName) -> None:
    conn.execute(
        query(
            "ALTER TABLE {parcels} ALTER wkb_geometry TYPE geometry(MultiPolygon, {srid})"
            " USING ST_Multi(ST_Force2D(wkb_geometry))",
            parcels=parcels.sql,
            srid=sql.Literal(
                one(
                    conn,
                    query("SELECT Find_SRID(%s, %s, 'wkb_geometry')"),
                    [parcels.schema, parcels.name],
                )[0]
            ),
        )
    )


@contextmanager
def _refusals(parcels: TableName) -> Iterator[None]:
    """Raise UserError if PostgreSQL refuses to change the parcel table."""
    try:
        yield
    except (
        psycopg.errors.InsufficientPrivilege,  # loaded by hand, by another role
        psycopg.errors.FeatureNotSupported,  # a view on a column whose type must change
        psycopg.DataError,
        psycopg.IntegrityError,
    ) as error:
        detail = f". {error.diag.message_detail}" if error.diag.message_detail else ""
        raise UserError(
            "parcels.not_updated",
            f"{parcels} cannot be updated: PostgreSQL reports '{error.diag.message_primary}'{detail}",
            "Nothing was changed. Correct the table or the file, then load again",
            about=parcels,
        ) from error
