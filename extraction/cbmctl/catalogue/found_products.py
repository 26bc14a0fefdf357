"""What a source of the catalogue has found."""

from collections import Counter
from dataclasses import dataclass, field

from cbmctl.catalogue.record import Record


@dataclass(frozen=True)
class Broken:
    """A product that cannot be catalogued, with the status word it would get and the reason."""

    path: str
    status: str
    reason: str


@dataclass
class Findings:
    """What was found.

    Attributes:
        records: products that meet the area.
        broken: products (or folders) that cannot be read.
        elsewhere: products that do not meet the area, counted by tile (Sentinel-2) or UTM zone.
    """

    records: list[Record] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    elsewhere: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Findings") -> "Findings":
        """What both found."""
        return Findings(
            self.records + other.records, self.broken + other.broken, self.elsewhere + other.elsewhere
        )
