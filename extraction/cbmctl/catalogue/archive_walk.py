"""The archive as a source: a walk of the mounted eodata tree, by the folders of the days asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import MappingProxyType

import shapely
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.archive_products import describe, may_meet
from cbmctl.catalogue.found_products import Broken, Findings
from cbmctl.catalogue.record import CARDS, Card, Record
from cbmctl.errors import UserError
from cbmctl.reasons import UNREADABLE
from cbmctl.scenes import SceneError


def walk(
    root: Path,
    aoi: BaseGeometry,
    start: date,
    end: date,
    card: str,
    *,
    known: Mapping[str, Record] = MappingProxyType({}),
    progress: Callable[[date], None] = lambda _day: None,
) -> Findings:
    """Find the products of a card that meet an area in a period.

    Args:
        root: the archive's root, as `/eodata`.
        aoi: the area, EPSG:4326; products must meet its true shape.
        start: first day of sensing.
        end: the day after the last.
        card: one of CARDS.
        known: products by reference that need not be opened; only where they lie is looked at.
        progress: told each day before its folder is read.

    Raises:
        UserError: the root is missing, is no folder, is empty (not mounted), cannot be listed, has no
            folder of this card, or goes away meanwhile.
    """
    kind = CARDS[card]
    findings = Findings()
    seen: set[str] = set()
    shapely.prepare(aoi)
    try:
        for base in _bases(root, kind):
            for day, folder in _days(base, start, end):
                progress(day)
                for product in _entries(folder, root, findings):
                    if product.name not in seen:  # one in L2A and in L2A_N0500 is the same product
                        seen.add(product.name)
                        _visit(root, product, kind, aoi, findings, known=known.get(product.name))
    except OSError as error:
        raise UserError(
            "archive.unlistable",
            f"{error.filename} cannot be listed ({error.strerror})",
            "Check the mount",
            about="eodata",
        ) from error
    return findings


def _bases(root: Path, card: Card) -> list[Path]:
    if not root.exists():
        raise UserError(
            "archive.mount_missing",
            f"the archive {root} does not exist",
            "Mount it, or correct eodata in db_config.json",
            about="eodata",
        )
    if not root.is_dir():
        raise UserError(
            "archive.mount_missing",
            f"the archive {root} is not a folder",
            "Correct eodata in db_config.json",
            about="eodata",
        )
    bases = sorted(path for path in root.glob(card.folder) if path.is_dir())
    if not bases and not any(root.iterdir()):
        raise UserError(
            "archive.empty",
            f"the archive {root} is empty",
            "Mount it, or correct eodata in db_config.json",
            about="eodata",
        )
    if not bases:
        raise UserError(
            "archive.no_product_folder",
            f"the archive {root} has no folder {card.folder} for {card.ptype} products",
            "Choose another card or another archive",
            about="eodata",
        )
    return bases


def _days(base: Path, start: date, end: date) -> Iterator[tuple[date, Path]]:
    """Yield the YYYY/MM/DD folders in [start, end), reading no folder outside it."""
    for year in _numbered(base):
        if not start.year <= int(year.name) <= end.year:
            continue
        for month in _numbered(year):
            if not (start.year, start.month) <= (int(year.name), int(month.name)) <= (end.year, end.month):
                continue
            for day in _numbered(month):
                try:
                    sensed = date(int(year.name), int(month.name), int(day.name))
                except ValueError:
                    continue
                if start <= sensed < end:
                    yield sensed, day


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.isdecimal())


def _entries(folder: Path, root: Path, findings: Findings) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        _still_there(root)
        findings.broken.append(
            Broken(
                str(folder.relative_to(root)),
                UNREADABLE.status,
                f"cannot be listed: {error.strerror or error}",
            )
        )
        return []


def _still_there(root: Path) -> None:
    """Tell a product that cannot be read from an archive that is gone, and would only make a season short.

    Raises:
        UserError: the archive is gone.
    """
    try:
        reason = None if any(root.iterdir()) else "it is empty now"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UserError(
            "archive.mount_unavailable",
            f"the archive {root} became unavailable while it was read ({reason})",
            "Mount it and sync again; scenes that were entered before stay",
            about="eodata",
        )


def _visit(
    root: Path,
    folder: Path,
    card: Card,
    aoi: BaseGeometry,
    findings: Findings,
    *,
    known: Record | None,
) -> None:
    """Sort one entry of a day's folder into the findings; what is no product of this card is passed over."""
    match = card.pattern.fullmatch(folder.name)
    if match is None:
        return
    path = folder.relative_to(root).as_posix()
    tile = match.groupdict().get("tile")
    if tile and not may_meet(tile, aoi):
        findings.elsewhere[tile] += 1
        return
    try:
        record = replace(known, path=path) if known else describe(root, path, card, match)
    except SceneError as error:
        _still_there(root)  # whatever the status: below a mount that is gone there is nothing
        findings.broken.append(Broken(path, error.status, error.reason))
        return
    if aoi.intersects(record.footprint):
        findings.records.append(record)
    else:
        findings.elsewhere[tile or f"EPSG:{record.epsg}"] += 1
