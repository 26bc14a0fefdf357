"""The role `precheck` on lines of the inventory: dates, choices, and services that are named for nothing."""

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
import yaml

from tests.conftest import REPOSITORY
from tests.support.certificates import make
from tests.support.parcel_files import squares, write
from tests.support.parcel_loading import write as with_geometries
from tests.support.role_plays import OWN, answers, match, precheck

# what is said of an inventory; test_inventory.py has the values that are judged without it
LINES: list[tuple[dict[str, Any], list[str]]] = [
    ({"start": date(2024, 10, 1), "end": date(2025, 1, 1)}, []),
    # the second waits for facts, the third for another role
    (
        {"end": "2025-01-01", "year": "{{ ansible_facts['year'] }}", "scl": "{{ postgis_cores }}"}
        | {"start": date(2026, 10, 1)},
        [
            "tenant_start: 2026-10-01 is not before tenant_end (2025-01-01)."
            " Correct one of them, or set only tenant_year."
        ],
    ),
    # as an expression, and as -e gives it
    (
        {"start": "{{ 2026 }}-13-01", "database_port": "{{ 99998 + 1 }}", "expected_parcels": "1000000"}
        | {"catalogue_source": "stac", "cards": ["s1", "bs"], "catalogue_urls": "https://a.example"}
        # variables that Ansible would not miss
        | {"reflectence": "as-stored", "workers": 2},
        [
            "Unknown variable tenant_reflectence (did you mean tenant_reflectance?).",
            "Unknown variable tenant_workers (did you mean extraction_workers?).",
            "tenant_start: '2026-13-01' is not a valid date. Use YYYY-MM-DD.",
            "tenant_cards: 's1' is not valid. It must be one of: s2, bs, c6, c12.",
            "tenant_catalogue_urls: 'https://a.example' is not a mapping. Use {stac: …}.",
            "tenant_database_port: 99999 is out of range. Use a whole number from 1 to 65535.",
            "tenant_catalogue_source: 'stac' has no collection for bs (tenant_cards)."
            " Set tenant_catalogue_source to service or odata, or remove those cards.",
        ],
    ),
    ({"data_mount": "/srv/cbm"}, []),
    (
        {"data_mount": "/srv/cbm", "data_volume_mount": "/data", "docker_engine_volume": "/mnt"}
        | {"parcels_incoming": "/srv/cbm2/incoming", "database_name": "bm"},
        [
            "data_volume_mount: /data, docker_engine_volume: /mnt:"
            " the data volume is mounted on /srv/cbm (tenant_data_mount). Set only tenant_data_mount.",
            "parcels_incoming: /srv/cbm2/incoming: the command cbmctl sees only /srv/cbm/cbm"
            " (worker_image_directory). Use a directory below it, or remove the variable.",
            "Unknown variable database_name",
        ],
    ),
    (
        {"eodata_s3": "https://a.example", "eodata_keys_file": "/dev/null"},
        [
            "tenant_eodata_s3: 'https://a.example' is not a mapping. Use {endpoint: …}.",
            "tenant_eodata_s3.endpoint: '' is not a valid URL. Begin it with https://.",
        ],
    ),
]
# lines that are not the role tenant's
OF_ROLES = {"data_volume_mount", "docker_engine_volume", "parcels_incoming", "database_name"}
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


def test_an_inventory_is_judged_as_it_is_written(tmp_path: Path) -> None:
    usual = {"year": 2025, "parcels_file": "/dev/null", "expected_parcels": 1000000}
    hosts = {
        f"case{number}": {
            name if name in OF_ROLES else f"tenant_{name}": value
            for name, value in {**usual, **lines}.items()
        }
        for number, (lines, _) in enumerate(LINES)
    }
    # the groups' and hosts' variables of an inventory, and what the mapping makes of them
    mapping = yaml.safe_load((REPOSITORY / "playbooks/group_vars/all.yml").read_text())
    hosts = {host: {**mapping, **lines, "cbm_state_dir": str(tmp_path)} for host, lines in hosts.items()}
    (tmp_path / "case0/pki").mkdir(parents=True)
    ca = make(tmp_path / "case0/pki/ca", ends=-timedelta(days=1))
    found, _ = answers(
        tmp_path,
        hosts,
        {"ansible.builtin.import_role": {"name": "tenant"}, "when": False},
        {"ansible.builtin.import_role": {"name": "precheck", "tasks_from": "control"}},
        result="[precheck_problems_control] + ([tenant_data_min_gb, catalogue_start, order_end]"
        " if inventory_hostname == 'case0' else [])",
    )
    told = [[each for each in sentences if "/dev/null" not in each] for sentences, *_ in found]
    (expired,) = told[0]
    assert expired.startswith(f"worker_image_ca_certificate: the certificate '{ca.file}' expired on ")
    told[0] = []
    for sentences, (_, expected) in zip(told, LINES, strict=True):
        assert match(sentences, expected), sentences
    # three months' share of 200 GB
    assert found[0][1:] == [pytest.approx(200 * 92 / 365), "2024-10-01", "2025-01-01"]


