"""The role `postgis`: what it refuses before anything is changed, and for how long a failed change waits."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.role_plays import play, role_variables
from tests.unit.run.test_run import fake

REQUIRED = {
    **dict.fromkeys(["postgis_server_key", "postgis_server_certificate"], "/absent"),
    **dict.fromkeys(["postgis_memory_mb", "postgis_cores"], 1024),
}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            {"postgis_client_cidrs": ["300.1.1.1/24"]},
            "postgis_client_cidrs: '300.1.1.1/24' is not a valid network. Use a form like 192.0.2.0/24,",
        ),
        (
            {"postgis_worker_cidrs": "192.0.2.0/24"},
            "postgis_worker_cidrs: '192.0.2.0/24' is not a list. Use [192.0.2.0/24]. The database",
        ),
    ],
)
def test_networks_that_are_none_are_refused(tmp_path: Path, lines: dict[str, object], said: str) -> None:
    """PostgreSQL would go on with its old rules, and not start with the new ones."""
    # Ansible evaluates the defaults of the specification, which are expressions of facts
    facts = {"ansible.builtin.setup": {"gather_subset": ["!all", "hardware"]}}
    role = {"ansible.builtin.include_role": {"name": "postgis"}}
    told = play(tmp_path, {"one": REQUIRED | lines}, facts, role)
    assert said in " ".join(told.split())
    assert "TASK [postgis : The PostGIS image is on the host]" not in told


def test_check_mode_works_on_a_host_without_engine_and_files(tmp_path: Path) -> None:
    bare = REQUIRED | {
        "postgis_directory": str(tmp_path / "absent"),
        "container_image_tag": "cbm-postgis:absent",
        "container_image_engine": {"stat": {"exists": False}},
    }
    change = {"ansible.builtin.include_role": {"name": "postgis", "tasks_from": "change"}}
    facts = {"ansible.builtin.setup": {"gather_subset": ["!all", "network"]}}
    told = play(tmp_path, {"one": bare}, facts, change, check=True)
    assert "failed=0" in told[told.rindex("PLAY RECAP") :], told[-3000:]
    assert not (tmp_path / "absent").exists()


def waited(directory: Path, script: list[str], inspected: str = "") -> tuple[int, list[str]]:
    """Seconds that a script sleeps or lets `docker stop` wait at most, and its commands of Docker."""
    calls = directory / "calls"
    fake(directory / "docker", f'echo "docker $*" >> {calls}; echo "{inspected}"')
    fake(directory / "sleep", f'echo "sleep --time=$1" >> {calls}')
    path = f"{directory}:/usr/bin:/bin"
    subprocess.run(script, env={"PATH": path}, capture_output=True, check=False, timeout=60)
    said = calls.read_text()
    return sum(map(int, re.findall(r"--time=(\d+)", said))), re.findall(r"(?m)^docker (\w+)", said)


def test_the_way_back_to_the_previous_container_waits_less_than_a_minute(tmp_path: Path) -> None:
    """Less what a machine needs to start PostgreSQL; `failed_change.yml` of Molecule prints the seconds."""
    script = str(role_variables("postgis")["postgis_restore_script"])
    seconds, commands = waited(tmp_path, ["sh", "-euc", script, "sh", "new", "previous"])
    assert commands == ["container", "stop", "rm", "rename", "update"]
    assert 0 < seconds <= 30


@pytest.mark.parametrize("state", ["exited 0 1 unhealthy", "restarting 1 1 starting", "created 0 128 <nil>"])
def test_a_container_that_has_ended_is_not_waited_for(tmp_path: Path, state: str) -> None:
    script = REPOSITORY / "roles/postgis/files/wait-for-postgres"
    seconds, commands = waited(tmp_path, ["sh", str(script), "new"], state)
    assert seconds == 0
    assert commands == [
        "container",
        "container",
        "logs",
    ]  # is there a previous one, its state, its last words
