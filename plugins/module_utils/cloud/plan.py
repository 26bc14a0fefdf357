"""The plan: what prevents a run, what it is to do, what differs, and the resources that it does it with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import local_checks
from .addresses import Addresses, addresses
from .choice import Choice, choose, volume_type
from .findings import Change, Check, Findings
from .login import credentials
from .network import Fence, Socket, fence, port
from .place import place
from .quota import quotas
from .server import server
from .survey import Server, Survey, Volume, fixed_addresses
from .volume import volume
from .wish import Wish

# the table's rows when the cloud could not be asked, before and after what can be checked without it
UNSEEN = ("image", "flavor", "network", "eodata network", "external network", "volume type")
UNSEEN_LATER = ("quotas", "what exists")
CHANGE = ("step", "action", "resource", "name", "text", "before", "after")
FACTS = ("region", "project_id", "credential_id", "credential_expires")


@dataclass
class Plan:
    """What was found, with the resources that exist."""

    wish: Wish
    survey: Survey
    findings: Findings
    choice: Choice = field(default_factory=Choice)
    fence: Fence = field(default_factory=Fence)
    machine: Server | None = None
    sockets: Sequence[Socket] = ()
    disk: Volume | None = None
    ips: Addresses = field(default_factory=Addresses)

    def answer(self) -> dict[str, Any]:
        """For Ansible."""
        survey, server_ip = self.survey, self.ips.server
        fixed = [
            address for socket in self.sockets[:1] if socket.port for address in fixed_addresses(socket.port)
        ]
        return {
            **shown(self.findings),
            **{name: getattr(survey, name) for name in FACTS},
            "server": {"id": self.machine.id, "status": self.machine.status} if self.machine else None,
            "volume": {"id": self.disk.id, "size": self.disk.size} if self.disk else None,
            # where the server is reached
            "address": server_ip.floating_ip_address
            if server_ip
            else next(iter(fixed), "")
            if self.machine
            else "",
        }


def shown(findings: Findings) -> dict[str, Any]:
    """What people see, and programs read."""
    return {
        "problems": [check.data() for check in findings.problems],
        "table": findings.table(),
        "changes": [_shown(change) for change in findings.changes],
        "drift": [_shown(change) for change in findings.drift],
    }


def _shown(change: Change) -> dict[str, Any]:
    return {name: getattr(change, name) for name in CHANGE}


def plan(wish: Wish, found: Survey | Check, known: Mapping[str, Any]) -> Plan:
    """Compare. `found` is what the cloud has, or why it could not be asked; `known` is what is recorded."""
    findings = Findings()
    local_checks.contact(findings, wish)
    for sentence in wish.also:
        findings.problem("inventory", "invalid", "", sentence, "")
    local_checks.tenant(findings, wish)
    if isinstance(found, Check):
        place(findings, wish, known, "", "")
        return _unseen(findings, wish, found)
    credentials(findings, wish, found.credential_expires, found.region)
    place(findings, wish, known, found.region, found.project_id)
    new = not any(each.name == wish.name and wish.owns(each.metadata) for each in found.servers)
    choice = choose(findings, wish, found, new=new)
    disk_there = bool(wish.volume) or any(each.name == wish.volume_name for each in found.volumes)
    volume_type(findings, wish, found.volume_types, new=not disk_there)
    fit = local_checks.rules(findings, wish)
    local_checks.keys(findings, wish)

    # in the table quotas come first, but they need what comes after them
    there = Findings()
    walls = fence(there, wish, found, fit=fit)
    machine = server(there, wish, found, choice)
    wanted = [Socket(wish.name, choice.network, vital=True)]
    if wish.eodata_network:
        wanted.append(Socket(f"{wish.name}-eodata", choice.eodata_network))
    sockets = [
        Socket(
            each.name,
            each.network,
            each.vital,
            port(there, wish, found, each, server=machine, group=walls.group),
        )
        for each in wanted
    ]
    disk = volume(there, wish, found, machine)
    ips = addresses(there, wish, found, sockets[0].port)
    made = Plan(wish, found, there, choice, walls, machine, sockets, disk, ips)
    quotas(findings, found, _needs(made, fit=fit))
    findings.add(there)
    made.findings = findings
    return made


def _unseen(findings: Findings, wish: Wish, stopped: Check) -> Plan:
    """The plan when the cloud could not be asked: what can be said all the same."""
    findings.checks.append(stopped)
    for check in UNSEEN:
        findings.ok(check, state="not checked")
    local_checks.rules(findings, wish)
    local_checks.keys(findings, wish)
    for check in UNSEEN_LATER:
        findings.ok(check, state="not checked")
    return Plan(wish, Survey(region=wish.region), findings)


def _needs(made: Plan, *, fit: bool) -> dict[str, int | None]:
    """How much of each quota is needed. None: not known, because what it hangs on is wrong."""
    wish, disk, flavor = made.wish, made.disk, made.choice.flavor
    resources = [change.resource for change in made.findings.changes if change.action == "create"]
    size = 0 if wish.volume else max(0, wish.volume_gb - (disk.size if disk else 0))
    needs: dict[str, int | None] = {
        "instances": resources.count("server"),
        "cores": 0 if made.machine else flavor.vcpus if flavor else None,
        "ram": 0 if made.machine else flavor.ram if flavor else None,
        "volumes": resources.count("volume"),
        "gigabytes": size,
        "floating_ips": made.ips.new,
        "security_groups": resources.count("security_group"),
        # a new group comes with two rules of its own
        "security_group_rules": len(made.fence.lacking) + 2 * resources.count("security_group")
        if fit
        else None,
        "ports": resources.count("port"),
    }
    kind = disk.volume_type if disk else wish.volume_type
    if kind and not wish.volume:
        needs |= {f"volumes_{kind}": resources.count("volume"), f"gigabytes_{kind}": size}
    return needs
