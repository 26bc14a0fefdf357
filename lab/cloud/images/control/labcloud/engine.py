"""The host's Docker engine, whose socket is mounted: servers are its containers, networks its networks."""

import json
from pathlib import Path
from typing import Any

import docker
from oslo_concurrency import lockutils

ROOT = Path("/cbm-cloud")
SERVER = "cbm.cloud.server"
NETWORK = "cbm.cloud.network"


def settings() -> dict[str, Any]:
    """What lab/cloud/create.yml has written; read anew each time, so that a change needs no restart."""
    return json.loads((ROOT / "settings.json").read_text())


def labels(**more: str) -> dict[str, str]:
    """Marks everything of ours, by which scripts/clean-lab finds it."""
    return {"cbm.lab": "cloud", "cbm.lab.directory": settings()["directory"], **more}


def client() -> docker.APIClient:
    """A connection; stopping a container may take a minute."""
    return docker.APIClient(base_url="unix:///var/run/docker.sock", version="auto", timeout=180)


def servers() -> list[dict[str, Any]]:
    """All containers that are servers."""
    return client().containers(all=True, filters={"label": [SERVER]})


def find(uuid: str) -> dict[str, Any] | None:
    """A server's container, if there is one."""
    found = client().containers(all=True, filters={"label": [f"{SERVER}={uuid}"]})
    return found[0] if found else None


@lockutils.synchronized("networks")
def network(vif: Any) -> str:
    """The docker network of a Neutron network; made for its first server."""
    subnet = next(s for s in vif["network"]["subnets"] if s["version"] == 4)
    cidr, gateway = str(subnet["cidr"]), subnet["gateway"]["address"]
    engine = client()
    for known in engine.networks(filters={"label": [NETWORK]}):
        if any(pool.get("Subnet") == cidr for pool in known["IPAM"]["Config"] or []):
            return known["Name"]
    name = f"cbm-cloud-{vif['network']['label']}-{vif['network']['id'][:8]}"
    pool = docker.types.IPAMPool(subnet=cidr, gateway=gateway)
    engine.create_network(
        name,
        driver="bridge",
        # a network without a gateway leads nowhere
        internal=gateway is None,
        ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        labels=labels(**{NETWORK: vif["network"]["id"]}),
    )
    return name


@lockutils.synchronized("networks")
def drop_if_empty(name: str) -> None:
    """Removes a network that no server has any more; the external one has the control plane."""
    engine = client()
    # not the network's own list: it lacks containers that are stopped
    if not engine.containers(all=True, filters={"network": [name]}):
        engine.remove_network(name)


def plug(container: str, name: str, address: str) -> None:
    """A further NIC, unless it is there."""
    engine = client()
    if name not in engine.inspect_container(container)["NetworkSettings"]["Networks"]:
        engine.connect_container_to_network(container, name, ipv4_address=address)


def plug_floating_ip(uuid: str, address: str) -> None:
    """A NIC on the external network; nothing, where the port has no server yet."""
    container = find(uuid) if uuid else None
    if container:
        plug(container["Id"], settings()["external_network"], address)


def unplug_floating_ip(uuid: str, address: str) -> None:
    """Takes the NIC with this address off the server."""
    container = find(uuid) if uuid else None
    if container:
        unplug(container["Id"], address)


def unplug(container: str, address: str) -> None:
    """Takes the NIC with this address off."""
    engine = client()
    for name, nic in engine.inspect_container(container)["NetworkSettings"]["Networks"].items():
        # a stopped container has only what it will ask for
        if address in (nic["IPAddress"], (nic.get("IPAMConfig") or {}).get("IPv4Address")):
            engine.disconnect_container_from_network(container, name)


def create(
    uuid: str, name: str, *, hostname: str, image: str, nics: list[tuple[str, str]], mounts: dict[str, str]
) -> str:
    """Make a VM like lab/tasks/vm.yml, not started; `nics` are (network, address), `mounts` by target."""
    engine, now = client(), settings()
    host = engine.create_host_config(
        cap_add=now["capabilities"],
        security_opt=now["security_opts"],
        device_cgroup_rules=now["device_rules"],
        tmpfs={"/run": "exec", "/run/lock": ""},
        mem_limit=now["memory"],
        # a reboot inside comes back by itself; stopped by Nova, it stays stopped
        restart_policy={"Name": "unless-stopped"},
        log_config=docker.types.LogConfig(type="json-file", config={"max-size": "4m"}),
        network_mode=nics[0][0] if nics else "none",
        mounts=[
            docker.types.Mount(target, source, type="bind", read_only=True)
            for target, source in mounts.items()
        ],
    )
    host["CgroupnsMode"] = "private"
    endpoints = {nics[0][0]: engine.create_endpoint_config(ipv4_address=nics[0][1])} if nics else {}
    container = engine.create_container(
        image,
        name=name,
        hostname=hostname,
        # the console, which Nova shows
        tty=True,
        host_config=host,
        networking_config=engine.create_networking_config(endpoints) if nics else None,
        environment={"VM_NAMESERVER": now["nameserver"]},
        labels=labels(**{SERVER: uuid}),
    )
    for network_name, address in nics[1:]:
        plug(container["Id"], network_name, address)
    return container["Id"]


def run(container: str, *command: str) -> str:
    """Runs a command inside and returns what it said."""
    engine = client()
    execution = engine.exec_create(container, list(command), user="root")
    said = engine.exec_start(execution["Id"]).decode(errors="replace")
    code = engine.exec_inspect(execution["Id"])["ExitCode"]
    if code:
        message = f"{' '.join(command)} failed in the server ({code}): {said}"
        raise RuntimeError(message)
    return said
