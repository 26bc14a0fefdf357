"""What there is in a project, asked from the cloud: nothing here changes anything."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keystoneauth1 import exceptions as keystone
from openstack import exceptions

from .answers import ask
from .model import Address, Flavor, Group, Image, Network, Port, Quota, Rule, Server, Survey, Volume

# openstacksdk's names of Nova's limits
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


def survey(connection: Any, cloud: str, regions: Iterable[str], *, whole: bool = True) -> Survey:
    """Ask for everything; without `whole` only for what may be ours.

    Raises:
        StoppedError: the cloud does not answer.
    """
    project = connection.current_project_id

    def every(what: str, question: Callable[[], Iterable[Any]]) -> list[Any]:
        listed: list[Any] = ask(cloud, what, lambda: list(question()))
        return listed

    flavors = every("flavors", lambda: connection.compute.flavors(details=True)) if whole else []
    images = every("images", connection.image.images) if whole else []
    networks = every("networks", connection.network.networks) if whole else []
    types = every("volume types", connection.block_storage.types) if whole else []
    servers = every("servers", lambda: connection.compute.servers(details=True))
    return Survey(
        region=str(connection.config.region_name),
        project_id=str(project or ""),
        regions=tuple(regions),
        credential_id=credential(connection),
        credential_expires=expiry(connection),
        flavors=[Flavor(each.name, int(each.vcpus or 0), int(each.ram or 0), each.id) for each in flavors],
        images=[Image(each.id, each.name or "", each.status or "", each.created_at or "") for each in images],
        networks=[Network(each.id, each.name or "", bool(each.is_router_external)) for each in networks],
        # in an order that stays; Cinder's own placeholder is not for users
        volume_types=sorted(each.name for each in types if each.name != "__DEFAULT__"),
        servers=[_server(connection, each, flavors) for each in servers],
        volumes=[
            _volume(each) for each in every("volumes", lambda: connection.block_storage.volumes(details=True))
        ],
        groups=[
            _group(each)
            for each in every(
                "security groups", lambda: connection.network.security_groups(project_id=project)
            )
        ],
        ports=[_port(each) for each in every("ports", lambda: connection.network.ports(project_id=project))],
        addresses=[
            _address(each)
            for each in every("floating IPs", lambda: connection.network.ips(project_id=project))
        ],
        quotas=quotas(connection, project) if whole else {},
    )


def _server(connection: Any, each: Any, flavors: Iterable[Any]) -> Server:
    flavor = each.flavor or {}
    # before microversion 2.47 Nova names the flavor by its id only
    name = flavor.get("original_name") or next(
        (known.name for known in flavors if known.id == flavor.get("id")), ""
    )
    addresses = [one["addr"] for several in (each.addresses or {}).values() for one in several]
    fault = ""
    if each.status == "ERROR" and "cbm_tenant" in (each.metadata or {}):
        # Nova's list leaves the fault out for a server that no host would take
        whole = told(lambda: connection.compute.get_server(each.id)) or each
        fault = (whole.fault or {}).get("message", "")
    return Server(
        each.id, each.name or "", each.status or "", name, dict(each.metadata or {}), addresses, fault
    )


def _volume(each: Any) -> Volume:
    attached = [one["server_id"] for one in each.attachments or [] if one.get("server_id")]
    return Volume(
        each.id,
        each.name or "",
        int(each.size or 0),
        each.status or "",
        each.volume_type or "",
        dict(each.metadata or {}),
        attached,
    )


def _group(each: Any) -> Group:
    return Group(
        each.id,
        each.name or "",
        each.description or "",
        [_rule(one) for one in each.security_group_rules or []],
    )


def _rule(one: Mapping[str, Any]) -> Rule:
    return Rule(
        direction=one["direction"],
        ether_type=one.get("ethertype") or one.get("ether_type") or "IPv4",
        protocol=one.get("protocol"),
        port_min=one.get("port_range_min"),
        port_max=one.get("port_range_max"),
        remote_ip=one.get("remote_ip_prefix"),
        # a list of addresses is no CIDR of ours either
        remote_group=one.get("remote_group_id") or one.get("remote_address_group_id"),
        description=one.get("description") or "",
        id=one["id"],
    )


def _port(each: Any) -> Port:
    addresses = [one["ip_address"] for one in each.fixed_ips or []]
    return Port(
        each.id,
        each.name or "",
        each.network_id or "",
        each.description or "",
        each.device_id or "",
        list(each.security_group_ids or []),
        addresses,
    )


def _address(each: Any) -> Address:
    return Address(
        each.id,
        each.floating_ip_address,
        each.description or "",
        each.port_id or "",
        each.floating_network_id or "",
    )


def quotas(connection: Any, project: str) -> dict[str, Quota]:
    """What the cloud tells about limits; clouds forbid one query or another."""
    found: dict[str, Quota] = {}
    nova = told(lambda: connection.compute.get_limits().absolute)
    cinder = told(lambda: connection.block_storage.get_limits().absolute)
    for limits, names in ((nova, NOVA_LIMITS), (cinder, CINDER_LIMITS)):
        for name, (limit, used) in names.items():
            if limits is not None and limits[limit] is not None:
                found[name] = Quota(int(limits[limit]), int(limits[used] or 0))
    # only the quota set has the limits of each volume type
    volumes = told(
        lambda: connection.block_storage.get_quota_set(project, usage=True).to_dict(computed=False)
    )
    if volumes is not None:
        usage = volumes.get("usage") or {}
        for name, limit in volumes.items():
            if name.startswith(("volumes_", "gigabytes_")) and isinstance(limit, int):
                found[name] = Quota(limit, int(usage.get(name) or 0))
    neutron = told(lambda: connection.network.get_quota(project, details=True).to_dict(computed=False))
    for name in NEUTRON_QUOTAS:
        quota = (neutron or {}).get(name)
        if isinstance(quota, Mapping) and quota.get("limit") is not None:
            found[name] = Quota(
                int(quota["limit"]), int(quota.get("used") or 0) + int(quota.get("reserved") or 0)
            )
    return found


def told[Answer](question: Callable[[], Answer]) -> Answer | None:
    """The answer, or None where the cloud does not want to say."""
    try:
        return question()
    except (exceptions.SDKException, keystone.ClientException):
        return None


def credential(connection: Any) -> str:
    """The id of the application credential; empty where the login is another."""
    return str(connection.config.config.get("auth", {}).get("application_credential_id") or "")


def expiry(connection: Any) -> str:
    """When the application credential ends; empty where it never does, or where the cloud does not say."""
    known, user = credential(connection), connection.current_user_id
    if not known or not user:
        return ""
    found = told(lambda: connection.identity.get_application_credential(user, known))
    return str(found.expires_at or "") if found is not None else ""
