"""Address ranges that a container engine takes its networks from.

They must not overlap each other, nor networks of clients or of the host: an engine that has taken a network
to which the host has a route cuts the host, or its clients, off.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from .problem import Problem

ENGINE, SWARM = "docker_engine_address_pools", "swarm_address_pool"
CLIENTS = ("postgis_client_cidrs", "postgis_worker_cidrs")
# bridges that the engine itself has made
OWN = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
REMEDY = "Choose a range that no network of the tenant uses."


def judge(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of pools that can be seen without a host; what is not set is taken from the defaults."""
    names = (ENGINE, SWARM, *CLIENTS)
    if not values.keys() & set(names):
        return
    said = {name: values.get(name, defaults.get(name)) for name in names}
    pools = said.get(ENGINE)
    if isinstance(pools, Sequence) and not isinstance(pools, str):
        yield from (problem for pool in pools if isinstance(pool, Mapping) for problem in _size(pool))
    engine, swarm = networks(bases(pools)), networks(said.get(SWARM))
    for one in engine:
        for other in swarm:
            if one.overlaps(other):
                message = f"{ENGINE}: {one} overlaps {SWARM} ({other})."
                yield _problem(ENGINE, message, "Choose ranges that do not overlap.")
    for variable, ranges in ((ENGINE, engine), (SWARM, swarm)):
        for name in CLIENTS:
            for network in networks(said.get(name)):
                # a larger network only says that clients may be anywhere
                for pool in (pool for pool in ranges if network.subnet_of(pool)):
                    message = (
                        f"{variable}: {pool} contains {network} of {name}, whose clients would get no answer."
                    )
                    yield _problem(variable, message, REMEDY)


def _size(pool: Mapping[str, Any]) -> Iterator[Problem]:
    for network in networks([pool.get("base")]):
        size = str(pool.get("size", ""))
        if size.isdecimal() and int(size) < network.prefixlen:
            message = f"{ENGINE}.size: networks of /{size} do not fit into {network}."
            yield _problem(ENGINE, message, f"Use a number from {network.prefixlen} to 30.")


def against_host(
    variable: str,
    pools: object,
    host: str,
    routes: Iterable[Mapping[str, Any]],
    name_servers: Iterable[object] = (),
) -> Iterator[Problem]:
    """Problems of pools with the networks that a host reaches.

    Args:
        variable: names the pools; bridges of the engine itself count against those of the swarm only.
        pools: IPv4 networks as texts; an invalid one is skipped here and reported elsewhere.
        host: the host's name.
        routes: what `ip -json -4 route show` prints.
        name_servers: addresses that the host looks names up at.
    """
    for pool in networks(pools):
        for route in routes:
            own = variable == ENGINE and OWN.fullmatch(str(route.get("dev", "")))
            for network in networks([route.get("dst")]):
                if not own and network.prefixlen and pool.overlaps(network):
                    device = f" ({route['dev']})" if "dev" in route else ""
                    message = f"{variable}: {pool} overlaps the network {network} of {host}{device}."
                    yield _problem(variable, message, REMEDY)
        for network in networks(name_servers):
            if network.subnet_of(pool):
                message = f"{variable}: {pool} contains the name server {network.network_address} of {host}."
                yield _problem(variable, message, REMEDY)


def bases(pools: object) -> list[object]:
    """The ranges of pools as Docker has them, each with `base` and `size`."""
    if isinstance(pools, str) or not isinstance(pools, Sequence):
        return []
    return [pool.get("base") for pool in pools if isinstance(pool, Mapping)]


def networks(said: object) -> list[IPv4Network]:
    """IPv4 networks among texts; an address is a network of one."""
    if isinstance(said, str | Mapping) or not isinstance(said, Iterable):
        return []
    found = []
    for each in said:
        try:
            found.append(IPv4Network(str(each), strict=False))
        except ValueError:
            continue
    return found


def _problem(variable: str, message: str, hint: str) -> Problem:
    return Problem("inventory.address_pool", variable, message, hint)
