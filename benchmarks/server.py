"""A throwaway PostGIS server with the settings that tenants get, and the processor time it has used."""

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import psycopg
import yaml  # type: ignore[import-untyped]
from psycopg import conninfo, sql

from benchmarks import BenchmarkError
from cbmctl.errors import UserError

REPOSITORY = Path(__file__).parents[1]
ROLE = REPOSITORY / "roles" / "postgis"
MEMORY_MB = 16384  # of the tenant whose settings these are
PASSWORD = "only-for-benchmarks"  # noqa: S105 - the container lives as long as the run
# Both kinds of control groups, as a container sees its own: nanoseconds, or `usage_usec N` on the first line
CPU_FILES = (("/sys/fs/cgroup/cpu.stat", 1e-6), ("/sys/fs/cgroup/cpuacct/cpuacct.usage", 1e-9))


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        name: the container.
        dsn: the superuser's way to the database `postgres`.
    """

    name: str
    dsn: str

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """A new database with the two extensions; yields the superuser's dsn and drops it afterwards."""
        identifier = sql.Identifier(name)
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
        dsn = conninfo.make_conninfo(self.dsn, dbname=name)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("SET client_min_messages = warning")
            conn.execute("CREATE EXTENSION postgis; CREATE EXTENSION postgis_raster")
        try:
            yield dsn
        finally:
            with psycopg.connect(self.dsn, autocommit=True) as admin:
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))

    def cpu_seconds(self) -> float:
        """Processor time of the whole container so far, of backends that have ended as well."""
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            for path, unit in CPU_FILES:
                row = admin.execute("SELECT pg_read_file(%s, 0, 64, true)", [path]).fetchone()
                if row is not None and row[0] is not None:
                    return float(row[0].split("\n")[0].split()[-1]) * unit
        raise BenchmarkError(
            "the container's processor time cannot be read: its /sys/fs/cgroup is not mounted"
        )


@contextmanager
def started(memory_mb: int | None = None) -> Iterator[Server]:
    """Start the tenants' image (CBM_TEST_IMAGE, else the newest `cbm-postgis`); gone with all its data after.

    Args:
        memory_mb: the container gets no more, and the settings of such a VM; None: those of MEMORY_MB.

    Raises:
        BenchmarkError: there is no such image, or it does not start.
    """
    image = os.environ.get("CBM_TEST_IMAGE") or _newest_image()
    name = f"cbm-bench-{uuid.uuid4().hex[:8]}"
    try:
        yield Server(name, _start(name, image, memory_mb))
    finally:
        _docker("rm", "--force", "--volumes", name)


def tenant_settings(memory_mb: int = MEMORY_MB, cores: int | None = None) -> dict[str, str]:
    """What the role `postgis` would put into postgresql.conf on a machine of that size."""
    values: dict[str, Any] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    values |= yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    values |= {"postgis_memory_mb": memory_mb, "postgis_cores": cores or os.cpu_count()}
    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - not HTML
    for name in ("postgis_memory", "postgis_parallel"):
        values[name] = environment.from_string(values[name]).render(values)
    return {
        name: environment.from_string(str(value)).render(values)
        for name, value in values["postgis_tuning"].items()
    }


def _start(name: str, image: str, memory_mb: int | None) -> str:
    settings = tenant_settings(memory_mb or MEMORY_MB)
    settings |= {"listen_addresses": "*", "hba_file": "/tmp/pg_hba.conf"}  # noqa: S108
    options = [argument for item in settings.items() for argument in ("-c", "=".join(item))]
    shm_mb = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())["postgis_shm_mb"]
    limits = [f"--memory={memory_mb}m", f"--memory-swap={memory_mb}m"] if memory_mb else []
    publish = ["--publish", "127.0.0.1::5432", f"--shm-size={shm_mb}m"]
    _docker("create", "--name", name, *publish, *limits, image, *options)
    with tempfile.TemporaryDirectory() as folder:
        hba = Path(folder) / "pg_hba.conf"
        hba.write_text("local all all peer map=superuser\nhost all all all scram-sha-256\n")
        hba.chmod(0o644)
        # copied, not mounted: the engine may see another file system than this one
        _docker("cp", str(hba), f"{name}:/tmp/pg_hba.conf")
    _docker("start", name)
    end = time.monotonic() + 60
    while True:
        try:
            _docker("exec", name, "psql", "--no-psqlrc", "-c", f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
            break
        except (BenchmarkError, UserError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    port = _docker("port", name, "5432/tcp").splitlines()[0].rpartition(":")[2]
    return conninfo.make_conninfo(
        host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="postgres"
    )


def _newest_image() -> str:
    images = _docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "cbm-postgis").split()
    if not images:
        raise BenchmarkError(
            "there is no image cbm-postgis: start the benchmarks with ./run bench, which builds it"
        )
    return images[0]


def _docker(*arguments: str) -> str:
    try:
        command = ["docker", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", "") or error
        raise BenchmarkError(
            f"docker {arguments[0]} fails ({str(told).strip()}): is the engine running?"
        ) from error
