"""Versions of one acquisition, and which of them take another's place.

Products of the same card, satellite, sensing start and tile are versions of one acquisition: that start fixes
the orbit as well. Of coherence, the other acquisition of the pair is the same, too. The newest is the one of
the highest baseline, then of the latest processing; a product of a user's own processing (N99xx) is older
than every official one. The place of an older one is taken

- by a newer one of the same datastrip that covers most of it;
- else by all newer ones that show something of it, where they cover most of it together and each has the same
  datastrip or a higher baseline, or a datastrip is not known: the same acquisition, cut otherwise;
- else by a higher baseline of the same datastrip that shows at least half of it, or may do so.

So the two halves of a tile that lies in two datastrips are both kept. docs/decisions/versions.md
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, LiteralString

import psycopg
import shapely
from psycopg import sql
from psycopg.rows import dict_row
from shapely.geometry.base import BaseGeometry

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue.locks import LIVE_PARAMETERS
from cbmctl.queue.statements import failed, names, official

# Two halves of a tile overlap by little; a product that was delivered twice covers itself but for its edge.
MOSTLY = 0.8
# A clip of half a tile, made again, does not stand for the other half, which it overlaps by less.
HALF = 0.5
# Outlines of radar on record are 41 to 78 % of their upright frames.
SLANTED = 0.3
# What differs at the edges of the same thing.
LITTLE = 0.01
# Statuses of scenes that have no statistics and need none.
_IDLE = ("ingested", "offline", "offered", "superseded", "No parcels")


@dataclass(frozen=True, eq=False)
class Version:
    """A scene among the versions of its acquisition.

    Attributes:
        official: whether the ground segment made it, and not a user with a processor of their own.
        strip: the start of sensing in the datastrip's name: all of it that stays when it is processed again.
        span: the two times in a radar product's name, between which all of it was sensed: start and stop of
            the acquisition, of coherence those of the pair's other one.
        failed: whether it was given up.
        tasks: how many it has.
        running: whether somebody works on one of them.
        done: whether all of its rows are there: it is 'extracted', or waits for others to be.
        linked: the newer version that the catalogue names.
    """

    id: int
    reference: str
    official: bool
    baseline: str
    processed: datetime
    strip: str | None
    span: str | None
    footprint: BaseGeometry | None
    status: str
    failed: bool
    online: bool
    tasks: int
    running: bool
    done: bool
    linked: int | None

    @property
    def counts(self) -> bool:
        """Whether there are statistics that somebody may rely on; a word that is not ours may mean that."""
        return not self.failed and self.status not in _IDLE

    @property
    def available(self) -> bool:
        """Whether it can take another's place: what is not online cannot, unless it was extracted before."""
        return self.online or self.status in ("extracted", "archived", "inprogress")

    @property
    def grade(self) -> tuple[bool, str]:
        """The baseline, with a user's own processing (N99xx) below every official one."""
        return self.official, self.baseline

    @property
    def rank(self) -> tuple[tuple[bool, str], datetime, str]:
        """What is newer has a higher one."""
        return self.grade, self.processed, self.reference


@dataclass(frozen=True)
class Settled:
    """What the scenes that are done mean for the versions of an acquisition.

    Attributes:
        replaced: versions whose place is taken.
        early: versions that are done and take the place of one that counts only together with others, which
            are still to come: until then clients see the old one.
    """

    replaced: frozenset[Version]
    early: frozenset[Version]


