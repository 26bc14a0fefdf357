"""What there is in a project, as openstacksdk's own resources; nothing here changes anything."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openstack.block_storage.v3.volume import Volume
from openstack.compute.v2.flavor import Flavor
from openstack.compute.v2.server import Server
from openstack.image.v2.image import Image
from openstack.network.v2.floating_ip import FloatingIP as Address
from openstack.network.v2.network import Network
from openstack.network.v2.port import Port
from openstack.network.v2.security_group import SecurityGroup as Group
from openstack.network.v2.security_group_rule import SecurityGroupRule as Rule

from .answers import ask, told

# the resources of openstacksdk, by the names that are used here
__all__ = [
    "Address",
    "Flavor",
    "Group",
    "Image",
    "Network",
    "Port",
    "Quota",
    "Rule",
    "Server",
    "Survey",
    "Volume",
]
# openstacksdk's names of limits
NOVA_LIMITS = {
    "instances": ("instances", "instances_used"),
    "cores": ("total_cores", "total_cores_used"),
    "ram": ("total_ram", "total_ram_used"),
}
CINDER_LIMITS = {
    "volumes": ("max_total_volumes", "total_volumes_used"),
    "gigabytes": ("max_total_volume_gigabytes", "total_gigabytes_used"),
}
NEUTRON_QUOTAS = ("floating_ips", "security_groups", "security_group_rules", "ports")


@dataclass(frozen=True)
class Quota:
    """How much of a thing the project may have (-1: as much as it likes), and has."""

    limit: int
    used: int


@dataclass(frozen=True)
class Survey:
    """The project's resources. A quota that the cloud does not report is not in `quotas`."""

    region: str = ""
    project_id: str = ""
    credential_id: str = ""
    credential_expires: str = ""
    flavors: Sequence[Flavor] = ()
    images: Sequence[Image] = ()
    networks: Sequence[Network] = ()
    volume_types: Sequence[str] = ()
    servers: Sequence[Server] = ()
    volumes: Sequence[Volume] = ()
    groups: Sequence[Group] = ()
    ports: Sequence[Port] = ()
    addresses: Sequence[Address] = ()
    quotas: Mapping[str, Quota] = field(default_factory=dict)


def survey(connection: Any, cloud: str, *, whole: bool = True) -> Survey:
    """Ask for everything; without `whole` only for what may be the tenant's. No answer: StoppedError."""
    project = connection.current_project_id
    credential = str(connection.config.config.get("auth", {}).get("application_credential_id") or "")
    compute, network, storage = connection.compute, connection.network, connection.block_storage

    def every(what: str, question: Callable[[], Iterable[Any]]) -> list[Any]:
        listed: list[Any] = ask(cloud, what, lambda: list(question()))
        return listed

    stock: dict[str, Any] = {}
    if whole:
        stock = {
            "flavors": every("flavors", lambda: compute.flavors(details=True)),
            "images": every("images", connection.image.images),
            "networks": every("networks", network.networks),
            "volume_types": every("volume types", lambda: sorted(each.name for each in storage.types())),
            "quotas": quotas(connection, project),
        }
        # Cinder's own placeholder is not for users
        stock["volume_types"] = [name for name in stock["volume_types"] if name != "__DEFAULT__"]
    servers = every("servers", lambda: compute.servers(details=True))
    return Survey(
        region=str(connection.config.region_name),
        project_id=str(project or ""),
        credential_id=credential,
        credential_expires=_expiry(connection, credential),
        servers=[_with_fault(compute, each) for each in servers],
        volumes=every("volumes", lambda: storage.volumes(details=True)),
        groups=every("security groups", lambda: network.security_groups(project_id=project)),
        ports=every("ports", lambda: network.ports(project_id=project)),
        addresses=every("floating IPs", lambda: network.ips(project_id=project)),
        **stock,
    )


def _with_fault(compute: Any, server: Server) -> Server:
    """Nova's list leaves the fault out for a server that no host would take."""
    if server.status == "ERROR" and "cbm_tenant" in (server.metadata or {}):
        return told(lambda: compute.get_server(server.id)) or server
    return server


def _expiry(connection: Any, credential: str) -> str:
    """When the application credential ends; empty if it never does, or if the cloud does not say."""
    user = connection.current_user_id
    if not credential or not user:
        return ""
    found = told(lambda: connection.identity.get_application_credential(user, credential))
    return str(found.expires_at or "") if found is not None else ""


def quotas(connection: Any, project: str) -> dict[str, Quota]:
    """What the cloud reports about limits; clouds forbid one query or another."""
    found: dict[str, Quota] = {}
    storage = connection.block_storage
    nova = told(lambda: connection.compute.get_limits().absolute)
    cinder = told(lambda: storage.get_limits().absolute)
    for limits, names in ((nova, NOVA_LIMITS), (cinder, CINDER_LIMITS)):
        for name, (limit, used) in names.items():
            if limits is not None and limits[limit] is not None:
                found[name] = Quota(int(limits[limit]), int(limits[used] or 0))
    # only the quota set has the limits of each volume type
    typed = told(lambda: storage.get_quota_set(project, usage=True).to_dict(computed=False)) or {}
    usage = typed.get("usage") or {}
    for name, limit in typed.items():
        if name.startswith(("volumes_", "gigabytes_")) and isinstance(limit, int):
            found[name] = Quota(limit, int(usage.get(name) or 0))
    neutron = told(lambda: connection.network.get_quota(project, details=True).to_dict(computed=False)) or {}
    for name in NEUTRON_QUOTAS:
        quota = neutron.get(name)
        if isinstance(quota, Mapping) and quota.get("limit") is not None:
            taken = int(quota.get("used") or 0) + int(quota.get("reserved") or 0)
            found[name] = Quota(int(quota["limit"]), taken)
    return found


def flavor_name(server: Server, flavors: Iterable[Flavor]) -> str:
    """The name of a server's flavor: before microversion 2.47 Nova reports only the id."""
    flavor = server.flavor or {}
    named = flavor.get("original_name")
    return str(named or next((each.name for each in flavors if each.id == flavor.get("id")), ""))


def attached_to(volume: Volume) -> list[str]:
    """Ids of the servers that have a volume."""
    return [each["server_id"] for each in volume.attachments or [] if each.get("server_id")]


def fixed_addresses(port: Port) -> list[str]:
    """Addresses of a port in its own network."""
    return [each["ip_address"] for each in port.fixed_ips or []]


def rules_of(group: Group) -> list[Rule]:
    """The rules of a group, of which Neutron sends plain mappings."""
    return [Rule(**each) for each in group.security_group_rules or []]


def holder(found: Survey, server_id: str) -> str:
    """The name of the server with an id; the id itself if no such server exists."""
    return next((str(each.name) for each in found.servers if each.id == server_id), server_id)
