"""The plan for a tenant's cloud, from plain data: what is made, what differs, what stands in the way."""

import pytest
from ansible.module_utils.cloud.findings import listed, problem
from ansible.module_utils.cloud.plan import plan
from ansible.module_utils.cloud.survey import Quota, attached_to

from tests.support.cloud_resources import Address, Volume, replace
from tests.support.cloud_tenant import (
    ADDRESS,
    CONTACT,
    EMPTY,
    GROUP,
    MARK,
    RULES,
    VOLUME,
    WHOLE,
    WISH,
    made,
    planned,
    rule,
)


def test_in_an_empty_project_everything_is_made() -> None:
    found = planned(survey=EMPTY)
    assert found["problems"] == found["drift"] == []
    assert [(change["action"], change["resource"]) for change in found["changes"]] == [
        ("create", "security_group"),
        ("add", "rule"),
        ("add", "rule"),
        ("add", "rule"),
        ("create", "server"),
        ("create", "port"),
        ("create", "port"),
        ("create", "volume"),
        ("attach", "volume"),
        ("create", "floating_ip"),
    ]
    found_things = made(survey=EMPTY)
    choice, ips = found_things.choice, found_things.ips
    ids = [choice.image, choice.network, choice.eodata_network, choice.external_network]
    assert [each.id for each in ids if each] == ["img-new", "net-1", "net-e", "net-x"]
    assert (found["project_id"], found["credential_id"]) == ("", "")
    assert (found["server"], found["volume"], found_things.fence.group) == (None, None, None)
    assert [each.port for each in found_things.sockets] == [None, None]
    assert (ips.wanted, ips.take, found["address"]) == (True, None, "")


def test_where_everything_is_there_nothing_is_done() -> None:
    found = planned()
    assert found["problems"] == found["changes"] == found["drift"] == []
    whole = made()
    assert not whole.fence.lacking + whole.fence.extra + tuple(whole.ips.reserves_missing)
    assert found["server"] == {"id": "server-1", "status": "ACTIVE"}
    assert found["volume"] == {"id": "volume-1", "size": 200}
    assert whole.disk is not None
    assert attached_to(whole.disk) == ["server-1"]
    assert whole.sockets[1].port is not None
    assert whole.sockets[1].port.id == "port-2"
    assert (found["address"], found["region"]) == ("203.0.113.5", "WAW3-2")
    assert found["table"][-1] == "The cloud matches the inventory."


TABLE = """\
CHECK                STATE        WANTED                        FOUND                                      REMEDY
contact: account     missing      account or project            tenant_contact has no account              write its name there, like cloud_00341_1
contact: name        ok           contact person                Ane Hansen
contact: email       ok           e-mail address                ane@example.dk
contact: phone       ok           telephone number              +45 1
contact: credits     ok           confirmed credits             yes
inventory            wrong                                      The parcels file is not there.
tenant               ok           a-z, 0-9, _ and -             dk
credentials          ok           cdse-dk                       accepted
region               ok           the entry's in clouds.yaml    WAW3-2
image                ok           Ubuntu 24.04 LTS              img-new of 2026-11-01, the newest of 2
flavor               missing      eo2.2xlage (≥ 8 vCPUs, ≥ 16   The flavor eo2.2xlage does not exist, but  write one that is large enough in
                                  GB)                           eo2.2xlarge, eo2a.2xlarge                  tenant_cloud_flavor: eo2.2xlarge (8 vCPUs,
                                                                                                           32 GB), eo2a.2xlarge (8 vCPUs, 32 GB),
                                                                                                           hm.2xlarge (16 vCPUs, 128 GB)
network              ok           cloud_1                       net-1
eodata network       ok           eodata                        net-e
external network     ok           external                      net-x
volume type          ok           ssd                           ssd
rules                ok           3 openings                    in tcp 22 from 192.0.2.0/24, in tcp 11039
                                                                from everyone (IPv4), in tcp 11039 from
                                                                everyone (IPv6)
keys                 ok           a public SSH key              operator
quota: instances     ok           needed: 1                     free: 4 of 5
quota: cores         not checked  needed: not known yet         free: 16 of 20
quota: ram           not checked  needed: not known yet         free: 57344 MB of 65536 MB
quota: volumes       ok           needed: 1                     free: unlimited (3 used)
quota: gigabytes     wrong        needed: 200 GB                The project's quota of GB of volumes is    ask the cloud's support for 100 more, or
                                                                200 and leaves 100, but 200 are needed     free some in the project
quota: floating ips  ok           needed: 1                     free: 4 of 5
quota: groups        ok           needed: 1                     free: 8 of 10
quota: group rules   ok           needed: 5                     free: 90 of 100
quota: ports         not checked  needed: 2                     not reported by this cloud
security group       to make      cbm-dk                        The security group cbm-dk is made
server               to make      cbm-dk                        The server cbm-dk is made: eo2.2xlage,
                                                                Ubuntu 24.04 LTS
port                 to make      cbm-dk                        The port cbm-dk is made on cloud_1
port                 to make      cbm-dk-eodata                 The port cbm-dk-eodata is made on eodata
data volume          to make      200 GB                        The volume cbm-dk-data is made: 200 GB,
                                                                ssd
data volume          to change    attached                      The volume cbm-dk-data is attached to
                                                                cbm-dk
floating IPs         to make      the server's                  The server cbm-dk gets a floating IP of
                                                                external

4 problems found; nothing was changed. Solve all of them, then run again."""  # noqa: E501


