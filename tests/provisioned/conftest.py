"""What `playbooks/verify.yml` says about the tenant it checks, and two ways in: as root and as an analyst."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from testinfra.host import Host

DATABASE = "cbm"


@dataclass(frozen=True)
class Tenant:
    """A tenant as the inventory describes it."""

    address: str
    port: int
    parcels_table: str
    aoi: str
    eodata: Path
    state_dir: Path

    def password(self, role: str) -> str:
        return (self.state_dir / "secrets" / f"{role}.password").read_text().strip()


@pytest.fixture(scope="session")
def tenant() -> Tenant:
    given = json.loads(os.environ["CBM_TENANT"])
    paths = {name: Path(given.pop(name)) for name in ("eodata", "state_dir")}
    return Tenant(**given | {"port": int(given["port"])}, **paths)


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
        dbname=DATABASE,
        user="cbm_reader",
        password=tenant.password("reader"),
        sslmode="verify-full",
        sslrootcert=str(tenant.state_dir / "connection" / "ca.crt"),
    ) as connection:
        yield connection
