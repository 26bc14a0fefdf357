"""What new parcels make meaningless: statistics, finished tasks, rasters of the former parcels."""

import re
from dataclasses import dataclass

import psycopg
from psycopg import sql

from cbmctl.config import TableName, Tables
from cbmctl.database import one, query
from cbmctl.errors import UserError, counted
from cbmctl.invocation import option
from cbmctl.parcels import parcel_history, quality
from cbmctl.parcels.changes import Changes
from cbmctl.parcels.gone_parcels import gone_table, is_made
from cbmctl.queue.locks import LIVE_PARAMETERS, lock_parcel_tables, lock_results, try_archives
from cbmctl.queue.scene_changes import start_over
from cbmctl.queue.statements import names


@dataclass(frozen=True)
class Superseded:
    """What went, or would go, with the former parcels.

    Attributes:
        sigs: rows that are deleted.
        hists: rows that are deleted.
        scenes: scenes to extract again.
        rasters: tables that are dropped.
        archived: scenes whose archive cannot be restored any more.
    """

    sigs: int
    hists: int
    scenes: int
    rasters: tuple[str, ...]
    archived: int

    def sentences(self) -> list[str]:
        """For people."""
        said = []
        if self.sigs or self.hists:
            said.append(
                f"{self.sigs} statistics and {self.hists} histograms of the former parcels are deleted"
            )
        if self.scenes:
            said.append(f"{self.scenes} scenes are to be extracted again")
        if self.rasters:
            said.append(f"outdated raster tables are dropped: {', '.join(self.rasters)}")
        if self.archived:
            said.append(
                f"{counted(self.archived, 'archived scene')} cannot be restored any more, because the parcels"
                " get other numbers; the files of the archive stay readable"
            )
        return said


def refuse_if_running(conn: psycopg.Connection, tables: Tables) -> None:
    """Raise UserError while workers extract statistics of the parcels."""
    running = one(
        conn,
        query("SELECT count(*) FROM {tasks} t WHERE {at_work}", **names(tables)),
        LIVE_PARAMETERS,
    )[0]
    if running:
        raise UserError(
            "parcels.tasks_running",
            f"{running} tasks are being extracted with {tables.parcels}",
            "Stop the extraction, then load again",
            about=tables.parcels,
        )


def in_use(conn: psycopg.Connection, tables: Tables) -> bool:
    """Whether there are statistics or histograms, here or in the archive of a season.

    Those in an archive do not refer to a table of parcels that never existed, such as next season's.
    """
    statement = query(
        "SELECT EXISTS (SELECT FROM {sigs}) OR EXISTS (SELECT FROM {hists})",
        sigs=tables.sigs.sql,
        hists=tables.hists.sql,
    )
    return bool(one(conn, statement)[0]) or _archived(conn, tables) > 0


def refuse_if_in_use(conn: psycopg.Connection, tables: Tables, why: str) -> None:
    """Raise UserError if there are statistics of the parcels.

    Args:
        conn: a connection.
        tables: the tables.
        why: the parcels cannot be updated in place, and what to do about that.
    """
    if in_use(conn, tables):
        used = [f"{table} ({_rows(conn, table)} rows)" for table in (tables.sigs, tables.hists)]
        if archived := _archived(conn, tables):
            used.append(f"the archive of {counted(archived, 'scene')}")
        listed = f"{', '.join(used[:-1])} and {used[-1]}"
        message = f"{listed} refer to the parcels in {tables.parcels}"
        raise UserError("parcels.in_use", message, why, about=tables.parcels)


def refuse_another_table(conn: psycopg.Connection, tables: Tables) -> None:
    """Raise UserError if the statistics are of another table of parcels, and this one never existed."""
    if others := _former_tables(conn, tables):
        raise UserError(
            "parcels.other_season",
            (
                f"{tables.sigs} and {tables.hists} have statistics of {' and '.join(others)}, and"
                f" {tables.parcels} is a new table"
            ),
            (
                "Their rows could not be distinguished. Add the new season to tenant_seasons, which gives"
                " it its own schema, or set tenant_year back to the year of the former table"
            ),
            about=tables.sigs,
        )


def expect_same_parcels(parcels: TableName, changes: Changes | None) -> None:
    """Raise UserError unless a file has the geometries of the table: statistics stay right then."""
    if changes is None:
        raise UserError(
            "parcels.statistics_would_go",
            f"The table {parcels} does not exist, or its parcels are in another coordinate system",
            f"Their statistics cannot be kept: load with {option('--drop-statistics')}",
            about=option("--drop-statistics"),
        )
    if not changes.same_geometries:
        raise UserError(
            "parcels.statistics_would_go",
            (
                f"The parcels of the file are not those of {parcels}: {changes.new} are new,"
                f" {changes.gone} are gone"
            ),
            f"Their statistics cannot be kept: load with {option('--drop-statistics')}",
            about=option("--drop-statistics"),
        )


