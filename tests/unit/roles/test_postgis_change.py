"""The role `postgis` on a running database: a change that does not work puts the previous one back."""

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import docker, image_to_test
from tests.support.reader_server import certificate
from tests.support.role_plays import play

# name of the case: what is wrong, and a part of the reason that is reported
CASES: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "port": ({"postgis_port": 99999}, "99999"),
    "image": ({"container_image_tag": "cbm-test-broken:1"}, "PostgreSQL does not start"),
    "image that hangs": ({"container_image_tag": "cbm-test-hanging:1"}, "no answer within 3"),
    "mount source": ({"postgis_socket": "/absent/socket"}, "/absent/socket"),
    "memory size": ({"postgis_container_memory_mb": 1}, "emory"),
    "setting": ({"postgis_settings": {"shared_buffers": "100TB"}}, "shared_buffers"),
    "setting at start": ({"postgis_settings": {"max_connections": 250_000}}, "PostgreSQL does not start"),
}


@pytest.fixture
def broken_images() -> Iterator[None]:
    """Images that are there, but whose program ends at once, or neither answers nor ends."""
    programs = {
        "cbm-test-broken:1": '["/bin/false"]',
        "cbm-test-hanging:1": """["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]""",
    }
    for image, program in programs.items():
        container = docker("create", image_to_test()).strip()
        docker("commit", "--change", f"ENTRYPOINT {program}", container, image)
        docker("rm", container)
    yield
    docker("rmi", *programs)


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The variables of the role for a small database of its own."""
    if os.geteuid() != 0:
        pytest.skip("ROOT NEEDED: the role gives files to the account of PostgreSQL; run as root")
    name = f"cbm-test-{uuid.uuid4().hex[:8]}"
    directory = tmp_path / "postgis"
    probe = ["docker", "run", "--rm", "--mount", f"type=bind,source={tmp_path},target=/seen"]
    seen = subprocess.run([*probe, "--entrypoint", "true", image_to_test()], check=False, capture_output=True)
    if seen.returncode:
        pytest.skip("THE ENGINE SEES ANOTHER FILE SYSTEM: bind mounts of this machine do not work there")
    for file, content in certificate().items():
        (tmp_path / file).write_bytes(content)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield {
        "postgis_container": name,
        "postgis_volume": name,
        "postgis_directory": str(directory),
        "postgis_address": "127.0.0.1",
        "postgis_port": port,
        "postgis_memory_mb": 1024,
        "postgis_cores": 2,
        "postgis_server_key": str(tmp_path / "server.key"),
        "postgis_server_certificate": str(tmp_path / "server.crt"),
        "container_image_tag": image_to_test(),
        "container_image_engine": {"stat": {"exists": True}},
        "container_image_present": {"images": [1]},
    }
    for container in (name, f"{name}.previous"):
        subprocess.run(["docker", "rm", "--force", container], check=False, capture_output=True)
    docker("volume", "rm", "--force", name)
    for suffix in ("exchange", "lock"):
        Path(f"/run/{name}.{suffix}").unlink(missing_ok=True)


def containers(lines: dict[str, Any]) -> list[str]:
    names = ["ps", "--all", "--format", "{{.Names}}", "--filter", f"name={lines['postgis_container']}"]
    return docker(*names).split()


def change(**variables: Any) -> dict[str, Any]:
    return {
        "ansible.builtin.include_role": {"name": "postgis", "tasks_from": "change"},
        "vars": variables,
    }


@pytest.mark.thorough
@pytest.mark.usefixtures("broken_images")
def test_a_change_that_does_not_work_puts_the_previous_database_back(
    tmp_path: Path, lines: dict[str, Any]
) -> None:
    facts = {"ansible.builtin.setup": {"gather_subset": ["!all", "network"]}}
    attempts = []
    for case, (wrong, _) in CASES.items():
        answers = {"argv": ["docker", "exec", lines["postgis_container"], "psql", "-Atc", "SELECT 1"]}
        said = {"content": "{{ ansible_failed_result.msg }}", "dest": f"{tmp_path}/{case}", "mode": "0600"}
        attempts.append(
            {
                "block": [change(**wrong), {"ansible.builtin.fail": {"msg": "no failure"}}],
                "rescue": [{"ansible.builtin.copy": said}, {"ansible.builtin.command": answers}],
            }
        )
    told = play(tmp_path, {"one": lines}, facts, change(), *attempts, change())
    recap = told[told.rindex("PLAY RECAP") :]
    assert "failed=0" in recap, told[-6000:]
    for case, (_, reason) in CASES.items():
        text = (tmp_path / case).read_text()
        assert reason in text, case
        assert "The previous database runs again." in text, case
    [container] = containers(lines)
    assert container == lines["postgis_container"], "nothing of the attempts is left"
    policy = docker("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", container).strip()
    assert policy == "always"
    login = {"host": "127.0.0.1", "port": lines["postgis_port"], "user": "cbm_reader", "dbname": "cbm"}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(**login)


@pytest.mark.thorough
def test_a_first_run_with_an_invalid_setting_is_corrected_by_the_next(
    tmp_path: Path, lines: dict[str, Any]
) -> None:
    """Also if the first run was interrupted, so that Docker restarts the container in vain."""
    facts = {"ansible.builtin.setup": {"gather_subset": ["!all", "network"]}}
    name = lines["postgis_container"]
    wrong = lines | {"postgis_settings": {"max_connections": 250_000}}
    told = play(tmp_path, {"one": wrong}, facts, change())
    assert "failed=1" in told[told.rindex("PLAY RECAP") :], told[-6000:]
    assert "No database ran before this change. Correct the cause and run this again." in told
    assert containers(lines) == []
    interrupted = {"ansible.builtin.include_role": {"name": "postgis", "tasks_from": "interrupted"}}
    told = play(tmp_path, {"one": lines}, facts, change(), interrupted)
    assert "failed=0" in told[told.rindex("PLAY RECAP") :], told[-6000:]
    assert docker("exec", name, "psql", "-Atc", "SELECT 1").strip() == "1"

    directory = Path(lines["postgis_directory"])
    shutil.rmtree(directory / "previous")
    with (directory / "config/postgresql.conf").open("a") as settings:
        settings.write("max_connections = 250000\n")
    docker("restart", name)
    told = play(tmp_path, {"one": lines}, facts, change())
    assert "failed=0" in told[told.rindex("PLAY RECAP") :], told[-6000:]
    assert docker("exec", name, "psql", "-Atc", "SHOW max_connections").strip() == "120"
    kept = (directory / "previous/config/postgresql.conf").read_text()
    assert "250000" not in kept


@pytest.mark.thorough
def test_a_change_that_works_leaves_nothing_behind_and_an_interrupted_one_is_completed(
    tmp_path: Path, lines: dict[str, Any]
) -> None:
    facts = {"ansible.builtin.setup": {"gather_subset": ["!all", "network"]}}
    name = lines["postgis_container"]
    told = play(tmp_path, {"one": lines}, facts, change(), change(postgis_container_pids=300))
    assert "failed=0" in told[told.rindex("PLAY RECAP") :], told[-6000:]
    assert containers(lines) == [name]
    for check in (False, True):
        told = play(tmp_path, {"one": lines | {"postgis_container_pids": 300}}, facts, change(), check=check)
        recap = told[told.rindex("PLAY RECAP") :]
        assert "changed=0" in recap, told[-6000:]
        assert "failed=0" in recap, told[-6000:]
    docker("stop", name)
    docker("rename", name, f"{name}.previous")
    told = play(tmp_path, {"one": lines | {"postgis_container_pids": 300}}, facts, change())
    assert "failed=0" in told[told.rindex("PLAY RECAP") :], told[-6000:]
    assert containers(lines) == [name]
    assert docker("exec", name, "psql", "-Atc", "SELECT 1").strip() == "1"
