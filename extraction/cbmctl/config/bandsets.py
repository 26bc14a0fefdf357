"""The band sets: what one task extracts together."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Bandset:
    """Bands that one task extracts together: those of a card at one resolution.

    Attributes:
        card: the word in `dias_catalogue.card`.
        resolution: metres.
        bands: all there are, by the names in `sigs`.
        default: those that are extracted unless the configuration says otherwise.
        megabytes: typical size of the file of one band, for forecasts.
    """

    card: str
    resolution: int
    bands: tuple[str, ...]
    default: tuple[str, ...]
    megabytes: int


# In the order of processing: SCL comes first, because it shows which scenes have no parcels.
BANDSETS: Mapping[str, Bandset] = {
    "scl": Bandset("s2", 20, ("SCL",), ("SCL",), 2),
    "10": Bandset("s2", 10, ("B02", "B03", "B04", "B08"), ("B02", "B03", "B04", "B08"), 105),
    "20": Bandset("s2", 20, ("B05", "B06", "B07", "B8A", "B11", "B12"), ("B05", "B11"), 28),
    "bs": Bandset("bs", 10, ("VVb", "VHb"), ("VVb", "VHb"), 672),
    "c6": Bandset("c6", 20, ("VVc", "VHc"), ("VVc", "VHc"), 168),
    "c12": Bandset("c12", 20, ("VVc", "VHc"), ("VVc", "VHc"), 168),
}
