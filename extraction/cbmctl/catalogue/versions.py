"""Versions of one acquisition: which is for extraction, and how a newer one takes an older one's place.

Products of the same card, satellite, sensing start and tile are versions of one acquisition: that start fixes
the orbit as well. Of coherence, the other acquisition of the pair is the same, too. The newest is the one of
the highest baseline, then of the latest processing. An older one is superseded

- by a higher baseline of the same datastrip;
- by a newer one that covers most of it, where both are of one datastrip, or a datastrip is not known;
- by a higher baseline of other datastrips that covers most of it: the same acquisition, cut otherwise.

So the two halves of a tile that lies in two datastrips are both kept. docs/decisions/versions.md
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.settling import ERRORS, forget

# Two halves of a tile overlap by little; a product that was delivered twice covers itself but for its edge.
MOSTLY = 0.8
# Statuses of scenes that have no statistics and need none.
_IDLE = ("ingested", "offline", "offered", "superseded", "No parcels")


@dataclass(frozen=True)
class Pair:
    """A scene and the newer version of it."""

    old: str
    new: str


@dataclass(frozen=True)
class Arranged:
    """What became of scenes that have several versions.

    Attributes:
        superseded: scenes that are superseded from now on, with the newer one.
        offered: scenes that are extracted, with a newer version that waits to replace them; also those that
            were offered before.
        renewed: references that were superseded or offered and are for extraction again.
    """

    superseded: tuple[Pair, ...] = ()
    offered: tuple[Pair, ...] = ()
    renewed: tuple[str, ...] = ()

    def __add__(self, other: "Arranged") -> "Arranged":
        """What both did."""
        return Arranged(
            self.superseded + other.superseded, self.offered + other.offered, self.renewed + other.renewed
        )


def lock(conn: psycopg.Connection, tables: Tables) -> None:
    """Let no worker claim or close a task until the transaction ends, as `cbmctl.planning` does.

    To be called before anything is written: workers touch a task before its scene.
    """
    conn.execute(query("LOCK TABLE {tasks} IN EXCLUSIVE MODE", tasks=tables.tasks.sql))


def arrange(conn: psycopg.Connection, tables: Tables, references: Sequence[str]) -> Arranged:
    """Find the versions of scenes and settle which of them is for extraction.

    Of what nobody has begun with, or has failed, an older version becomes 'superseded' at once. One that is
    extracted, or being extracted, stays until the newer one, which becomes 'offered', is extracted as well
    [`cbmctl.catalogue.replace`].

    Args:
        conn: a connection in a transaction that holds `lock`.
        tables: the tables.
        references: scenes that are new or have changed.
    """
    groups: dict[tuple[Any, ...], list[_Version]] = {}
    for version in _versions(conn, tables, references):
        groups.setdefault(version.acquisition, []).append(version)
    work = _Arrangement(conn, tables)
    for group in groups.values():
        work.settle(group)
    return work.write()


@dataclass(frozen=True)
class _Version:
    """A scene, and the newer version that supersedes it."""

    id: int
    reference: str
    acquisition: tuple[Any, ...]
    status: str
    online: bool
    tasks: int
    linked: int | None
    newer: int | None

    @property
    def counts(self) -> bool:
        """Whether there are statistics that somebody may rely on; a word that is not ours may mean that."""
        ours = self.status in (*_IDLE, *ERRORS) or self.status.startswith("!S3")
        return not ours


class _Arrangement:
    """Collects what is to change, then writes it in few statements."""

    def __init__(self, conn: psycopg.Connection, tables: Tables) -> None:
        self._conn, self._tables = conn, tables
        self._links: list[tuple[int, int | None]] = []
        self._statuses: dict[int, str] = {}
        self._known: dict[int, _Version] = {}
        self._superseded: list[tuple[int, int]] = []
        self._offered: list[tuple[int, int]] = []
        self._renewed: list[int] = []

    def settle(self, group: Sequence[_Version]) -> None:
        """Decide about the versions of one acquisition."""
        by_id = {version.id: version for version in group}
        self._known |= by_id
        waited_for = set()
        for old in group:
            new = _newest(old, by_id)
            if (newer := new.id if new else None) != old.linked:
                self._links.append((old.id, newer))
            if new is None or old.status == "superseded":
                continue
            if old.counts and (old.status == "inprogress" or new.status != "extracted"):
                waited_for.add(new.id)
                self._offered += [(old.id, new.id)] if not new.counts and not new.tasks else []
            else:
                self._superseded.append((old.id, new.id))
                self._statuses[old.id] = "superseded"
        for version in group:
            if version.newer is None and version.status == "superseded":
                self._renew(version)
            elif version.id in waited_for:
                # one that has tasks was asked for, and is not offered once more
                if version.status in ("ingested", "superseded") and not version.tasks and version.online:
                    self._statuses[version.id] = "offered"
            elif version.status == "offered" and version.newer is None:
                self._renew(version)

    def _renew(self, version: _Version) -> None:
        self._renewed.append(version.id)
        self._statuses[version.id] = "ingested" if version.online else "offline"

    def write(self) -> Arranged:
        gone = [old for old, _ in self._superseded]
        forget(self._conn, self._tables, gone)
        self._execute(
            """UPDATE {catalogue} d SET superseded_by = n.newer
               FROM unnest(%(ids)s::integer[], %(newer)s::integer[]) AS n (id, newer) WHERE d.id = n.id""",
            {"ids": [old for old, _ in self._links], "newer": [newer for _, newer in self._links]},
        )
        self._execute(
            """UPDATE {catalogue} d SET status = n.status, reason = NULL
               FROM unnest(%(ids)s::integer[], %(statuses)s::text[]) AS n (id, status)
               WHERE d.id = n.id AND d.status <> n.status""",
            {"ids": list(self._statuses), "statuses": list(self._statuses.values())},
        )
        return Arranged(
            tuple(self._pairs(self._superseded)),
            tuple(self._pairs(self._offered)),
            tuple(sorted(self._known[number].reference for number in self._renewed)),
        )

    def _pairs(self, pairs: Sequence[tuple[int, int]]) -> Iterator[Pair]:
        for old, new in pairs:
            yield Pair(self._known[old].reference, self._known[new].reference)

    def _execute(self, text: LiteralString, parameters: Mapping[str, Any]) -> None:
        if parameters["ids"]:
            self._conn.execute(query(text, catalogue=self._tables.catalogue.sql), parameters)


def _newest(version: _Version, by_id: Mapping[int, _Version]) -> _Version | None:
    """Return the version that supersedes this one and is not superseded itself."""
    newest = None
    while version.newer is not None:
        newest = version = by_id[version.newer]
    return newest


def _versions(conn: psycopg.Connection, tables: Tables, references: Sequence[str]) -> list[_Version]:
    """Read the acquisitions of scenes: those of several versions, and those that once had several."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            query(_VERSIONS, catalogue=tables.catalogue.sql, tasks=tables.tasks.sql, view=_VIEW),
            {"references": list(references), "mostly": MOSTLY},
        ).fetchall()
    return [
        _Version(acquisition=(row.pop("card"), row.pop("sensor"), row.pop("obstime"), row.pop("view")), **row)
        for row in rows
    ]


