"""The role `precheck` on lines of the inventory: dates, choices, and services that are named for nothing."""

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cbmctl.bandsets import BANDSETS

from ..conftest import REPOSITORY
from .role_plays import OWN, match, play, precheck, role_variables

# what is said of the inventory's lines, as an operator writes them
NO_PERIOD = "give no period; set tenant_year, or write both as YYYY-MM-DD, the start first."
LINES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"start": date(2024, 10, 1), "end": date(2025, 1, 1)}, []),
    ({"start": date(2024, 10, 1), "end": "2025-01-01"}, []),
    ({"start": "2024-02-29", "end": date(2025, 1, 1)}, []),
    (
        {"start": date(2026, 10, 1), "end": "2025-01-01"},
        [f"tenant_start (2026-10-01) and tenant_end (2025-01-01) {NO_PERIOD}"],
    ),
    (
        {"start": datetime(2024, 10, 1, 12), "end": date(2025, 1, 1)},
        [f"tenant_start (2024-10-01 12:00:00) and tenant_end (2025-01-01) {NO_PERIOD}"],
    ),
    (
        {"start": "2025-02-29", "end": None},
        [f"tenant_start (2025-02-29) and tenant_end (empty) {NO_PERIOD}"],
    ),
    (
        {"start": 20241001, "end": "2025-04-31"},
        [f"tenant_start (20241001) and tenant_end (2025-04-31) {NO_PERIOD}"],
    ),
    (
        {
            "catalogue_source": "STAC",
            "cards": ["s2", "s1"],
            "eodata_access": "mounted",
            "overlap": None,
            "reflectance": "as_stored\nor so",
            "edge_s1": False,
            "edge_s2": ["drop"],
        },
        [
            "tenant_cards s1 is none of s2, bs, c6, c12; correct it.",
            "tenant_catalogue_source STAC is none of archive, service, stac, odata, opensearch; correct it.",
            "tenant_reflectance as_stored or so is none of harmonised, as-stored; correct it.",
            "tenant_edge_s2 ['drop'] is none of drop, keep; correct it.",
            "tenant_edge_s1 False is none of drop, keep; correct it.",
            "tenant_overlap empty is none of first, all; correct it.",
            "tenant_eodata_access mounted is none of direct, mount; correct it.",
        ],
    ),
    (
        {"catalogue_source": "stac", "cards": ["s1", "S2", "bs"], "catalogue_urls": "https://a.example"},
        [
            "STAC has no collection for bs (tenant_cards);"
            " set tenant_catalogue_source to service or odata, or leave out those cards.",
            "tenant_cards s1 and S2 is none of s2, bs, c6, c12; correct it.",
            "tenant_catalogue_urls (https://a.example) is no list by name; write it as {stac: …}.",
        ],
    ),
    (
        {"catalogue_source": "stac", "cards": "bs"},
        ["tenant_cards (bs) is no list; write it as [s2], with any of s2, bs, c6, c12."],
    ),
    (
        {"catalogue_source": ["stac"], "cards": {"bs": True}},
        [
            "tenant_cards ({'bs': True}) is no list; write it as [s2], with any of s2, bs, c6, c12.",
            "tenant_catalogue_source ['stac'] is none of"
            " archive, service, stac, odata, opensearch; correct it.",
        ],
    ),
    (
        {"catalogue_urls": {"stacc": "https://a.example", "archive": 1}, "contact": "Ane", "scl": "ja"},
        [
            "tenant_contact (Ane) is no list by name; write it as {…: …}.",
            "tenant_catalogue_urls has stacc and archive; it takes stac, odata and opensearch.",
            "tenant_scl (ja) is neither true nor false; correct it.",
        ],
    ),
    (
        {
            "catalogue_urls": None,
            "database_port": "eleven",
            "bands_10": "B02, B03",
            "cloud_classes": [8, "nine"],
            "eodata_s3": {"endpoint": "https://a.example", "connections": "four", "url": "x"},
            "eodata_keys_file": "/dev/null",
            "data_min_gb": "1.5 TB",
        },
        [
            "tenant_catalogue_urls (empty) is no list by name; write it as {stac: …}.",
            "tenant_bands_10 (B02, B03) is no list; write it as [B02], with any of B02, B03, B04, B08.",
            "tenant_cloud_classes has nine, which is no whole number; correct it.",
            "tenant_database_port (eleven) is no whole number; correct it.",
            "tenant_eodata_s3 has url; it takes endpoint, bucket, region, path_style, connections,"
            " requests_per_minute and ca_file.",
            "connections in tenant_eodata_s3 (four) is no whole number; correct it.",
            "tenant_data_min_gb (1.5 TB) is no number; correct it.",
        ],
    ),
    (
        {"eodata_s3": "https://a.example", "eodata_keys_file": "/dev/null"},
        [
            "endpoint in tenant_eodata_s3 (empty) is no address; write it with https://.",
            "tenant_eodata_s3 (https://a.example) is no list by name; write it as {endpoint: …}.",
        ],
    ),
    (
        {"year": 25, "start": "2025-01-01", "end": "2026-01-01", "bands_20": ["B5", "B8A"]},
        [
            "tenant_year 25 is no year of Sentinel-2; write it with four figures.",
            "tenant_bands_20 B5 is none of B05, B06, B07, B8A, B11, B12; correct it.",
        ],
    ),
    (
        {"expected_parcels": "many"},
        ["tenant_expected_parcels (many) is no whole number; correct it."],
    ),
    (
        {"year": "twenty", "start": "2025-01-01", "end": "2026-01-01"},
        ["tenant_year (twenty) is no whole number; correct it."],
    ),
    # a line that Ansible would not miss
    (
        {"reflectence": "as-stored", "iso": "dk", "cloud_flavour": "eo2.large"},
        [
            "There is no line tenant_cloud_flavour; did you mean tenant_cloud_flavor?",
            "There is no line tenant_iso; names of your own must begin with another word.",
            "There is no line tenant_reflectence; did you mean tenant_reflectance?",
        ],
    ),
]
# of services that the inventory names, those that its source does not use
UNUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("archive", OWN, ["stac", "odata", "opensearch"]),
    ("service", OWN, ["opensearch"]),
    ("odata", OWN, ["stac", "opensearch"]),
    ("stac", {"stac": OWN["stac"], "odata": "a.example"}, []),
    ("opensearch", OWN, ["stac", "odata"]),
    ("mistyped", OWN, []),
    ("archive", {}, []),
]


