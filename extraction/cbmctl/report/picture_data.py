"""What the picture is drawn from, and the colours and words its panels share."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from cbmctl.report.observations import Measure, Observations, ParcelMap
from cbmctl.report.queries import Facts

# Okabe-Ito: told apart with any kind of colour vision
CHOSEN, CONTEXT, CLOUDY = "#D55E00", "#0072B2", "#8c8c8c"
INK, SOFT, LINES, UNSEEN, UNSEEN_EDGE = "#1c1c1c", "#5f6368", "#e6e6e6", "#e4e4e4", "#bdbdbd"
TITLE_PAD = 12  # points, the same above every panel


@dataclass(frozen=True)
class Scene:
    """Everything the picture shows; without a season `parcel` is None, `bands` has the day."""

    title: str
    facts: Facts
    measure: Measure
    day: date
    parcels: ParcelMap
    sample: Observations
    parcel: int | None
    parcel_name: str
    bands: Mapping[str, Observations]


def spoken(day: date) -> str:
    """A date as people say it, in English whatever the machine's language."""
    return f"{day.day} {calendar.month_name[day.month]} {day.year}"
