"""Seasons in the inventory: what roles get of a line, and lines that contradict each other."""

import json
import os
import subprocess
import sys
from configparser import ConfigParser
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.inventory.formats import SEASON
from ansible.module_utils.inventory.seasons import OPTIONS, PREFIX, configuration, disk_gb, seasons

from cbmctl.config import SEASON_NAME, load_config
from tests.conftest import REPOSITORY
from tests.support.inventories import SPECIFICATION, said
from tests.support.parcel_files import write
from tests.support.plugins import load as load_plugin
from tests.support.role_plays import answers, match, play, precheck, rendered

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
            "tenant_seasons: several seasons have the name '2022'. Set a different name for each.",
        ),
        (
            [FIRST | {"aoi": "b"}],
            "tenant_seasons: several seasons have the name '2021'. 2021 is already the season of"
            " tenant_year. Correct year, or set another name.",
        ),
        (
            [SECOND | {"start": "2023-01-01"}],
            "tenant_seasons: season 2022 starts on 2023-01-01, which is not before its end (2023-01-01)."
            " Correct one of them, or set only year.",
        ),
        (
            [SECOND | {"aoi": "parcels_2021"}],
            "tenant_seasons: season 2022 and an earlier season have different outlines for the area"
            " 'parcels_2021'. Set another aoi, or the same aoi_file: all seasons share the areas of"
            " interest.",
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


def test_precheck_judges_the_files_of_each_season(tmp_path: Path) -> None:
    write(tmp_path / "a.fgb", 3)
    (tmp_path / "a.geojson").write_text("{}")
    usual = {"parcels_options": [], "aoi_file": "", "expected_parcels": 3}
    later = [
        {**usual, "label": "2022", "parcels_file": str(tmp_path / "a.fgb")},
        {**usual, "label": "2023", "parcels_file": str(tmp_path / "b.fgb")},
        {**usual, "label": "2024", "parcels_file": [str(tmp_path / "a.fgb")], "expected_parcels": 9},
        {
            **usual,
            "label": "2026",
            "parcels_file": str(tmp_path / "a.fgb"),
            "aoi_file": f"{tmp_path}/a.geojson",
        },
    ]
    result = "precheck_problems_control | select('search', '^tenant_seasons') | list"
    (told,), output = precheck(tmp_path, "control", result, [{"later_seasons": later}])
    expected = [
        f"tenant_seasons, 2023: {tmp_path}/b.fgb does not exist",
        "tenant_seasons, 2024: parcels_file has 3 parcels to load, but 9 are expected. Use the complete",
        "tenant_seasons, 2026, aoi_file: ",
    ]
    assert match(told, expected), (told, output)
    assert told[2].startswith("tenant_seasons, 2026, aoi_file: ")


def test_errors_of_later_seasons_name_lines_of_the_inventory(tmp_path: Path) -> None:
    filters = load_plugin("filter", "seasons").FilterModule().filters()
    names = filters["season_option_names"]("")
    assert names["--layer"] == "parcels_layer"
    assert filters["season_option_names"]("tenant_")["--attribute"] == "tenant_parcels_attributes"
    file = write(tmp_path / "a.fgb")
    done = subprocess.run(
        [sys.executable, "-m", "cbmctl", "--json", "parcels", "inspect", "--encoding=x", str(file)],
        env=os.environ | {"CBM_OPTION_NAMES": json.dumps(names)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = {"item": {"label": "2022"}, "rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
    (problem,) = filters["season_problems"]([said], [], 10)
    assert problem.startswith("tenant_seasons, 2022: ")
    assert "parcels_encoding: 'x' is not a character set. Use one such as UTF-8" in problem


def test_roles_get_each_season_in_turn(tmp_path: Path) -> None:
    mapping = yaml.safe_load((REPOSITORY / "playbooks/group_vars/all.yml").read_text())
    lines = {f"tenant_{name}": value for name, value in FIRST.items()}
    lines |= {"tenant_seasons": [SECOND | {"parcels_layer": "a"}], "cbm_state_dir": str(tmp_path)}
    seen = (
        "[parcels_season, parcels_file, parcels_options, parcels_incoming, parcels_aoi, catalogue_season,"
        " catalogue_start, order_schema, maintenance_season, maintenance_archive, extraction_season]"
    )
    hosts = {"every": mapping | lines, "one": mapping | lines | {"cbm_season_name": 2022}}
    loop = {
        "loop": "{{ tenant_every_season | seasons_chosen(cbm_season_name) }}",
        "loop_control": {"loop_var": "cbm_season_now", "label": "{{ cbm_season.label }}"},
    }
    found, output = answers(
        tmp_path,
        hosts,
        {"ansible.builtin.import_role": {"name": "tenant"}, "when": False},
        {"ansible.builtin.set_fact": {"seen": f"{{{{ seen | default([]) + [{seen}] }}}}"}, **loop},
        # its arguments are valid; there is no cbmctl to be run
        {"ansible.builtin.include_role": {"name": "catalogue"}, **loop},
        result="seen",
        check=True,
    )
    first = ["", "/gsaa/2021.gpkg", [], "/data/cbm/incoming", "parcels_2021", "", "2020-10-01", "public", ""]
    first += ["/data/cbm/archive/2021", ""]
    second = ["2022", "/gsaa/2022.gpkg", ["--layer=a"], "/data/cbm/incoming", "parcels_2022", "2022"]
    second += ["2021-10-01", "season_2022", "2022", "/data/cbm/archive/2022", "2022"]
    assert found == [[first, second], [second]], output


def test_configurations_are_those_of_their_seasons(tmp_path: Path) -> None:
    given = {
        "worker_image_database_host": "h",
        "worker_image_database_port": 5432,
        "worker_image_identity": {"role": "writer"},
        "report_database_host": "h",
        "report_database_port": 5432,
        "report_state_dir": str(tmp_path),
        "report_tenant": "dk",
        "report_seasons": seasons(FIRST, [SECOND]),
    }
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/reader.password").write_text("x")
    for role in ("worker_image", "report"):
        text = (REPOSITORY / f"roles/{role}/templates/db_config.json.j2").read_text()
        for season in seasons(FIRST, [SECOND]):
            data = json.loads(rendered(role, text, **given, **{f"{role}_season": season}))
            data["database"]["connection"] |= {
                "sslmode": "disable",
                "sslrootcert": str(tmp_path / "secrets/reader.password"),
            }
            data["database"]["connection"].pop("dbpasswd_file")
            path = tmp_path / configuration(season)
            path.write_text(json.dumps(data))
            config = load_config(tmp_path / "db_config.json", season["name"])
            assert config.source == path
            assert str(config.tables.parcels) == f"{season['schema']}.parcels_{season['year']}"
            assert (config.tables.schema, config.args.name) == (season["schema"], season["aoi"])
    services = ConfigParser()
    services.read_string(
        rendered("report", (REPOSITORY / "roles/report/templates/pg_service.conf.j2").read_text(), **given)
    )
    assert services.sections() == ["cbm_dk", "cbm_dk_2022"]
    assert services["cbm_dk_2022"]["options"] == "-csearch_path=season_2022,public"
    assert "options" not in services["cbm_dk"]
    read_me = rendered("report", (REPOSITORY / "roles/report/templates/README.txt.j2").read_text(), **given)
    assert "schema season_2022          parcels parcels_2022         service=cbm_dk_2022" in read_me


@pytest.mark.parametrize(
    ("season", "job", "words"), [("", "cbm", []), ("2022", "cbm-2022", ["--season", "2022"])]
)
def test_each_season_has_a_job_of_its_own(season: str, job: str, words: list[str]) -> None:
    given = {
        "extraction_season": season,
        "extraction_workers": 2,
        "extraction_threads": 1,
        "extraction_mode": "x",
    }
    given |= {"extraction_worker_memory": "1M", "extraction_image": "i", "extraction_eodata": "/eodata"}
    text = (REPOSITORY / "roles/extraction/templates/stack.yml.j2").read_text()
    stack = yaml.safe_load(rendered("extraction", text, **given))
    assert stack["services"]["worker"]["command"] == ["cbmctl", *words, "worker", "--threads", "1"]
    assert rendered("extraction", "{{ extraction_job }}", **given) == job
    file = f"/data/cbm/extraction-stack{'-2022' if season else ''}.yml"
    assert rendered("extraction", "{{ extraction_job_file }}", **given) == file


def test_no_worker_starts_and_no_file_is_written_while_another_season_is_extracted() -> None:
    tasks = yaml.safe_load((REPOSITORY / "roles/extraction/tasks/job.yml").read_text())
    assert [task["name"] for task in tasks[:2]] == [
        "Look for workers of other seasons",
        "No other season is being extracted",
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ({}, ""),
        ({"cbm_season_name": 2022, "tenant_parcels_accept_removals": True}, ""),
        (
            {"parcels_drop_statistics": "true"},
            "parcels_drop_statistics applies to one season. Add -e cbm_season_name= with one of 2021, 2022.",
        ),
        (
            {"parcels_drop_statistics": True, "tenant_parcels_accept_removals": True},
            "parcels_drop_statistics and tenant_parcels_accept_removals apply to one season. Add"
            " -e cbm_season_name= with one of 2021, 2022.",
        ),
        (
            {"cbm_season_name": "2023"},
            "cbm_season_name: '2023' is not a season. It must be one of: 2021, 2022.",
        ),
    ],
)
def test_options_of_one_season(lines: dict[str, Any], problem: str) -> None:
    every = yaml.safe_load((REPOSITORY / "playbooks/group_vars/all.yml").read_text())
    given = {name: value for name, value in every.items() if name.startswith("cbm_season_")}
    given |= {"tenant_parcels_accept_removals": False, "tenant_every_season": seasons(FIRST, [SECOND])}
    assert rendered("parcels", "{{ cbm_season_problem }}", **given | lines) == problem
    alone = {"tenant_every_season": seasons(FIRST, []), "cbm_season_name": ""}
    assert rendered("parcels", "{{ cbm_season_problem }}", **given | lines | alone) == ""


def test_precheck_asks_for_a_season_before_any_change(tmp_path: Path) -> None:
    cases = [{"season_problem": sentence, "cards": ["s2"]} for sentence in ("", "Choose a season.")]
    (without, found), _ = precheck(tmp_path, "control", "precheck_problems_control", cases)
    assert [one for one in found if one not in without] == ["Choose a season."]


def test_the_configuration_of_a_removed_season_is_removed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "pki").mkdir(parents=True)
    (state / "pki/ca.crt").touch()
    for name in ("db_config.json", "db_config.2020.json", "db_config.2022.json"):
        (state / name).touch()
    lines = {"state_dir": str(state), "tenant": "dk", "database_host": "192.0.2.1", "database_port": 1}
    hosts = {"dk": {f"report_{name}": value for name, value in lines.items()}}
    hosts["dk"]["report_seasons"] = seasons(FIRST, [SECOND])
    said = play(
        tmp_path, hosts, {"ansible.builtin.include_role": {"name": "report", "tasks_from": "connection"}}
    )
    assert "failed=0" in said, said
    found = sorted(path.name for path in state.glob("db_config*"))
    assert found == ["db_config.2022.json", "db_config.json"]
    assert "192.0.2.1" in (state / "db_config.2022.json").read_text()
