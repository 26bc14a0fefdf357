"""A database container that is killed or out of disk space keeps what is committed, and comes back."""

import fcntl
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Eventually, docker, image_to_test
from tests.support.role_plays import rendered

SUPERVISOR = REPOSITORY / "roles/postgis/files/database-supervisor"
WAIT = REPOSITORY / "roles/postgis/files/wait-for-postgres"
DATA = "/var/lib/postgresql/data"


@dataclass(frozen=True)
class Database:
    """A server on a volume of its own, which another container keeps mounted."""

    container: str
    keeper: str

    def run(self, statement: str) -> str | None:
        """What psql prints, or None where the statement or the server fails."""
        psql = ["docker", "exec", self.container, "psql", "--no-psqlrc", "-Atqc", statement]
        run = subprocess.run(psql, capture_output=True, text=True, check=False)
        return run.stdout.strip() if run.returncode == 0 else None

    def state(self) -> str:
        return docker("inspect", "--format", "{{.State.Status}}", self.container).strip()

    def damaged_pages(self) -> str:
        """What pg_checksums finds in the stopped cluster."""
        command = ["docker", "exec", self.keeper, "pg_checksums", "--check", f"--pgdata={DATA}/17"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        [line] = [line for line in run.stdout.splitlines() if line.startswith("Bad checksums:")]
        return line.split()[-1]


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    name = f"cbm-test-{uuid.uuid4().hex[:8]}"
    keeper = f"{name}-keeper"
    size = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=250m,uid=999,gid=999,mode=0700"]
    volume = ["--volume", f"{name}:{DATA}"]
    try:
        docker("volume", "create", *size, name)
        docker(
            "run", "--detach", "--name", keeper, *volume, "--entrypoint", "sleep", image_to_test(), "infinity"
        )
        docker("run", "--detach", "--restart=always", "--name", name, *volume, image_to_test())
        yield Database(name, keeper)
    finally:
        docker("rm", "--force", name, keeper)
        docker("volume", "rm", name)


@contextmanager
def supervised(database: Database, directory: Path) -> Iterator[Callable[[], int]]:
    """The supervisor as systemd runs it, ten times as hasty. Gives the number of its looks."""
    looks = directory / "looks"
    looks.write_text("")
    sleep = directory / "bin" / "sleep"
    sleep.parent.mkdir(exist_ok=True)
    sleep.write_text(f"#!/bin/sh\necho look >> {looks}\nexec /bin/sleep 0.5\n")
    sleep.chmod(0o755)
    path = f"{sleep.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    command = ["env", f"PATH={path}", "sh", SUPERVISOR, database.container, directory]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield lambda: looks.read_text().count("look")
    finally:
        running.kill()
        running.wait()


def test_a_killed_database_comes_back_and_a_stopped_one_stays_down(
    database: Database, tmp_path: Path, eventually: Eventually
) -> None:
    eventually(lambda: database.run("CREATE TABLE IF NOT EXISTS kept (a int)") is not None)
    with supervised(database, tmp_path) as looks:
        for number in range(2):
            assert database.run(f"INSERT INTO kept VALUES ({number})") is not None
            docker("kill", database.container)
            eventually(lambda: database.run("SELECT 1") == "1")
        assert database.run("SELECT count(*) FROM kept") == "2"
        docker("stop", database.container)
        seen = looks()
        eventually(lambda: looks() >= seen + 5)
        assert database.state() == "exited"
    assert database.damaged_pages() == "0"
    docker("start", database.container)


def looked(looks: Callable[[], int], enough: int) -> bool:
    return looks() >= enough


def test_a_stop_at_whatever_instant_is_no_kill(
    database: Database, tmp_path: Path, eventually: Eventually
) -> None:
    with supervised(database, tmp_path) as looks:
        for _ in range(4):
            eventually(lambda: database.run("SELECT 1") == "1")
            docker("stop", "--time=0", database.container)
            enough = looks() + 2
            eventually(partial(looked, looks, enough))
            assert database.state() == "exited"
            docker("start", database.container)


def test_a_stopped_database_stays_down_when_docker_has_forgotten_the_stop(
    database: Database, tmp_path: Path, eventually: Eventually
) -> None:
    """Docker keeps 256 events; a stop that runs into its time limit has exit code 137, as a kill has."""
    for _ in range(20):  # on a busy machine PostgreSQL may end before it is killed
        eventually(lambda: database.run("SELECT 1") == "1")
        docker("stop", "--time=0", database.container)
        if docker("inspect", "--format", "{{.State.ExitCode}}", database.container).strip() == "137":
            break
        docker("start", database.container)
    with supervised(database, tmp_path):
        eventually((tmp_path / f"{database.container}.stopped").exists)
    forgetful = tmp_path / "bin" / "docker"
    forgetful.write_text(f'#!/bin/sh\n[ "$1" = events ] || exec {shutil.which("docker")} "$@"\n')
    forgetful.chmod(0o755)
    with supervised(database, tmp_path) as looks:
        eventually(lambda: looks() >= 4)
        assert database.state() == "exited"
    docker("start", database.container)


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("restart", [True, False], ids=["host restarted", "playbook interrupted"])
def test_an_exchange_that_was_not_completed_is_undone(
    database: Database, tmp_path: Path, eventually: Eventually, renamed: bool, restart: bool
) -> None:
    eventually(lambda: database.run("SELECT 1") == "1")
    exchange = tmp_path / f"{database.container}.exchange"
    exchange.touch()
    docker("update", "--restart=no", database.container)
    docker("stop", database.container)
    if renamed:
        docker("rename", database.container, f"{database.container}.previous")
    with supervised(database, tmp_path) as looks:
        eventually(lambda: looks() >= 4)
        assert database.run("SELECT 1") is None, "the playbook still works"
        if restart:
            exchange.unlink()
        else:
            eleven_minutes_ago = time.time() - 11 * 60
            os.utime(exchange, (eleven_minutes_ago, eleven_minutes_ago))
        eventually(lambda: database.run("SELECT 1") == "1")
    policy = "{{.HostConfig.RestartPolicy.Name}}"
    assert docker("inspect", "--format", policy, database.container).strip() == "always"


def is_waited_for(lock: Path) -> bool:
    """Whether a process waits for a lock that another one holds."""
    waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines() if " -> FLOCK " in line]
    return any(f":{lock.stat().st_ino}" in field for fields in waiting for field in fields)


