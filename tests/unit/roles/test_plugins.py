"""Our plugins for Ansible: what they make of a command's answer, and how they put numbers into words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cbmctl.errors import NotSetUpError
from tests.support.plugins import PLUGINS, load

ANSWER = '{"changed": true, "parcels": 3}'


progress = load("action", "extraction_progress")
stages = load("callback", "stages")


def run_module(directory: Path, script: str | None, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module cbmctl as a process, with a script in the command's place that keeps its arguments."""
    executable = directory / "cbmctl"
    if script is not None:
        executable.write_text(f'#!/bin/sh\necho "$@" > {directory}/arguments\n{script}\n')
        executable.chmod(0o755)
    asked = {"arguments": ["parcels", "load"], "executable": str(executable), "_ansible_check_mode": check}
    # as Ansible does: with the project's module_utils, and as a program without arguments
    program = (
        f"import runpy; runpy.run_path({str(PLUGINS / 'module_utils_path.py')!r});"
        f" runpy.run_path({str(PLUGINS / 'modules' / 'cbmctl.py')!r}, run_name='__main__')"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": asked | options}),
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


def arguments(directory: Path) -> str:
    return (directory / "arguments").read_text().strip()


def test_the_commands_json_is_the_result(tmp_path: Path) -> None:
    notes = "echo 'loading: 1 of 2' >&2; echo 'three parcels overlap' >&2;"
    result = run_module(tmp_path, f"{notes} echo '{ANSWER}'", config="/etc/cbm/db_config.json")
    assert (result["changed"], result["result"]) == (True, json.loads(ANSWER))
    assert result["notes"] == ["three parcels overlap"], "how far it was is no note"
    assert arguments(tmp_path) == "--config /etc/cbm/db_config.json --json parcels load"


def test_a_command_that_only_reads_changes_nothing(tmp_path: Path) -> None:
    result = run_module(tmp_path, f"echo '{ANSWER}'", mutates=False, check=True)
    assert result["changed"] is False
    assert arguments(tmp_path) == "--json parcels load"


def test_check_mode_is_passed_on(tmp_path: Path) -> None:
    assert run_module(tmp_path, f"echo '{ANSWER}'", check=True)["changed"] is True
    assert arguments(tmp_path) == "--json parcels load --check"


def test_a_season_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_module(tmp_path, f"echo '{ANSWER}'", season="2022")
    assert arguments(tmp_path) == "--season 2022 --json parcels load"
    monkeypatch.setenv("CBM_SEASON", "2023")
    result = run_module(tmp_path, f"[ -z \"$CBM_SEASON\" ] && echo '{ANSWER}'", season="")
    assert result["result"] == json.loads(ANSWER)
    assert arguments(tmp_path) == "--json parcels load"


def test_check_mode_before_the_configuration_of_a_season_is_there(tmp_path: Path) -> None:
    given: dict[str, Any] = {"season": "2022", "check": True, "configurations": str(tmp_path)}
    result = run_module(tmp_path, f"echo '{ANSWER}'", **given)
    assert (result["changed"], result["skipped"]) == (False, True)
    assert "season 2022 has no configuration on" in json.dumps(result["warnings"])
    (tmp_path / "db_config.2022.json").touch()
    assert run_module(tmp_path, f"echo '{ANSWER}'", **given)["changed"] is True
    assert arguments(tmp_path) == "--season 2022 --json parcels load --check"


def test_check_mode_before_the_tables_of_a_season_are_there(tmp_path: Path) -> None:
    script = f"echo 'cbmctl: The schema season_2022 does not exist' >&2; exit {NotSetUpError.exit_code}"
    given: dict[str, Any] = {"season": "2022", "configurations": str(tmp_path)}
    (tmp_path / "db_config.2022.json").touch()
    result = run_module(tmp_path, script, check=True, **given)
    assert (result["changed"], result["skipped"]) == (False, True)
    assert "season 2022 has no tables on" in json.dumps(result["warnings"])
    result = run_module(tmp_path, script, check=True)
    assert "the first season has no tables on" in json.dumps(result["warnings"])
    result = run_module(tmp_path, script, **given)
    assert (result["failed"], result["msg"]) == (True, "The schema season_2022 does not exist")
    assert run_module(tmp_path, "echo 'cbmctl: x' >&2; exit 1", check=True, **given)["failed"] is True


def test_an_error_is_data(tmp_path: Path) -> None:
    error = {"code": "parcels.no_crs", "about": "--crs", "message": "x has no CRS", "hint": "Name it"}
    script = f"echo '{json.dumps({'error': error})}'; echo 'cbmctl: x has no CRS. Name it.' >&2; exit 1"
    result = run_module(tmp_path, script)
    assert result["failed"] is True
    assert result["error"] == error | {"text": "x has no CRS. Name it."}
    assert result["msg"] == "x has no CRS. Name it."


def test_check_mode_before_the_command_is_there(tmp_path: Path) -> None:
    result = run_module(tmp_path, None, check=True)
    assert (result["changed"], result["skipped"]) == (False, True)
    assert "cbmctl is not on" in json.dumps(result["warnings"])


def test_a_missing_command_is_reported_with_the_playbook_that_installs_it(tmp_path: Path) -> None:
    result = run_module(tmp_path, None)
    assert result["failed"] is True
    assert f"{tmp_path}/cbmctl is not installed on" in result["msg"]
    assert "Run playbooks/worker_image.yml first." in result["msg"]


def test_the_text_for_people_comes_line_by_line(tmp_path: Path) -> None:
    result = run_module(tmp_path, "echo 'tasks'; echo '  10: 3 done'", text=True, mutates=False)
    assert (result["changed"], result["lines"]) == (False, ["tasks", "  10: 3 done"])
    assert arguments(tmp_path) == "parcels load"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "echo 'reading' >&2; echo 'cbmctl: x.shp has no CRS. Name it' >&2; exit 1",
            "x.shp has no CRS. Name it",
        ),
        ("echo 'docker: no such image' >&2; exit 125", "cbmctl ended with code 125: docker: no such image"),
        ("exit 137", "cbmctl ended with code 137: it printed no message"),
        ("echo no JSON", "cbmctl --json parcels load printed no JSON object"),
    ],
)
def test_a_failure_is_one_sentence(tmp_path: Path, script: str, sentence: str) -> None:
    result = run_module(tmp_path, script)
    assert result["failed"] is True
    assert result["msg"].removeprefix(f"{tmp_path}/") == sentence


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"ready": 28, "running": 0, "done": 12, "failed": 0}, "scl 12/40"),
        ({"ready": 1, "running": 1, "done": 5, "failed": 2}, "scl 5/9 (2 failed)"),
        ({"ready": 0, "running": 0, "done": 0, "failed": 0}, "scl 0/0"),
    ],
)
def test_counted(counts: dict[str, int], line: str) -> None:
    assert progress.counted("scl", counts) == line


