"""What an inventory names and a cloud has or has not: each answer is a sentence with its remedy."""

from typing import Any

import pytest
from ansible.module_utils.cloud.survey import Quota

from tests.support.cloud_resources import Flavor, Image, Network, replace
from tests.support.cloud_tenant import (
    CONTACT,
    EMPTY,
    FLAVORS,
    KEY,
    WHOLE,
    WISH,
    check,
    made,
    planned,
    sentences,
)

LARGE = "eo2.2xlarge (8 vCPUs, 32 GB), eo2a.2xlarge (8 vCPUs, 32 GB), hm.2xlarge (16 vCPUs, 128 GB)"
NETWORKS = EMPTY.networks


@pytest.mark.parametrize(
    ("lines", "facts", "sentence"),
    [
        (
            {"flavor": "EO2.2XLARGE"},
            {},
            "The flavor EO2.2XLARGE does not exist, but eo2.2xlarge, eo2a.2xlarge;"
            f" write one that is large enough in tenant_cloud_flavor: {LARGE}.",
        ),
        (
            {"flavor": "gigantic"},
            {},
            f"The flavor gigantic does not exist; write one that is large enough in tenant_cloud_flavor:"
            f" {LARGE}.",
        ),
        (
            {"flavor": "eo1.large"},
            {},
            "The flavor eo1.large (4 vCPUs, 8 GB) is too small;"
            f" write one that is large enough in tenant_cloud_flavor: {LARGE}.",
        ),
        (
            {"min_memory_gb": 512},
            {},
            "The flavor eo2.2xlarge (8 vCPUs, 32 GB) is too small;"
            " ask the cloud's support for one that is large enough: the project has none.",
        ),
        (
            {"image": "Ubuntu 22.04"},
            {},
            "The image Ubuntu 22.04 does not exist; write one of Ubuntu 24.04 LTS in tenant_cloud_image.",
        ),
        (
            {"image": ""},
            {},
            "tenant_cloud_image is empty; write one of Ubuntu 24.04 LTS in tenant_cloud_image.",
        ),
        (
            {},
            {"images": [Image("i", "Ubuntu 24.04 LTS", "queued"), Image("j", "Debian 13")]},
            "The image Ubuntu 24.04 LTS exists, but its status is queued; write one of Debian 13 in"
            " tenant_cloud_image.",
        ),
        (
            {},
            {"images": []},
            "The image Ubuntu 24.04 LTS does not exist; ask the cloud's support for one.",
        ),
        (
            {"network": "cloud_l"},
            {},
            "The network cloud_l does not exist; write one of cloud_1 in tenant_cloud_network.",
        ),
        (
            {"network": ""},
            {},
            "tenant_cloud_network is empty; write one of cloud_1, eodata in tenant_cloud_network.",
        ),
        (
            {"network": "external"},
            {},
            "The network external is an external one, which no server is connected to;"
            " write one of cloud_1, eodata in tenant_cloud_network.",
        ),
        (
            {"external_network": "eodata"},
            {},
            "The network eodata is not an external one, so it has no floating IPs;"
            " write one of external in tenant_cloud_external_network.",
        ),
        (
            {"eodata_network": "eo-data"},
            {},
            "The network eo-data does not exist; write one of eodata in tenant_cloud_eodata_network.",
        ),
        (
            {},
            {"networks": [*NETWORKS, Network("net-0", "cloud_1")]},
            "There are 2 networks cloud_1; write the id of the right one in tenant_cloud_network: net-0,"
            " net-1.",
        ),
        (
            {"volume_type": "SSD"},
            {},
            "The volume type SSD does not exist; write one of ssd, hdd in tenant_cloud_volume_type,"
            " or leave it out for the cloud's default.",
        ),
        (
            {"tenant": "Dänemark"},
            {},
            "The tenant's name 'Dänemark' is not a valid name in a cloud;"
            " give it a tenant_name of lower-case letters, digits, _ and -, 40 at most.",
        ),
        (
            {"ssh_cidrs": []},
            {},
            "tenant_cloud_ssh_cidrs is empty, so nobody could log in;"
            " list the networks that may log in, including this control host's.",
        ),
        (
            {"authorized_keys": []},
            {},
            "The operator's public key is missing, so nobody could log in to the server; list keys in"
            " tenant_cloud_authorized_keys, or put the .pub beside ansible_ssh_private_key_file.",
        ),
        (
            {"authorized_keys": [], "further_keys": [KEY]},
            {},
            "The operator's public key is missing, so nobody could log in to the server; list keys in"
            " tenant_cloud_authorized_keys, or put the .pub beside ansible_ssh_private_key_file.",
        ),
        (
            {"further_keys": ["jrc"]},
            {},
            "Key 1 of base_system_jrc_keys is no public key;"
            " list the one line of the .pub file: type, key, comment.",
        ),
        (
            {"needed_gb": 234.04},
            {},
            "tenant_cloud_volume_gb is 200, but 234.0 GB are needed; remove the line,"
            " or correct tenant_expected_parcels, tenant_start, tenant_end or"
            " tenant_data_gb_per_million_parcels.",
        ),
        (
            {"authorized_keys": [KEY, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END"]},
            {},
            "Key 2 of tenant_cloud_authorized_keys is a private key, which must never leave its owner;"
            " list the line of its .pub file, and make a new pair if anybody else has seen this one.",
        ),
        (
            {"authorized_keys": ["~/.ssh/id_ed25519.pub"]},
            {},
            "Key 1 of tenant_cloud_authorized_keys is no public key;"
            " list the one line of the .pub file: type, key, comment.",
        ),
        (
            {"contact": {**CONTACT, "credits": " "}},
            {},
            "tenant_contact has no credits; write there who confirmed the account's credits, and when.",
        ),
        (
            {"contact": {**CONTACT, "email": "Ane Hansen"}},
            {},
            "Ane Hansen in tenant_contact is not a valid e-mail address; write one like name@example.org.",
        ),
        (
            {"also": ["There is no parcels file."]},
            {},
            "There is no parcels file.",
        ),
    ],
)
def test_what_stands_in_the_way(lines: dict[str, Any], facts: dict[str, Any], sentence: str) -> None:
    assert sentences(replace(WISH, **lines), replace(EMPTY, **facts)) == [sentence]


def test_a_private_key_is_not_shown() -> None:
    wish = replace(WISH, authorized_keys=["-----BEGIN RSA PRIVATE KEY----- c2VjcmV0"])
    assert "c2VjcmV0" not in str(planned(wish, EMPTY))


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        KEY.rsplit(" ", 1)[0],
        f"  {KEY} of the operator\n",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBM= x",
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIBM= token",
    ],
)
def test_public_keys(key: str) -> None:
    assert sentences(replace(WISH, authorized_keys=[key]), EMPTY) == []


