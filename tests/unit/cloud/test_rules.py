"""Rules of a tenant's security group: what an inventory says, and what there is."""

from typing import Any

import pytest
from ansible.module_utils.cloud.rules import (
    UnfitError,
    body,
    compare,
    key,
    network,
    unfit,
    wanted,
    words,
)
from ansible.module_utils.cloud.wish import Wish
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cloud_resources import Group, Rule, replace
from tests.support.cloud_tenant import GROUP, RULES, WISH, planned, rule
from tests.support.effort import examples


@pytest.mark.parametrize(
    ("entry", "cidrs"),
    [
        ("192.0.2.0/24", ["192.0.2.0/24"]),
        ("198.51.100.7", ["198.51.100.7/32"]),
        (" 2001:DB8:0::/32 ", ["2001:db8::/32"]),
        ("world", ["0.0.0.0/0", "::/0"]),
    ],
)
def test_a_network(entry: str, cidrs: list[str]) -> None:
    assert network(entry) == cidrs


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("office", "'office' is not a valid network; write it like 192.0.2.0/24 or 2001:db8::/32"),
        ("", "'' is not a valid network; write it like 192.0.2.0/24 or 2001:db8::/32"),
        (
            "192.0.2.0/33",
            "'192.0.2.0/33' is not a valid network; write it like 192.0.2.0/24 or 2001:db8::/32",
        ),
        ("0.0.0.0/0", "0.0.0.0/0 allows every address; write the word world if that is meant"),
        ("::/0", "::/0 allows every address; write the word world if that is meant"),
        ("10.1.2.3/0", "10.1.2.3/0 allows every address; write the word world if that is meant"),
        (
            "192.0.2.17/24",
            "192.0.2.17/24 is not a valid network: its host part is not zero;"
            " write 192.0.2.0/24 for the network, or 192.0.2.17/32 for the one machine",
        ),
        (
            "2001:db8::1/64",
            "2001:db8::1/64 is not a valid network: its host part is not zero;"
            " write 2001:db8::/64 for the network, or 2001:db8::1/128 for the one machine",
        ),
    ],
)
def test_what_is_no_network(entry: str, sentence: str) -> None:
    with pytest.raises(UnfitError) as error:
        network(entry)
    assert f"{error.value.message}; {error.value.hint}" == sentence


HTTPS = {"protocol": "tcp", "port": 443, "cidrs": ["192.0.2.0/24"]}


@pytest.mark.parametrize(
    ("further", "sentence"),
    [
        ({**HTTPS, "protocol": "http"}, "has the unsupported protocol http; use tcp, udp or icmp"),
        ({**HTTPS, "protocol": ""}, "has the unsupported protocol nothing; use tcp, udp or icmp"),
        (
            {**HTTPS, "ports": 1},
            "has unknown keys: ports; use only cidrs, description, port, port_max, port_min, protocol",
        ),
        ({**HTTPS, "port": None}, "names no port; write either port, or port_min and port_max"),
        ({**HTTPS, "port_min": 1}, "names no port; write either port, or port_min and port_max"),
        (
            {**HTTPS, "port": 70000},
            "opens 70000, which is not a valid port or range; write numbers from 1 to 65535, the smaller"
            " one as port_min",
        ),
        (
            {**HTTPS, "port": "https"},
            "opens https, which is not a valid port or range; write numbers from 1 to 65535, the smaller"
            " one as port_min",
        ),
        (
            {**HTTPS, "port": None, "port_min": 90, "port_max": 80},
            "opens 90 to 80, which is not a valid port or range; write numbers from 1 to 65535, the"
            " smaller one as port_min",
        ),
        ({**HTTPS, "protocol": "icmp"}, "has a port, but icmp has no ports; remove the port"),
        (
            {**HTTPS, "cidrs": []},
            "has no list of networks; list the allowed networks in its cidrs, or remove the rule",
        ),
        (
            {**HTTPS, "cidrs": "world"},
            "has no list of networks; list the allowed networks in its cidrs, or remove the rule",
        ),
    ],
)
def test_what_is_no_rule(further: dict[str, Any], sentence: str) -> None:
    wish = replace(WISH, rules=[HTTPS, further])
    assert [f"{line}: {each.message}; {each.hint}" for line, each in unfit(wish)] == [
        f"tenant_cloud_rules: Rule 2 of tenant_cloud_rules {sentence}"
    ]
    (problem,) = planned(wish)["problems"]
    assert problem["text"] == f"Rule 2 of tenant_cloud_rules {sentence}."


