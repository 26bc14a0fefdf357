"""The steps of `./run test`: which of how many, what else is running, and where the CPU time went."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
ID = "5f" * 32


def shell(directory: Path, script: str) -> subprocess.CompletedProcess[str]:
    sources = "".join(f". {SCRIPTS}/{name}.sh; " for name in ("lib", "lanes", "steps"))
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", sources + script],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def cpu_minutes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cpu_minutes", SCRIPTS / "cpu_minutes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_step_says_which_of_how_many_it_is(tmp_path: Path) -> None:
    said = shell(tmp_path, 'begin_steps 2; step one true; step two true; cut -f1 "$steps/done"').stdout
    assert "=== one (step 1 of 2, 0 min so far)\n" in said
    assert "=== two (step 2 of 2, 0 min so far)\n" in said
    assert said.endswith("one\ntwo\n")


def test_a_step_says_what_is_running_beside_it(tmp_path: Path) -> None:
    lanes = """
        long() { step long bash -c 'touch started; until [ -e end ]; do sleep 0.1; done'; }
        short() { until [ -e started ]; do sleep 0.1; done; step short touch end; }
        begin_steps 2; side_by_side a long + b short"""
    assert (
        "b       | === short (step 2 of 2, 0 min so far; also running: long)\n"
        in shell(tmp_path, lanes).stdout
    )


def test_the_steps_of_lanes_are_counted_and_not_run(tmp_path: Path) -> None:
    lanes = """
        two() { step one touch ran; step another touch ran; }
        three() { side_by_side a two + b step one touch ran; }
        count_steps two three"""
    assert shell(tmp_path, lanes).stdout.strip() == "5"
    assert not (tmp_path / "ran").exists()


def test_a_step_that_fails_is_named_and_ends_the_task(tmp_path: Path) -> None:
    answer = shell(tmp_path, "begin_steps 2; step one false; step two true")
    assert answer.returncode == 1
    assert re.search(r"^Failed after \d+ s: one \(false\)$", answer.stderr, re.MULTILINE)
    assert "two" not in answer.stdout


def test_a_step_costs_what_its_processes_have_worked(tmp_path: Path) -> None:
    work = f"{sys.executable} -c 'import time\nwhile time.process_time() < 1.2: pass'"
    said = shell(
        tmp_path, f'begin_steps; step idle sleep 1; step busy {work}; cut -f1,3 "$steps/done"'
    ).stdout
    idle, busy = (line.split("\t") for line in said.splitlines()[-2:])
    assert idle == ["idle", "0"]
    assert busy[0] == "busy"
    assert int(busy[1]) >= 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (f"sys/fs/cgroup/cpu,cpuacct/docker/{ID}/cpuacct.usage", "2500000000\n"),
        (f"sys/fs/cgroup/docker/{ID}/cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
        (f"sys/fs/cgroup/system.slice/docker-{ID}.scope/cpu.stat", "usage_usec 2500000\n"),
    ],
)
def test_containers_are_found_in_every_layout_of_control_groups(
    tmp_path: Path, cpu_minutes: ModuleType, file: str, text: str
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert cpu_minutes.container_seconds(tmp_path) == {ID: 2.5}


def test_table_and_progress(tmp_path: Path, cpu_minutes: ModuleType) -> None:
    for name, text in {
        "total": "3",
        "started": "0",
        "done": "pytest\t300\t240\n",
        "running.2": "molecule default\n",
        "containers.json": '{"containers of pytest": 60, "the whole machine": 600}',
    }.items():
        (tmp_path / name).write_text(text)
    assert cpu_minutes.progress(tmp_path).endswith("1 of 3 steps done; running: molecule default")
    assert cpu_minutes.table(tmp_path).splitlines() == [
        "step                  minutes  CPU minutes",
        "pytest                    5.0          4.0",
        "containers of pytest                   1.0",
        "the whole machine                     10.0",
    ]
    assert cpu_minutes.owner("cbm-lab-debian12") == "lab VMs and servers of molecule default"
    assert cpu_minutes.owner("sleepy_hopper") == "image builds and other containers"
