"""Parcels that change while there are statistics, for tests."""

from collections.abc import Collection, Mapping

from shapely import Polygon

from cbmctl.database import connect
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.queue.parcel_changes import Delta, change_parcels
from tests.support.queue_scenes import store_changes
from tests.support.season import Season


def change(
    season: Season, version: int, new: Mapping[int, Polygon] | None = None, gone: Collection[int] = ()
) -> Delta:
    """Load a file with other parcels."""
    new = new or {}
    with connect(season.config, autocommit=True) as conn, conn.transaction():
        lock_parcel_sets(conn, season.config.tables)
        store_changes(conn, version, new, gone)
        return change_parcels(conn, season.config.tables, version=version, new=list(new), gone=list(gone))
