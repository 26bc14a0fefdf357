"""Networks in variables of a role that also works without this project's inventory."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.inventory.formats import FORMATS  # noqa: E402
from ansible.module_utils.inventory.specification import Option, Rule  # noqa: E402
from ansible.module_utils.inventory.values import judge_value  # noqa: E402

DOCUMENTATION = r"""
name: lines
short_description: Sentences about what is not a list of networks
positional: name
options:
  _input:
    description: Networks as PostgreSQL's access rules have them, IPv4 or IPv6, each with its length.
    type: raw
    required: true
  name:
    description: The variable that holds them.
    type: str
    required: true
"""
EXAMPLES = r"""
---
problems: "{{ postgis_client_cidrs | network_problems('postgis_client_cidrs') }}"
"""
RETURN = "_value: {description: A sentence each., type: list, elements: str}"


def network_problems(value: Any, name: str) -> list[str]:
    """Sentences about what is not a list of networks."""
    networks = Option(name, type="list", rule=Rule(format=FORMATS["network"]))
    return [problem.sentence for problem in judge_value(networks, value)]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name the filters."""
        return {"network_problems": network_problems}
