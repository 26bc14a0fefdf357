"""The cloud's Ansible modules as Ansible calls them, with a cloud of plain data."""

import json
from dataclasses import asdict, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.cloud_answers import StoppedError
from keystoneauth1.exceptions import ConnectFailure
from openstack import exceptions

from tests.support.plugins import load
from tests.unit.cloud.test_console import BLOCK, ECDSA, ED, RSA
from tests.unit.cloud.test_plan import EMPTY, GROUP, RULES, WHOLE, WISH, rule

NAMES = ("cloud_plan", "cloud_host_key", "cloud_rule_absent", "cloud_volume_reason")
LINES = {**asdict(WISH), "contact": dict(WISH.contact)}
REFUSED = StoppedError("credentials", "wrong", "cdse-dk", "Keystone says no", "ask it again")
NOT_FOUND = exceptions.NotFoundException("no such thing")


class Run:
    """Calls a module's main with arguments, as Ansible would."""

    def __init__(self, patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
        self.patch, self._output = patch, output

    def __call__(self, module: ModuleType, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        asked = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}})
        self.patch.setattr(basic, "_ANSIBLE_ARGS", asked.encode())
        self.patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        with pytest.raises(SystemExit):
            module.main()
        answer: dict[str, Any] = json.loads(self._output.readouterr().out)
        return answer

    def connected(self, module: ModuleType, connection: Any) -> None:
        """Let the module find this connection, or this error."""

        def connect(_wish: object) -> tuple[Any, list[str]]:
            if isinstance(connection, Exception):
                raise connection
            return connection, ["WAW3-2"]

        self.patch.setattr(module, "connect", connect)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_is_what_ansible_reads(name: str) -> None:
    module = load("modules", name)
    documented = yaml.safe_load(module.DOCUMENTATION)
    assert documented["module"] == name
    (example,) = yaml.safe_load(module.EXAMPLES)
    (call,) = (example[key] for key in example if key == name)
    assert set(call) <= set(documented["options"])


def test_the_options_are_those_documented() -> None:
    module = load("modules", "cloud_plan")
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    for name, option in module.arguments().items():
        known = {
            key: documented[name][key]
            for key in ("type", "elements", "default", "choices", "required")
            if key in documented[name]
        }
        assert {key: value for key, value in option.items() if key != "no_log"} == known
    assert set(documented) == set(module.arguments())


def test_outside_check_mode_the_plan_changes_nothing(run: Run) -> None:
    module = load("modules", "cloud_plan")
    run.connected(module, object())
    run.patch.setattr(module, "survey", lambda *_, **__: EMPTY)
    answer = run(module, **LINES)
    assert answer["changed"] is False
    assert "diff" not in answer
    assert len(answer["plan"]["changes"]) == 10


@pytest.mark.parametrize(
    ("lines", "facts", "changed", "headers"),
    [
        ({}, {}, False, []),
        ({"volume_gb": 250}, {}, True, ["volume cbm-dk-data"]),
        ({"volume_gb": 100}, {}, False, ["volume cbm-dk-data: reported only, never done"]),
        (
            {},
            {
                "groups": [
                    replace(GROUP, rules=[*RULES, rule(9, protocol="tcp", port_min=3389, port_max=3389)])
                ]
            },
            True,
            ["security group cbm-dk"],
        ),
        ({"state": "absent"}, {"servers": [], "ports": [], "groups": [], "addresses": []}, False, []),
        (
            {"state": "absent", "delete_data": True},
            {"servers": [], "ports": [], "groups": [], "addresses": []},
            True,
            ["data volume cbm-dk-data"],
        ),
        # nothing is done before the problem is solved
        ({"volume_gb": 250, "authorized_keys": []}, {}, False, ["volume cbm-dk-data"]),
    ],
)
def test_check_mode_tells_what_would_change(
    run: Run, lines: dict[str, Any], facts: dict[str, Any], changed: bool, headers: list[str]
) -> None:
    module = load("modules", "cloud_plan")
    run.connected(module, object())
    run.patch.setattr(module, "survey", lambda *_, **__: replace(WHOLE, **facts))
    answer = run(module, check=True, **(LINES | lines))
    assert answer["changed"] is changed
    assert [each["before_header"] for each in answer["diff"]] == headers


