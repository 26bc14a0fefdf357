"""Where an engine keeps its data, and what contradicts our settings. The real engine answers in Molecule."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import load

state = load("modules", "docker_engine_state")
KEYS = ["data-root", "userland-proxy", "log-opts", "default-address-pools", "mtu"]


def test_flags_of_debians_unit_contradict_nothing() -> None:
    argv = ["-H", "fd://", "--containerd=/run/containerd/containerd.sock"]
    assert state.flags(argv) == [("-H", "fd://"), ("--containerd", "/run/containerd/containerd.sock")]
    assert state.contradictions({}, state.flags(argv), KEYS, lambda _: "docker.service") == []


@pytest.mark.parametrize(
    "argv", [["--data-root", "/mnt/images"], ["--data-root=/mnt/images"], ["-g", "/mnt/images"]]
)
def test_a_data_root_as_a_flag_is_named_with_its_file(argv: list[str]) -> None:
    override = "/etc/systemd/system/docker.service.d/override.conf"
    (problem,) = state.contradictions({}, state.flags(argv), KEYS, lambda _: override)
    assert f"{argv[0].partition('=')[0]} /mnt/images ({override})" in problem
    assert 'Write "data-root" into /etc/docker/daemon.json instead of the flag.' in problem


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"iptables": False}, "iptables"),
        ({"bridge": "none"}, "bridge"),
        ({"userns-remap": "default"}, "userns-remap"),
    ],
)
def test_a_setting_that_makes_the_database_unreachable_is_named(options: dict[str, Any], key: str) -> None:
    (problem,) = state.contradictions(options, [], KEYS, lambda _: "")
    assert problem.startswith(f"/etc/docker/daemon.json: '{key}' is ")
    assert problem.endswith("Remove that setting.")


def test_the_same_setting_as_a_flag_is_named_with_its_file() -> None:
    given = state.flags(["--iptables=false"])
    (problem,) = state.contradictions({}, given, KEYS, lambda _: "/etc/default/docker")
    assert problem.startswith("/etc/default/docker: 'iptables' is false")


def test_a_sites_other_settings_stay() -> None:
    options = {"iptables": True, "userns-remap": "", "dns": ["192.0.2.1"], "registry-mirrors": ["https://x"]}
    assert state.contradictions(options, [], KEYS, lambda _: "") == []


def test_another_configuration_file_is_named() -> None:
    given = state.flags(["--config-file", "/srv/docker.json"])
    (problem,) = state.contradictions({}, given, KEYS, lambda _: "docker.service")
    assert problem.startswith("dockerd reads /srv/docker.json instead of /etc/docker/daemon.json")


@pytest.mark.parametrize(
    ("current", "target", "busy", "chosen", "move_open", "action"),
    [
        ("/data/docker", "engine", True, False, False, "keep"),
        ("/var/lib/docker", "nothing", True, False, False, "move"),
        ("/srv/docker", "nothing", True, True, False, "move"),
        # a copy was interrupted: the old tree is still complete
        ("/var/lib/docker", "engine", True, False, True, "move"),
        # daemon.json was lost: the data on the volume is complete
        ("/var/lib/docker", "engine", False, False, False, "restore"),
        # which of the two is newer, nobody but the operator knows
        ("/var/lib/docker", "engine", True, False, False, "conflict"),
        ("/srv/docker", "engine", False, True, False, "conflict"),
        ("/var/lib/docker", "other", False, False, False, "conflict"),
    ],
)
def test_data_on_the_volume_is_never_replaced(  # noqa: PLR0917 - the columns of the table above
    current: str, target: str, busy: bool, chosen: bool, move_open: bool, action: str
) -> None:
    decided = state.decide(
        current, "/data/docker", target=target, busy=busy, chosen=chosen, move_open=move_open
    )
    assert decided == action


def test_a_directory_is_known_by_what_it_holds(tmp_path: Path) -> None:
    assert state.holds(tmp_path / "absent") == state.holds(tmp_path) == "nothing"
    (tmp_path / "engine-id").touch()
    assert state.holds(tmp_path) == "other"
    (tmp_path / "volumes").mkdir()
    # what a fresh engine makes by itself is not work
    for name in ("metadata.db", "backingFsBlockDev"):
        (tmp_path / "volumes" / name).touch()
    (tmp_path / "image/overlay2/imagedb/content/sha256").mkdir(parents=True)
    assert state.holds(tmp_path) == "engine"
    assert not state.is_busy(tmp_path)


@pytest.mark.parametrize(
    "work",
    [
        "volumes/database/_data",
        "containers/0a1b/config.v2.json",
        "image/overlay2/imagedb/content/sha256/0a1b",
    ],
)
def test_an_engine_with_volumes_containers_or_images_is_busy(tmp_path: Path, work: str) -> None:
    (tmp_path / work).parent.mkdir(parents=True)
    (tmp_path / work).touch()
    assert state.is_busy(tmp_path)


def test_trees_are_sorted_by_what_becomes_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, kept = tmp_path / "var", tmp_path / "data"
    for path in (begun, kept / "volumes/database"):
        path.mkdir(parents=True)
    monkeypatch.setattr(state, "DEFAULT_ROOTS", {"docker": str(begun), "containerd": str(begun)})
    asked = {"data_root": str(kept), "containerd_root": str(kept), "move_record": str(tmp_path / "record")}
    found = state.trees({"docker": str(begun), "containerd": str(kept)}, asked)
    assert found["restore"] == [{"name": "docker", "from": str(begun), "to": str(kept)}]
    assert found["move"] == found["conflict"] == []


def test_a_storage_driver_as_a_flag_is_named_if_the_engine_is_to_be_moved() -> None:
    given = state.flags(["--storage-driver", "overlay2"])
    assert state.contradictions({}, given, KEYS, lambda _: "docker.service") == []
    (problem,) = state.contradictions({}, given, [*KEYS, "storage-driver"], lambda _: "docker.service")
    assert "--storage-driver overlay2" in problem


def test_a_broken_daemon_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{\n  "mtu": 1400,\n}\n')
    options, problem = state.read_json(path)
    assert options == {}
    assert f"{path} is not valid JSON" in problem
    assert "line 3" in problem or "line 2" in problem
    assert state.read_json(tmp_path / "absent.json") == ({}, None)
