"""The role `precheck` on the archive and its catalogue: what it says of an inventory, and what it asks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible.module_utils.inventory import secret_files
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from cbmctl.catalogue.odata import URL as ODATA
from cbmctl.catalogue.sources import source
from cbmctl.catalogue.stac import URL as STAC
from cbmctl.config import Config, archive
from cbmctl.config.archive import S3, read_eodata
from cbmctl.config.catalogue import Catalogue, read_catalogue
from cbmctl.config.section import Section
from cbmctl.errors import UserError
from tests.support.role_plays import OWN, match, play, precheck, role_variables
from tests.unit.precheck.test_host import about_host

SECRET = "5ecret0fTheArchive"
BUCKET = {"endpoint": "https://s3.example.org"}
UNMOUNTED = "needs a mounted archive, but tenant_eodata_access is direct"
NONE = "holds no keys to the archive. Write ACCESS_KEY:SECRET_KEY into it on one line, with mode 0600"
# lines of an inventory, and what is said of them
SAID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "usual": ({}, []),
    "a certificate that is not there": (
        {"eodata_s3": BUCKET, "certificates": {"tenant_eodata_s3.ca_file": "/absent"}},
        [
            "tenant_eodata_s3.ca_file: the certificate '/absent' does not exist on the control host."
            " Put it there or correct the path."
        ],
    ),
    "archive mounted by the image": ({"catalogue_source": "archive"}, []),
    "archive mounted by us": (
        {"catalogue_source": "archive", "eodata_s3": BUCKET, "eodata_access": "mount"},
        [],
    ),
    "archive not mounted": ({"catalogue_source": "archive", "eodata_s3": BUCKET}, [UNMOUNTED]),
    "what is no address": (
        {"catalogue_urls": {"stac": "a.example"}},
        ["tenant_catalogue_urls: invalid URL of stac (a.example). Begin it with https://."],
    ),
    "what are no addresses": (
        {"catalogue_urls": {"stac": "", "odata": "b"}},
        ["tenant_catalogue_urls: invalid URL of stac and odata (empty, b). Begin it with https://."],
    ),
    "a service of one's own": (
        {"cards": ["s2", "bs"], "catalogue_urls": {"odata": "https://a.example"}},
        [],
    ),
    "opensearch": (
        {"catalogue_source": "opensearch"},
        ["the URL of opensearch is missing"],
    ),
    "radar in STAC": (
        {"catalogue_source": "stac", "cards": ["s2", "bs", "c12"]},
        [
            "tenant_catalogue_source: 'stac' has no collection for bs, c12 (tenant_cards)."
            " Set tenant_catalogue_source to service or odata, or remove those cards."
        ],
    ),
    "services of one's own that are none": (
        {"catalogue_urls": {"stacc": "https://a.example", "odata": {"url": "b"}}},
        ["tenant_catalogue_urls: invalid URL of odata ({'url': 'b'}). Begin it with https://."],
    ),
    "keys that are not there": (
        {"eodata_keys_file": "/absent"},
        ["tenant_eodata_keys_file: /absent does not exist"],
    ),
    "no keys": (
        {"eodata_keys_file": "/dev/null"},
        [f"tenant_eodata_keys_file: /dev/null {NONE}"],
    ),
    "keys that are a folder": ({"eodata_keys_file": "/etc/"}, [NONE, "has mode 0755, and other users"]),
}
# a file of keys, its mode, and what is said of it
KEYS: dict[str, tuple[bytes, int, list[str]]] = {
    "good": (f"ACCESS:{SECRET}\n".encode(), 0o600, []),
    "good-of-windows": (f"ACCESS:{SECRET}\r\n".encode(), 0o400, []),
    "open": (f"ACCESS:{SECRET}".encode(), 0o640, ["has mode 0640, and other users"]),
    "one": (SECRET.encode(), 0o600, [NONE]),
    "one-open": (f":{SECRET}\n".encode(), 0o604, [NONE, "has mode 0604, and other users"]),
    "apart": (f"ACCESS: {SECRET}\n".encode(), 0o600, [NONE]),
    "lines": (f"ACCESS:{SECRET}\nACCESS:{SECRET}\n".encode(), 0o600, [NONE]),
    "no-text": (b"ACCESS:\xff\xfe" + SECRET.encode(), 0o600, [NONE]),
}
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


def about_archive(sentences: list[str]) -> list[str]:
    """Leave out what is said of the parcels and the period, which the cases are silent about."""
    return [each for each in sentences if re.search("archive|catalogue|STAC|eodata", each)]


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
def test_keys_that_pass_are_keys_to_cbmctl_and_others_are_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, _, told = KEYS[name]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (tmp_path / "keys").write_bytes(content)
    eodata = BUCKET | {"key_file": str(tmp_path / "keys")}
    found = read_eodata(Section(tmp_path, "", {"eodata": eodata}))
    assert isinstance(found, S3)
    if NONE in told:
        with pytest.raises(UserError) as refused:
            found.keys()
        assert SECRET not in str(refused.value)
        return
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
    """The address that cbmctl asks with the options that the role catalogue gives it, and without them."""
    given = {"catalogue_source": name, "catalogue_urls": urls, "catalogue_since_last": False, "item": card}
    lines = {name: trust_as_template(line) for name, line in role_variables("catalogue").items()}
    options = Templar(DataLoader(), variables=lines | given).evaluate_expression(
        trust_as_template("catalogue_options")
    )
    told = dict(zip(options[::2], options[1::2], strict=True))
    read = read_catalogue(Section(Path("db_config.json"), "catalogue", {"source": name, "urls": urls}))
    configs = [cast(Config, SimpleNamespace(catalogue=given)) for given in (Catalogue(), read)]
    by_role = source(told.get("--source"), card, told.get("--url"), configs[0], lambda _line: None)
    by_hand = source(None, card, None, configs[1], lambda _line: None)
    assert by_role.place == by_hand.place
    return by_hand.place


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


def test_the_archive_is_asked_without_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9"
    # workers and s3fs have none
    monkeypatch.setenv("http_proxy", nobody)
    with refusing() as (address, asked):
        found, _ = precheck(
            tmp_path,
            "host",
            "precheck_service",
            [
                {"eodata": "", "database_port": 1, "eodata_s3": {"endpoint": endpoint}}
                for endpoint in (address, nobody)
            ],
        )
    assert asked == ["/"]
    assert [each["status"] for each in found] == [403, -1]
    (silent,) = about_host(service=found[1], eodata_s3={"endpoint": nobody})
    assert silent.endswith("or open the network to it (no proxy is used).")


def test_the_role_worker_image_says_it_too(tmp_path: Path) -> None:
    required = {
        **dict.fromkeys(["database_host", "secrets_dir", "ca_certificate", "eodata"], "/absent"),
        "seasons": [],
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
        assert f"The keys to the archive must be in {file} on the control host, which {word}:" in said
    assert SECRET not in said


def test_what_cbmctl_says_of_its_container_is_told_of_the_control_host() -> None:
    role = "The role writes db_config.json from"
    assert [
        told("eodata.key_file", BUCKET),
        told("eodata.endpoint", BUCKET),
        told("eodata", {}),
        told("", BUCKET),
        told("cache", BUCKET),
    ] == [
        ["It fails.", "The keys are those of /secret/keys on the control host."],
        ["It fails.", f"{role} tenant_eodata_s3 in the inventory."],
        ["It fails.", f"{role} tenant_eodata in the inventory."],
        ["It fails."],
        ["It fails."],
    ]


def told(about: str, bucket: dict[str, str]) -> list[str]:
    """What the role worker_image tells of a check of the archive that failed."""
    lines = {
        name: trust_as_template(line) if isinstance(line, str) else line
        for name, line in role_variables("worker_image").items()
    }
    lines |= {"worker_image_eodata_s3": bucket, "worker_image_eodata_keys_file": "/secret/keys"}
    lines["ansible_failed_result"] = {"msg": "It fails.", "error": {"about": about}}
    found: list[str] = Templar(DataLoader(), variables=lines).evaluate_expression(
        trust_as_template("worker_image_archive_told")
    )
    return found


def test_roles_and_cbmctl_know_keys_by_the_same_rule() -> None:
    assert archive._KEYS.translate({ord("("): None, ord(")"): None}) == secret_files.KEYS
