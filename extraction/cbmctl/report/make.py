"""Make report.txt and report.png in a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.report import observations, picture, picture_data, text
from cbmctl.report.queries import Facts, read_facts


@dataclass(frozen=True)
class Report:
    """What was written (or would be), and the numbers in it."""

    changed: bool
    files: tuple[Path, ...]
    text: str
    numbers: dict[str, Any]


def make_report(
    config: Config,
    directory: Path,
    *,
    title: str | None = None,
    check: bool = False,
) -> Report:
    """Read the database and write the report.

    The same database gives the same files, byte for byte; unchanged files are not touched.

    Args:
        config: the configuration; the reader role suffices.
        directory: where the files go; made if absent.
        title: the picture's; default: the area's name.
        check: write nothing.

    Raises:
        UserError: nothing to report, no matplotlib, or the folder cannot be written.
    """
    with connect(config, purpose="cbmctl report") as conn:
        conn.read_only = True
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ  # all numbers of one moment
        facts = read_facts(conn, config)
        drawn = _draw(conn, config, facts, title or facts.area) if facts.sigs else None
    sentence = (
        drawn.sentence
        if drawn
        else f"none: {config.tables.sigs} holds no statistics yet, run the extraction first"
    )
    page = text.as_text(facts, sentence)
    contents = {"report.txt": page.encode(), "report.png": drawn.png if drawn else None}
    try:
        changed = [_write(directory / name, data, check=check) for name, data in contents.items()]
    except OSError as error:
        raise UserError(
            "report.unwritable",
            f"{directory} cannot be written ({error})",
            "Choose another folder with --output",
            about="--output",
        ) from error
    numbers = text.as_numbers(facts) | {"picture": drawn.numbers if drawn else None}
    files = tuple(directory / name for name, data in contents.items() if data is not None)
    return Report(any(changed), files, page, numbers)


def _draw(conn: psycopg.Connection, config: Config, facts: Facts, title: str) -> picture.Drawn | None:
    """Choose what to show and draw it; None where the period holds no observation."""
    measure = observations.choose_measure(facts.bands)
    seen = observations.sample(conn, config, measure)
    if not len(seen):
        return None
    day = observations.choose_day(seen)
    parcel = observations.choose_parcel(seen)
    shown = picture_data.Scene(
        title=title,
        facts=facts,
        measure=measure,
        day=day,
        parcels=observations.read_map(conn, config, observations.of_day(conn, config, measure, day)),
        sample=seen,
        parcel=parcel,
        parcel_name=observations.parcel_name(conn, config, parcel) if parcel is not None else "",
        bands={
            band: observations.of_day(conn, config, observations.Measure(band), day)
            for band in facts.bands
            if parcel is None
        },
    )
    return picture.draw(shown)


def _write(path: Path, data: bytes | None, *, check: bool) -> bool:
    """Bring a file to its contents (None: away), by renaming, so that nobody sees half of it."""
    old = path.read_bytes() if path.is_file() else None
    if old == data:
        return False
    if check:
        return True
    if data is None:
        path.unlink()
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.rename(path)
    return True