def test_every_unfit_line_is_told() -> None:
    wish = replace(WISH, ssh_cidrs=["a"], database_cidrs=["0.0.0.0/0"], rules=[{**HTTPS, "cidrs": ["b"]}])
    assert [line for line, _ in unfit(wish)] == [
        "tenant_cloud_ssh_cidrs",
        "tenant_cloud_database_cidrs",
        "rule 1 of tenant_cloud_rules",
    ]


def test_rules_as_the_module_takes_them() -> None:
    wish = Wish(
        tenant="dk",
        ssh_cidrs=["192.0.2.0/24", "192.0.2.0/24"],
        rules=[{"protocol": "icmp", "cidrs": ["world"]}, {**HTTPS, "description": "tiles"}],
    )
    told = [(each.ether_type, each.protocol, each.remote_ip_prefix, words(each)) for each in wanted(wish)]
    assert told == [
        ("IPv4", "tcp", "192.0.2.0/24", "in tcp 22 from 192.0.2.0/24"),
        ("IPv4", "icmp", "0.0.0.0/0", "in icmp from everyone (IPv4)"),
        ("IPv6", "ipv6-icmp", "::/0", "in ipv6-icmp from everyone (IPv6)"),
        ("IPv4", "tcp", "192.0.2.0/24", "in tcp 443 from 192.0.2.0/24"),
        ("IPv4", None, "0.0.0.0/0", "out any protocol to everyone (IPv4)"),
        ("IPv6", None, "::/0", "out any protocol to everyone (IPv6)"),
    ]
    assert [body(each)["description"] for each in wanted(wish)][:4] == [
        "SSH",
        "tenant_cloud_rules",
        "tenant_cloud_rules",
        "tiles",
    ]
    # what has no ports and no protocol is asked for without
    assert set(body(wanted(wish)[-1])) == {"direction", "ether_type", "remote_ip_prefix", "description"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"protocol": "6"}, {"protocol": "tcp"}),
        ({"protocol": "TCP"}, {"protocol": "tcp"}),
        ({"protocol": "any"}, {}),
        ({"protocol": "tcp", "port_min": 1, "port_max": 65535}, {"protocol": "tcp"}),
        ({"protocol": "icmp", "port_min": -1, "port_max": -1}, {"protocol": "icmp"}),
        ({"protocol": "icmpv6", "ether_type": "IPv6"}, {"protocol": "icmp", "ether_type": "IPv6"}),
        ({"remote_ip": "0.0.0.0/0"}, {}),
        ({"remote_ip": "192.0.2.7"}, {"remote_ip": "192.0.2.7/32"}),
        (
            {"remote_ip": "2001:db8:0::/32", "ether_type": "IPv6"},
            {"remote_ip": "2001:db8::/32", "ether_type": "IPv6"},
        ),
        ({"description": "by hand"}, {}),
    ],
)
def test_rules_that_are_the_same_to_neutron(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(rule(1, **one)) == key(rule(2, **other))


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "udp"},
        {"port_min": 23, "port_max": 23},
        {"direction": "egress"},
        {"remote_ip": "192.0.2.0/25"},
        {"remote_ip": None},
        {"remote_ip": None, "remote_group": "group-1"},
    ],
)
def test_rules_that_are_not(other: dict[str, Any]) -> None:
    one = {"protocol": "tcp", "port_min": 22, "port_max": 22, "remote_ip": "192.0.2.0/24"}
    assert key(rule(1, **one)) != key(rule(2, **(one | other)))


