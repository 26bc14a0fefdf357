"""What the picture shows: values of parcels by date, which of them are clear, and where the parcels lie."""

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import psycopg
import shapely
from numpy.typing import NDArray
from psycopg import sql

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.parcels.places import stray_pids
from cbmctl.queue.statements import official

# Clients of the database take an observation with any such pixel for cloudy: shadow, clouds, cirrus, snow.
CLOUDY_CLASSES = ["3", "8", "9", "10", "11"]
SAMPLE = 3000  # parcels looked at to choose date and parcel; a Member State has millions
SERIES_NEEDS = 4  # clear observations; fewer make no season
QUANTIFICATION = 10000


@dataclass(frozen=True)
class Measure:
    """What is shown: an index of two bands, or one band where they are not both there."""

    first: str
    second: str | None = None  # near infrared

    @property
    def is_index(self) -> bool:
        """Whether it is the NDVI."""
        return self.second is not None

    @property
    def name(self) -> str:
        """For a title."""
        return "NDVI" if self.is_index else self.first

    @property
    def label(self) -> str:
        """For an axis, with unit."""
        return f"NDVI [–] from {self.second} and {self.first}" if self.is_index else band_label(self.first)


def band_label(band: str) -> str:
    """A band's quantity and unit."""
    return f"{band} surface reflectance [–]" if band.startswith("B") else f"{band} (as in sigs) [–]"


@dataclass(frozen=True)
class Observations:
    """Parcel by parcel and scene by scene, as columns of equal length, ordered by parcel and time.

    `clear` says that no pixel is of a cloudy class; `screened` that there was a classification at all.
    """

    pid: NDArray[np.int64]
    time: NDArray[np.datetime64]
    value: NDArray[np.float64]
    pixels: NDArray[np.float64]
    clear: NDArray[np.bool_]
    screened: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pid)

    def where(self, chosen: NDArray[np.bool_]) -> "Observations":
        """A part."""
        return Observations(
            self.pid[chosen], self.time[chosen], self.value[chosen],
            self.pixels[chosen], self.clear[chosen], self.screened[chosen],
        )  # fmt: skip

    @property
    def day(self) -> NDArray[np.datetime64]:
        """The date of each."""
        return self.time.astype("datetime64[D]")


@dataclass(frozen=True)
class ParcelMap:
    """Outlines in metres and the value of each parcel on the day; NaN where it was not seen clear."""

    pid: NDArray[np.int64]
    outline: NDArray[Any]
    value: NDArray[np.float64]


def choose_measure(bands: dict[str, int]) -> Measure:
    """NDVI where there are red and near infrared, else red, else the band with most rows."""
    near_infrared = next((band for band in ("B08", "B8A") if band in bands), None)
    if "B04" in bands:
        return Measure("B04", near_infrared)
    return Measure(max(bands, key=lambda band: (bands[band], band)))


def sample(conn: psycopg.Connection, config: Config, measure: Measure) -> Observations:
    """The observations of every n-th parcel, so many that at most SAMPLE parcels are looked at."""
    parcels = one(conn, query("SELECT count(*) FROM {parcels}", parcels=config.tables.parcels.sql))[0]
    step = max(1, math.ceil(parcels / SAMPLE))
    return _read(conn, config, measure, sql.SQL("s.pid %% %(step)s = 0"), {"step": step})


def of_day(conn: psycopg.Connection, config: Config, measure: Measure, day: date) -> Observations:
    """The observations of all parcels on a day."""
    return _read(conn, config, measure, sql.SQL("d.obstime::date = %(day)s"), {"day": day})


def choose_day(seen: Observations) -> date:
    """The day with most clear parcels; of days nearly as clear, the one on which parcels differ most."""
    days = np.unique(seen.day)
    clear = np.array([np.sum(seen.clear & (seen.day == day)) for day in days])
    spread = np.array(
        [_spread(seen.value[(seen.day == day) & (seen.clear | (clear.max() == 0))]) for day in days]
    )
    spread[clear < 0.95 * clear.max()] = -1
    chosen: datetime | date = days[int(np.argmax(spread))].item()
    return chosen


def choose_parcel(seen: Observations) -> int | None:
    """A telling parcel: among those most often seen clear, the one whose season swings most.

    None when no parcel has enough clear observations for a series.
    """
    pids, inverse = np.unique(seen.pid, return_inverse=True)
    clear = np.bincount(inverse, weights=seen.clear, minlength=len(pids))
    if clear.max(initial=0) < SERIES_NEEDS:
        return None
    pixels = np.zeros(len(pids))
    np.maximum.at(pixels, inverse, seen.pixels)
    # a larger parcel is seen better on the map, and its season is less blurred by its edge
    large = pixels >= min(400.0, float(np.quantile(pixels, 0.7)))
    often = (clear >= 0.85 * clear.max()) & large
    if not often.any():
        often = clear == clear.max()
    swing = np.array(
        [_spread(seen.value[(inverse == k) & seen.clear]) if often[k] else -1 for k in range(len(pids))]
    )
    return int(pids[int(np.argmax(swing))])


