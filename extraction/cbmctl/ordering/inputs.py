"""Level-1 products over an area, of which CARD products are made: one of each slice that was sensed."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import shapely
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.area import pieces
from cbmctl.catalogue.normal import geometry, reference
from cbmctl.catalogue.orbits import named_orbit, named_pair
from cbmctl.catalogue.record import CARDS, Card, sensing_time
from cbmctl.catalogue.remote import months
from cbmctl.catalogue.service import Product, Question, Service
from cbmctl.catalogue.slicing import complete
from cbmctl.scenes import SceneError

_NAME = r"S(?P<sensor>1[A-D])_IW_{}_1S[A-Z]{{2}}_(?P<sensing>\d{{8}}T\d{{6}})_\w+\.SAFE"
# IW is the sensor mode that the manual asks for. The COG versions of GRD cannot be ordered.
GRD = Card("grd", "IW_GRDH_1S", "Sentinel-1/SAR", re.compile(_NAME.format("GRDH")))
SLC = Card("slc", "IW_SLC__1S", "Sentinel-1/SAR", re.compile(_NAME.format("SLC_")))
# Of which products a card is made.
LEVEL_1: Mapping[str, Card] = {"bs": GRD, "c6": SLC, "c12": SLC}

# The manual: "Since March 2021, all Level 1 GRD data is produced with 'NRT-3h' timeliness. Before that date,
# 'Fast-24h' should be the default". For SLC it sets none.
_NRT_SINCE = datetime(2021, 3, 1)
_NRT, _FAST = "NRT-3h", "Fast-24h"

Key = tuple[str, datetime]  # satellite and start of sensing: what Level 1 and its CARD product have in common


@dataclass(frozen=True)
class Made:
    """A CARD product that exists; sensor, start of sensing, and for coherence the earlier satellite."""

    sensor: str
    sensed: datetime
    pair_sensor: str | None = None

    @property
    def key(self) -> Key:
        """As Input.key of what it was made of."""
        return self.sensor, self.sensed

    @property
    def satellites(self) -> str:
        """The satellite, for coherence both, in one word."""
        return satellites(self.sensor, self.pair_sensor)


@dataclass(frozen=True)
class Input:
    """A Level-1 product.

    Attributes:
        name: with `.SAFE`.
        sensor: satellite without its S, as in "1A".
        sensed: start of sensing, UTC, in whole seconds.
        relative_orbit: 1 to 175; None if it is not known.
        timeliness: as the service states it.
        published: by the service, ISO 8601.
        online: whether the archive has it at once.
        footprint: EPSG:4326.
    """

    name: str
    sensor: str
    sensed: datetime
    relative_orbit: int | None
    timeliness: str | None
    published: str
    online: bool
    footprint: BaseGeometry = field(repr=False)

    @property
    def key(self) -> Key:
        """What identifies the slice: Level-1 versions of it, and its CARD product, have the same."""
        return self.sensor, self.sensed


@dataclass(frozen=True)
class Inputs:
    """Level-1 products of a search.

    Attributes:
        taken: one a slice, the oldest first.
        other_timeliness: slices that exist only with another timeliness than the manual's; not taken.
    """

    taken: Sequence[Input]
    other_timeliness: Sequence[Input] = ()


@dataclass(frozen=True)
class Search:
    """Where and when products are looked for.

    Attributes:
        service: asked.
        area: EPSG:4326; Level-1 products must meet its true shape.
        start: first day of sensing.
        end: the day after the last.
        progress: told how many days of the period are done.
        note: told of what is doubtful.
    """

    service: Service
    area: BaseGeometry
    start: date
    end: date
    progress: Callable[[int], None]
    note: Callable[[str], None]

    def products(self, kind: Card) -> Iterator[Product]:
        """Find all products of a kind, month by month. Raises ServiceError if the service fails."""
        shapely.prepare(self.area)
        outline = pieces(self.area)
        for first, last in months(self.start, self.end):
            listed: dict[str, Product] = {}
            for piece in outline:
                question = Question(kind, first, last, piece)
                found = complete(self.service, question, self.note)
                listed |= {self.service.key(product): product for product in found}
            yield from listed.values()
            self.progress((last - first).days)


def satellites(sensor: str, earlier: str | None) -> str:
    """Return satellites in one word: "1C", or for coherence the later and the earlier one, "1C-1A"."""
    return f"{sensor}-{earlier}" if earlier else sensor


def manuals_timeliness(sensed: datetime) -> str:
    """Return the timeliness of GRD that the manual selects for a start of sensing."""
    return _NRT if sensed >= _NRT_SINCE else _FAST


def level_1(search: Search, card: str, *, any_timeliness: bool = False) -> Inputs:
    """Find the Level-1 products of which a card is made.

    Args:
        search: where and when.
        card: bs, c6 or c12.
        any_timeliness: take a slice of GRD that exists only with another timeliness than the manual's.

    Raises:
        ServiceError: the service does not answer, or not as it should.
    """
    kind = LEVEL_1[card]
    listed = (_input(kind, product, search) for product in search.products(kind))
    # of several versions of a slice the last one counts: right timeliness, online, published last
    versions = sorted(
        (one for one in listed if one is not None),
        key=lambda one: (_fits(card, one), one.online, one.published, one.name),
    )
    slices = sorted({one.key: one for one in versions}.values(), key=lambda one: (one.sensed, one.name))
    return Inputs(
        taken=[one for one in slices if any_timeliness or _fits(card, one)],
        other_timeliness=[one for one in slices if not any_timeliness and not _fits(card, one)],
    )


def existing(search: Search, card: str) -> list[Made]:
    """Return the CARD products that the service lists.

    Their names are enough: one that cannot be catalogued exists as well, and an order would make no other.

    Raises:
        ServiceError: the service does not answer, or not as it should.
    """
    kind, found = CARDS[card], []
    for product in search.products(kind):
        try:
            name = reference(kind, search.service.tell(product).name)
            match = kind.pattern.fullmatch(name)
            if match is None:
                continue
            pair = named_pair(name)
            found.append(Made(match["sensor"], sensing_time(match), pair.sensor if pair else None))
        except (LookupError, TypeError, ValueError, AttributeError):
            continue
    return found


def _fits(card: str, one: Input) -> bool:
    return card != "bs" or one.timeliness in (None, manuals_timeliness(one.sensed))


def _input(kind: Card, product: Product, search: Search) -> Input | None:
    """Return a product that can be ordered from; None for any other."""
    try:
        told = search.service.tell(product)
        match = kind.pattern.fullmatch(told.name)
        if match is None:
            return None
        footprint = geometry(told.footprint)
        one = Input(
            name=told.name,
            sensor=match["sensor"],
            sensed=sensing_time(match),
            relative_orbit=told.relative_orbit or named_orbit(told.name),
            timeliness=told.timeliness,
            published=told.published or "",
            online=told.online,
            footprint=footprint,
        )
    except (SceneError, LookupError, TypeError, ValueError, AttributeError):
        return None
    return one if search.area.intersects(footprint) else None
