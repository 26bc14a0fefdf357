"""Every product of a period, whatever a service does not say; areas that leave nothing out."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon, box

from cbmctl.catalogue.http import ServiceError
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.search import months
from cbmctl.catalogue.search_area import CORNERS, PIECES, pieces
from cbmctl.catalogue.service_interface import Page, Product, Question
from cbmctl.catalogue.service_products import Told
from cbmctl.catalogue.slicing import complete
from tests.support.effort import examples

START = datetime(2021, 1, 1)
AREA = box(0, 0, 1, 1)


class Paged:
    """A service by pages of at most `cap`, which stops without a word after `hidden` products.

    Both ends of a period count. Products lie side by side, evenly from west to east.
    """

    name, url = "paged", "http://paged"

    def __init__(
        self,
        times: list[int],
        *,
        page_size: int,
        reach: int,
        cap: int | None = None,
        hidden: int | None = None,
        counts: bool = False,
        estimates: Callable[[int], int] | None = None,
    ) -> None:
        self.estimates, self.asked = estimates, 0
        self.products = [
            {"id": str(number), "at": START + timedelta(seconds=at), "lon": number * 0.618 % 1}
            for number, at in enumerate(times)
        ]
        self.page_size, self.cap, self.reach, self.counts = page_size, cap or page_size, reach, counts
        self.hidden = hidden

    def pages(self, question: Question, page_size: int) -> Iterator[Page]:
        west, _, east, _ = question.area.bounds
        found = [
            product
            for product in self.products
            if question.start <= product["at"] <= question.end and west <= product["lon"] <= east
        ]
        shown = found[: self.hidden]
        size = min(page_size, self.cap)
        total = len(found) if self.counts else self.estimates(len(found)) if self.estimates else None
        for place in range(0, max(len(shown), 1), size):
            self.asked += 1
            yield Page(shown[place : place + size], total, exact=self.counts)

    def key(self, product: Product) -> str:
        return str(product["id"])

    def sensed(self, product: Product) -> datetime:
        time: datetime = product["at"]
        return time

    def tell(self, product: Product) -> Told:
        raise NotImplementedError  # no product is entered here: it must not be called


def question(seconds: int) -> Question:
    return Question(CARDS["s2"], START, START + timedelta(seconds=seconds), AREA)


def everything(service: Paged, seconds: int) -> list[str]:
    """Every product of the period is found, and once; return what was told meanwhile."""
    told: list[str] = []
    found = [product["id"] for product in complete(service, question(seconds), told.append)]
    end = START + timedelta(seconds=seconds)
    assert sorted(found) == sorted(product["id"] for product in service.products if product["at"] < end)
    return told


@examples(50)
@given(
    number=st.integers(0, 600),
    seed=st.integers(0, 1000),
    burst=st.booleans(),
    page_size=st.integers(5, 40),
    cap=st.integers(5, 40),
    pages=st.integers(2, 6),
    known=st.booleans(),
    counts=st.booleans(),
)
def test_every_product_of_the_period_once(
    number: int, seed: int, page_size: int, cap: int, pages: int, *, burst: bool, known: bool, counts: bool
) -> None:
    """Answers end after a few pages, whether the service is known to do so or not."""
    random = np.random.default_rng(seed)
    times = random.choice(1000 if burst else 5000, number, replace=False).tolist()
    most = pages * min(page_size, cap)
    # a service that counts cannot stop without a word
    reach, hidden = (most, most) if known or counts else (10_000, most)
    everything(
        Paged(times, page_size=page_size, cap=cap, reach=reach, hidden=hidden, counts=counts), seconds=4000
    )


@pytest.mark.parametrize(
    ("number", "page_size", "hidden"),
    [(1500, 100, 1000), (12_000, 100, 10_000), (12_000, 1000, 10_000), (300, 100, 100), (1000, 100, None)],
)
def test_an_answer_that_was_cut_off_without_a_word(number: int, page_size: int, hidden: int | None) -> None:
    service = Paged([3 * n for n in range(number)], page_size=page_size, reach=10_000, hidden=hidden)
    everything(service, seconds=3 * number)


@examples(50)
@given(
    number=st.integers(0, 300),
    seed=st.integers(0, 1000),
    page_size=st.integers(5, 40),
    hidden=st.integers(5, 100),
    factor=st.floats(1, 30),
)
def test_an_answer_that_was_cut_off_within_a_page_below_an_estimate(
    number: int, seed: int, page_size: int, hidden: int, factor: float
) -> None:
    times = np.random.default_rng(seed).choice(2000, number, replace=False).tolist()
    service = Paged(
        times,
        page_size=page_size,
        reach=10_000,
        hidden=hidden,
        estimates=lambda there: int(there * factor) + 1,
    )
    everything(service, seconds=2000)


@pytest.mark.parametrize(
    "estimates", [lambda n: n + 3, lambda n: n // 2, lambda n: 7 * n, lambda n: n + 20_000]
)
def test_an_estimate_that_is_always_wrong(estimates: Callable[[int], int]) -> None:
    """It is asked twice, at most until an instant, and what ends properly is believed."""
    for times in ([], [5], [5] * 7, [5, 9, 3000], list(range(0, 90_000, 400))):
        service = Paged(times, page_size=100, reach=10_000, estimates=estimates)
        told = everything(service, seconds=100_000)
        assert service.asked < 50, times
        # nobody is left to believe that it was counted
        assert bool(told) == (estimates(len(times)) > len(times))
        assert all(
            re.search(r"estimates \d+ products from .* and lists \d+; shorter periods", each) for each in told
        )
    everything(Paged([5] * 7, page_size=100, reach=1000, estimates=estimates), seconds=1)


def test_more_than_can_be_shown_below_an_estimate() -> None:
    times = [3 * n for n in range(1500)]
    everything(Paged(times, page_size=100, reach=1000, hidden=1000, estimates=lambda n: n + 9), seconds=4500)


def test_a_count_that_ends_where_the_service_does() -> None:
    class Modest(Paged):
        def pages(self, question: Question, page_size: int) -> Iterator[Page]:
            for page in super().pages(question, page_size):
                yield Page(page.products, min(page.total or 0, 1000))

    times = [3 * n for n in range(1500)]
    everything(Modest(times, page_size=100, reach=1000, hidden=1000, counts=True), seconds=4500)


@pytest.mark.parametrize("number", [100, 200, 450])
def test_many_at_one_instant_are_asked_for_by_place(number: int) -> None:
    everything(Paged([5] * number, page_size=100, reach=10_000, hidden=300), seconds=10)


@pytest.mark.parametrize("counts", [True, False])
def test_more_at_one_instant_and_place_than_can_be_listed(*, counts: bool) -> None:
    service = Paged([5] * 50, page_size=10, reach=30, hidden=30, counts=counts)
    for product in service.products:
        product["lon"] = 0.5
    with pytest.raises(ServiceError, match=r"than it can list\. Ask for a smaller area"):
        complete(service, question(10))


def test_months() -> None:
    from datetime import date

    spans = list(months(date(2020, 12, 15), date(2021, 3, 10)))
    assert [(start.day, start.month, end.day, end.month) for start, end in spans] == [
        (15, 12, 1, 1),
        (1, 1, 1, 2),
        (1, 2, 1, 3),
        (1, 3, 10, 3),
    ]


@examples(20)
@given(
    centres=st.lists(st.tuples(st.floats(-170, 170), st.floats(-60, 70)), min_size=1, max_size=40),
    radius=st.floats(0.001, 3),
    spikes=st.integers(3, 400),
)
def test_pieces_are_few_and_leave_nothing_out(
    centres: list[tuple[float, float]], radius: float, spikes: int
) -> None:
    turns = np.linspace(0, 2 * np.pi, spikes, endpoint=False)
    lengths = radius * (1 + (np.arange(spikes) % 2)) / 2
    stars = [
        Polygon(np.column_stack([x + lengths * np.cos(turns), y + lengths * np.sin(turns)]))
        for x, y in centres
    ]
    area = shapely.union_all([shapely.make_valid(star) for star in stars])
    found = pieces(area)
    assert shapely.union_all(found).covers(area)
    assert len(found) <= PIECES
    assert sum(len(piece.exterior.coords) for piece in found) <= CORNERS
    assert all(piece.is_valid and not piece.interiors for piece in found)


def test_what_lies_far_apart_is_not_searched_in_one() -> None:
    france = shapely.union_all(
        [box(-4, 42, 8, 51), box(-61.8, 15.8, -61, 16.5), box(55.2, -21.4, 55.8, -20.9)]
    )
    assert len(pieces(france)) == 3
    assert sum(piece.area for piece in pieces(france)) < 1.1 * france.area
