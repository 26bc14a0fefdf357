"""Files with secrets on the control host that are missing, empty, or open to others."""

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.inventory.secret_files import has_keys, problems  # noqa: E402

DOCUMENTATION = r"""
name: secret_file_problems
short_description: Problems of files with secrets on the control host
description:
  - C(has_keys) is whether the file with a path has the keys of an S3 account, ACCESS_KEY:SECRET_KEY.
options:
  _input:
    description: Paths of files with one secret each, by the variable that names each; empty ones are skipped.
    type: dict
    required: true
"""
EXAMPLES = r"""
---
problems: "{{ {'tenant_orders_password_file': '~/order.password'} | secret_file_problems }}"
"""
RETURN = "_value: {description: Each with C(code) and C(sentence)., type: list, elements: dict}"


def secret_file_problems(files: Mapping[str, str]) -> list[dict[str, str]]:
    """Problems of files with secrets, each with its code and its sentence."""
    return [problem.data() for problem in problems(files)]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"secret_file_problems": secret_file_problems, "has_keys": has_keys}