def test_an_inventory_with_a_mistake_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    lines = {"tenant_name": "../../evil", "postgis_client_cidr": ["192.0.2.0/24"], "tenant_year": 2025}
    lines |= {"tenant_aoi_file": "{{ tenant_aoi_fiel }}"}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"tenants": {"hosts": {"dk": lines | local}}}))
    state = tmp_path / "a" / "b" / "state"
    run = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", tmp_path / "hosts.yml", "catalogue.yml"],
        cwd=REPOSITORY / "playbooks",
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "CBM_STATE_DIR": str(state),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join((run.stdout + run.stderr).split())
    assert run.returncode == 2
    assert "5 problems found in the inventory of dk; nothing was changed. - tenant_aoi_file: the" in said
    assert "Unknown variable postgis_client_cidr (did you mean postgis_client_cidrs?)." in said
    assert "tenant_name: '../../evil' is not a valid name." in said
    assert "tenant_parcels_file is missing. Set it in the inventory:" in said
    assert not list(tmp_path.rglob("evil"))
    assert not (state / "dk").exists()


def test_a_condition_may_be_why_parcels_are_missing(tmp_path: Path) -> None:
    cases = [{}, {"parcels_options": ["--layer=a"]}, {"parcels_options": ["--where=area_ha < 0"]}]
    found, _ = precheck(tmp_path, "control", "precheck_parcels_counted", cases, run=False)
    assert found == [*["tenant_expected_parcels"] * 2, "tenant_expected_parcels or tenant_parcels_where"]


def test_several_parcels_files_are_inspected_as_one_set(tmp_path: Path) -> None:
    files = [str(write(tmp_path / f"{region}.fgb", n)) for region, n in (("R11", 2), ("R24", 3))]
    gone = str(tmp_path / "R32.fgb")
    cases = [{"parcels_file": files}, {"parcels_file": [*files, gone], "expected_parcels": 7}]
    result = "[precheck_found_parcels, precheck_parcels_absent, precheck_inspection_problem]"
    found, _ = precheck(tmp_path, "control", result, cases)
    assert found == [[5, [], ""], [7, [gone], ""]]


def test_parcels_count_as_they_will_be_loaded(tmp_path: Path) -> None:
    (good,) = squares(1)
    flat = shapely.Polygon([(500000, 6000000), (500100, 6000000), (500000, 6000000)])
    some, nothing = (
        str(with_geometries(tmp_path / f"{name}.gpkg", shapes))
        for name, shapes in (("some", [good, flat, flat]), ("nothing", [flat, flat]))
    )
    cases = [{"parcels_file": file, "expected_parcels": 3} for file in (some, nothing)]
    result = "precheck_problems_control | select('search', 'tenant_parcels_file|parcels to load') | list"
    (few, refused), _ = precheck(tmp_path, "control", result, cases)
    assert few == [
        f"tenant_parcels_file: {some} has 1 parcels to load, but 3 are expected."
        " Use the complete file, or correct tenant_expected_parcels."
    ]
    # the reason alone, not a count as well
    (sentence,) = refused
    assert sentence.startswith(f"{nothing} has no parcels to load (all are refused: ")
    assert sentence.endswith("). Check the layer and tenant_parcels_where.")


def test_services_that_are_not_used_are_told(tmp_path: Path) -> None:
    cases = [{"catalogue_source": name, "catalogue_urls": urls} for name, urls, _ in UNUSED]
    found, _ = precheck(tmp_path, "catalogue", "precheck_catalogue_unused", cases, run=False)
    assert found == [unused for *_, unused in UNUSED]
