"""What `playbooks/verify.yml` says about the tenant it checks, and two ways in: as root and as an analyst."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from testinfra.host import Host


@dataclass(frozen=True)
class Tenant:
    """A tenant as the inventory, and the roles' defaults where it says nothing, describe it."""

    address: str
    port: int
    season: str
    schema: str
    parcels_table: str
    aoi: str
    start: str
    end: str
    expected_parcels: int
    state_dir: Path
    sshd_options: dict[str, str]
    held_packages: list[str]
    data_disk: str
    data_mount: str
    docker_root: str
    containerd_root: str
    docker_users: list[str]
    container: str
    database_directory: Path
    database_volume: str
    database: str
    extensions: list[str]

    def password(self, role: str) -> str:
        return (self.state_dir / "secrets" / f"{role}.password").read_text().strip()


@pytest.fixture(scope="session")
def tenant() -> Tenant:
    given = json.loads(os.environ["CBM_TENANT"])
    paths = {name: Path(given[name]) for name in ("state_dir", "database_directory")}
    numbers = {name: int(given[name]) for name in ("port", "expected_parcels")}
    return Tenant(**given | paths | numbers)


@pytest.fixture
def root(host: Host) -> Iterator[Host]:
    """The tenant's machine as root."""
    with host.sudo():
        yield host


@pytest.fixture
def reader(tenant: Tenant) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The database as an analyst gets it: from here, as reader, with the server's identity checked."""
    with psycopg.connect(
        host=tenant.address,
        port=tenant.port,
        dbname=tenant.database,
        user="cbm_reader",
        password=tenant.password("reader"),
        sslmode="verify-full",
        sslrootcert=str(tenant.state_dir / "connection" / "ca.crt"),
        options=f"-c search_path={tenant.schema},public",
    ) as connection:
        yield connection
