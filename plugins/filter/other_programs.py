"""What other programs mean by what they print."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils import other_programs  # noqa: E402

DOCUMENTATION = r"""
name: other_programs
short_description: Why another program failed
description:
  - C(s3fs_failure) takes lines of the journal of s3fs. C(ssh_failure) takes a failed login's message.
    Both give C(code) and C(said).
  - C(docker_missing) is whether Docker's stderr says that a container or service does not exist.
  - C(filesystem_grown) is whether the message of C(community.general.filesystem) says that it enlarged one.
  - C(last_line) is the last line of a text.
  - C(http_failure) takes the message of a failed C(ansible.builtin.uri), and gives the reason.
options:
  _input:
    description: What the program printed.
    type: raw
    required: true
"""
EXAMPLES = r"""
---
code: "{{ journal.stdout_lines | s3fs_failure }}"
"""
RETURN = "_value: {description: Code and reason, or the reason., type: raw}"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {
            "s3fs_failure": other_programs.s3fs,
            "ssh_failure": other_programs.ssh,
            "http_failure": other_programs.http,
            "docker_missing": other_programs.docker_missing,
            "filesystem_grown": other_programs.grown,
            "last_line": other_programs.last_line,
        }
