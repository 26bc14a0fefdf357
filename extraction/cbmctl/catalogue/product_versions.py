"""Which version of an acquisition is for extraction, and how a newer one takes an older one's place.

[cbmctl.queue.acquisitions] says what a version is, and docs/decisions/versions.md why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue import scene_status
from cbmctl.queue.acquisitions import Acquisition, Version, acquisitions
from cbmctl.queue.scene_changes import forget
from cbmctl.queue.scene_status import Place
from cbmctl.queue.statements import official

# Also what gave way to a user's own processing before that was ruled out: no search need find it again.
_TOUCHED: LiteralString = """
    SELECT id FROM {catalogue} WHERE reference = ANY(%s)
    UNION SELECT d.id FROM {catalogue} d JOIN {catalogue} n ON n.id = d.superseded_by
    WHERE {old} AND NOT {new}
"""


@dataclass(frozen=True)
class Pair:
    """A scene and the newer version of it."""

    old: str
    new: str


@dataclass(frozen=True)
class Arranged:
    """What became of scenes that have several versions.

    Attributes:
        superseded: scenes that are superseded from now on, with the newer one, or each part of it.
        offered: scenes that are extracted, with a newer version, or each part of it, that waits to replace
            them; also those that were offered before.
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


def arrange(conn: psycopg.Connection, tables: Tables, references: Sequence[str]) -> Arranged:
    """Find the versions of scenes and settle which of them is for extraction.

    Of what nobody has begun with, or has failed, an older version becomes 'superseded' at once. One that is
    extracted, or being extracted, stays until the newer one, or all parts of it, is extracted as well, which
    is 'offered' until somebody asks for it [`cbmctl.catalogue.replace_versions`].

    Args:
        conn: a connection in a transaction that has locked the queue.
        tables: the tables.
        references: scenes that are new or have changed.
    """
    ids = [
        obsid
        for (obsid,) in conn.execute(
            query(_TOUCHED, catalogue=tables.catalogue.sql, old=official("d"), new=official("n")),
            [list(references)],
        )
    ]
    work = _Arrangement(conn, tables)
    for acquisition in acquisitions(conn, tables, ids):
        work.settle(acquisition)
    return work.write()


class _Arrangement:
    """Collects what is to change, then writes it in few statements."""

    def __init__(self, conn: psycopg.Connection, tables: Tables) -> None:
        self._conn, self._tables = conn, tables
        self._links: list[tuple[int, int | None]] = []
        self._places: dict[int, Place | None] = {}
        self._superseded: list[tuple[Version, Version]] = []
        self._offered: list[tuple[Version, Version]] = []
        self._renewed: list[Version] = []

    def settle(self, acquisition: Acquisition) -> None:
        """Decide about the versions of one acquisition."""
        versions, waited_for = acquisition.versions, set()
        seen = {new.id for new in versions if new.status in ("extracted", "archived")}
        replaced = acquisition.settled(seen).replaced
        for old in versions:
            successors = acquisition.successors(old)
            if (newer := successors[0].id if successors else None) != old.linked:
                self._links.append((old.id, newer))
            if not successors or old.status == "superseded":
                continue
            if old.counts and (old.running or old not in replaced):
                waited_for |= set(successors)
                self._offered += [(old, new) for new in successors if not new.counts and not new.tasks]
            else:
                self._superseded += [(old, new) for new in successors]
                self._places[old.id] = Place.SUPERSEDED
        for version in versions:
            newest = not acquisition.successors(version)
            if version in waited_for:
                # one that has tasks was asked for, and is not offered once more
                if version.status in ("ingested", "superseded") and not version.tasks and version.online:
                    self._places[version.id] = Place.OFFERED
            elif newest and version.status in ("superseded", "offered"):
                self._renew(version)

    def _renew(self, version: Version) -> None:
        self._renewed.append(version)
        self._places[version.id] = Place.CURRENT

    def write(self) -> Arranged:
        forget(self._conn, self._tables, sorted({old.id for old, _ in self._superseded}))
        self._execute(
            """UPDATE {catalogue} d SET superseded_by = n.newer
               FROM unnest(%(ids)s::integer[], %(newer)s::integer[]) AS n (id, newer) WHERE d.id = n.id""",
            {"ids": [old for old, _ in self._links], "newer": [newer for _, newer in self._links]},
        )
        scene_status.update(self._conn, self._tables, self._places)
        return Arranged(
            tuple(Pair(old.reference, new.reference) for old, new in self._superseded),
            tuple(Pair(old.reference, new.reference) for old, new in self._offered),
            tuple(sorted(version.reference for version in self._renewed)),
        )

    def _execute(self, text: LiteralString, parameters: Mapping[str, Any]) -> None:
        if parameters["ids"]:
            self._conn.execute(query(text, catalogue=self._tables.catalogue.sql), parameters)