def test_the_table_in_full() -> None:
    wish = replace(
        WISH,
        flavor="eo2.2xlage",
        contact={**CONTACT, "account": ""},
        also=["The parcels file is not there."],
    )
    survey = replace(EMPTY, quotas={**EMPTY.quotas, "gigabytes": Quota(200, 100)})
    table = planned(wish, survey)["table"]
    assert "\n".join(table) == TABLE
    assert max(len(line) for line in table) <= 150


def test_problems_are_told_all_at_once() -> None:
    wish = replace(
        WISH, flavor="x", image="y", network="z", ssh_cidrs=[], contact={}, authorized_keys=[], tenant="DK!"
    )
    assert [(each["code"], each["option"]) for each in planned(wish, EMPTY)["problems"]] == [
        *((f"contact.{line}.missing", "tenant_contact") for line in CONTACT),
        ("tenant.invalid", "tenant_name"),
        ("image.missing", "tenant_cloud_image"),
        ("flavor.missing", "tenant_cloud_flavor"),
        ("network.missing", "tenant_cloud_network"),
        ("rules.missing", "tenant_cloud_ssh_cidrs"),
        ("keys.missing", "tenant_cloud_authorized_keys"),
    ]


def test_a_cloud_that_cannot_be_asked_leaves_the_rest_unchecked() -> None:
    refused = problem("credentials", "refused", "cdse-dk", "Keystone says no", "ask it again")
    stopped = plan(replace(WISH, ssh_cidrs=["192.0.2.1/24"]), refused, {})
    found, findings = stopped.answer(), stopped.findings
    assert [each["text"] for each in found["problems"]] == [
        "Keystone says no; ask it again.",
        "192.0.2.1/24 is not a valid network: its host part is not zero (tenant_cloud_ssh_cidrs);"
        " write 192.0.2.0/24 for the network, or 192.0.2.1/32 for the one machine.",
    ]
    unchecked = [each.check for each in findings.checks if each.state == "not checked"]
    assert unchecked == [
        "image",
        "flavor",
        "network",
        "eodata network",
        "external network",
        "volume type",
        "quotas",
        "what exists",
    ]
    assert set(found) == set(planned()), "whoever reads the plan finds every key"


def test_an_address_that_a_lost_server_had_is_the_next_ones() -> None:
    survey = replace(
        EMPTY, addresses=[replace(ADDRESS, port_id="")], quotas={**EMPTY.quotas, "floating_ips": Quota(1, 1)}
    )
    found = planned(survey=survey)
    assert found["problems"] == []
    ips = made(survey=survey).ips
    assert ips.take is not None
    assert (ips.wanted, ips.take.floating_ip_address) == (True, "203.0.113.5")


def test_addresses_in_reserve_have_descriptions_of_their_own() -> None:
    reserve = Address("fip-2", "203.0.113.6", f"{MARK}, address 2")
    found = made(replace(WISH, floating_ips=4), replace(WHOLE, addresses=[ADDRESS, reserve]))
    assert found.ips.reserves_missing == [f"{MARK}, address 3", f"{MARK}, address 4"]
    # dk is not dk2
    assert not WISH.marked("cbm-onboarding: dk2")


def test_without_floating_ips_the_server_is_reached_at_its_own_address() -> None:
    found = planned(replace(WISH, external_network=""), replace(WHOLE, addresses=[]))
    assert (found["address"], found["changes"]) == ("10.0.0.5", [])
    assert made(replace(WISH, external_network="")).choice.external_network is None


def test_the_operators_volume_is_never_extended() -> None:
    mine = Volume("volume-8", "old", 50, "in-use", attached_to=["server-1"])
    found = planned(replace(WISH, volume="volume-8"), replace(WHOLE, volumes=[mine]))
    assert found["changes"] == found["drift"] == found["problems"] == []
    assert found["volume"]["id"] == "volume-8"


def test_the_kept_volume_is_found_again() -> None:
    kept = replace(VOLUME, status="available", attached_to=[])
    found = planned(survey=replace(EMPTY, volumes=[kept]))
    volume = [change["action"] for change in found["changes"] if change["resource"] == "volume"]
    assert volume == ["attach"]


def test_the_difference_by_resource() -> None:
    survey = replace(
        WHOLE,
        groups=[replace(GROUP, rules=[*RULES[1:], rule(9, protocol="tcp", port_min=3389, port_max=3389)])],
    )
    findings = made(replace(WISH, volume_gb=250, flavor="hm.2xlarge"), survey).findings
    assert [(each["before_header"], each["before"], each["after"]) for each in findings.diff()] == [
        (
            "security group cbm-dk",
            "in tcp 3389 from everyone (IPv4)\n",
            "in tcp 22 from 192.0.2.0/24\n",
        ),
        ("volume cbm-dk-data", "size: 200 GB\n", "size: 250 GB\n"),
        (
            "server cbm-dk: reported only, never done",
            "flavor: eo2.2xlarge\n",
            "flavor: hm.2xlarge  # reported only\n",
        ),
    ]


@pytest.mark.parametrize(
    ("names", "words"), [([], "none"), (["a"], "a"), (["a", "b", "c"], "a, b and 1 more")]
)
def test_a_long_list_is_cut(names: list[str], words: str) -> None:
    assert listed(names, most=2) == words
