"""A cloud's resources as openstacksdk has them, made of what tests say about them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openstack.block_storage.v3 import volume
from openstack.compute.v2 import flavor, server
from openstack.image.v2 import image
from openstack.network.v2 import floating_ip, network, port, security_group, security_group_rule

RULE_NAMES = {
    "port_min": "port_range_min",
    "port_max": "port_range_max",
    "remote_ip": "remote_ip_prefix",
    "remote_group": "remote_group_id",
}


def remembered(make: Callable[..., Any]) -> Callable[..., Any]:
    """Let `replace` make another one, with some of it changed."""
    names = make.__code__.co_varnames[: make.__code__.co_argcount]

    def made(*values: Any, **facts: Any) -> Any:
        given = dict(zip(names, values, strict=False)) | facts
        thing = make(**given)
        thing.given, thing.make = given, made
        return thing

    return made


def replace(thing: Any, **changes: Any) -> Any:
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return dataclasses.replace(thing, **changes)
    return thing.make(**(thing.given | changes))


@remembered
def Flavor(name: str, vcpus: int, memory_mb: int, id: str = "") -> Any:  # noqa: A002, N802
    return flavor.Flavor(id=id, name=name, vcpus=vcpus, ram=memory_mb)


@remembered
def Image(id: str, name: str, status: str = "active", created: str = "") -> Any:  # noqa: A002, N802
    return image.Image(id=id, name=name, status=status, created_at=created)


@remembered
def Network(id: str, name: str, external: bool = False) -> Any:  # noqa: A002, N802
    return network.Network(id=id, name=name, is_router_external=external)


@remembered
def Server(  # noqa: N802, PLR0917
    id: str,  # noqa: A002
    name: str,
    status: str = "ACTIVE",
    flavor: str = "",
    metadata: Mapping[str, str] | None = None,
    addresses: Sequence[str] = (),
    fault: str = "",
) -> Any:
    return server.Server(
        id=id,
        name=name,
        status=status,
        flavor={"original_name": flavor},
        metadata=dict(metadata or {}),
        addresses={"network": [{"addr": address} for address in addresses]},
        fault={"message": fault} if fault else None,
    )


@remembered
def Volume(  # noqa: N802, PLR0917
    id: str,  # noqa: A002
    name: str,
    size: int,
    status: str = "available",
    type: str = "",  # noqa: A002
    metadata: Mapping[str, str] | None = None,
    attached_to: Sequence[str] = (),
) -> Any:
    attachments = [{"server_id": each} for each in attached_to]
    facts = {"id": id, "name": name, "size": size, "status": status, "volume_type": type}
    return volume.Volume(metadata=dict(metadata or {}), attachments=attachments, **facts)


def Rule(**facts: Any) -> Any:  # noqa: N802
    made = security_group_rule.SecurityGroupRule(**{RULE_NAMES.get(k, k): v for k, v in facts.items()})
    made.given, made.make = facts, Rule
    return made


@remembered
def Group(id: str, name: str, description: str = "", rules: Sequence[Any] = ()) -> Any:  # noqa: A002, N802
    # Neutron sends rules as mappings, with its own names
    bodies = [{"id": each.id, **each.to_dict(original_names=True, computed=False)} for each in rules]
    return security_group.SecurityGroup(
        id=id, name=name, description=description, security_group_rules=bodies
    )


@remembered
def Port(  # noqa: N802, PLR0917
    id: str,  # noqa: A002
    name: str,
    network_id: str = "",
    description: str = "",
    device_id: str = "",
    group_ids: Sequence[str] = (),
    addresses: Sequence[str] = (),
) -> Any:
    return port.Port(
        id=id,
        name=name,
        network_id=network_id,
        description=description,
        device_id=device_id,
        security_group_ids=list(group_ids),
        fixed_ips=[{"ip_address": address} for address in addresses],
    )


@remembered
def Address(  # noqa: N802
    id: str,  # noqa: A002
    address: str,
    description: str = "",
    port_id: str | None = "",
    network_id: str = "",
) -> Any:
    return floating_ip.FloatingIP(
        id=id,
        floating_ip_address=address,
        description=description,
        port_id=port_id,
        floating_network_id=network_id,
    )
