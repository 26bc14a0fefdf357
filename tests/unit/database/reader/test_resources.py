"""A reader's statement takes neither the server's memory nor its disk."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from tests.conftest import Eventually
from tests.support.reader_server import READER_CONNECTIONS, READER_MEMORY_MB, TEMP_MB, Server

SORT = "SELECT count(*) FROM (SELECT md5(i::text) FROM generate_series(1, {rows}) i ORDER BY 1) s"

HASH = "SELECT count(*) FROM (SELECT i FROM generate_series(1, {rows}) i GROUP BY i) s"


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
