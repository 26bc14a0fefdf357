"""Which versions of an acquisition take the place of which. O is an old scene, a and b are halves of it."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import pytest
from shapely import box
from shapely.geometry.base import BaseGeometry

from cbmctl.queue.acquisitions import Acquisition, Version

WHOLE, SOUTH, NORTH = box(0, 0, 1, 1), box(0, 0, 1, 0.52), box(0, 0.48, 1, 1)
# what a strip shows
PLACES: dict[str, BaseGeometry] = {"S1": SOUTH, "S2": NORTH, "S3": WHOLE, "S4": box(0, 0, 1, 0.9)}


def version(
    name: str,
    baseline: str,
    strip: str | None,
    status: str = "ingested",
    *,
    day: int = 1,
    place: BaseGeometry | None = None,
    online: bool = True,
) -> Version:
    return Version(
        id=sum(map(ord, name)),
        reference=name,
        baseline=baseline,
        processed=datetime(2023, 1, day),
        official=True,
        strip=strip,
        span=None,
        footprint=place or PLACES[strip or "S3"],
        status=status,
        failed=status.startswith("!"),
        online=online,
        tasks=0,
        running=False,
        done=status == "extracted",
        linked=None,
    )


def names(versions: Collection[Version]) -> str:
    return "".join(sorted(version.reference for version in versions))


def judged(*versions: Version) -> str:
    """What is replaced, and what is done early."""
    found = Acquisition(versions).settled(())
    return f"{names(found.replaced)}/{names(found.early)}"


def successors(*versions: Version) -> str:
    acquisition = Acquisition(versions)
    return " ".join(f"{old.reference}:{names(acquisition.successors(old))}" for old in versions)


OLD_A, OLD_B = version("a", "04.00", "S1", "extracted"), version("b", "04.00", "S2", "extracted")
OLD = version("O", "04.00", "S3", "extracted")


@pytest.mark.parametrize("days", [(1, 2), (2, 1)])
@pytest.mark.parametrize("outline", [None, WHOLE])
def test_each_half_follows_its_own_strip(days: tuple[int, int], outline: BaseGeometry | None) -> None:
    """Also where the catalogue gives halves the outline of the tile."""
    halves = [
        version(name, "05.00", strip, day=day, place=outline)
        for name, strip, day in zip("pq", ("S1", "S2"), days, strict=True)
    ]
    assert successors(OLD_A, OLD_B, *halves) == "a:p b:q p: q:"


def test_a_half_takes_one_half_s_place() -> None:
    done = version("p", "05.00", "S1", "extracted")
    assert judged(OLD_A, OLD_B, done, version("q", "05.00", "S2", "!S3 subdir")) == "a/"


@pytest.mark.parametrize(
    ("status", "expected"), [("!S3 subdir", "/p"), ("extracted", "O/"), ("No parcels", "O/")]
)
@pytest.mark.parametrize("strip", ["S1", "S4"])
@pytest.mark.parametrize("online", [True, False])
def test_what_was_cut_otherwise_goes_when_all_parts_are_there(
    strip: str, status: str, expected: str, *, online: bool
) -> None:
    """Even where the first part covers most of it, or the other one is gone from the archive."""
    parts = version("p", "05.00", strip, "extracted"), version("q", "05.00", "S2", status, online=online)
    assert judged(OLD, *parts) == expected
    if online:
        assert successors(OLD, *parts) == "O:pq p: q:"


def test_what_was_cut_otherwise_and_has_the_strip_of_its_first_half() -> None:
    old = version("O", "04.00", "S1", "extracted", place=WHOLE)
    parts = version("p", "05.00", "S1", "extracted"), version("q", "05.00", "S2")
    assert successors(old, *parts) == "O:pq p: q:"
    assert judged(old, *parts) == "/p"
    # of an outline alone nobody can tell that something is missing
    assert judged(old, parts[0]) == "O/"


def test_a_scene_that_clients_see_does_not_wait_again() -> None:
    done = version("p", "05.00", "S4", "extracted")
    found = Acquisition([OLD, done, version("q", "05.00", "S2")]).settled({done.id})
    assert (names(found.replaced), names(found.early)) == ("", "")


def test_parts_without_a_parcel_take_nobody_s_place() -> None:
    assert judged(OLD, version("n", "05.00", "S3", "No parcels")) == "/"


@pytest.mark.parametrize("last", ["offered", "inprogress", "offline", "!S3 subdir"])
def test_whichever_newer_version_is_there_first_takes_the_place(last: str) -> None:
    newer = version("n", "05.00", "S3", "extracted"), version("x", "05.10", "S3", last)
    assert judged(OLD, *newer) == "O/"
    halves = [version("p", "05.00", "S1", "extracted"), version("q", "05.00", "S2", "extracted")]
    newest = [version("x", "05.10", "S1", last), version("y", "05.10", "S2", last)]
    assert judged(OLD, *halves, *newest) == "O/"
    # cut once more: the whole shows what the half will
    assert judged(OLD_A, OLD_B, newer[0], *newest) == "ab/"


def test_the_newest_counts_however_little_of_the_oldest_it_covers() -> None:
    """Each covers most of the one before."""
    old = version("O", "04.00", None, "extracted", place=box(0, 0, 1, 1))
    middle = version("m", "05.00", None, "superseded", place=box(0, 0, 0.85, 1))
    newest = version("n", "05.10", None, "extracted", place=box(0, 0, 0.72, 1))
    assert successors(old, middle, newest) == "O:n m:n n:"
    assert judged(old, middle, newest) == "Om/"


def test_parts_that_are_shared_wait_for_each_other() -> None:
    """Of two old scenes that overlap, cut into three: none goes before all are there."""
    left, right = box(0, 0, 2, 1), box(1, 0, 3, 1)
    old = [
        version("A", "04.00", "S6", "extracted", place=left),
        version("B", "04.00", "S7", "extracted", place=right),
    ]
    new = [
        version("p", "05.00", "T1", "extracted", place=box(0, 0, 1, 1)),
        version("q", "05.00", "T2", "extracted", place=box(1, 0, 2, 1)),
    ]
    assert judged(*old, *new, version("r", "05.00", "T3", place=box(2, 0, 3, 1))) == "/pq"
    assert judged(*old, *new, version("r", "05.00", "T3", "extracted", place=box(2, 0, 3, 1))) == "AB/"


def test_a_part_that_is_made_again_takes_no_other_part_s_place() -> None:
    """Two deliveries of one datastrip, each of which shows a part."""
    south, north = version("s", "04.00", "S1"), version("n", "04.00", "S1", day=2, place=NORTH)
    assert successors(south, north, version("N", "05.00", "S1", place=NORTH)) == "s: n:N N:"
    assert successors(south, replace(version("N", "05.00", "S1"), footprint=None)) == "s:N N:"


def test_a_scene_without_an_outline_is_replaced_by_its_strip_alone() -> None:
    old = replace(OLD_A, footprint=None)
    assert successors(old, version("p", "05.00", "S1"), version("q", "05.00", "S2")) == "a:p p: q:"
