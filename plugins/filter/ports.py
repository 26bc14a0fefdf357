"""Which programs and containers of a host use a port, and those that a swarm needs."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: port_users
short_description: Programs and containers of a host that use a port
positional: containers, port, own, address
options:
  _input:
    description: What C(ss --no-header --listening --tcp --udp --numeric --processes) prints.
    type: str
    required: true
  containers:
    description: "What C(docker container ls --format '{{json .}}') prints, a line each."
    type: list
    elements: str
    required: true
  port:
    description: The port, such as C(2377/tcp).
    type: str
    required: true
  own:
    description: Names of programs and containers that may use it.
    type: list
    elements: str
    default: []
  address:
    description: The address of the host at which the port is needed.
    type: str
    default: 0.0.0.0
"""
EXAMPLES = r"""
---
taken_by: "{{ listeners.stdout | port_users(containers.stdout_lines, '11039/tcp', ['ams_db']) }}"
"""
RETURN = "_value: {description: Names without those that may use it, each once., type: list, elements: str}"

# management, discovery of nodes (twice), overlay networks
SWARM_PORTS = ("2377/tcp", "7946/tcp", "7946/udp", "4789/udp")
EVERYWHERE = {"0.0.0.0", "*", "::"}  # noqa: S104
# as Docker prints a published port: 0.0.0.0:8000-8001->80-81/tcp
PUBLISHED = re.compile(r"(?:(\S+):)?(\d+)(?:-(\d+))?->[\d-]+/(\w+)")
# these listen for containers, which are found by their names
ENGINE = {"docker-proxy", "dockerd"}


def port_users(
    listeners: str,
    containers: Sequence[str],
    port: str,
    own: Sequence[str] = (),
    address: str = "0.0.0.0",  # noqa: S104
) -> list[str]:
    """Names of programs and containers that use a port at an address, without those that may, each once.

    A port that is not a number has no users; it is reported by the check of the inventory.
    """
    if not port.partition("/")[0].isdecimal():
        return []
    publishing = list(_publishing(containers, port, address))
    listening = [name for name in _listening(listeners, port, address) if not (publishing and name in ENGINE)]
    # its container cannot run beside another user of the port
    if set(own) & set(publishing):
        listening = []
    return [name for name in dict.fromkeys([*publishing, *listening]) if name not in own]


def swarm_port_problems(
    swarm: Mapping[str, Any], host: str, listeners: str, containers: Sequence[str]
) -> list[str]:
    """Sentences about ports that others use on a host which is to begin a swarm.

    `swarm` is `.Swarm` of `docker info`. A swarm that is active has its ports.
    """
    if swarm.get("LocalNodeState") == "active":
        return []
    return [
        f"Port {port} of {host} is in use by {', '.join(users)}, and the Docker swarm needs it."
        " Stop that program, or use another host."
        for port in SWARM_PORTS
        if (users := port_users(listeners, containers, port, ["dockerd"]))
    ]


def _publishing(containers: Sequence[str], port: str, address: str) -> Iterator[str]:
    number, _, protocol = port.partition("/")
    for line in containers:
        container = json.loads(line)
        for at, first, last, its_protocol in PUBLISHED.findall(container["Ports"]):
            numbers = range(int(first), int(last or first) + 1)
            if its_protocol == protocol and int(number) in numbers and _meet(at, address):
                yield container["Names"]


def _listening(listeners: str, port: str, address: str) -> Iterator[str]:
    number, _, protocol = port.partition("/")
    for line in listeners.splitlines():
        kind, _, _, _, local, *_ = line.split()
        at, _, its_number = local.rpartition(":")
        if kind == protocol and its_number == number and _meet(at, address):
            names = re.findall(r'\("([^"]+)"', line)
            yield from names or ["another program"]


def _meet(one: str, other: str) -> bool:
    """Whether sockets at two addresses exclude each other."""
    # 127.0.0.53%lo, [::1]
    one, other = (each.partition("%")[0].strip("[]") or "*" for each in (one, other))
    return one == other or bool({one, other} & EVERYWHERE)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name the filters."""
        return {"port_users": port_users, "swarm_port_problems": swarm_port_problems}
