"""The linters of ./run lint and of pre-commit are the same commands."""

import re

import yaml

from tests.conftest import REPOSITORY


def test_pre_commit_runs_the_linters_of_run_lint() -> None:
    task = re.search(r"^lint\(\) \{\n(.*?)^\}", (REPOSITORY / "run").read_text(), re.MULTILINE | re.DOTALL)
    assert task is not None
    # shellcheck gets the names of scripts, which pre-commit knows too
    steps = re.findall(r'^  step "(.*?)" (.*?)(?: "\$\{scripts\[@\]\}")?$', task[1], re.MULTILINE)
    assert steps
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [(hook["name"], hook["entry"].removeprefix(".venv/bin/")) for hook in local["hooks"]]
    assert hooks == steps
