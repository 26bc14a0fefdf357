"""What a tenant has in its cloud already: what a run does about it, what it leaves, what is in the way."""

from typing import Any

import pytest

from tests.support.cloud_resources import Address, Port, Volume, replace
from tests.support.cloud_tenant import (
    ADDRESS,
    EODATA_PORT,
    GROUP,
    MARK,
    PORT,
    RULES,
    SERVER,
    STRANGER,
    VOLUME,
    WHOLE,
    WISH,
    check,
    made,
    planned,
    rule,
    sentences,
)


def test_an_address_that_makes_way_stays_in_reserve() -> None:
    spare = Address("fip-9", "203.0.113.9", "", "", "ext-1")
    found = made(
        replace(WISH, floating_ip=spare.floating_ip_address, floating_ips=2),
        replace(WHOLE, addresses=[*WHOLE.addresses, spare]),
    )
    assert found.ips.take is not None
    assert (found.ips.take.id, found.ips.reserves_missing) == (spare.id, [])


@pytest.mark.parametrize(
    ("lines", "facts", "changes"),
    [
        (
            {"volume_gb": 300},
            {},
            [
                "The volume cbm-dk-data is extended from 200 to 300 GB; playbooks/host.yml then grows"
                " its filesystem."
            ],
        ),
        ({"floating_ips": 3}, {}, ["A floating IP of external is reserved for dk."] * 2),
        ({}, {"servers": [replace(SERVER, status="SHUTOFF")]}, ["The server cbm-dk is switched on."]),
        (
            {},
            {"volumes": [replace(VOLUME, status="available", attached_to=[])]},
            ["The volume cbm-dk-data is attached to cbm-dk."],
        ),
        (
            {},
            {"ports": [replace(PORT, group_ids=["group-0"]), EODATA_PORT]},
            ["The port cbm-dk gets the security group cbm-dk and no other."],
        ),
        (
            {},
            {
                "groups": [
                    replace(GROUP, rules=[*RULES[1:], rule(9, protocol="tcp", port_min=3389, port_max=3389)])
                ]
            },
            [
                "The security group cbm-dk gets the rule: in tcp 22 from 192.0.2.0/24.",
                "The security group cbm-dk loses a rule that the inventory does not have: in tcp 3389"
                " from everyone (IPv4).",
            ],
        ),
        (
            {},
            {"addresses": [replace(ADDRESS, port_id="")]},
            ["The server cbm-dk gets the address 203.0.113.5, which the project has."],
        ),
        ({}, {"addresses": []}, ["The server cbm-dk gets a floating IP of external."]),
        (
            {"floating_ip": "203.0.113.9"},
            {"addresses": [ADDRESS, Address("fip-9", "203.0.113.9")]},
            ["The server cbm-dk gets the address 203.0.113.9, which the project has."],
        ),
        (
            {"volume": "volume-8"},
            {"volumes": [Volume("volume-8", "old", 50)]},
            ["The volume volume-8 is attached to cbm-dk."],
        ),
    ],
)
def test_what_a_run_will_do(lines: dict[str, Any], facts: dict[str, Any], changes: list[str]) -> None:
    found = planned(replace(WISH, **lines), replace(WHOLE, **facts))
    assert [change["text"] for change in found["changes"]] == changes
    assert found["problems"] == []


