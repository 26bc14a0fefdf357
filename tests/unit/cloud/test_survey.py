"""From openstacksdk's answers to plain data; a real OpenStack answers in the Molecule scenario `cloud`."""

from collections.abc import Callable
from types import SimpleNamespace as Answer
from typing import Any

import pytest
from ansible.module_utils.cloud_answers import StoppedError
from ansible.module_utils.cloud_model import (
    Address,
    Flavor,
    Group,
    Image,
    Network,
    Port,
    Quota,
    Rule,
    Server,
    Volume,
)
from ansible.module_utils.cloud_survey import survey
from openstack import exceptions

RULE = {
    "id": "r",
    "direction": "ingress",
    "ethertype": "IPv4",
    "protocol": "tcp",
    "port_range_min": 22,
    "port_range_max": 22,
    "remote_ip_prefix": "192.0.2.0/24",
    "remote_group_id": None,
    "description": None,
}
SERVER = Answer(
    id="s",
    name="cbm-dk",
    status="ERROR",
    flavor={"original_name": "eo2.2xlarge"},
    metadata={"cbm_tenant": "dk"},
    addresses={"cloud_1": [{"addr": "10.0.0.5"}, {"addr": "203.0.113.5"}]},
    fault=None,
)
FAULT = {"message": "No valid host was found.", "code": 500}
VOLUME = Answer(
    id="v",
    name="cbm-dk-data",
    size=20,
    status="in-use",
    volume_type="ssd",
    metadata={"cbm_tenant": "dk"},
    attachments=[{"server_id": "s"}, {"server_id": None}],
)
NOVA = {
    "instances": 5,
    "instances_used": 1,
    "total_cores": 20,
    "total_cores_used": 4,
    "total_ram": -1,
    "total_ram_used": 0,
}
CINDER = {
    "max_total_volumes": 10,
    "total_volumes_used": 1,
    "max_total_volume_gigabytes": 1000,
    "total_gigabytes_used": 20,
}
BY_TYPE = {
    "volumes_ssd": -1,
    "gigabytes_ssd": 500,
    "usage": {"volumes_ssd": 1, "gigabytes_ssd": 20},
    "id": "p",
}
NEUTRON = {
    "ports": {"limit": 50, "used": 2, "reserved": 1},
    "floating_ips": {"limit": 2, "used": 1, "reserved": 0},
    "security_groups": None,
}


def told(value: Any) -> Callable[..., Any]:
    def answer(*_: object, **__: object) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    return answer


def cloud(**changes: Any) -> Answer:
    """A connection; `changes` by the question's name replace an answer."""
    answers: dict[str, Any] = {
        "flavors": [Answer(id="f", name="eo2.2xlarge", vcpus=8, ram=32768)],
        "servers": [SERVER],
        "server": Answer(fault=FAULT),
        "images": [Answer(id="i", name="Debian 13", status="active", created_at="2026-11-01T00:00:00Z")],
        "networks": [Answer(id="n", name="external", is_router_external=True)],
        "security_groups": [
            Answer(id="g", name="cbm-dk", description="cbm-onboarding: dk", security_group_rules=[RULE])
        ],
        "ports": [
            Answer(
                id="p",
                name="cbm-dk",
                network_id="n",
                description=None,
                device_id="s",
                security_group_ids=["g"],
                fixed_ips=[{"ip_address": "10.0.0.5"}],
            )
        ],
        "ips": [
            Answer(
                id="a",
                floating_ip_address="203.0.113.5",
                description="d",
                port_id=None,
                floating_network_id="n",
            )
        ],
        "types": [Answer(name="ssd"), Answer(name="__DEFAULT__")],
        "volumes": [VOLUME],
        "nova": Answer(absolute=NOVA),
        "cinder": Answer(absolute=CINDER),
        "by_type": Answer(to_dict=told(BY_TYPE)),
        "neutron": Answer(to_dict=told(NEUTRON)),
        "credential": Answer(expires_at="2027-01-01T00:00:00.000000"),
        **changes,
    }
    ask = {name: told(value) for name, value in answers.items()}
    return Answer(
        current_project_id="project",
        current_user_id="user",
        config=Answer(region_name="WAW3-2", config={"auth": {"application_credential_id": "c"}}),
        compute=Answer(
            flavors=ask["flavors"], servers=ask["servers"], get_server=ask["server"], get_limits=ask["nova"]
        ),
        image=Answer(images=ask["images"]),
        network=Answer(
            networks=ask["networks"],
            security_groups=ask["security_groups"],
            ports=ask["ports"],
            ips=ask["ips"],
            get_quota=ask["neutron"],
        ),
        block_storage=Answer(
            types=ask["types"], volumes=ask["volumes"], get_limits=ask["cinder"], get_quota_set=ask["by_type"]
        ),
        identity=Answer(get_application_credential=ask["credential"]),
    )


