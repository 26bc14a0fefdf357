"""Nova's driver: a server is a container with systemd, set up by cloud-init, on the host's Docker engine."""

# ruff: noqa: ARG002, PLR0917 - the signatures are Nova's

import base64
import json
from typing import Any

import nova.conf
from nova import exception
from nova.compute import power_state
from nova.virt import driver, hardware
from oslo_log import log as logging

from labcloud import disks, engine

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

# Pretended: flavors shall fit that this machine has no room for. What a server may really use is a setting.
VCPUS, MEMORY_MB, DISK_GB = 256, 1024 * 1024, 100_000

STATES = {
    "running": power_state.RUNNING,
    "restarting": power_state.RUNNING,
    "paused": power_state.PAUSED,
    "created": power_state.SHUTDOWN,
    "exited": power_state.SHUTDOWN,
    "dead": power_state.CRASHED,
}


class ContainerDriver(driver.ComputeDriver):
    """What nova-compute asks of a hypervisor."""

    capabilities = {  # noqa: RUF012 - as the base class has it
        **driver.ComputeDriver.capabilities,
        "supports_attach_interface": True,
        "supports_extend_volume": True,
        "supports_image_type_raw": True,
    }

    def init_host(self, host: str) -> None:
        """Nothing to find: the containers themselves are the state, also after a restart."""

    # What there is

    def list_instances(self) -> list[str]:
        """By their containers' names."""
        return [container["Names"][0].lstrip("/") for container in engine.servers()]

    def list_instance_uuids(self) -> list[str]:
        """By their containers' labels."""
        return [container["Labels"][engine.SERVER] for container in engine.servers()]

    def get_info(self, instance: Any, use_cache: bool = True) -> hardware.InstanceInfo:
        """Whether it runs."""
        return hardware.InstanceInfo(
            state=STATES.get(self._container(instance)["State"], power_state.NOSTATE)
        )

    def get_console_output(self, context: Any, instance: Any) -> str:
        """All that its console has said; Nova cuts it."""
        return engine.client().logs(self._container(instance)["Id"], tail=2000)

    # Life

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """A container with the server's ports, floating IPs, volumes and metadata."""
        self._write_seed(instance)
        mounts = {"/run/vm": f"{engine.settings()['directory']}/cloud/servers/{instance.uuid}"}
        if engine.settings()["eodata"] and any(vif["network"]["label"] == "eodata" for vif in network_info):
            mounts["/eodata"] = engine.settings()["eodata"]
        mappings = driver.block_device_info_get_mapping(block_device_info)
        disks.write(instance.uuid, [self._disk(m["mount_device"], m["connection_info"]) for m in mappings])
        container = engine.create(
            instance.uuid,
            f"cbm-cloud-{instance.hostname}-{instance.uuid[:8]}",
            hostname=instance.hostname,
            image=instance.system_metadata["image_lab_image"],
            nics=[
                (engine.network(vif), ip["address"])
                for vif in network_info
                for ip in vif.fixed_ips()
                if ip["version"] == 4
            ],
            mounts=mounts,
        )
        # of ports that had them before there was a server
        for address in (floating["address"] for vif in network_info for floating in vif.floating_ips()):
            engine.plug(container, engine.settings()["external_network"], address)
        if power_on:
            engine.client().start(container)

    @staticmethod
    def _write_seed(instance: Any) -> None:
        """What cloud-init reads (its data source NoCloud)."""
        seed = disks.directory(instance.uuid) / "nocloud"
        seed.mkdir(parents=True, exist_ok=True)
        metadata = {
            "instance-id": instance.uuid,
            "local-hostname": instance.hostname,
            "public-keys": [instance.key_data] if instance.key_data else [],
        }
        (seed / "meta-data").write_text(json.dumps(metadata))
        (seed / "user-data").write_bytes(base64.b64decode(instance.user_data or "") or b"#cloud-config\n{}\n")

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Also a half-made one: nothing is left of it."""
        container = engine.find(instance.uuid)
        if container:
            engine.client().remove_container(container["Id"], force=True, v=True)
            for name in container["NetworkSettings"]["Networks"]:
                engine.drop_if_empty(name)
        disks.remove(instance.uuid)

    def cleanup(self, *args: Any, **kwargs: Any) -> None:
        """Destroying has left nothing."""

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """As a button that is pressed, then held."""
        engine.client().stop(self._container(instance)["Id"], timeout=timeout)

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        accel_info: Any = None,
    ) -> None:
        """With the disks that it had."""
        disks.write(instance.uuid, disks.read(instance.uuid))
        engine.client().start(self._container(instance)["Id"])

    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Any = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
    ) -> None:
        """A hard one does not wait."""
        disks.write(instance.uuid, disks.read(instance.uuid))
        engine.client().restart(self._container(instance)["Id"], timeout=60 if reboot_type == "SOFT" else 0)

    # Volumes

    def get_device_name_for_instance(self, instance: Any, bdms: Any, block_device_obj: Any) -> str:
        """The first that is free; vda would be the root disk."""
        used = {bdm.device_name for bdm in bdms}
        for letter in "bcdefghijklmnopqrstuvwxyz":
            if f"/dev/vd{letter}" not in used:
                return f"/dev/vd{letter}"
        raise exception.TooManyDiskDevices(maximum=25)

    def get_volume_connector(self, instance: Any) -> dict[str, str]:
        """What Cinder wants to know of the hypervisor."""
        return {"ip": CONF.my_block_storage_ip, "initiator": "none", "host": CONF.host}

    def attach_volume(
        self, context: Any, connection_info: Any, instance: Any, mountpoint: str, **_: Any
    ) -> None:
        """Seen inside when this returns."""
        disks.write(instance.uuid, [*disks.read(instance.uuid), self._disk(mountpoint, connection_info)])
        self._look_at_disks(instance)

    def detach_volume(
        self, context: Any, connection_info: Any, instance: Any, mountpoint: str, **_: Any
    ) -> None:
        """Gone inside when this returns."""
        attached = disks.read(instance.uuid)
        disks.write(instance.uuid, [disk for disk in attached if disk.volume != connection_info["serial"]])
        self._look_at_disks(instance)
        for disk in attached:
            if disk.volume == connection_info["serial"]:
                disk.detach()

    def extend_volume(self, context: Any, connection_info: Any, instance: Any, requested_size: int) -> None:
        """Cinder has grown the file; the server's disk follows."""
        self._disk("", connection_info).grow()

    @staticmethod
    def _disk(mountpoint: str, connection_info: Any) -> disks.Disk:
        return disks.Disk(mountpoint.rpartition("/")[2], connection_info["serial"])

    def _look_at_disks(self, instance: Any) -> None:
        container = self._container(instance)
        if container["State"] == "running":
            engine.run(container["Id"], "/sbin/vm-disks")

    # Ports

    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any) -> None:
        """A further NIC."""
        for ip in vif.fixed_ips():
            engine.plug(self._container(instance)["Id"], engine.network(vif), ip["address"])

    def detach_interface(self, context: Any, instance: Any, vif: Any) -> None:
        """One NIC less."""
        for ip in vif.fixed_ips():
            engine.unplug(self._container(instance)["Id"], ip["address"])
        engine.drop_if_empty(engine.network(vif))

    def plug_vifs(self, instance: Any, network_info: Any) -> None:
        """Docker has plugged them."""

    def unplug_vifs(self, instance: Any, network_info: Any) -> None:
        """They go with the container."""

    # The hypervisor

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """One."""
        return [CONF.host]

    def get_host_ip_addr(self) -> str:
        """For the records."""
        return CONF.my_ip

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """For the records; placement's inventory decides."""
        return {
            "vcpus": VCPUS,
            "memory_mb": MEMORY_MB,
            "local_gb": DISK_GB,
            "vcpus_used": 0,
            "memory_mb_used": 0,
            "local_gb_used": 0,
            "disk_available_least": DISK_GB,
            "hypervisor_type": "docker",
            "hypervisor_version": 1,
            "hypervisor_hostname": nodename,
            "cpu_info": json.dumps({}),
            "supported_instances": [("x86_64", "docker", "hvm"), ("aarch64", "docker", "hvm")],
            "numa_topology": None,
        }

    def update_provider_tree(self, provider_tree: Any, nodename: str, allocations: Any = None) -> None:
        """What placement may give away."""
        totals = {"VCPU": VCPUS, "MEMORY_MB": MEMORY_MB, "DISK_GB": DISK_GB}
        inventory = {
            resource: {
                "total": total,
                "min_unit": 1,
                "max_unit": total,
                "step_size": 1,
                "allocation_ratio": 1.0,
                "reserved": 0,
            }
            for resource, total in totals.items()
        }
        provider_tree.update_inventory(nodename, inventory)

    @staticmethod
    def _container(instance: Any) -> dict[str, Any]:
        container = engine.find(instance.uuid)
        if not container:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return container
