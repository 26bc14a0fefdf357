"""The host: base system, SSH, data volume and container engine, as the roles should have left them."""

import json
from typing import Any

import pytest
from testinfra.host import Host

from tests.provisioned.conftest import Tenant


@pytest.fixture(scope="module")
def mount(tenant: Tenant) -> str:
    return tenant.data_mount


@pytest.fixture(scope="module")
def daemon(host: Host) -> dict[str, Any]:
    """Docker's configuration as it lies on the disk."""
    return dict(json.loads(host.check_output("sudo cat /etc/docker/daemon.json")))


def sshd_options(host: Host) -> set[str]:
    user = host.check_output("id --user --name")
    effective = host.check_output("sudo sshd -T -C user=%s,host=localhost,addr=127.0.0.1", user)
    return set(effective.lower().replace("without-password", "prohibit-password").splitlines())


def test_packages_are_whole(host: Host) -> None:
    assert host.check_output("sudo dpkg --audit") == ""


def test_security_updates_come_by_themselves(host: Host) -> None:
    settings = host.check_output("apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert host.package("unattended-upgrades").is_installed
    origins = [
        line for line in settings.splitlines() if line.startswith("Unattended-Upgrade::Origins-Pattern::")
    ]
    assert origins, "unattended upgrades have no source"
    assert all("-security" in origin for origin in origins)


def test_unattended_upgrades_leave_the_engine_alone(host: Host, tenant: Tenant) -> None:
    settings = host.check_output("apt-config dump")
    for package in tenant.held_packages:
        assert f'Unattended-Upgrade::Package-Blacklist:: "{package}";' in settings


def test_a_time_service_is_on(host: Host) -> None:
    candidates = ("chrony", "chronyd", "ntpsec", "systemd-timesyncd")
    assert any(host.run("systemctl is-enabled --quiet %s.service", name).succeeded for name in candidates)


def test_ssh_takes_keys_only_and_what_else_was_asked_for(host: Host, tenant: Tenant) -> None:
    wanted = {f"{option} {value}".lower() for option, value in tenant.sshd_options.items()}
    assert wanted - sshd_options(host) == set()
    assert sshd_options(host) >= {"passwordauthentication no", "kbdinteractiveauthentication no"}


def test_no_rollback_of_ssh_is_pending(host: Host) -> None:
    assert host.run("systemctl is-active --quiet cbm-sshd-rollback.timer").failed
    assert host.run("ls /etc/ssh/sshd_config.d/00-cbm.conf.*").failed


def test_login_user_has_a_key(host: Host) -> None:
    keys = host.check_output("cat ~/.ssh/authorized_keys")
    assert [line for line in keys.splitlines() if line.strip() and not line.startswith("#")]


def test_data_volume_is_mounted_by_uuid(host: Host, mount: str) -> None:
    uuid = host.check_output("findmnt --noheadings --output UUID %s", mount)
    entries = [
        line.split()
        for line in host.file("/etc/fstab").content_string.splitlines()
        if not line.startswith("#")
    ]
    source, _, kind, options = next(entry[:4] for entry in entries if len(entry) > 3 and entry[1] == mount)
    assert source.startswith("UUID=")
    assert not uuid or source == f"UUID={uuid}"
    assert kind in ("xfs", "ext4")
    assert "nofail" in options.split(",")


def test_data_volume_is_the_disk_of_the_inventory(host: Host, tenant: Tenant, mount: str) -> None:
    assert tenant.data_disk, "the inventory names no disk, or one that the host does not have"
    in_kernel = host.check_output("lsblk --noheadings --nodeps --output MAJ:MIN %s", tenant.data_disk).strip()
    assert host.check_output("findmnt --noheadings --output MAJ:MIN %s", mount).strip() == in_kernel


def test_filesystem_fills_the_disk(host: Host, mount: str) -> None:
    device = host.check_output("findmnt --noheadings --output SOURCE %s", mount)
    disk = int(host.check_output("sudo blockdev --getsize64 %s", device))
    # what the filesystem keeps for itself (journal, inode tables) is below 5 %
    assert int(host.check_output("df --block-size=1 --output=size %s | tail -n 1", mount)) > 0.95 * disk


def test_only_root_writes_to_the_top_of_the_volume(host: Host, mount: str) -> None:
    top = host.file(mount)
    assert (top.user, top.group, top.mode) == ("root", "root", 0o755)


def test_engine_keeps_everything_on_the_data_volume(
    host: Host, daemon: dict[str, Any], tenant: Tenant
) -> None:
    info = json.loads(host.check_output("sudo docker info --format '{{json .}}'"))
    assert info["DockerRootDir"] == daemon["data-root"] == tenant.docker_root
    configuration = host.check_output("sudo cat /etc/containerd/config.toml")
    assert f'root = "{tenant.containerd_root}"' in configuration.splitlines()
    assert host.run("sudo ls -A /var/lib/docker | grep -q .").failed, "something is left in /var/lib/docker"


@pytest.mark.parametrize("unit", ["docker.service", "docker.socket", "containerd.service"])
def test_engine_never_starts_without_the_data_volume(host: Host, mount: str, unit: str) -> None:
    required = host.check_output("systemctl show --property RequiresMountsFor --value %s", unit)
    assert mount in required.split()
    assert f"AssertPathIsMountPoint={mount}" in host.check_output("systemctl cat %s", unit)


@pytest.mark.parametrize("name", ["docker", "containerd"])
def test_engine_runs_also_after_a_reboot(host: Host, name: str) -> None:
    assert host.service(name).is_running
    assert host.service(name).is_enabled


def test_logs_are_rotated_and_nothing_insecure_is_allowed(daemon: dict[str, Any]) -> None:
    assert daemon["log-opts"].keys() >= {"max-size", "max-file"}
    assert daemon["userland-proxy"] is False
    assert daemon["live-restore"] is False  # cannot be had together with a swarm
    assert not daemon.get("insecure-registries")
    assert not [address for address in daemon.get("hosts", []) if address.startswith("tcp")]


def test_address_pools_collide_with_no_route(host: Host, daemon: dict[str, Any]) -> None:
    ours = ("docker0", "docker_gwbridge", "br-", "veth")
    for pool in daemon["default-address-pools"]:
        for relation in ("root", "match"):
            routes = json.loads(
                host.check_output("ip -json -4 route show %s %s", relation, pool["base"]) or "[]"
            )
            assert not [r for r in routes if r["dst"] != "default" and not r["dev"].startswith(ours)]


def test_bridge_carries_what_the_nic_carries(host: Host, daemon: dict[str, Any]) -> None:
    nic = json.loads(host.check_output("ip -json -4 route show default"))[0]["dev"]
    assert daemon["mtu"] == int(host.file(f"/sys/class/net/{nic}/mtu").content_string)


def test_nobody_is_root_by_way_of_the_docker_group(host: Host, tenant: Tenant) -> None:
    members = host.check_output("getent group docker").split(":")[3]
    assert set(filter(None, members.split(","))) <= set(tenant.docker_users)
