"""Which of the cloud's things is the tenant's, and the state of its server."""

from collections.abc import Callable, Sequence

from openstack.resource import Resource

from .answers import server_fault
from .choice import Choice
from .findings import Change, Findings, listed
from .survey import Server, Survey, flavor_name
from .wish import Wish

# the states that somebody has brought a server into, and can bring it out of
RESTING = ("PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED", "RESCUE", "VERIFY_RESIZE")
RESUME = "bring it back to ACTIVE in the cloud (unpause, resume, unshelve, unrescue, confirm the resize)"


class InTheWayError(Exception):
    """A resource has the tenant's name but not its mark, or several have; the problem is recorded."""


def tenants_own[Thing: Resource](
    findings: Findings, check: str, name: str, things: Sequence[Thing], owned: Callable[[Thing], bool]
) -> Thing | None:
    """The one thing of our name, if it has our mark. Raise InTheWayError if another has the name."""
    named = [each for each in things if each.name == name]
    strangers = [each for each in named if not owned(each)]
    if strangers:
        message = f"A {check} {name} ({strangers[0].id}) exists already, but was not made by this project"
        hint = "rename it in the cloud, or give the tenant another tenant_name"
        findings.problem(check, "without_mark", name, message, hint)
        raise InTheWayError
    if len(named) > 1:
        ids = listed(sorted(each.id for each in named))
        message = f"There are {len(named)} {check}s {name} ({ids}), but only one can be the tenant's"
        findings.problem(check, "ambiguous", name, message, "rename all but the tenant's in the cloud")
        raise InTheWayError
    return named[0] if named else None


def server(findings: Findings, wish: Wish, survey: Survey, choice: Choice) -> Server | None:
    """The tenant's server."""
    name = wish.name
    try:
        found = tenants_own(findings, "server", name, survey.servers, lambda each: wish.owns(each.metadata))
    except InTheWayError:
        return None
    if found is None:
        image = choice.image.name if choice.image else wish.image
        text = f"The server {name} is made: {wish.flavor}, {image}."
        after = [f"flavor: {wish.flavor}", f"image: {image}", f"metadata: cbm_tenant={wish.tenant}"]
        findings.change("server", name, Change("create", "server", name, text, after=after))
        return None
    _state(findings, found)
    has, names = (
        flavor_name(found, survey.flavors),
        {each.id: each.name for each in survey.flavors if each.id},
    )
    if has and names.get(has, has) != names.get(wish.flavor, wish.flavor):
        text = (
            f"The server {name} has the flavor {has}, the inventory says {wish.flavor}; it is left as it is, "
            f"because a resize interrupts: do it in the cloud (openstack server resize), or write {has}."
        )
        states = [f"flavor: {has}"], [f"flavor: {wish.flavor}"]
        findings.differ("server", Change("left", "server", name, text, *states))
    return found


def _state(findings: Findings, found: Server) -> None:
    name, status = found.name, found.status
    if status == "ACTIVE":
        findings.ok("server", name, f"{found.id} is running")
    elif status == "SHUTOFF":
        text, states = f"The server {name} is switched on.", (["status: SHUTOFF"], ["status: ACTIVE"])
        findings.change("server", name, Change("update", "server", name, text, *states))
    elif status == "ERROR":
        fault = server_fault(found) or "the cloud gives no reason"
        hint = (
            f"delete it in the cloud (openstack server delete {found.id}) or offboard the tenant, "
            "and run again: its data volume stays"
        )
        findings.problem("server", "error", name, f"The server {name} is in ERROR: {fault}", hint)
    elif status in RESTING:
        findings.problem(
            "server", "resting", name, f"The server {name} is {status}", f"{RESUME}, and run again"
        )
    else:
        hint = "wait a few minutes and run again; if it fails again, ask the cloud's support"
        findings.problem(
            "server", "busy", name, f"The server {name} is {status}, so it cannot be used now", hint
        )
