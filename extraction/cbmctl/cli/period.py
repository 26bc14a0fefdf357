"""A period as arguments of a command: the first day, and the day after the last."""

from datetime import date

from cbmctl.errors import UserError

_YEARS = range(2014, 2101)  # Sentinel-1A was the first to fly


def read_period(start: str, end: str) -> tuple[date, date]:
    """Return the days of two texts.

    Raises:
        UserError: one is not a date, lies before Sentinel-1A, or the end is not after the start.
    """
    days = []
    for text in (start, end):
        try:
            days.append(date.fromisoformat(text))
        except ValueError:
            raise UserError(
                "option.invalid_date", f"'{text}' is not a valid date", "Use YYYY-MM-DD"
            ) from None
        if days[-1].year not in _YEARS:
            raise UserError(
                "option.invalid_date",
                f"there are no scenes of {text}",
                f"Use a date from {_YEARS[0]}, when the first Sentinel flew, to {_YEARS[-1]}",
            )
    if days[0] >= days[1]:
        raise UserError(
            "option.invalid_period",
            f"the end {end} is not after the start {start}",
            "END is the day after the last one",
            about="END",
        )
    return days[0], days[1]
