"""What a running engine answers wins over its configuration files."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import load

state = load("modules", "docker_engine_state")
OVERRIDE = "docker.service.d/override.conf"


class Programs:
    """Stands for AnsibleModule: programs of a host by their command lines; one that is not listed fails."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers

    def get_bin_path(self, program: str, **_: Any) -> str | None:
        return f"/usr/bin/{program}" if program in {"timeout", "systemctl"} else None

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        """Answer by a word of the command line."""
        for word, stdout in self.answers.items():
            if any(word in part for part in command):
                return 0, stdout, ""
        return 1, "printed before the failure\n", "failed"


def host(**answers: str) -> Any:
    return state.Host(Programs(**answers))


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose containerd has no configuration file yet."""
    path = tmp_path / "config.toml"
    monkeypatch.setattr(state, "CONTAINERD_TOML", path)
    return path


@pytest.mark.usefixtures("configured")
def test_the_data_root_of_the_running_engine_wins_over_daemon_json() -> None:
    roots = state.current_roots(host(info="/mnt/images\n"), {"data-root": "/srv/docker"})
    assert roots == {"docker": "/mnt/images", "containerd": "/var/lib/containerd"}


@pytest.mark.parametrize(
    ("options", "root"), [({"data-root": "/srv/docker"}, "/srv/docker"), ({}, "/var/lib/docker")]
)
def test_an_engine_that_does_not_run_is_where_its_files_say(
    configured: Path, options: dict[str, Any], root: str
) -> None:
    configured.write_text("version = 2\nroot = '/srv/containerd'\n")
    assert state.current_roots(host(), options) == {"docker": root, "containerd": "/srv/containerd"}


def test_the_command_line_is_that_of_the_running_process() -> None:
    running = host(MainPID=f"{os.getpid()}\n", ExecStart="argv[]=/usr/sbin/dockerd --data-root /elsewhere ;")
    own = Path("/proc/self/cmdline").read_text().split("\0")
    assert running.command_line("docker.service") == own[1:-1] != []


@pytest.mark.parametrize("pid", ["0\n", ""])
def test_the_command_line_of_a_stopped_engine_is_the_one_that_systemd_starts(pid: str) -> None:
    started = (
        "{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// --data-root='/mnt/my images' ; x }"
    )
    found = host(MainPID=pid, ExecStart=f"ExecStart={started}\n").command_line("docker.service")
    assert found == ["-H", "fd://", "--data-root=/mnt/my images"]


def test_without_systemd_there_is_no_command_line() -> None:
    assert host().command_line("docker.service") == []


@pytest.mark.parametrize(
    ("unit", "override", "environment", "source"),
    [
        ("ExecStart=dockerd -g /mnt", "", "", "docker.service"),
        # what is read later wins
        ("ExecStart=dockerd -g /mnt", "ExecStart=dockerd -g /srv", "", OVERRIDE),
        ("ExecStart=dockerd $OPTIONS", "", 'OPTIONS="-g /srv"', "default"),
        # comments and longer names are other settings
        ("ExecStart=dockerd -g /mnt", "# ExecStart=dockerd -g /srv", "OPTIONS=--no-g", "docker.service"),
    ],
)
def test_a_flag_is_traced_to_the_file_that_sets_it(
    tmp_path: Path, unit: str, override: str, environment: str, source: str
) -> None:
    files = {"docker.service": unit, OVERRIDE: override, "default": environment}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"[Service]\n{text}\n")
    printed = "\n\n".join(f"# {tmp_path / name}\n{files[name]}" for name in ("docker.service", OVERRIDE))
    variables = f"EnvironmentFiles={tmp_path / 'default'} (ignore_errors=yes)\n"
    found = host(cat=printed, EnvironmentFiles=variables).source_of("docker.service", "-g")
    assert found == str(tmp_path / source)


def test_a_flag_in_no_file_is_traced_to_the_command_line() -> None:
    absent = "# /nonexistent/docker.service\nExecStart=dockerd -g /mnt"
    found = host(cat=absent).source_of("docker.service", "-g")
    assert found == "the command line of docker.service"
