"""The rules of an order plan, one by one: timeliness, versions, pairs, what is held, quota and cost."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from shapely import Polygon, box

from cbmctl.errors import UserError
from cbmctl.ordering.coherence_pairs import gaps, pairs
from cbmctl.ordering.forecast import Forecast, Quota, forecast
from cbmctl.ordering.level_1_products import Input, Inputs, manuals_timeliness
from cbmctl.ordering.plan import make_plan, search_start

START = datetime(2021, 3, 14, 5, 32, 37)
PLACE = box(0, 0, 2, 2)
PERIOD = (date(2021, 3, 1), date(2021, 4, 1))


def slc(
    days: float = 0, sensor: str = "1A", seconds: float = 0, *, orbit: int | None = 44, place: Polygon = PLACE
) -> Input:
    sensed = START + timedelta(days=days, seconds=seconds)
    name = f"S{sensor}_IW_SLC__1SDV_{sensed:%Y%m%dT%H%M%S}_x.SAFE"
    return Input(name, sensor, sensed, orbit, "Fast-24h", "", True, place)


def planned(card: str, inputs: list[Input], **given: Any) -> Any:
    options: dict[str, Any] = {
        "existing": set(),
        "on_order": set(),
        "stopped": set(),
        "proven": set(),
        "label": "there",
    }
    return make_plan(card, Inputs(inputs), PERIOD, **options | given)


@pytest.mark.parametrize(
    ("sensed", "timeliness"),
    [(datetime(2021, 2, 28, 23, 59, 59), "Fast-24h"), (datetime(2021, 3, 1), "NRT-3h")],
)
def test_the_manuals_timeliness(sensed: datetime, timeliness: str) -> None:
    assert manuals_timeliness(sensed) == timeliness


def test_a_pair_is_of_one_orbit_at_the_right_distance() -> None:
    later, six, twelve = slc(), slc(-6, "1B", 3), slc(-12)
    every = [later, six, twelve, slc(-6, "1B", orbit=117), slc(-7, "1C"), slc(6, "1B")]
    assert pairs([later], every, 6) == {later.name: six}
    assert pairs([later], every, 12) == {later.name: twelve}
    assert pairs([six], every, 6) == {six.name: twelve}
    assert pairs([twelve], every, 6) == {}


def test_of_two_slices_the_pair_has_the_one_that_shows_more() -> None:
    later = slc()
    less, more = slc(-6, "1B", -20, place=box(0, 0, 2, 0.9)), slc(-6, "1B", 7, place=box(0, 0.8, 2, 2.7))
    assert pairs([later], [less, more], 6) == {later.name: more}
    assert pairs([later], [less], 6) == {later.name: less}
    assert pairs([later], [slc(-6, "1B", place=box(0, 0, 2, 0.7))], 6) == {}
    assert pairs([later], [slc(-6, "1B", 61)], 6) == {}


def test_when_no_satellites_are_six_days_apart() -> None:
    assert gaps(date(2021, 1, 1), date(2021, 12, 24)) == []
    assert gaps(date(2021, 12, 24), date(2022, 1, 1)) == [(date(2021, 12, 24), date(2022, 1, 1))]
    assert gaps(date(2021, 10, 1), date(2026, 12, 1)) == [
        (date(2021, 12, 24), date(2025, 3, 26)),
        (date(2026, 6, 9), date(2026, 6, 24)),
    ]
    assert gaps(date(2015, 1, 1), date(2016, 1, 1)) == [(date(2015, 1, 1), date(2016, 1, 1))]
    assert gaps(date(2027, 1, 1), date(2028, 1, 1)) == []


def test_coherence_needs_the_days_before_the_period() -> None:
    assert search_start("bs", PERIOD[0]) == PERIOD[0]
    before = START - timedelta(days=12)
    assert search_start("c12", START.date()) <= before.date()


def test_a_plan_is_what_is_missing() -> None:
    there, ordered, alone, free = slc(1), slc(2), slc(3), slc(4)
    earlier = [slc(days - 6, "1B") for days in (1, 2, 4)]
    plan = planned(
        "c6",
        [*earlier, there, ordered, alone, free],
        existing={there.key},
        on_order={ordered.key},
    )
    # the earlier ones have no pair of their own
    assert (plan.level_1, plan.existing, plan.on_order, len(plan.no_pair)) == (7, 1, 1, 4)
    (wanted,) = plan.wanted
    assert (wanted.product_type, wanted.input, wanted.earlier) == ("CARD-COH6", free.name, earlier[2].name)
    assert (wanted.label, plan.satellites) == ("there", {"1A-1B": 1})


def test_what_was_sensed_before_the_period_is_only_the_earlier_one_of_a_pair() -> None:
    later, earlier = slc(-12), slc(-18, "1B")
    plan = planned("c6", [earlier, later])
    assert [one.input for one in plan.wanted] == [later.name]
    assert plan.level_1 == 1


def test_of_a_satellite_that_is_not_proven_one_is_ordered_first() -> None:
    old, new = [slc(1), slc(3)], [slc(0, "1C"), slc(2, "1C"), slc(4, "1D")]
    plan = planned("bs", [*old, *new])
    assert [one.input for one in plan.wanted] == [one.name for one in (new[0], new[2], *old)]
    assert plan.held == {"1C": 1}
    waiting = planned("bs", [*old, *new], on_order={new[0].key})
    assert [one.input for one in waiting.wanted] == [one.name for one in (new[2], *old)]
    proven = planned("bs", [*old, *new], existing={new[0].key}, proven={"1C"})
    assert [one.input for one in proven.wanted] == [one.name for one in (new[2], *old, new[1])]
    assert not proven.held
    assert len(planned("bs", [*old, *new], proven=None).wanted) == 5


def test_a_pair_with_a_new_satellite_is_not_proven_by_the_other_order() -> None:
    found = [slc(-12), slc(-6, "1C"), slc(0), slc(6, "1C"), slc(12)]
    plan = planned("c6", found, proven={"1A-1C", "1A-1B"})
    assert plan.satellites == {"1A-1C": 2, "1C-1A": 1}
    assert plan.held == {"1C-1A": 1}


def test_what_was_refused_is_planned_but_not_counted() -> None:
    one, other = slc(1), slc(2)
    plan = planned("bs", [one, other], stopped={one.key})
    assert [len(plan.wanted), plan.stopped, plan.number] == [2, 1, 1]


TODAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("products", "quota", "used", "expected"),
    [
        (0, Quota(), 0, (0, 0, None)),
        (25, Quota(), 0, (25, 1, date(2026, 11, 1))),
        (26, Quota(), 0, (25, 2, date(2026, 12, 1))),
        (26, Quota(), 20, (5, 2, date(2026, 12, 1))),
        (25, Quota(), 25, (0, 1, date(2026, 12, 1))),
        (25, Quota(), 99, (0, 1, date(2026, 12, 1))),
        # the manual's Danish example: 807 of GRD less 284
        (523, Quota(), 0, (25, 21, date(2028, 7, 1))),
        (523, Quota(per_month=None), 100, (523, 1, date(2026, 11, 1))),
        (523, Quota(per_month=200), 0, (200, 3, date(2027, 1, 1))),
    ],
)
def test_months_by_the_quota(
    products: int, quota: Quota, used: int, expected: tuple[int, int, date | None]
) -> None:
    told = forecast(products, quota, used=used, today=TODAY)
    assert (told.this_month, told.months, told.last_month) == expected
    assert (told.done, told.cost) == (None, None)


@pytest.mark.parametrize(
    ("products", "quota", "used", "done"),
    [
        (10, Quota(per_month=None, in_parallel=2, hours=24), 0, date(2026, 12, 5)),
        (10, Quota(per_month=None, in_parallel=1, hours=24), 0, date(2026, 12, 10)),
        (26, Quota(hours=24), 0, date(2026, 12, 13)),  # the speed is the bottleneck
        (26, Quota(hours=2), 0, date(2026, 12, 1)),  # the quota is
        (60, Quota(hours=24), 25, date(2027, 2, 6)),
    ],
)
def test_the_day_of_the_last_product(products: int, quota: Quota, used: int, done: date) -> None:
    assert forecast(products, quota, used=used, today=TODAY).done == done


@pytest.mark.parametrize(
    ("quota", "budget", "price", "per_month"),
    [
        (Quota(), 100.0, 10.0, 10),
        (Quota(), 100.0, 3.0, 25),
        (Quota(per_month=None), 100.0, 3.0, 33),
        (Quota(per_month=None), 100.0, 0.0, None),
        (Quota(), 100.0, 0.0, 25),
    ],
)
def test_a_budget_limits_the_quota(quota: Quota, budget: float, price: float, per_month: int | None) -> None:
    assert quota.within(budget, price).per_month == per_month


def test_a_budget_below_one_product() -> None:
    with pytest.raises(UserError, match=r"a budget of 1 a month does not pay for one product at 1\.2"):
        Quota().within(1, 1.2)


def test_cost() -> None:
    assert forecast(523, Quota(), used=0, today=TODAY, price=1.5).cost == 784.5
    assert forecast(0, Quota(), used=0, today=TODAY, price=1.5) == Forecast(0, 0, None, None, 0.0)