def test_a_rule_for_a_group_is_not_one_for_everyone() -> None:
    assert words(rule(1, remote_group="group-1")) == "in any protocol from group group-1 (IPv4)"
    assert words(rule(1, protocol="udp", port_min=1, port_max=9)) == "in udp 1-9 from everyone (IPv4)"


def test_a_new_group_lets_everything_out_by_itself() -> None:
    lacking, extra = compare(WISH, None)
    assert {each.direction for each in lacking} == {"ingress"}
    assert extra == []


def test_the_way_out_is_put_back_and_never_narrowed() -> None:
    by_hand = rule(9, direction="egress", protocol="tcp", port_min=443, port_max=443)
    group = replace(GROUP, rules=[*RULES[:3], RULES[4], by_hand])
    lacking, extra = compare(WISH, group)
    assert [words(each) for each in lacking] == ["out any protocol to everyone (IPv4)"]
    # told apart from the one by hand by prefix and description
    (put_back,) = map(body, lacking)
    assert (put_back["remote_ip_prefix"], put_back["description"]) == ("0.0.0.0/0", "everything out")
    assert extra == []


def test_of_two_rules_that_open_the_same_one_goes() -> None:
    twice = replace(GROUP, rules=[*RULES, replace(RULES[0], id="rule-9", remote_ip="192.0.2.0/24")])
    assert [each.id for each in compare(WISH, twice)[1]] == ["rule-9"]


CIDRS = st.lists(st.sampled_from(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "world"]), max_size=4)
FURTHER = st.builds(
    lambda protocol, ports, cidrs: {
        "protocol": protocol,
        "cidrs": cidrs,
        **({} if protocol == "icmp" else {"port_min": min(ports), "port_max": max(ports)}),
    },
    st.sampled_from(["tcp", "udp", "icmp"]),
    st.lists(st.integers(1, 65535) | st.sampled_from([1, 22, 11039, 65535]), min_size=1, max_size=2),
    CIDRS.filter(bool),
)
WISHES = st.builds(
    lambda ssh, database, rules: Wish(tenant="dk", ssh_cidrs=ssh, database_cidrs=database, rules=rules),
    CIDRS,
    CIDRS,
    st.lists(FURTHER, max_size=3),
)
BY_HAND = st.builds(
    rule,
    st.integers(100, 10**6),
    direction=st.sampled_from(["ingress", "egress"]),
    ether_type=st.sampled_from(["IPv4", "IPv6"]),
    protocol=st.sampled_from([None, "any", "tcp", "6", "udp", "icmp", "icmpv6", "gre"]),
    port_min=st.none() | st.integers(1, 100),
    port_max=st.none() | st.integers(100, 65535),
    remote_group=st.none() | st.just("group-1"),
)


@examples(25)
@given(WISHES, st.lists(BY_HAND, max_size=6))
def test_doing_what_the_plan_says_leaves_nothing_to_do(wish: Wish, by_hand: list[Any]) -> None:
    rules = [*{each.id: each for each in by_hand}.values()]
    lacking, extra = compare(wish, Group("group-1", "cbm-dk", rules=rules))
    assert all(each.direction == "ingress" for each in extra)
    gone = {each.id for each in extra}
    made = [Rule(**body(each), id=f"made-{number}") for number, each in enumerate(lacking)]
    after = [*(each for each in rules if each.id not in gone), *made]
    assert compare(wish, Group("group-1", "cbm-dk", rules=after)) == ([], [])
    # and what comes in is what was asked for, not more and not less
    incoming = {key(each) for each in after if each.direction == "ingress"}
    assert incoming == {key(each) for each in wanted(wish) if each.direction == "ingress"}
