"""The plan: what stands in the way, what is to be done, what differs, and the ids that doing it needs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from . import local_checks as inventory
from .addresses import Addresses, addresses
from .choice import Choice, choose, volume_type
from .credential import credentials
from .findings import Check, Findings
from .model import Port, Server, Survey, Volume, Wish
from .network import Fence, Socket, group, port
from .quota import quotas
from .rules import arguments, words
from .server import server
from .volume import volume

# the table's rows when the cloud could not be asked, before and after what can be checked without it
UNSEEN = ("image", "flavor", "network", "eodata network", "external network", "volume type")
UNSEEN_LATER = ("quotas", "what exists")


def plan(wish: Wish, survey: Survey | None, stopped: Check | None = None) -> tuple[dict[str, Any], Findings]:
    """Compare wish and survey; without a survey, `stopped` tells why there is none."""
    findings = Findings()
    inventory.contact(findings, wish.contact)
    inventory.elsewhere(findings, wish)
    inventory.tenant(findings, wish)
    if survey is None:
        return _unseen(findings, wish, stopped), findings

    credentials(findings, wish, survey)
    new = not any(each.name == wish.name and wish.owns(each.metadata) for each in survey.servers)
    choice = choose(findings, wish, survey, new=new)
    disk_there = bool(wish.volume) or any(each.name == wish.volume_name for each in survey.volumes)
    volume_type(findings, wish, survey, new=not disk_there)
    fit = inventory.rules(findings, wish)
    inventory.keys(findings, wish)

    # in the table quotas come first, but they need what comes after them
    there = Findings()
    fence = group(there, wish, survey, fit=fit)
    machine = server(there, wish, survey, choice)
    sockets = {
        "tenant": Socket(wish.name, choice.network, vital=True),
        **({"eodata": Socket(wish.eodata_port, choice.eodata_network)} if wish.eodata_network else {}),
    }
    ports = {
        name: port(there, wish, survey, socket, server=machine, group=fence.group)
        for name, socket in sockets.items()
    }
    disk = volume(there, wish, survey, machine)
    ips = addresses(there, wish, survey, ports["tenant"])

    needs = _needs(wish, choice, there, machine=machine, fence=fence if fit else None, disk=disk, ips=ips)
    quotas(findings, survey, needs)
    findings.add(there)

    external = choice.external_network.id if choice.external_network else None
    return {
        **outcome(findings),
        "region": survey.region,
        "project_id": survey.project_id,
        "credential_id": survey.credential_id,
        "credential_expires": survey.credential_expires,
        "image_id": choice.image.id if choice.image else None,
        "network_id": choice.network.id if choice.network else None,
        "eodata_network_id": choice.eodata_network.id if choice.eodata_network else None,
        "external_network_id": external or (ips.take.network_id if ips.take else None),
        **_there(wish, machine, disk, fence, ports),
        **_addresses(wish, survey, machine, ports["tenant"], ips),
    }, findings


def _needs(
    wish: Wish,
    choice: Choice,
    there: Findings,
    *,
    machine: Server | None,
    fence: Fence | None,
    disk: Volume | None,
    ips: Addresses,
) -> dict[str, int | None]:
    """How much of each quota is needed. None: not known, because what it hangs on is wrong."""
    made = [change.resource for change in there.changes if change.action == "create"]
    flavor, new_group = choice.flavor, made.count("security_group")
    size = 0 if wish.volume else max(0, wish.volume_gb - (disk.size if disk else 0))
    needs: dict[str, int | None] = {
        "instances": made.count("server"),
        "cores": 0 if machine else flavor.vcpus if flavor else None,
        "ram": 0 if machine else flavor.memory_mb if flavor else None,
        "volumes": made.count("volume"),
        "gigabytes": size,
        "floating_ips": ips.new,
        "security_groups": new_group,
        # a new group comes with two rules of its own
        "security_group_rules": None if fence is None else len(fence.lacking) + 2 * new_group,
        "ports": made.count("port"),
    }
    kind = disk.type if disk else wish.volume_type
    if kind and not wish.volume:
        needs |= {f"volumes_{kind}": made.count("volume"), f"gigabytes_{kind}": size}
    return needs


def _unseen(findings: Findings, wish: Wish, stopped: Check | None) -> dict[str, Any]:
    """The plan when the cloud could not be asked: what can be said all the same."""
    if stopped:
        findings.checks.append(stopped)
    for check in UNSEEN:
        findings.unknown(check)
    inventory.rules(findings, wish)
    inventory.keys(findings, wish)
    for check in UNSEEN_LATER:
        findings.unknown(check)
    return {
        **outcome(findings),
        "region": wish.region,
        "project_id": "",
        "credential_id": "",
        "credential_expires": "",
        **dict.fromkeys(("image_id", "network_id", "eodata_network_id", "external_network_id")),
        **_there(wish, None, None, Fence(), {}),
        **_addresses(wish, Survey(), None, None, Addresses()),
    }


def outcome(findings: Findings) -> dict[str, Any]:
    """What people are shown."""
    return {
        "problems": [
            {name: getattr(check, name) for name in ("check", "wanted", "found", "remedy", "text")}
            for check in findings.problems
        ],
        "table": findings.table(),
        "changes": [
            {name: getattr(change, name) for name in ("action", "resource", "name", "text")}
            for change in findings.changes
        ],
        "drift": [asdict(difference) for difference in findings.drift],
    }


def _there(
    wish: Wish,
    machine: Server | None,
    disk: Volume | None,
    fence: Fence,
    ports: Mapping[str, Port | None],
) -> dict[str, Any]:
    """What there is, and the rules that there are to be."""
    return {
        "flavor": wish.flavor,
        "volume_type": wish.volume_type,
        "server": _told(machine, "id", "name", "status", "flavor", "addresses", "fault"),
        "volume": _told(disk, "id", "name", "size", "status", "type", "attached_to"),
        "group": _told(fence.group, "id", "name"),
        "ports": {
            name: _told(ports.get(name), "id", "name", "network_id", "addresses")
            for name in ("tenant", "eodata")
        },
        "rules_missing": arguments(fence.lacking),
        "rules_extra": [{"id": rule.id, "text": words(rule)} for rule in fence.extra],
    }


def _told(thing: Server | Volume | Port | Any, *names: str) -> dict[str, Any] | None:
    if thing is None:
        return None
    values = {name: getattr(thing, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _addresses(
    wish: Wish, survey: Survey, machine: Server | None, tenant_port: Port | None, ips: Addresses
) -> dict[str, Any]:
    ours = [each for each in survey.addresses if wish.marked(each.description) or each == ips.server]
    fixed = next(iter(tenant_port.addresses), "") if tenant_port and machine else ""
    return {
        "floating_ips": [_told(each, "id", "address", "port_id") for each in ours],
        # where the server is reached
        "address": ips.server.address if ips.server else fixed,
        "floating_ip_wanted": ips.wanted,
        # one that the project has and the server is to get; empty: a new one
        "floating_ip": ips.take.address if ips.take else "",
        "reserves_missing": list(ips.reserves_missing),
    }
