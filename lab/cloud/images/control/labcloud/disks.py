"""A server's volumes: files behind loop devices, listed in the directory that it has mounted at /run/vm.

A line of the list is `vdb <volume id> <major:minor>`; the server's own /sbin/vm-disks makes nodes and links
of it, at its start and whenever it is told.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from labcloud.engine import ROOT

SERVERS = ROOT / "servers"
VOLUMES = ROOT / "volumes"


@dataclass
class Disk:
    """One attached volume."""

    device: str
    volume: str
    loop: str = ""

    @property
    def file(self) -> Path:
        """As Cinder's driver names it."""
        return VOLUMES / f"cbm-volume-{self.volume}.img"

    def attach(self) -> None:
        """Has a loop device afterwards, the one from before if there is one."""
        self.loop = loop_of(self.file) or losetup("--find", "--show", str(self.file))

    def detach(self) -> None:
        """The kernel frees the device when the server has let it go."""
        loop = loop_of(self.file)
        if loop:
            losetup("--detach", loop)

    def grow(self) -> None:
        """The server sees the file's new size at once."""
        losetup("--set-capacity", loop_of(self.file))

    def line(self) -> str:
        """As the server reads it."""
        number = Path(self.loop).stat().st_rdev
        return f"{self.device} {self.volume} {os.major(number)}:{os.minor(number)}\n"


def losetup(*arguments: str) -> str:
    """Runs it and returns what it said."""
    done = subprocess.run(["/usr/sbin/losetup", *arguments], check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout.strip()


def loop_of(file: Path) -> str:
    """The loop device of a file, or nothing."""
    return losetup("--associated", str(file), "--noheadings", "--output", "NAME").partition("\n")[0]


def directory(uuid: str) -> Path:
    """A server's own directory; everything in it can be read inside."""
    return SERVERS / uuid


def read(uuid: str) -> list[Disk]:
    """The server's disks."""
    file = directory(uuid) / "volumes"
    lines = file.read_text().splitlines() if file.exists() else []
    return [Disk(*line.split()[:2]) for line in lines]


def write(uuid: str, disks: list[Disk]) -> None:
    """All of them have a loop device, and the server is shown which."""
    for disk in disks:
        disk.attach()
    # in place: the server may be reading it
    (directory(uuid) / "volumes").write_text("".join(disk.line() for disk in disks))


def remove(uuid: str) -> None:
    """Nothing of the server's is left here."""
    for disk in read(uuid):
        disk.detach()
    shutil.rmtree(directory(uuid), ignore_errors=True)
