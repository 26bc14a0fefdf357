"""A project of a cloud in memory, with openstacksdk's methods; it keeps what it was asked to change."""

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from openstack import exceptions

from tests.support.cloud_resources import Address, Group, Port, Rule, Server, Volume, replace
from tests.support.cloud_tenant import EMPTY, WHOLE

MINE = {"cbm_tenant": "dk"}


class Stop(BaseException):
    """Somebody has ended the run."""


class Cloud:
    """`asked`: its changes, in order. `broken`: names of methods, with what they raise or leave behind."""

    def __init__(self, *, whole: bool = False) -> None:
        start = WHOLE if whole else EMPTY
        self.here: dict[str, list[Any]] = {
            name: [replace(each) for each in getattr(start, name)]
            for name in ("servers", "volumes", "groups", "ports", "addresses")
        }
        self.asked: list[str] = []
        self.broken: dict[str, Any] = {}
        self.interrupted_at = -1
        self.user_data = ""
        self._last = 100
        self.compute = self.network = self.block_storage = self.image = self.identity = self
        self.current_project_id, self.current_user_id = "project", "user"
        self.config = SimpleNamespace(region_name="WAW3-2", config={"auth": {}})

    def _change(self, method: str, name: str) -> None:
        if len(self.asked) == self.interrupted_at:
            raise Stop
        self.asked.append(f"{method} {name}")
        if isinstance(self.broken.get(method), Exception):
            raise self.broken[method]

    def _id(self, kind: str) -> str:
        self._last += 1
        return f"{kind}-{self._last}"

    def _one(self, kind: str, wanted: Any) -> Any:
        for each in self.here[kind]:
            if each.id == getattr(wanted, "id", wanted):
                return each
        raise exceptions.NotFoundException("no such thing")

    def _renew(self, kind: str, wanted: Any, **facts: Any) -> None:
        old = self._one(kind, wanted)
        self.here[kind][self.here[kind].index(old)] = replace(old, **facts)

    def _drop(self, kind: str, wanted: Any) -> None:
        self.here[kind] = [each for each in self.here[kind] if each.id != getattr(wanted, "id", wanted)]

    # what there is

    def flavors(self, **_: Any) -> Iterable[Any]:
        return EMPTY.flavors

    def images(self) -> Iterable[Any]:
        return EMPTY.images

    def networks(self) -> Iterable[Any]:
        return EMPTY.networks

    def types(self) -> Iterator[Any]:
        return (SimpleNamespace(name=each) for each in EMPTY.volume_types)

    def servers(self, **_: Any) -> list[Any]:
        return list(self.here["servers"])

    def volumes(self, **_: Any) -> list[Any]:
        return list(self.here["volumes"])

    def security_groups(self, **_: Any) -> list[Any]:
        return list(self.here["groups"])

    def ports(self, **_: Any) -> list[Any]:
        return list(self.here["ports"])

    def ips(self, **_: Any) -> list[Any]:
        return list(self.here["addresses"])

    def get_server(self, server: Any) -> Any:
        return self._one("servers", server)

    def get_volume(self, volume: Any) -> Any:
        return self._one("volumes", volume)

    def get_limits(self, *_: Any, **__: Any) -> Any:
        raise exceptions.ForbiddenException("no")

    get_quota_set = get_quota = get_application_credential = get_limits

    def get(self, *_: Any, **__: Any) -> Any:
        """Cinder's messages."""
        messages = [{"created_at": "1", "user_message": "schedule allocate volume:No backend."}]
        return SimpleNamespace(status_code=200, json=lambda: {"messages": messages})

    # group and ports

    def create_security_group(self, *, name: str, description: str) -> Any:
        self._change("create_security_group", name)
        out = [
            Rule(id=self._id("rule"), direction="egress", ether_type=family) for family in ("IPv4", "IPv6")
        ]
        self.here["groups"].append(Group(self._id("group"), name, description, out))
        return self.here["groups"][-1]

    def create_security_group_rule(self, *, security_group_id: str, **body: Any) -> None:
        self._change("create_security_group_rule", f"{body.get('port_range_min')}")
        rules = self._one("groups", security_group_id).given["rules"]
        self._renew("groups", security_group_id, rules=[*rules, Rule(id=self._id("rule"), **body)])

    def delete_security_group_rule(self, rule: str, *, ignore_missing: bool) -> None:
        assert ignore_missing
        self._change("delete_security_group_rule", rule)
        for each in self.here["groups"]:
            left = [one for one in each.given.get("rules", ()) if one.id != rule]
            self._renew("groups", each, rules=left)

    def delete_security_group(self, group: Any, *, ignore_missing: bool) -> None:
        assert ignore_missing
        self._change("delete_security_group", group.name)
        assert all(group.id not in port.security_group_ids for port in self.here["ports"]), "in use"
        self._drop("groups", group)

    def create_port(self, **facts: Any) -> None:
        self._change("create_port", facts["name"])
        facts["group_ids"] = facts.pop("security_group_ids")
        self.here["ports"].append(Port(self._id("port"), addresses=["10.0.0.5"], **facts))

    def update_port(self, port: str, *, security_group_ids: list[str]) -> None:
        self._change("update_port", self._one("ports", port).name)
        self._renew("ports", port, group_ids=security_group_ids)

    def delete_port(self, port: Any, *, ignore_missing: bool) -> None:
        assert ignore_missing
        self._change("delete_port", port.name)
        self._drop("ports", port)

    # volume

    def create_volume(self, *, name: str, size: int, metadata: dict[str, str], **facts: Any) -> Any:
        self._change("create_volume", name)
        status = self.broken.get("volume", "available")
        kind = facts.get("volume_type", "")
        self.here["volumes"].append(Volume(self._id("volume"), name, size, status, kind, metadata))
        return replace(self.here["volumes"][-1], status="creating")

    def extend_volume(self, volume: str, size: int) -> None:
        self._change("extend_volume", f"{volume} {size}")
        self._renew("volumes", volume, size=size)

    def delete_volume(self, volume: Any, *, ignore_missing: bool) -> None:
        assert ignore_missing
        self._change("delete_volume", volume.name)
        assert not volume.attachments, "in use"
        self._drop("volumes", volume)

    def create_volume_attachment(self, server: str, *, volume: str) -> None:
        self._change("create_volume_attachment", volume)
        self._renew("volumes", volume, status="in-use", attached_to=[server])

    def delete_volume_attachment(self, server: str, volume: str, *, ignore_missing: bool) -> None:
        assert ignore_missing
        assert self._one("servers", server).status == "SHUTOFF", "it may be writing"
        self._change("delete_volume_attachment", volume)
        self._renew("volumes", volume, status="available", attached_to=[])

    def wait_for_status(self, thing: Any, status: str, **options: Any) -> None:
        assert options["wait"]
        now = self._one("volumes", thing)
        if now.status != status:
            raise exceptions.ResourceFailure(f"{now.id} transitioned to failure state {now.status}")

    def wait_for_delete(self, thing: Any, *, wait: int) -> None:
        assert wait
        assert thing not in self.here["servers"] + self.here["volumes"]

    # server

    def create_server(self, **facts: Any) -> Any:
        self._change("create_server", facts["name"])
        assert (facts["image_id"], facts["flavor_id"]) == ("img-new", "2")
        self.user_data = facts["user_data"]
        status, fault = self.broken.get("server", ("ACTIVE", ""))
        made = Server(self._id("server"), facts["name"], status, "eo2.2xlarge", facts["metadata"], (), fault)
        self.here["servers"].append(made)
        for each in facts["networks"]:
            self._renew("ports", each["port"], device_id=made.id)
        return made

    def start_server(self, server: Any) -> None:
        self._change("start_server", server.name)
        self._renew("servers", server, status="ACTIVE")

    def stop_server(self, server: Any) -> None:
        self._change("stop_server", server.name)
        self._renew("servers", server, status="SHUTOFF")

    def wait_for_server(self, server: Any, status: str = "ACTIVE", *, wait: int) -> None:
        assert wait
        if self._one("servers", server).status != status:
            raise exceptions.ResourceFailure("Server transitioned to failure state ERROR")

    def delete_server(self, server: Any, *, ignore_missing: bool) -> None:
        assert ignore_missing
        self._change("delete_server", server.name)
        self._drop("servers", server)
        for each in self.here["ports"]:
            if each.device_id == server.id:
                self._renew("ports", each, device_id="")

    # addresses

    def create_ip(self, *, floating_network_id: str, description: str, port_id: str | None = None) -> None:
        self._change("create_ip", description)
        address = f"203.0.113.{self._last}"
        self.here["addresses"].append(
            Address(self._id("fip"), address, description, port_id, floating_network_id)
        )

    def update_ip(self, address: str, *, port_id: str | None) -> None:
        self._change("update_ip", f"{self._one('addresses', address).floating_ip_address} {port_id}")
        self._renew("addresses", address, port_id=port_id)

    def delete_ip(self, address: Any, *, ignore_missing: bool) -> None:
        assert ignore_missing
        self._change("delete_ip", address.floating_ip_address)
        self._drop("addresses", address)
