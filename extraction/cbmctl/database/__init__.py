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
        raise DatabaseError(f"{NO_IN_DB}: {_explain(where, str(error))}") from error


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
            f"a table or column is missing ({message}): run cbmctl schema apply, then load the parcels"
        )
    refusal = psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction
    if isinstance(error, refusal):
        return UserError(f"this role may not do that ({message}): use the configuration of the owner")
    if isinstance(error, psycopg.OperationalError):
        return DatabaseError(f"{NO_OUT_DB}: the connection was lost ({message}): run the command again")
    return None


def _explain(where: Connection, message: str) -> str:
    """Libpq's complaint as one sentence with the remedy."""
    server = f"{where.host}:{where.port}"
    refused = "certificate verify failed" in message and where.sslrootcert
    if refused and (sentence := fault(where.host, where.port, refused)):
        return sentence
    for pattern, sentence in (
        (
            r"password authentication failed|no password supplied",
            f"{server} refuses the password of {where.user}: check dbpasswd",
        ),
        (
            r"no pg_hba\.conf entry.*(no encryption|SSL off)",
            f"{server} refuses a connection without TLS: set sslmode to verify-full",
        ),
        (r"no pg_hba\.conf entry", f"{server} does not let {where.user} in from here: check its pg_hba.conf"),
        (
            r"certificate verify failed|root certificate",
            f"{server} does not show a certificate of the CA in {where.sslrootcert}: check sslrootcert",
        ),
        (
            r"server certificate for .* does not match",
            f"the certificate of {server} is made for another name: use the host name it was made for",
        ),
        (
            r"does not support SSL",
            f"{server} does not offer TLS: start it with ssl = on, or set sslmode to disable for a test",
        ),
        (r'database ".*" does not exist', f"{server} has no database {where.dbname}: check dbname"),
        (
            r'role ".*" (does not exist|is not permitted)',
            f"{server} does not know the role {where.user}: check dbuser",
        ),
        (
            r"could not translate host name|Name or service not known",
            f"the host name {where.host} is unknown: check host",
        ),
        (
            r"too many (clients|connections)|remaining connection slots",
            f"{server} has no free connection: wait for other commands to end, or raise max_connections",
        ),
        (r"starting up|shutting down|recovery mode", f"{server} is starting or stopping: wait and run again"),
    ):
        if re.search(pattern, message, re.IGNORECASE | re.DOTALL):
            return sentence
    # libpq tells of every address it tried, and then gives advice; the last address's reason is enough
    answer = message.rpartition("failed: ")[2].strip().partition("\n")[0]
    return f"{server} does not answer ({answer}): check host and port, and that the server runs"
