"""The guard ends what a reader holds too long, and restores what a reader changes."""

from contextlib import suppress

import psycopg
import pytest

from tests.conftest import Eventually, docker
from tests.support.reader_server import DATABASE_SQL, READER_MEMORY_MB, Server


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


def test_a_new_guard_takes_the_place_of_an_earlier_one(server: Server, eventually: Eventually) -> None:
    """A guard goes on when only its `docker exec` is killed, as by a restart of its service."""
    guards = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT cbm_guard.watch()%'"
    eventually(lambda: server.superuser(guards, "postgres") != "")
    earlier = server.superuser(guards, "postgres")
    docker("exec", "--detach", server.container, "/bin/sh", "/usr/local/lib/postgis-guard")
    eventually(lambda: server.superuser(guards, "postgres") not in ("", earlier))
    assert server.superuser(guards, "postgres").isdecimal(), "there is one"


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


def test_a_second_run_of_the_sql_changes_nothing(server: Server) -> None:
    changes = "SELECT 'changes: ' || current_setting('cbm.changes')"
    for file, database, nothing in (("reader.sql", "cbm", ""), ("guard.sql", "postgres", "false")):
        said = server.superuser(f"{(DATABASE_SQL / file).read_text()};{changes}", database)
        assert said.endswith(f"changes: {nothing}".strip()), said
