"""The seasons of a tenant, as roles take them; see plugins/module_utils/inventory/seasons.py."""

import json
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.cbmctl_output import error_of  # noqa: E402
from ansible.module_utils.inventory import seasons  # noqa: E402

DOCUMENTATION = r"""
name: seasons
short_description: Seasons of a tenant
description:
  - C(seasons) lists all seasons of a tenant, the first one first, with everything that roles need.
  - C(seasons_chosen) leaves the one with a name or a year, or all if the name is empty.
  - C(season_option_names) are names for messages of C(cbmctl parcels) instead of its options, with a prefix.
  - C(cbmctl_problem) is the sentences of a C(cbmctl --json) that failed, or empty.
  - C(season_problems) lists sentences about what C(cbmctl) says of the files of seasons.
  - C(seasons_disk_gb) is the disk space that they take.
  - C(season_configuration) is the name of a season's db_config.json.
  - C(season_database) are the sections of tables and dates in that file.
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


def problems(
    inspected: Sequence[Mapping[str, Any]], areas: Sequence[Mapping[str, Any]], tolerance: float
) -> list[str]:
    """Sentences about the files of seasons.

    Args:
        inspected: results of `cbmctl parcels inspect`, each with the season as `item`.
        areas: results of reading the file of the area of interest.
        tolerance: percentage by which the number of parcels may differ.
    """
    return [*_parcels(inspected, float(tolerance)), *_areas(areas)]


def _parcels(inspected: Sequence[Mapping[str, Any]], tolerance: float) -> Iterator[str]:
    for result in inspected:
        season = result["item"]
        begin = f"tenant_seasons, {season['label']}: "
        try:
            found = json.loads(result.get("stdout") or "{}")
        except ValueError:
            found = {}
        if said := problem(result):
            yield begin + said
            continue
        number, expected = (found.get("parcels") or {}).get("loadable"), season["expected_parcels"]
        if number is not None and abs(number - expected) * 100 > expected * tolerance:
            yield (
                f"{begin}parcels_file has {number} parcels to load, but {expected} are expected. Use the"
                " complete file, or correct expected_parcels."
            )


def _areas(areas: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for result in areas:
        if result.get("rc", 0) != 0:
            yield f"tenant_seasons, {result['item']['label']}, aoi_file: {problem(result)}"


def problem(result: Mapping[str, Any]) -> str:
    """Sentences on why `cbmctl --json` failed; empty if it did not, or did not run."""
    code = int(result.get("rc") or 0)
    return error_of(code, result.get("stdout", ""), result.get("stderr", ""))["text"] if code else ""


def option_names(prefix: str) -> dict[str, str]:
    """What a person writes instead of an option of `cbmctl parcels`: a variable, or a key of a season."""
    keys = {f"--{option}": key for key, option in seasons.OPTIONS.items()}
    return {option: f"{prefix}{key}" for option, key in {**keys, "--attribute": "parcels_attributes"}.items()}


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {
            "season_configuration": seasons.configuration,
            "season_database": seasons.database,
            "season_end": seasons.end,
            "season_start": seasons.start,
            "season_table": seasons.table,
            "season_problems": problems,
            "season_option_names": option_names,
            "cbmctl_problem": problem,
            "seasons": seasons.seasons,
            "seasons_chosen": chosen,
            "seasons_disk_gb": seasons.disk_gb,
        }
