"""The database contract, built and upgraded by numbered migrations (alembic, plain SQL in `versions/`).

Today's tenant becomes tomorrow's by running the same command again; a database that someone made by hand
from the manual is taken over as it is, rows included.
"""

from dataclasses import dataclass
from pathlib import Path

import alembic.command
import psycopg
import sqlalchemy
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from cbmctl.config import Config, Tables
from cbmctl.database import connect, explain, one, query
from cbmctl.errors import UserError, counted
from cbmctl.schema.grants import grant_roles

VERSION_TABLE = {"version_table": "cbm_schema", "version_table_schema": "public"}
# Any number will do, as long as two runs at once ask for the same one.
APPLY_LOCK = 0x43424D


@dataclass(frozen=True)
class Applied:
    """What `apply` did, or would do: versions before and after, new tables, privileges granted."""

    before: str | None
    after: str
    tables: tuple[str, ...]
    grants: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, different afterwards."""
        return self.before != self.after or bool(self.tables) or bool(self.grants)


def apply(config: Config, *, check: bool = False) -> Applied:
    """Bring the schema to this version and let the writer and the reader in, all in one transaction.

    With `check` the same is done and rolled back, so that the answer is not a guess.

    Raises:
        UserError: no PostGIS, a table that belongs to someone else, rows that contradict the new keys, a
            schema that is newer than this program, or workers of an earlier version that are connected.
    """
    with connect(config, purpose="cbmctl schema") as conn:
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: conn, poolclass=sqlalchemy.pool.StaticPool
        )
        try:
            with engine.connect() as outer, outer.begin() as transaction:
                applied = _apply(outer, conn, config.tables)
                if check:
                    transaction.rollback()
        except CommandError as error:
            raise UserError(f"the schema was made by a newer cbmctl ({error}): use that version") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise explain(error) or error from error
        except (psycopg.Error, sqlalchemy.exc.DBAPIError) as error:
            raise UserError(f"the schema stays as it was, PostgreSQL refuses: {_reason(error)}") from error
    return applied


def _apply(outer: sqlalchemy.Connection, conn: psycopg.Connection, tables: Tables) -> Applied:
    conn.execute("SET LOCAL client_min_messages = warning")
    conn.execute("SELECT pg_advisory_xact_lock(%s)", [APPLY_LOCK])
    if not one(conn, query("SELECT count(*) FROM pg_extension WHERE extname = 'postgis'"))[0]:
        raise UserError(
            f"database {conn.info.dbname} has no PostGIS: let its superuser run CREATE EXTENSION postgis;"
            " CREATE EXTENSION postgis_raster"
        )
    alembic_config = AlembicConfig(attributes={"connection": outer})
    alembic_config.set_main_option("script_location", str(Path(__file__).parent))
    before = MigrationContext.configure(outer, opts=VERSION_TABLE).get_current_revision()
    after = str(ScriptDirectory.from_config(alembic_config).get_current_head())
    if before != after:
        _refuse_if_workers_run(conn)
    alembic.command.upgrade(alembic_config, "head")
    return Applied(
        before=before,
        after=after,
        tables=tuple(_other_tables(conn, tables)),
        grants=tuple(grant_roles(conn, tables)),
    )


def _refuse_if_workers_run(conn: psycopg.Connection) -> None:
    """Raise UserError if workers are connected: they would close tasks as their own, earlier version does."""
    workers = one(
        conn,
        query(
            """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND starts_with(application_name, 'cbmctl worker ')"""
        ),
    )[0]
    if workers:
        raise UserError(
            f"Database {conn.info.dbname} cannot be upgraded while workers of an earlier version run"
            f" ({counted(workers, 'connection')}). Wait until the extraction ends, or stop the workers with"
            " sudo docker stack rm cbm on the VM. Then run cbmctl schema apply again."
        )


def _other_tables(conn: psycopg.Connection, tables: Tables) -> list[str]:
    """Tables the tenant calls otherwise (say, ms.sigs_2021) are made like the migrated ones."""
    made = []
    for standard, own in (("sigs", tables.sigs), ("hists", tables.hists)):
        if one(conn, query("SELECT to_regclass(%s)"), [str(own)])[0] is None:
            conn.execute(
                query(
                    "CREATE TABLE {own} (LIKE public.{standard} INCLUDING ALL)",
                    own=own.sql,
                    standard=psycopg.sql.Identifier(standard),
                )
            )
            made.append(str(own))
    for standard, own in (("aois", tables.aois), ("dias_catalogue", tables.catalogue)):
        if str(own) != f"public.{standard}":
            raise UserError(
                f"the table {own} cannot be used: the queue refers to public.{standard}, so name that"
            )
    return made


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    return (cause.diag.message_primary if isinstance(cause, psycopg.Error) else None) or str(cause)