def supersede(
    conn: psycopg.Connection,
    tables: Tables,
    *,
    drop_statistics: bool,
    check_only: bool = False,
) -> Superseded:
    """Take away what refers to the former parcels, inside the caller's transaction.

    Raises:
        UserError: statistics came in since the first look, or an archive is written or restored.
    """
    if not check_only:
        # a restore would write rows of the former parcels into scenes that are to be extracted again
        if not try_archives(conn, tables):
            raise UserError(
                "database.busy",
                "cbmctl maintain archive or restore is running",
                "Nothing was changed. Wait until it ends, then load again",
            )
        # no worker may add a row between this look and the commit
        lock_results(conn, tables)
        refuse_if_running(conn, tables)
        if not drop_statistics:
            refuse_if_in_use(
                conn,
                tables,
                "Workers wrote these rows while the file was being read. Nothing was changed. Load the file"
                " again.",
            )
    scenes = {"catalogue": tables.catalogue.sql, "scenes": _begun(tables)}
    gone = Superseded(
        sigs=_rows(conn, tables.sigs),
        hists=_rows(conn, tables.hists),
        scenes=one(conn, query("SELECT count(*) FROM {scenes}", scenes=_begun(tables)))[0],
        rasters=tuple(str(raster) for raster in raster_tables(conn, tables.parcels)),
        archived=_archived(conn, tables),
    )
    if check_only:
        return gone
    begun = conn.execute(
        query("SELECT id FROM {scenes} UNION SELECT id FROM {catalogue} WHERE status = 'offered'", **scenes)
    ).fetchall()
    # scenes of a former season's table: only those of the new period are planned again
    another = bool(_former_tables(conn, tables))
    start_over(conn, tables, [obsid for (obsid,) in begun], plan_anew=another)
    for table in (tables.sigs, tables.hists):
        conn.execute(query("DELETE FROM {table}", table=table.sql))
    rasters = raster_tables(conn, tables.parcels)
    former = [gone_table(tables.parcels)] if is_made(conn, tables.parcels) else []
    lock_parcel_tables(conn, tables, [*rasters, *former], queue=True)
    for raster in rasters:
        conn.execute(query("DROP TABLE {raster}", raster=raster.sql))
    quality.forget(conn, tables.parcels)
    parcel_history.forget(conn, tables)
    return gone


def raster_tables(conn: psycopg.Connection, parcels: TableName) -> list[TableName]:
    """The raster tables of a parcel table, found by the manual's naming convention."""
    rows = conn.execute(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = %s AND relkind = 'r' AND relname ~ %s ORDER BY relname",
        [parcels.schema, f"^{re.escape(parcels.name)}_[0-9]+_[0-9]+_rast$"],
    ).fetchall()
    return [parcels.sibling(name) for (name,) in rows]


def _begun(tables: Tables) -> sql.Composed:
    """Scenes that are not as the catalogue delivered them."""
    return query(
        "(SELECT id FROM {catalogue} c"
        " WHERE status NOT IN ('ingested', 'superseded', 'offered', 'offline', 'archived')"
        " OR status <> 'archived' AND (applied_offset IS NOT NULL"
        " OR EXISTS (SELECT FROM {tasks} WHERE obsid = c.id AND state <> 'ready'))) begun",
        catalogue=tables.catalogue.sql,
        tasks=tables.tasks.sql,
    )


def _archived(conn: psycopg.Connection, tables: Tables) -> int:
    """Count archived scenes; none if the table of parcels never existed, because they are of another one."""
    statement = query(
        """SELECT count(*) FROM {catalogue} WHERE status = 'archived' AND (
               to_regclass(%(parcels)s) IS NOT NULL
               OR EXISTS (SELECT FROM {sets} WHERE table_name = %(parcels)s))""",
        catalogue=tables.catalogue.sql,
        sets=tables.parcel_sets.sql,
    )
    return int(one(conn, statement, {"parcels": str(tables.parcels)})[0])


def _former_tables(conn: psycopg.Connection, tables: Tables) -> list[str]:
    """Return the tables of parcels that were loaded before, if this one never was."""
    statement = query(
        """SELECT table_name FROM {sets}
           WHERE to_regclass(%(parcels)s) IS NULL
               AND NOT EXISTS (SELECT FROM {sets} WHERE table_name = %(parcels)s)
           ORDER BY loaded_at""",
        sets=tables.parcel_sets.sql,
    )
    return [name for (name,) in conn.execute(statement, {"parcels": str(tables.parcels)})]


def _rows(conn: psycopg.Connection, table: TableName) -> int:
    return int(one(conn, query("SELECT count(*) FROM {table}", table=table.sql))[0])
