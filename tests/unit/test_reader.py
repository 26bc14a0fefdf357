"""A client with the reader's password that tries what it must not: against a server as the roles make it."""

import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from cbmctl.config import load_config
from cbmctl.schema import apply

from ..conftest import TEST_PASSWORD, config_of, docker, image_to_test
from .reader_server import DATABASE_SQL, READER_CONNECTIONS, READER_MEMORY_MB, TEMP_MB, Server, reader_server

Eventually = Callable[[Callable[[], bool]], None]
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
FREE_HAND = """SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0"""
SORT = "SELECT count(*) FROM (SELECT md5(i::text) FROM generate_series(1, {rows}) i ORDER BY 1) s"
HASH = "SELECT count(*) FROM (SELECT i FROM generate_series(1, {rows}) i GROUP BY i) s"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with reader_server(image_to_test()) as running:
        with running.connect("owner") as owner:
            owner.execute(
                "CREATE TABLE seen AS SELECT 1 AS a; GRANT SELECT ON seen TO cbm_reader, cbm_writer"
            )
        yield running


@pytest.fixture
def reader(server: Server) -> Iterator[psycopg.Connection]:
    """A reader who lifts every limit that it may."""
    server.limit(statement_limit="1h", idle_limit="1h", blocking_limit="1h")
    # connections of the test before may take a moment to go
    server.superuser(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'cbm_reader'"
    )
    with server.connect("reader") as connection:
        connection.execute(FREE_HAND)
        yield connection
        connection.close()


def leave(server: Server) -> None:
    """End the reader's connections; one that its client has closed may take a moment to go."""
    server.superuser(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = 'cbm_reader'"
    )


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Neither the server nor a worker's connection suffers from what the test does."""
    with server.connect("writer") as worker:
        before = server.started()
        yield
        assert worker.execute("SELECT a FROM seen").fetchone() == (1,)
        assert server.started() == before


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    "statement",
    [
        SORT.format(rows=3_000_000),
        HASH.format(rows=3_000_000),
        "SELECT length(repeat('x', 200000000))",
        "SELECT count(x) FROM (SELECT array_agg(repeat('x', 1000000)) x FROM generate_series(1, 300)) s",
    ],
    ids=["sort", "hash", "value", "aggregate"],
)
def test_a_connection_that_asks_for_too_much_memory_gets_an_error(
    reader: psycopg.Connection, statement: str
) -> None:
    reader.execute(
        "SET work_mem = '64GB'; SET hash_mem_multiplier = 1000; SET max_parallel_workers_per_gather = 0"
    )
    with pytest.raises(errors.OutOfMemory):
        reader.execute(statement)
    assert reader.execute("SELECT 1").fetchone() == (1,), "the connection itself goes on, too"


@pytest.mark.usefixtures("unharmed")
def test_all_the_readers_connections_together_leave_the_server_its_memory(
    server: Server, reader: psycopg.Connection
) -> None:
    greedy = "SELECT length(string_agg(repeat('x', 1000000), '')) FROM generate_series(1, 200)"
    connections = [reader, *(server.connect("reader") for _ in range(READER_CONNECTIONS - 1))]

    def ask(connection: psycopg.Connection) -> None:
        with connection, pytest.raises(errors.OutOfMemory):
            connection.execute(greedy)

    with ThreadPoolExecutor(READER_CONNECTIONS) as pool:
        list(pool.map(ask, connections))


@pytest.mark.usefixtures("unharmed")
def test_a_parallel_query_that_asks_for_too_much_shared_memory_gets_an_error(
    server: Server, reader: psycopg.Connection
) -> None:
    with server.connect("owner") as owner:
        owner.execute(
            """CREATE TABLE many AS
               SELECT i AS a, repeat(md5(i::text), 30) AS text FROM generate_series(1, 90000) i"""
        )
        owner.execute("ANALYZE many; GRANT SELECT ON many TO cbm_reader")
    reader.execute(
        """SET work_mem = '2GB'; SET hash_mem_multiplier = 100; SET parallel_setup_cost = 0;
           SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET enable_mergejoin = off"""
    )
    join = "SELECT count(one.text || other.text) FROM many one JOIN many other USING (a)"
    plan = "\n".join(line for (line,) in reader.execute(f"EXPLAIN {join}"))
    assert "Parallel Hash" in plan, plan
    with pytest.raises((errors.DiskFull, errors.OutOfMemory)):
        reader.execute(join)


def test_processes_of_others_get_more_memory_than_the_readers(
    server: Server, reader: psycopg.Connection, eventually: Eventually
) -> None:
    def limit(connection: psycopg.Connection) -> int:
        limits = server.superuser(f"SELECT pg_read_file('/proc/{connection.info.backend_pid}/limits')")
        [line] = [line for line in limits.splitlines() if line.startswith("Max data size")]
        return int(line.split()[3]) >> 20

    with server.connect("writer") as worker:
        eventually(lambda: limit(worker) > READER_MEMORY_MB)
        assert limit(reader) == READER_MEMORY_MB