@pytest.mark.parametrize(
    ("lines", "facts", "beginning", "end"),
    [
        (
            {"flavor": "hm.2xlarge"},
            {},
            "The server cbm-dk has the flavor eo2.2xlarge, the inventory says hm.2xlarge; it is left as"
            " it is, because a resize",
            "or write eo2.2xlarge.",
        ),
        (
            {"volume_gb": 100},
            {},
            "The volume cbm-dk-data has 200 GB, the inventory says 100 GB; it is left as it is, because"
            " no volume can shrink",
            "write tenant_cloud_volume_gb: 200.",
        ),
        (
            {"volume_type": "hdd"},
            {},
            "The volume cbm-dk-data is of the type ssd, the inventory says hdd; it is left as it is",
            "or write ssd.",
        ),
        (
            {},
            {"addresses": [ADDRESS, Address("fip-2", "203.0.113.6", f"{MARK}, address 2")]},
            "dk has 1 floating IP beside its server's (203.0.113.6), the inventory wants 0; they are left",
            "openstack floating ip delete releases them.",
        ),
        (
            {},
            {"ports": [PORT]},
            "The server cbm-dk has no port on eodata; it is left as it is",
            "offboard and run again, its data volume stays.",
        ),
        (
            {},
            {"ports": [PORT, replace(EODATA_PORT, device_id="")]},
            "The port cbm-dk-eodata is not connected to the server cbm-dk; it is left as it is",
            "offboard and run again, its data volume stays.",
        ),
        (
            {},
            {"ports": [replace(PORT, network_id="net-2"), EODATA_PORT]},
            "The port cbm-dk is on another network than cloud_1; it is left as it is",
            "offboard and run again, its data volume stays.",
        ),
    ],
)
def test_what_differs_is_told_and_left(
    lines: dict[str, Any], facts: dict[str, Any], beginning: str, end: str
) -> None:
    found = planned(replace(WISH, **lines), replace(WHOLE, **facts))
    assert found["changes"] == found["problems"] == []
    (difference,) = found["drift"]
    assert difference["text"].startswith(beginning)
    assert difference["text"].endswith(end)
    assert difference["before"] != difference["after"]


def test_images_are_renewed_under_their_name_so_another_one_is_no_difference() -> None:
    survey = replace(WHOLE, images=[])
    assert planned(survey=survey)["drift"] == []
    assert sentences(survey=survey) == []
    assert check(WISH, survey, "image") == [("ok", "no longer exists, and is not needed: the server exists")]