def test_a_cloud_that_cannot_be_asked_is_a_problem_of_the_plan(run: Run) -> None:
    module = load("modules", "cloud_plan")
    run.connected(module, REFUSED)
    for state in ("present", "absent"):
        answer = run(module, **LINES, state=state)
        assert [each["text"] for each in answer["plan"]["problems"]] == ["Keystone says no; ask it again."]
        assert "failed" not in answer


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


HOST_KEY = {"cloud": "cdse-dk", "server": "server-1"}
BY_HAND = (
    "open the console on the cloud's web page, and write the keys shown there in tenant_cloud_host_keys."
)


@pytest.mark.parametrize("check", [False, True])
def test_host_keys_are_read_when_they_are_there(run: Run, check: bool) -> None:
    module = load("modules", "cloud_host_key")
    run.connected(module, Nova(NOT_FOUND, "", BLOCK[:60], BLOCK))
    answer = run(module, check=check, interval=0.01, **HOST_KEY)
    assert (answer["changed"], answer["host_keys"]) == (False, [ECDSA, ED, RSA])


def test_a_console_that_does_not_tell(run: Run) -> None:
    module = load("modules", "cloud_host_key")

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
        run.connected(module, nova)
        answer = run(module, timeout=0, **HOST_KEY)
        assert (
            answer["msg"]
            == f"The server server-1 did not show its host keys within 0 s ({reason}); {BY_HAND}"
        )
        assert answer["console"] == console


def test_a_server_that_is_not_there_has_no_keys(run: Run) -> None:
    module = load("modules", "cloud_host_key")
    run.connected(module, Nova(NOT_FOUND, there=False))
    assert (
        run(module, **HOST_KEY)["msg"] == "The server server-1 does not exist; run playbooks/cloud.yml again."
    )
    run.connected(module, REFUSED)
    assert run(module, **HOST_KEY)["msg"] == "Keystone says no; ask it again."


@pytest.mark.parametrize(("there", "check"), [(True, False), (True, True), (False, False)])
def test_one_rule_is_removed(run: Run, there: bool, check: bool) -> None:
    module = load("modules", "cloud_rule_absent")
    rules = {"rule-1", "rule-2"} if there else {"rule-2"}
    network = SimpleNamespace(
        find_security_group_rule=lambda name, **_: name if name in rules else None,
        delete_security_group_rule=lambda name, **_: rules.remove(name),
    )
    run.connected(module, SimpleNamespace(network=network))
    assert run(module, check=check, cloud="cdse-dk", id="rule-1")["changed"] is there
    assert rules == ({"rule-1", "rule-2"} if there and check else {"rule-2"})


def test_a_rule_that_stays(run: Run) -> None:
    module = load("modules", "cloud_rule_absent")

    def refuse(*_: object, **__: object) -> None:
        raise exceptions.SDKException("no right to do that.")

    network = SimpleNamespace(find_security_group_rule=refuse)
    run.connected(module, SimpleNamespace(network=network))
    assert run(module, cloud="cdse-dk", id="rule-1")["msg"] == (
        "The rule rule-1 could not be removed: no right to do that; remove it in the cloud."
    )
    run.connected(module, REFUSED)
    assert run(module, cloud="cdse-dk", id="rule-1")["msg"] == "Keystone says no; ask it again."


VOLUME = {"cloud": "cdse-dk", "volume": "volume-1"}


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
def test_why_a_volume_was_not_made(run: Run, answer: Any, reason: str) -> None:
    module = load("modules", "cloud_volume_reason")
    run.connected(module, cinder(answer))
    told = run(module, **VOLUME)
    assert (told["changed"], told["reason"]) == (False, reason)


def test_a_cloud_that_cannot_be_asked_gives_no_reason(run: Run) -> None:
    module = load("modules", "cloud_volume_reason")
    run.connected(module, REFUSED)
    assert run(module, **VOLUME)["reason"] == "the cloud does not state the reason: Keystone says no"
