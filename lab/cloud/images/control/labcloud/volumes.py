"""Cinder's volumes: sparse files, which the hypervisor puts behind loop devices."""

# ruff: noqa: ARG002 - the signatures are Cinder's

import os
import subprocess
from pathlib import Path
from typing import Any

from cinder import interface
from cinder.volume import driver

DIRECTORY = Path("/cbm-cloud/volumes")


def file_of(volume: Any) -> Path:
    """Where a volume's bytes are."""
    return DIRECTORY / f"cbm-volume-{volume['id']}.img"


def snapshot_of(snapshot: Any) -> Path:
    """Where a snapshot's bytes are."""
    return DIRECTORY / f"cbm-snapshot-{snapshot['id']}.img"


def resize(file: Path, gigabytes: int) -> None:
    """Grows a file without writing to it."""
    os.truncate(file, gigabytes << 30)


def copy(source: Path, target: Path) -> None:
    """Copies with the holes."""
    subprocess.run(["/bin/cp", "--sparse=always", source, target], check=True)  # noqa: S603


@interface.volumedriver
class SparseFileDriver(driver.VolumeDriver):
    """What Cinder asks of a backend."""

    VERSION = "1"

    def check_for_setup_error(self) -> None:
        """At the service's start."""
        DIRECTORY.mkdir(parents=True, exist_ok=True)

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        """A sparse file takes what is written: room is not counted here, quotas are Cinder's own."""
        pool = {
            "pool_name": "files",
            "total_capacity_gb": "infinite",
            "free_capacity_gb": "infinite",
            "reserved_percentage": 0,
            "thin_provisioning_support": True,
            "QoS_support": False,
        }
        return {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name"),
            "vendor_name": "lab",
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "pools": [pool],
        }

    def create_volume(self, volume: Any) -> None:
        """An empty one."""
        file_of(volume).touch(mode=0o600)
        resize(file_of(volume), volume["size"])

    def delete_volume(self, volume: Any) -> None:
        """Also one that is gone already."""
        file_of(volume).unlink(missing_ok=True)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """The hypervisor tells the server afterwards."""
        resize(file_of(volume), new_size)

    def create_snapshot(self, snapshot: Any) -> None:
        """Of a volume in use: as a power cut would leave it."""
        copy(file_of(snapshot["volume"]), snapshot_of(snapshot))

    def delete_snapshot(self, snapshot: Any) -> None:
        """Also one that is gone already."""
        snapshot_of(snapshot).unlink(missing_ok=True)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        """May be larger."""
        copy(snapshot_of(snapshot), file_of(volume))
        resize(file_of(volume), volume["size"])

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        """May be larger."""
        copy(file_of(src_vref), file_of(volume))
        resize(file_of(volume), volume["size"])

    def initialize_connection(self, volume: Any, connector: Any) -> dict[str, Any]:
        """What the hypervisor needs to know."""
        return {"driver_volume_type": "local", "data": {"device_path": str(file_of(volume))}}

    def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None:
        """Nothing: the hypervisor has let it go."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing: a file needs no export."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """Nothing: a file needs no export."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Nothing: a file needs no export."""