def role_command(name: str, database: Database, directory: Path) -> list[str]:
    """A command of the role postgis for this database."""
    given = {"postgis_container": database.container, "postgis_supervisor_directory": str(directory)}
    command: list[str] = rendered("postgis", f"{{{{ {name} }}}}", **given)
    return command


def restored(database: Database, directory: Path) -> None:
    command = role_command("postgis_restore_command", database, directory)
    subprocess.run(command, check=True, capture_output=True)
    assert docker("ps", "--all", "--quiet", "--filter", f"name={database.container}.previous") == ""
    (directory / f"{database.container}.exchange").unlink(missing_ok=True)
    docker("start", database.container)


def test_a_killed_container_is_not_started_while_a_playbook_sets_it_aside(
    database: Database, tmp_path: Path, eventually: Eventually
) -> None:
    """Else it would run beside the new one, on the same data."""
    eventually(lambda: database.run("SELECT 1") == "1")
    previous = f"{database.container}.previous"
    lock = tmp_path / f"{database.container}.lock"
    with supervised(database, tmp_path) as looks:
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            docker("kill", database.container)
            eventually(lambda: is_waited_for(lock))
            (tmp_path / f"{database.container}.exchange").touch()
            docker("update", "--restart=no", database.container)
            docker("rename", database.container, previous)
        seen = looks()
        eventually(lambda: looks() >= seen + 3)
        assert docker("inspect", "--format", "{{.State.Status}}", previous).strip() == "exited"
    restored(database, tmp_path)


