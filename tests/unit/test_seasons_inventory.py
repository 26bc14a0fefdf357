"""Seasons in the inventory: what roles get of a line, and lines that contradict each other."""

from datetime import date
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.inventory.formats import SEASON
from ansible.module_utils.inventory.seasons import OPTIONS, PREFIX, disk_gb, seasons

from cbmctl.config import SEASON_NAME

from ..conftest import REPOSITORY
from .judging import SPECIFICATION, said
from .plugins import load as load_plugin

FIRST: dict[str, Any] = {"year": 2021, "parcels_file": "/gsaa/2021.gpkg", "expected_parcels": 1000}
SECOND: dict[str, Any] = {"year": 2022, "parcels_file": "/gsaa/2022.gpkg", "expected_parcels": 2000}


def judged(*later: object, **lines: Any) -> list[str]:
    return said({"tenant_year": 2021, "tenant_seasons": list(later), **lines})


def test_a_season_is_one_entry() -> None:
    first, second = seasons(FIRST, [SECOND])
    assert (first["name"], first["label"], first["schema"]) == ("", "2021", "public")
    assert second == {
        "name": "2022",
        "label": "2022",
        "schema": "season_2022",
        "year": 2022,
        "start": "2021-10-01",
        "end": "2023-01-01",
        "parcels_file": "/gsaa/2022.gpkg",
        "parcels_options": [],
        "parcels_table": "parcels_2022",
        "aoi": "parcels_2022",
        "aoi_file": "",
        "expected_parcels": 2000,
    }
    assert judged(SECOND) == []


def test_everything_of_a_season_can_be_set() -> None:
    lines = {
        "name": "2022_b",
        "start": date(2021, 11, 1),
        "end": "2022-06-01",
        "parcels_table": "p",
        "aoi": "dk",
    }
    lines |= {
        "parcels_axes": "checked",
        "parcels_layer": "a b",
        "parcels_id": "ID",
        "parcels_attributes": ["x", "y"],
    }
    (_, found) = seasons(FIRST, [SECOND | lines])
    assert (found["schema"], found["start"], found["end"]) == ("season_2022_b", "2021-11-01", "2022-06-01")
    assert (found["parcels_table"], found["aoi"]) == ("p", "dk")
    assert found["parcels_options"] == ["--layer=a b", "--key=ID", "--attribute=x", "--attribute=y"]
    assert judged(SECOND | lines) == []
    known = SPECIFICATION.options["tenant_seasons"].options
    assert set(OPTIONS) | set(lines) <= set(known)
    # what the first season has of its own, later ones have too
    first = yaml.safe_load((REPOSITORY / "roles/tenant/vars/main.yml").read_text())["tenant_first_season"]
    assert set(first) | {"name"} == set(known)


@pytest.mark.parametrize(
    ("later", "sentence"),
    [
        (
            [{"year": 2022, "expected_parcels": 9}],
            "tenant_seasons: parcels_file is missing. Add it: As tenant_parcels_file.",
        ),
        (["2022"], "tenant_seasons: '2022' is not a mapping. Use {year: …}."),
        (
            [SECOND | {"yaer": 1}],
            "tenant_seasons: unknown key yaer (did you mean year?). Known keys: year, name,",
        ),
        ([SECOND | {"name": "Spring"}], "tenant_seasons.name: 'Spring' is not a valid name of a season."),
        ([SECOND | {"start": "2021-13-01"}], "tenant_seasons.start: '2021-13-01' is not a valid date."),
        (
            [SECOND | {"parcels_file": "2022.gpkg"}],
            "tenant_seasons.parcels_file: '2022.gpkg' is not an absolute",
        ),
        (
            [SECOND, SECOND | {"aoi": "b"}],
            "tenant_seasons: several seasons have the name '2022'. Set name.",
        ),
        (
            [FIRST | {"aoi": "b"}],
            "tenant_seasons: several seasons have the name '2021'. Names are the years unless name is set."
            " 2021 is the season of tenant_year.",
        ),
        (
            [SECOND | {"start": "2023-01-01"}],
            "tenant_seasons: the start of 2022, 2023-01-01 is not before its end (2023-01-01). Correct"
            " one of them, or set only year.",
        ),
        (
            [SECOND | {"aoi": "parcels_2021"}],
            "tenant_seasons: 2022 has the area 'parcels_2021', which an earlier season has with another"
            " outline. Set another aoi, or the same aoi_file: all seasons share the areas of interest.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(later: list[Any], sentence: str) -> None:
    (found,) = judged(*later)
    assert found.startswith(sentence)


def test_seasons_may_share_an_outline() -> None:
    own = {"aoi": "dk", "aoi_file": "/gsaa/dk.geojson"}
    assert judged(SECOND | own, tenant_aoi="dk", tenant_aoi_file="/gsaa/dk.geojson") == []


def test_the_disk_holds_all_seasons() -> None:
    found = seasons(FIRST | {"start": "2021-01-01", "end": "2022-01-01"}, [SECOND | {"start": "2022-01-01"}])
    assert disk_gb(found, 200) == pytest.approx(0.2 + 0.4)
    # a year if the period is not known, at least a month
    assert disk_gb(seasons({"expected_parcels": "1000000"}, "no list"), 200) == 200
    short = seasons(FIRST | {"start": "2021-01-01", "end": "2021-01-02"}, [])
    assert disk_gb(short, 200) == pytest.approx(0.2 / 12)


def test_one_season_is_chosen_by_its_name() -> None:
    choose = load_plugin("filter", "seasons").FilterModule().filters()["seasons_chosen"]
    found = seasons(FIRST, [SECOND])
    assert choose(found, "") == found
    assert [each["label"] for each in choose(found, 2021)] == ["2021"]
    with pytest.raises(AnsibleFilterError, match=r"'2023' is not a season\. It must be one of: 2021, 2022\."):
        choose(found, "2023")


def test_names_are_those_that_cbmctl_takes() -> None:
    assert SEASON.pattern == SEASON_NAME
    # a schema's name has at most 48 letters in db_config.json
    assert len(PREFIX) + 20 <= 48
