"""Several tenants of one inventory: each has a name and a host of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .formats import FORMATS, is_name
from .problem import Problem, shown


@dataclass(frozen=True)
class Tenant:
    """What distinguishes a tenant from others.

    Attributes:
        host: its name in the inventory.
        name: tenant_name.
        address: where Ansible reaches it, with the port of SSH; empty if there is no VM yet.
        machine: what the machine itself says that it is; empty if it has not been asked.
        volume: tenant_data_volume_id; empty if the disk is named otherwise.
    """

    host: str
    name: str
    address: str = ""
    machine: str = ""
    volume: str = ""


def collisions(host: str, tenants: Sequence[Tenant]) -> Iterator[Problem]:
    """Problems of one host's tenant with the others of the inventory.

    On one host, two tenants would have one database, one data disk and one Docker engine.
    """
    mine = next((tenant for tenant in tenants if tenant.host == host), None)
    if mine is None:
        return
    # what is set as tenant_name is judged like every value
    if mine.name == host and not is_name(host):
        name = FORMATS["name"]
        yield Problem(
            "inventory.format",
            "tenant_name",
            f"tenant_name: the name of the host, {shown(host)}, is not {name.noun} of a tenant.",
            f"Set tenant_name. {name.hint}",
        )
    for other in tenants:
        if other is mine:
            continue
        if other.name == mine.name:
            yield Problem(
                "inventory.shared_name",
                "tenant_name",
                f"tenant_name: {host} and {other.host} have the same name '{mine.name}'.",
                "Give each a name of its own; passwords, certificates and reports are kept by name.",
            )
        if mine.address and mine.address == other.address:
            yield _shared_host(mine, other, mine.address.removesuffix(":22"))
        elif mine.machine and mine.machine == other.machine:
            yield _shared_host(mine, other, "reached by two addresses")
        elif mine.volume and mine.volume == other.volume:
            yield Problem(
                "inventory.shared_disk",
                "tenant_data_volume_id",
                f"tenant_data_volume_id: {host} and {other.host} have the same disk '{mine.volume}'.",
                "Give each a disk of its own.",
            )


def _shared_host(mine: Tenant, other: Tenant, words: str) -> Problem:
    return Problem(
        "inventory.shared_host",
        "ansible_host",
        f"ansible_host: {mine.host} and {other.host} are the same host ({words}).",
        "Give each a host of its own, or remove one; they would share the database and the data disk.",
    )
