"""Columns with the same name, which shapefiles and GeoParquet may have and PostgreSQL may not."""

from collections.abc import Sequence


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: another column of the same name gets a number at its end."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found or (number > 1 and free in names):
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found
