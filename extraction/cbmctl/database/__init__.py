"""The way into the database: one connection, made so that a broken line is noticed on both sides.

- `server_certificate`: why a server's certificate is refused.
"""

import re
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import Config, Connection
from cbmctl.database.server_certificate import fault
from cbmctl.errors import NotSetUpError, UserError
from cbmctl.invocation import command
from cbmctl.reasons import NOT_WRITTEN, UNREACHABLE

# The manual's status words for a database that cannot be read from or written to.
NO_IN_DB, NO_OUT_DB = UNREACHABLE.status, NOT_WRITTEN.status

CONNECT_TIMEOUT_S = 10
# A peer that vanished (power cut, cut cable) is given up after 30 + 3 × 10 s. The server is asked to do so
# too: its backend holds the locks of a task, and they must go when the task's worker is gone.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 30, 10, 3
# Compiling our short queries costs ten times what it saves. A notice, such as that a table to drop does not
# exist, would be printed between our sentences.
SERVER_OPTIONS = (
    "-c jit=off -c client_min_messages=warning"
    f" -c tcp_keepalives_idle={KEEPALIVE_IDLE_S} -c tcp_keepalives_interval={KEEPALIVE_INTERVAL_S}"
    f" -c tcp_keepalives_count={KEEPALIVE_COUNT}"
)


class DatabaseError(UserError):
    """The database cannot be used; the message begins with the manual's status word."""


def connect(config: Config, *, purpose: str = "cbmctl", autocommit: bool = False) -> psycopg.Connection:
    """Connect as the configuration says.

    Args:
        config: the configuration.
        purpose: shown to the database's administrator as application_name.
        autocommit: every statement its own transaction.

    Raises:
        DatabaseError: unreachable, wrong password, TLS refused, or no such database; the sentence says which.
    """
    where = config.connection
    try:
        return psycopg.connect(
            host=where.host,
            port=where.port,
            dbname=where.dbname,
            user=where.user,
            password=where.password,
            sslmode=where.sslmode,
            sslrootcert=str(where.sslrootcert) if where.sslrootcert else None,
            application_name=purpose,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=SERVER_OPTIONS,
            autocommit=autocommit,
            keepalives_idle=KEEPALIVE_IDLE_S,
            keepalives_interval=KEEPALIVE_INTERVAL_S,
            keepalives_count=KEEPALIVE_COUNT,
        )
    except psycopg.OperationalError as error:
        code, message, hint = _explain(where, str(error))
        raise DatabaseError(code, f"{NO_IN_DB}: {message}", hint, about="database.connection") from error


def query(text: LiteralString, **names: sql.Composable) -> sql.Composed:
    """A statement with its identifiers filled in: `query("SELECT … FROM {sigs}", sigs=tables.sigs.sql)`."""
    return sql.SQL(text).format(**names)


def one(
    conn: psycopg.Connection, statement: sql.Composed, params: Sequence[Any] | dict[str, Any] = ()
) -> tuple[Any, ...]:
    """The only row of a statement that always has one."""
    row = conn.execute(statement, params).fetchone()
    if row is None:
        raise LookupError("the statement returned no row")
    return row


def explain(error: psycopg.Error) -> UserError | None:
    """What a person can do about an error of PostgreSQL's; None when it is a defect of ours."""
    message = " ".join((error.diag.message_primary or str(error)).split())
    missing = (
        psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName | psycopg.errors.UndefinedColumn
    )
    if isinstance(error, missing):
        there = isinstance(error, psycopg.errors.UndefinedColumn)
        return (UserError if there else NotSetUpError)(
            "schema.missing",
            f"a table or column is missing ({message})",
            f"Run {command('schema apply')}, then load the parcels",
        )
    refusal = psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction
    if isinstance(error, refusal):
        return UserError(
            "database.not_permitted",
            f"this role may not do that ({message})",
            "Use the configuration of the owner",
        )
    if isinstance(error, psycopg.OperationalError):
        lost = f"{NO_OUT_DB}: the connection was lost ({message})"
        return DatabaseError("database.connection_lost", lost, "Run the command again")
    return None


def _explain(where: Connection, message: str) -> tuple[str, str, str]:
    """Code, message and hint for what libpq says of a connection that it could not make."""
    server = f"{where.host}:{where.port}"
    refused = "certificate verify failed" in message and where.sslrootcert
    if refused and (found := fault(where.host, where.port, refused)):
        return found
    for pattern, code, what, hint in (
        (
            r"password authentication failed|no password supplied",
            "password_refused",
            f"{server} refuses the password of {where.user}",
            "Check dbpasswd",
        ),
        (
            r"no pg_hba\.conf entry.*(no encryption|SSL off)",
            "tls_required",
            f"{server} refuses a connection without TLS",
            "Set sslmode to verify-full",
        ),
        (
            r"no pg_hba\.conf entry",
            "address_refused",
            f"{server} does not let {where.user} in from here",
            "Check its pg_hba.conf",
        ),
        (
            r"certificate verify failed|root certificate",
            "certificate_untrusted",
            f"{server} does not show a certificate of the CA in {where.sslrootcert}",
            "Check sslrootcert",
        ),
        (
            r"server certificate for .* does not match",
            "other_host_name",
            f"the certificate of {server} is made for another name",
            "Use the host name it was made for",
        ),
        (
            r"does not support SSL",
            "no_tls",
            f"{server} does not offer TLS",
            "Start it with ssl = on, or set sslmode to disable for a test",
        ),
        (
            r'database ".*" does not exist',
            "unknown_database",
            f"{server} has no database {where.dbname}",
            "Check dbname",
        ),
        (
            r'role ".*" (does not exist|is not permitted)',
            "unknown_role",
            f"{server} does not know the role {where.user}",
            "Check dbuser",
        ),
        (
            r"could not translate host name|Name or service not known",
            "unknown_host",
            f"the host name {where.host} is unknown",
            "Check host",
        ),
        (
            r"too many (clients|connections)|remaining connection slots",
            "no_free_connection",
            f"{server} has no free connection",
            "Wait for other commands to end, or raise max_connections",
        ),
        (
            r"starting up|shutting down|recovery mode",
            "starting",
            f"{server} is starting or stopping",
            "Wait and run again",
        ),
    ):
        if re.search(pattern, message, re.IGNORECASE | re.DOTALL):
            return f"database.{code}", what, hint
    # libpq tells of every address it tried, and then gives advice; the last address's reason is enough
    answer = message.rpartition("failed: ")[2].strip().partition("\n")[0]
    what = f"{server} does not answer ({answer})"
    return "database.unreachable", what, "Check host and port, and that the server runs"
