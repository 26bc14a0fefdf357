"""Packages that apt cannot install: its reason, and sources that fail. Molecule has the real apt."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.plugins import load

packages = load("action", "packages")

SOURCE = "The package source http://mirror.invalid/debian fails: Could not resolve 'mirror.invalid'."
READY = {"changed": False, "lists": True, "failing_sources": [], "warnings": ["a warning of apt_ready"]}
ABSENT = {
    "failed": True,
    "exception": "what Ansible prints first",
    "msg": "No package matching 'site-engine' is available",
}
CORRECT = "Correct or remove the package source in /etc/apt, and run this again."


def installed(
    monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any], **asked: Any
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """What the action returns, and the modules that it has run, whose answers are given."""
    asked = asked or {"name": "site-engine"}
    action = packages.ActionModule.__new__(packages.ActionModule)
    action._task = SimpleNamespace(args=asked)
    calls: list[tuple[str, dict[str, Any]]] = []
    left = list(answers)

    def run(name: str, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        calls.append((name, arguments))
        return dict(left.pop(0))

    monkeypatch.setattr(packages.ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(action, "_execute_module", run)
    result = action.run(task_vars={})
    assert left == []
    return result, calls


def test_a_package_that_only_a_failing_source_has_is_reported_with_the_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if the lists are fresh, so that apt has not asked the source in this run."""
    expected = (
        f"Apt cannot install site-engine: No package matching 'site-engine' is available. {SOURCE} {CORRECT}"
    )
    again = READY | {"failing_sources": [SOURCE]}
    result, calls = installed(monkeypatch, READY, ABSENT, again)
    assert result["failed"]
    assert "exception" not in result
    assert result["msg"] == expected
    assert calls[2] == ("apt_ready", {"lock_timeout": 600, "lists_valid_seconds": 0})
    result, _ = installed(monkeypatch, READY | {"failing_sources": [SOURCE]}, ABSENT)
    assert result["msg"] == expected
    # all sources are gone
    result, _ = installed(monkeypatch, READY, ABSENT, {"failed": True, "msg": SOURCE})
    assert result["msg"] == expected


def test_a_package_that_no_source_has_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = installed(monkeypatch, READY, ABSENT, READY)
    assert result["msg"] == (
        "Apt cannot install site-engine: No package matching 'site-engine' is available."
        " Add a package source that has the package to /etc/apt, and run this again."
    )


@pytest.mark.parametrize(
    ("told", "asked", "expected"),
    [
        (
            "'apt-get install 'a'' failed: E: Failed to fetch http://m.invalid/a.deb  404  Not Found\n"
            "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?\n",
            {"name": ["a", "b"]},
            "Apt cannot install a, b: Failed to fetch http://m.invalid/a.deb  404  Not Found;"
            " Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?.",
        ),
        ("", {"upgrade": True}, "Apt cannot upgrade the installed packages: apt printed nothing."),
    ],
)
def test_the_reason_is_what_apt_says(
    monkeypatch: pytest.MonkeyPatch, told: str, asked: dict[str, Any], expected: str
) -> None:
    result, _ = installed(monkeypatch, READY, {"failed": True, "msg": told}, READY, **asked)
    assert result["msg"] == expected


def test_nothing_is_installed_without_lists_or_with_an_interrupted_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result, calls = installed(monkeypatch, READY | {"lists": False})
    assert (result["changed"], len(calls)) == (False, 1)
    broken = {"failed": True, "msg": "The interrupted installation of hello cannot be completed: no space."}
    assert installed(monkeypatch, broken)[0] == broken


def test_an_empty_list_of_packages_upgrades_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = installed(monkeypatch, READY, {"changed": False}, name=[])
    assert (calls[1][1]["name"], "upgrade" in calls[1][1]) == ([], False)


def test_a_completed_installation_is_a_change_and_warnings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    done = {"changed": False, "warnings": ["a warning of apt"]}
    result, calls = installed(
        monkeypatch, READY | {"changed": True}, done, upgrade=True, lists_valid_seconds=60
    )
    assert result["changed"]
    assert result["warnings"] == ["a warning of apt_ready", "a warning of apt"]
    assert calls[0] == ("apt_ready", {"lock_timeout": 600, "lists_valid_seconds": 60})
    assert calls[1][1]["upgrade"] == "dist"