@pytest.mark.usefixtures("unharmed")
def test_temporary_files_are_limited(reader: psycopg.Connection) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute("SET temp_file_limit = -1")
    reader.execute("SET work_mem = '64kB'; SET max_parallel_workers_per_gather = 0")
    with pytest.raises(errors.ConfigurationLimitExceeded, match=f"temp_file_limit \\({TEMP_MB * 1024}kB"):
        reader.execute(SORT.format(rows=1_000_000))


@pytest.mark.usefixtures("unharmed")
def test_a_cursor_that_outlives_its_transaction_keeps_no_more_than_the_limit(
    server: Server, reader: psycopg.Connection, eventually: Eventually
) -> None:
    reader.execute("SET work_mem = '64kB'")
    rows_of = "SELECT repeat('x', 1000) FROM generate_series(1, {rows})"
    hold = f"BEGIN; DECLARE {{name}} CURSOR WITH HOLD FOR {rows_of}; COMMIT"
    reader.execute(hold.format(name="small", rows=4000))
    with pytest.raises(errors.ConfigurationLimitExceeded):
        reader.execute(hold.format(name="large", rows=40_000))
    assert int(server.superuser("SELECT sum(size) FROM pg_ls_tmpdir()")) > 0
    server.limit(idle_limit="1s")
    eventually(lambda: server.superuser("SELECT count(*) FROM pg_ls_tmpdir()") == "0")


@pytest.mark.usefixtures("unharmed")
def test_the_queue_of_notify_stays_small(server: Server, reader: psycopg.Connection) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute("SELECT pg_notify('c', 'x')")
    reader.execute("LISTEN c")
    reader.execute("BEGIN")  # whoever listens in a transaction keeps the queue from being emptied
    reader.execute("SELECT 1")

    def fill(other: psycopg.Connection) -> None:
        for number in range(200):
            other.execute(f"NOTIFY c, '{number:07900d}'")

    with server.connect("reader") as other, pytest.raises(errors.Error, match="NOTIFY queue"):
        fill(other)
    reader.execute("ROLLBACK")


