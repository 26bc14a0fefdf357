"""The database server: who gets in, who does not, what it runs as, and that it runs what its files say."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from testinfra.host import Host

from tests.provisioned.conftest import Tenant

CONTAINER_UID = 999
EVERYWHERE = {"all", "0.0.0.0", "::"}  # noqa: S104
A_MONTH = 30 * 24 * 3600


Superuser = Callable[[str], list[str]]


@pytest.fixture
def container(root: Host, tenant: Tenant) -> dict[str, Any]:
    [container] = json.loads(root.check_output("docker inspect %s", tenant.container))
    return dict(container)


@pytest.fixture
def superuser(root: Host, tenant: Tenant) -> Superuser:
    """The rows of a query by the superuser, columns joined by |, as lines."""

    def rows(query: str) -> list[str]:
        psql = "docker exec %s psql -U postgres -d %s -Atc %s"
        return list(root.check_output(psql, tenant.container, tenant.database, query).splitlines())

    return rows


def connect(tenant: Tenant, user: str, password: str, **more: Any) -> Connection:
    parameters: dict[str, Any] = {
        "sslmode": "verify-full",
        "sslrootcert": str(tenant.state_dir / "pki" / "ca.crt"),
        "dbname": tenant.database,
    }
    return psycopg.connect(
        host=tenant.address,
        port=tenant.port,
        user=user,
        password=password,
        connect_timeout=10,
        **parameters | more,
    )


# --- who gets in


def test_reader_gets_in_over_tls(tenant: Tenant) -> None:
    with connect(tenant, "cbm_reader", tenant.password("reader")) as connection:
        row = connection.execute(
            "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert row is not None
    assert row[0]
    assert row[1] in {"TLSv1.2", "TLSv1.3"}


def test_plain_text_is_refused(tenant: Tenant) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        connect(tenant, "cbm_reader", tenant.password("reader"), sslmode="disable")


def test_wrong_password_is_refused(tenant: Tenant) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(tenant, "cbm_reader", "not-the-password")


def test_superuser_is_refused_from_outside(tenant: Tenant) -> None:
    for database in (tenant.database, "postgres"):
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects connection"):
            connect(tenant, "postgres", "", dbname=database)


def test_reader_reaches_no_other_database(tenant: Tenant) -> None:
    with pytest.raises(psycopg.OperationalError):
        connect(tenant, "cbm_reader", tenant.password("reader"), dbname="postgres")


def test_server_is_checked_against_the_tenants_own_authority(tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("")
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        connect(tenant, "cbm_reader", tenant.password("reader"), sslrootcert=str(tmp_path / "empty.crt"))


def test_network_lines_of_the_access_rules_ask_for_tls_and_scram(superuser: Superuser) -> None:
    rules = superuser(
        "SELECT type, array_to_string(user_name, ','), address, auth_method, error FROM pg_hba_file_rules",
    )
    for rule in rules:
        kind, user, address, method, error = rule.split("|")
        assert error == "", rule
        if kind == "local":
            assert method == "peer", rule
        elif method != "reject":
            assert (kind, method) == ("hostssl", "scram-sha-256"), rule
            assert user in {"cbm_owner", "cbm_writer", "cbm_reader", "healthcheck"}, rule
            assert user == "cbm_reader" or address not in EVERYWHERE, rule


# --- what they may do


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO aois (name) VALUES ('x')",
        "DELETE FROM sigs",
        "TRUNCATE hists",
        "CREATE TABLE mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "DROP TABLE sigs",
        "SET ROLE cbm_owner",
        "SELECT lo_create(0)",
        "DROP OWNED BY CURRENT_USER",
    ],
)
def test_reader_cannot_write_even_when_it_asks_to(tenant: Tenant, statement: str) -> None:
    with connect(tenant, "cbm_reader", tenant.password("reader")) as connection:
        with pytest.raises((psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)):
            connection.execute(statement)
        connection.rollback()
        connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        connection.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_reader_has_limits(reader: Connection) -> None:
    row = reader.execute(
        "SELECT current_setting('statement_timeout'), current_setting('default_transaction_read_only'),"
        " rolconnlimit, current_setting('temp_file_limit') FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert row is not None
    assert row[3] != "-1"
    assert row[0] != "0"
    assert row[1] == "on"
    assert row[2] > 0


def test_no_role_but_the_superuser_is_mighty(superuser: Superuser) -> None:
    mighty = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    assert superuser(f"SELECT rolname FROM pg_roles WHERE {mighty}") == ["postgres"]


def test_owner_may_add_coordinate_systems_and_change_none(superuser: Superuser) -> None:
    may = ", ".join(
        f"has_table_privilege('cbm_owner', 'spatial_ref_sys', '{p}')" for p in ("INSERT", "UPDATE")
    )
    assert superuser(f"SELECT {may}") == ["t|f"]


def test_superuser_has_no_password_and_the_others_scram(superuser: Superuser) -> None:
    assert superuser("SELECT rolname, left(rolpassword, 13) FROM pg_authid WHERE rolcanlogin ORDER BY 1") == [
        "cbm_owner|SCRAM-SHA-256",
        "cbm_reader|SCRAM-SHA-256",
        "cbm_writer|SCRAM-SHA-256",
        "postgres|",
    ]


def test_extensions_are_those_that_are_used(superuser: Superuser, tenant: Tenant) -> None:
    assert superuser("SELECT extname FROM pg_extension ORDER BY 1") == sorted(["plpgsql", *tenant.extensions])


# --- what it runs as


def test_container_is_healthy(root: Host, tenant: Tenant) -> None:
    asked = "docker inspect --format {{.State.Health.Status}} %s"
    end = time.monotonic() + 60  # a server that has just been started again is not asked at once
    while (status := root.check_output(asked, tenant.container)) == "starting":
        assert time.monotonic() < end, "the server does not become healthy"
        time.sleep(1)
    assert status == "healthy"


def test_container_may_do_little(container: dict[str, Any]) -> None:
    host = container["HostConfig"]
    assert container["Config"]["User"] == f"{CONTAINER_UID}:{CONTAINER_UID}"
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert host["ReadonlyRootfs"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["RestartPolicy"]["Name"] == "always"
    assert container["Config"]["StopTimeout"] >= 120
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0


def test_supervisor_runs_and_its_guard_looks(root: Host, superuser: Superuser) -> None:
    service = root.service("cbm-database")
    assert service.is_running
    assert service.is_enabled
    looking = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT cbm_guard.watch()%'"
    end = time.monotonic() + 60  # it starts a few seconds after the database
    while superuser(looking) != ["1"]:
        assert time.monotonic() < end, "the guard does not run"
        time.sleep(1)
    assert superuser("SELECT setting FROM pg_settings WHERE name = 'max_notify_queue_pages'") == ["64"]


def test_port_is_the_tenants(container: dict[str, Any], tenant: Tenant) -> None:
    [published] = container["HostConfig"]["PortBindings"]["5432/tcp"]
    assert published["HostPort"] == str(tenant.port)


def test_data_is_in_the_named_volume_on_the_data_disk(
    root: Host, container: dict[str, Any], superuser: Superuser, tenant: Tenant
) -> None:
    volumes = {mount["Destination"]: mount for mount in container["Mounts"] if mount["Type"] == "volume"}
    assert {place: mount["Name"] for place, mount in volumes.items()} == {
        "/var/lib/postgresql/data": tenant.database_volume
    }
    assert volumes["/var/lib/postgresql/data"]["Source"].startswith(f"{tenant.data_mount}/")
    assert root.mount_point(tenant.data_mount).exists
    assert superuser("SHOW data_directory")[0].startswith("/var/lib/postgresql/data/")
    assert superuser("SHOW data_checksums") == ["on"]


def test_only_root_passes_to_key_and_socket(root: Host, tenant: Tenant) -> None:
    directory = root.file(str(tenant.database_directory))
    assert (directory.user, directory.mode) == ("root", 0o700)
    key = root.file(str(tenant.database_directory / "tls" / "server.key"))
    assert (key.user, key.gid, key.mode) == ("root", CONTAINER_UID, 0o640)


# --- that it runs what its files say


def test_no_setting_waits_and_no_line_is_wrong(superuser: Superuser) -> None:
    assert superuser("SELECT name FROM pg_settings WHERE pending_restart") == []
    assert superuser("SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL OR NOT applied") == []
    assert superuser("SELECT map_name, error FROM pg_ident_file_mappings WHERE error IS NOT NULL") == []


def test_certificate_is_valid_for_a_month_yet(root: Host, tenant: Tenant) -> None:
    certificate = str(tenant.database_directory / "tls" / "server.crt")
    root.run_expect([0], "openssl x509 -noout -checkend %s -in %s", str(A_MONTH), certificate)


def test_passwords_are_in_no_process_list_and_no_log(
    root: Host, tenant: Tenant, container: dict[str, Any]
) -> None:
    # collected there, searched here: a search over there would itself show the password
    said = [
        json.dumps(container),
        root.check_output("ps -eo args"),
        root.check_output("cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true"),
        root.check_output("docker logs --tail 20000 %s 2>&1", tenant.container),
        root.check_output("journalctl --no-pager --lines 20000 2>/dev/null; true"),
    ]
    secret = re.compile("|".join(re.escape(tenant.password(role)) for role in ("owner", "writer", "reader")))
    assert [text[:60] for text in said if secret.search(text)] == []
