"""Numbers and dates as text, as files have them: which are valid, and their exact values."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.parcels.files.exact_numbers import EXACT_BELOW
from cbmctl.parcels.files.raw.corrections import Corrections, Rows

WHOLE = r"^[+-]?[0-9]+(\.0*)?$"
PLAIN = r"[+-]?[0-9]+(\.[0-9]*)?"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
DIGITS = 76  # of Arrow's widest decimal
HOUR, MINUTE = r"(?:[01][0-9]|2[0-3])", r"[0-5][0-9]"
TIME = rf"(?:[T ]{HOUR}:{MINUTE}(?::{MINUTE}(?:[.,][0-9]+)?)?|T{HOUR}{MINUTE}(?:{MINUTE})?)"
ZONE = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"
AFTER_DATE = rf"(?:{TIME}(?:{ZONE}|[+-][0-9]{{2}})?|{ZONE})?"  # any other text may be a second date
DATE = re.compile(rf"([0-9]{{4}})[-/]([0-9]{{1,2}})[-/]([0-9]{{1,2}}){AFTER_DATE}")
COMPACT_DATE = re.compile(rf"([0-9]{{4}})([0-9]{{2}})([0-9]{{2}}){AFTER_DATE}")
NOT_MIDNIGHT = r"[0-9][T ][0-9:.,]*[1-9]"
INSTANT = re.compile(r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}.*)?")


def numbers(fix: Corrections, name: str, text: pa.Array, *, whole: bool | None = None) -> None:
    """Put a column of numbers right: NULL and a finding for invalid ones, and no digit lost.

    Args:
        fix: the attributes.
        name: the column, of an integer or floating-point type.
        text: the values as written, without blanks around; null if missing.
        whole: whether the file declares whole numbers; None: if GDAL does.
    """
    kind = fix.table[name].type
    whole = pa.types.is_integer(kind) if whole is None else whole
    good = pc.match_substring_regex(text, WHOLE if whole else NUMBER)
    reason = "is not a whole number" if whole else "is not a number"
    bad = np.flatnonzero(np.asarray(pc.fill_null(pc.invert(good), False)))
    valid = pc.if_else(good, text, pa.scalar(None, text.type))
    if pa.types.is_integer(kind) and not whole:
        floats = [None if value is None else float(value) for value in valid.to_pylist()]
        fix.replace(name, pa.array(floats, pa.float64()))
    if not whole:
        infinite = np.flatnonzero(np.asarray(pc.fill_null(pc.is_inf(fix.table[name]), False)))
        bad, valid = np.union1d(bad, infinite), _nulled(valid, infinite)
    fix.invalid(name, bad, pc.take(text, pa.array(bad)).to_pylist(), reason)
    exact = _whole(valid, kind) if whole else _long(valid, fix.table[name])
    if exact is not None:
        fix.replace(name, exact)


def _nulled(text: pa.Array, rows: Rows) -> pa.Array:
    mask = np.zeros(len(text), dtype=bool)
    mask[rows] = True
    return pc.if_else(pa.array(mask), pa.scalar(None, text.type), text)


def _whole(text: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """The exact column if GDAL's type cannot hold its values, or does not hold all whole numbers."""
    digits = pc.max(pc.utf8_length(text)).as_py() or 0
    if pa.types.is_integer(kind) and digits <= {8: 2, 16: 4, 32: 9}.get(kind.bit_width, 18):
        return None
    found = [None if value is None else int(Decimal(value)) for value in text.to_pylist()]
    if not pa.types.is_integer(kind):
        return decimals([None if value is None else Decimal(value) for value in found])
    largest = max((abs(value) for value in found if value is not None), default=0)
    for wider in (kind, pa.int64()):
        if largest < 2 ** (wider.bit_width - 1):
            return pa.array(found, wider)
    return decimals([None if value is None else Decimal(value) for value in found])


def _long(text: pa.Array, column: pa.ChunkedArray) -> pa.Array | None:
    """The column as exact decimals if a number in it has more digits before the point than a double holds."""
    large = pc.greater_equal(pc.abs(pc.cast(column, pa.float64())), float(EXACT_BELOW))
    rows = np.flatnonzero(np.asarray(pc.fill_null(large, False)))
    candidates = zip(
        pc.take(text, pa.array(rows)).to_pylist(), column.take(pa.array(rows)).to_pylist(), strict=True
    )
    if not any(
        re.fullmatch(PLAIN, raw) and Decimal(raw) != Decimal(value) for raw, value in candidates if raw
    ):
        return None
    return decimals([None if value is None else Decimal(value) for value in text.to_pylist()])


