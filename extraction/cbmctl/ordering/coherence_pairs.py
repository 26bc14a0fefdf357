"""Which coherence is possible: the earlier SLC of each pair, and which satellites flew 6 days apart when.

Every satellite repeats its orbit after 12 days; two of them, half a cycle apart, make pairs of 6 days.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cbmctl.ordering.level_1_products import Input

DAYS: Mapping[str, int] = {"c6": 6, "c12": 12}
_MOST_LATER = timedelta(seconds=60)  # slices of two passes are not cut at the same place; one takes 27 s
_LEAST_SHARED = 0.4  # part of the later slice that the earlier one shows; of two neighbours one shows half


@dataclass(frozen=True)
class Era:
    """A time in which two satellites were 6 days apart.

    Attributes:
        sensors: the two.
        first: day of the first later acquisition.
        end: the day after the last; None if it goes on.
    """

    sensors: tuple[str, str]
    first: date
    end: date | None


# Sentinel-1B failed on 23 December 2021. The data of Sentinel-1C are open since 26 March 2025; from 8 to 24
# June 2026 it was moved 6 days from Sentinel-1D, and Sentinel-1A ended (Copernicus Data Space, news of
# 25 March 2025 and 28 May 2026; ASFHyP3/hyp3-docs, docs/sentinel1.md). For explanations only: what is
# proposed follows from the products that the service lists.
ERAS = (
    Era(("1A", "1B"), date(2016, 9, 28), date(2021, 12, 24)),
    Era(("1A", "1C"), date(2025, 3, 26), date(2026, 6, 9)),
    Era(("1C", "1D"), date(2026, 6, 24), None),
)


def pairs(later: Sequence[Input], every: Sequence[Input], days: int) -> dict[str, Input]:
    """Find the earlier SLC of each pair.

    Args:
        later: the later acquisitions.
        every: those and earlier ones.
        days: between the two of a pair.

    Returns:
        The earlier SLC by the name of the later SLC; a later SLC without an earlier one is left out.
    """
    by_orbit = defaultdict[int | None, list[Input]](list)
    for one in every:
        by_orbit[one.relative_orbit].append(one)
    found = {}
    for one in later:
        wanted = one.sensed - timedelta(days=days)
        near = [each for each in by_orbit[one.relative_orbit] if abs(each.sensed - wanted) <= _MOST_LATER]
        shares = {each.name: _share(one, each) for each in near}
        best = max(near, key=lambda each: (shares[each.name], each.name), default=None)
        if best is not None and shares[best.name] >= _LEAST_SHARED:
            found[one.name] = best
    return found


def gaps(start: date, end: date) -> list[tuple[date, date]]:
    """Return the parts [first, end) of a period in which no two satellites were 6 days apart."""
    found, first = [], start
    for era in ERAS:
        if era.first > first and first < end:
            found.append((first, min(era.first, end)))
        first = max(first, era.end or end)
    return found + ([(first, end)] if first < end else [])


def _share(one: Input, other: Input) -> float:
    return float(one.footprint.intersection(other.footprint).area / one.footprint.area)
