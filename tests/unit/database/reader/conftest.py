"""A server as the roles set it up, and connections with the reader's password."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import image_to_test
from tests.support.reader_server import Server, reader_server


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with reader_server(image_to_test()) as running:
        with running.connect("owner") as owner:
            owner.execute(
                "CREATE TABLE seen AS SELECT 1 AS a; GRANT SELECT ON seen TO cbm_reader, cbm_writer"
            )
        yield running


FREE_HAND = """SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0"""


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


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Neither the server nor a worker's connection suffers from what the test does."""
    with server.connect("writer") as worker:
        before = server.started()
        yield
        assert worker.execute("SELECT a FROM seen").fetchone() == (1,)
        assert server.started() == before