@pytest.mark.parametrize(
    ("lines", "facts", "sentence"),
    [
        (
            {},
            {"servers": [replace(SERVER, metadata={})]},
            "A server cbm-dk (server-1) exists already, but was not made by this project; rename it in the"
            " cloud, or give the tenant another tenant_name.",
        ),
        (
            {},
            {"servers": [SERVER, replace(SERVER, id="server-2")]},
            "There are 2 servers cbm-dk (server-1, server-2), but only one can be the tenant's;"
            " rename all but the tenant's in the cloud.",
        ),
        (
            {},
            {"servers": [replace(SERVER, status="ERROR", fault="No valid host was found.")]},
            "The server cbm-dk is in ERROR: No valid host was found; delete it in the cloud (openstack"
            " server delete server-1)"
            " or offboard the tenant, and run again: its data volume stays.",
        ),
        (
            {},
            {"servers": [replace(SERVER, status="PAUSED")]},
            "The server cbm-dk is PAUSED; bring it back to ACTIVE in the cloud (unpause, resume,"
            " unshelve, unrescue, confirm the resize), and run again.",
        ),
        (
            {},
            {"servers": [replace(SERVER, status="BUILD")]},
            "The server cbm-dk is BUILD, so it cannot be used now; wait a few minutes and run again;"
            " if it fails again, ask the cloud's support.",
        ),
        (
            {},
            {"volumes": [replace(VOLUME, metadata={"cbm_tenant": "ch"})]},
            "A data volume cbm-dk-data (volume-1) exists already, but was not made by this project; rename it"
            " in the cloud, or give the tenant another tenant_name.",
        ),
        (
            {},
            {"volumes": [replace(VOLUME, status="error_extending")]},
            "The volume cbm-dk-data is in the state error_extending; it may hold the database, so ask the"
            " cloud's support to reset or restore it.",
        ),
        (
            {},
            {"volumes": [replace(VOLUME, status="extending")]},
            "The volume cbm-dk-data is extending, so it cannot be used now; wait a minute and run"
            " again; if it fails again, ask the cloud's support.",
        ),
        (
            {},
            {"volumes": [replace(VOLUME, attached_to=["server-9"])], "servers": [SERVER, STRANGER]},
            "The volume cbm-dk-data is attached to another server, web; detach it there, and run again.",
        ),
        (
            {"volume": "volume-9"},
            {"volumes": [VOLUME, Volume("volume-9", "old", 200, "available")]},
            "The server cbm-dk uses the volume cbm-dk-data, not volume-9; write"
            " tenant_cloud_volume: volume-1 to stay with it; to change disks, offboard first, or detach it in"
            " the cloud if it is not the data volume.",
        ),
        (
            {},
            {"volumes": [Volume("volume-9", "old", 200, "in-use", attached_to=["server-1"])]},
            "The server cbm-dk uses the volume old, not cbm-dk-data; write"
            " tenant_cloud_volume: volume-9 to stay with it; to change disks, offboard first, or detach it in"
            " the cloud if it is not the data volume.",
        ),
        (
            {},
            {
                "servers": [],
                "ports": [
                    replace(PORT, network_id="net-9", device_id=""),
                    replace(EODATA_PORT, device_id=""),
                ],
                "addresses": [replace(ADDRESS, port_id="")],
                "volumes": [replace(VOLUME, status="available", attached_to=[])],
            },
            "The port cbm-dk is on another network than cloud_1, and no server has it yet; delete it in"
            " the cloud (openstack port delete port-1) and run again.",
        ),
        (
            {"volume": "volume-7"},
            {},
            "The volume volume-7 does not exist in this project and region; write the id of an existing"
            " volume"
            " in tenant_cloud_volume, or leave the line out for a new one.",
        ),
        (
            {},
            {"groups": [replace(GROUP, description="mine")]},
            "A security group cbm-dk (group-1) exists already, but was not made by this project; rename it"
            " in the cloud, or give the tenant another tenant_name.",
        ),
        (
            {},
            {"ports": [replace(PORT, description=""), EODATA_PORT]},
            "A port cbm-dk (port-1) exists already, but was not made by this project; rename it in the"
            " cloud, or give the tenant another tenant_name.",
        ),
        (
            {},
            {"ports": [replace(PORT, device_id="server-9"), EODATA_PORT], "servers": [SERVER, STRANGER]},
            "The port cbm-dk belongs to another server, web; take it off there or delete it, and run again.",
        ),
        (
            {},
            {"ports": [EODATA_PORT]},
            "The server cbm-dk has lost its port cbm-dk; offboard the tenant and run again; its data"
            " volume stays.",
        ),
        (
            {"volume": "vol-9", "needed_gb": 40.5},
            {"volumes": [Volume("vol-9", "old", 40, "available")]},
            "The volume vol-9 has 40 GB, but 40.5 GB are needed; extend it in the cloud (openstack volume set"
            " --size), or correct tenant_expected_parcels, tenant_start, tenant_end or"
            " tenant_data_gb_per_million_parcels.",
        ),
        (
            {"floating_ip": "203.0.113.9"},
            {"addresses": [ADDRESS, Address("fip-8", "203.0.113.8")]},
            "The project does not have the address 203.0.113.9; write a free one in"
            " tenant_cloud_floating_ip (203.0.113.8), or leave the line out for a new one.",
        ),
        (
            {"floating_ip": "203.0.113.9"},
            {
                "addresses": [ADDRESS, Address("fip-9", "203.0.113.9", port_id="port-9")],
                "ports": [PORT, EODATA_PORT, Port("port-9", "p", device_id="server-9")],
                "servers": [SERVER, STRANGER],
            },
            "The address 203.0.113.9 is used by another server, web; take it off there, or write another"
            " in tenant_cloud_floating_ip.",
        ),
    ],
)
def test_what_stands_in_the_way(lines: dict[str, Any], facts: dict[str, Any], sentence: str) -> None:
    assert sentences(replace(WISH, **lines), replace(WHOLE, **facts)) == [sentence]