@pytest.mark.parametrize(
    "held",
    [
        ["SELECT pg_sleep(100)"],
        ["BEGIN", "SELECT a FROM seen"],
        ["DO $$ BEGIN LOOP COMMIT; PERFORM pg_sleep(0.1); END LOOP; END $$"],
        [
            """DO $$ BEGIN LOOP
                 BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END;
               END LOOP; END $$"""
        ],
    ],
    ids=["statement", "idle transaction", "many transactions in a statement", "caught cancellations"],
)
def test_what_is_older_than_the_limit_ends_whatever_the_reader_sets(
    server: Server, reader: psycopg.Connection, eventually: Eventually, held: list[str]
) -> None:
    server.limit(statement_limit="1s")
    pid = reader.info.backend_pid
    # an idle client learns of its end at its next statement
    with suppress(psycopg.OperationalError):
        for statement in held:
            reader.execute(statement)
    eventually(lambda: server.superuser(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}") == "")
    with pytest.raises(psycopg.OperationalError):
        reader.execute("SELECT 1")


@pytest.mark.usefixtures("unharmed")
def test_a_lock_of_the_readers_does_not_hold_up_others(server: Server, reader: psycopg.Connection) -> None:
    reader.execute("BEGIN")
    reader.execute("SELECT a FROM seen")
    server.limit(blocking_limit="1s")
    with server.connect("owner") as owner:
        owner.execute("SET lock_timeout = '60s'; ALTER TABLE seen ADD COLUMN IF NOT EXISTS b int")
    with pytest.raises(psycopg.OperationalError):
        reader.execute("SELECT 1")


def test_large_objects_are_out_of_the_readers_reach(reader: psycopg.Connection) -> None:
    for call in (
        "lo_create(0)",
        "lo_creat(-1)",
        "lo_from_bytea(0, 'x')",
        "lo_put(1, 0, 'x')",
        "lo_open(1, 131072)",
    ):
        with pytest.raises(errors.InsufficientPrivilege, match="permission denied for function"):
            reader.execute(f"SELECT {call}")


def test_advisory_locks_are_out_of_the_readers_reach_alone(
    server: Server, reader: psycopg.Connection
) -> None:
    for call in ("lock(1)", "lock(1, 2)", "lock_shared(1)", "xact_lock(1)", "xact_lock_shared(1, 2)"):
        for function in (f"pg_advisory_{call}", f"pg_try_advisory_{call}"):
            with pytest.raises(errors.InsufficientPrivilege, match="permission denied for function"):
                reader.execute(f"SELECT {function}")
    for role in ("owner", "writer"):
        with server.connect(role) as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(1, 2), pg_advisory_unlock(1, 2)").fetchone()
            assert row == (True, True)


@pytest.mark.parametrize(
    "call", ["pg_current_xact_id()", "txid_current()", "pg_logical_emit_message(false, 'p', 'x')"]
)
def test_the_reader_uses_up_no_transaction_ids_and_writes_no_log(
    reader: psycopg.Connection, call: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute(f"SELECT {call}")


def test_no_function_that_writes_locks_or_reads_files_is_the_readers_to_call(server: Server) -> None:
    writing = "lo_|.*advisory|pg_notify$|.*xact_id$|txid_current$|pg_logical_emit"
    pattern = f"^({writing}|pg_reload|pg_rotate|pg_read|pg_ls_)"
    found = server.superuser(
        f"""SELECT DISTINCT proname FROM pg_proc
            WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '{pattern}'
              AND has_function_privilege('cbm_reader', oid, 'EXECUTE')"""
    )
    assert found == ""


@pytest.mark.parametrize(
    "statement",
    [
        "DROP OWNED BY CURRENT_USER",
        "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM cbm_reader",
        "CREATE TEMP TABLE t (a int)",
        "CREATE SCHEMA s",
    ],
)
def test_the_reader_changes_no_privileges_and_no_definitions(
    reader: psycopg.Connection, statement: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute(statement)
    assert reader.execute("SELECT a FROM seen").fetchone() == (1,)


def test_a_changed_password_and_changed_settings_are_put_back(
    server: Server, reader: psycopg.Connection, eventually: Eventually
) -> None:
    reader.execute("ALTER ROLE CURRENT_USER PASSWORD 'mine'")
    reader.execute("ALTER ROLE CURRENT_USER SET statement_timeout = 0")
    reader.execute("ALTER ROLE CURRENT_USER IN DATABASE cbm SET work_mem = '1TB'")

    def as_before() -> bool:
        try:
            with server.connect("reader") as other:
                row = other.execute(
                    "SELECT current_setting('statement_timeout'), current_setting('work_mem')"
                ).fetchone()
        except psycopg.OperationalError:
            return False
        return row == ("15min", f"{READER_MEMORY_MB // 8}MB")

    eventually(as_before)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect("reader", password="mine")  # noqa: S106 - the test's


@pytest.mark.usefixtures("reader")
def test_workers_and_owner_get_in_when_all_the_readers_connections_are_taken(server: Server) -> None:
    others = [server.connect("reader") for _ in range(READER_CONNECTIONS - 1)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            server.connect("reader")
        for role in ("owner", "writer"):
            server.connect(role).close()
    finally:
        for other in others:
            other.close()


@pytest.mark.parametrize(
    ("version", "ciphers", "accepted"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA384", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA:AES256-SHA", False),
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384", False),
        (ssl.TLSVersion.TLSv1_3, "DEFAULT", True),
    ],
    ids=["GCM", "ChaCha20", "CBC", "CBC with SHA-1", "no forward secrecy", "TLS 1.3"],
)
def test_tls_has_only_suites_that_encrypt_and_authenticate_in_one(
    server: Server, version: ssl.TLSVersion, ciphers: str, *, accepted: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
        plain.sendall(SSL_REQUEST)
        assert plain.recv(1) == b"S"
        if accepted:
            with context.wrap_socket(plain) as encrypted:
                assert encrypted.cipher() is not None
        else:
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                context.wrap_socket(plain)


def test_a_new_guard_takes_the_place_of_an_earlier_one(server: Server, eventually: Eventually) -> None:
    """A guard goes on when only its `docker exec` is killed, as by a restart of its service."""
    guards = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT cbm_guard.watch()%'"
    eventually(lambda: server.superuser(guards, "postgres") != "")
    earlier = server.superuser(guards, "postgres")
    docker("exec", "--detach", server.container, "/bin/sh", "/usr/local/lib/postgis-guard")
    eventually(lambda: server.superuser(guards, "postgres") not in ("", earlier))
    assert server.superuser(guards, "postgres").isdecimal(), "there is one"


def test_a_second_run_of_the_sql_changes_nothing(server: Server) -> None:
    changes = "SELECT 'changes: ' || current_setting('cbm.changes')"
    for file, database, nothing in (("reader.sql", "cbm", ""), ("guard.sql", "postgres", "false")):
        said = server.superuser(f"{(DATABASE_SQL / file).read_text()};{changes}", database)
        assert said.endswith(f"changes: {nothing}".strip()), said


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("15min", "00:15:00"),
        ("1500", "00:00:01.5"),
        ("90 s", "00:01:30"),
        ("1d", "1 day"),
        ("0", "infinity"),
        ("0min", "infinity"),
    ],
)
def test_a_limit_means_to_the_guard_what_it_means_to_postgresql(
    server: Server, said: str, meant: str
) -> None:
    assert server.superuser(f"SELECT cbm_guard.duration('{said}')", "postgres") == meant


def test_the_owner_makes_the_tables_as_ever_and_the_reader_reads_them(
    server: Server, reader: psycopg.Connection, tmp_path: Path
) -> None:
    login = {"host": "127.0.0.1", "port": server.port, "dbname": "cbm", "user": "cbm_owner"}
    path = tmp_path / "db_config.json"
    path.write_text(json.dumps(config_of(login | {"password": TEST_PASSWORD}, tmp_path / "eodata")))
    config = load_config(path)
    assert apply(config).changed
    assert not apply(config).changed
    assert reader.execute("SELECT count(*) FROM sigs").fetchone() == (0,)
