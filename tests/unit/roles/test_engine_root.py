"""Nothing of a tenant is begun in an engine that does not keep its data on the data volume."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.support.role_plays import play
from tests.unit.run.test_run import fake

# roles that put images, containers or a swarm into the engine
FILLS = {"container_image", "postgis", "worker_image", "swarm", "extraction"}
CHECK = {"name": "docker_engine", "tasks_from": "root"}


def plays() -> list[Any]:
    return [
        pytest.param(one, id=path.stem)
        for path in sorted((REPOSITORY / "playbooks").glob("*.yml"))
        for one in yaml.safe_load(path.read_text())
        if FILLS.intersection(map(str, one.get("roles", [])))
    ]


@pytest.mark.parametrize("one", plays())
def test_an_engine_is_checked_before_something_is_put_into_it(one: dict[str, Any]) -> None:
    assert CHECK in [task.get("ansible.builtin.import_role") for task in one.get("pre_tasks", [])]


def test_the_check_is_required_of_three_playbooks() -> None:
    assert {each.id for each in plays()} == {"database", "extract", "worker_image"}


def test_an_engine_elsewhere_is_refused_with_its_directory_or_its_reason(tmp_path: Path) -> None:
    answers = {
        "right": "echo /data/docker",
        "lost": "echo /var/lib/docker",
        "silent": "echo 'WARNING: x' >&2; echo 'Cannot connect to the Docker daemon' >&2; exit 1",
    }
    hosts = {"absent": {"tools": "/nonexistent"}}
    for host, script in answers.items():
        fake(tmp_path / host / "docker", script)
        hosts[host] = {"tools": str(tmp_path / host)}
    variables = {"docker_engine_data_root": "/data/docker"}
    block = {
        "block": [{"ansible.builtin.include_role": CHECK}],
        "environment": {"PATH": "{{ tools }}"},
        "vars": variables,
    }
    said = " ".join(play(tmp_path, hosts, block).split())
    assert "engine of lost keeps its data in /var/lib/docker instead of /data/docker" in said
    assert "it does not answer (Cannot connect to the Docker daemon) instead of /data/docker" in said
    assert "it does not answer (Error executing command.) instead of" in said
    assert "engine of right keeps" not in said
    assert said.count("is untouched. Run playbooks/host.yml.") >= 3
