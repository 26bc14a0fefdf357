"""The manual's purge: delete the statistics of parcels that are fully cloud-covered, scene by scene.

Each scene is a transaction, so readers and workers go on, and the next run continues an interrupted one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.queue.cloudy_rows import count_cloudy, find_purgeable, purge_scene
from cbmctl.steps import Steps, hidden


@dataclass(frozen=True)
class Purged:
    """What a purge did, or would do.

    Attributes:
        classes: SCL classes of a fully cloudy parcel.
        changed: whether rows were deleted, or the classes recorded as a method.
        scenes: how many scenes were looked at.
        rows: rows of sigs that were deleted.
        bytes: what they take in sigs and its indexes, estimated from the average row.
        purged: scenes that were extracted or purged with these classes already.
        unfinished: extracted scenes with tasks that are not done, or without histograms; left alone.
        other: scenes that were extracted with other classes; left alone.
    """

    classes: list[int]
    changed: bool
    scenes: int
    rows: int
    bytes: int
    purged: int
    unfinished: int
    other: int


def purge(
    conn: psycopg.Connection,
    config: Config,
    classes: Sequence[int] | None = None,
    *,
    check: bool = False,
    progress: Steps = hidden,
) -> Purged:
    """Delete the rows of parcels that a scene of Sentinel-2 saw through cloud only.

    Args:
        conn: a connection in autocommit mode.
        config: `cloud_classes` are the classes, unless others are given.
        classes: others, for a preview.
        check: count only.
        progress: given a label and the number of scenes, returns what is called after each scene.

    Raises:
        UserError: no class is given or configured; or the given classes differ from the configuration, so
            that the next plan would extract the purged parcels again.
    """
    configured = config.extraction.methods["10"].cloud_classes
    wanted = sorted(set(configured if classes is None else classes))
    if not wanted:
        raise UserError(
            "maintain.no_cloud_classes",
            f"{config.source}: extraction.s2.cloud_classes is empty or scl is false",
            "Set scl to true and list classes, such as [9], or preview with --check --classes 9",
            about="extraction.s2.cloud_classes",
        )
    if wanted != list(configured) and not check:
        raise UserError(
            "maintain.other_cloud_classes",
            (
                f"--classes {_list(wanted)}: the configuration has cloud_classes"
                f" {_list(configured) or 'empty'}, so the next extraction would compute the purged rows"
                " again"
            ),
            "Change tenant_cloud_classes first, or preview with --check",
            about="--classes",
        )
    found = find_purgeable(conn, config.tables, wanted)
    width = _bytes_per_row(conn, config)
    step = progress("Counting" if check else "Purging", len(found.purge))
    rows = 0
    for obsid in found.purge:
        rows += (count_cloudy if check else purge_scene)(conn, config.tables, obsid, wanted)
        step(1)
    return Purged(
        wanted,
        bool(rows or found.recorded),
        len(found.purge),
        rows,
        round(rows * width),
        found.purged,
        found.unfinished,
        found.other,
    )


def _bytes_per_row(conn: psycopg.Connection, config: Config) -> float:
    """Return the average bytes of a row of sigs with its share of the indexes; 0 if it is unknown."""
    (width,) = one(
        conn,
        query(
            """SELECT coalesce(pg_total_relation_size(oid) / nullif(greatest(reltuples, 0), 0), 0)::float8
               FROM pg_class WHERE oid = %s::regclass"""
        ),
        [str(config.tables.sigs)],
    )
    return float(width)


def _list(classes: Sequence[int]) -> str:
    return ",".join(map(str, classes))