# What is seen at an instant: the tile or, of coherence, the pair. One acquisition is the main one of several
# pairs, and its products have the same outline; their names tell the other's start and stop.
_VIEW = sql.SQL(r"coalesce(d.tile, substring(d.reference FROM '(\d{8}T\d{6}_\d{8}T\d{6})_CARD[-_]COH'), '')")
# A product that is not online supersedes nothing, unless it was extracted while it was.
# Of a datastrip's name only the start of sensing stays when it is processed again: …_S20220217T183428_…
_VERSIONS: LiteralString = """
    WITH touched AS (
        SELECT DISTINCT card, sensor, obstime, {view} AS view
        FROM {catalogue} d WHERE reference = ANY(%(references)s)
    ), version AS MATERIALIZED (
        SELECT d.id, d.reference, d.card, d.sensor, d.obstime, t.view, d.status, d.online, d.superseded_by,
            d.footprint, coalesce(d.baseline, '') COLLATE "C" AS baseline,
            coalesce(d.processed, d.published, '-infinity') AS processed,
            substring(d.datastrip FROM '_(S\\d{{8}}T\\d{{6}})') AS strip,
            count(*) OVER (PARTITION BY t.card, t.sensor, t.obstime, t.view) AS versions
        FROM touched t JOIN {catalogue} d
            ON (d.card, d.sensor, d.obstime, {view}) = (t.card, t.sensor, t.obstime, t.view)
    ), newer AS (
        SELECT o.id AS old, o.footprint AS place, n.*, n.baseline > o.baseline AS better,
            n.strip = o.strip AS same, n.strip IS NULL OR o.strip IS NULL AS unknown
        FROM version o JOIN version n USING (card, sensor, obstime, view)
        WHERE (n.baseline, n.processed, n.reference) > (o.baseline, o.processed, o.reference)
            AND o.versions > 1 AND (n.online OR n.status IN ('extracted', 'inprogress'))
    ), cover AS (
        SELECT old, ST_Area(ST_Intersection(
                place, ST_Union(footprint) FILTER (WHERE unknown OR same OR better)))
            >= %(mostly)s * ST_Area(place) AS mostly
        FROM newer GROUP BY old, place
    ), verdict AS (
        SELECT old, (array_agg(id ORDER BY newer.baseline DESC, processed DESC, reference DESC) FILTER (
            WHERE same AND better OR cover.mostly AND (unknown OR same OR better)))[1] AS newer
        FROM newer JOIN cover USING (old) GROUP BY old
    )
    SELECT v.id, v.reference, v.card, v.sensor, v.obstime, v.view, v.status, v.online,
        (SELECT count(*) FROM {tasks} WHERE obsid = v.id) AS tasks, v.superseded_by AS linked,
        verdict.newer AS newer
    FROM version v LEFT JOIN verdict ON old = id
    WHERE versions > 1 OR v.status IN ('superseded', 'offered')
    ORDER BY v.obstime, v.id
"""
