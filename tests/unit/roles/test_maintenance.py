"""The role `maintenance`: its steps are commands of `cbmctl maintain`, and check mode only asks."""

from pathlib import Path

import pytest

from tests.support.role_plays import play
from tests.unit.run.test_run import fake

CBMCTL = """
echo "$*" >> "$(dirname "$0")/calls"
echo '{"changed": true, "tables": ["sigs: 3 rows"]}'
"""


@pytest.mark.parametrize("check", [False, True])
def test_steps_are_run_in_order(tmp_path: Path, check: bool) -> None:
    fake(tmp_path / "cbmctl", CBMCTL)
    role = {"ansible.builtin.include_role": {"name": "maintenance"}}
    hosts = {"default": {}, "chosen": {"maintenance_steps": ["purge", "compact", "archive"]}}
    defaults = {"cbmctl": {"executable": str(tmp_path / "cbmctl")}}
    said = play(tmp_path, hosts, {"block": [role], "module_defaults": defaults}, check=check)
    suffix = " --check" if check else ""
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sorted(calls) == sorted(
        f"--json maintain {step}{suffix}"
        for step in ("compact", "purge", "vacuum", "archive /data/cbm/archive/season")
    )
    assert calls.index(f"--json maintain purge{suffix}") < calls.index(f"--json maintain compact{suffix}")
    assert said.count("sigs: 3 rows") >= 4


def test_an_archive_in_s3(tmp_path: Path) -> None:
    fake(tmp_path / "cbmctl", CBMCTL)
    role = {"ansible.builtin.include_role": {"name": "maintenance"}}
    lines = {"maintenance_steps": ["archive"], "maintenance_archive": "s3://seasons/dk/2021"}
    defaults = {"cbmctl": {"executable": str(tmp_path / "cbmctl")}}
    play(tmp_path, {"host": lines}, {"block": [role], "module_defaults": defaults})
    assert (tmp_path / "calls").read_text() == "--json maintain archive s3://seasons/dk/2021\n"


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    role = {"ansible.builtin.include_role": {"name": "maintenance"}}
    said = " ".join(play(tmp_path, {"host": {"maintenance_steps": ["drop"]}}, role).split())
    assert (
        "value of maintenance_steps must be one or more of: purge, vacuum, compact, cluster, archive" in said
    )