class Acquisition:
    """The versions of one acquisition, in the order in which they were entered."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = tuple(versions)
        self._newest_first = sorted(versions, key=lambda version: version.rank, reverse=True)
        available = [version for version in self._newest_first if version.available]
        self._successors: dict[Version, tuple[Version, ...]] = {}
        for old in self._newest_first:
            ends = [end for new in _replacement(old, available) for end in self._successors[new] or (new,)]
            self._successors[old] = tuple(dict.fromkeys(ends))

    def successors(self, old: Version) -> tuple[Version, ...]:
        """Return the versions that are to take its place together, and are the newest themselves."""
        return self._successors[old]

    def settled(self, seen: Collection[int]) -> Settled:
        """Work out whose place is taken by what is done.

        Args:
            seen: scenes that are extracted, as clients know; none of these is made to wait.
        """
        done = {version for version in self.versions if version.done}
        ready = set(done)
        while True:
            gone = self._replaced(ready)
            early = {
                new
                for old in self.versions
                if old.counts and old not in gone
                for new in _replacement(old, self._newest_first)
                if new in ready and new.id not in seen
            }
            if not early:
                return Settled(frozenset(gone), frozenset(done - ready))
            ready -= early

    def _replaced(self, ready: Collection[Version]) -> set[Version]:
        taken = [version for version in self.versions if version in ready or version.status == "No parcels"]
        gone = set()
        for old in self._newest_first:
            if self._is_replaced(old, taken):
                gone.add(old)
                taken.append(old)  # what takes the place of this one does so of an older one as well
        return gone

    def _is_replaced(self, old: Version, taken: Sequence[Version]) -> bool:
        """Whether others have its place, and none that is still to come shows more of it."""
        by = [version for version in self._newest_first if version in taken]
        there = [new for new in by if _may_replace(old, new)]
        return any(new.status != "No parcels" for new in _replacement(old, by)) and all(
            any(_same_piece(one, new) for one in there) for new in _replacement(old, self._newest_first)
        )


def _replacement(old: Version, newest_first: Sequence[Version]) -> Sequence[Version]:
    """Return those of the versions that take its place together."""
    newer = [new for new in newest_first if _may_replace(old, new)]
    same = [new for new in newer if _same_strip(old, new)]
    if whole := [new for new in same if _share(old, [new]) >= MOSTLY]:
        return whole[:1]
    parts = [new for new in newer if _share(old, [new]) > LITTLE]
    if _share(old, parts) >= MOSTLY:
        return parts
    return [new for new in same if new.grade > old.grade and _may_show_half(old, new)][:1]


def _may_show_half(old: Version, new: Version) -> bool:
    return new.footprint is None or old.footprint is None or _share(old, [new]) >= HALF


def _may_replace(old: Version, new: Version) -> bool:
    kin = _same_strip(old, new) or not (old.strip and new.strip) or new.grade > old.grade
    return kin and new.rank > old.rank


def _same_piece(one: Version, other: Version) -> bool:
    """Whether one shows what the other shows; two halves of a tile may have the outline of the tile."""
    if one is other or _same_strip(one, other):
        return True
    halves = one.strip and other.strip and one.grade == other.grade
    return not halves and _share(other, [one]) >= MOSTLY


def _same_strip(one: Version, other: Version) -> bool:
    return one.strip is not None and one.strip == other.strip


def _share(place: Version, others: Sequence[Version]) -> float:
    """Return how much of a scene others show together; nothing where that is not known.

    Radar that was sensed from and until the same instants is the same ground, though a walk of the archive
    knows only the image's upright frame of it, which is larger than the slanted outline of a service: that is
    what is to be shown then. What is smaller still is a clip.
    """
    if place.footprint is None or not (whole := place.footprint.area):
        return 0.0
    shown = shapely.union_all([other.footprint for other in others])
    share = place.footprint.intersection(shown).area / whole
    same = [other.footprint for other in others if place.span and other.span == place.span]
    outline = shapely.union_all(same)
    if SLANTED <= outline.area / whole < 1:
        share = max(share, place.footprint.intersection(outline).area / outline.area)
    return float(share)


def siblings(conn: psycopg.Connection, tables: Tables, obsids: Collection[int]) -> list[int]:
    """Return the ids of the scenes that `acquisitions` reads."""
    rows = conn.execute(query(_SIBLINGS, **_names(tables)), {"obsids": list(obsids)})
    return [obsid for (obsid,) in rows]


def acquisitions(conn: psycopg.Connection, tables: Tables, obsids: Collection[int]) -> Iterator[Acquisition]:
    """Read the acquisitions of scenes by time: those of several versions, and those that once had several."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            query(_VERSIONS, **_names(tables)), LIVE_PARAMETERS | {"obsids": list(obsids)}
        ).fetchall()
    for _, group in groupby(rows, lambda row: row.pop("acquisition")):
        yield Acquisition([_version(row) for row in group])


def _version(row: Mapping[str, Any]) -> Version:
    wkb = row["footprint"]
    footprint = shapely.make_valid(shapely.from_wkb(bytes(wkb))) if wkb else None
    return Version(**{**row, "footprint": footprint, "processed": row["processed"] or datetime.min})


def _names(tables: Tables) -> dict[str, sql.Composable]:
    known = names(tables)
    return known | {
        "version": query(_VERSION, view=_VIEW, **known),
        "official": official("d"),
        "failed": failed("d"),
    }


# What is seen at an instant: the tile or, of coherence, the pair. One acquisition is the main one of several
# pairs, and its products have the same outline; their names tell the other's start and stop.
_VIEW = sql.SQL(r"coalesce(d.tile, substring(d.reference FROM '(\d{8}T\d{6}_\d{8}T\d{6})_CARD[-_]COH'), '')")
_VERSION: LiteralString = """
    WITH touched AS (
        SELECT DISTINCT card, sensor, obstime, {view} AS view FROM {catalogue} d WHERE id = ANY(%(obsids)s)
    ), version AS (
        SELECT * FROM (
            SELECT d.*, dense_rank() OVER (ORDER BY d.obstime, d.card, d.sensor, t.view) AS acquisition,
                count(*) OVER (PARTITION BY d.obstime, d.card, d.sensor, t.view) AS versions
            FROM touched t JOIN {catalogue} d
                ON (d.card, d.sensor, d.obstime, {view}) = (t.card, t.sensor, t.obstime, t.view)
        ) known WHERE versions > 1 OR status IN ('superseded', 'offered')
    )
"""
_SIBLINGS: LiteralString = "{version} SELECT id FROM version ORDER BY id"
_VERSIONS: LiteralString = """
    {version}
    SELECT d.acquisition, d.id, d.reference, {official} AS official, coalesce(d.baseline, '') AS baseline,
        coalesce(d.processed, d.published) AS processed,
        substring(d.datastrip FROM '_(S\\d{{8}}T\\d{{6}})') AS strip,
        substring(d.reference FROM '_(\\d{{8}}T\\d{{6}}_\\d{{8}}T\\d{{6}})_') AS span,
        ST_AsBinary(d.footprint) AS footprint, d.status, {failed} AS failed, d.online,
        w.tasks, w.running, w.done, d.superseded_by AS linked
    FROM version d, LATERAL (
        SELECT count(*) AS tasks, coalesce(bool_or({at_work}), false) AS running,
            d.status IN ('extracted', 'archived') OR (d.status = 'inprogress'
                AND coalesce(bool_and(state = 'done' OR {delta}) AND sum(parcels) > 0, false)) AS done
        FROM {tasks} t WHERE obsid = d.id) w
    ORDER BY d.acquisition, d.id
"""
