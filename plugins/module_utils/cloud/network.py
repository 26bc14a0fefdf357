"""The security group with its rules, and the server's ports."""

from dataclasses import dataclass

from .findings import Change, Difference, Findings, listed
from .model import Group, Network, Port, Rule, Server, Survey, Wish
from .rules import compare, words
from .server import InTheWayError, holder, ours


@dataclass(frozen=True)
class Fence:
    """The group, the rules that it lacks, and those that it has too many."""

    group: Group | None = None
    lacking: tuple[Rule, ...] = ()
    extra: tuple[Rule, ...] = ()


def group(findings: Findings, wish: Wish, survey: Survey, *, fit: bool) -> Fence:
    """The security group. `fit`: the inventory's rules are rules, so that they can be compared."""
    check, name = "security group", wish.name
    things = [each for each in survey.groups if each.name == name]
    try:
        found = ours(findings, check, things, [each for each in things if wish.marked(each.description)])
    except InTheWayError:
        return Fence()
    lacking, extra = compare(wish, found) if fit else ([], [])
    if found is None:
        text = f"The security group {name} is made."
        change = Change("create", "security_group", name, text, after=[f"description: '{wish.mark}'"])
        findings.change(check, name, change)
    elif not fit:
        findings.unknown(check, name, "not compared, because the inventory's rules are invalid")
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
    """A port that is wanted: its name, its network where that is there, and whether the VM lives by it."""

    name: str
    network: Network | None
    vital: bool = False


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
    things = [each for each in survey.ports if each.name == name]
    try:
        found = ours(findings, "port", things, [each for each in things if wish.marked(each.description)])
    except InTheWayError:
        return None
    if found is None:
        _missing(findings, wish, socket, server)
    elif found.device_id and (server is None or found.device_id != server.id):
        owner = holder(survey, found.device_id)
        # a server of our name is told of by itself
        if owner != wish.name:
            sentence = f"The port {name} belongs to another server, {owner}"
            findings.wrong("port", name, sentence, "take it off there or delete it, and run again")
    else:
        noted = len(findings.checks)
        _place(findings, wish, socket, found, server)
        if group is None or list(found.group_ids) != [group.id]:
            text = f"The port {name} gets the security group {wish.name} and no other."
            known = {each.id: each.name for each in survey.groups}
            had = listed(known.get(each, each) for each in found.group_ids)
            before, after = [f"security groups: {had}"], [f"security groups: {wish.name}"]
            findings.change("port", name, Change("update", "port", name, text, before, after))
        if len(findings.checks) == noted:
            findings.ok("port", name, listed(found.addresses, none=found.id))
    return found


def _missing(findings: Findings, wish: Wish, socket: Socket, server: Server | None) -> None:
    name = socket.name
    on = socket.network.name if socket.network else "a network that is not there"
    if server is None:
        after = [f"network: {on}", f"security groups: {wish.name}"]
        change = Change("create", "port", name, f"The port {name} is made on {on}.", after=after)
        findings.change("port", name, change)
    elif socket.vital:
        remedy = "offboard the tenant and run again; its data volume stays"
        findings.missing("port", name, f"The server {wish.name} has lost its port {name}", remedy)
    else:
        text = (
            f"The server {wish.name} has no port on {on}; it is left as it is, because a new interface "
            "changes the running server: offboard and run again, its data volume stays."
        )
        findings.differ("port", Difference("port", name, f"network: {on}", "network: none", text))


def _place(findings: Findings, wish: Wish, socket: Socket, found: Port, server: Server | None) -> None:
    name, network = socket.name, socket.network
    if server is not None and not found.device_id:
        text = (
            f"The port {name} is not connected to the server {wish.name}; it is left as it is, because a new "
            f"interface changes the running server: openstack server add port {wish.name} {found.id}, "
            "or offboard and run again, its data volume stays."
        )
        difference = Difference("port", name, f"server: {wish.name}", "server: none", text)
        findings.differ("port", difference)
    if network is not None and found.network_id != network.id:
        if server is None:
            sentence = f"The port {name} is on another network than {network.name}, and no server has it yet"
            remedy = f"delete it in the cloud (openstack port delete {found.id}) and run again"
            findings.wrong("port", network.name, sentence, remedy)
            return
        had = found.network_id or "none"
        text = (
            f"The port {name} is on another network than {network.name}; it is left as it is, because the "
            "server would get another address: offboard and run again, its data volume stays."
        )
        findings.differ("port", Difference("port", name, f"network: {network.name}", f"network: {had}", text))
