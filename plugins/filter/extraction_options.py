"""The options of the extraction, from the inventory's lines to db_config.json."""

from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean

try:
    from cbmctl.config import options

    MISSING = ""
except ImportError as error:
    MISSING = f"Ansible's Python has no cbmctl ({error}). Run scripts/setup-python, and Ansible from .venv."

DOCUMENTATION = r"""
name: extraction_options
short_description: Options of the extraction
description:
  - C(extraction_lines) are the names of the inventory's lines, with a prefix.
  - C(extraction_section) is the section C(extraction) of db_config.json with their values, in the same order.
options:
  _input:
    description: The prefix, or the values.
    type: raw
    required: true
"""
EXAMPLES = r"""
---
extraction: "{{ query('ansible.builtin.vars', *('tenant_' | extraction_lines)) | extraction_section }}"
"""
RETURN = "_value: {description: The names, or the section., type: raw}"


def lines(prefix: str) -> list[str]:
    """Names of the lines."""
    if MISSING:
        raise AnsibleFilterError(MISSING)
    return [f"{prefix}{option.name}" for option in options.OPTIONS]


def section(values: Sequence[Any]) -> dict[str, Any]:
    """The section of db_config.json."""
    if MISSING:
        raise AnsibleFilterError(MISSING)
    named = {
        # a line may be `yes`, or an expression whose result is a text
        option.name: boolean(value) if option.kind is bool else value
        for option, value in zip(options.OPTIONS, values, strict=True)
    }
    return options.section_of(named)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"extraction_lines": lines, "extraction_section": section}