def test_everything_as_plain_data() -> None:
    found = survey(cloud(), "cdse-dk", ["WAW3-2"])
    assert found.flavors == [Flavor("eo2.2xlarge", 8, 32768, "f")]
    assert found.images == [Image("i", "Debian 13", "active", "2026-11-01T00:00:00Z")]
    assert found.networks == [Network("n", "external", external=True)]
    assert found.volume_types == ["ssd"]
    marked = {"cbm_tenant": "dk"}
    fault = "No valid host was found."
    assert found.servers == [
        Server("s", "cbm-dk", "ERROR", "eo2.2xlarge", marked, ["10.0.0.5", "203.0.113.5"], fault)
    ]
    assert found.volumes == [Volume("v", "cbm-dk-data", 20, "in-use", "ssd", marked, ["s"])]
    rule = Rule("ingress", "IPv4", "tcp", 22, 22, "192.0.2.0/24", None, "", "r")
    assert found.groups == [Group("g", "cbm-dk", "cbm-onboarding: dk", [rule])]
    assert found.ports == [Port("p", "cbm-dk", "n", "", "s", ["g"], ["10.0.0.5"])]
    assert found.addresses == [Address("a", "203.0.113.5", "d", "", "n")]
    assert (found.region, found.credential_expires) == ("WAW3-2", "2027-01-01T00:00:00.000000")


def test_quotas_of_all_services() -> None:
    assert survey(cloud(), "cdse-dk", []).quotas == {
        "instances": Quota(5, 1),
        "cores": Quota(20, 4),
        "ram": Quota(-1, 0),
        "volumes": Quota(10, 1),
        "gigabytes": Quota(1000, 20),
        "volumes_ssd": Quota(-1, 1),
        "gigabytes_ssd": Quota(500, 20),
        "floating_ips": Quota(2, 1),
        "ports": Quota(50, 3),
    }


@pytest.mark.parametrize(
    ("question", "gone"),
    [
        ("nova", {"instances", "cores", "ram"}),
        ("cinder", {"volumes", "gigabytes"}),
        ("by_type", {"volumes_ssd", "gigabytes_ssd"}),
        ("neutron", {"floating_ips", "ports"}),
    ],
)
def test_a_cloud_may_keep_its_limits_to_itself(question: str, gone: set[str]) -> None:
    whole = survey(cloud(), "cdse-dk", []).quotas
    told = survey(cloud(**{question: exceptions.ForbiddenException("no")}), "cdse-dk", []).quotas
    assert set(whole) - set(told) == gone


def test_a_credential_may_not_be_allowed_to_look_at_itself() -> None:
    found = survey(cloud(credential=exceptions.ForbiddenException("no")), "cdse-dk", [])
    assert found.credential_expires == ""


def test_a_fault_that_the_cloud_does_not_tell() -> None:
    found = survey(cloud(server=exceptions.ForbiddenException("no")), "cdse-dk", [])
    assert (found.servers[0].status, found.servers[0].fault) == ("ERROR", "")


def test_a_cloud_that_names_flavors_by_id() -> None:
    old = Answer(**{**vars(SERVER), "flavor": {"id": "f"}, "status": "ACTIVE", "fault": None})
    (server,) = survey(cloud(servers=[old]), "cdse-dk", []).servers
    assert (server.flavor, server.fault) == ("eo2.2xlarge", "")


def test_what_must_be_known_and_is_not_told_ends_the_look() -> None:
    with pytest.raises(StoppedError, match="cannot list volumes"):
        survey(cloud(volumes=exceptions.HttpException("down")), "cdse-dk", [])


def test_for_the_end_of_a_tenant_only_what_may_be_ours_is_asked() -> None:
    never = AssertionError("asked")
    asked = cloud(
        flavors=never, images=never, networks=never, types=never, nova=never, cinder=never, neutron=never
    )
    assert survey(asked, "cdse-dk", [], whole=False).servers[0].id == "s"