def test_lines_of_the_inventory_are_judged_as_they_are_written(tmp_path: Path) -> None:
    usual = {"year": 2025, "parcels_file": "/dev/null", "expected_parcels": 1000000, "name": "one"}
    hosts = {
        f"case{number}": {f"tenant_{name}": value for name, value in {**usual, **lines}.items()}
        for number, (lines, _) in enumerate(LINES)
    }
    read = [
        "precheck_problems_control",
        "precheck_catalogue_asked",
        "tenant_data_min_gb",
        "catalogue_start",
        "worker_image_end",
    ]
    said = play(
        tmp_path,
        hosts,
        {"ansible.builtin.import_role": {"name": "tenant"}, "when": False},
        {"ansible.builtin.import_role": {"name": "precheck", "tasks_from": "control"}},
        {
            "ansible.builtin.copy": {
                "content": f"{{{{ [{', '.join(read)}] | to_json }}}}",
                "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}.json",
                "mode": "0600",
            },
            "vars": {"role_path": str(REPOSITORY / "roles/precheck")},
        },
        variables=[str(REPOSITORY / "playbooks/group_vars/all.yml")],
    )
    files = [tmp_path / f"{host}.json" for host in hosts]
    assert all(file.exists() for file in files), said
    found = [json.loads(file.read_text()) for file in files]
    told = [[each for each in sentences if "/dev/null" not in each] for sentences, *_ in found]
    assert told == [expected for _, expected in LINES]
    # three months' share of 200 GB
    assert [each[2:] for each in found[1:3]] == [
        [pytest.approx(200 * 92 / 365), "2024-10-01", "2025-01-01"]
    ] * 2


