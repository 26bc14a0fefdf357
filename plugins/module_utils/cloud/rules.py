"""Rules of the tenant's security group: from the inventory's CIDRs, and compared with what there is."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .model import WORLD, Group, Rule, Wish

Key = tuple[str, str, str | None, int | None, int | None, str | None, str | None]

# Neutron knows these by name and by number, and some by two names
PROTOCOLS = {
    "1": "icmp",
    "6": "tcp",
    "17": "udp",
    "58": "ipv6-icmp",
    "icmpv6": "ipv6-icmp",
    "any": None,
    "0": None,
}
ALL_PORTS = (1, 65535)
OUT = "everything out"
KEYS = {"protocol", "port", "port_min", "port_max", "cidrs", "description"}


@dataclass(frozen=True)
class Opening:
    """A port range and who may reach it, as an inventory says it."""

    line: str
    protocol: str
    port_min: int | None
    port_max: int | None
    cidrs: Sequence[str]
    description: str


class UnfitError(ValueError):
    """A line of the inventory that is no rule: what is found, and what to do."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


def openings(wish: Wish) -> list[Opening]:
    """SSH, the database, and the further rules.

    Raises:
        UnfitError: a further rule is none.
    """
    return [*usual(wish), *(further(rule, number) for number, rule in enumerate(wish.rules, start=1))]


def usual(wish: Wish) -> list[Opening]:
    """What every tenant opens, to whom its inventory says."""
    port = wish.database_port
    return [
        Opening("tenant_cloud_ssh_cidrs", "tcp", 22, 22, wish.ssh_cidrs, "SSH"),
        Opening("tenant_cloud_database_cidrs", "tcp", port, port, wish.database_cidrs, "database"),
    ]


def further(rule: Mapping[str, Any], number: int) -> Opening:
    """One of the inventory's further rules.

    Raises:
        UnfitError: it is none.
    """
    name = f"Rule {number} of tenant_cloud_rules"
    strange = sorted(set(rule) - KEYS)
    if strange:
        raise UnfitError(
            f"{name} has unknown keys: {', '.join(strange)}", f"use only {', '.join(sorted(KEYS))}"
        )
    protocol = str(rule.get("protocol") or "nothing")
    if protocol not in {"tcp", "udp", "icmp"}:
        raise UnfitError(f"{name} has the unsupported protocol {protocol}", "use tcp, udp or icmp")
    low, high = _ports(rule, name, protocol)
    cidrs = rule.get("cidrs") or ()
    if isinstance(cidrs, str) or not cidrs:
        raise UnfitError(
            f"{name} has no list of networks", "list the allowed networks in its cidrs, or remove the rule"
        )
    description = str(rule.get("description") or "tenant_cloud_rules")
    return Opening(f"rule {number} of tenant_cloud_rules", protocol, low, high, cidrs, description)


def _ports(rule: Mapping[str, Any], name: str, protocol: str) -> tuple[int | None, int | None]:
    given = {key: rule[key] for key in ("port", "port_min", "port_max") if rule.get(key) is not None}
    if protocol == "icmp":
        if given:
            raise UnfitError(f"{name} has a port, but icmp has no ports", "remove the port")
        return None, None
    if set(given) not in ({"port"}, {"port_min", "port_max"}):
        raise UnfitError(f"{name} names no port", "write either port, or port_min and port_max")
    try:
        low, high = (int(given.get(key, given.get("port", 0))) for key in ("port_min", "port_max"))
    except (TypeError, ValueError):
        low, high = 0, 0
    if not 1 <= low <= high <= 65535:
        ports = " to ".join(str(value) for value in given.values())
        remedy = "write numbers from 1 to 65535, the smaller one as port_min"
        raise UnfitError(f"{name} opens {ports}, which is not a valid port or range", remedy)
    return low, high


def network(text: str) -> list[str]:
    """The CIDRs that an inventory's entry stands for: itself, or everyone's for `world`.

    Raises:
        UnfitError: it is no CIDR, or opens more or less than it seems to.
    """
    entry = str(text).strip()
    if entry == "world":
        return list(WORLD)
    try:
        loose = ipaddress.ip_network(entry, strict=False)
        machine = ipaddress.ip_address(entry.split("/", maxsplit=1)[0])
    except ValueError:
        found = f"{entry!r} is not a valid network"
        raise UnfitError(found, "write it like 192.0.2.0/24 or 2001:db8::/32") from None
    if loose.prefixlen == 0:
        raise UnfitError(f"{entry} allows every address", "write the word world if that is meant")
    if machine != loose.network_address:
        remedy = f"write {loose} for the network, or {machine}/{loose.max_prefixlen} for the one machine"
        raise UnfitError(f"{entry} is not a valid network: its host part is not zero", remedy)
    return [str(loose)]


