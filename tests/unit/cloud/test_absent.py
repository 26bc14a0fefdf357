"""What offboarding would remove: what carries the mark, in order, and nothing else."""

from dataclasses import replace
from typing import Any

from ansible.module_utils.cloud_absent import absent
from ansible.module_utils.cloud_diff import diff
from ansible.module_utils.cloud_findings import Check
from ansible.module_utils.cloud_model import Address, Survey, Volume, Wish

from tests.unit.cloud.test_plan import ADDRESS, EMPTY, GROUP, KEY, PORT, STRANGER, VOLUME, WHOLE, WISH


def plan(survey: Survey | None, wish: Wish = WISH) -> dict[str, Any]:
    found: dict[str, Any] = absent(wish, survey)[0]
    return found


def test_what_is_ours_goes_in_order_and_the_volume_stays() -> None:
    found = plan(WHOLE)
    assert [change["text"] for change in found["changes"]] == [
        "The volume cbm-dk-data is detached and stays.",
        "The floating IP 203.0.113.5 is released.",
        "The server cbm-dk (server-1) is deleted.",
        "The port cbm-dk is deleted.",
        "The port cbm-dk-eodata is deleted.",
        "The security group cbm-dk is deleted.",
    ]
    assert found["ours"] == {
        "servers": [{"id": "server-1", "name": "cbm-dk", "status": "ACTIVE"}],
        "attachments": [{"server_id": "server-1", "volume_id": "volume-1", "name": "cbm-dk-data"}],
        "foreign_floating_ips": [],
        "floating_ips": [{"id": "fip-1", "address": "203.0.113.5"}],
        "ports": [{"id": "port-1", "name": "cbm-dk"}, {"id": "port-2", "name": "cbm-dk-eodata"}],
        "groups": [{"id": "group-1", "name": "cbm-dk"}],
        "volumes": [{"id": "volume-1", "name": "cbm-dk-data", "size": 200}],
    }
    assert any("stays; -e delete_data=yes" in line or "delete_data=yes" in line for line in found["table"])


def test_asked_to_it_deletes_the_volume_last() -> None:
    changes = plan(WHOLE, replace(WISH, delete_data=True))["changes"]
    assert changes[0]["text"] == "The volume cbm-dk-data is detached."
    assert (
        changes[-1]["text"] == "The volume cbm-dk-data (200 GB, volume-1) is deleted with everything on it."
    )


def test_what_is_not_ours_is_only_taken_off() -> None:
    survey = replace(
        WHOLE,
        volumes=[Volume("volume-8", "", 50, attached_to=["server-1"])],
        addresses=[Address("fip-9", "203.0.113.9", "reserved", "port-1")],
    )
    found = plan(survey)
    assert found["foreign"] == {
        "volumes": [{"id": "volume-8", "name": "", "size": 50}],
        "floating_ips": [{"id": "fip-9", "address": "203.0.113.9"}],
    }
    assert found["ours"]["foreign_floating_ips"] == found["foreign"]["floating_ips"]
    assert found["ours"]["floating_ips"] == found["ours"]["volumes"] == []
    assert [change["text"] for change in found["changes"]][:2] == [
        "The volume volume-8 is detached and stays.",
        "The address 203.0.113.9 is detached from the server and stays in the project.",
    ]


def test_what_has_only_our_name_is_not_ours() -> None:
    survey = replace(
        EMPTY,
        servers=[replace(STRANGER, name="cbm-dk")],
        volumes=[replace(VOLUME, metadata={})],
        groups=[replace(GROUP, description="cbm-onboarding: dk2")],
        ports=[replace(PORT, description="")],
        addresses=[replace(ADDRESS, description="")],
    )
    found = plan(survey)
    assert found["changes"] == []
    assert not any(found["ours"].values())


def test_a_copy_of_the_volume_is_not_deleted_with_it() -> None:
    copy = replace(VOLUME, id="volume-9", name="restored", attached_to=[])
    found = plan(replace(WHOLE, volumes=[VOLUME, copy]), replace(WISH, delete_data=True))
    assert [each["id"] for each in found["ours"]["volumes"]] == [VOLUME.id]


def test_after_the_end_there_is_nothing_to_do() -> None:
    found = plan(replace(EMPTY, volumes=[replace(VOLUME, attached_to=[])]))
    assert found["changes"] == found["problems"] == []
    assert [each["id"] for each in found["ours"]["volumes"]] == ["volume-1"]
    assert "nothing of dk is in the cloud" in "\n".join(plan(EMPTY)["table"])


def test_only_the_way_into_the_cloud_is_checked() -> None:
    wish = Wish(tenant="dk", cloud="cdse-dk", authorized_keys=[f"no {KEY}"])
    assert plan(EMPTY, wish)["problems"] == []
    refused, _ = absent(wish, None, Check("credentials", "wrong", "", "Keystone says no", "ask it again"))
    assert [problem["text"] for problem in refused["problems"]] == ["Keystone says no; ask it again."]
    assert set(refused) == set(plan(EMPTY, wish))


def test_the_difference_is_what_goes() -> None:
    shown = diff(absent(WISH, WHOLE)[1])
    assert shown[0]["before_header"] == "attachment cbm-dk-data"
    assert all(each["before"] and not each["after"] for each in shown)
