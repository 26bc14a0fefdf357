"""Two syncs at once: neither is taken for the other, and nothing is lost to either."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from shapely import box, to_wkb

from tests.conftest import Database
from tests.support.catalogue_search import Words, parameters_of, run, sync
from tests.support.odata_server import Catalogue, reply, serve
from tests.support.recorded_answers import AREA, backscatter

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty")]

SHORT, LONG = ("2024-02-01", "2024-03-01"), ("2024-02-01", "2024-06-01")
DAYS = (0, 40, 70)


@pytest.fixture
def known(testdata: Path) -> Catalogue:
    return Catalogue([backscatter(testdata, day * 1440) for day in DAYS])


def meanwhile(known: Catalogue, happens: Callable[[], Any]) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer that comes after something else has happened."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        happens()
        reply(handler, 200, known.answer("", parameters_of(handler)))

    return answer


def cut_short(area: Database, url: str, known: Catalogue, period: Words, *options: str, months: int) -> None:
    """A sync that enters a few months and then fails."""
    known.faults.extend([meanwhile(known, lambda: None)] * months)
    known.faults.extend([lambda handler: reply(handler, 503, "")] * 3)
    assert run(area, url, *options, period=period).exception


def on_record(area: Database) -> list[tuple[Any, ...]]:
    with area.connect() as conn:
        return conn.execute(
            "SELECT end_day::text, complete_at, full_at, began_at, reached FROM catalogue_syncs"
        ).fetchall()


def test_a_shorter_period_that_ends_meanwhile_is_not_taken_for_the_longer(
    area: Database, known: Catalogue
) -> None:
    with serve(known) as url:
        # while February is searched, a sync of more months begins and is cut short
        known.faults.append(
            meanwhile(known, lambda: cut_short(area, url, known, LONG, months=1)),
        )
        sync(area, url, period=SHORT)
        assert [row[:3] for row in on_record(area)] == [(LONG[1], None, None)]
        rest = sync(area, url, "--since", "last", period=LONG)
        assert (len(rest["added"]), rest["published_since"]) == (2, None)


def test_an_outline_that_was_changed_meanwhile_is_not_taken_for_searched(
    area: Database, known: Catalogue, testdata: Path
) -> None:
    east = backscatter(testdata, 1)
    east["GeoFootprint"] = {
        "type": "Polygon",
        "coordinates": [[[40, 52], [41, 52], [41, 53], [40, 53], [40, 52]]],
    }
    known.products.append(east)
    known.shapes[id(east)] = box(40, 52, 41, 53)

    def move() -> None:
        with area.connect() as conn:
            outline = to_wkb(AREA.union(box(40, 52, 41, 53)))
            conn.execute("UPDATE aois SET wkb_geometry = ST_GeomFromWKB(%s, 4326)", [outline])
        cut_short(area, url, known, LONG, months=0)

    with serve(known) as url:
        known.faults.extend([meanwhile(known, move)])
        assert len(sync(area, url, period=LONG)["added"]) == len(DAYS)
        assert [row[1:3] for row in on_record(area)] == [(None, None)]
        assert sync(area, url, "--since", "last", period=LONG)["added"] == [east["Name"]]


def test_what_one_could_not_enter_is_not_forgotten_by_the_other(area: Database, known: Catalogue) -> None:
    """A search for what is new ends after one of everything that has found a broken item."""
    with serve(known) as url:
        sync(area, url, period=LONG)
        path = known.products[0].pop("S3Path")
        known.faults.append(meanwhile(known, lambda: sync(area, url, period=LONG)))
        sync(area, url, "--since", "last", period=LONG)
        known.products[0]["S3Path"] = path
        with area.connect() as conn:
            conn.execute("DELETE FROM dias_catalogue")
        assert len(sync(area, url, "--since", "last", period=LONG)["added"]) == len(DAYS)


def test_a_search_of_everything_goes_on_though_one_for_what_is_new_has_ended(
    area: Database, known: Catalogue
) -> None:
    with serve(known) as url:
        sync(area, url, period=LONG)
        cut_short(area, url, known, LONG, months=2)
        sync(area, url, "--since", "last", period=LONG)
        known.asked.clear()
        assert "continued from 2024-04-01" in run(area, url, period=LONG).stderr
        assert len(known.asked) == 2


def test_two_of_the_same_end_as_one(area: Database, known: Catalogue) -> None:
    with serve(known) as url:
        known.faults.append(meanwhile(known, lambda: sync(area, url, period=LONG)))
        sync(area, url, period=LONG)
        ((_, complete, full, began, reached),) = on_record(area)
        assert complete == full
        assert (began, reached) == (None, None)
        assert sync(area, url, "--since", "last", period=LONG)["published_since"]
