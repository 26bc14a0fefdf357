"""A tenant's lines, and its project of a cloud: empty, and whole."""

from typing import Any

from ansible.module_utils.cloud.plan import Plan, plan
from ansible.module_utils.cloud.survey import Quota, Survey
from ansible.module_utils.cloud.wish import Wish

from tests.support.cloud_resources import (
    Address,
    Flavor,
    Group,
    Image,
    Network,
    Port,
    Rule,
    Server,
    Volume,
    replace,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrI0Ck5d8lq1Yxk3mFWqg7J9t3Zc1mYb5m0b6bDk0aA operator"
CONTACT = {
    "account": "cloud_1",
    "name": "Ane Hansen",
    "email": "ane@example.dk",
    "phone": "+45 1",
    "credits": "yes",
}
WISH = Wish(
    tenant="dk",
    entry="cdse-dk",
    image="Ubuntu 24.04 LTS",
    flavor="eo2.2xlarge",
    network="cloud_1",
    eodata_network="eodata",
    external_network="external",
    volume_gb=200,
    volume_type="ssd",
    ssh_cidrs=["192.0.2.0/24"],
    database_cidrs=["world"],
    authorized_keys=[KEY],
    contact=CONTACT,
)
FLAVORS = [
    Flavor("eo1.large", 4, 8192, "1"),
    Flavor("eo2.2xlarge", 8, 32768, "2"),
    Flavor("eo2a.2xlarge", 8, 32768, "3"),
    Flavor("hm.2xlarge", 16, 131072, "4"),
]
EMPTY = Survey(
    region="WAW3-2",
    flavors=FLAVORS,
    images=[
        Image("img-old", "Ubuntu 24.04 LTS", created="2026-05-01T00:00:00Z"),
        Image("img-new", "Ubuntu 24.04 LTS", created="2026-11-01T00:00:00Z"),
    ],
    networks=[
        Network("net-1", "cloud_1"),
        Network("net-e", "eodata"),
        Network("net-x", "external", external=True),
    ],
    volume_types=["ssd", "hdd"],
    quotas={
        "instances": Quota(5, 1),
        "cores": Quota(20, 4),
        "ram": Quota(65536, 8192),
        "volumes": Quota(-1, 3),
        "gigabytes": Quota(1000, 100),
        "floating_ips": Quota(5, 1),
        "security_groups": Quota(10, 2),
        "security_group_rules": Quota(100, 10),
    },
)
MARK = "cbm-onboarding: dk"


def rule(number: int, **facts: Any) -> Rule:
    return Rule(**({"direction": "ingress", "ether_type": "IPv4", "id": f"rule-{number}"} | facts))


RULES = [
    rule(1, protocol="tcp", port_min=22, port_max=22, remote_ip="192.0.2.0/24"),
    rule(2, protocol="tcp", port_min=11039, port_max=11039, remote_ip="0.0.0.0/0"),
    rule(3, protocol="tcp", port_min=11039, port_max=11039, remote_ip="::/0", ether_type="IPv6"),
    rule(4, direction="egress"),
    rule(5, direction="egress", ether_type="IPv6"),
]
GROUP = Group("group-1", "cbm-dk", MARK, RULES)
SERVER = Server(
    "server-1", "cbm-dk", flavor="eo2.2xlarge", metadata={"cbm_tenant": "dk"}, addresses=["10.0.0.5"]
)
VOLUME = Volume("volume-1", "cbm-dk-data", 200, "in-use", "ssd", {"cbm_tenant": "dk"}, ["server-1"])
PORT = Port("port-1", "cbm-dk", "net-1", MARK, "server-1", ["group-1"], ["10.0.0.5"])
EODATA_PORT = Port("port-2", "cbm-dk-eodata", "net-e", MARK, "server-1", ["group-1"], ["10.111.0.5"])
ADDRESS = Address("fip-1", "203.0.113.5", MARK, "port-1", "net-x")
WHOLE = replace(
    EMPTY,
    servers=[SERVER],
    volumes=[VOLUME],
    groups=[Group("group-0", "default"), GROUP],
    ports=[PORT, EODATA_PORT],
    addresses=[ADDRESS],
)
STRANGER = Server("server-9", "web")


def made(wish: Wish = WISH, survey: Survey = WHOLE) -> Plan:
    return plan(wish, survey, {})


def planned(wish: Wish = WISH, survey: Survey = WHOLE) -> dict[str, Any]:
    return made(wish, survey).answer()


def sentences(wish: Wish = WISH, survey: Survey = WHOLE) -> list[str]:
    return [problem["text"] for problem in planned(wish, survey)["problems"]]


def check(wish: Wish, survey: Survey, name: str) -> list[tuple[str, str]]:
    return [(each.state, each.found) for each in made(wish, survey).findings.checks if each.check == name]
