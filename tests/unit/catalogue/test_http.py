"""How services are asked: at a distance, again when they are busy, with one sentence when it is no use."""

import json
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests
from shapely import box

from cbmctl.catalogue import http
from cbmctl.catalogue.http import Manners, ServiceError
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.service_interface import Question
from cbmctl.catalogue.slicing import complete
from cbmctl.catalogue.stac import Stac
from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support.catalogue_search import refuse, run
from tests.support.odata_server import Catalogue, reply, serve

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty")]


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"value": [')
    handler.wfile.flush()
    hang_up(handler)


BUSY: list[Callable[[BaseHTTPRequestHandler], None]] = [
    lambda handler: reply(handler, 429, {"error": "WAF", "message": "Rate limit exceeded", "status": 429}),
    lambda handler: reply(handler, 429, "", {"Retry-After": "1"}),
    lambda handler: reply(handler, 503, "<html>Service Unavailable</html>"),
    lambda handler: reply(handler, 504, ""),
    hang_up,
    half,
]


@pytest.mark.parametrize("fault", BUSY)
def test_a_busy_service_is_asked_again(
    area: Database, catalogue: tuple[Catalogue, str], fault: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    known, url = catalogue
    known.faults.append(fault)
    result = run(area, url)
    assert len(json.loads(result.stdout)["added"]) == 4
    assert "attempt 2 in" in result.stderr
    assert len(known.asked) == 2


def test_the_service_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    known = Catalogue([])
    known.faults.append(lambda handler: reply(handler, 429, "", {"Retry-After": "7"}))
    known.faults.append(
        lambda handler: reply(handler, 429, "", {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"})
    )
    with serve(known) as url:
        session = http.polite_session(lambda _line: None)
        monkeypatch.setattr(http.time, "sleep", paused.append)
        http.ask(session, f"{url}/Products", {})
    assert [round(pause) for pause in paused if pause > 0.5] == [7]


def test_requests_keep_their_distance() -> None:
    with serve(Catalogue([])) as url:
        session = http.polite_session(lambda _line: None, Manners(per_second=20))
        start = http.time.monotonic()
        for _ in range(5):
            http.ask(session, f"{url}/Products", {})
        assert http.time.monotonic() - start >= 4 / 20


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (
            [lambda handler: reply(handler, 502, "")] * 3,
            "Products does not answer (HTTP 502, 3 attempts). Check",
        ),
        ([hang_up] * 3, "Products does not answer (it hung up, 3 attempts)"),
        ([half] * 3, "Products does not answer (it breaks off, 3 attempts)"),
        (
            [lambda handler: reply(handler, 200, "<html><title>Maintenance</title></html>")],
            "Products answers with a web page instead of JSON. Check the URL, or try again later",
        ),
        ([lambda handler: reply(handler, 400, {"detail": "Invalid field: x"})], "(HTTP 400: "),
        (
            [lambda handler: reply(handler, 200, {"detail": "hello"})],
            "answers without products. Check the URL",
        ),
        ([lambda handler: reply(handler, 200, {"value": [{"a": 1}]})], "lists an invalid product"),
        (
            [lambda handler: reply(handler, 429, "", {"Retry-After": "3600"})],
            "(HTTP 429, and asks for 3600 s of patience, 1 attempt)",
        ),
    ],
)
def test_errors_are_one_sentence_and_leave_nothing(
    area: Database, catalogue: tuple[Catalogue, str], faults: list[Any], sentence: str
) -> None:
    known, url = catalogue
    known.faults.extend(faults)
    refuse(area, url, sentence)


def test_a_service_that_is_not_there(area: Database) -> None:
    with serve(Catalogue([])) as url:
        pass
    refuse(area, url, "does not answer (connection refused, 3 attempts). Check the network and the URL")
    refuse(area, "http://no-such-host.invalid/odata/v1", "(unknown host name, 3 attempts)")
    refuse(area, "catalogue.example", "is not a valid URL. Write it with https://")
    refuse(area, "https://x", "--url https://x cannot be used", "--source", "archive")
    refuse(area, "http://x", "has no collection of CARD-BS products. Use --source odata", "--source", "stac")


@pytest.mark.parametrize("protocol", ["odata", "stac", "opensearch"])
@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("http://", "Write the name of a host after https://"),
        ("https:///odata/v1", "Write the name of a host after https://"),
        ("https://*.example/odata/v1", "Write the name of a host after https://"),
        ("https://a..b/odata/v1", "Write the name of a host after https://"),
        ("https://[::1/odata/v1", "Write the name of a host after https://"),
        ("https://catalogue.example:99999/", "Write a port from 1 to 65535, or none"),
        ("https://catalogue.example:x/", "Write a port from 1 to 65535, or none"),
        ("https://catalogue.example:0/", "Write a port from 1 to 65535, or none"),
        ("https://exa mple.org/", "Write it without spaces"),
        ("https://example.org/\n", "Write it without spaces"),
    ],
)
def test_an_address_that_is_none(area: Database, url: str, mend: str, protocol: str) -> None:
    result = run(area, url, "--source", protocol, card=("s2",))
    assert isinstance(result.exception, UserError), result.exception
    assert str(result.exception) == f"--url {url} is not a valid URL. {mend}."
    with area.connect() as conn:
        assert conn.execute("SELECT * FROM catalogue_syncs").fetchall() == []


def test_what_the_session_does_not_take_is_one_sentence() -> None:
    session = http.polite_session(print)
    for url in ("https://:99999/", "https://*.example/", "https://x:99999/"):
        with pytest.raises(ServiceError, match="is not a valid URL of a service"):
            http.ask(session, url, {})
        question = Question(CARDS["s2"], datetime(2024, 2, 1), datetime(2024, 3, 1), box(30, 52, 31, 53))
        with pytest.raises(ServiceError, match="is not a valid URL of a service"):
            complete(Stac(session, url), question)


