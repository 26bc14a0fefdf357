"""A check that blames the host has made sure that its own tool ran."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY
from tests.support.role_plays import play

# command tasks that go on whatever the exit status is, and what follows if the tool itself did not run
GO_ON = {
    "Read where the engine keeps its data": "the next task reports that the engine does not answer",
    "Check whether PostgreSQL accepts connections": "the configuration is not kept as working; it restarts",
    "Check whether the control host's Docker engine answers": "precheck says how to install it",
    "Inspect the parcels files": "precheck reports the last line of stderr; the command was found before",
    "Inspect the parcels files of later seasons": "precheck reports the last line of stderr",
    "Inspect the areas of interest of later seasons": "precheck reports the error",
    "Inspect the area of interest": "precheck reports the error; the command was found before",
    "Check whether the mount was started with these files": "the archive is remounted",
    "Check whether the archive answers": "the role's own script; s3fs's messages are reported",
    "Look up the mount point": "it is left alone",
    "Read which ports of the host containers publish": "ports in use are reported by program",
    "Read the state of the swarm": "setting up the swarm says why",
    "All tests of the tenant and of each season pass": "the next task fails with what was printed",
}


def tasks(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, list):
        for each in found:
            yield from tasks(each)
    elif isinstance(found, dict):
        if "name" in found:
            yield found
        for value in found.values():
            yield from tasks(value)


def test_no_other_command_goes_on_whatever_its_exit_status_is() -> None:
    files = [
        path for folder in ("roles", "playbooks", "lab") for path in (REPOSITORY / folder).rglob("*.yml")
    ]
    found = {
        task["name"]
        for path in files
        if "meta" not in path.parts
        for task in tasks(yaml.safe_load(path.read_text()))
        if task.get("failed_when") is False
        and any(name.rpartition(".")[2] in {"command", "shell", "script"} for name in task)
    }
    assert found == set(GO_ON)


def test_a_volume_is_missed_only_if_mountpoint_ran(tmp_path: Path) -> None:
    role = {"ansible.builtin.include_role": {"name": "docker_engine", "tasks_from": "inspect"}}
    paths = {"complete": "/usr/bin:/bin", "without": "/nonexistent"}
    hosts = {host: {"docker_engine_volume": str(tmp_path), "tools": path} for host, path in paths.items()}
    said = play(tmp_path, hosts, {"block": [role], "environment": {"PATH": "{{ tools }}"}})
    assert f"Nothing is mounted on {tmp_path} of complete" in said
    assert f"Nothing is mounted on {tmp_path} of without" not in said
    assert "msg: Error executing command." in said, said
