"""The role `eodata_mount`: what its probe does about a mount that does not answer, and how s3fs starts."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.conftest import REPOSITORY, Eventually
from tests.support.role_plays import role_variables

ROLE = REPOSITORY / "roles/eodata_mount"
IDLE, FETCHING = ["sleep", "60"], ["dd", "if=/dev/zero", "of=/dev/null", "bs=1M"]
# stands in for systemd and the kernel; what the probe asks of systemd is written down
STUBS = {
    "systemctl": """
        echo "$*" >> "$0.log"
        case $1 in is-active) exec test -e "$0.pid";; show) cat "$0.pid";; esac""",
    "mountpoint": "exit 0",
    "sleep": """
        echo "$*" >> "$0.log"
        exec /bin/sleep 0.1""",
}


def filled(template: str, **given: Any) -> str:
    """A template of the role with its defaults, and with what is given."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    lines = {**defaults, **role_variables("eodata_mount"), "ansible_managed": "by a test", **given}
    trusted = {
        name: trust_as_template(line) if isinstance(line, str) else line for name, line in lines.items()
    }
    text = trust_as_template((ROLE / "templates" / template).read_text())
    return str(Templar(DataLoader(), variables=trusted).template(text))


@contextmanager
def process(command: list[str]) -> Iterator[int]:
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield running.pid
    finally:
        running.kill()
        running.wait()


class Probed:
    """A folder that stands for the mount, and the probe that looks at it, in a second."""

    def __init__(self, directory: Path) -> None:
        self.mount, self._commands = directory / "the archive", directory / "bin"
        self._probe = directory / "probe"
        self.mount.mkdir()
        self._commands.mkdir()
        for name, script in STUBS.items():
            (self._commands / name).write_text(f"#!/bin/sh\n{script}\n")
            (self._commands / name).chmod(0o755)
        self.patience(1)

    def patience(self, seconds: int) -> None:
        """Let it look for so long; it mends after twice that."""
        lines = {"eodata_mount_path": str(self.mount), "eodata_mount_probe_seconds": seconds}
        self._probe.write_text(filled("probe.j2", **lines))

    def fill(self) -> None:
        (self.mount / "Sentinel-2").mkdir()

    def active(self, pid: int) -> None:
        (self._commands / "systemctl.pid").write_text(f"{pid}\n")

    def start(self, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", self._probe, *options],
            env={"PATH": f"{self._commands}:/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str) -> tuple[int, str]:
        probe = self.start(*options)
        said, _ = probe.communicate(timeout=120)
        return probe.returncode, said

    def has_looked(self) -> bool:
        return (self._commands / "sleep.log").exists()

    def restarts(self) -> list[str]:
        asked = (self._commands / "systemctl.log").read_text().splitlines()
        return [line for line in asked if "restart" in line]


@pytest.fixture
def probed(tmp_path: Path) -> Probed:
    return Probed(tmp_path)


def test_a_mount_that_lists_its_root_is_left_alone(probed: Probed) -> None:
    probed.fill()
    with process(IDLE) as pid:
        probed.active(pid)
        assert probed.run("--mend") == (0, "")
    assert probed.restarts() == []
    assert probed.run()[0] == 0


def test_one_that_answers_nothing_and_does_nothing_is_mounted_anew(probed: Probed) -> None:
    with process(IDLE) as pid:
        probed.active(pid)
        begun = time.monotonic()
        assert probed.run("--mend") == (0, f"{probed.mount} does not answer: it is remounted\n")
    # not after the first failures
    assert time.monotonic() - begun > 1
    # and not one that was stopped meanwhile
    assert probed.restarts() == ["try-restart cbm-eodata.service"]
    assert probed.run()[0] != 0


def test_one_that_is_busy_is_left_alone(probed: Probed) -> None:
    with process(FETCHING) as pid:
        probed.active(pid)
        assert probed.run("--mend") == (0, "")
    assert probed.restarts() == []


def test_one_that_answers_again_is_left_alone(probed: Probed, eventually: Eventually) -> None:
    probed.patience(30)
    with process(IDLE) as pid:
        probed.active(pid)
        probe = probed.start("--mend")
        eventually(probed.has_looked)
        probed.fill()
        assert probe.wait(120) == 0
    assert probed.restarts() == []


def test_one_that_systemd_starts_again_is_left_alone(probed: Probed, eventually: Eventually) -> None:
    probed.patience(4)
    with process(IDLE) as pid:
        probed.active(pid)
        probe = probed.start("--mend")
        eventually(probed.has_looked)
    assert probe.wait(120) == 0
    assert probed.restarts() == []


def test_one_that_was_stopped_is_left_alone(probed: Probed) -> None:
    assert probed.run("--mend") == (0, "")
    assert probed.restarts() == []


def test_a_mount_takes_no_more_connections_than_the_account_has() -> None:
    unit = filled("cbm-eodata.service.j2", eodata_mount_connections=3)
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    # -s: readers one after the other, or each would take as many
    assert " -f -s -o " in start
    options = start.split(" -o ")[1].split(",")
    assert {"parallel_count=3", "multireq_max=3"} <= set(options)


@pytest.mark.parametrize(("ca_file", "also"), [("", ""), ("/ca.crt", " /etc/cbm/eodata-ca.crt")])
def test_a_mount_writes_down_what_it_starts_with(ca_file: str, also: str) -> None:
    unit = filled("cbm-eodata.service.j2", eodata_mount_ca_file=ca_file).splitlines()
    files = f"/etc/cbm/eodata.keys /etc/systemd/system/cbm-eodata.service{also}"
    sums = f"ExecStartPre=/bin/sh -c 'umask 077 && sha256sum {files} >/run/cbm-eodata.sums'"
    # before the process reads them: a change in between is none that it knows
    assert unit.index(sums) < next(n for n, line in enumerate(unit) if line.startswith("ExecStart="))


def test_what_is_being_read_lies_on_the_data_volume() -> None:
    unit = filled("cbm-eodata.service.j2", eodata_mount_scratch="/data").splitlines()
    assert "RequiresMountsFor=/data" in unit
    start = next(line for line in unit if line.startswith("ExecStart="))
    assert {"tmpdir=/data", "ensure_diskfree=2048"} <= set(start.split(" -o ")[1].split(","))
    host = yaml.safe_load((REPOSITORY / "playbooks/host.yml").read_text())[1]["roles"]
    assert host.index("data_volume") < host.index("eodata_mount") < host.index("docker_engine")
