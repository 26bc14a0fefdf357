"""`python3 -m labcloud.seed identity|resources`: what every such cloud has; runs while the image is built.

`python3 -m labcloud.seed backends`: the volumes' scheduler knows where they go; asked at every start.
"""

import sys
from typing import Any

import openstack

from labcloud.configure import IDENTITY, PASSWORD, REGION

# name: catalog types, port, path
SERVICES = {
    "glance": (("image",), 9292, ""),
    "placement": (("placement",), 8778, ""),
    "nova": (("compute",), 8774, "/v2.1"),
    "neutron": (("network",), 9696, ""),
    "cinder": (("volumev3", "block-storage"), 8776, "/v3/%(project_id)s"),
}

# name: vCPUs, memory in GB, disk in GB. Nothing has room for the giant.
FLAVORS = {
    "eo1.large": (4, 8, 32),
    "eo2.2xlarge": (8, 32, 128),
    "eo2a.2xlarge": (8, 32, 128),
    "hm.2xlarge": (16, 128, 384),
    "eo2.giant": (64, 2048, 512),
}

# name: the container image that a server of it runs
IMAGES = {
    "Debian 12": "cbm-cloud-server:bookworm",
    "Debian 13": "cbm-cloud-server:trixie",
    "Silent": "cbm-cloud-server:silent",
}

# The addresses are those of lab/cloud/vars.yml. The small one can be exhausted by a test.
EXTERNAL = {
    "external": ("172.30.41.100", "172.30.41.159"),
    "external-small": ("172.30.41.200", "172.30.41.201"),
}


def identity(cloud: Any) -> None:
    """The services' own users, and the catalog. `start` puts the address into the public endpoints."""
    keystone = cloud.identity
    project = keystone.create_project(name="service", domain_id="default")
    roles = {role.name: role for role in keystone.roles()}
    roles["service"] = roles.get("service") or keystone.create_role(name="service")
    for name, (types, port, path) in SERVICES.items():
        user = keystone.create_user(
            name=name, password=PASSWORD, domain_id="default", default_project_id=project.id
        )
        for role in ("admin", "service"):
            keystone.assign_project_role_to_user(project, user, roles[role])
        for kind in types:
            service = keystone.create_service(name=name, type=kind)
            for interface in ("public", "internal", "admin"):
                url = f"http://127.0.0.1:{port}{path}"
                keystone.create_endpoint(
                    service_id=service.id, interface=interface, region_id=REGION, url=url
                )


def resources(cloud: Any) -> None:
    """What tenants choose from."""
    for name, (vcpus, memory, disk) in FLAVORS.items():
        cloud.compute.create_flavor(name=name, vcpus=vcpus, ram=memory * 1024, disk=disk)
    for name, image in IMAGES.items():
        cloud.create_image(
            name,
            data=b"\0" * 1024,
            disk_format="raw",
            container_format="bare",
            visibility="public",
            wait=True,
            meta={"os_distro": "debian", "lab_image": image},
        )
    for name in ("ssd", "hdd"):
        cloud.block_storage.create_type(name=name)
    # what a cloud lists and has no room for
    tape = cloud.block_storage.create_type(name="tape")
    cloud.block_storage.update_type_extra_specs(tape, volume_backend_name="tape")
    # Cinder's own, for clouds without types
    cloud.block_storage.delete_type(cloud.block_storage.find_type("__DEFAULT__"))

    neutron = cloud.network
    for name, pool in EXTERNAL.items():
        network = neutron.create_network(
            name=name, is_router_external=True, provider_network_type="flat", provider_physical_network=name
        )
        subnet(neutron, network, "172.30.41.0/24", "172.30.41.1", pool)
    eodata = neutron.create_network(
        name="eodata", is_shared=True, provider_network_type="flat", provider_physical_network="eodata"
    )
    subnet(neutron, eodata, "172.30.42.0/24", None, ("172.30.42.10", "172.30.42.250"))


def subnet(neutron: Any, network: Any, cidr: str, gateway: str | None, pool: tuple[str, str]) -> None:
    """A network's one subnet."""
    neutron.create_subnet(
        network_id=network.id,
        name=network.name,
        ip_version=4,
        cidr=cidr,
        gateway_ip=gateway,
        is_dhcp_enabled=False,
        allocation_pools=[{"start": pool[0], "end": pool[1]}],
    )


def backends(cloud: Any) -> None:
    """A scheduler that has not heard of a backend yet gives every volume up at once, whoever has reported."""
    answer = cloud.block_storage.get("/scheduler-stats/get_pools")
    if not (answer.ok and answer.json()["pools"]):
        sys.exit("Cinder's scheduler knows no backend yet.")


def main() -> None:
    """As Keystone's first user, who came with the tables."""
    cloud = openstack.connect(
        auth_url=IDENTITY,
        username="admin",
        password="admin",  # noqa: S106
        project_name="admin",
        user_domain_name="Default",
        project_domain_name="Default",
        region_name=REGION,
        interface="internal",
    )
    {"identity": identity, "resources": resources, "backends": backends}[sys.argv[1]](cloud)


if __name__ == "__main__":
    main()
