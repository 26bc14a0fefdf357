"""The data volume: the tenant's, which may grow, or the operator's, which is only attached."""

from .findings import Change, Findings
from .server import InTheWayError, tenants_own
from .survey import Server, Survey, Volume, attached_to, holder
from .wish import Wish

CHECK = "data volume"
SIZE = "tenant_cloud_volume_gb"
LESS = "or correct tenant_expected_parcels, tenant_start, tenant_end or tenant_data_gb_per_million_parcels"


def volume(findings: Findings, wish: Wish, survey: Survey, server: Server | None) -> Volume | None:
    """Find it, and note what is to be done."""
    name, needed = wish.volume or wish.volume_name, f"{wish.needed_gb:.1f} GB"
    if not wish.volume and wish.volume_gb < wish.needed_gb:
        message = f"{SIZE} is {wish.volume_gb}, but {needed} are needed"
        findings.problem(CHECK, "too_small", needed, message, f"remove the line, {LESS}", option=SIZE)
    try:
        found = _given(findings, wish, survey) if wish.volume else _own(findings, wish, survey)
    except InTheWayError:
        return None
    there = server is not None and found is not None and server.id in attached_to(found)
    others = (
        [] if server is None or there else [each for each in survey.volumes if server.id in attached_to(each)]
    )
    if others:
        message = f"The server {wish.name} uses the volume {others[0].name or others[0].id}, not {name}"
        hint = (
            f"write tenant_cloud_volume: {others[0].id} to stay with it; to change disks, offboard first, or "
            "detach it in the cloud if it is not the data volume"
        )
        findings.problem(CHECK, "other", name, message, hint)
    elif found is None:
        kind = wish.volume_type or "the cloud's default type"
        text = f"The volume {name} is made: {wish.volume_gb} GB, {kind}."
        after = [f"size: {wish.volume_gb} GB", f"type: {kind}", f"metadata: cbm_tenant={wish.tenant}"]
        findings.change(CHECK, f"{wish.volume_gb} GB", Change("create", "volume", name, text, after=after))
        _attach(findings, wish, name)
    elif _usable(findings, wish, survey, found, server):
        noted = len(findings.checks)
        if not wish.volume:
            _compare(findings, wish, found)
        elif found.size < wish.needed_gb:
            message = f"The volume {name} has {found.size} GB, but {needed} are needed"
            hint = f"extend it in the cloud (openstack volume set --size), {LESS}"
            findings.problem(CHECK, "too_small", needed, message, hint)
        if not there:
            _attach(findings, wish, name)
        if len(findings.checks) == noted:
            findings.ok(CHECK, name, f"{found.id}, {found.size} GB, attached to {wish.name}")
    return found


def _given(findings: Findings, wish: Wish, survey: Survey) -> Volume:
    found = [each for each in survey.volumes if wish.volume in (each.id, each.name)]
    if len(found) == 1:
        return found[0]
    if found:
        message, hint = f"There are {len(found)} volumes {wish.volume}", "write the id of the right one"
        findings.problem(CHECK, "ambiguous", wish.volume, message, f"{hint} in tenant_cloud_volume")
    else:
        message = f"The volume {wish.volume} does not exist in this project and region"
        hint = (
            "write the id of an existing volume in tenant_cloud_volume, or leave the line out for a new one"
        )
        findings.problem(CHECK, "missing", wish.volume, message, hint)
    raise InTheWayError


def _own(findings: Findings, wish: Wish, survey: Survey) -> Volume | None:
    return tenants_own(
        findings, CHECK, wish.volume_name, survey.volumes, lambda each: wish.owns(each.metadata)
    )


def _usable(findings: Findings, wish: Wish, survey: Survey, found: Volume, server: Server | None) -> bool:
    name = wish.volume or wish.volume_name
    elsewhere = [holder(survey, each) for each in attached_to(found) if server is None or each != server.id]
    # a server of our name has a row of its own
    others = [owner for owner in elsewhere if owner != wish.name]
    if found.status.startswith("error"):
        hint = "it may hold the database, so ask the cloud's support to reset or restore it"
        findings.problem(CHECK, "error", name, f"The volume {name} is in the state {found.status}", hint)
    elif others:
        message = f"The volume {name} is attached to another server, {others[0]}"
        findings.problem(CHECK, "in_use", name, message, "detach it there, and run again")
    elif found.status not in {"available", "in-use"}:
        hint = "wait a minute and run again; if it fails again, ask the cloud's support"
        findings.problem(
            CHECK, "busy", name, f"The volume {name} is {found.status}, so it cannot be used now", hint
        )
    else:
        return True
    return False


def _attach(findings: Findings, wish: Wish, name: str) -> None:
    text, states = f"The volume {name} is attached to {wish.name}.", ("nothing", wish.name)
    change = Change("attach", "volume", name, text, *([f"attached to: {each}"] for each in states))
    findings.change(CHECK, "attached", change)


def _compare(findings: Findings, wish: Wish, found: Volume) -> None:
    """Size and type of the tenant's own volume."""
    name, before, after = wish.volume_name, f"size: {found.size} GB", f"size: {wish.volume_gb} GB"
    if found.size < wish.volume_gb:
        text = (
            f"The volume {name} is extended from {found.size} to {wish.volume_gb} GB; "
            "playbooks/host.yml then grows its filesystem."
        )
        findings.change(CHECK, after, Change("extend", "volume", name, text, [before], [after]))
    elif found.size > wish.volume_gb:
        text = (
            f"The volume {name} has {found.size} GB, the inventory says {wish.volume_gb} GB; "
            f"it is left as it is, because no volume can shrink: write {SIZE}: {found.size}."
        )
        findings.differ(CHECK, Change("left", "volume", name, text, [before], [after]))
    has, wanted = found.volume_type or "", wish.volume_type
    if wanted and has != wanted:
        text = (
            f"The volume {name} is of the type {has}, the inventory says {wanted}; it is left as it is, "
            "because all data would be copied: do it in the cloud (openstack volume set --type), "
            f"or write {has}."
        )
        findings.differ(CHECK, Change("left", "volume", name, text, [f"type: {has}"], [f"type: {wanted}"]))
