"""Newer versions of scenes that are extracted already: taken on when somebody says so."""

from collections.abc import Callable, Sequence

import psycopg

from cbmctl.catalogue.product_versions import Pair
from cbmctl.config import Config
from cbmctl.database import query
from cbmctl.errors import UserError, counted
from cbmctl.invocation import command
from cbmctl.queue import scene_status
from cbmctl.queue.acquisitions import acquisitions
from cbmctl.queue.find_scenes import find_scenes
from cbmctl.queue.locks import lock_queue
from cbmctl.queue.planning import plan_scenes, wanted
from cbmctl.queue.scene_status import Place


def offers(conn: psycopg.Connection, config: Config) -> list[Pair]:
    """Scenes that are extracted, with what is offered for them, newer versions or parts of one, by time."""
    offered = conn.execute(
        query("SELECT id FROM {catalogue} WHERE status = 'offered'", catalogue=config.tables.catalogue.sql)
    )
    return [
        Pair(old.reference, new.reference)
        for acquisition in acquisitions(conn, config.tables, [obsid for (obsid,) in offered])
        for old in acquisition.versions
        if old.status != "superseded"
        for new in acquisition.successors(old)
        if new.status == "offered"
    ]


def replace(
    conn: psycopg.Connection,
    config: Config,
    references: Sequence[str] = (),
    *,
    check: bool = False,
    note: Callable[[str], None] = lambda _line: None,
) -> list[Pair]:
    """Queue newer versions of scenes that are extracted, in one transaction.

    The older ones count until the newer are extracted: with the last rows of the newer one, in the same
    transaction, the older becomes 'superseded' and its rows go [cbmctl.queue.scene_changes].

    Args:
        conn: a connection in no transaction.
        config: says what is to be extracted.
        references: only these, by the name of the newer or of the older version, with the other parts where
            several newer ones replace it together; none means all of which bands are to be extracted.
        check: find out and change nothing.
        note: told what is left out, and why.

    Raises:
        UserError: the catalogue has no such reference, nothing newer is offered for it, it is superseded, or
            nothing is extracted from scenes of its card.
    """
    with conn.transaction(force_rollback=check):
        lock_queue(conn, config.tables)
        found = offers(conn, config)
        if references:
            find_scenes(conn, config.tables, references)
            known = {name for pair in found for name in (pair.old, pair.new)}
            for reference in references:
                if newer := _superseded_by(conn, config, reference):
                    raise UserError(
                        "catalogue.older_version",
                        f"{reference} is superseded by {newer}, and a newer version is never replaced by an"
                        " older one",
                        f"If the newer one is damaged, run {command('repair')} once the archive has an"
                        " intact copy",
                        about=reference,
                    )
                if reference not in known:
                    raise UserError(
                        "catalogue.no_newer_version",
                        f"{reference} has no newer version in the catalogue",
                        "Sync the catalogue first, or leave it as it is",
                        about=reference,
                    )
            found = _with_other_parts(found, references)
        else:
            found = _of_configured_cards(conn, config, found, note)
        if found:
            scenes = find_scenes(conn, config.tables, [pair.new for pair in found])
            scene_status.update(conn, config.tables, dict.fromkeys(scenes.values(), Place.CURRENT))
            plan_scenes(conn, config, scenes)
    return found


def _with_other_parts(found: Sequence[Pair], references: Sequence[str]) -> list[Pair]:
    """Return the pairs of these, and of what replaces or is replaced together with them."""
    asked: set[str] = set()
    more = set(references)
    while more:
        asked |= more
        kin = [{pair.old, pair.new} for pair in found]
        more = set().union(*(names for names in kin if names & asked)) - asked
    return [pair for pair in found if pair.old in asked]


def _of_configured_cards(
    conn: psycopg.Connection, config: Config, found: Sequence[Pair], note: Callable[[str], None]
) -> list[Pair]:
    """Leave out the pairs of cards of which no band is extracted: they are not to hold up the others."""
    rows = conn.execute(
        query(
            """SELECT card, array_agg(reference) FROM {catalogue}
               WHERE reference = ANY(%(new)s) AND card <> ALL(%(cards)s) GROUP BY card ORDER BY card""",
            catalogue=config.tables.catalogue.sql,
        ),
        {"new": [pair.new for pair in found], "cards": wanted(config)["cards"]},
    ).fetchall()
    for card, references in rows:
        note(
            f"left out: {counted(len(references), 'newer scene')} of card '{card}', of which {config.source}"
            f" extracts no band: list bands in extraction.{card} to have them replaced"
        )
    left = {reference for _, references in rows for reference in references}
    return [pair for pair in found if pair.new not in left]


def _superseded_by(conn: psycopg.Connection, config: Config, reference: str) -> str | None:
    row = conn.execute(
        query(
            """SELECT n.reference FROM {catalogue} o JOIN {catalogue} n ON n.id = o.superseded_by
               WHERE o.reference = %s AND o.status = 'superseded'""",
            catalogue=config.tables.catalogue.sql,
        ),
        [reference],
    ).fetchone()
    return str(row[0]) if row else None
