"""What it costs to read new parcels in scenes that are extracted: JPEG 2000 tiles, files and time, forecast.

Tiles are counted on a grid over all scenes instead of on that of each scene. Time is taken from the tasks
that read all parcels: a delta takes the share of the tiles that it touches, and a part that is the same for
every task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import one, query
from cbmctl.errors import counted
from cbmctl.queue.statements import names

# Pixels on a side, in products of Sentinel-2 at 10 m and at 20 m.
TILE_PIXELS = 1024
# Of the time of a task that reads all parcels: what a delta takes that touches next to nothing.
FIXED_SHARE = 0.05
METRES_PER_DEGREE = 111_320


@dataclass(frozen=True)
class DeltaCost:
    """What new parcels cost, as a forecast.

    Attributes:
        files: band files to open.
        gigabytes: their size; all of it is downloaded if the archive is in S3.
        tiles: JPEG 2000 tiles of Sentinel-2 to decode.
        all_tiles: those that the same tasks decode for all parcels.
        worker_seconds: how long one worker is busy; None if no task has a recorded duration.
    """

    files: int
    gigabytes: float
    tiles: int
    all_tiles: int
    worker_seconds: float | None

    def sentence(self) -> str:
        """For people."""
        said = f"This opens about {counted(self.files, 'file')} ({self.gigabytes:.1f} GB in total)"
        if self.all_tiles:
            said += f" and decodes {self.tiles} of {self.all_tiles} JPEG 2000 tiles"
        if self.worker_seconds is not None:
            said += f"; one worker needs about {_duration(self.worker_seconds)}"
        return f"{said}. If the archive is in S3, the files are downloaded completely"


def delta_cost(
    conn: psycopg.Connection, tables: Tables, scenes: Sequence[int], *, new: sql.Composable
) -> DeltaCost:
    """Forecast what it costs to read new parcels.

    Args:
        conn: a connection in a transaction.
        tables: the tables.
        scenes: in which the parcels are to be read.
        new: the table of the new parcels, in the coordinate system of the parcel table.
    """
    known = names(tables) | {"new": new, "places": _PLACES}
    conn.execute(query(_MAKE_PLACES, **known), _PARAMETERS)
    conn.execute(query("CREATE INDEX ON {places} USING gist (place)", **known))
    conn.execute(query("ANALYZE {places}", **known))
    row = one(conn, query(_COST, **known), _PARAMETERS | {"scenes": list(scenes)})
    conn.execute(query("DROP TABLE {places}", **known))
    files, megabytes, tiles, all_tiles, seconds = row
    return DeltaCost(
        int(files),
        float(megabytes) / 1e3,
        int(tiles),
        int(all_tiles),
        None if seconds is None else float(seconds),
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    if seconds < 5400:
        return counted(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"


_PLACES = sql.Identifier("pg_temp", "cbm_tiles_of_parcels")
_PARAMETERS: dict[str, Any] = {
    "sets": list(BANDSETS),
    "sizes": [TILE_PIXELS * bandset.resolution for bandset in BANDSETS.values()],
    "megabytes": [bandset.megabytes for bandset in BANDSETS.values()],
    "tiled": [bandset.card == "s2" for bandset in BANDSETS.values()],
    "degree": METRES_PER_DEGREE,
    "fixed": FIXED_SHARE,
}
# One place for each square of a tile's size that has parcels. Rows of squares are degrees of latitude high.
_MAKE_PLACES = """
    CREATE TEMPORARY TABLE {places} ON COMMIT DROP AS
    WITH parcel AS MATERIALIZED (
        SELECT new, ST_Transform(ST_Centroid(ST_Envelope(wkb_geometry)), 4326) AS place
        FROM (SELECT false AS new, wkb_geometry FROM {parcels}
              UNION ALL SELECT true, wkb_geometry FROM {new}) both_sets
    ), size AS (
        SELECT DISTINCT metres FROM unnest(%(sizes)s::integer[]) metres
    )
    SELECT metres, bool_or(new) AS new, (array_agg(place ORDER BY new DESC))[1] AS place
    FROM parcel, size,
        LATERAL (SELECT %(degree)s / metres AS degree) AS per,
        LATERAL (SELECT floor(ST_Y(place) * degree) AS y) AS north
    GROUP BY metres, y, floor(ST_X(place) * degree * cos(radians((y + 0.5) / degree)))
"""
# A task that was claimed after the first update may have read new parcels only: its time does not count.
_COST = """
    WITH bandset AS (
        SELECT * FROM unnest(
            %(sets)s::text[], %(sizes)s::integer[], %(megabytes)s::integer[], %(tiled)s::boolean[]
        ) AS b (name, metres, megabytes, tiled)
    ), square AS MATERIALIZED (
        SELECT d.id, p.metres, count(*) FILTER (WHERE p.new) AS new, count(*) AS number
        FROM {catalogue} d JOIN {places} p ON ST_Intersects(d.footprint, p.place)
        WHERE d.id = ANY(%(scenes)s) GROUP BY 1, 2
    ), task AS (
        SELECT b.*, cardinality(t.bands) AS bands, greatest(s.new, 1) AS new, greatest(s.number, 1) AS number
        FROM {tasks} t JOIN bandset b ON b.name = t.bandset
            LEFT JOIN square s ON s.id = t.obsid AND s.metres = b.metres
        WHERE t.obsid = ANY(%(scenes)s) AND t.method IS NOT NULL
    ), took AS (
        SELECT bandset AS name, extract(epoch FROM
            percentile_cont(0.5) WITHIN GROUP (ORDER BY finished_at - claimed_at)) AS seconds
        FROM {tasks}
        WHERE state = 'done' AND rows > 0 AND finished_at >= claimed_at AND claimed_at < coalesce((
            SELECT min(coalesce(valid_from, valid_to)) FROM {history} WHERE table_name = {set}), 'infinity')
        GROUP BY 1
    )
    SELECT coalesce(sum(bands), 0), coalesce(sum(bands * megabytes), 0),
        coalesce(sum(bands * new) FILTER (WHERE tiled), 0),
        coalesce(sum(bands * number) FILTER (WHERE tiled), 0),
        CASE WHEN bool_and(seconds IS NOT NULL)
            THEN sum(seconds * least(1, %(fixed)s + new::float / number)) END
    FROM task LEFT JOIN took USING (name)
"""
