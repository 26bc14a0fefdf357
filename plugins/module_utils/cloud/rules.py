"""Rules of the tenant's security group: from the inventory's CIDRs, and compared with what there is."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .survey import Group, Rule, rules_of
from .wish import Wish

WORLD = ("0.0.0.0/0", "::/0")
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
KEYS = {"protocol", "port", "port_min", "port_max", "cidrs", "description"}
# what a rule is made of
BODY = (
    *("direction", "ether_type", "protocol", "port_range_min", "port_range_max"),
    *("remote_ip_prefix", "description"),
)


class Opening(NamedTuple):
    """A port range and who may reach it, as an inventory says it."""

    line: str
    protocol: str
    port_min: int | None
    port_max: int | None
    cidrs: Sequence[str]
    description: str


class UnfitError(ValueError):
    """A line of the inventory that is not a valid rule."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def usual(wish: Wish) -> list[Opening]:
    """What every tenant opens, to whom its inventory says."""
    port = wish.database_port
    return [
        Opening("tenant_cloud_ssh_cidrs", "tcp", 22, 22, wish.ssh_cidrs, "SSH"),
        Opening("tenant_cloud_database_cidrs", "tcp", port, port, wish.database_cidrs, "database"),
    ]


def further(rule: Mapping[str, Any], number: int) -> Opening:
    """One of the inventory's further rules. Raise UnfitError if it is not valid."""
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
        hint = "list the allowed networks in its cidrs, or remove the rule"
        raise UnfitError(f"{name} has no list of networks", hint)
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
        hint = "write numbers from 1 to 65535, the smaller one as port_min"
        raise UnfitError(f"{name} opens {ports}, which is not a valid port or range", hint)
    return low, high


def network(text: str) -> list[str]:
    """The CIDRs of an inventory's entry: itself, or everyone's for `world`. Raise UnfitError for others."""
    entry = str(text).strip()
    if entry == "world":
        return list(WORLD)
    try:
        loose = ipaddress.ip_network(entry, strict=False)
        machine = ipaddress.ip_address(entry.split("/", maxsplit=1)[0])
    except ValueError:
        hint = "write it like 192.0.2.0/24 or 2001:db8::/32"
        raise UnfitError(f"{entry!r} is not a valid network", hint) from None
    if loose.prefixlen == 0:
        raise UnfitError(f"{entry} allows every address", "write the word world if that is meant")
    if machine != loose.network_address:
        hint = f"write {loose} for the network, or {machine}/{loose.max_prefixlen} for the one machine"
        raise UnfitError(f"{entry} is not a valid network: its host part is not zero", hint)
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
                message = f"{error.message} ({opening.line})"
                problems.append((opening.line, UnfitError(message, error.hint)))
    return problems


def wanted(wish: Wish) -> list[Rule]:
    """The rules that the group is to have: in what the inventory opens, out everything."""
    rules = [
        Rule(
            direction="ingress",
            ether_type="IPv6" if ":" in cidr else "IPv4",
            protocol="ipv6-icmp" if opening.protocol == "icmp" and ":" in cidr else opening.protocol,
            port_range_min=opening.port_min,
            port_range_max=opening.port_max,
            remote_ip_prefix=cidr,
            description=opening.description,
        )
        for opening in [
            *usual(wish),
            *(further(rule, number) for number, rule in enumerate(wish.rules, start=1)),
        ]
        for entry in opening.cidrs
        for cidr in network(entry)
    ]
    rules += [
        Rule(direction="egress", ether_type=family, remote_ip_prefix=everyone, description="everything out")
        for family, everyone in zip(("IPv4", "IPv6"), WORLD, strict=True)
    ]
    return list({key(rule): rule for rule in reversed(rules)}.values())[::-1]


def key(rule: Rule) -> Key:
    """What makes two rules the same for Neutron, however they are written down."""
    name = None if rule.protocol is None else str(rule.protocol).lower()
    protocol = PROTOCOLS.get(name, name) if name is not None else None
    if protocol == "icmp" and rule.ether_type == "IPv6":
        protocol = "ipv6-icmp"
    low, high = (None if port in {None, -1} else port for port in (rule.port_range_min, rule.port_range_max))
    if (low, high) == ALL_PORTS:
        low = high = None
    prefix = rule.remote_ip_prefix
    remote = str(ipaddress.ip_network(prefix, strict=False)) if prefix else None
    # a list of addresses is no CIDR either
    group = rule.remote_group_id or rule.remote_address_group_id
    # no address and no group is the same as everyone's address
    if remote in WORLD or (remote is None and group is None):
        remote = "world"
    return rule.direction, rule.ether_type, protocol, low, high, remote, group


def compare(wish: Wish, group: Group | None) -> tuple[list[Rule], list[Rule]]:
    """The rules that the group lacks, and those that it has too many: what somebody has opened by hand."""
    want = wanted(wish)
    if group is None:
        # a new group lets everything out by itself
        return [rule for rule in want if rule.direction == "ingress"], []
    there = rules_of(group)
    have, needed = {key(rule) for rule in there}, {key(rule) for rule in want}
    seen: set[Key] = set()
    extra = []
    for rule in there:
        # outgoing traffic is not restricted by the inventory
        if rule.direction == "ingress" and (key(rule) not in needed or key(rule) in seen):
            extra.append(rule)
        seen.add(key(rule))
    return [rule for rule in want if key(rule) not in have], extra


def words(rule: Rule) -> str:
    """`in tcp 22 from 192.0.2.0/24`."""
    _, _, protocol, low, high, remote, group = key(rule)
    ports = "" if low is None else f" {low}" if low == high else f" {low}-{high}"
    way, preposition = ("in", "from") if rule.direction == "ingress" else ("out", "to")
    other = f"group {group}" if group else "everyone" if remote == "world" else remote
    family = f" ({rule.ether_type})" if other == "everyone" or group else ""
    return f"{way} {protocol or 'any protocol'}{ports} {preposition} {other}{family}"


def body(rule: Rule) -> dict[str, Any]:
    """What Neutron is asked for."""
    return {name: value for name in BODY if (value := getattr(rule, name)) is not None}