def test_an_operators_key_may_be_listed_with_the_hosts() -> None:
    assert sentences(replace(WISH, authorized_keys=[], operator_keys=[KEY]), EMPTY) == []


def test_ids_do_as_well_as_names() -> None:
    wish = replace(WISH, network="net-1", image="img-old", flavor="2")
    choice = made(wish, EMPTY).choice
    assert sentences(wish, EMPTY) == []
    assert choice.network is not None
    assert choice.image is not None
    assert (choice.network.id, choice.image.id) == ("net-1", "img-old")


def test_a_clouds_gigabyte_may_be_a_little_smaller() -> None:
    survey = replace(EMPTY, flavors=[Flavor("eo2.2xlarge", 8, 16000)])
    assert sentences(WISH, survey) == []


def test_a_flavor_and_a_volume_type_that_are_gone_do_not_matter_to_what_is_there() -> None:
    survey = replace(WHOLE, flavors=[], volume_types=["hdd"])
    assert sentences(WISH, survey) == []


@pytest.mark.parametrize(
    ("name", "quota", "sentence"),
    [
        ("instances", Quota(1, 1), "The project's quota of servers is 1 and leaves 0, but 1 is needed"),
        ("cores", Quota(8, 4), "The project's quota of vCPUs is 8 and leaves 4, but 8 are needed"),
        (
            "ram",
            Quota(16384, 0),
            "The project's quota of MB of memory is 16384 and leaves 16384, but 32768 are needed",
        ),
        ("volumes", Quota(3, 3), "The project's quota of volumes is 3 and leaves 0, but 1 is needed"),
        (
            "gigabytes",
            Quota(1000, 900),
            "The project's quota of GB of volumes is 1000 and leaves 100, but 200 are needed",
        ),
        (
            "gigabytes_ssd",
            Quota(150, 0),
            "The project's quota of GB of volumes of type ssd is 150 and leaves 150, but 200 are needed",
        ),
        (
            "volumes_ssd",
            Quota(0, 0),
            "The project's quota of volumes of type ssd is 0 and leaves 0, but 1 is needed",
        ),
        (
            "floating_ips",
            Quota(1, 2),
            "The project's quota of floating IPs is 1 and leaves 0, but 1 is needed",
        ),
        (
            "security_groups",
            Quota(2, 2),
            "The project's quota of security groups is 2 and leaves 0, but 1 is needed",
        ),
        (
            "security_group_rules",
            Quota(14, 10),
            "The project's quota of security group rules is 14 and leaves 4, but 5 are needed",
        ),
        ("ports", Quota(3, 2), "The project's quota of ports is 3 and leaves 1, but 2 are needed"),
    ],
)
def test_a_quota_that_does_not_suffice(name: str, quota: Quota, sentence: str) -> None:
    survey = replace(EMPTY, quotas={**EMPTY.quotas, name: quota})
    (problem,) = sentences(WISH, survey)
    assert problem.startswith(f"{sentence}; ask the cloud's support for ")
    assert problem.endswith(" more, or free some in the project.")


def test_a_quota_matters_only_for_what_is_still_to_be_made() -> None:
    full = {name: Quota(1, 1) for name in EMPTY.quotas}
    assert sentences(WISH, replace(WHOLE, quotas=full)) == []
    (growth,) = sentences(replace(WISH, volume_gb=230), replace(WHOLE, quotas=full))
    assert growth.startswith("The project's quota of GB of volumes is 1 and leaves 0, but 30 are needed")


def test_a_cloud_that_does_not_tell_its_quotas() -> None:
    assert sentences(WISH, replace(EMPTY, quotas={})) == []
    assert check(WISH, replace(EMPTY, quotas={}), "quota: cores") == [
        ("not checked", "not reported by this cloud")
    ]


def test_a_quota_without_a_limit() -> None:
    assert check(WISH, EMPTY, "quota: volumes") == [("ok", "free: unlimited (3 used)")]


def test_every_flavor_that_is_large_enough_is_told_the_smallest_first() -> None:
    survey = replace(EMPTY, flavors=list(reversed(FLAVORS)))
    assert LARGE in sentences(replace(WISH, flavor=""), survey)[0]
