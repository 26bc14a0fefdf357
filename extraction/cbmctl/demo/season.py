"""A season over the landscape: what Sentinel-2 would see on each pass, with clouds and the swath's edge."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import Polygon

from cbmctl.demo.crops import BANDS, DRY, FLOWER, SOIL, STATIC, VERGE, WOOD, Crop
from cbmctl.demo.landscape import SIDE, Landscape
from cbmctl.demo.noise import Grid, enlarge, fractal, shrink, smooth

FINE = 5  # m; fields are drawn at 5 m and averaged, so that pixels on a border are mixed as real ones are
FINE_SHAPE = (int(SIDE) // FINE,) * 2
SHAPE_10, SHAPE_20 = (int(SIDE) // 10,) * 2, (int(SIDE) // 20,) * 2
CLOUD = np.array([0.62, 0.60, 0.60, 0.61, 0.66, 0.42], np.float32)
VEGETATION, BARE, WATER, UNCLASSIFIED = 4, 5, 6, 7
SHADOW, MEDIUM_CLOUD, HIGH_CLOUD, CIRRUS = 3, 8, 9, 10
RED, NIR = BANDS.index("B04"), BANDS.index("B08")
LATITUDE, LONGITUDE = 46.66, 16.16  # of the place, for the sun


@dataclass(frozen=True)
class Pass:
    """One overpass: who, when, on which relative orbit, under which sky."""

    spacecraft: str
    sensed: datetime
    orbit: int
    cloud: float  # share of the sky
    cirrus: float = 0.0  # opacity of a thin veil over everything

    @property
    def swath(self) -> Polygon:
        """The ground within the swath, in the landscape's frame: orbit 79 ends within the landscape."""
        east = (2750.0, 3450.0) if self.orbit == 79 else (SIDE, SIDE)
        return Polygon([(0, 0), (east[0], 0), (east[1], SIDE), (0, SIDE)])


@dataclass(frozen=True)
class Image:
    """What a pass recorded: surface reflectance at 10 m or 20 m and classes at 20 m; 0 is no data."""

    bands: dict[str, Grid]
    classes: NDArray[np.uint8]


