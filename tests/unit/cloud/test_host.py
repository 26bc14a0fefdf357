"""A tenant's VM in a cloud is found by every playbook and every ansible command."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.conftest import REPOSITORY

KNOWN = "address: 192.0.2.7\nlogin_user: eouser\nserver_id: s\nvolume_id: 8c1f2a34-5b6d\n"


def host_variables(
    directory: Path, host: str, group: Mapping[str, str] = MappingProxyType({}), **lines: str
) -> dict[str, Any]:
    """Ask ansible-inventory for a tenant's variables, with these lines of the inventory."""
    inventory = directory / "hosts.json"
    inventory.write_text(json.dumps({"tenants": {"vars": dict(group), "hosts": {host: lines}}}))
    found = ansible(directory, "ansible-inventory", "-i", inventory, "--host", host)
    variables: dict[str, Any] = json.loads(found)
    return variables


def ansible(directory: Path, command: str, *arguments: str | Path) -> str:
    """Run a command of Ansible's."""
    # the plays' directory too, as in a playbook: what is found there is asked for last
    everything = [*arguments, "--playbook-dir", REPOSITORY / "playbooks"]
    found = subprocess.run(
        [Path(sys.executable).parent / command, *everything],
        env=os.environ
        | {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "CBM_STATE_DIR": str(directory / "state")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise RuntimeError(found.stderr)
    return found.stdout + (found.stderr if command == "ansible" else "")


def write(directory: Path, tenant: str, text: str) -> Path:
    state = directory / "state" / tenant
    state.mkdir(parents=True)
    (state / "cloud.yml").write_text(text)
    return state


def test_a_vm_of_the_cloud_is_the_tenants_host(tmp_path: Path) -> None:
    state = write(tmp_path, "dk", KNOWN)
    found = host_variables(tmp_path, "dk")
    assert (found["ansible_host"], found["ansible_user"]) == ("192.0.2.7", "eouser")
    assert found["tenant_data_volume_id"] == "8c1f2a34-5b6d"
    # the key by the tenant's name: addresses are handed on
    assert "-o HostKeyAlias=dk " in found["ansible_ssh_common_args"]
    assert f"UserKnownHostsFile='\"{state}/known_hosts\"'" in found["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in found["ansible_ssh_common_args"]


def test_the_tenants_name_counts_not_the_hosts(tmp_path: Path) -> None:
    write(tmp_path, "dk", KNOWN)
    assert host_variables(tmp_path, "vm1", tenant_name="dk")["ansible_host"] == "192.0.2.7"


def test_what_the_inventory_says_of_the_host_wins(tmp_path: Path) -> None:
    write(tmp_path, "dk", KNOWN)
    found = host_variables(tmp_path, "dk", ansible_host="198.51.100.1", tenant_data_volume_id="mine")
    assert (found["ansible_host"], found["tenant_data_volume_id"]) == ("198.51.100.1", "mine")


def test_a_tenant_without_a_cloud_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state" / "dk").mkdir(parents=True)
    found = host_variables(tmp_path, "dk", {"ansible_user": "somebody"})
    assert found["ansible_user"] == "somebody"
    assert not {"ansible_host", "ansible_ssh_common_args", "tenant_data_volume_id"} & found.keys()


def test_files_of_the_inventory_count_like_its_lines(tmp_path: Path) -> None:
    write(tmp_path, "dk", KNOWN)
    for directory in ("host_vars", "group_vars"):
        (tmp_path / directory).mkdir()
    (tmp_path / "host_vars" / "vm1.yml").write_text("tenant_name: dk\ntenant_data_volume_id: mine\n")
    (tmp_path / "group_vars" / "tenants.yml").write_text("ansible_user: debian\n")
    found = host_variables(tmp_path, "vm1")
    assert (found["ansible_host"], found["tenant_data_volume_id"]) == ("192.0.2.7", "mine")
    assert found["ansible_user"] == "debian"


def test_the_login_user_of_the_cloud_goes_before_that_of_all_tenants(tmp_path: Path) -> None:
    write(tmp_path, "dk", KNOWN)
    found = host_variables(tmp_path, "dk", {"ansible_user": "somebody"}, tenant_cloud_login_user="debian")
    assert found["ansible_user"] == "debian"
    # what an earlier run has written down does not go before what the inventory says now
    assert host_variables(tmp_path, "dk", {"ansible_user": "somebody"})["ansible_user"] == "somebody"


@pytest.mark.parametrize("of_host", [True, False])
def test_further_ssh_options_do_not_switch_the_host_keys_check_off(tmp_path: Path, of_host: bool) -> None:
    write(tmp_path, "dk", KNOWN)
    jump = "-o ProxyJump={{ inventory_hostname }}.example"
    theirs = {"ansible_ssh_common_args": f"-o StrictHostKeyChecking=no {jump}"}
    host_variables(tmp_path, "dk", **theirs) if of_host else host_variables(tmp_path, "dk", theirs)
    line = ["-m", "ansible.builtin.debug", "-a", "var=ansible_ssh_common_args"]
    options = ansible(tmp_path, "ansible", "-i", tmp_path / "hosts.json", "dk", *line)
    assert (
        host_variables(tmp_path, "dk", ansible_host_key_checking="false")["ansible_host_key_checking"] is True
    )
    assert options.index("StrictHostKeyChecking=yes") < options.index("StrictHostKeyChecking=no")
    assert "ProxyJump=dk.example" in options


@pytest.mark.parametrize("text", ["", "address: 192.0.2.7\n", "{", "- a list\n"])
def test_a_broken_file_is_told_and_stops_nobody_else(tmp_path: Path, text: str) -> None:
    write(tmp_path, "dk", text)
    write(tmp_path, "ch", KNOWN)
    inventory = {"tenants": {"hosts": {"dk": {}, "ch": {}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    line = [
        "-m",
        "ansible.builtin.debug",
        "-a",
        "msg={{ groups.all | map('extract', hostvars) | map(attribute='ansible_host', default='-') }}",
    ]
    said = ansible(tmp_path, "ansible", "-i", tmp_path / "hosts.json", "ch", *line)
    assert "192.0.2.7" in said
    assert "does not say how to reach dk" in " ".join(said.split())
    assert "remove it and run playbooks/cloud.yml again" in " ".join(said.split())
