"""Each option of the extraction goes from the inventory's line to what cbmctl reads."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cbmctl.config.extraction import read_extraction
from cbmctl.config.options import OPTIONS, Option, read_values, section_of
from cbmctl.config.section import Section
from tests.conftest import REPOSITORY
from tests.support.role_plays import answers

DEFAULTS = {option.name: option.default for option in OPTIONS}
# what commit a3ca3b00 wrote with the defaults
EARLIER = {
    "s2": {
        "scl": True,
        "10": ["B02", "B03", "B04", "B08"],
        "20": ["B05", "B11"],
        "reflectance": "harmonised",
        "cloud_classes": [9],
        "edge": "drop",
        "overlap": "first",
    },
    "bs": {"edge": "keep"},
    "c6": {"edge": "keep"},
    "c12": {"edge": "keep"},
    "parcels_buffer_m": 0.0,
    "checksums": True,
}


def section(data: dict[str, Any]) -> Section:
    return Section(Path("db_config.json"), "extraction", json.loads(json.dumps(data)))


def another(option: Option) -> Any:
    """A valid value that is not the default."""
    if option.kind is bool:
        return not option.default
    if option.listed:
        return list(option.choices[:1]) or [int(option.limits[1]) if option.limits else 0]
    return next(each for each in option.choices if each != option.default) if option.choices else 2.5


def test_an_earlier_configuration_means_the_same() -> None:
    assert read_extraction(section(EARLIER)) == read_extraction(section(section_of(DEFAULTS)))
    assert read_extraction(section({})) == read_extraction(section(section_of(DEFAULTS)))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_line_reaches_each_of_its_places(option: Option) -> None:
    before = read_values(section(section_of(DEFAULTS)))
    value = another(option)
    after = read_values(section(section_of(DEFAULTS | {option.name: value})))
    changed = {place: found for place, found in after.items() if found != before[place]}
    assert changed == dict.fromkeys(option.places, tuple(value) if option.listed else value)
    assert read_extraction(section(section_of(DEFAULTS | {option.name: value}))) != read_extraction(
        section(EARLIER)
    )


def test_names_and_places_are_there_once() -> None:
    places = [place for option in OPTIONS for place in option.places]
    assert len(set(places)) == len(places)
    assert len(DEFAULTS) == len(OPTIONS)


def test_the_playbooks_hand_on_what_the_inventory_says(tmp_path: Path) -> None:
    mapping = yaml.safe_load((REPOSITORY / "playbooks/group_vars/all.yml").read_text())
    lines = {"tenant_year": 2021, "tenant_parcels_file": "/p.gpkg", "tenant_expected_parcels": 1}
    mapping |= lines | {"cbm_state_dir": str(tmp_path)}
    hosts = {
        "plain": mapping,
        "set": mapping | {f"tenant_{option.name}": another(option) for option in OPTIONS},
        "texts": mapping | {"tenant_scl": "no", "tenant_parcels_buffer_m": "{{ '3' }}"},
    }
    found, output = answers(
        tmp_path,
        hosts,
        {"ansible.builtin.import_role": {"name": "tenant"}, "when": False},
        result="worker_image_extraction",
    )
    assert found == [
        section_of(DEFAULTS),
        section_of({option.name: another(option) for option in OPTIONS}),
        section_of(DEFAULTS | {"scl": False, "parcels_buffer_m": 3.0}),
    ], output
