"""An inventory's judgement by the roles of this project."""

from typing import Any

import yaml
from ansible.module_utils.inventory.judge import problems
from ansible.module_utils.inventory.specification import read

from tests.conftest import REPOSITORY

SPECIFICATION = read(REPOSITORY / "roles")
# variables that the playbooks set for the roles
MAPPED = yaml.safe_load((REPOSITORY / "playbooks/group_vars/all.yml").read_text())
NAME = "Use lower-case letters, digits, _ and -, beginning with a letter or a digit, at most 40 characters."


def said(values: dict[str, Any], *further: str) -> list[str]:
    """Sentences on the values of variables, and on further names."""
    names = [*values, *further]
    return [one.sentence for one in problems("dk", values, SPECIFICATION, names=names)]
