"""The end of a tenant: what carries its mark is removed, anything else is only detached from its server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .findings import Change, Check, Findings
from .login import credentials
from .place import place
from .plan import FACTS, shown
from .survey import Address, Group, Port, Server, Survey, Volume, attached_to, flavor_name
from .wish import Wish


@dataclass
class Ending:
    """What is the tenant's, and what hangs on its servers."""

    wish: Wish
    survey: Survey
    findings: Findings
    servers: Sequence[Server] = ()
    attachments: Sequence[tuple[Volume, Server]] = ()
    guests: Sequence[Address] = ()
    addresses: Sequence[Address] = ()
    ports: Sequence[Port] = ()
    groups: Sequence[Group] = ()
    volumes: Sequence[Volume] = field(default_factory=list)

    def answer(self) -> dict[str, Any]:
        """For Ansible. `kept`: what stays in the project."""
        kept = [disk for disk, _ in self.attachments if disk not in self.volumes]
        gone = [*self.servers, *self.ports, *self.groups, *(self.volumes if self.wish.delete_data else ())]
        return {
            **shown(self.findings),
            **{name: getattr(self.survey, name) for name in FACTS},
            "left": [each.name for each in gone] + [each.floating_ip_address for each in self.addresses],
            "kept": [each.name or each.id for each in kept]
            + [each.floating_ip_address for each in self.guests],
        }


def ending(wish: Wish, found: Survey | Check, known: Mapping[str, Any]) -> Ending:
    """Find what is to be removed; a name alone does not make a thing the tenant's."""
    findings = Findings()
    if isinstance(found, Check):
        findings.checks.append(found)
        place(findings, wish, known, "", "")
        return Ending(wish, Survey(region=wish.region), findings)
    credentials(findings, wish, found.credential_expires, found.region)
    place(findings, wish, known, found.region, found.project_id)
    servers = {each.id: each for each in found.servers if wish.owns(each.metadata)}
    ports = [each for each in found.ports if wish.marked(each.description)]
    held = {each.id for each in found.ports if each.device_id in servers or each in ports}
    on_server = [each for each in found.addresses if each.port_id in held]
    end = Ending(
        wish,
        found,
        findings,
        list(servers.values()),
        [(disk, servers[one]) for disk in found.volumes for one in attached_to(disk) if one in servers],
        [each for each in on_server if not wish.marked(each.description)],
        [each for each in found.addresses if wish.marked(each.description)],
        ports,
        [each for each in found.groups if wish.marked(each.description)],
        # a copy that somebody has restored from a backup has the mark, too
        [each for each in found.volumes if wish.owns(each.metadata) and each.name == wish.volume_name],
    )
    _note(end)
    return end


def _note(end: Ending) -> None:
    """Changes and rows, in the order of the steps."""
    findings, delete = end.findings, end.wish.delete_data
    rows: list[tuple[str, str, str, str]] = []
    for disk, machine in end.attachments:
        name, stays = disk.name or disk.id, "" if disk in end.volumes and delete else " and stays"
        rows.append(("attachment", name, f"on {machine.name}", f"The volume {name} is detached{stays}."))
    for guest in end.guests:
        name, stays = guest.floating_ip_address, "is detached from the server and stays in the project"
        rows.append(("address", name, "on the server", f"The address {name} {stays}."))
    for ip in end.addresses:
        name = ip.floating_ip_address
        rows.append(("floating IP", name, ip.description, f"The floating IP {name} is released."))
    for each in end.servers:
        found = f"{each.status}, {flavor_name(each, ())}"
        rows.append(("server", each.name, found, f"The server {each.name} ({each.id}) is deleted."))
    for kind, things in (("port", end.ports), ("security group", end.groups)):
        rows += [(kind, each.name, each.id, f"The {kind} {each.name} is deleted.") for each in things]
    whole = [(each, f"{each.name} ({each.size} GB, {each.id})") for each in end.volumes]
    for disk, what in whole if delete else ():
        text = f"The volume {what} is deleted with everything on it."
        rows.append(("data volume", disk.name, f"{disk.size} GB", text))
    for kind, name, found, text in rows:
        findings.change(kind, "gone", Change("remove", kind, name, text, before=[found]))
    for _, what in () if delete else whole:
        findings.ok("data volume", "kept", f"{what} stays; -e delete_data=yes deletes it, too")
    if not (rows or whole or findings.problems):
        findings.ok("what exists", "nothing", f"nothing of {end.wish.tenant} is in the cloud")


def attachment(cloud: Any, end: Ending) -> None:
    """A disk is taken from a server that stands still: nothing is being written to it."""
    _stop(cloud, end)
    for disk, machine in end.attachments:
        cloud.compute.delete_volume_attachment(machine.id, disk.id, ignore_missing=True)
        left = cloud.block_storage.get_volume(disk.id)
        cloud.block_storage.wait_for_status(left, "available", wait=end.wish.timeout)


def _stop(cloud: Any, end: Ending) -> None:
    for each in end.servers:
        if each.status == "ACTIVE":
            cloud.compute.stop_server(each)
            cloud.compute.wait_for_server(each, "SHUTOFF", wait=end.wish.timeout)


def addresses(cloud: Any, end: Ending) -> None:
    """Ours are released, others are only detached."""
    for guest in end.guests:
        cloud.network.update_ip(guest.id, port_id=None)
    for each in end.addresses:
        cloud.network.delete_ip(each, ignore_missing=True)


def server(cloud: Any, end: Ending) -> None:
    """The server is gone."""
    _stop(cloud, end)
    for each in end.servers:
        cloud.compute.delete_server(each, ignore_missing=True)
        cloud.compute.wait_for_delete(each, wait=end.wish.timeout)


def network(cloud: Any, end: Ending) -> None:
    """The ports are gone, then the group: nothing uses it any more."""
    for port in end.ports:
        cloud.network.delete_port(port, ignore_missing=True)
    for group in end.groups:
        cloud.network.delete_security_group(group, ignore_missing=True)


def volume(cloud: Any, end: Ending) -> None:
    """The data volume is gone, as requested."""
    for each in end.volumes:
        cloud.block_storage.delete_volume(each, ignore_missing=True)
        cloud.block_storage.wait_for_delete(each, wait=end.wish.timeout)


STEPS: dict[str, Callable[[Any, Ending], None]] = {
    "attachment": attachment,
    "addresses": addresses,
    "server": server,
    "ports": network,
    "volume": volume,
}
