"""A plan as a file: the JSON that `cbmctl --json order plan` prints, which a person may shorten."""

import json
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.ordering.wanted_product import Wanted

WANTED = "wanted"  # the list of products in the JSON object


def read_plan(file: TextIO) -> list[Wanted]:
    """Return the products of a plan, in its order.

    Raises:
        UserError: the file is not JSON, or an entry is invalid; the sentence names it.
    """
    name = Path(file.name).name if isinstance(file.name, str) else "the plan"
    try:
        data = json.load(file)
    except ValueError as error:
        raise UserError(
            "order.invalid_plan",
            f"{name} is not valid JSON ({error})",
            f"Write it with {command('--json order plan')}",
            about=name,
        ) from error
    entries = data.get(WANTED) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise UserError(
            "order.invalid_plan",
            f"{name} has no list '{WANTED}'",
            f"Write it with {command('--json order plan')}",
            about=name,
        )
    return [_wanted(f"{name}: {WANTED}[{number}]", entry) for number, entry in enumerate(entries)]


def _again() -> str:
    return f"Write the file with {command('--json order plan')}"


def _wanted(place: str, entry: object) -> Wanted:
    known = {field.name for field in fields(Wanted)}
    if not isinstance(entry, dict) or not {"product_type", "input"} <= set(entry):
        raise UserError(
            "order.invalid_plan",
            f"{place} must be an object with product_type and input",
            _again(),
            about=place,
        )
    values = {key: entry[key] for key in known & set(entry) if entry[key] is not None}
    for key, value in values.items():
        if not isinstance(value, str):
            raise UserError(
                "order.invalid_plan", f"{place}.{key} is {value!r}, expected a text", _again(), about=place
            )
    wanted = Wanted(**values)
    try:
        wanted.sensed  # noqa: B018 - raises
    except ValueError as error:
        raise UserError(
            "order.invalid_plan",
            f"{place}.input '{wanted.input}' has no valid date ({error})",
            _again(),
            about=place,
        ) from error
    except UserError as error:
        raise UserError(error.code, f"{place}: {error.message}", error.hint, about=place) from error
    return wanted
