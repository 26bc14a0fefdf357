"""The role `precheck`: what it says of an inventory's lines, archive and catalogue, and what it asks."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from cbmctl.catalogue.odata import URL as ODATA
from cbmctl.catalogue.sources import source
from cbmctl.catalogue.stac import URL as STAC
from cbmctl.config import Config
from cbmctl.eodata.settings import S3, read_eodata
from cbmctl.section import Section

from ..conftest import REPOSITORY

SECRET = "5ecret0fTheArchive"
BUCKET = {"endpoint": "https://s3.example.org"}
UNMOUNTED = "with tenant_eodata_s3 and tenant_eodata_access direct nothing is mounted"
NONE = "holds none; write ACCESS_KEY:SECRET_KEY into it on one line, mode 0600, or correct"
# lines of an inventory, and what is said of them
SAID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "usual": ({}, []),
    "a certificate that is not there": (
        {"eodata_s3": {**BUCKET, "ca_file": "/absent"}},
        ["The certificate /absent does not exist on the control host; put it there or correct ca_file in"],
    ),
    "archive mounted by the image": ({"catalogue_source": "archive"}, []),
    "archive mounted by us": (
        {"catalogue_source": "archive", "eodata_s3": BUCKET, "eodata_access": "mount"},
        [],
    ),
    "archive not mounted": ({"catalogue_source": "archive", "eodata_s3": BUCKET}, [UNMOUNTED]),
    "what is no address": (
        {"catalogue_urls": {"stac": "a.example"}},
        ["stac in tenant_catalogue_urls (a.example) is no address; write it with https://."],
    ),
    "what are no addresses": (
        {"catalogue_urls": {"stac": "", "odata": "b"}},
        ["stac and odata in tenant_catalogue_urls (empty, b) is no address; write it with https://."],
    ),
    "a service of one's own": (
        {"cards": ["s2", "bs"], "catalogue_urls": {"odata": "https://a.example"}},
        [],
    ),
    "opensearch": (
        {"catalogue_source": "opensearch"},
        ["tenant_catalogue_source opensearch needs an address"],
    ),
    "radar in STAC": (
        {"catalogue_source": "stac", "cards": ["s2", "bs", "c12"]},
        [
            "STAC has no collection for bs, c12 (tenant_cards);"
            " set tenant_catalogue_source to service or odata, or leave out those cards."
        ],
    ),
    "services of one's own that are none": (
        {"catalogue_urls": {"stacc": "https://a.example", "archive": 1, "odata": {"url": "b"}}},
        [
            "tenant_catalogue_urls has stacc and archive;"
            " it takes stac, odata and opensearch, each with an address.",
            "odata in tenant_catalogue_urls ({'url': 'b'}) is no address; write it with https://.",
        ],
    ),
    "one service for all": (
        {"catalogue_source": "opensearch", "catalogue_urls": "https://a.example"},
        ["tenant_catalogue_urls is no list by protocol; write {stac: https://…}."],
    ),
    "services in a row": (
        {"catalogue_urls": ["https://a.example"]},
        ["tenant_catalogue_urls is no list by protocol; write {stac: https://…}."],
    ),
    "no services said": (
        {"catalogue_urls": None},
        ["tenant_catalogue_urls is no list by protocol; write {stac: https://…}."],
    ),
    "keys by a relative path": (
        {"eodata_keys_file": "secrets/eodata.keys"},
        ["tenant_eodata_keys_file secrets/eodata.keys is relative; write it from / or ~."],
    ),
    "keys that are not there": ({"eodata_keys_file": "/absent"}, ["the file /absent does not exist"]),
    "no keys": (
        {"eodata_keys_file": "/dev/null"},
        [f"There are no keys to the archive: the file /dev/null {NONE}"],
    ),
    "keys that are a folder": ({"eodata_keys_file": "/etc/"}, [NONE, "mode 0755); chmod 600"]),
}
# a file of keys, its mode, and what is said of it
KEYS: dict[str, tuple[bytes, int, list[str]]] = {
    "good": (f"ACCESS:{SECRET}\n".encode(), 0o600, []),
    "good-of-windows": (f"ACCESS:{SECRET}\r\n".encode(), 0o400, []),
    "open": (f"ACCESS:{SECRET}".encode(), 0o640, ["has mode 0640); chmod 600 "]),
    "one": (SECRET.encode(), 0o600, [NONE]),
    "one-open": (f":{SECRET}\n".encode(), 0o604, [NONE, "has mode 0604); chmod 600 "]),
    "apart": (f"ACCESS: {SECRET}\n".encode(), 0o600, [NONE]),
    "lines": (f"ACCESS:{SECRET}\nACCESS:{SECRET}\n".encode(), 0o600, [NONE]),
    "no-text": (b"ACCESS:\xff\xfe" + SECRET.encode(), 0o600, [NONE]),
}
OWN = {"stac": "https://s.example/v1", "odata": "https://o.example/v1", "opensearch": "https://r.example"}
# what is asked: source, cards, services of one's own
ASKED: list[tuple[str, list[str], dict[str, str]]] = [
    ("service", ["s2"], {}),
    ("service", ["bs", "c6"], {}),
    ("service", ["s2", "bs", "c12"], {}),
    ("service", ["s2", "bs"], {"stac": OWN["stac"]}),
    ("service", ["s2", "bs"], OWN),
    ("odata", ["s2", "bs"], {}),
    ("odata", ["s2"], OWN),
    ("stac", ["s2"], {}),
    ("stac", ["s2"], OWN),
    ("opensearch", ["bs"], OWN),
]
# and where nothing is, by a walk of the archive or a mistake
UNASKED: list[tuple[str, list[str], dict[str, str]]] = [
    ("archive", ["s2", "bs"], {}),
    ("archive", ["s2"], OWN),
    ("opensearch", ["s2"], {}),
    ("stac", ["s2"], {"stac": "a.example"}),
    ("mistyped", ["s2"], {}),
    ("stac", ["s2"], cast(dict[str, str], {"stac": None})),
    ("stac", ["s2"], cast(dict[str, str], {"stac": ["https://a.example"]})),
]
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
            "tenant_catalogue_urls is no list by protocol; write {stac: https://…}.",
            "STAC has no collection for bs (tenant_cards);"
            " set tenant_catalogue_source to service or odata, or leave out those cards.",
            "tenant_cards s1 and S2 is none of s2, bs, c6, c12; correct it.",
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


def role_variables(role: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "roles" / role / "vars/main.yml").read_text())
    return found


def play(
    directory: Path,
    hosts: Mapping[str, Mapping[str, Any]],
    *tasks: Mapping[str, Any],
    variables: Sequence[str] = (),
) -> str:
    """Run tasks for hosts that are this machine, as talkative as people make it, and return what is said."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": hosts, "vars": local}}
    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    one = {"hosts": "all", "gather_facts": False, "tasks": tasks, "vars_files": variables}
    (directory / "play.yml").write_text(json.dumps([one]))
    command = [Path(sys.executable).parent / "ansible-playbook", "-vvv", "-i", directory / "hosts.yml"]
    run = subprocess.run(
        [*command, directory / "play.yml"],
        env=os.environ | {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout + run.stderr


def precheck(
    directory: Path, part: str, result: str, cases: Sequence[Mapping[str, Any]], *, run: bool = True
) -> tuple[list[Any], str]:
    """Run a part of the role for many inventories at once; return a variable of each, and what was said."""
    hosts = {
        f"case{number}": {f"precheck_{name}": value for name, value in lines.items()}
        for number, lines in enumerate(cases)
    }
    written = {
        "content": f"{{{{ {result} | to_json }}}}",
        "dest": f"{directory}/{{{{ inventory_hostname }}}}.json",
        "mode": "0600",
    }
    said = play(
        directory,
        hosts,
        {"ansible.builtin.import_role": {"name": "precheck", "tasks_from": part}, "when": run},
        {"ansible.builtin.copy": written},
    )
    files = [directory / f"{host}.json" for host in hosts]
    assert all(file.exists() for file in files), said
    return [json.loads(file.read_text()) for file in files], said


def about_archive(sentences: list[str]) -> list[str]:
    """Leave out what is said of the parcels and the period, which the cases are silent about."""
    return [each for each in sentences if re.search("archive|catalogue|STAC|eodata", each)]


def match(told: list[str], expected: list[str]) -> bool:
    return len(told) == len(expected) and all(any(part in one for one in told) for part in expected)


def test_mistakes_about_the_archive_are_told_and_no_key_is(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {name: lines for name, (lines, _) in SAID.items()}
    expected = {name: said for name, (_, said) in SAID.items()}
    for name, (content, mode, told) in KEYS.items():
        file = tmp_path / f"{name}.keys"
        file.write_bytes(content)
        file.chmod(mode)
        cases[name], expected[name] = {"eodata_s3": BUCKET, "eodata_keys_file": str(file)}, told
    found, said = precheck(tmp_path, "control", "precheck_problems_control", list(cases.values()))
    told_of = {name: about_archive(told) for name, told in zip(cases, found, strict=True)}
    wrong = {name: told for name, told in told_of.items() if not match(told, expected[name])}
    assert not wrong
    assert SECRET not in said
    assert all("\n" not in sentence for told in found for sentence in told)


@pytest.mark.parametrize("name", KEYS)
def test_keys_that_pass_are_keys_to_cbmctl(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, _, told = KEYS[name]
    if NONE in told:
        return
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (tmp_path / "keys").write_bytes(content)
    eodata = BUCKET | {"key_file": str(tmp_path / "keys")}
    found = read_eodata(Section(tmp_path, "", {"eodata": eodata}))
    assert isinstance(found, S3)
    assert found.keys() == ("ACCESS", SECRET)


def test_the_addresses_are_those_of_cbmctl() -> None:
    assert role_variables("precheck")["precheck_catalogue_addresses"] == {"stac": STAC, "odata": ODATA}


def test_what_is_asked_is_what_cbmctl_will_ask(tmp_path: Path) -> None:
    cases = [
        {"catalogue_source": name, "cards": cards, "catalogue_urls": urls}
        for name, cards, urls in ASKED + UNASKED
    ]
    found, _ = precheck(tmp_path, "catalogue", "precheck_catalogue_asked", cases, run=False)
    assert [sorted(each) for each in found[: len(ASKED)]] == [
        sorted({asked_by_cbmctl(name, card, urls) for card in cards}) for name, cards, urls in ASKED
    ]
    assert found[len(ASKED) :] == [[]] * len(UNASKED)


def asked_by_cbmctl(name: str, card: str, urls: dict[str, str]) -> str:
    """The address that cbmctl asks with the options that the role catalogue gives it."""
    given = {"catalogue_source": name, "catalogue_urls": urls, "catalogue_since_last": False, "item": card}
    lines = {name: trust_as_template(line) for name, line in role_variables("catalogue").items()}
    options = Templar(DataLoader(), variables=lines | given).evaluate_expression(
        trust_as_template("catalogue_options")
    )
    told = dict(zip(options[::2], options[1::2], strict=True))
    note, config = (lambda _line: None), cast(Config, None)
    return source(told.get("--source"), card, told.get("--url"), config, note).place


@contextmanager
def refusing() -> Iterator[tuple[str, list[str]]]:
    """A service that answers every question with a refusal, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_refusal_is_an_answer_and_silence_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9"
    # cbmctl's container has none
    monkeypatch.setenv("http_proxy", nobody)
    with refusing() as (address, asked):
        found, _ = precheck(
            tmp_path,
            "catalogue",
            "precheck_catalogue_silence",
            [
                {"catalogue_urls": {"stac": f"{address}/v1"}},
                {"catalogue_source": "odata", "catalogue_urls": {"odata": nobody}},
                {"catalogue_source": "archive", "catalogue_urls": {"stac": address}},
            ],
        )
    assert asked == ["/v1"]
    refused = "Request failed: <urlopen error [Errno 111] Connection refused>"
    assert found == [[], [f"{nobody} ({refused})"], []]


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


def test_what_may_be_said_of_services_is_what_the_inventory_takes() -> None:
    spec = yaml.safe_load((REPOSITORY / "roles/tenant/meta/argument_specs.yml").read_text())
    options = spec["argument_specs"]["main"]["options"]
    known = role_variables("precheck")["precheck_catalogue_known"]
    assert known == list(options["tenant_catalogue_urls"]["options"])
    uses = role_variables("precheck")["precheck_catalogue_uses"]
    assert list(uses) == options["tenant_catalogue_source"]["choices"]


def test_services_that_are_not_used_are_told(tmp_path: Path) -> None:
    cases = [{"catalogue_source": name, "catalogue_urls": urls} for name, urls, _ in UNUSED]
    found, _ = precheck(tmp_path, "catalogue", "precheck_catalogue_unused", cases, run=False)
    assert found == [unused for *_, unused in UNUSED]


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


def test_the_role_worker_image_says_it_too(tmp_path: Path) -> None:
    required = {
        **dict.fromkeys(["database_host", "secrets_dir", "ca_certificate", "eodata", "aoi"], "/absent"),
        **dict.fromkeys(["parcels_table", "start", "end"], "absent"),
        "database_port": 1,
        "eodata_s3": BUCKET,
    }
    (tmp_path / "one.keys").write_text(SECRET)
    files = {"nothing": "/dev/null", "absent": "/absent", "one": str(tmp_path / "one.keys")}
    hosts = {
        host: {
            f"worker_image_{name}": value for name, value in {**required, "eodata_keys_file": file}.items()
        }
        for host, file in files.items()
    }
    said = play(tmp_path, hosts, {"ansible.builtin.include_role": {"name": "worker_image"}})
    said = " ".join(said.split())
    for file, word in zip(files.values(), ["holds no keys", "does not exist", "holds no keys"], strict=True):
        assert f"The keys to the archive are to be in {file} of the control host, which {word}:" in said
    assert SECRET not in said


def test_both_roles_know_keys_by_the_same_rule() -> None:
    precheck_rule = role_variables("precheck")["precheck_keys_are_there"]
    worker_rule = role_variables("worker_image")["worker_image_eodata_keys_are_there"]
    assert precheck_rule.replace("precheck_", "worker_image_") == worker_rule
