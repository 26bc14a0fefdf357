"""Which of the cloud's things is the tenant's, and the state of its server."""

from collections.abc import Sequence
from typing import Protocol

from .choice import Choice
from .findings import Change, Difference, Findings, listed
from .model import Server, Survey, Wish

# the states that somebody has brought a server into, and can bring it out of
RESTING = ("PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED", "RESCUE", "VERIFY_RESIZE")


class Named(Protocol):
    """Anything in a cloud; names are not unique there."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name."""


class InTheWayError(Exception):
    """What has our name is not ours, or cannot be told from another; it is noted already."""


def ours[Thing: Named](
    findings: Findings, check: str, things: Sequence[Thing], marked: Sequence[Thing]
) -> Thing | None:
    """The one thing of our name, if it has our mark.

    Raises:
        InTheWayError: one without the mark has the name, or several have it.
    """
    if not things:
        return None
    name = things[0].name
    strangers = [thing for thing in things if thing not in marked]
    if strangers:
        found = f"A {check} {name} ({strangers[0].id}) exists already, but was not made by this project"
        remedy = "rename it in the cloud, or give the tenant another tenant_name"
        findings.wrong(check, name, found, remedy)
        raise InTheWayError
    if len(things) > 1:
        ids = listed(sorted(thing.id for thing in things))
        found = f"There are {len(things)} {check}s {name} ({ids}), but only one can be the tenant's"
        findings.wrong(check, name, found, "rename all but the tenant's in the cloud")
        raise InTheWayError
    return things[0]


def holder(survey: Survey, server_id: str) -> str:
    """The name of the server that has an id, or the id where there is none."""
    return next((each.name for each in survey.servers if each.id == server_id), server_id)


def server(findings: Findings, wish: Wish, survey: Survey, choice: Choice) -> Server | None:
    """The tenant's server."""
    things = [each for each in survey.servers if each.name == wish.name]
    try:
        found = ours(findings, "server", things, [each for each in things if wish.owns(each.metadata)])
    except InTheWayError:
        return None
    if found is None:
        image = choice.image.name if choice.image else wish.image
        text = f"The server {wish.name} is made: {wish.flavor}, {image}."
        after = [f"flavor: {wish.flavor}", f"image: {image}", f"metadata: cbm_tenant={wish.tenant}"]
        findings.change("server", wish.name, Change("create", "server", wish.name, text, after=after))
        return None
    _state(findings, found)
    _flavor(findings, wish, survey, found)
    return found


def _state(findings: Findings, found: Server) -> None:
    name, status = found.name, found.status
    if status == "ACTIVE":
        findings.ok("server", name, f"{found.id} is running")
    elif status == "SHUTOFF":
        text = f"The server {name} is switched on."
        before, after = ["status: SHUTOFF"], ["status: ACTIVE"]
        findings.change("server", name, Change("update", "server", name, text, before, after))
    elif status == "ERROR":
        fault = found.fault.rstrip(". ") or "the cloud gives no reason"
        remedy = (
            f"delete it in the cloud (openstack server delete {found.id}) or offboard the tenant, "
            "and run again: its data volume stays"
        )
        findings.wrong("server", name, f"The server {name} is in ERROR: {fault}", remedy)
    elif status in RESTING:
        remedy = (
            "bring it back to ACTIVE in the cloud (unpause, resume, unshelve, unrescue, confirm the resize)"
        )
        findings.wrong("server", name, f"The server {name} is {status}", f"{remedy}, and run again")
    else:
        remedy = "wait a few minutes and run again; if it fails again, ask the cloud's support"
        findings.wrong("server", name, f"The server {name} is {status}, so it cannot be used now", remedy)


def _flavor(findings: Findings, wish: Wish, survey: Survey, found: Server) -> None:
    names = {each.id: each.name for each in survey.flavors if each.id}
    wanted = names.get(wish.flavor, wish.flavor)
    if found.flavor and names.get(found.flavor, found.flavor) != wanted:
        text = (
            f"The server {wish.name} has the flavor {found.flavor}, the inventory says {wish.flavor}; "
            "it is left as it is, because a resize interrupts: do it in the cloud "
            f"(openstack server resize), or write {found.flavor}."
        )
        difference = Difference(
            "server", wish.name, f"flavor: {wish.flavor}", f"flavor: {found.flavor}", text
        )
        findings.differ("server", difference)
