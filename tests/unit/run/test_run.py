"""`./run` and its set-up: what needs neither root nor an engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

RUN = REPOSITORY / "run"


def run(*arguments: str, cwd: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUN, *arguments], cwd=cwd, capture_output=True, text=True, env=os.environ | environment, check=False
    )


def test_without_a_task_it_lists_the_tasks() -> None:
    answer = run()
    assert answer.returncode == 0
    assert answer.stdout == run("help").stdout


def test_every_listed_task_exists() -> None:
    listed = re.findall(r"^  ([a-z-]+) ", run("help").stdout, re.MULTILINE)
    offered = re.search(r"^  (demo [a-z |-]+)\)$", RUN.read_text(), re.MULTILINE)
    assert offered is not None
    assert set(listed) == {*offered[1].split(" | "), "lock", "help"}


def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    answer = run("bench-mark", cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith("There is no task bench-mark.\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="the task would ask for sudo")
@pytest.mark.parametrize(
    ("given", "complaint"),
    [("nowhere", "DATA=nowhere: there is no such directory"), (".", "holds no eodata directory")],
)
def test_wrong_data_is_refused_before_anything_is_set_up(tmp_path: Path, given: str, complaint: str) -> None:
    answer = run("demo", f"DATA={given}", cwd=tmp_path)
    assert answer.returncode == 1
    assert complaint in answer.stderr
    assert answer.stdout == ""


def test_help_needs_only_coreutils(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "realpath", "cat"):
        (tmp_path / tool).symlink_to(Path(shutil.which(tool) or tool))
    answer = run("help", PATH=str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    assert "demo" in answer.stdout


def set_up_python(project: Path, bin_directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """scripts/setup-python in a copy of the project, with the commands in `bin_directory` only."""
    shutil.copytree(REPOSITORY / "scripts", project / "scripts")
    for name in ("requirements.lock", "pyproject.toml"):
        (project / name).write_text("")
    for tool in ("bash", "dirname", "cat", "sha256sum", "cut", "rm", "mkdir"):
        (bin_directory / tool).symlink_to(Path(shutil.which(tool) or tool))
    return subprocess.run(
        [project / "scripts" / "setup-python"],
        capture_output=True,
        text=True,
        env={"PATH": str(bin_directory), "HOME": str(project), **environment},
        check=False,
    )


def fake(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_a_new_python_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    # an old Python that has venv, and a uv that cannot download
    commands = tmp_path / "bin"
    fake(commands / "python3", 'case "$2" in *version_info*) exit 1 ;; esac')
    fake(commands / "uv", "exit 1")
    answer = set_up_python(tmp_path / "project", commands)
    assert answer.returncode == 1
    assert "No Python 3.12 or newer is on PATH or in pyenv, and uv could not fetch one." in answer.stderr
    assert "By hand:" in answer.stderr


def test_a_python_in_pyenv_is_found(tmp_path: Path) -> None:
    commands, pyenv = tmp_path / "bin", tmp_path / "pyenv"
    fake(commands / "python3", "exit 1")
    # it suits, and tells where it is; making the environment with it is cut short here
    fake(
        pyenv / "versions" / "3.12.1" / "bin" / "python3",
        'case "$*" in *sys.executable*) echo "$0" ;; *"-m venv"*) exit 7 ;; esac',
    )
    answer = set_up_python(tmp_path / "project", commands, PYENV_ROOT=str(pyenv))
    assert answer.returncode == 7
    assert f"with {pyenv}/versions/3.12.1/bin/python3" in answer.stderr


def test_a_complete_environment_is_left_alone_and_a_half_made_one_is_not(tmp_path: Path) -> None:
    project, commands = tmp_path / "project", tmp_path / "bin"
    commands.mkdir()
    fake(project / ".venv" / "bin" / "python", "exit 0")
    fake(commands / "python3.12", 'case "$*" in *sys.executable*) echo "$0" ;; *"-m venv"*) exit 7 ;; esac')
    assert set_up_python(project, commands).returncode == 7, "no mark of completion: made anew"

    fake(project / ".venv" / "bin" / "python", "exit 0")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (project / ".venv" / ".complete").write_text(f"{empty}\n")
    again = subprocess.run([project / "scripts" / "setup-python"], env={"PATH": str(commands)}, check=False)
    assert again.returncode == 0


def test_an_active_environment_lends_the_python_it_was_made_with(tmp_path: Path) -> None:
    # making .venv anew begins with removing it, and with it the interpreter that is first on PATH
    commands = tmp_path / "bin"
    commands.mkdir()
    behind = Path(sys.executable).resolve()
    (commands / "python3.12").symlink_to(behind)
    answer = set_up_python(tmp_path / "project", commands)
    assert f"with {behind} (" in answer.stderr
