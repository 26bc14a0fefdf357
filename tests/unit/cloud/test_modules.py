"""The cloud's Ansible modules as Ansible calls them, with a cloud of plain data."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.cloud import module as shared
from ansible.module_utils.cloud.answers import volume_fault
from ansible.module_utils.cloud.findings import StoppedError
from ansible.module_utils.cloud.wish import argument_spec
from keystoneauth1.exceptions import ConnectFailure
from openstack import exceptions

from tests.conftest import REPOSITORY
from tests.support.cloud_resources import replace
from tests.support.cloud_tenant import GROUP, RULES, rule
from tests.support.plugins import load
from tests.unit.cloud.conftest import Run
from tests.unit.cloud.test_console import BLOCK, ECDSA, ED, RSA

NAMES = ("cloud_tenant", "cloud_tenant_absent", "cloud_host_key")
REFUSED = StoppedError("credentials", "refused", "cdse-dk", "Keystone says no", "ask it again")
NOT_FOUND = exceptions.NotFoundException("no such thing")


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_is_what_ansible_reads(name: str) -> None:
    module = load("modules", name)
    documented = yaml.safe_load(module.DOCUMENTATION)
    assert documented["module"] == name
    (example,) = yaml.safe_load(module.EXAMPLES)
    (call,) = (example[key] for key in example if key == name)
    assert set(call) <= set(documented["options"])


def test_the_options_are_those_of_the_role() -> None:
    role = yaml.safe_load((REPOSITORY / "roles/tenant_cloud/meta/argument_specs.yml").read_text())
    options = role["argument_specs"]["offboard"]["options"]
    known = {
        name.removeprefix("tenant_cloud_"): (
            option["type"].replace("path", "str"),
            option.get("elements"),
        )
        for name, option in options.items()
    }
    spec = argument_spec()
    assert {name: (option["type"], option.get("elements")) for name, option in spec.items()} == known
    assert [name for name, option in spec.items() if option["required"]] == ["tenant"]


def test_the_steps_are_those_documented() -> None:
    for name, steps in (
        ("cloud_tenant", shared.present.STEPS),
        ("cloud_tenant_absent", shared.absent.STEPS),
    ):
        documented = yaml.safe_load(load("modules", name).DOCUMENTATION)["options"]["step"]
        assert documented["choices"] == ["", *steps]


GONE: dict[str, Any] = {"servers": [], "ports": [], "groups": [], "addresses": []}


@pytest.mark.parametrize(
    ("name", "lines", "facts", "changed", "headers"),
    [
        ("cloud_tenant", {}, {}, False, []),
        ("cloud_tenant", {"volume_gb": 250}, {}, True, ["volume cbm-dk-data"]),
        ("cloud_tenant", {"volume_gb": 100}, {}, False, ["volume cbm-dk-data: reported only, never done"]),
        (
            "cloud_tenant",
            {},
            {
                "groups": [
                    replace(GROUP, rules=[*RULES, rule(9, protocol="tcp", port_min=3389, port_max=3389)])
                ]
            },
            True,
            ["security group cbm-dk"],
        ),
        ("cloud_tenant_absent", {}, GONE, False, []),
        ("cloud_tenant_absent", {"delete_data": True}, GONE, True, ["data volume cbm-dk-data"]),
        # nothing is done before the problem is solved
        ("cloud_tenant", {"volume_gb": 250, "authorized_keys": []}, {}, False, ["volume cbm-dk-data"]),
    ],
)
def test_check_mode_tells_what_would_change(  # noqa: PLR0917
    run: Run, name: str, lines: dict[str, Any], facts: dict[str, Any], changed: bool, headers: list[str]
) -> None:
    run.surveyed(**facts)
    answer = run(name, lines, check=True)
    assert answer.get("changed", False) is changed
    assert [each["before_header"] for each in answer["diff"]] == headers
    assert answer.get("failed", False) is bool(answer["problems"])


def test_a_cloud_that_cannot_be_asked_is_a_problem(run: Run) -> None:
    run.connected(REFUSED)
    for name in ("cloud_tenant", "cloud_tenant_absent"):
        for check in (True, False):
            answer = run(name, check=check)
            assert (answer["failed"], answer["msg"]) == (True, "Keystone says no; ask it again.")
            assert answer["problems"] == [
                {
                    "code": "credentials.refused",
                    "option": "tenant_cloud",
                    "message": "Keystone says no",
                    "hint": "ask it again",
                    "text": "Keystone says no; ask it again.",
                }
            ]
            assert answer["table"]


class Nova:
    """Answers with one log after the other, the last one for ever."""

    def __init__(self, *logs: str | Exception, there: bool = True) -> None:
        self.compute, self._logs, self._there = self, list(logs), there

    def get_server_console_output(self, _server: str) -> dict[str, str]:
        log = self._logs.pop(0) if len(self._logs) > 1 else self._logs[0]
        if isinstance(log, Exception):
            raise log
        return {"output": log}

    def get_server(self, server: str) -> str:
        if not self._there:
            raise NOT_FOUND
        return server


HOST_KEY = {"server": "server-1"}
BY_HAND = (
    "open the console on the cloud's web page, and write the keys shown there in tenant_cloud_host_keys."
)


@pytest.mark.parametrize("check", [False, True])
def test_host_keys_are_read_when_they_are_there(run: Run, check: bool) -> None:
    run.connected(Nova(NOT_FOUND, "", BLOCK[:60], BLOCK))
    answer = run("cloud_host_key", check=check, interval=0.01, **HOST_KEY)
    assert (answer["changed"], answer["host_keys"], answer["source"]) == (False, [ECDSA, ED, RSA], "console")


def test_host_keys_that_are_known_are_not_read_again(run: Run, tmp_path: Path) -> None:
    run.connected(Nova(BLOCK))
    lines = {"state_dir": str(tmp_path)}
    answer = run("cloud_host_key", lines | {"host_keys": [RSA]}, **HOST_KEY)
    assert (answer["host_keys"], answer["source"]) == ([RSA], "inventory")
    for written, source in (
        ("server_id: server-1\nhost_keys: console\n", "recorded"),
        # before it was written where the keys are from
        ("server_id: server-1\n", "recorded"),
        ("server_id: server-1\nhost_keys: inventory\n", "console"),
        ("server_id: server-0\nhost_keys: console\n", "console"),
    ):
        (tmp_path / "cloud.yml").write_text(written)
        (tmp_path / "known_hosts").touch()
        assert run("cloud_host_key", lines, **HOST_KEY)["source"] == source
    (tmp_path / "cloud.yml").write_text("server_id: server-1\n")
    (tmp_path / "known_hosts").unlink()
    assert run("cloud_host_key", lines, **HOST_KEY)["source"] == "console"


def test_a_console_that_does_not_tell(run: Run) -> None:
    def refusal() -> exceptions.HttpException:
        error = exceptions.HttpException("not allowed")
        error.status_code = 403
        return error

    for nova, reason, console in (
        (Nova(""), "its console says nothing", []),
        (Nova("booting\nlogin:"), "its console does not show them", ["booting", "login:"]),
        (Nova(NOT_FOUND), "the cloud shows no console", []),
        (Nova(refusal()), "the cloud does not show its console, 403: not allowed", []),
    ):
        run.connected(nova)
        answer = run("cloud_host_key", {"ssh_timeout": 0}, **HOST_KEY)
        assert (
            answer["msg"]
            == f"The server server-1 did not show its host keys within 0 s ({reason}); {BY_HAND}"
        )
        assert answer["console"] == console
        assert [each["code"] for each in answer["problems"]] == ["host_keys.unreadable"]


def test_a_server_that_is_not_there_has_no_keys(run: Run) -> None:
    run.connected(Nova(NOT_FOUND, there=False))
    answer = run("cloud_host_key", **HOST_KEY)
    assert answer["msg"] == "The server server-1 does not exist; run playbooks/cloud.yml again."
    run.connected(REFUSED)
    assert run("cloud_host_key", **HOST_KEY)["msg"] == "Keystone says no; ask it again."


def cinder(answer: Any) -> SimpleNamespace:
    """Answers one question about messages, or raises."""

    def get(_path: str, *, params: dict[str, str], **_: Any) -> Any:
        assert params == {"resource_uuid": "volume-1"}
        if isinstance(answer, Exception):
            raise answer
        status, messages = answer
        return SimpleNamespace(status_code=status, json=lambda: {"messages": messages})

    return SimpleNamespace(block_storage=SimpleNamespace(get=get))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        # in the words and the order of Cinder 21
        (
            (
                200,
                [
                    {"created_at": "2026-11-28T16:55:50.000000", "user_message": "create volume:No room."},
                    {"created_at": "2026-11-28T16:55:40.000000", "user_message": "schedule: No backend."},
                ],
            ),
            "create volume:No room",
        ),
        ((200, []), "the cloud stated no reason"),
        ((404, []), "the cloud does not state the reason (404)"),
        ((200, [{}]), "the cloud does not state the reason: 'created_at'"),
        (exceptions.SDKException("no version 3.5"), "the cloud does not state the reason: no version 3.5"),
        (ConnectFailure("no route"), "the cloud does not state the reason: no route"),
    ],
)
def test_why_a_volume_was_not_made(answer: Any, reason: str) -> None:
    assert volume_fault(cinder(answer), "volume-1") == reason