def passes() -> tuple[Pass, ...]:
    """24 passes from 3 March to 11 September 2025, in the real rhythm of orbits 122 (B+0, C+5 …) and 79."""
    rhythm = ((0, "C", 122), (10, "C", 122), (17, "B", 79), (27, "B", 79), (35, "B", 122), (42, "C", 79))
    sky = (0.0, 0.30, 0.05, 0.55, 0.0, 0.20, 0.0, 1.0, 0.0, 0.45, 0.10, 0.0,
           0.0, 0.25, 0.0, 0.65, 0.0, 0.10, 0.35, 0.0, 0.0, 0.15, 0.5, 0.0)  # fmt: skip
    veil = {6: 0.16}
    times = {("B", 122): "100029", ("C", 122): "100041", ("B", 79): "095029", ("C", 79): "095041"}
    found = []
    for n, cloud in enumerate(sky):
        day, craft, orbit = rhythm[n % 6]
        date = datetime(2025, 3, 3, tzinfo=UTC) + timedelta(days=n // 6 * 50 + day)
        clock = datetime.strptime(times[craft, orbit], "%H%M%S").time()
        found.append(Pass(f"S2{craft}", datetime.combine(date, clock, UTC), orbit, cloud, veil.get(n, 0.0)))
    return tuple(found)


class Ground:
    """The landscape as arrays at 5 m, ready to be looked at on any day."""

    def __init__(self, landscape: Landscape, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        shapes = [p.ground for p in landscape.parcels]
        layers = [*shapes, landscape.woods, landscape.settlement, landscape.roads, landscape.water]
        n = len(shapes)
        self.crops: list[Crop] = [p.crop for p in landscape.parcels] + [WOOD, VERGE]
        # numbers: parcels, wood, verge (what nobody declares), settlement, road, water
        numbers = [*range(n), n, n + 2, n + 3, n + 4]
        to_ground = Affine(FINE, 0, 0, 0, -FINE, SIDE)
        self.numbers = rasterize(
            [(g, k) for g, k in zip(layers, numbers, strict=True) if not shapely.is_empty(g)],
            out_shape=FINE_SHAPE, transform=to_ground, fill=n + 1, dtype="int32",
        )  # fmt: skip
        self.static = np.array([STATIC[kind] for kind in ("settlement", "road", "water")], np.float32)
        self.delay = rng.normal(0, 5, len(self.crops))  # days: no two farmers sow on the same day
        self.vigour = np.clip(rng.normal(0.97, 0.07, len(self.crops)), 0.72, 1.08)
        self.soil = rng.normal(1, 0.10, len(self.crops)).astype(np.float32)
        self.growth_pattern = 0.7 * fractal(rng, FINE_SHAPE, (20, 60)) + 0.5 * smooth(
            rng, FINE_SHAPE, (250, 250)
        )
        self.soil_pattern = fractal(rng, FINE_SHAPE, (10, 40, 160))

    def reflectance(self, day: float) -> Grid:
        """Surface reflectance (band, row, column) at 5 m on a day of the year."""
        moments = [(crop, day - delay) for crop, delay in zip(self.crops, self.delay, strict=True)]
        extra = [0.0] * len(self.static)
        green = np.array(
            [c.green(d) * v for (c, d), v in zip(moments, self.vigour, strict=True)] + extra, np.float32
        )
        dry = np.array([c.dry(d) for c, d in moments] + extra, np.float32)
        flower = np.array([c.flower(d) for c, d in moments] + extra, np.float32)
        canopy = np.array([c.canopy() for c in self.crops], np.float32) + np.outer(
            flower[: len(self.crops)], FLOWER
        )
        bare = np.vstack([np.outer(self.soil, SOIL), self.static]).astype(np.float32)
        canopy = np.vstack([canopy, self.static]).astype(np.float32)

        n = self.numbers
        is_soil = n < len(self.crops)
        cover = np.clip(green[n] * (1 + 0.07 * self.growth_pattern), 0, 0.98)
        straw = np.minimum(dry[n], 1 - cover)
        soil_light = np.where(is_soil, 1 + 0.07 * self.soil_pattern, 1 + 0.02 * self.soil_pattern)
        layers = [
            cover * canopy[n, b] + straw * np.float32(DRY[b]) + (1 - cover - straw) * bare[n, b] * soil_light
            for b in range(len(BANDS))
        ]
        return np.asarray(layers, np.float32)


def look(ground: Ground, overpass: Pass, seed: int, index: int) -> Image:
    """What the instrument records on a pass; `index` is the pass's place in the season."""
    rng = np.random.default_rng([seed, 3, index])
    surface = ground.reflectance(overpass.sensed.timetuple().tm_yday)
    at_20 = shrink(surface, 4)
    cloud, shadow = _sky(rng, overpass)
    classes = _classify(at_20, cloud, shadow)
    haze = float(rng.uniform(0.0, 0.006))  # what atmospheric correction leaves behind
    bands = {}
    for b, band in enumerate(BANDS):
        seen = at_20[b] if band in ("B05", "B11") else shrink(surface[b], 2)
        veil, dark = enlarge(cloud, seen.shape), enlarge(shadow, seen.shape)
        seen = seen * (1 - 0.62 * dark) + haze
        seen = seen * (1 - veil) + CLOUD[b] * veil
        grain = rng.standard_normal(seen.shape, dtype=np.float32)
        bands[band] = np.clip(seen * (1 + 0.012 * grain) + 0.0015 * grain, 0.0005, 1.6)
    for array, pixel in ((classes, 20), *((bands[b], int(SIDE) // bands[b].shape[0]) for b in BANDS)):
        array[~_inside(overpass.swath, array.shape, pixel)] = 0
    return Image(bands, classes)


def _inside(swath: Polygon, shape: tuple[int, ...], pixel: int) -> NDArray[np.bool_]:
    to_ground = Affine(pixel, 0, 0, 0, -pixel, SIDE)
    inside: NDArray[np.uint8] = rasterize([(swath, 1)], out_shape=shape, transform=to_ground, dtype="uint8")
    return inside.astype(bool)


def _sky(rng: np.random.Generator, overpass: Pass) -> tuple[Grid, Grid]:
    """Opacity of clouds and depth of their shadows at 20 m, 0..1; shadows fall away from the sun."""
    rows, cols = SHAPE_20
    east, north = _shadow_of(overpass.sensed, height=float(rng.uniform(500, 1100)))
    shift_rows, shift_cols = round(-north / 20), round(east / 20)
    pad = max(abs(shift_rows), abs(shift_cols))
    thickness = fractal(rng, (rows + 2 * pad, cols + 2 * pad), (5, 11, 24, 50))
    if overpass.cloud == 0:
        opacity = np.zeros_like(thickness)
    elif overpass.cloud == 1:
        opacity = np.clip(0.85 + 0.08 * thickness, 0.6, 0.98)
    else:
        opacity = np.clip((thickness - np.quantile(thickness, 1 - overpass.cloud)) / 0.5, 0, 0.97)
    window = (slice(pad, pad + rows), slice(pad, pad + cols))
    moved = np.roll(opacity, (shift_rows, shift_cols), axis=(0, 1))
    cloud = np.maximum(opacity[window], overpass.cirrus * (1 + 0.15 * thickness[window]))
    shadow = moved[window] * (1 - opacity[window]) if overpass.cloud < 1 else np.zeros_like(cloud)
    return np.asarray(cloud, np.float32), np.asarray(shadow, np.float32)


def _shadow_of(moment: datetime, height: float) -> tuple[float, float]:
    """How many metres east and north of a cloud its shadow falls: height × tan(zenith), away from the sun."""
    latitude = math.radians(LATITUDE)
    declination = math.radians(23.44) * math.sin(2 * math.pi * (moment.timetuple().tm_yday - 81) / 365)
    hours = moment.hour + moment.minute / 60 + LONGITUDE / 15 - 12
    hour_angle = math.radians(15 * hours)
    # the sun's direction in the local frame (east, north, up)
    east = -math.cos(declination) * math.sin(hour_angle)
    north = math.cos(latitude) * math.sin(declination) - math.sin(latitude) * math.cos(
        declination
    ) * math.cos(hour_angle)
    up = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour_angle
    )
    return -height * east / up, -height * north / up


def _classify(at_20: Grid, cloud: Grid, shadow: Grid) -> NDArray[np.uint8]:
    """A scene classification much as Sen2Cor gives it: ground by its index, shadow, clouds."""
    ndvi = (at_20[NIR] - at_20[RED]) / (at_20[NIR] + at_20[RED])
    classes = np.where(ndvi > 0.36, VEGETATION, BARE).astype(np.uint8)
    classes[(ndvi > 0.28) & (ndvi <= 0.36)] = UNCLASSIFIED
    classes[at_20[NIR] < 0.06] = WATER
    classes[shadow > 0.15] = SHADOW
    classes[cloud > 0.05] = CIRRUS
    classes[cloud > 0.25] = MEDIUM_CLOUD
    classes[cloud > 0.55] = HIGH_CLOUD
    return classes
