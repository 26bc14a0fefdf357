"""Address pools of the container engine and the swarm: against each other, clients, and a host's networks."""

from typing import Any

import pytest

from tests.support.inventories import said
from tests.support.plugins import load

pool_problems = load("filter", "address_pools").pool_problems
swarm_problems = load("filter", "swarm").swarm_problems

# as `ip -json -4 route show` prints it on a host of a cloud that has an engine and a swarm already
ROUTES = """[{"dst":"default","gateway":"10.0.0.1","dev":"eth0","protocol":"dhcp","metric":100,"flags":[]},
{"dst":"10.0.0.0/24","dev":"eth0","protocol":"kernel","scope":"link","prefsrc":"10.0.0.7","flags":[]},
{"dst":"169.254.169.254","gateway":"10.0.0.2","dev":"eth0","protocol":"dhcp","metric":100,"flags":[]},
{"dst":"172.20.0.0/24","dev":"docker0","protocol":"kernel","scope":"link","prefsrc":"172.20.0.1","flags":[]},
{"dst":"172.20.1.0/24","dev":"br-d013e81fd59d","protocol":"kernel","scope":"link","flags":[]},
{"dst":"172.30.0.0/16","dev":"br-d013e81fd59e","protocol":"kernel","scope":"link","flags":[]}]"""
ENGINE, SWARM = "docker_engine_address_pools", "swarm_address_pool"
OWN = ["10.0.0.7", "fd00::7", "lo", "eth0"]
REMEDY = "Choose a range that no network of the tenant uses."


@pytest.mark.parametrize(
    ("variable", "pools", "expected"),
    [
        (ENGINE, ["172.20.0.0/15"], []),
        (SWARM, ["172.29.0.0/16"], []),
        (ENGINE, ["10.0.0.0/8"], ["10.0.0.0/8 overlaps the network 10.0.0.0/24 of dk (eth0)."]),
        (
            ENGINE,
            ["192.168.0.0/16", "10.0.0.0/28"],
            ["10.0.0.0/28 overlaps the network 10.0.0.0/24 of dk (eth0)."],
        ),
        (SWARM, ["169.254.0.0/16"], ["169.254.0.0/16 overlaps the network 169.254.169.254/32 of dk (eth0)."]),
        # the engine's own bridges are none of its rivals, but the swarm's
        (ENGINE, ["172.30.0.0/16"], []),
        (
            SWARM,
            ["172.30.0.0/16"],
            ["172.30.0.0/16 overlaps the network 172.30.0.0/16 of dk (br-d013e81fd59e)."],
        ),
        # of what is no range, something is said elsewhere
        (SWARM, ["world", "10.0.0.0/33", None], []),
        (SWARM, None, []),
    ],
)
def test_a_pool_that_a_network_of_the_host_uses_is_named(
    variable: str, pools: Any, expected: list[str]
) -> None:
    found = pool_problems(pools, variable, "dk", ROUTES, ["192.0.2.53"])
    assert found == [f"{variable}: {each} {REMEDY}" for each in expected]


def test_a_name_server_inside_a_pool_would_not_be_reached() -> None:
    found = pool_problems(["192.168.0.0/16"], SWARM, "dk", ROUTES, ["192.168.7.1", "fd00::1", "10.0.0.2"])
    assert found == [f"{SWARM}: 192.168.0.0/16 contains the name server 192.168.7.1 of dk. {REMEDY}"]


def test_a_host_without_routes_has_no_collision() -> None:
    assert pool_problems(["10.0.0.0/8"], SWARM, "dk", "") == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({ENGINE: [{"base": "172.20.0.0/15", "size": 24}], SWARM: ["172.29.0.0/16"]}, []),
        # with the other's default
        (
            {SWARM: ["172.21.0.0/16"]},
            [f"{ENGINE}: 172.20.0.0/15 overlaps {SWARM} (172.21.0.0/16). Choose ranges that do not overlap."],
        ),
        (
            {ENGINE: [{"base": "172.28.0.0/14", "size": 24}]},
            [f"{ENGINE}: 172.28.0.0/14 overlaps {SWARM} (172.29.0.0/16). Choose ranges that do not overlap."],
        ),
        (
            {ENGINE: [{"base": "192.168.0.0/20", "size": 16}]},
            [f"{ENGINE}.size: networks of /16 do not fit into 192.168.0.0/20. Use a number from 20 to 30."],
        ),
        (
            {"postgis_client_cidrs": ["172.20.7.0/24", "0.0.0.0/0", "172.16.0.0/12", "2001:db8::/32"]},
            [
                f"{ENGINE}: 172.20.0.0/15 contains 172.20.7.0/24 of postgis_client_cidrs,"
                f" whose clients would get no answer. {REMEDY}"
            ],
        ),
    ],
)
def test_pools_fit_each_other_and_the_clients(values: dict[str, Any], expected: list[str]) -> None:
    assert said(values) == expected


@pytest.mark.parametrize(
    ("swarm", "said_of_it"),
    [
        # no engine, no swarm, our own, and one that came with a moved volume, which is given up
        ({}, None),
        ({"LocalNodeState": "inactive", "ControlAvailable": False, "RemoteManagers": None}, None),
        ({"LocalNodeState": "active", "ControlAvailable": True}, None),
        ({"LocalNodeState": "error", "ControlAvailable": False, "RemoteManagers": None}, None),
        ({"LocalNodeState": "locked"}, "The swarm of dk is locked. Run docker swarm unlock there."),
        (
            {
                "LocalNodeState": "active",
                "ControlAvailable": False,
                "RemoteManagers": [{"Addr": "10.0.0.9:2377"}],
            },
            "dk is a worker of another swarm (managers: 10.0.0.9:2377), and extraction needs a manager."
            " Run docker swarm leave there if nobody needs it, or use another host.",
        ),
    ],
)
def test_a_host_that_cannot_be_a_manager_is_named(swarm: dict[str, Any], said_of_it: str | None) -> None:
    assert swarm_problems(swarm, "dk", "10.0.0.7", OWN) == ([said_of_it] if said_of_it else [])


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("10.0.0.7", True),
        ("10.0.0.7:2377", True),
        ("fd00::7", True),
        ("eth0", True),
        ("10.0.0.8", False),
        ("eth1", False),
        ("", False),
    ],
)
def test_the_swarms_address_is_the_hosts_own(address: str, is_own: bool) -> None:
    sentence = (
        f"swarm_address: dk has neither an address nor an interface '{address}'."
        " Use one that the host has, or remove the variable."
    )
    assert swarm_problems({}, "dk", address, OWN) == ([] if is_own else [sentence])
