"""What the modules change, in a cloud in memory; a real OpenStack is in the Molecule scenario `cloud`."""

import base64
from typing import Any

import pytest
import yaml
from openstack import exceptions

from tests.support.cloud_in_memory import Cloud, Stop
from tests.support.cloud_resources import Address, Volume, replace
from tests.support.cloud_tenant import EODATA_PORT, GROUP, KEY, PORT, RULES, SERVER, VOLUME, rule
from tests.unit.cloud.conftest import Run

ALL = ("group", "ports", "volume", "server", "attachment", "addresses")
MADE = [
    "create_security_group cbm-dk",
    "create_security_group_rule 22",
    "create_security_group_rule 11039",
    "create_security_group_rule 11039",
    "create_port cbm-dk",
    "create_port cbm-dk-eodata",
    "create_volume cbm-dk-data",
    "create_server cbm-dk",
    "create_volume_attachment volume-109",
    "create_ip cbm-onboarding: dk",
]


def names(cloud: Cloud) -> dict[str, list[str]]:
    return {kind: [each.name for each in things] for kind, things in cloud.here.items()}


def test_everything_is_made_once(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    planned = run("cloud_tenant", check=True)
    assert (planned["changed"], cloud.asked) == (True, [])
    assert [each["step"] for each in planned["changes"]] == [
        *["group"] * 4,
        "server",
        *["ports"] * 2,
        "volume",
        "attachment",
        "addresses",
    ]
    made = run("cloud_tenant")
    assert (made["changed"], made["changes"], made["problems"]) == (True, [], [])
    assert cloud.asked == MADE
    assert made["server"]["status"] == "ACTIVE"
    assert made["address"] == cloud.here["addresses"][0].floating_ip_address
    assert [each["before_header"] for each in made["diff"]] == [
        "security group cbm-dk",
        "port cbm-dk",
        "port cbm-dk-eodata",
        "volume cbm-dk-data",
        "server cbm-dk",
        "floating ip cbm-dk",
    ]
    again = run("cloud_tenant")
    assert (again["changed"], again["diff"], cloud.asked) == (False, [], MADE)


def test_step_by_step_it_is_the_same(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    for step in ALL:
        assert run("cloud_tenant", step=step)["changed"] is True
        assert run("cloud_tenant", step=step)["changed"] is False
    assert cloud.asked == MADE
    assert run("cloud_tenant", check=True)["changed"] is False


def test_a_step_waits_for_those_before_it(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    answer = run("cloud_tenant", step="server")
    assert answer["msg"] == (
        "The step server needs this before: The security group cbm-dk is made; do the step group first."
    )
    assert [each["code"] for each in answer["problems"]] == ["cloud.order"]
    assert "value of step must be one of" in run("cloud_tenant", step="servers")["msg"]
    assert cloud.asked == []


@pytest.mark.parametrize("calls", range(len(MADE)))
def test_an_interrupted_run_is_completed_by_the_next(run: Run, calls: int) -> None:
    cloud, whole = Cloud(), Cloud()
    run.connected(cloud)
    cloud.interrupted_at = calls
    with pytest.raises(Stop):
        run.main("cloud_tenant")
    cloud.interrupted_at = -1
    run("cloud_tenant")
    run.connected(whole)
    run("cloud_tenant")
    assert names(cloud) == names(whole)
    assert len(cloud.asked) == len(MADE)


def test_those_who_may_log_in_are_told_to_cloud_init(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    run("cloud_tenant", {"operator_keys": [f"{KEY} 2"], "further_keys": [KEY]})
    text = base64.b64decode(cloud.user_data).decode()
    assert text.startswith("#cloud-config\n")
    assert yaml.safe_load(text) == {"ssh_authorized_keys": [KEY, f"{KEY} 2"], "ssh_pwauth": False}


@pytest.mark.parametrize("check", [False, True])
def test_rules_are_opened_before_others_are_closed(run: Run, check: bool) -> None:
    cloud = Cloud(whole=True)
    run.connected(cloud)
    by_hand = [rule(number, protocol="tcp", port_min=number, port_max=number) for number in (3389, 5900)]
    cloud.here["groups"][1] = replace(GROUP, rules=[*RULES[1:], *by_hand])
    answer = run("cloud_tenant", check=check)
    assert answer["changed"] is True
    asked = [
        "create_security_group_rule 22",
        "delete_security_group_rule rule-3389",
        "delete_security_group_rule rule-5900",
    ]
    assert cloud.asked == ([] if check else asked)
    (group,) = [each for each in cloud.here["groups"] if each.id == GROUP.id]
    left = {each["id"] for each in group.security_group_rules}
    assert {each.id for each in RULES[1:]} <= left
    assert bool({each.id for each in by_hand} & left) is check


def test_a_rule_that_is_gone_already_is_no_failure(run: Run) -> None:
    cloud = Cloud(whole=True)
    run.connected(cloud)
    by_hand = rule(9, protocol="tcp", port_min=3389, port_max=3389)
    cloud.here["groups"][1] = replace(GROUP, rules=[*RULES, by_hand])
    delete = cloud.delete_security_group_rule

    def twice(rule_id: str, *, ignore_missing: bool) -> None:
        delete(rule_id, ignore_missing=ignore_missing)
        delete(rule_id, ignore_missing=ignore_missing)

    run.patch.setattr(cloud, "delete_security_group_rule", twice)
    assert run("cloud_tenant")["changed"] is True
    assert run("cloud_tenant")["changed"] is False


def test_a_rule_that_stays(run: Run) -> None:
    cloud = Cloud(whole=True)
    run.connected(cloud)
    by_hand = rule(9, protocol="tcp", port_min=3389, port_max=3389)
    cloud.here["groups"][1] = replace(GROUP, rules=[*RULES, by_hand])
    cloud.broken["delete_security_group_rule"] = exceptions.SDKException("no right to do that.")
    answer = run("cloud_tenant")
    assert answer["msg"] == (
        "The rule rule-9 could not be removed: no right to do that; remove it in the cloud."
    )
    assert [each["code"] for each in answer["problems"]] == ["security_group.rule_stays"]


def test_a_volume_that_cinder_cannot_make_is_removed(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    cloud.broken["volume"] = "error"
    answer = run("cloud_tenant")
    assert answer["msg"] == (
        "The cloud cdse-dk could not create the volume cbm-dk-data of 200 GB: schedule allocate volume:No"
        " backend. Run again in a few minutes; if it fails again, choose another tenant_cloud_volume_type or"
        " a smaller tenant_cloud_volume_gb, or ask the cloud's support. The next run continues with the"
        " resources that exist."
    )
    assert [each["code"] for each in answer["problems"]] == ["data_volume.failed"]
    assert cloud.asked[-2:] == ["create_volume cbm-dk-data", "delete_volume cbm-dk-data"]
    assert cloud.here["servers"] == cloud.here["volumes"] == []
    del cloud.broken["volume"]
    assert run("cloud_tenant")["changes"] == []


def test_a_volume_that_cinder_refuses(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    cloud.broken["create_volume"] = exceptions.SDKException("no right to do that.")
    msg = run("cloud_tenant")["msg"]
    assert "cbm-dk-data of 200 GB: no right to do that. Run again in a few minutes;" in msg


@pytest.mark.parametrize(("ran", "left"), [(None, []), ("2026-11-28T16:55:50", ["cbm-dk"])])
def test_a_server_that_nova_cannot_start_is_removed(run: Run, ran: str | None, left: list[str]) -> None:
    cloud = Cloud()
    run.connected(cloud)
    cloud.broken["server"] = ("ERROR", "No valid host was found. There are not enough hosts available.")
    get = cloud.get_server

    def get_server(server: Any) -> Any:
        found = get(server)
        found.launched_at = ran
        return found

    run.patch.setattr(cloud, "get_server", get_server)
    answer = run("cloud_tenant")
    assert answer["msg"] == (
        "The cloud cdse-dk could not start the server cbm-dk: No valid host was found. There are not enough"
        " hosts available. Choose another tenant_cloud_flavor or ask the cloud's support, then run again;"
        " the next run continues with the resources that exist."
    )
    assert [each["code"] for each in answer["problems"]] == ["server.failed"]
    # one that has run may be somebody's
    assert names(cloud)["servers"] == left
    del cloud.broken["server"]
    if not left:
        assert run("cloud_tenant")["changes"] == []


def test_a_cloud_without_addresses(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    cloud.broken["create_ip"] = exceptions.ConflictException("No more IP addresses available on network x.")
    answer = run("cloud_tenant")
    assert answer["msg"] == (
        "The external network external gave dk no floating IP (No more IP addresses available on network x)."
        " Name another tenant_cloud_external_network, or an address that the project has in"
        " tenant_cloud_floating_ip, or ask the cloud's support for addresses; then run again."
    )


def test_what_the_cloud_does_not_do(run: Run) -> None:
    cloud = Cloud()
    run.connected(cloud)
    cloud.broken["create_port"] = exceptions.SDKException("no right to do that.")
    answer = run("cloud_tenant")
    assert answer["msg"] == (
        "The cloud cdse-dk did not do this: The port cbm-dk is made on cloud_1 (no right to do that);"
        " run again in a few minutes; if it fails again, ask the cloud's support."
    )
    run.patch.setattr(cloud, "create_port", lambda **_: None)
    answer = run("cloud_tenant", step="ports")
    assert answer["msg"] == (
        "The cloud cdse-dk still differs from the inventory after this run: The port cbm-dk is made on"
        " cloud_1. The port cbm-dk-eodata is made on eodata. Run it again; if that does not help, check"
        " cbm-dk on the cloud's web page."
    )


@pytest.mark.parametrize(
    ("lines", "things", "asked"),
    [
        ({"volume_gb": 250}, {}, ["extend_volume volume-1 250"]),
        ({}, {"servers": [replace(SERVER, status="SHUTOFF")]}, ["start_server cbm-dk"]),
        ({}, {"ports": [replace(PORT, group_ids=["x"]), EODATA_PORT]}, ["update_port cbm-dk"]),
        (
            {},
            {"volumes": [replace(VOLUME, status="available", attached_to=[])]},
            ["create_volume_attachment volume-1"],
        ),
        (
            {"volume": "precious"},
            {"volumes": [Volume("volume-8", "precious", 200)]},
            ["create_volume_attachment volume-8"],
        ),
        (
            {"floating_ips": 3},
            {},
            ["create_ip cbm-onboarding: dk, address 2", "create_ip cbm-onboarding: dk, address 3"],
        ),
        # the former address is detached before, and stays
        (
            {"floating_ip": "203.0.113.9", "floating_ips": 2},
            {
                "addresses": [
                    Address("fip-1", "203.0.113.5", "cbm-onboarding: dk", "port-1", "net-x"),
                    Address("fip-9", "203.0.113.9", "for later", None, "net-x"),
                ]
            },
            ["update_ip 203.0.113.5 None", "update_ip 203.0.113.9 port-1"],
        ),
        (
            {},
            {"addresses": [Address("fip-1", "203.0.113.5", "cbm-onboarding: dk", None, "net-x")]},
            ["update_ip 203.0.113.5 port-1"],
        ),
    ],
)
def test_only_what_differs_is_changed(
    run: Run, lines: dict[str, Any], things: dict[str, list[Any]], asked: list[str]
) -> None:
    cloud = Cloud(whole=True)
    cloud.here |= {kind: list(each) for kind, each in things.items()}
    run.connected(cloud)
    assert run("cloud_tenant", lines)["changed"] is True
    assert cloud.asked == asked
    assert run("cloud_tenant", lines)["changed"] is False
    assert cloud.asked == asked


REMOVED = [
    "stop_server cbm-dk",
    "delete_volume_attachment volume-1",
    "delete_ip 203.0.113.5",
    "delete_server cbm-dk",
    "delete_port cbm-dk",
    "delete_port cbm-dk-eodata",
    "delete_security_group cbm-dk",
]


@pytest.mark.parametrize("delete", [False, True])
def test_a_tenant_ends(run: Run, delete: bool) -> None:
    cloud = Cloud(whole=True)
    run.connected(cloud)
    lines = {"delete_data": delete}
    assert run("cloud_tenant_absent", lines, check=True)["changed"] is True
    assert cloud.asked == []
    gone = run("cloud_tenant_absent", lines)
    expected = [*REMOVED, *(["delete_volume cbm-dk-data"] if delete else [])]
    assert (gone["changed"], gone["left"], cloud.asked) == (True, [], expected)
    assert names(cloud)["groups"] == ["default"]
    assert names(cloud)["volumes"] == ([] if delete else ["cbm-dk-data"])
    assert run("cloud_tenant_absent", lines)["changed"] is False
    assert cloud.asked == expected


@pytest.mark.parametrize("calls", range(len(REMOVED) + 1))
def test_an_interrupted_end_is_completed_by_the_next(run: Run, calls: int) -> None:
    cloud = Cloud(whole=True)
    run.connected(cloud)
    cloud.interrupted_at = calls
    with pytest.raises(Stop):
        run.main("cloud_tenant_absent", {"delete_data": True})
    cloud.interrupted_at = -1
    assert run("cloud_tenant_absent", {"delete_data": True})["left"] == []
    assert names(cloud) == {"servers": [], "volumes": [], "groups": ["default"], "ports": [], "addresses": []}
    assert cloud.asked == [*REMOVED, "delete_volume cbm-dk-data"]


def test_what_is_not_the_tenants_stays(run: Run) -> None:
    cloud = Cloud(whole=True)
    run.connected(cloud)
    cloud.here["volumes"] = [Volume("volume-8", "precious", 50, "in-use", attached_to=["server-1"])]
    cloud.here["addresses"] = [Address("fip-9", "203.0.113.9", "for later", "port-1")]
    for step in ("attachment", "addresses", "server", "ports"):
        assert run("cloud_tenant_absent", {"delete_data": True}, step=step)["changed"] is True
    assert names(cloud)["volumes"] == ["precious"]
    assert [each.id for each in cloud.here["addresses"]] == ["fip-9"]
    assert "update_ip 203.0.113.9 None" in cloud.asked
    assert not [each for each in cloud.asked if each.startswith(("delete_ip", "delete_volume "))]
