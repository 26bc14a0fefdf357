"""Ports of a host that programs and containers use already."""

import json
from typing import Any

import pytest

from tests.support.plugins import load

ports = load("filter", "ports")

# as `ss` prints them
LISTENERS = """\
udp   UNCONN 0      0      127.0.0.53%lo:53        0.0.0.0:* users:(("systemd-resolve",pid=401,fd=14))
udp   UNCONN 0      0            0.0.0.0:4789      0.0.0.0:*
tcp   LISTEN 0      128          0.0.0.0:22   0.0.0.0:* users:(("sshd",pid=7,fd=3),("systemd",pid=1,fd=52))
tcp   LISTEN 0      4096            [::]:7946         [::]:* users:(("consul",pid=9,fd=7))
tcp   LISTEN 0      4096               *:2377            *:* users:(("dockerd",pid=10,fd=22))
tcp   LISTEN 0      4096       127.0.0.1:5432      0.0.0.0:* users:(("postgres",pid=11,fd=5))
"""


def container(name: str, published: str) -> str:
    """A line of `docker container ls`."""
    return json.dumps({"Names": name, "Ports": published, "State": "running"})


CONTAINERS = [container("web", "0.0.0.0:80->8080/tcp, [::]:80->8080/tcp"), container("idle", "5432/tcp")]


@pytest.mark.parametrize(
    ("port", "more", "expected"),
    [
        ("22/tcp", {}, ["sshd", "systemd"]),
        ("22/udp", {}, []),
        ("53/udp", {}, ["systemd-resolve"]),
        ("53/udp", {"address": "10.0.0.7"}, []),
        ("7946/tcp", {"address": "10.0.0.7"}, ["consul"]),
        ("7946/tcp", {"own": ["consul"]}, []),
        ("4789/udp", {}, ["another program"]),
        ("80/tcp", {}, ["web"]),
        ("80/tcp", {"own": ["web"]}, []),
        ("5432/tcp", {"address": "127.0.0.1"}, ["postgres"]),
        ("11039/tcp", {}, []),
        # reported as such by another check
        ("eleven/tcp", {}, []),
    ],
)
def test_users_of_a_port_are_named_once(port: str, more: dict[str, Any], expected: list[str]) -> None:
    assert ports.port_users(LISTENERS, CONTAINERS, port, **more) == expected


def test_ports_of_the_swarm_that_others_use_are_named() -> None:
    web = container("gossip", "0.0.0.0:7946->7946/udp")
    assert ports.swarm_port_problems({}, "dk", LISTENERS, [web]) == [
        f"Port {port} of dk is in use by {user}, and the Docker swarm needs it."
        " Stop that program, or use another host."
        for port, user in [
            ("7946/tcp", "consul"),
            ("7946/udp", "gossip"),
            ("4789/udp", "another program"),
        ]
    ]
    assert ports.swarm_port_problems({"LocalNodeState": "active"}, "dk", LISTENERS, [web]) == []
