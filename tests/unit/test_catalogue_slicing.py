"""Every product of a period, whatever a service does not say; areas that leave nothing out."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, box

from cbmctl.catalogue.area import CORNERS, PIECES, pieces
from cbmctl.catalogue.normal import Told
from cbmctl.catalogue.polite import ServiceError
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.remote import months
from cbmctl.catalogue.service import Page, Product, Question
from cbmctl.catalogue.slicing import complete

START = datetime(2021, 1, 1)
AREA = box(0, 0, 1, 1)


class Paged:
    """A service of `reach` products at most, by pages of at most `cap`; both ends of a period count."""

    name, url = "paged", "http://paged"

    def __init__(self, times: list[int], *, page_size: int, cap: int, reach: int, counts: bool) -> None:
        self.products = [
            {"id": str(number), "at": START + timedelta(seconds=at)} for number, at in enumerate(times)
        ]
        self.page_size, self.cap, self.reach, self.counts = page_size, cap, reach, counts
        self.asked = 0

    def pages(self, question: Question, page_size: int) -> Iterator[Page]:
        found = [p for p in self.products if question.start <= p["at"] <= question.end]
        shown = found if self.counts else found[: self.reach]  # without a count, it ends without a word
        size = min(page_size, self.cap)
        for place in range(0, max(len(shown), 1), size):
            self.asked += 1
            yield Page(shown[place : place + size], len(found) if self.counts else None)

    def key(self, product: Product) -> str:
        return str(product["id"])

    def sensed(self, product: Product) -> datetime:
        time: datetime = product["at"]
        return time

    def tell(self, product: Product) -> Told:
        raise NotImplementedError


def question(seconds: int) -> Question:
    return Question(CARDS["s2"], START, START + timedelta(seconds=seconds), AREA)


@settings(deadline=None, max_examples=200)
@given(
    times=st.lists(st.integers(0, 5000), max_size=300),
    page_size=st.integers(5, 40),
    cap=st.integers(5, 40),
    counts=st.booleans(),
)
def test_every_product_of_the_period_once(
    times: list[int], page_size: int, cap: int, *, counts: bool
) -> None:
    """A service ends without a word at a multiple of its page: only then can nobody tell that it did."""
    most = max(np.bincount(times)) if times else 0
    size = min(page_size, cap)
    reach = size * max(3, -(-2 * (most + 1) // size))
    service = Paged(times, page_size=page_size, cap=cap, reach=reach, counts=counts)
    found = [product["id"] for product in complete(service, question(4000))]
    wanted = [
        product["id"] for product in service.products if product["at"] < START + timedelta(seconds=4000)
    ]
    assert sorted(found) == sorted(wanted)


def test_more_at_one_instant_than_can_be_listed() -> None:
    service = Paged([5] * 50, page_size=10, cap=10, reach=30, counts=True)
    with pytest.raises(ServiceError, match="than it can list: ask for a smaller area"):
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


@settings(deadline=None, max_examples=60)
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
