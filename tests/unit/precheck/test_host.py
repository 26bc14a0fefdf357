"""The role `precheck` on the machine: what it says of what its tasks have found there."""

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.support.role_plays import precheck, role_variables
from tests.unit.roles.test_ports import container

SKIPPED = {"skipped": True}
DOCKER_VERSION = """Client:
 Version:           29.1.0
 OS/Arch:           linux/arm64

Server: Docker Engine - Community
 Engine:
  Version:          29.1.0
  OS/Arch:          linux/amd64
"""
PROBLEMS = "precheck_checks_host | selectattr('wrong') | map(attribute='say') | list"


def about_host(
    what: str = PROBLEMS, /, *, facts: dict[str, Any] | None = None, **registered: Any
) -> list[str]:
    """What is said of a host, by what the tasks have registered."""
    lines = {
        name: trust_as_template(line) if isinstance(line, str) else trusted(line)
        for name, line in role_variables("precheck").items()
    }
    seen = {"archive": SKIPPED, "service": SKIPPED, "database_port": 11039}
    seen |= {"catalogue_answers": {"results": []}, "eodata": "/eodata", "eodata_s3": {}}
    seen |= {
        "database_container": "ams_db",
        "database_address": "0.0.0.0",  # noqa: S104 # PostgreSQL is for clients elsewhere
        "control_engine": {"rc": 0, "stdout": DOCKER_VERSION},
        "database_memory_mb": 0,
        "workers": 0,
        "certificate_problems": [],
        "catalogue_urls": {},
        "catalogue_source": "archive",
        "cards": ["s2"],
    }
    lines |= {f"precheck_{name}": value for name, value in (seen | registered).items()}
    lines["ansible_facts"] = {
        "distribution": "Debian",
        "distribution_version": "12",
        "distribution_major_version": "12",
        "python_version": "3.11.2",
    }
    lines["ansible_facts"] |= {"processor_vcpus": 8, "memtotal_mb": 16384, "architecture": "x86_64"}
    lines["ansible_facts"] |= {"all_ipv4_addresses": ["10.0.0.7"], "all_ipv6_addresses": ["fd00::7"]}
    lines["ansible_facts"] |= facts or {}
    lines |= {"inventory_hostname": "cbm-dk", "data_volume_path": "/dev/vdb", "data_volume_is_disk": True}
    lines |= {"swarm_listeners": {"stdout": ""}, "swarm_containers": SKIPPED}
    lines |= {name: registered[name] for name in registered if name.startswith(("data_volume", "swarm_"))}
    found: list[str] = Templar(DataLoader(), variables=lines).evaluate_expression(trust_as_template(what))
    return found


def trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: trusted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [trusted(each) for each in value]
    return trust_as_template(value) if isinstance(value, str) else value


def test_an_archive_that_hangs_is_told_from_one_that_is_empty() -> None:
    assert about_host(archive={"matched": 1}) == []
    (empty,) = about_host(archive={"matched": 0})
    assert empty.startswith("tenant_eodata: /eodata of cbm-dk is missing or empty. Attach the eodata network")
    assert about_host(archive={"failed": True, "timedout": {"period": 60}}) == [
        "tenant_eodata: /eodata of cbm-dk is mounted, but does not answer within a minute."
        " Restart eodata.mount, correct the mount point in tenant_eodata, or set tenant_eodata_s3"
        " to read the archive from S3."
    ]


@pytest.mark.parametrize(("entries", "counted"), [([], 0), (["archive"], 0), (["archive", "Sentinel-2"], 1)])
def test_the_folder_of_a_mount_that_is_gone_is_no_archive(
    tmp_path: Path, entries: list[str], counted: int
) -> None:
    for entry in entries:
        (tmp_path / "eodata" / entry).mkdir(parents=True)
    (tmp_path / "eodata").mkdir(exist_ok=True)
    case = {"eodata": str(tmp_path / "eodata"), "database_port": 1}
    found, _ = precheck(tmp_path, "host", "precheck_archive.matched", [case])
    assert found == [counted]


@pytest.mark.parametrize(
    ("gigabytes", "bucket", "is_disk", "warned"),
    [
        (45.3, {"endpoint": "https://s.example"}, True, True),
        (45.4, {"endpoint": "https://s.example"}, True, False),
        # nothing is fetched from a mounted archive, and a folder is not measured
        (45.3, {}, True, False),
        (45.3, {"endpoint": "https://s.example"}, False, False),
    ],
)
def test_a_disk_without_room_for_what_is_fetched_is_a_warning(
    gigabytes: float, bucket: dict[str, str], is_disk: bool, warned: bool
) -> None:
    disk = {"data_volume_gb": gigabytes, "data_volume_min_gb": 33.4, "data_volume_is_disk": is_disk}
    command = {"stat": {"exists": True}}
    asked = {"min_vcpus": 8, "min_memory_gb": 16, "catalogue_unused": [], "command": command}
    asked |= {"inspection": {}, "strays": []}
    sentence = (
        f"The data disk /dev/vdb has {gigabytes} GB. Workers that read from S3 need up to"
        " 12 GB more than the parcels, and wait for free space if there is less."
    )
    said = about_host("precheck_warnings", eodata_s3=bucket, **asked, **disk)
    assert [one.strip() for one in said] == ([sentence] if warned else [])


