"""The database contract, built and upgraded by numbered migrations (alembic, plain SQL in `versions/`).

Today's tenant becomes tomorrow's by running the same command again; a database that someone made by hand
from the manual is taken over as it is, rows included. Each season has a schema of its own, with its own
version; that of the first one is `public`.

Imports point one way, from top to bottom:

- `env`: the entry of alembic.
- `grants`: who may do what.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alembic.command
import psycopg
import sqlalchemy
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from cbmctl.config import PUBLIC, VERSION_TABLE, Config, TableName, Tables
from cbmctl.database import connect, explain, one, query
from cbmctl.errors import NotSetUpError, UserError, counted
from cbmctl.invocation import command
from cbmctl.schema.grants import grant_roles

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


def version_table(schema: str) -> dict[str, Any]:
    """Return Alembic's options for the version of a season's schema."""
    return {"version_table": VERSION_TABLE, "version_table_schema": schema}


def apply(config: Config, *, check: bool = False) -> Applied:
    """Bring the season's schema to this version and let the writer and the reader in, all in one transaction.

    With `check` the same is done and rolled back, so that the answer is not a guess.

    Raises:
        UserError: no PostGIS, a table that belongs to someone else, rows that contradict the new keys, a
            schema that is newer than this program, workers of an earlier version that are connected, or a
            later season while the first one does not have this version.
    """
    with connect(config, purpose="cbmctl schema") as conn:
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: conn, poolclass=sqlalchemy.pool.StaticPool
        )
        try:
            with engine.connect() as outer, outer.begin() as transaction:
                applied = _apply(outer, conn, config.tables, check=check)
                if check:
                    transaction.rollback()
        except CommandError as error:
            raise UserError(
                "schema.newer", f"the schema was made by a newer cbmctl ({error})", "Use that version"
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise explain(error) or error from error
        except (psycopg.Error, sqlalchemy.exc.DBAPIError) as error:
            raise UserError(
                "schema.refused",
                f"the schema stays as it was, PostgreSQL refuses: {_reason(error)}",
                f"Remove the cause, then run {command('schema apply')} again",
            ) from error
    return applied


def _apply(outer: sqlalchemy.Connection, conn: psycopg.Connection, tables: Tables, *, check: bool) -> Applied:
    conn.execute("SET LOCAL client_min_messages = warning")
    conn.execute("SELECT pg_advisory_xact_lock(%s)", [APPLY_LOCK])
    _refuse_without_postgis(conn)
    schema = tables.schema
    before = _version(outer, schema)
    after = str(ScriptDirectory.from_config(_alembic(outer, schema)).get_current_head())
    if schema != PUBLIC:
        if check and _version(outer, PUBLIC):
            # without --check, an earlier run has done this; here it is rolled back
            if _version(outer, PUBLIC) != after:
                _refuse_if_workers_run(conn)
            alembic.command.upgrade(_alembic(outer, PUBLIC), "head")
        _refuse_without_first_season(outer, tables, after)
        _create_schema(conn, schema)
    if before != after and (before or schema == PUBLIC):
        _refuse_if_workers_run(conn)
    alembic.command.upgrade(_alembic(outer, schema), "head")
    return Applied(
        before=before,
        after=after,
        tables=tuple(_other_tables(conn, tables)),
        grants=tuple(grant_roles(conn, tables)),
    )


def _alembic(outer: sqlalchemy.Connection, schema: str) -> AlembicConfig:
    config = AlembicConfig(attributes={"connection": outer, "schema": schema})
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _refuse_without_postgis(conn: psycopg.Connection) -> None:
    found = conn.execute(
        "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'postgis'"
    )
    row = found.fetchone()
    if row is None:
        raise UserError(
            "database.no_postgis",
            f"database {conn.info.dbname} has no PostGIS",
            "Let its superuser run CREATE EXTENSION postgis; CREATE EXTENSION postgis_raster;",
        )
    if row != (PUBLIC,):
        raise UserError(
            "database.postgis_schema",
            f"PostGIS of database {conn.info.dbname} is in the schema {row[0]}",
            f"Create the extension in the schema {PUBLIC}",
        )


def _version(outer: sqlalchemy.Connection, schema: str) -> str | None:
    return MigrationContext.configure(outer, opts=version_table(schema)).get_current_revision()


def _refuse_without_first_season(outer: sqlalchemy.Connection, tables: Tables, needed: str) -> None:
    """Raise UserError if what all seasons share is missing or of another version: areas and orders."""
    found = _version(outer, PUBLIC)
    if found != needed:
        state = f"have version {found}" if found else "are missing"
        raise (UserError if found else NotSetUpError)(
            "schema.first_season_missing",
            f"The tables in the schema {PUBLIC} {state}, but {tables.schema} needs version {needed}, because"
            f" seasons share {tables.aois} and {tables.orders}",
            "First run cbmctl schema apply without --season, with the configuration of the season in"
            f" {PUBLIC}",
            about=PUBLIC,
        )


def _create_schema(conn: psycopg.Connection, schema: str) -> None:
    if one(conn, query("SELECT to_regnamespace(%s)"), [schema])[0]:
        return
    try:
        conn.execute(query("CREATE SCHEMA {schema}", schema=psycopg.sql.Identifier(schema)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotSetUpError(
            "schema.not_permitted",
            f"The schema {schema} does not exist, and {conn.info.user} may not create it",
            (
                "If Ansible manages the database, run playbooks/database.yml without --check. Otherwise"
                f" run as superuser: CREATE SCHEMA {schema} AUTHORIZATION {conn.info.user};"
            ),
        ) from error


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
            "schema.workers_running",
            f"Database {conn.info.dbname} cannot be upgraded while workers of an earlier version run"
            f" ({counted(workers, 'connection')})",
            (
                "Wait until the extraction ends, or stop the workers with sudo docker stack rm cbm on the"
                f" VM (of a later season: cbm-NAME). Then run {command('schema apply')} again"
            ),
        )


def _other_tables(conn: psycopg.Connection, tables: Tables) -> list[str]:
    """Tables the tenant calls otherwise (say, ms.sigs_2021) are made like the migrated ones."""
    made = []
    for own in (tables.parcels, tables.sigs, tables.hists):
        version = own.sibling(VERSION_TABLE)
        if own.schema != tables.schema and one(conn, query("SELECT to_regclass(%s)"), [str(version)])[0]:
            raise UserError(
                "schema.other_season",
                f"The table {own} belongs to another season than {tables.catalogue}",
                f"Name a table of the schema {tables.schema}",
            )
    for standard, own in (("sigs", tables.sigs), ("hists", tables.hists)):
        if one(conn, query("SELECT to_regclass(%s)"), [str(own)])[0] is None:
            conn.execute(
                query(
                    "CREATE TABLE {own} (LIKE {standard} INCLUDING ALL)",
                    own=own.sql,
                    standard=tables.catalogue.sibling(standard).sql,
                )
            )
            made.append(str(own))
    for table, needed in (
        (tables.aois, TableName(PUBLIC, "aois")),
        (tables.catalogue, tables.catalogue.sibling("dias_catalogue")),
    ):
        if table != needed:
            raise UserError(
                "schema.other_table",
                f"the table {table} cannot be used",
                f"The queue refers to {needed}, so name that",
            )
    return made


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    return (cause.diag.message_primary if isinstance(cause, psycopg.Error) else None) or str(cause)