def test_a_playbook_sets_no_container_aside_that_the_supervisor_is_starting(
    database: Database, tmp_path: Path, eventually: Eventually
) -> None:
    eventually(lambda: database.run("SELECT 1") == "1")
    previous = f"{database.container}.previous"
    lock = tmp_path / f"{database.container}.lock"
    slow = tmp_path / "bin" / "docker"
    slow.parent.mkdir()
    # a stop is lost on a container whose server does not handle signals yet
    slow.write_text(
        f"""#!/bin/sh
        real={shutil.which("docker")}
        [ "$1" = start ] || exec $real "$@"
        touch {tmp_path}/starting
        until [ -e {tmp_path}/go ]; do /bin/sleep 0.1; done
        $real "$@"
        until $real exec "$2" pg_isready --quiet; do /bin/sleep 0.1; done
        """
    )
    slow.chmod(0o755)
    with supervised(database, tmp_path) as looks:
        docker("kill", database.container)
        eventually((tmp_path / "starting").exists)
        exchange = subprocess.Popen(role_command("postgis_set_aside_command", database, tmp_path))
        eventually(lambda: is_waited_for(lock))
        assert database.state() == "exited", "nothing was renamed"
        (tmp_path / "go").touch()
        assert exchange.wait(timeout=120) == 0
        seen = looks()
        eventually(lambda: looks() >= seen + 3)
        assert docker("inspect", "--format", "{{.State.Status}}", previous).strip() == "exited"
        assert docker("ps", "--quiet", "--filter", f"name={database.container}$") == ""
    restored(database, tmp_path)


def waited(container: str, directory: Path) -> str:
    """What wait-for-postgres prints if minutes pass at its first looks; nothing if PostgreSQL is healthy."""
    tools = directory / "tools"
    tools.mkdir()
    (tools / "date").write_text(
        f"#!/bin/sh\necho look >> {tools}/looks\nn=$(wc -l < {tools}/looks)\n"
        "echo $((n < 4 ? n * 100 : 300 + n))\n"
    )
    (tools / "date").chmod(0o755)
    path = f"{tools}:/usr/local/bin:/usr/bin:/bin"
    run = subprocess.run(
        ["env", f"PATH={path}", "sh", WAIT, container, "answers"], check=False, capture_output=True, text=True
    )
    return run.stdout + run.stderr


def test_a_database_that_docker_has_restarted_is_healthy(
    database: Database, tmp_path: Path, eventually: Eventually
) -> None:
    eventually(lambda: database.run("SELECT 1") == "1")
    docker(
        "exec", database.container, "pg_ctl", "stop", "--mode=immediate", "--no-wait", f"--pgdata={DATA}/17"
    )
    count = "{{.RestartCount}}"
    eventually(lambda: docker("inspect", "--format", count, database.container).strip() == "1")
    eventually(lambda: database.run("SELECT 1") == "1")
    assert waited(database.container, tmp_path) == ""


def test_a_slow_initialisation_is_waited_for(tmp_path: Path) -> None:
    """The entrypoint is a shell until the data directory is complete."""
    name = f"cbm-test-{uuid.uuid4().hex[:8]}"
    slow = ["--entrypoint", "sh", image_to_test(), "-c", "sleep 3; exec sh /usr/local/lib/postgis-entrypoint"]
    try:
        docker("run", "--detach", "--name", name, *slow)
        assert waited(name, tmp_path) == ""
    finally:
        docker("rm", "--force", "--volumes", name)


def test_data_checksums_are_right_after_a_killed_process_and_a_full_disk(
    database: Database, eventually: Eventually
) -> None:
    eventually(lambda: database.run("CREATE TABLE IF NOT EXISTS filled (a text)") is not None)
    assert (
        database.run("INSERT INTO filled SELECT repeat('x', 900) FROM generate_series(1, 5000)") is not None
    )
    # kill -9 of a process in the middle of a write takes all others with it
    subprocess.Popen(
        [
            "docker",
            "exec",
            database.container,
            "psql",
            "-c",
            """SET application_name = 'victim';
               INSERT INTO filled SELECT repeat('y', 900) FROM generate_series(1, 100000000)""",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    victim = "SELECT pid FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active'"
    eventually(lambda: bool(database.run(victim)))
    docker("exec", database.container, "sh", "-c", f"kill -9 {database.run(victim)}")
    eventually(lambda: database.run("SELECT count(*) FROM filled WHERE a LIKE 'x%'") == "5000")
    ballast = f"{DATA}/ballast"
    fill = ["docker", "exec", "--user=999", database.keeper, "dd", "if=/dev/zero", f"of={ballast}", "bs=1M"]
    assert subprocess.run(fill, capture_output=True, check=False).returncode != 0, "the disk is not full"
    assert database.run("INSERT INTO filled SELECT repeat('z', 900) FROM generate_series(1, 100000)") is None
    docker("exec", database.keeper, "rm", ballast)
    eventually(
        lambda: database.run("CHECKPOINT; SELECT count(*) FROM filled WHERE a NOT LIKE 'y%'") == "5000"
    )
    docker("stop", database.container)
    assert database.damaged_pages() == "0"
