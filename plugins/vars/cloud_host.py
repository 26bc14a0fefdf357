"""The VM that playbooks/cloud.yml made is its tenant's inventory host."""

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.group import Group
from ansible.inventory.host import Host
from ansible.plugins.vars import BaseVarsPlugin

DOCUMENTATION = r"""
name: cloud_host
short_description: How to reach a tenant's VM that playbooks/cloud.yml has made
description:
  - Reads C(cloud.yml) of the tenant's state directory, which the role C(tenant_cloud) writes.
  - What the inventory says of the host itself wins.
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

    def get_vars(
        self, loader: object, path: str, entities: Host | Group | list[Host | Group]
    ) -> dict[str, Any]:
        """Answer for the hosts among the entities."""
        super().get_vars(loader, path, entities)
        states = Path(self.get_option("state_dir")).expanduser()
        variables: dict[str, Any] = {}
        for entity in entities if isinstance(entities, list) else [entities]:
            if isinstance(entity, Host):
                tenant = str(entity.get_vars().get("tenant_name", entity.name))
                known = host_variables(states / tenant, tenant)
                variables |= {name: value for name, value in known.items() if name not in entity.vars}
        return variables


def host_variables(state: Path, tenant: str) -> dict[str, Any]:
    """What the state directory of a tenant says about its VM; nothing where it has none.

    Raises:
        AnsibleParserError: the file is not what the role writes.
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
            "ansible_ssh_extra_args": SSH_OPTIONS.format(known_hosts=state / "known_hosts", alias=tenant),
            "tenant_data_volume_id": known["volume_id"],
        }
    except (yaml.YAMLError, KeyError, TypeError) as error:
        message = f"{file} does not say how to reach {tenant} ({error}); run playbooks/cloud.yml again."
        raise AnsibleParserError(message) from error
