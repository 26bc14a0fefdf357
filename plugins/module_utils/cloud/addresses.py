"""The tenant's floating IPs: the server's own, and those in reserve."""

from collections.abc import Sequence
from dataclasses import dataclass

from .findings import Change, Findings, counted, listed
from .server import InTheWayError
from .survey import Address, Port, Survey
from .wish import Wish

CHECK = "floating IPs"


@dataclass(frozen=True)
class Addresses:
    """What is there and what is to be done. `take`: one that the project has and the server is to get."""

    server: Address | None = None
    take: Address | None = None
    wanted: bool = False
    reserves_missing: Sequence[str] = ()

    @property
    def new(self) -> int:
        """How many the cloud is asked for."""
        return len(self.reserves_missing) + (self.wanted and self.take is None)


def addresses(findings: Findings, wish: Wish, survey: Survey, port: Port | None) -> Addresses:
    """Compare. An address once given to the tenant is kept, because clients know it."""
    marked = [each for each in survey.addresses if wish.marked(each.description)]
    mine = next((each for each in survey.addresses if port and each.port_id == port.id), None)
    noted = len(findings.checks)
    try:
        take, wanted = _of_server(findings, wish, survey, port, mine)
    except InTheWayError:
        return Addresses(server=mine)
    if wanted:
        findings.change(CHECK, "the server's", _change(wish, take, mine))
    # one that is replaced by a named one stays the tenant's, in reserve
    kept = take or mine
    others = [each for each in marked if kept is None or each.id != kept.id]
    in_reserve = max(0, wish.floating_ips - 1) if wish.external_network else 0
    lacking = _reserve(findings, wish, survey, in_reserve - len(others))
    if len(others) > in_reserve:
        known = listed(each.floating_ip_address for each in others)
        text = (
            f"{wish.tenant} has {counted(len(others), 'floating IP')} beside its server's ({known}), the "
            f"inventory wants {in_reserve}; they are left, because a released address is lost: "
            "openstack floating ip delete releases them."
        )
        states = ([f"in reserve: {number}"] for number in (len(others), in_reserve))
        findings.differ(CHECK, Change("left", "floating_ip", wish.name, text, *states))
    if len(findings.checks) == noted:
        reserve = f"; in reserve: {listed(each.floating_ip_address for each in others)}" if others else ""
        number = wish.floating_ips if wish.external_network or wish.floating_ip else 0
        findings.ok(CHECK, str(number), f"{mine.floating_ip_address if mine else 'none'}{reserve}")
    return Addresses(mine, take, wanted, lacking)


def _of_server(
    findings: Findings, wish: Wish, survey: Survey, port: Port | None, mine: Address | None
) -> tuple[Address | None, bool]:
    """The known address that the server is to get, and whether it is to get one at all."""
    if wish.floating_ip:
        named = _named(findings, wish, survey, port)
        return (None, False) if mine is not None and named.id == mine.id else (named, True)
    if mine is not None or not wish.external_network or wish.floating_ips < 1:
        return None, False
    free = [each for each in survey.addresses if wish.marked(each.description) and not each.port_id]
    # the one without a number was a server's before, which is made again now
    return min(free, key=lambda each: (each.description, each.floating_ip_address), default=None), True


def _named(findings: Findings, wish: Wish, survey: Survey, port: Port | None) -> Address:
    """The address that the inventory names, if it is free for the server."""
    wanted, line = wish.floating_ip, "tenant_cloud_floating_ip"
    named = next((each for each in survey.addresses if wanted in (each.floating_ip_address, each.id)), None)
    if named is None:
        free = listed(sorted(each.floating_ip_address for each in survey.addresses if not each.port_id))
        hint = f"write a free one in {line} ({free}), or leave the line out for a new one"
        findings.problem(CHECK, "missing", wanted, f"The project does not have the address {wanted}", hint)
        raise InTheWayError
    if named.port_id and (port is None or named.port_id != port.id):
        device = next((each.device_id for each in survey.ports if each.id == named.port_id), "")
        owner = next((each.name for each in survey.servers if each.id == device), f"port {named.port_id}")
        message = f"The address {named.floating_ip_address} is used by another server, {owner}"
        findings.problem(CHECK, "in_use", wanted, message, f"take it off there, or write another in {line}")
        raise InTheWayError
    return named


def _change(wish: Wish, take: Address | None, mine: Address | None) -> Change:
    before = [f"address: {mine.floating_ip_address if mine else 'none'}"]
    if take:
        address = take.floating_ip_address
        text = f"The server {wish.name} gets the address {address}, which the project has."
        return Change("attach", "floating_ip", wish.name, text, before, [f"address: {address}"])
    text = f"The server {wish.name} gets a floating IP of {wish.external_network}."
    after = [f"address: a new one of {wish.external_network}"]
    return Change("create", "floating_ip", wish.name, text, before, after)


def _reserve(findings: Findings, wish: Wish, survey: Survey, number: int) -> list[str]:
    """The descriptions of addresses to be reserved: each of its own, by a number that is free."""
    taken = {each.description for each in survey.addresses}
    numbered = (f"{wish.mark}, address {count}" for count in range(2, 2 + max(0, number) + len(taken)))
    lacking = [description for description in numbered if description not in taken][: max(0, number)]
    for description in lacking:
        text = f"A floating IP of {wish.external_network} is reserved for {wish.tenant}."
        after = [f"description: '{description}'", "server: none"]
        change = Change("create", "floating_ip", description, text, after=after)
        findings.change(CHECK, f"{wish.floating_ips - 1} in reserve", change)
    return lacking
