"""Carries a plan out: the steps in the order in which one thing needs the other."""

import base64
from collections.abc import Callable
from typing import Any

import yaml

from .answers import ERRORS, one_line, server_fault, told, volume_fault
from .findings import StoppedError
from .plan import Plan
from .rules import body
from .wish import Wish

AGAIN = "the next run continues with the resources that exist"


def group(cloud: Any, plan: Plan) -> None:
    """First what is to be open, then what is not: a rule that only moves leaves no gap."""
    network, wish, fence = cloud.network, plan.wish, plan.fence
    found = fence.group or network.create_security_group(name=wish.name, description=wish.mark)
    for rule in fence.lacking:
        network.create_security_group_rule(security_group_id=found.id, **body(rule))
    for rule in fence.extra:
        try:
            network.delete_security_group_rule(rule.id, ignore_missing=True)
        except ERRORS as error:
            message = f"The rule {rule.id} could not be removed: {one_line(error)}"
            raise StoppedError(
                "security group", "rule_stays", "", message, "remove it in the cloud"
            ) from error


def ports(cloud: Any, plan: Plan) -> None:
    """Every port has the group, also on the archive's network: one without a group lets nothing out."""
    groups = [plan.fence.group.id] if plan.fence.group else []
    for each in plan.sockets:
        if each.port is not None:
            if each.port.security_group_ids != groups:
                cloud.network.update_port(each.port.id, security_group_ids=groups)
        # a server that runs gets no further interface by surprise
        elif plan.machine is None and each.network is not None:
            facts = {"name": each.name, "description": plan.wish.mark, "network_id": each.network.id}
            cloud.network.create_port(security_group_ids=groups, **facts)


def volume(cloud: Any, plan: Plan) -> None:
    """The data volume exists, or is larger."""
    storage, wish = cloud.block_storage, plan.wish
    if plan.disk is not None:
        storage.extend_volume(plan.disk.id, wish.volume_gb)
        grown, failures = storage.get_volume(plan.disk.id), ["error", "error_extending"]
        # one that is being extended cannot be attached
        storage.wait_for_status(grown, plan.disk.status, failures=failures, wait=wish.timeout)
        return
    facts = {"name": wish.volume_name, "size": wish.volume_gb, "metadata": {"cbm_tenant": wish.tenant}}
    facts |= {"volume_type": wish.volume_type} if wish.volume_type else {}
    made = None
    try:
        made = storage.create_volume(description=f"Database and container engine of {wish.tenant}", **facts)
        storage.wait_for_status(made, "available", failures=["error"], wait=wish.timeout)
    except ERRORS as error:
        reason = _remove_dead_volume(cloud, made.id, wish) if made else ""
        message = (
            f"The cloud {wish.entry} could not create the volume {wish.volume_name} of {wish.volume_gb} GB: "
            f"{reason or one_line(error)}"
        )
        hint = (
            "Run again in a few minutes; if it fails again, choose another tenant_cloud_volume_type or "
            f"a smaller tenant_cloud_volume_gb, or ask the cloud's support. T{AGAIN[1:]}"
        )
        raise StoppedError("data volume", "failed", "", message, hint) from error


def _remove_dead_volume(cloud: Any, volume_id: str, wish: Wish) -> str:
    """Return why Cinder failed, and remove the volume: this run made it, so nothing is lost."""
    found = told(lambda: cloud.block_storage.get_volume(volume_id))
    if found is None or found.status != "error":
        return ""
    reason = volume_fault(cloud, volume_id)
    cloud.block_storage.delete_volume(found, ignore_missing=True)
    cloud.block_storage.wait_for_delete(found, wait=wish.timeout)
    return reason


def server(cloud: Any, plan: Plan) -> None:
    """The server runs."""
    compute, wish = cloud.compute, plan.wish
    if plan.machine is not None:
        compute.start_server(plan.machine)
        compute.wait_for_server(plan.machine, wait=wish.timeout)
        return
    made = None
    try:
        made = compute.create_server(
            name=wish.name,
            image_id=plan.choice.image.id if plan.choice.image else None,
            flavor_id=plan.choice.flavor.id if plan.choice.flavor else None,
            # the tenant's network first, because it gives the default route
            networks=[{"port": each.port.id} for each in plan.sockets if each.port],
            metadata={"cbm_tenant": wish.tenant},
            user_data=base64.b64encode(user_data(wish).encode()).decode(),
        )
        compute.wait_for_server(made, wait=wish.timeout)
    except ERRORS as error:
        reason = (_remove_dead_server(compute, made.id, wish) if made else "") or one_line(error)
        message = f"The cloud {wish.entry} could not start the server {wish.name}: {reason}"
        hint = f"Choose another tenant_cloud_flavor or ask the cloud's support, then run again; {AGAIN}"
        raise StoppedError("server", "failed", "", message, hint) from error


def _remove_dead_server(compute: Any, server_id: str, wish: Wish) -> str:
    """Return why Nova failed, and remove a server that never ran: nothing is lost."""
    found = told(lambda: compute.get_server(server_id))
    if found is None or found.status != "ERROR":
        return ""
    if not found.launched_at:
        compute.delete_server(found, ignore_missing=True)
        compute.wait_for_delete(found, wait=wish.timeout)
    return server_fault(found)


def user_data(wish: Wish) -> str:
    """What cloud-init reads: keys, and no passwords."""
    known = list(dict.fromkeys([*wish.authorized_keys, *wish.operator_keys, *wish.further_keys]))
    return "#cloud-config\n" + yaml.safe_dump(
        {"ssh_authorized_keys": known, "ssh_pwauth": False}, width=10**6
    )


def attachment(cloud: Any, plan: Plan) -> None:
    """The server has its data volume."""
    if plan.machine is not None and plan.disk is not None:
        cloud.compute.create_volume_attachment(plan.machine.id, volume=plan.disk.id)
        taken = cloud.block_storage.get_volume(plan.disk.id)
        cloud.block_storage.wait_for_status(taken, "in-use", wait=plan.wish.timeout)


def addresses(cloud: Any, plan: Plan) -> None:
    """The server has its floating IP, and further ones are reserved. Another one is detached first."""
    network, wish, ips = cloud.network, plan.wish, plan.ips
    port = plan.sockets[0].port
    pool = plan.choice.external_network.id if plan.choice.external_network else None
    try:
        if ips.wanted and port is not None:
            if ips.server is not None:
                network.update_ip(ips.server.id, port_id=None)
            if ips.take is not None:
                network.update_ip(ips.take.id, port_id=port.id)
            else:
                network.create_ip(floating_network_id=pool, port_id=port.id, description=wish.mark)
        for description in ips.reserves_missing:
            network.create_ip(floating_network_id=pool, description=description)
    except ERRORS as error:
        refused = f"gave {wish.tenant} no floating IP ({one_line(error)})"
        message = f"The external network {wish.external_network} {refused}"
        hint = (
            "Name another tenant_cloud_external_network, or an address that the project has in "
            "tenant_cloud_floating_ip, or ask the cloud's support for addresses; then run again"
        )
        raise StoppedError("floating IPs", "failed", "", message, hint) from error


STEPS: dict[str, Callable[[Any, Plan], None]] = {
    "group": group,
    "ports": ports,
    "volume": volume,
    "server": server,
    "attachment": attachment,
    "addresses": addresses,
}