def read_map(
    conn: psycopg.Connection, config: Config, values: Observations, *, detail: int = 1500
) -> ParcelMap:
    """The parcels' outlines in the UTM zone of their middle, simplified to what `detail` pixels can show.

    Stray parcels are left out, because all others would become a dot.
    """
    strays = list(stray_pids(conn, config.tables.parcels))
    names = {"parcels": config.tables.parcels.sql}
    west, south, east, north = one(
        conn,
        query(
            "SELECT ST_XMin(box), ST_YMin(box), ST_XMax(box), ST_YMax(box) FROM (SELECT ST_Extent("
            "ST_Transform(ST_Envelope(wkb_geometry), 4326)) AS box FROM {parcels}"
            " WHERE ogc_fid <> ALL(%s)) AS extent",
            **names,
        ),
        [strays],
    )
    zone = int((west + east) / 2 // 6 + 31)
    srid = (32600 if south + north >= 0 else 32700) + zone
    tolerance = max(north - south, (east - west) * math.cos(math.radians(north))) * 111_000 / detail / 2
    rows = conn.execute(
        query(
            "SELECT ogc_fid, ST_AsBinary(ST_SimplifyPreserveTopology(ST_Transform(wkb_geometry, %s), %s))"
            " FROM {parcels} WHERE ogc_fid <> ALL(%s) ORDER BY ogc_fid",
            **names,
        ),
        [srid, tolerance, strays],
    ).fetchall()
    pid = np.array([row[0] for row in rows], np.int64)
    clear = values.where(values.clear)
    known = dict(zip(clear.pid.tolist(), clear.value.tolist(), strict=True))
    return ParcelMap(
        pid,
        shapely.from_wkb([bytes(row[1]) for row in rows]),
        np.array([known.get(parcel, np.nan) for parcel in pid.tolist()]),
    )


def parcel_name(conn: psycopg.Connection, config: Config, pid: int) -> str:
    """What the analysts call a parcel: its `parcel_id` and `crop_name`, where the table has such columns."""
    columns = {
        row[0]
        for row in conn.execute(
            "SELECT attname FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [str(config.tables.parcels)],
        )
    }
    shown = [name for name in ("parcel_id", "crop_name") if name in columns]
    if not shown:
        return f"parcel {pid}"
    row = one(
        conn,
        query(
            "SELECT {columns} FROM {parcels} WHERE ogc_fid = %s",
            columns=sql.SQL(", ").join(map(sql.Identifier, shown)),
            parcels=config.tables.parcels.sql,
        ),
        [pid],
    )
    values = dict(zip(shown, (str(value) for value in row), strict=True))
    return f"parcel {values.get('parcel_id', pid)}" + (
        f", {values['crop_name']}" if "crop_name" in values else ""
    )


def _read(
    conn: psycopg.Connection, config: Config, measure: Measure, which: sql.Composable, params: dict[str, Any]
) -> Observations:
    """Read observations; of a datatake that was processed more than once, the newest processing."""
    rows = conn.execute(
        query(
            """SELECT DISTINCT ON (s.pid, d.obstime)
                   s.pid, d.obstime, s.count, s.mean, n.mean,
                   coalesce(d.boa_offset, 0) - coalesce(d.applied_offset, 0) AS still_to_apply,
                   h.hist IS NOT NULL, coalesce(h.hist::jsonb ?| %(cloudy)s, false)
               FROM {sigs} s
               JOIN {catalogue} d ON d.id = s.obsid
               LEFT JOIN {sigs} n ON n.pid = s.pid AND n.obsid = s.obsid AND n.band = %(second)s
               LEFT JOIN {hists} h ON h.pid = s.pid AND h.obsid = s.obsid
               WHERE s.band = %(first)s AND (n.mean IS NOT NULL OR %(second)s::text IS NULL)
                 AND d.obstime >= %(start)s AND d.obstime < %(end)s AND {which}
               ORDER BY s.pid, d.obstime, {official} DESC, d.baseline DESC NULLS LAST, d.reference DESC""",
            sigs=config.tables.sigs.sql,
            catalogue=config.tables.catalogue.sql,
            hists=config.tables.hists.sql,
            official=official("d"),
            which=which,
        ),
        {
            "first": measure.first,
            "second": measure.second,
            "cloudy": CLOUDY_CLASSES,
            "start": config.args.start,
            "end": config.args.end,
            **params,
        },
    ).fetchall()
    columns = list(zip(*rows, strict=True)) if rows else [()] * 8
    first, second, offset = (np.array(columns[k], float) for k in (3, 4, 5))
    return Observations(
        pid=np.array(columns[0], np.int64),
        time=np.array(columns[1], "datetime64[s]"),
        value=_value(measure, first + offset, second + offset),
        pixels=np.array(columns[2], float),
        clear=~np.array(columns[7], bool),
        screened=np.array(columns[6], bool),
    )


def _value(measure: Measure, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """NDVI of the parcel's mean reflectances, or the reflectance itself."""
    if measure.is_index:
        total = second + first
        return np.divide(second - first, total, out=np.full_like(total, np.nan), where=total > 0)
    return first / QUANTIFICATION if measure.first.startswith("B") else first


def _spread(values: NDArray[np.float64]) -> float:
    """From the 5th to the 95th percentile; -1 for none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return -1.0
    low, high = np.quantile(known, (0.05, 0.95))
    return float(high - low)
