"""What offboarding would remove, in its order, and what it only takes off the server."""

from typing import Any

from .credential import credentials
from .findings import Change, Check, Findings
from .model import Address, Server, Survey, Volume, Wish
from .plan import outcome


def absent(
    wish: Wish, survey: Survey | None, stopped: Check | None = None
) -> tuple[dict[str, Any], Findings]:
    """Only what carries the mark is ours; a name alone is not enough."""
    findings = Findings()
    if survey is None:
        if stopped:
            findings.checks.append(stopped)
        survey = Survey(region=wish.region)
    else:
        credentials(findings, wish, survey)

    servers = [each for each in survey.servers if wish.owns(each.metadata)]
    # a copy that somebody has restored from a backup has the mark, too
    volumes = [each for each in survey.volumes if wish.owns(each.metadata) and each.name == wish.volume_name]
    ports = [each for each in survey.ports if wish.marked(each.description)]
    groups = [each for each in survey.groups if wish.marked(each.description)]
    addresses = [each for each in survey.addresses if wish.marked(each.description)]
    attached = _attachments(survey, servers)
    guests = _guests(wish, survey, servers)

    for disk, machine in attached:
        stays = "" if disk in volumes and wish.delete_data else " and stays"
        text = f"The volume {disk.name or disk.id} is detached{stays}."
        _remove(findings, "attachment", disk.name or disk.id, f"on {machine.name}", text)
    for guest in guests:
        text = f"The address {guest.address} is detached from the server and stays in the project."
        _remove(findings, "address", guest.address, "on the server", text)
    for ip in addresses:
        text = f"The floating IP {ip.address} is released."
        _remove(findings, "floating IP", ip.address, ip.description, text)
    for machine in servers:
        text = f"The server {machine.name} ({machine.id}) is deleted."
        _remove(findings, "server", machine.name, f"{machine.status}, {machine.flavor}", text)
    for kind, things in (("port", ports), ("security group", groups)):
        for thing in things:
            _remove(findings, kind, thing.name, thing.id, f"The {kind} {thing.name} is deleted.")
    _disks(findings, wish, volumes)
    if not (findings.changes or volumes or findings.problems):
        findings.ok("what exists", "nothing", f"nothing of {wish.tenant} is in the cloud")

    ours = {
        "servers": _named(servers, "status"),
        "attachments": [
            {"server_id": machine.id, "volume_id": disk.id, "name": disk.name or disk.id}
            for disk, machine in attached
        ],
        "foreign_floating_ips": _ips(guests),
        "floating_ips": _ips(addresses),
        "ports": _named(ports),
        "groups": _named(groups),
        "volumes": _named(volumes, "size"),
    }
    foreign = {
        "volumes": _named([disk for disk, _ in attached if disk not in volumes], "size"),
        "floating_ips": _ips(guests),
    }
    return {
        **outcome(findings),
        "region": survey.region,
        "project_id": survey.project_id,
        "credential_expires": survey.credential_expires,
        "ours": ours,
        "foreign": foreign,
    }, findings


def _attachments(survey: Survey, servers: list[Server]) -> list[tuple[Volume, Server]]:
    """Whatever is attached to our servers, ours or not."""
    by_id = {each.id: each for each in servers}
    return [(disk, by_id[each]) for disk in survey.volumes for each in disk.attached_to if each in by_id]


def _guests(wish: Wish, survey: Survey, servers: list[Server]) -> list[Address]:
    """Addresses on our servers or ports that are not ours."""
    ids = {each.id for each in servers}
    ports = {each.id for each in survey.ports if each.device_id in ids or wish.marked(each.description)}
    return [each for each in survey.addresses if each.port_id in ports and not wish.marked(each.description)]


def _disks(findings: Findings, wish: Wish, volumes: list[Volume]) -> None:
    for disk in volumes:
        what = f"{disk.name} ({disk.size} GB, {disk.id})"
        if wish.delete_data:
            text = f"The volume {what} is deleted with everything on it."
            _remove(findings, "data volume", disk.name, f"{disk.size} GB", text)
        else:
            findings.ok("data volume", "kept", f"{what} stays; -e delete_data=yes deletes it, too")


def _remove(findings: Findings, resource: str, name: str, found: str, text: str) -> None:
    findings.change(resource, "gone", Change("remove", resource, name, text, before=[found]))


def _named(things: list[Any], *more: str) -> list[dict[str, Any]]:
    return [{name: getattr(thing, name) for name in ("id", "name", *more)} for thing in things]


def _ips(addresses: list[Address]) -> list[dict[str, str]]:
    return [{"id": each.id, "address": each.address} for each in addresses]
