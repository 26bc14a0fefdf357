"""Certificates on the control host that are expired or not valid yet."""

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.inventory.certificates import problems, utc_now  # noqa: E402

DOCUMENTATION = r"""
name: certificate_problems
short_description: Problems of certificates on the control host
positional: made_in, keys
options:
  _input:
    description: Paths of certificates in PEM by the variable that names each; empty ones are skipped.
    type: dict
    required: true
  made_in:
    description: The folder in which this project makes certificates.
    type: path
    required: true
  keys:
    description: Paths of private keys by the variable of their certificate.
    type: dict
    default: {}
"""
EXAMPLES = r"""
---
problems: "{{ {'postgis_server_certificate': '~/server.crt'} | certificate_problems('~/pki') }}"
"""
RETURN = "_value: {description: Each with C(code) and C(sentence)., type: list, elements: dict}"


def certificate_problems(
    certificates: Mapping[str, str], made_in: str, keys: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """Problems of certificates, each with its code and its sentence."""
    found = problems(certificates, keys or {}, Path(made_in), utc_now())
    return [problem.data() for problem in found]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, str]]]]:
        """Name the filters."""
        return {"certificate_problems": certificate_problems}
