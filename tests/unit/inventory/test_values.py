"""Values of an inventory are judged by each role's specification and its rules."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from cbmctl.config import load_config
from cbmctl.errors import UserError
from tests.support.inventories import NAME, SPECIFICATION, said

PORT = "Use a whole number from 1 to 65535."
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Tl3d1pB2hY5Tn0d9U8Q4oVdF0sN6mY6e1pXQ7aBcD ane@example"

# names that become a path, a table or a resource, and values that are refused
NAMED = [
    "tenant_name",
    "postgis_container",
    "postgis_volume",
    "postgis_image",
    "worker_image_name",
    "extraction_stack",
    "container_image_name",
    "tenant_secrets_tenant",
]


@pytest.mark.parametrize("variable", NAMED)
@pytest.mark.parametrize(
    "name", ["../../evil", "de mo", "Demo", "", ".", "-x", "a/b", "dk.example", "a" * 41, "dk\n"]
)
def test_a_name_is_a_path_and_a_resource_and_refused_if_it_cannot_be_both(variable: str, name: str) -> None:
    (sentence,) = said({variable: name})
    assert sentence.startswith(f"{variable}: '{' '.join(name.split())}' is not a valid name. ")
    assert sentence.endswith(NAME)


@pytest.mark.parametrize("name", ["dk", "cbm-lab-debian12", "de_2", "1", "a" * 40, 2025])
def test_names_as_they_are_used_are_valid(name: object) -> None:
    assert not said(dict.fromkeys(NAMED, name))


@pytest.mark.parametrize("table", ["parcels_2021; drop", "Parcels", "2021", "a.b", "a-b", "a" * 49, ""])
@pytest.mark.parametrize("variable", ["tenant_parcels_table", "order_parcels_table"])
def test_a_table_has_a_name_that_postgresql_does_not_cut_or_fold(variable: str, table: str) -> None:
    (sentence,) = said({variable: table})
    assert "is not a valid table name. Use lower-case letters, digits and _" in sentence


@pytest.mark.parametrize(
    "variable",
    # raw: handed on from tenant_database_port
    sorted({name for name in SPECIFICATION.options if name.endswith("_port")} - {"precheck_database_port"}),
)
def test_a_port_is_one_of_tcp(variable: str) -> None:
    assert said({variable: 99999}) == [f"{variable}: 99999 is out of range. {PORT}"]
    assert said({variable: 0}) == [f"{variable}: 0 is out of range. {PORT}"]
    assert said({variable: "eleven"}) == [f"{variable}: 'eleven' is not a whole number. {PORT}"]
    assert said({variable: True}) == [f"{variable}: True is not a whole number. {PORT}"]
    assert not said({variable: 11039})
    assert not said({variable: "11039"})


def test_every_number_has_a_range() -> None:
    def numbers(options: Any) -> list[str]:
        return [
            found
            for option in options.values()
            for found in (
                [option.name]
                if "int" in (option.type, option.elements) or "float" in (option.type, option.elements)
                else numbers(option.options)
            )
        ]

    def rule(name: str) -> Any:
        outer, _, inner = name.partition(".")
        option = SPECIFICATION.options[outer]
        return (option.options[inner] if inner else option).rule

    assert not [name for name in numbers(SPECIFICATION.options) if rule(name).minimum is None]


VALUES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    (
        {"extraction_workers": "many"},
        ["extraction_workers: 'many' is not a whole number. Use a whole number from 1 to 1000."],
    ),
    (
        {"extraction_workers": 0},
        ["extraction_workers: 0 is out of range. Use a whole number from 1 to 1000."],
    ),
    (
        {"extraction_workers": 2.5},
        ["extraction_workers: 2.5 is not a whole number. Use a whole number from 1 to 1000."],
    ),
    ({"tenant_start": date(2024, 10, 1), "tenant_end": "2025-01-01"}, []),
    ({"tenant_start": "2021-13-01"}, ["tenant_start: '2021-13-01' is not a valid date. Use YYYY-MM-DD."]),
    ({"tenant_start": "2025-02-29"}, ["tenant_start: '2025-02-29' is not a valid date. Use YYYY-MM-DD."]),
    ({"tenant_end": 20241001}, ["tenant_end: 20241001 is not a valid date. Use YYYY-MM-DD."]),
    (
        {"tenant_start": datetime(2024, 10, 1, 12)},
        ["tenant_start: 2024-10-01 12:00:00 is not a valid date. Use YYYY-MM-DD."],
    ),
    ({"tenant_end": None}, ["tenant_end: the value is empty. Use YYYY-MM-DD."]),
    ({"tenant_year": 25}, ["tenant_year: 25 is out of range. Use a whole number from 2015 to 2099."]),
    (
        {"tenant_year": "twenty"},
        ["tenant_year: 'twenty' is not a whole number. Use a whole number from 2015 to 2099."],
    ),
    (
        {"tenant_expected_parcels": 0},
        ["tenant_expected_parcels: 0 is out of range. Use a whole number of 1 or more."],
    ),
    ({"tenant_overlap": "both"}, ["tenant_overlap: 'both' is not valid. It must be one of: first, all."]),
    ({"tenant_overlap": None}, ["tenant_overlap: empty is not valid. It must be one of: first, all."]),
    (
        {"tenant_reflectance": "as_stored\nor so"},
        ["tenant_reflectance: 'as_stored or so' is not valid. It must be one of: harmonised, as-stored."],
    ),
    ({"tenant_edge_s1": False}, ["tenant_edge_s1: False is not valid. It must be one of: drop, keep."]),
    (
        {"tenant_edge_s2": ["drop"]},
        ["tenant_edge_s2: ['drop'] is not a single value. It must be one of: drop, keep."],
    ),
    ({"tenant_parcels_where": ["a"]}, ["tenant_parcels_where: ['a'] is not a single value. Use a text."]),
    ({"tenant_scl": "ja"}, ["tenant_scl: 'ja' is neither true nor false. Use true or false."]),
    (
        {"tenant_cards": ["s1", "S2", "bs"]},
        [
            f"tenant_cards: '{card}' is not valid. It must be one of: s2, bs, c6, c12."
            for card in ("s1", "S2")
        ],
    ),
    ({"tenant_cards": "bs"}, ["tenant_cards: 'bs' is not a list. Use [s2], with any of: s2, bs, c6, c12."]),
    (
        {"tenant_cards": {"bs": True}},
        ["tenant_cards: {'bs': True} is not a list. Use [s2], with any of: s2, bs, c6, c12."],
    ),
    (
        {"tenant_bands_20": ["B5"]},
        ["tenant_bands_20: 'B5' is not valid. It must be one of: B05, B06, B07, B8A, B11, B12."],
    ),
    (
        {"tenant_cloud_classes": [8, "nine", 12]},
        [
            "tenant_cloud_classes: 'nine' is not a whole number. Use a whole number from 0 to 11.",
            "tenant_cloud_classes: 12 is out of range. Use a whole number from 0 to 11.",
        ],
    ),
    (
        {"tenant_data_min_gb": "1.5 TB"},
        ["tenant_data_min_gb: '1.5 TB' is not a number. Use a number of 0 or more."],
    ),
    (
        {"tenant_data_min_gb": float("nan")},
        ["tenant_data_min_gb: nan is not a number. Use a number of 0 or more."],
    ),
    ({"tenant_contact": "Ane"}, ["tenant_contact: 'Ane' is not a mapping. Use {…: …}."]),
    ({"tenant_catalogue_urls": None}, ["tenant_catalogue_urls: empty is not a mapping. Use {stac: …}."]),
    (
        {"tenant_catalogue_urls": {"stacc": "https://a.example", "archive": 1}},
        [
            f"tenant_catalogue_urls: unknown key {key}. Known keys: stac, odata, opensearch."
            for key in ("stacc (did you mean stac?)", "archive")
        ],
    ),
    (
        {"tenant_eodata_s3": {"endpoint": "https://a.example", "connections": "four", "ca_file": "ca.crt"}},
        [
            "tenant_eodata_s3.connections: 'four' is not a whole number. Use a whole number from 1 to 100.",
            "tenant_eodata_s3.ca_file: 'ca.crt' is not an absolute path. Begin it with / or ~.",
        ],
    ),
    ({"tenant_orders": {}}, []),
    ({"tenant_orders": {"cards": ["bs", "c12"], "user": "me", "price": 1.2, "budget": 300}}, []),
    (
        {"tenant_orders": {"cards": ["s2"], "products_per_month": 0, "price": -1, "end": "soon", "users": 1}},
        [
            "tenant_orders: unknown key users (did you mean user?). Known keys: cards, user,"
            " products_per_month, price, budget, any_timeliness, start, end.",
            "tenant_orders.cards: 's2' is not valid. It must be one of: bs, c6, c12.",
            "tenant_orders.products_per_month: 0 is out of range. Use a whole number of 1 or more.",
            "tenant_orders.price: -1 is out of range. Use a number of 0 or more.",
            "tenant_orders.end: 'soon' is not a valid date. Use YYYY-MM-DD.",
        ],
    ),
    (
        {"tenant_parcels_file": "gsaa/a.gpkg"},
        ["tenant_parcels_file: 'gsaa/a.gpkg' is not an absolute path. Begin it with / or ~."],
    ),
    ({"tenant_parcels_file": ["/gsaa/R11.shp", "~/gsaa/R24, new.shp"]}, []),
    (
        {"tenant_parcels_file": ["/gsaa/R11.shp", "R24.shp"]},
        ["tenant_parcels_file: 'R24.shp' is not an absolute path. Begin it with / or ~."],
    ),
    ({"tenant_parcels_file": []}, ["tenant_parcels_file: the value is empty. Begin it with / or ~."]),
    ({"tenant_parcels_file": ""}, ["tenant_parcels_file: the value is empty. Begin it with / or ~."]),
    ({"tenant_parcels_file": "~/gsaa/Ž 2021 (a).gpkg", "tenant_aoi_file": "", "tenant_cloud": ""}, []),
    (
        {"tenant_eodata": "~/eodata", "postgis_directory": "/data/a b"},
        [
            f"{name}: '{path}' is not a valid path on the host. Begin it with /."
            " Use no . or .. as a folder, and no spaces, quotes or any of : , % $ \\ in it."
            for name, path in (("postgis_directory", "/data/a b"), ("tenant_eodata", "~/eodata"))
        ],
    ),
    (
        {"postgis_client_cidrs": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32", "0.0.0.0/0"]},
        [],
    ),
    (
        {"postgis_client_cidrs": ["300.1.1.1/24", "192.0.2.7", "192.0.2.0/255.255.255.0"]},
        [
            f"postgis_client_cidrs: '{network}' is not a valid network."
            " Use a form like 192.0.2.0/24, with /32 for a single address."
            for network in ("300.1.1.1/24", "192.0.2.7", "192.0.2.0/255.255.255.0")
        ],
    ),
    ({"postgis_worker_cidrs": "world"}, ["postgis_worker_cidrs: 'world' is not a list. Use [world]."]),
    (
        {"postgis_address": "world"},
        ["postgis_address: 'world' is not a valid IP address. Use a form like 192.0.2.11."],
    ),
    (
        {"docker_engine_address_pools": [{"base": "10.1.0.0/33", "size": 40}, {"base": "172.20.0.0/15"}, 5]},
        [
            "docker_engine_address_pools.base: '10.1.0.0/33' is not a valid IPv4 range."
            " Use a form like 172.20.0.0/15 without host bits, at most /28.",
            "docker_engine_address_pools.size: 40 is out of range. Use a whole number from 8 to 30.",
            "docker_engine_address_pools: size is missing. Add it: Prefix length of each network in it.",
            "docker_engine_address_pools: 5 is not a mapping. Use {base: …}.",
        ],
    ),
    (
        {"swarm_address_pool": ["10.0.0.1/8"]},
        [
            "swarm_address_pool: '10.0.0.1/8' is not a valid IPv4 range."
            " Use a form like 172.20.0.0/15 without host bits, at most /28."
        ],
    ),
    (
        {"docker_engine_log_max_size": "ten"},
        [
            "docker_engine_log_max_size: 'ten' is not a valid size."
            " Use a whole number with k, m or g, such as 512m."
        ],
    ),
    ({"extraction_worker_memory": "4g", "docker_engine_log_max_size": "10m"}, []),
    (
        {"database_reader_statement_timeout": "a while"},
        [
            "database_reader_statement_timeout: 'a while' is not a valid duration."
            " Use a number with us, ms, s, min, h or d, such as 15min."
        ],
    ),
    ({"database_reader_statement_timeout": "15min"}, []),
    ({"base_system_operator_keys": [KEY, f'from="192.0.2.0/24",no-pty {KEY}']}, []),
    (
        {"base_system_operator_keys": ["ane@example"]},
        [
            "base_system_operator_keys: 'ane@example' is not a public SSH key."
            " Use the whole line of a .pub file, such as 'ssh-ed25519 AAAA…'."
        ],
    ),
    # every run would make another certificate
    (
        {"tenant_secrets_renew_days": 400},
        [
            "tenant_secrets_renew_days: 400 is out of range."
            " It must be less than tenant_secrets_certificate_days (397)."
        ],
    ),
    ({"tenant_secrets_renew_days": 400, "tenant_secrets_certificate_days": 800}, []),
]


@pytest.mark.parametrize(("values", "expected"), VALUES, ids=lambda each: str(each)[:40])
def test_types_choices_and_ranges_are_judged_in_words(values: dict[str, Any], expected: list[str]) -> None:
    assert said(values) == expected


@pytest.mark.parametrize("table", ["parcels_2021", "_a", "a" * 48, "a" * 49, "A", "2021", "a-b", ""])
def test_a_table_that_is_accepted_is_one_to_cbmctl(tmp_path: Path, table: str) -> None:
    tables = {"parcel_table": f"public.{table}"}
    connection = {"host": "h", "dbname": "d", "dbuser": "u", "sslmode": "disable"}
    args = {"name": "a", "startdate": "2021-01-01", "enddate": "2022-01-01"}
    file = tmp_path / "db_config.json"
    file.write_text(json.dumps({"database": {"connection": connection, "tables": tables, "args": args}}))
    if said({"tenant_parcels_table": table}):
        with pytest.raises(UserError, match="parcel_table"):
            load_config(file)
    else:
        assert load_config(file).tables.parcels.name == table
