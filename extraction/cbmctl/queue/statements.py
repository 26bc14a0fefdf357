"""What statements about the queue have in common: tables, conditions and words."""

from collections.abc import Collection
from typing import Any

from psycopg import sql

from cbmctl.config import Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.queue import parcel_sets
from cbmctl.queue.locks import at_work, live
from cbmctl.reasons import FAILURES, FILE_MISSING, Reason

# Whether the task t is of the scenes that the caller asks about: %(obsids)s, or NULL for all.
ASKED = sql.SQL("(%(obsids)s::integer[] IS NULL OR t.obsid = ANY(%(obsids)s::integer[]))")

# Whether the task t may be begun now: after a failure when it says, after a worker's death at once. It is
# parked only when it is known whether other workers died with its own.
DUE = sql.SQL(
    """t.state IN ('ready', 'running') AND {asked}
       AND (t.state = 'running' OR coalesce(t.not_before, now()) <= now())
       AND (NOT %(fresh)s OR (t.state = 'ready' AND t.attempts = 0))
       AND (t.obsid, t.bandset) NOT IN (SELECT * FROM unnest(%(held)s::integer[], %(held_sets)s::text[]))
       AND (t.state = 'ready' OR EXISTS (
           SELECT FROM {vanished} v
           WHERE (v.obsid, v.bandset) = (t.obsid, t.bandset)
               AND v.noticed_at > coalesce(t.claimed_at, '-infinity')
               AND (t.attempts < %(attempts)s
                   OR v.noticed_at < clock_timestamp() - %(together)s * interval '1 s')))"""
)
# Band sets of Sentinel-2 with rows in sigs; BANDS is a table of their bands, and takes BANDS_PARAMETERS.
# Rows of other bands were made by hand.
OPTICAL = [name for name, bandset in BANDSETS.items() if bandset.card == "s2" and name != "scl"]
BANDS = sql.SQL("unnest(%(sets)s::text[], %(bands)s::bpchar[]) known (bandset, band)")
BANDS_PARAMETERS: dict[str, Any] = {
    "sets": [name for name in OPTICAL for _ in BANDSETS[name].bands],
    "bands": [band for name in OPTICAL for band in BANDSETS[name].bands],
}
# The task t that %(obsid)s and %(bandset)s name.
THIS = sql.SQL("t.obsid = %(obsid)s AND t.bandset = %(bandset)s")
# In which order tasks are begun; takes LIVE_PARAMETERS, of a task t and its scene d. A new scene concerns all
# parcels, so it comes before new parcels of a scene that is extracted.
ORDER = sql.SQL(
    """t.parcels_covered IS NOT NULL, array_position(%(order)s, t.bandset), t.attempts, d.obstime, t.obsid"""
)


# Statuses of scenes that have not failed. They may have the code of an earlier failure: while they are tried
# again, or after somebody has set the status by hand.
_NOT_FAILED = (
    "ingested", "offline", "inprogress", "extracted", "No parcels", "offered", "superseded", "archived",
)  # fmt: skip


def failed(scene: str, causes: Collection[Reason] = FAILURES) -> sql.Composed:
    """Return whether a scene failed, as a condition.

    The code of the reason says so. The manual's scripts write no code, but only the words of REASONS.

    Args:
        scene: alias of a row of the catalogue in the statement.
        causes: because of one of these; FILE_MISSING must be one of them.
    """
    words = {cause.status for cause in causes if cause is not FILE_MISSING}
    return sql.SQL(
        """({scene}.status NOT IN ({others}) AND CASE
               WHEN {scene}.reason_code IS NOT NULL THEN {scene}.reason_code IN ({codes})
               ELSE starts_with({scene}.status, {missing}) OR {scene}.status IN ({words}) END)"""
    ).format(
        scene=sql.Identifier(scene),
        others=_literals(_NOT_FAILED),
        codes=_literals(sorted(cause.code for cause in causes)),
        missing=sql.Literal(FILE_MISSING.status),
        words=_literals(sorted(words)),
    )


def _literals(words: Collection[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Literal, words))


def official(scene: str) -> sql.Composed:
    """Return whether a scene is a product of the Copernicus ground segment, as a condition.

    Sen2Cor writes baseline 99.xx (N9999, N9933, …) into every product that a user makes with it, so that says
    nothing about the version: docs/decisions/versions.md.

    Args:
        scene: alias of a row of the catalogue in the statement.
    """
    return sql.SQL(
        "(coalesce({scene}.baseline, '') !~ '^99' AND {scene}.reference !~ '^S2.*_N99[0-9][0-9]_')"
    ).format(scene=sql.Identifier(scene))


def names(tables: Tables) -> dict[str, sql.Composable]:
    """What the queue's statements name: tables and conditions."""
    return parcel_sets.names(tables) | {
        "tasks": tables.tasks.sql,
        "catalogue": tables.catalogue.sql,
        "sigs": tables.sigs.sql,
        "hists": tables.hists.sql,
        "aois": tables.aois.sql,
        "delta": sql.SQL(parcel_sets.DELTA),
        "live": live(tables, "t"),
        "at_work": at_work(tables, "t"),
        "asked": ASKED,
        "bands": BANDS,
    }