def test_what_inspection_notes_about_the_parcels_is_a_warning() -> None:
    strays = [{"feature": 41, "reason": "x=0 y=0"}, {"feature": 52, "reason": "x=9 y=55"}]
    note = "EPSG:10306 (LKS-2020 / Latvia TM) is unknown to PostGIS 3.5."
    inspection = {"parcels": {"notes": [note], "findings": {"stray": strays}}}
    asked = {"min_vcpus": 8, "min_memory_gb": 16, "catalogue_unused": [], "eodata_s3": {}}
    command = {"stat": {"exists": True}}
    found = about_host("precheck_strays", inspection=inspection)
    assert found == strays
    said = about_host("precheck_warnings", inspection=inspection, strays=found, command=command, **asked)
    assert said == [
        note,
        "2 parcels lie far from all others and are left out of the area of interest: features 41, 52.",
    ]


def test_more_memory_for_the_database_than_the_host_has_is_refused() -> None:
    """The server would not start."""
    assert about_host(database_memory_mb="16384") == []
    assert about_host(database_memory_mb=20000) == [
        "postgis_memory_mb: 20000 is more than cbm-dk has (16384 MB)."
        " Use a smaller number, or remove the variable."
    ]


def test_a_certificate_that_the_run_renews_is_a_warning() -> None:
    asked = {
        "min_vcpus": 8,
        "min_memory_gb": 16,
        "catalogue_unused": [],
        "command": {"stat": {"exists": True}},
    }
    found = [
        {"code": "certificate.renewed", "sentence": "Expired."},
        {"code": "certificate.expired", "sentence": "No."},
    ]
    assert about_host("precheck_warnings", certificate_problems=found, **asked) == ["Expired."]


def test_a_port_of_another_program_or_container_is_refused() -> None:
    ours = {"stdout_lines": [container("ams_db", "10.0.0.7:11039->5432/tcp")]}
    proxy = {"stdout": 'tcp LISTEN 0 4096 10.0.0.7:11039 0.0.0.0:* users:(("docker-proxy",pid=9,fd=4))'}
    assert about_host(swarm_listeners=proxy, swarm_containers=ours) == []
    theirs = {"stdout_lines": [container("site", "0.0.0.0:11000-11040->80-120/tcp, 443/tcp")]}
    assert about_host(swarm_containers=theirs) == [
        "tenant_database_port: port 11039 of cbm-dk is in use by site."
        " Use another port, or stop that program."
    ]
    # an address of its own
    elsewhere = {"stdout": 'tcp LISTEN 0 128 127.0.0.1:11039 0.0.0.0:* users:(("sshd",pid=9,fd=4))'}
    assert about_host(swarm_listeners=elsewhere, database_address="10.0.0.7") == []
    (sentence,) = about_host(swarm_listeners=elsewhere)
    assert "in use by sshd." in sentence


def test_the_database_is_published_on_an_address_that_the_host_has() -> None:
    for address in ("10.0.0.7", "fd00::7", "0.0.0.0", "::"):  # noqa: S104 - the last two are all of the host's
        assert about_host(database_address=address) == []
    assert about_host(database_address="192.0.2.11") == [
        "postgis_address: cbm-dk has no address '192.0.2.11'."
        " Use one of 0.0.0.0, ::, 127.0.0.1, 10.0.0.7, fd00::7, or remove the variable."
    ]


def test_images_for_another_processor_are_refused() -> None:
    assert about_host(facts={"architecture": "aarch64"}) == [
        "cbm-dk has a processor of arm64, and the control host builds images for amd64."
        " Use a host and a control host of the same architecture."
    ]
    # an engine that does not answer is reported as such
    assert about_host(control_engine={"rc": 1, "stdout": ""}, facts={"architecture": "aarch64"}) == []


@pytest.mark.parametrize(("workers", "warned"), [(0, False), ("many", False), (5, False), (6, True)])
def test_workers_without_memory_for_a_scene_are_a_warning(workers: object, warned: bool) -> None:
    asked = {"min_vcpus": 8, "min_memory_gb": 16, "catalogue_unused": []}
    disk = {"data_volume_gb": 100, "data_volume_min_gb": 10, "command": {"stat": {"exists": True}}}
    said = about_host("precheck_warnings", workers=workers, **asked, **disk)
    sentence = (
        "extraction_workers: 6 workers have 1.7 GB of memory each on cbm-dk."
        " A Sentinel-1 scene takes up to 2 GB. Use fewer workers, or remove the variable."
    )
    assert [one.strip() for one in said] == ([sentence] if warned else [])
