"""The security group with its rules, and the server's ports."""

from dataclasses import dataclass

from .findings import Change, Findings, listed
from .rules import compare, words
from .server import InTheWayError, tenants_own
from .survey import Group, Network, Port, Rule, Server, Survey, fixed_addresses, holder
from .wish import Wish

KEPT = "offboard and run again, its data volume stays"


@dataclass(frozen=True)
class Fence:
    """The group, the rules that it lacks, and those that it has too many."""

    group: Group | None = None
    lacking: tuple[Rule, ...] = ()
    extra: tuple[Rule, ...] = ()


def fence(findings: Findings, wish: Wish, survey: Survey, *, fit: bool) -> Fence:
    """The security group. `fit`: the inventory's rules are valid, so that they can be compared."""
    check, name = "security group", wish.name
    try:
        found = tenants_own(findings, check, name, survey.groups, lambda each: wish.marked(each.description))
    except InTheWayError:
        return Fence()
    lacking, extra = compare(wish, found) if fit else ([], [])
    if found is None:
        text, after = f"The security group {name} is made.", [f"description: '{wish.mark}'"]
        findings.change(check, name, Change("create", "security_group", name, text, after=after))
    elif not fit:
        unknown = "not compared, because the inventory's rules are invalid"
        findings.ok(check, name, unknown, state="not checked")
    elif not lacking and not extra:
        findings.ok(check, name, f"{found.id} has the wanted rules")
    for rule in lacking:
        text = f"The security group {name} gets the rule: {words(rule)}."
        change = Change("add", "rule", name, text, after=[words(rule)])
        if found is None:
            # the table has them in its row on rules already
            findings.changes.append(change)
        else:
            findings.change(check, rule.description, change)
    for rule in extra:
        text = f"The security group {name} loses a rule that the inventory does not have: {words(rule)}."
        change = Change("remove", "rule", name, text, before=[words(rule)])
        findings.change(check, "the inventory's rules", change)
    return Fence(found, tuple(lacking), tuple(extra))


@dataclass(frozen=True)
class Socket:
    """A port that is wanted; its network and itself, if they exist. Without a vital one there is no VM."""

    name: str
    network: Network | None
    vital: bool = False
    port: Port | None = None


def port(
    findings: Findings,
    wish: Wish,
    survey: Survey,
    socket: Socket,
    *,
    server: Server | None,
    group: Group | None,
) -> Port | None:
    """One of the server's interfaces."""
    name = socket.name
    try:
        found = tenants_own(findings, "port", name, survey.ports, lambda each: wish.marked(each.description))
    except InTheWayError:
        return None
    if found is None:
        _missing(findings, wish, socket, server)
    elif found.device_id and (server is None or found.device_id != server.id):
        owner = holder(survey, found.device_id)
        # a server of our name has a row of its own
        if owner != wish.name:
            hint = "take it off there or delete it, and run again"
            findings.problem(
                "port", "in_use", name, f"The port {name} belongs to another server, {owner}", hint
            )
    else:
        noted = len(findings.checks)
        _place(findings, wish, socket, found, server)
        if group is None or list(found.security_group_ids or []) != [group.id]:
            text = f"The port {name} gets the security group {wish.name} and no other."
            known = {each.id: each.name for each in survey.groups}
            had = listed(known.get(each, each) for each in found.security_group_ids or [])
            before, after = [f"security groups: {had}"], [f"security groups: {wish.name}"]
            findings.change("port", name, Change("update", "port", name, text, before, after))
        if len(findings.checks) == noted:
            findings.ok("port", name, listed(fixed_addresses(found), none=found.id))
    return found


def _missing(findings: Findings, wish: Wish, socket: Socket, server: Server | None) -> None:
    name = socket.name
    on = socket.network.name if socket.network else "a network that is not there"
    if server is None:
        text, after = f"The port {name} is made on {on}.", [f"network: {on}", f"security groups: {wish.name}"]
        findings.change("port", name, Change("create", "port", name, text, after=after))
    elif socket.vital:
        hint = "offboard the tenant and run again; its data volume stays"
        findings.problem("port", "missing", name, f"The server {wish.name} has lost its port {name}", hint)
    else:
        text = (
            f"The server {wish.name} has no port on {on}; it is left as it is, because a new interface "
            f"changes the running server: {KEPT}."
        )
        findings.differ("port", Change("left", "port", name, text, ["network: none"], [f"network: {on}"]))


def _place(findings: Findings, wish: Wish, socket: Socket, found: Port, server: Server | None) -> None:
    name, network = socket.name, socket.network
    if server is not None and not found.device_id:
        text = (
            f"The port {name} is not connected to the server {wish.name}; it is left as it is, because a new "
            "interface changes the running server: "
            f"openstack server add port {wish.name} {found.id}, or {KEPT}."
        )
        findings.differ(
            "port", Change("left", "port", name, text, ["server: none"], [f"server: {wish.name}"])
        )
    if network is None or found.network_id == network.id:
        return
    elsewhere = f"The port {name} is on another network than {network.name}"
    if server is None:
        hint = f"delete it in the cloud (openstack port delete {found.id}) and run again"
        findings.problem(
            "port", "other_network", network.name, f"{elsewhere}, and no server has it yet", hint
        )
        return
    text = f"{elsewhere}; it is left as it is, because the server would get another address: {KEPT}."
    states = ([f"network: {each}"] for each in (found.network_id or "none", network.name))
    findings.differ("port", Change("left", "port", name, text, *states))
