"""How much of the ground is green or dry on a day of the year, crop by crop, and what that reflects.

The numbers are invented to look like Central European arable land; what matters is that crops differ in the
ways that checks by monitoring look at: when they green up, when they are harvested, whether grass is mown.
"""

import math
from dataclasses import dataclass

BANDS = ("B02", "B03", "B04", "B05", "B08", "B11")

# surface reflectance by band, in the order of BANDS
SOIL = (0.075, 0.100, 0.130, 0.155, 0.205, 0.290)
DRY = (0.080, 0.115, 0.160, 0.205, 0.310, 0.340)
FLOWER = (0.020, 0.075, 0.070, 0.060, 0.020, 0.000)  # added where rape is in flower


@dataclass(frozen=True)
class Growth:
    """One green period from `start` to `end` (days of the year, half-way), coming in `pace` days."""

    start: float
    end: float
    peak: float
    pace: float = 7.0

    def cover(self, day: float) -> float:
        """Green cover, 0..peak, on a day of the year: a double logistic."""
        rise = 1 / (1 + math.exp(-(day - self.start) / self.pace))
        fall = 1 / (1 + math.exp((day - self.end) / (self.pace * 0.6)))
        return self.peak * rise * fall


@dataclass(frozen=True)
class Crop:
    """A crop's year. `share` is its weight among crops, `nir` the near-infrared reflectance of its canopy."""

    code: int
    name: str
    share: float
    growth: tuple[Growth, ...]
    nir: float = 0.44
    floor: float = 0.04
    stubble: tuple[float, float] | None = None  # ripe and then cut straw, from day to day
    flowering: tuple[float, float] | None = None
    mowing: tuple[float, ...] = ()

    def green(self, day: float) -> float:
        """Share of the ground under green leaves, 0..1, on a day of the year."""
        cover = self.floor + sum(growth.cover(day) for growth in self.growth)
        for cut in self.mowing:
            if day >= cut:
                cover *= 1 - 0.62 * math.exp(-(day - cut) / 15)
        return min(cover, 0.97)

    def dry(self, day: float) -> float:
        """Share of the ground under straw or stubble, 0..1."""
        if self.stubble is None:
            return 0.0
        return 0.75 * Growth(*self.stubble, peak=1.0, pace=5.0).cover(day) * (1 - self.green(day))

    def flower(self, day: float) -> float:
        """Share of full flowering, 0..1 (only rape shows it)."""
        return Growth(*self.flowering, peak=1.0, pace=3.0).cover(day) if self.flowering else 0.0

    def canopy(self) -> tuple[float, ...]:
        """Reflectance of the closed canopy, in the order of BANDS."""
        return (0.022, 0.052, 0.026, 0.088, self.nir, 0.40 * self.nir)


CROPS = (
    Crop(110, "Ozimna pšenica", 0.19, (Growth(88, 176, 0.88, 12),), 0.43, 0.08, (174, 232)),
    Crop(112, "Ozimni ječmen", 0.12, (Growth(80, 156, 0.88, 10),), 0.42, 0.10, (154, 205)),
    Crop(130, "Oljna ogrščica", 0.09, (Growth(76, 168, 0.90, 11),), 0.47, 0.12, (166, 212), (112, 136)),
    Crop(206, "Koruza za zrnje", 0.22, (Growth(161, 258, 0.92, 8),), 0.46, 0.03, (256, 300)),
    Crop(218, "Soja", 0.07, (Growth(170, 246, 0.93, 8),), 0.49, 0.03, (244, 275)),
    Crop(223, "Sončnice", 0.05, (Growth(155, 228, 0.86, 8),), 0.42, 0.03, (226, 262)),
    Crop(231, "Buče za olje", 0.06, (Growth(168, 232, 0.74, 9),), 0.42, 0.03),
    Crop(240, "Krompir", 0.03, (Growth(148, 214, 0.86, 7),), 0.43, 0.03),
    Crop(402, "Lucerna", 0.05, (Growth(85, 310, 0.86, 10),), 0.46, 0.10, mowing=(132, 168, 205, 242)),
    Crop(404, "Trajni travnik", 0.10, (Growth(82, 305, 0.66, 13),), 0.40, 0.22, mowing=(146, 194, 243)),
    Crop(510, "Jablane (sadovnjak)", 0.02, (Growth(108, 290, 0.48, 9),), 0.37, 0.28),
)
MEADOW = next(crop for crop in CROPS if crop.code == 404)
ORCHARD = next(crop for crop in CROPS if crop.code == 510)
WOOD = Crop(0, "wood", 0, (Growth(110, 292, 0.72, 6),), 0.34, 0.24)
VERGE = Crop(0, "verge", 0, (Growth(86, 300, 0.45, 12),), 0.36, 0.20)

# ground that does not follow the season: reflectance in the order of BANDS
STATIC = {
    "settlement": (0.115, 0.130, 0.145, 0.165, 0.230, 0.245),
    "road": (0.115, 0.125, 0.140, 0.150, 0.175, 0.210),
    "water": (0.040, 0.052, 0.036, 0.034, 0.026, 0.012),
}
