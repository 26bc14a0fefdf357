"""The reader reads tables, and may call nothing that writes, locks or changes definitions."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from cbmctl.config import load_config
from cbmctl.database import connect
from cbmctl.parcels.load import Options, load
from cbmctl.schema import apply
from tests.conftest import TEST_PASSWORD, config_of
from tests.support.parcel_loading import fields, write
from tests.support.reader_server import Server


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


def configuration(server: Server, user: str, folder: Path) -> Path:
    login = {"host": "127.0.0.1", "port": server.port, "dbname": "cbm", "user": user}
    path = folder / f"{user}.json"
    path.write_text(json.dumps(config_of(login | {"password": TEST_PASSWORD}, folder / "eodata")))
    return path


def test_the_owner_makes_the_tables_as_ever_and_the_reader_reads_them(
    server: Server, reader: psycopg.Connection, tmp_path: Path
) -> None:
    config = load_config(configuration(server, "cbm_owner", tmp_path))
    assert apply(config).changed
    assert not apply(config).changed
    assert reader.execute("SELECT count(*) FROM sigs").fetchone() == (0,)


@pytest.mark.parametrize(
    "command",
    [
        "parcels check {file}",
        "parcels load {file} --check",
        "worker",
        "repair --check",
        "schema apply --check",
    ],
)
def test_a_command_that_needs_another_role_says_so_to_the_reader(
    server: Server, tmp_path: Path, command: str
) -> None:
    owner = load_config(configuration(server, "cbm_owner", tmp_path))
    apply(owner)
    file = write(tmp_path / "parcels.gpkg", fields(3), id=[1, 2, 3])
    with connect(owner, autocommit=True) as conn:
        load(conn, owner.tables, file, Options())
    config = str(configuration(server, "cbm_reader", tmp_path))
    words = command.format(file=file).split()
    run = subprocess.run(
        [sys.executable, "-m", "cbmctl", "--config", config, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, len(run.stderr.splitlines())) == (1, 1), run.stderr
    assert run.stderr.startswith("cbmctl: this role may not do that (")
    assert run.stderr.endswith("Use the configuration of the owner.\n")