def decimals(found: list[Decimal | None]) -> pa.Array:
    """Exact numbers; as text if they are longer than any decimal."""
    scale = max((_places(value) for value in found if value), default=0)
    whole = max((value.adjusted() + 1 for value in found if value is not None), default=0)
    precision = max(whole, 1) + scale
    if precision > DIGITS:
        return pa.array([None if value is None else str(value) for value in found], pa.string())
    kind = pa.decimal128(38, scale) if precision <= 38 else pa.decimal256(DIGITS, scale)
    return pa.array(found, kind)


def _places(value: Decimal) -> int:
    """Digits behind the point, without zeros at the end."""
    digits = f"{value:f}".partition(".")[2]
    return len(digits.rstrip("0"))


def dates(
    fix: Corrections, name: str, text: pa.Array, parse: Callable[[str], date | None] | None = None
) -> None:
    """Put a column of dates right, from the values as written; `parse` returns None for an invalid date.

    A date with a time other than midnight keeps its date, with a finding.
    """
    found, bad = _parsed(text, parse or date_of)
    fix.replace(name, pa.array(found, pa.date32()))
    fix.invalid(name, bad, pc.take(text, pa.array(bad)).to_pylist(), "is not a valid date")
    tell_times(fix, name, np.setdiff1d(np.arange(len(text)), bad), text)


def tell_times(fix: Corrections, name: str, rows: Rows, text: pa.Array) -> None:
    """A finding for each date among these rows whose text has a time other than midnight."""
    timed = np.asarray(pc.fill_null(pc.match_substring_regex(text, NOT_MIDNIGHT), False))
    lost = rows[timed[rows]]
    raw = pc.take(text, pa.array(lost)).to_pylist()
    fix.tell(name, "changed_text", lost, raw, "has a time, which a column of dates cannot hold")


def instants(fix: Corrections, name: str, text: pa.Array, *, utc: bool = False) -> None:
    """Put a column of timestamps right, from the values as written.

    With a zone in every value they become UTC, without any they stay as they are. If only some have one,
    the column is text: nobody can say what the others mean.

    Args:
        fix: the attributes.
        name: the column.
        text: the values; null if missing.
        utc: what has no zone is in UTC, because the format says so.
    """
    found, bad = _parsed(text, instant_of)
    with_zone = sum(value is not None and value.tzinfo is not None for value in found)
    without = sum(value is not None and value.tzinfo is None for value in found)
    if utc or not without:
        zoned = [
            value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))
            for value in found
        ]
        fix.replace(name, pa.array(zoned, pa.timestamp("us", "UTC")))
    elif with_zone:
        fix.replace(name, text)
        return
    else:
        fix.replace(name, pa.array(found, pa.timestamp("us")))
    fix.invalid(name, bad, pc.take(text, pa.array(bad)).to_pylist(), "is not a valid date and time")


def _parsed(text: pa.Array, parse: Callable[[str], Any]) -> tuple[list[Any], Rows]:
    """The values, each different text parsed once; the rows of invalid ones."""
    encoded = text.dictionary_encode()
    parsed = [parse(value) for value in encoded.dictionary.to_pylist()]
    found = [None if index is None else parsed[index] for index in encoded.indices.to_pylist()]
    valid = text.is_valid().to_pylist()
    bad = [
        row for row, (value, there) in enumerate(zip(found, valid, strict=True)) if there and value is None
    ]
    return found, np.array(bad, np.int64)


def date_of(text: str) -> date | None:
    """A date with the year first: YYYY-MM-DD, YYYY/MM/DD or YYYYMMDD; a valid time or zone may follow."""
    return _calendar_day(DATE.fullmatch(text.strip())) or compact_date_of(text)


def compact_date_of(text: str) -> date | None:
    """A date as YYYYMMDD."""
    return _calendar_day(COMPACT_DATE.fullmatch(text.strip()))


def _calendar_day(match: re.Match[str] | None) -> date | None:
    try:
        return date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        return None


def instant_of(text: str) -> datetime | None:
    """A date and time as in ISO 8601; a date alone is midnight."""
    text = text.strip()
    if not INSTANT.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text.replace("/", "-"))
        return found.astimezone(UTC) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None