@pytest.mark.parametrize(
    ("done", "left", "seconds", "line"),
    [
        (0, 10, 60.0, ""),
        (3, 10, 0.5, ""),
        (10, 25, 60.0, "; 10 a minute, 2 min 30 s to go"),
        (10, 0, 60.0, "; 10 a minute"),
    ],
)
def test_pace(done: int, left: int, seconds: float, line: str) -> None:
    assert progress.pace(done, left, seconds) == line


def test_the_last_line_of_a_traceback_says_what_happened() -> None:
    task = {"status": "Worker error", "reason": "Traceback\n  File\nKeyError: 'x'"}
    assert progress.cause(task) == "Worker error: KeyError: 'x'"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0.0 s"), (3.21, "3.2 s"), (59.97, "1 min 00 s"), (65.0, "1 min 05 s"), (119.7, "2 min 00 s")],
)
def test_duration(seconds: float, words: str) -> None:
    assert stages.duration(seconds) == words


def kept(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "stages.json").read_text())
    return found


def test_a_stage_is_kept_for_the_report(tmp_path: Path) -> None:
    stages.keep(tmp_path, stages.Stage("Parcels", seconds=61.26), 2)
    stages.keep(tmp_path, stages.Stage("Report", seconds=1.0), 0)
    found = kept(tmp_path)
    assert {name: (stage["seconds"], stage["changed"]) for name, stage in found.items()} == {
        "Parcels": (61.3, 2),
        "Report": (1.0, 0),
    }


def test_a_run_that_changes_nothing_does_not_hide_one_that_did(tmp_path: Path) -> None:
    stages.keep(tmp_path, stages.Stage("Parcels", seconds=60.0), 2)
    stages.keep(tmp_path, stages.Stage("Parcels", seconds=1.0), 0)
    assert kept(tmp_path)["Parcels"]["seconds"] == 60.0
    stages.keep(tmp_path, stages.Stage("Parcels", seconds=30.0), 1)
    assert kept(tmp_path)["Parcels"]["seconds"] == 30.0


def test_the_first_stage_of_a_tenant_makes_its_private_directory(tmp_path: Path) -> None:
    stages.keep(tmp_path / "si", stages.Stage("Checks beforehand"), 0)
    assert (tmp_path / "si").stat().st_mode & 0o777 == 0o700
    assert list(json.loads((tmp_path / "si" / "stages.json").read_text())) == ["Checks beforehand"]