NETWORKS: list[tuple[dict[str, Any], list[str]]] = [
    ({"client_cidrs": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32", "0.0.0.0/0"]}, []),
    (
        {"client_cidrs": ["300.1.1.1/24", "192.0.2.7", "192.0.2.0/255.255.255.0"], "worker_cidrs": "world"},
        [
            "postgis_client_cidrs has 300.1.1.1/24, which is no network; write it like 192.0.2.0/24,",
            "postgis_client_cidrs has 192.0.2.7, which is no network",
            "postgis_client_cidrs has 192.0.2.0/255.255.255.0, which is no network",
            "postgis_worker_cidrs (world) is no list; write it as [192.0.2.0/24].",
        ],
    ),
]


def test_networks_that_are_none_would_keep_postgresql_from_its_next_start(tmp_path: Path) -> None:
    found, _ = precheck(tmp_path, "control", "precheck_line_problems", [lines for lines, _ in NETWORKS])
    for told, (_, expected) in zip(found, NETWORKS, strict=True):
        assert match(told, expected), told


def test_a_condition_may_be_why_parcels_are_missing(tmp_path: Path) -> None:
    cases = [{}, {"parcels_options": ["--layer=a"]}, {"parcels_options": ["--where=area_ha < 0"]}]
    found, _ = precheck(tmp_path, "control", "precheck_parcels_counted", cases, run=False)
    assert found == [*["tenant_expected_parcels"] * 2, "tenant_expected_parcels or tenant_parcels_where"]


def test_what_may_be_said_of_services_is_what_the_inventory_takes() -> None:
    spec = yaml.safe_load((REPOSITORY / "roles/tenant/meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]
    known = role_variables("precheck")["precheck_catalogue_known"]
    assert known == list(options["tenant_catalogue_urls"]["options"])
    uses = role_variables("precheck")["precheck_catalogue_uses"]
    assert list(uses) == options["tenant_catalogue_source"]["choices"]


def test_bands_are_those_of_cbmctl() -> None:
    spec = yaml.safe_load((REPOSITORY / "roles/tenant/meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]
    for name in ("10", "20"):
        assert tuple(options[f"tenant_bands_{name}"]["choices"]) == BANDSETS[name].bands


def test_services_that_are_not_used_are_told(tmp_path: Path) -> None:
    cases = [{"catalogue_source": name, "catalogue_urls": urls} for name, urls, _ in UNUSED]
    found, _ = precheck(tmp_path, "catalogue", "precheck_catalogue_unused", cases, run=False)
    assert found == [unused for *_, unused in UNUSED]


def test_names_that_roles_note_are_no_mistakes_of_an_operator() -> None:
    noted = {
        name
        for role in ("tenant", "tenant_cloud", "tenant_secrets")
        for file in (REPOSITORY / "roles" / role / "tasks").glob("*.yml")
        for name in re.findall(r"register: (tenant_\w+)", file.read_text())
    }
    assert noted == set(role_variables("tenant")["tenant_names_noted"])


def test_both_roles_know_days_by_the_same_pattern() -> None:
    pattern = role_variables("precheck")["precheck_day"]
    assert pattern == role_variables("tenant")["tenant_day"]
    for year in (2000, 2016, 2025, 2099):
        for month in range(14):
            for day in range(33):
                text = f"{year}-{month:02}-{day:02}"
                try:
                    date.fromisoformat(text)
                except ValueError:
                    assert not re.match(pattern, text)
                else:
                    assert re.match(pattern, text)