def unfit(wish: Wish) -> list[tuple[str, UnfitError]]:
    """Everything that is wrong about CIDRs and rules, by the inventory's line."""
    problems: list[tuple[str, UnfitError]] = []
    every = usual(wish)
    for number, rule in enumerate(wish.rules, start=1):
        try:
            every.append(further(rule, number))
        except UnfitError as error:
            problems.append(("tenant_cloud_rules", error))
    for opening in every:
        for cidr in opening.cidrs:
            try:
                network(cidr)
            except UnfitError as error:
                problems.append((opening.line, UnfitError(f"{error.found} ({opening.line})", error.remedy)))
    return problems


def wanted(wish: Wish) -> list[Rule]:
    """The rules that the group is to have: in what the inventory opens, out everything.

    Raises:
        UnfitError: a line is no rule.
    """
    rules = [
        Rule(
            "ingress",
            "IPv6" if ":" in cidr else "IPv4",
            "ipv6-icmp" if opening.protocol == "icmp" and ":" in cidr else opening.protocol,
            opening.port_min,
            opening.port_max,
            cidr,
            description=opening.description,
        )
        for opening in openings(wish)
        for entry in opening.cidrs
        for cidr in network(entry)
    ]
    # with a description of their own: the module that makes rules takes any for the same
    # that agrees in what it was told
    rules += [
        Rule("egress", ether_type, remote_ip=everyone, description=OUT)
        for ether_type, everyone in zip(("IPv4", "IPv6"), WORLD, strict=True)
    ]
    return list({key(rule): rule for rule in reversed(rules)}.values())[::-1]


def key(rule: Rule) -> Key:
    """What makes two rules the same for Neutron, however they are written down."""
    name = None if rule.protocol is None else str(rule.protocol).lower()
    protocol = PROTOCOLS.get(name, name) if name is not None else None
    if protocol == "icmp" and rule.ether_type == "IPv6":
        protocol = "ipv6-icmp"
    low, high = (None if port in {None, -1} else port for port in (rule.port_min, rule.port_max))
    if (low, high) == ALL_PORTS:
        low = high = None
    remote = str(ipaddress.ip_network(rule.remote_ip, strict=False)) if rule.remote_ip else None
    # no address and no group is the same as everyone's address
    if remote in WORLD or (remote is None and rule.remote_group is None):
        remote = "world"
    return rule.direction, rule.ether_type, protocol, low, high, remote, rule.remote_group


def compare(wish: Wish, group: Group | None) -> tuple[list[Rule], list[Rule]]:
    """The rules that the group lacks, and those that it has too many: what somebody has opened by hand.

    Raises:
        UnfitError: a line is no rule.
    """
    want = wanted(wish)
    if group is None:
        # a new group lets everything out by itself
        return [rule for rule in want if rule.direction == "ingress"], []
    have = {key(rule) for rule in group.rules}
    needed = {key(rule) for rule in want}
    lacking = [rule for rule in want if key(rule) not in have]
    seen: set[Key] = set()
    extra = []
    for rule in group.rules:
        # what goes out is not ours to narrow
        if rule.direction == "ingress" and (key(rule) not in needed or key(rule) in seen):
            extra.append(rule)
        seen.add(key(rule))
    return lacking, extra


def words(rule: Rule) -> str:
    """`in tcp 22 from 192.0.2.0/24`."""
    _, _, protocol, low, high, remote, group = key(rule)
    ports = "" if low is None else f" {low}" if low == high else f" {low}-{high}"
    way, preposition = ("in", "from") if rule.direction == "ingress" else ("out", "to")
    other = f"group {group}" if group else "everyone" if remote == "world" else remote
    family = f" ({rule.ether_type})" if other == "everyone" or group else ""
    return f"{way} {protocol or 'any protocol'}{ports} {preposition} {other}{family}"


def arguments(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """The rules as arguments of openstack.cloud.security_group_rule."""
    return [
        {
            "direction": rule.direction,
            "ether_type": rule.ether_type,
            "protocol": rule.protocol,
            "port_range_min": rule.port_min,
            "port_range_max": rule.port_max,
            "remote_ip_prefix": rule.remote_ip,
            "description": rule.description,
            "text": words(rule),
        }
        for rule in rules
    ]
