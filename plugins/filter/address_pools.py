"""Address pools of the container engine and the swarm against the networks of a host."""

import json
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.inventory.pools import against_host  # noqa: E402

DOCUMENTATION = r"""
name: pool_problems
short_description: Sentences about address pools that collide with networks of a host
positional: variable, host, routes, name_servers
options:
  _input:
    description: IPv4 networks.
    type: list
    elements: str
    required: true
  variable:
    description: The variable that holds them.
    type: str
    required: true
  host:
    description: The name of the host.
    type: str
    required: true
  routes:
    description: What C(ip -json -4 route show) prints.
    type: str
    required: true
  name_servers:
    description: Addresses that the host looks names up at.
    type: list
    elements: str
    default: []
"""
EXAMPLES = r"""
---
problems: "{{ swarm_address_pool | pool_problems('swarm_address_pool', inventory_hostname, routes.stdout) }}"
"""
RETURN = "_value: {description: A sentence each., type: list, elements: str}"


def pool_problems(
    pools: object, variable: str, host: str, routes: str, name_servers: Sequence[str] = ()
) -> list[str]:
    """Sentences about pools that collide with networks of a host."""
    found = against_host(variable, pools, host, json.loads(routes or "[]"), name_servers)
    return [problem.sentence for problem in found]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name the filters."""
        return {"pool_problems": pool_problems}
