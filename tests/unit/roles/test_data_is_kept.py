"""No message advises to delete, wipe or move data of a tenant, and no step of a move replaces any."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.support.role_plays import play, rendered

RISKY = re.compile(
    r"(?<![\w-])(wipe|wipefs|blkdiscard|mkfs|erase|delete|remove|rename|prune|move|drop|rm)(?![\w-])", re.I
)
# what messages advise nevertheless, as patterns, and why it takes no data of a tenant
HARMLESS = {
    r"(remove|delete) (the (variable|line|rule|port|flag)|those cards|tenant_\w+)": "a line of the inventory",
    r"remove (that (line|setting)|one; they would share|it: the credential)": "a line of a configuration",
    r"remove it from /etc/fstab": "a line of a configuration",
    r"set CBM_STATE_DIR to move the state": "a variable",
    r"remove the package source": "a file of apt",
    r"delete {{ docker_engine_move_record }}": "the record of a move",
    r"remove ' ~ tenant_cloud_known_hosts": "host keys",
    r"remove it and run playbooks/cloud.yml again": "cloud.yml, which that playbook writes again",
    r"delete it and ": "an expired certificate of the control host",
    r"rename (it|all but the tenant's) in the cloud": "a name; what has it stays",
    r"delete it in the cloud \(openstack server delete": "a server in ERROR; its volume stays",
    r"(delete it in the cloud \(openstack port delete|there or delete it)": "a network port",
    r"openstack floating ip delete releases": "an address",
    r"^remove it in the cloud$": "a rule of a security group",
    r"remove each in the database's container|-c 'DROP EXTENSION": "PostgreSQL refuses if a table needs it",
    r"move it to another folder of the host": "an operator's file that is no part of the parcels",
    r"remove it where it was (created|made), then delete {{ tenant_state": "offboarding is confirmed",
    r"sudo docker stack rm {{ extraction_others": "workers; their tasks are done by the next",
    r"after the move to|cannot move from the disk": "no advice",
}


def texts(found: Any) -> Iterator[str]:
    """Values of a YAML file, not the names of tasks."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key not in {"name", "removes"}:
                yield from texts(value)
    elif isinstance(found, list):
        for value in found:
            yield from texts(value)
    elif isinstance(found, str) and "\n" not in found.strip():  # scripts have several lines
        yield found


def messages() -> Iterator[str]:
    """Texts for people in roles, playbooks and plugins; commands are shorter."""
    for path in [*REPOSITORY.glob("roles/*/[tvh]*/*.yml"), *REPOSITORY.glob("playbooks/*.yml")]:
        yield from (text for text in texts(yaml.safe_load(path.read_text())) if len(text.split()) > 3)
    for path in REPOSITORY.glob("plugins/**/*.py"):
        found = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in found if isinstance(node, ast.Expr)}
        yield from (
            node.value
            for node in found
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in docstrings and len(node.value.split()) > 2 and "\n" not in node.value
        )


def test_no_message_advises_to_delete_or_move_data() -> None:
    found = list(messages())
    harmless = re.compile("|".join(HARMLESS), re.I)
    assert [message for message in found if RISKY.search(harmless.sub("", message))] == []
    unused = [each for each in HARMLESS if not any(re.search(each, message, re.I) for message in found)]
    assert unused == [], "no message has these"


@pytest.mark.parametrize(
    "found",
    [
        # a damaged superblock: blkid finds two signatures, or none
        {"data_volume_blkid": {"rc": 8, "stdout": "", "stdout_lines": []}},
        {"data_volume_blkid": {"rc": 2, "stdout": "", "stdout_lines": []}, "data_volume_zero": {"rc": 1}},
    ],
)
def test_a_disk_that_may_be_the_tenants_is_to_be_repaired(found: dict[str, Any]) -> None:
    host = {
        "data_volume_device": "/dev/vdb",
        "data_volume_mount": "/data",
        "data_volume_min_gb": 1,
        "data_volume_stat": {"stat": {"isblk": True}},
        "data_volume_lsblk": {"stdout_lines": ["vdb 254:16"]},
        "data_volume_findmnt": {"stdout_lines": ["254:0 / /"]},
        "data_volume_below": {"matched": 0},
        "data_volume_bytes": {"stdout": "2000000000"},
        "inventory_hostname": "vm",
    }
    (problem,) = rendered("data_volume", "{{ data_volume_problems }}", **host, **found)
    assert "If it is the disk of this tenant, the database is on it: repair the filesystem" in problem
    assert "never formatted" in problem


def test_what_an_earlier_move_of_the_engine_has_kept_stays(tmp_path: Path) -> None:
    for tree, content in (("docker", "second"), ("docker.old", "first")):
        (tmp_path / tree).mkdir()
        (tmp_path / tree / content).touch()
    (block,) = (
        task["block"]
        for task in yaml.safe_load((REPOSITORY / "roles/docker_engine/tasks/settle.yml").read_text())
        if "block" in task
    )
    (rename,) = (task for task in block if task["name"] == "Old directories are renamed")
    hosts = {"host": {"docker_engine_old_trees": [str(tmp_path / "docker")]}}
    play(tmp_path, hosts, rename, rename)
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("docker*/*"))
    assert kept == ["docker.old.~1~/first", "docker.old/second"]
