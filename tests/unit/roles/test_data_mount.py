"""The data volume may be mounted anywhere: one variable says where, and every path follows it."""

import re

import yaml

from tests.conftest import REPOSITORY
from tests.support.inventories import MAPPED

# the container's own directory, and words such as /database
FIXED = re.compile(r"(?<![\w}])/data\b(?!base)")


def test_a_default_on_the_data_volume_follows_its_mount_point() -> None:
    found = {
        name: MAPPED.get(name, "")
        for file in REPOSITORY.glob("roles/*/defaults/main.yml")
        for name, value in yaml.safe_load(file.read_text()).items()
        if str(value).startswith("/data") and not name.startswith(("tenant_", "precheck_"))
    }
    assert len(found) >= 8
    fixed = {name for name, value in found.items() if not value.startswith("{{") or FIXED.search(value)}
    assert not fixed


def test_no_task_or_template_names_the_usual_mount_point() -> None:
    files = [file for part in ("tasks", "templates", "vars") for file in REPOSITORY.glob(f"roles/*/{part}/*")]
    files += [REPOSITORY / "playbooks/group_vars/all.yml", *REPOSITORY.glob("playbooks/*.yml")]
    assert len(files) > 80
    lines = [f"{file}: {line}" for file in files for line in file.read_text().splitlines()]
    assert not [line for line in lines if FIXED.search(line)]
