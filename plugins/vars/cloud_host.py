"""The VM that playbooks/cloud.yml made is its tenant's inventory host."""

import runpy
from pathlib import Path
from typing import Any

import yaml
from ansible.inventory.group import Group
from ansible.inventory.helpers import sort_groups
from ansible.inventory.host import Host
from ansible.plugins.loader import vars_loader
from ansible.plugins.vars import BaseVarsPlugin
from ansible.template import is_trusted_as_template, trust_as_template
from ansible.utils.display import Display

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.inventory.formats import is_name  # noqa: E402

DOCUMENTATION = r"""
name: cloud_host
short_description: How to reach a tenant's VM that playbooks/cloud.yml has made
description:
  - Reads C(cloud.yml) of the tenant's state directory, which the role C(tenant_cloud) writes.
  - What the inventory says wins, in lines of the host and its groups and in C(host_vars) and C(group_vars);
    options in C(ansible_ssh_common_args) come after those that check the host's key.
  - It is read for every task, so a VM made by the first play of a run is there for the second.
options:
  state_dir:
    description: The directory of all tenants' states.
    type: path
    default: ~/.local/state/cbm
    env:
      - name: CBM_STATE_DIR
"""

# the host's key is looked up by the tenant's name: addresses are handed on from one VM to another
SSH_OPTIONS = "-o UserKnownHostsFile='\"{known_hosts}\"' -o HostKeyAlias={alias} -o StrictHostKeyChecking=yes"


class VarsModule(BaseVarsPlugin):  # type: ignore[misc] # Ansible is not typed
    """Variables of hosts; groups have none."""

    REQUIRES_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        # of each host what its groups say, and what it says itself; Ansible asks for each inventory in turn
        self._told: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def get_vars(
        self, loader: object, path: str, entities: Host | Group | list[Host | Group]
    ) -> dict[str, Any]:
        """Answer for the hosts among the entities."""
        super().get_vars(loader, path, entities)
        states = Path(self.get_option("state_dir")).expanduser()
        variables: dict[str, Any] = {}
        for entity in entities if isinstance(entities, list) else [entities]:
            if isinstance(entity, Host):
                written = self._written(loader, path, entity)
                tenant = str(written.get("tenant_name", entity.name))
                known = host_variables(states / tenant, tenant) if is_name(tenant) else {}
                variables |= reconciled(known, written)
        return variables

    def _written(self, loader: object, path: str, host: Host) -> dict[str, Any]:
        """What inventories say of a host, as far as Ansible has asked: their files, too."""
        files = vars_loader.get("host_group_vars")
        of_groups, of_host = self._told.setdefault(host.name, ({}, {}))
        for group in sort_groups(host.get_groups()):
            of_groups |= group.vars | files.get_vars(loader, path, [group])
        of_host |= host.vars | files.get_vars(loader, path, [host])
        return of_groups | of_host


def reconciled(known: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    """What is known of a VM, unless the inventory says otherwise; nothing where there is no VM.

    The check of the host's key stays in any case: it goes first, and ssh takes the first that it is told.
    """
    if not known:
        return {}
    login = written.get("tenant_cloud_login_user", written.get("ansible_user", known["ansible_user"]))
    options, further = known["ansible_ssh_common_args"], written.get("ansible_ssh_common_args")
    if further:
        joined = f"{options} {further}"
        options = trust_as_template(joined) if is_trusted_as_template(further) else joined
    return {
        **{name: written.get(name, value) for name, value in known.items()},
        "ansible_user": login,
        "ansible_ssh_common_args": options,
        # else Ansible says no before we can say yes
        "ansible_host_key_checking": True,
        "ansible_ssh_host_key_checking": True,
    }


def host_variables(state: Path, tenant: str) -> dict[str, Any]:
    """What the state directory of a tenant says about its VM; nothing where it has none, or nothing legible.

    A file that is broken must not stop the other tenants: the playbooks tell that there is no VM.
    """
    file = state / "cloud.yml"
    try:
        text = file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        known = yaml.safe_load(text)
        return {
            "ansible_host": known["address"],
            "ansible_user": known["login_user"],
            "ansible_ssh_common_args": SSH_OPTIONS.format(known_hosts=state / "known_hosts", alias=tenant),
            "tenant_data_volume_id": known["volume_id"],
        }
    except (yaml.YAMLError, KeyError, TypeError) as error:
        remedy = "remove it and run playbooks/cloud.yml again"
        Display().warning(f"{file} does not say how to reach {tenant} ({error}); {remedy}.")
        return {}
