"""A PostGIS server with a tenant's settings, access rules and roles, in small.

It is made from the templates of role `postgis` and from the variables and SQL of role `database`.
"""

import io
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.conftest import REPOSITORY, TEST_PASSWORD, docker
from tests.support.role_plays import rendered

DATABASE_SQL = REPOSITORY / "roles/database/files"
POSTGRES = 999
MEMORY_MB, PARALLEL = 4096, 6
FACTS = {"default_ipv4": {"address": "127.0.0.1"}, "memtotal_mb": MEMORY_MB, "processor_nproc": 2}
# what one connection of the reader may take, and how many there are
READER_MEMORY_MB, READER_CONNECTIONS, TEMP_MB = 160, 3, 16


@dataclass(frozen=True)
class Server:
    """A running container. Its database is `cbm`; the guard looks every two seconds."""

    container: str
    port: int

    def connect(self, role: str, **options: Any) -> psycopg.Connection:
        """A connection over TLS as owner, writer or reader."""
        options = {"password": TEST_PASSWORD, "sslmode": "require", "connect_timeout": 20} | options
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=f"cbm_{role}", dbname="cbm", autocommit=True, **options
        )

    def superuser(self, statements: str, database: str = "cbm") -> str:
        """Run statements over the socket; return the rows as psql prints them."""
        psql = ["docker", "exec", "--interactive", self.container, "psql", "--no-psqlrc", "--quiet", "-At"]
        run = subprocess.run(
            [*psql, "--set=ON_ERROR_STOP=1", f"--dbname={database}"],
            input=f"SET client_min_messages = warning;\n{statements};",
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def limit(self, **limits: str) -> None:
        """Change what the guard holds the reader to (`statement_limit`, `idle_limit`, `blocking_limit`)."""
        pairs = ", ".join(f"{name} = '{value}'" for name, value in limits.items())
        self.superuser(f"UPDATE cbm_guard.roles SET {pairs}", "postgres")

    def started(self) -> str:
        """When the postmaster and the present backends' parent began: a crash of any process changes it."""
        return self.superuser("SELECT pg_postmaster_start_time(), pg_conf_load_time()")


@contextmanager
def reader_server(image: str) -> Iterator[Server]:
    """Start a server from an image, as the roles would."""
    name = f"cbm-test-{uuid.uuid4().hex[:8]}"
    memory = rendered("postgis", "{{ postgis_container_memory_mb }}", ansible_facts=FACTS)
    others = rendered("postgis", "{{ postgis_others_memory }}", ansible_facts=FACTS)
    options = [f"--memory={memory}m", "--pids-limit=200", "--shm-size=64m", "--cap-drop=ALL"]
    limits = [f"POSTGIS_READER_MEMORY_MB={READER_MEMORY_MB}", f"POSTGIS_OTHERS_MEMORY_MB={others}"]
    options += [f"--env={limit}" for limit in limits] + ["--security-opt=no-new-privileges"]
    try:
        docker("create", "--name", name, *options, "--publish=127.0.0.1::5432", image)
        _copy_into(name, "/etc", _configuration())
        docker("start", name)
        _until_ready(name)
        port = int(docker("port", name, "5432/tcp").splitlines()[0].rpartition(":")[2])
        server = Server(name, port)
        _set_up(server)
        docker("exec", "--detach", name, "/bin/sh", "/usr/local/lib/postgis-guard")
        yield server
    finally:
        docker("rm", "--force", "--volumes", name)


def role_settings() -> Mapping[str, Any]:
    """Roles by name, as role `database` makes them for this server."""
    limits = {
        "connections": 100,
        "workers": PARALLEL,
        "memory_mb": MEMORY_MB,
        "reader_memory_mb": READER_MEMORY_MB,
    }
    disk_mb = TEMP_MB * (READER_CONNECTIONS + PARALLEL) * 5
    roles = rendered(
        "database",
        "{{ database_roles }}",
        database_limits={"query_result": [limits]},
        database_volume_size={"stdout_lines": ["1M-blocks", str(disk_mb)]},
        database_reader_connections=READER_CONNECTIONS,
    )
    return {role["name"]: role for role in roles}


def _set_up(server: Server) -> None:
    quoted = sql.Literal(TEST_PASSWORD).as_string(None)
    for name, role in role_settings().items():
        server.superuser(
            f"CREATE ROLE {name} LOGIN PASSWORD {quoted} CONNECTION LIMIT {role['connections']}", "postgres"
        )
        for setting, value in role["configuration"].items():
            server.superuser(f"ALTER ROLE {name} SET {setting} = '{value}'", "postgres")
    server.superuser("CREATE DATABASE cbm TEMPLATE template0", "postgres")
    server.superuser(
        """REVOKE ALL ON DATABASE cbm FROM PUBLIC;
           ALTER SCHEMA public OWNER TO cbm_owner; GRANT USAGE ON SCHEMA public TO cbm_writer, cbm_reader;
           CREATE EXTENSION postgis; CREATE EXTENSION postgis_raster"""
    )
    for grant in rendered("database", "{{ database_privileges }}"):
        server.superuser(f"GRANT {grant['privs']} ON DATABASE cbm TO {grant['role']}")
    server.superuser((DATABASE_SQL / "reader.sql").read_text())
    server.superuser((DATABASE_SQL / "guard.sql").read_text(), "postgres")
    watched = (DATABASE_SQL / "watched.sql").read_text()
    limits = {"name": "cbm_reader", "statement_limit": "1h", "idle_limit": "1h", "blocking_limit": "1h"}
    for name, value in limits.items():
        watched = watched.replace(f"%({name})s", f"'{value}'")
    assert server.superuser(watched, "postgres") == "t"
    assert server.superuser(watched, "postgres") == "f", "a second run changes nothing"


def _configuration() -> dict[str, bytes]:
    """The files of the role, by their paths below /etc."""
    files = {
        f"postgresql/{name}": str(
            rendered(
                "postgis",
                (REPOSITORY / f"roles/postgis/templates/{name}.j2").read_text(),
                ansible_facts=FACTS,
            )
        ).encode()
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")
    }
    return files | {f"ssl/postgresql/{name}": content for name, content in certificate().items()}


def certificate() -> dict[str, bytes]:
    """A server's key and certificate for two days."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=cbm-test",
    ]
    made = subprocess.run(
        [*command, "-keyout", "/dev/stdout", "-out", "/dev/stdout"], check=True, capture_output=True
    ).stdout
    start = made.index(b"-----BEGIN CERTIFICATE")
    return {"server.key": made[:start], "server.crt": made[start:]}


def _copy_into(container: str, where: str, files: Mapping[str, bytes]) -> None:
    """Copied, not mounted: the engine may see another file system than this one."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folders = sorted({str(Path(name).parent) for name in files} - {"."})
        for name in folders:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, POSTGRES, POSTGRES
            tar.addfile(folder)
        for name, content in files.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode, file.uid, file.gid = len(content), 0o600, POSTGRES, POSTGRES
            tar.addfile(file, io.BytesIO(content))
    subprocess.run(
        ["docker", "cp", "-", f"{container}:{where}"],
        input=archive.getvalue(),
        check=True,
        capture_output=True,
    )


def _until_ready(container: str) -> None:
    end = time.monotonic() + 120
    while subprocess.run(
        ["docker", "exec", container, "pg_isready", "--quiet", "--host=127.0.0.1"],
        check=False,
        capture_output=True,
    ).returncode:
        logs = subprocess.run(["docker", "logs", container], check=False, capture_output=True, text=True)
        assert time.monotonic() < end, f"the server does not start: {logs.stderr}"
        time.sleep(0.3)