@pytest.mark.parametrize("href", ["search?token=2", "/odata/v1/search?token=2", "{url}/search?token=2"])
def test_the_next_page_of_stac_may_be_told_from_here(href: str) -> None:
    def page(number: int, *links: dict[str, str]) -> Callable[[BaseHTTPRequestHandler], None]:
        item = {"id": f"{number}", "properties": {"datetime": "2024-02-06T04:11:37Z"}}
        return lambda handler: reply(handler, 200, {"features": [item], "links": links})

    question = Question(CARDS["s2"], datetime(2024, 2, 1), datetime(2024, 3, 1), box(30, 52, 31, 53))
    known = Catalogue([])
    with serve(known) as url:
        stac = Stac(http.polite_session(print), url)
        link = {"rel": "next", "href": href.format(url=url)}
        known.faults.extend([page(1, link), page(2)])
        # two pages of one item each are full ones, for all that is known
        pages = list(stac.pages(question, 100))
        assert [item["id"] for each in pages for item in each.products] == ["1", "2"]
        assert known.asked[1] == "/odata/v1/search?token=2"


def test_the_next_page_of_stac_is_no_file_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"features": [], "links": []}))
    question = Question(CARDS["s2"], datetime(2024, 2, 1), datetime(2024, 3, 1), box(30, 52, 31, 53))
    known = Catalogue([])
    for href, sentence in (
        (file.as_uri(), "next page is invalid: file://"),
        (str(file), "refuses the search"),
    ):
        answer = {"features": [{"id": "1"}], "links": [{"rel": "next", "href": href}]}
        known.faults.extend([lambda handler, answer=answer: reply(handler, 200, answer)])
        with serve(known) as url, pytest.raises(ServiceError, match=sentence):
            complete(Stac(http.polite_session(print), url), question)


def test_a_server_without_tls_is_asked_once(area: Database, catalogue: tuple[Catalogue, str]) -> None:
    _, url = catalogue
    refuse(area, url.replace("http:", "https:"), "is not trusted here")


@pytest.mark.parametrize(
    ("fault", "sent"),
    [("CERTIFICATE_VERIFY_FAILED] certificate has expired", False), ("SSL] record layer failure", True)],
)
def test_only_a_certificate_proves_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, fault: str, sent: bool
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise requests.exceptions.SSLError(f"[SSL: {fault}")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", fails)
    with pytest.raises(http.UnansweredError) as caught:
        http.polite_session(print).post("https://127.0.0.1/")
    assert caught.value.sent is sent


def test_silence_is_told_with_its_length() -> None:
    known, told = Catalogue([]), list[str]()
    known.faults.append(lambda _handler: time.sleep(0.5))
    with serve(known) as url:
        manners = Manners(per_second=1e6, attempts=2, pause_s=0.01, timeout_s=(1, 0.2))
        http.polite_session(told.append, manners).get(f"{url}/Products")
    assert "Products: no answer in 0.2 s; attempt 2" in told[0]


def test_a_stac_answer_ends_where_the_service_says_so_and_nowhere_else() -> None:
    """Neither a page without products nor an answer that is no list of them is the end."""
    known = Catalogue([])

    def page(first: int, number: int, following: int | None) -> Callable[[BaseHTTPRequestHandler], None]:
        items = [
            {"id": f"{n}", "properties": {"datetime": "2024-02-06T04:11:37Z"}} for n in range(first, number)
        ]
        links = [] if following is None else [{"rel": "next", "href": f"{url}/search?token={following}"}]
        return lambda handler: reply(handler, 200, {"features": items, "links": links})

    start = datetime(2024, 2, 1)
    question = Question(CARDS["s2"], start, start + timedelta(days=29), box(30, 52, 31, 53))
    with serve(known) as url:
        stac = Stac(http.polite_session(print), url)
        known.faults.extend([page(0, 0, 1), page(0, 7, 2), page(0, 0, 3), page(7, 9, None)])
        assert len(complete(stac, question)) == 9
        known.faults.extend([page(0, 99, 1), lambda handler: reply(handler, 200, {"message": "try later"})])
        with pytest.raises(ServiceError, match="is not a valid STAC service"):
            complete(stac, question)
        known.faults.extend([page(0, 5, 1), page(0, 0, 2), page(0, 0, 1)])
        with pytest.raises(ServiceError, match="repeats a page or lists only empty ones"):
            complete(stac, question)
        known.faults.clear()
        known.faults.extend(page(0, 0, token) for token in range(50))
        with pytest.raises(ServiceError, match="repeats a page or lists only empty ones"):
            complete(stac, question)
        assert len(known.faults) > 30


def test_stac_says_the_same(area: Database, catalogue: tuple[Catalogue, str]) -> None:
    known, url = catalogue
    for faults, sentence in (
        (
            [lambda handler: reply(handler, 200, "<html></html>")],
            "/search answers with a web page instead of JSON",
        ),
        ([hang_up] * 3, "/search does not answer (it hung up, 3 attempts)"),
        ([lambda handler: reply(handler, 200, {"features": 7})], "is not a valid STAC service"),
        # what is no list of products is no end of one
        ([lambda handler: reply(handler, 200, {"detail": "hello"})], "is not a valid STAC service"),
        ([lambda handler: reply(handler, 200, {})], "is not a valid STAC service"),
        ([lambda handler: reply(handler, 200, [])], "is not a valid STAC service"),
        ([lambda handler: reply(handler, 400, {"code": "BadRequest"})], "refuses the search (HTTP 400: "),
    ):
        known.faults.extend(faults)
        refuse(area, url, sentence, "--source", "stac", card=("s2",))
