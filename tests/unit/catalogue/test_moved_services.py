"""Services that have moved: followed where the question goes along, else one sentence that says whereto."""

from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path

import pytest

from cbmctl.catalogue import http
from cbmctl.catalogue.http import Manners, ServiceError
from cbmctl.catalogue.odata import OData
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.service_interface import Question, Service
from cbmctl.catalogue.slicing import complete
from cbmctl.catalogue.stac import Stac
from tests.support.odata_server import Catalogue, reply, serve
from tests.support.recorded_answers import AREA, backscatter

START, END = datetime(2024, 2, 1), datetime(2024, 3, 1)


def moved(code: int, location: str, *, parameters: bool = True) -> Callable[[BaseHTTPRequestHandler], None]:
    """A redirect, with the parameters of the request or without."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        query = handler.path.partition("?")[2] if parameters else ""
        where = f"{location}?{query}" if query else location
        reply(handler, code, "<html>moved</html>", {"Location": where})

    return answer


@pytest.fixture
def known(testdata: Path) -> Catalogue:
    return Catalogue([backscatter(testdata, number) for number in range(4)])


@pytest.fixture
def url(known: Catalogue) -> Iterator[str]:
    with serve(known) as address:
        yield address


def session() -> http.requests.Session:
    return http.polite_session(print, Manners(per_second=1e6, attempts=3, pause_s=0.01))


def ask(service: Service, card: str) -> list[str]:
    return [service.key(product) for product in complete(service, Question(CARDS[card], START, END, AREA))]


def away(code: int, where: str) -> str:
    """What is said of a redirect; one that is not for good may lead to a page to log in."""
    if code in (302, 303):
        return f"redirects to {where} instead of answering. Check the URL."
    return f"has moved to {where}. Use that as the URL."


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_search_by_parameters_is_followed(known: Catalogue, url: str, code: int) -> None:
    known.faults.append(moved(code, f"{url}/Products"))
    assert len(ask(OData(session(), url), "bs")) == 4


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_search_that_would_lose_its_parameters_is_not(known: Catalogue, url: str, code: int) -> None:
    known.faults.append(moved(code, "/elsewhere", parameters=False))
    with pytest.raises(ServiceError) as error:
        ask(OData(session(), url), "bs")
    host = url.removesuffix("/odata/v1")
    assert str(error.value) == f"{url}/Products {away(code, f'{host}/elsewhere')}"
    assert len(known.asked) == 1


@pytest.mark.parametrize("code", [307, 308])
def test_a_search_by_a_body_is_followed_with_it(known: Catalogue, url: str, code: int) -> None:
    bodies = list[bytes]()

    def empty(handler: BaseHTTPRequestHandler) -> None:
        bodies.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        reply(handler, 200, {"features": [], "links": []})

    def there(handler: BaseHTTPRequestHandler) -> None:
        bodies.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        moved(code, f"{url}/there/search")(handler)

    known.faults.extend([there, empty])
    assert ask(Stac(session(), url), "s2") == []
    assert bodies[0] == bodies[1] != b""
    assert known.asked[1].endswith("/there/search")


@pytest.mark.parametrize("code", [301, 302, 303])
def test_a_search_by_a_body_is_not_asked_without_it(known: Catalogue, url: str, code: int) -> None:
    known.faults.append(moved(code, "https://new.example/v1/search"))
    with pytest.raises(ServiceError) as error:
        ask(Stac(session(), url), "s2")
    assert str(error.value) == f"{url}/search {away(code, 'https://new.example/v1/search')}"
    assert len(known.asked) == 1


@pytest.mark.parametrize(("service", "card"), [(OData, "bs"), (Stac, "s2")])
def test_redirects_that_lead_nowhere_are_one_sentence(
    known: Catalogue, url: str, service: type[OData | Stac], card: str
) -> None:
    path = "search" if service is Stac else "Products"
    page = [lambda handler: reply(handler, 200, "<html>Welcome</html>")]
    circle = (moved(307, f"{url}/{path}/{number}") for number in count())
    for faults, sentence in (
        ([next(circle) for _ in range(50)], f"{url}/{path} redirects in a circle. Check the URL"),
        ([next(circle), *page], "answers with a web page instead of JSON. Check the URL"),
        ([moved(307, "ftp://new.example/x")], f"{url}/{path} has moved to 'ftp://new.example/x"),
        ([moved(307, "mailto:x")], "which is not a valid URL. Check the URL"),
        ([moved(307, "http://[x/")], "which is not a valid URL. Check the URL"),
        (
            [moved(307, "http://x..y/")],
            "http://x..y/ does not answer (no host can have that name, 3 attempts)",
        ),
        # without a place to go to it is an answer like others
        ([lambda handler: reply(handler, 304, "")], "refuses the search (HTTP 304: "),
        ([lambda handler: reply(handler, 300, "<p>Choose</p>")], "refuses the search (HTTP 300: "),
    ):
        known.faults.clear()
        known.asked.clear()
        known.faults.extend(faults)
        with pytest.raises(ServiceError) as error:
            ask(service(session(), url), card)
        assert sentence in str(error.value)
        assert "\n" not in str(error.value)
        assert len(known.asked) <= 6
