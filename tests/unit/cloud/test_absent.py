"""What offboarding would remove: what carries the mark, in order, and nothing else."""

from typing import Any

from ansible.module_utils.cloud.absent import ending
from ansible.module_utils.cloud.findings import problem
from ansible.module_utils.cloud.survey import Survey
from ansible.module_utils.cloud.wish import Wish

from tests.support.cloud_resources import Address, Volume, replace
from tests.support.cloud_tenant import ADDRESS, EMPTY, GROUP, KEY, PORT, STRANGER, VOLUME, WHOLE, WISH


def plan(survey: Survey, wish: Wish = WISH) -> dict[str, Any]:
    return ending(wish, survey, {}).answer()


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
    end = ending(WISH, WHOLE, {})
    assert [each.id for each in end.servers] == ["server-1"]
    assert [(disk.id, machine.id) for disk, machine in end.attachments] == [("volume-1", "server-1")]
    assert end.guests == []
    assert [each.id for each in end.addresses] == ["fip-1"]
    assert [each.id for each in end.ports] == ["port-1", "port-2"]
    assert [each.id for each in end.groups] == ["group-1"]
    assert [each.id for each in end.volumes] == ["volume-1"]
    assert found["left"] == ["cbm-dk", "cbm-dk", "cbm-dk-eodata", "cbm-dk", "203.0.113.5"]
    assert [change["step"] for change in found["changes"]] == [
        "attachment",
        "addresses",
        "server",
        "ports",
        "ports",
        "ports",
    ]
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
    assert found["kept"] == ["volume-8", "203.0.113.9"]
    end = ending(WISH, survey, {})
    assert [each.id for each in end.guests] == ["fip-9"]
    assert end.addresses == end.volumes == []
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
    assert found["left"] == found["kept"] == []


def test_a_copy_of_the_volume_is_not_deleted_with_it() -> None:
    copy = replace(VOLUME, id="volume-9", name="restored", attached_to=[])
    found = ending(replace(WISH, delete_data=True), replace(WHOLE, volumes=[VOLUME, copy]), {})
    assert [each.id for each in found.volumes] == [VOLUME.id]


def test_after_the_end_there_is_nothing_to_do() -> None:
    survey = replace(EMPTY, volumes=[replace(VOLUME, attached_to=[])])
    found = plan(survey)
    assert found["changes"] == found["problems"] == found["left"] == []
    assert [each.id for each in ending(WISH, survey, {}).volumes] == ["volume-1"]
    assert "nothing of dk is in the cloud" in "\n".join(plan(EMPTY)["table"])


def test_only_the_way_into_the_cloud_is_checked() -> None:
    wish = Wish(tenant="dk", entry="cdse-dk", authorized_keys=[f"no {KEY}"])
    assert plan(EMPTY, wish)["problems"] == []
    no = problem("credentials", "refused", "", "Keystone says no", "ask it again")
    refused = ending(wish, no, {}).answer()
    assert [each["text"] for each in refused["problems"]] == ["Keystone says no; ask it again."]
    assert set(refused) == set(plan(EMPTY, wish))


def test_the_difference_is_what_goes() -> None:
    shown = ending(WISH, WHOLE, {}).findings.diff()
    assert shown[0]["before_header"] == "attachment cbm-dk-data"
    assert all(each["before"] and not each["after"] for each in shown)
