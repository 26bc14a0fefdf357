"""The seasons of a tenant, as roles take them; see plugins/module_utils/inventory/seasons.py."""

import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.inventory import seasons  # noqa: E402

DOCUMENTATION = r"""
name: seasons
short_description: Seasons of a tenant
description:
  - C(seasons) lists all seasons of a tenant, the first one first, with everything that roles need.
  - C(seasons_chosen) leaves the one with a name or a year, or all if the name is empty.
  - C(seasons_disk_gb) is the disk space that they take.
  - C(season_table), C(season_start) and C(season_end) are the defaults of a year.
positional: later
options:
  _input:
    description: What the inventory says about the first season, without C(tenant_).
    type: dict
    required: true
  later:
    description: The inventory's C(tenant_seasons).
    type: list
    required: true
"""
EXAMPLES = r"""
---
all: "{{ {'year': 2021, 'parcels_file': '/a.gpkg'} | seasons([{'year': 2022, 'parcels_file': '/b.gpkg'}]) }}"
"""
RETURN = "_value: {description: The seasons., type: list, elements: dict}"


def chosen(found: Sequence[Mapping[str, Any]], name: Any = "") -> list[Mapping[str, Any]]:
    """The season with a name, or all.

    Raises:
        AnsibleFilterError: there is no such season.
    """
    wanted = [each for each in found if str(name) in ("", each["label"])]
    if not wanted:
        known = ", ".join(str(each["label"]) for each in found)
        raise AnsibleFilterError(f"cbm_season_name: '{name}' is not a season. It must be one of: {known}.")
    return wanted


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {
            "season_end": seasons.end,
            "season_start": seasons.start,
            "season_table": seasons.table,
            "seasons": seasons.seasons,
            "seasons_chosen": chosen,
            "seasons_disk_gb": seasons.disk_gb,
        }
