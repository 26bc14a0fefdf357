"""The data volume: the tenant's, which may grow, or the operator's, which is only attached."""

from .findings import Change, Difference, Findings
from .model import Server, Survey, Volume, Wish
from .server import InTheWayError, holder, ours

CHECK = "data volume"
READY = ("available", "in-use")
LESS = "or correct tenant_expected_parcels, tenant_start, tenant_end or tenant_data_gb_per_million_parcels"


def volume(findings: Findings, wish: Wish, survey: Survey, server: Server | None) -> Volume | None:
    """Find it, and note what is to be done."""
    name = wish.volume or wish.volume_name
    if not wish.volume and wish.volume_gb < wish.needed_gb:
        sentence = f"tenant_cloud_volume_gb is {wish.volume_gb}, but {wish.needed_gb:.1f} GB are needed"
        findings.wrong(CHECK, f"{wish.needed_gb:.1f} GB", sentence, f"remove the line, {LESS}")
    try:
        found = _given(findings, wish, survey) if wish.volume else _ours(findings, wish, survey)
    except InTheWayError:
        return None
    if others := _instead(survey, server, found):
        sentence = f"The server {wish.name} uses the volume {others[0].name or others[0].id}, not {name}"
        remedy = (
            f"write tenant_cloud_volume: {others[0].id} to stay with it; to change disks, offboard first, or "
            "detach it in the cloud if it is not the data volume"
        )
        findings.wrong(CHECK, name, sentence, remedy)
        return found
    if found is None:
        kind = wish.volume_type or "the cloud's default type"
        text = f"The volume {name} is made: {wish.volume_gb} GB, {kind}."
        after = [f"size: {wish.volume_gb} GB", f"type: {kind}", f"metadata: cbm_tenant={wish.tenant}"]
        findings.change(CHECK, f"{wish.volume_gb} GB", Change("create", "volume", name, text, after=after))
        _attach(findings, wish, name)
    elif _usable(findings, wish, survey, found, server):
        noted = len(findings.checks)
        if wish.volume and found.size < wish.needed_gb:
            sentence = f"The volume {name} has {found.size} GB, but {wish.needed_gb:.1f} GB are needed"
            remedy = f"extend it in the cloud (openstack volume set --size), {LESS}"
            findings.wrong(CHECK, f"{wish.needed_gb:.1f} GB", sentence, remedy)
        elif not wish.volume:
            _size(findings, wish, found)
            _type(findings, wish, found)
        if server is None or server.id not in found.attached_to:
            _attach(findings, wish, name)
        if len(findings.checks) == noted:
            findings.ok(CHECK, name, f"{found.id}, {found.size} GB, attached to {wish.name}")
    return found


def _instead(survey: Survey, server: Server | None, found: Volume | None) -> list[Volume]:
    """What a server has in place of its data volume."""
    if server is None or (found is not None and server.id in found.attached_to):
        return []
    return [each for each in survey.volumes if server.id in each.attached_to]


def _given(findings: Findings, wish: Wish, survey: Survey) -> Volume:
    found = [each for each in survey.volumes if wish.volume in (each.id, each.name)]
    if len(found) == 1:
        return found[0]
    if found:
        sentence = f"There are {len(found)} volumes {wish.volume}"
        findings.wrong(CHECK, wish.volume, sentence, "write the id of the right one in tenant_cloud_volume")
    else:
        sentence = f"The volume {wish.volume} does not exist in this project and region"
        remedy = (
            "write the id of an existing volume in tenant_cloud_volume, or leave the line out for a new one"
        )
        findings.missing(CHECK, wish.volume, sentence, remedy)
    raise InTheWayError


def _ours(findings: Findings, wish: Wish, survey: Survey) -> Volume | None:
    things = [each for each in survey.volumes if each.name == wish.volume_name]
    return ours(findings, CHECK, things, [each for each in things if wish.owns(each.metadata)])


def _usable(findings: Findings, wish: Wish, survey: Survey, found: Volume, server: Server | None) -> bool:
    name = wish.volume or wish.volume_name
    # a server of our name is told of by itself
    others = [
        owner
        for each in found.attached_to
        if (server is None or each != server.id) and (owner := holder(survey, each)) != wish.name
    ]
    if found.status.startswith("error"):
        sentence = f"The volume {name} is in the state {found.status}"
        remedy = "it may hold the database, so ask the cloud's support to reset or restore it"
        findings.wrong(CHECK, name, sentence, remedy)
    elif others:
        sentence = f"The volume {name} is attached to another server, {others[0]}"
        findings.wrong(CHECK, name, sentence, "detach it there, and run again")
    elif found.status not in READY:
        sentence = f"The volume {name} is {found.status}, so it cannot be used now"
        remedy = "wait a minute and run again; if it fails again, ask the cloud's support"
        findings.wrong(CHECK, name, sentence, remedy)
    else:
        return True
    return False


def _attach(findings: Findings, wish: Wish, name: str) -> None:
    text = f"The volume {name} is attached to {wish.name}."
    before, after = ["attached to: nothing"], [f"attached to: {wish.name}"]
    findings.change(CHECK, "attached", Change("attach", "volume", name, text, before, after))


def _size(findings: Findings, wish: Wish, found: Volume) -> None:
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
            f"it is left as it is, because no volume can shrink: write tenant_cloud_volume_gb: {found.size}."
        )
        findings.differ(CHECK, Difference("volume", name, after, before, text))


def _type(findings: Findings, wish: Wish, found: Volume) -> None:
    if wish.volume_type and found.type != wish.volume_type:
        name, before, after = wish.volume_name, f"type: {found.type}", f"type: {wish.volume_type}"
        text = (
            f"The volume {name} is of the type {found.type}, the inventory says {wish.volume_type}; "
            "it is left as it is, because all data would be copied: do it in the cloud "
            f"(openstack volume set --type), or write {found.type}."
        )
        findings.differ(CHECK, Difference("volume", name, after, before, text))
