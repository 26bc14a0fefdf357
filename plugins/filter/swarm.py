"""What keeps a host from being the manager of its own swarm."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

DOCUMENTATION = r"""
name: swarm_problems
short_description: Sentences about what keeps a host from being a swarm manager
positional: host, address, own
options:
  _input:
    description: What C(docker info) reports about the swarm; empty if there is no engine.
    type: dict
    required: true
  host:
    description: The name of the host.
    type: str
    required: true
  address:
    description: Address at which other nodes reach the host, or an interface; a port may follow.
    type: str
    required: true
  own:
    description: Addresses and interfaces that the host has.
    type: list
    elements: str
    required: true
"""
EXAMPLES = r"""
---
problems: "{{ swarm_known | swarm_problems(inventory_hostname, '10.0.0.7', ['10.0.0.7', 'eth0']) }}"
"""
RETURN = "_value: {description: A sentence each., type: list, elements: str}"


def swarm_problems(swarm: Mapping[str, Any], host: str, address: str, own: Collection[str]) -> list[str]:
    """Sentences about a swarm in which the host cannot work as a manager.

    `swarm` is `.Swarm` of `docker info`: LocalNodeState is inactive, pending, active, error or locked.
    """
    if address not in own and address.rpartition(":")[0] not in own:
        return [
            f"swarm_address: {host} has neither an address nor an interface '{address}'."
            " Use one that the host has, or remove the variable."
        ]
    state = swarm.get("LocalNodeState", "inactive")
    if state == "locked":
        return [f"The swarm of {host} is locked. Run docker swarm unlock there."]
    if state == "active" and not swarm.get("ControlAvailable"):
        managers = ", ".join(str(manager.get("Addr", "")) for manager in swarm.get("RemoteManagers") or [])
        of = f" (managers: {managers})" if managers else ""
        return [
            f"{host} is a worker of another swarm{of}, and extraction needs a manager."
            " Run docker swarm leave there if nobody needs it, or use another host."
        ]
    return []


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name the filters."""
        return {"swarm_problems": swarm_problems}
