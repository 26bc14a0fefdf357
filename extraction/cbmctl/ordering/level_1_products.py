"""Level-1 products over an area, from which CARD products are made: one of each slice that was sensed."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import shapely
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.orbits import named_orbit
from cbmctl.catalogue.record import Card, sensing_time
from cbmctl.catalogue.search import months
from cbmctl.catalogue.search_area import pieces
from cbmctl.catalogue.service_interface import Product, Question, Service
from cbmctl.catalogue.service_products import geometry
from cbmctl.catalogue.slicing import complete
from cbmctl.scenes import SceneError

_NAME = r"S(?P<sensor>1[A-D])_IW_{}_1S[A-Z]{{2}}_(?P<sensing>\d{{8}}T\d{{6}})_\w+\.SAFE"
# IW is the sensor mode that the manual asks for. The COG versions of GRD cannot be ordered.
GRD = Card("grd", "IW_GRDH_1S", "Sentinel-1/SAR", re.compile(_NAME.format("GRDH")))
SLC = Card("slc", "IW_SLC__1S", "Sentinel-1/SAR", re.compile(_NAME.format("SLC_")))
# The Level-1 products from which a card is made.
LEVEL_1: Mapping[str, Card] = {"bs": GRD, "c6": SLC, "c12": SLC}

# The manual: "Since March 2021, all Level 1 GRD data is produced with 'NRT-3h' timeliness. Before that date,
# 'Fast-24h' should be the default". For SLC it sets none.
_NRT_SINCE = datetime(2021, 3, 1)
_NRT, _FAST = "NRT-3h", "Fast-24h"

Key = tuple[str, datetime]  # satellite and start of sensing: what Level 1 and its CARD product have in common


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
        taken: one product of each slice, the oldest first.
        other_timeliness: products of slices that do not exist with the manual's timeliness; not taken.
    """

    taken: Sequence[Input]
    other_timeliness: Sequence[Input] = ()


@dataclass(frozen=True)
class Search:
    """Where and when products are searched.

    Attributes:
        service: the catalogue service.
        area: EPSG:4326; Level-1 products must meet its true shape.
        start: first day of sensing.
        end: the day after the last.
        progress: called with the number of days just searched.
        note: called with a line about a doubtful answer.
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


def manuals_timeliness(sensed: datetime) -> str:
    """Return the timeliness of GRD that the manual selects for a start of sensing."""
    return _NRT if sensed >= _NRT_SINCE else _FAST


def level_1(search: Search, card: str, *, any_timeliness: bool = False) -> Inputs:
    """Find the Level-1 products from which a card is made.

    Args:
        search: where and when.
        card: bs, c6 or c12.
        any_timeliness: also take a slice of GRD that does not exist with the manual's timeliness.

    Raises:
        ServiceError: the service does not answer, or not as it should.
    """
    kind = LEVEL_1[card]
    listed = (_input(kind, product, search) for product in search.products(kind))
    # of several versions the last one is taken: with the manual's timeliness, online, published last
    versions = sorted(
        (one for one in listed if one is not None),
        key=lambda one: (_fits(card, one), one.online, one.published, one.name),
    )
    slices = sorted({one.key: one for one in versions}.values(), key=lambda one: (one.sensed, one.name))
    return Inputs(
        taken=[one for one in slices if any_timeliness or _fits(card, one)],
        other_timeliness=[one for one in slices if not any_timeliness and not _fits(card, one)],
    )


def _fits(card: str, one: Input) -> bool:
    return card != "bs" or one.timeliness in (None, manuals_timeliness(one.sensed))


def _input(kind: Card, product: Product, search: Search) -> Input | None:
    """Return a product as an input of an order; None if it cannot be one, or lies outside the area."""
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
