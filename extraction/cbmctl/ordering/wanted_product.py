"""A product to order: what `plan` finds missing and `place` orders."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cbmctl.catalogue.record import CARDS, Card
from cbmctl.errors import UserError
from cbmctl.ordering.level_1_products import LEVEL_1

# What can be ordered, as the service names it in a workflow's OutputProductType, by card.
PRODUCT_TYPES: Mapping[str, str] = {name: CARDS[name].ptype for name in LEVEL_1}


@dataclass(frozen=True)
class Wanted:
    """One product to order. The service makes one product of one input.

    Attributes:
        product_type: one of PRODUCT_TYPES' values.
        input: name of the Level-1 product with `.SAFE`, not the COG version: GRD for CARD-BS; for coherence
            the later SLC of the pair, for which the workflow finds the earlier SLC.
        earlier: for coherence, the SLC that the workflow is expected to find; stored, but not sent.
        label: area and period in a few words, for people who read the list of orders.
    """

    product_type: str
    input: str
    earlier: str | None = None
    label: str = ""

    @property
    def card(self) -> Card:
        """The card of the product. Raises UserError if the product type cannot be ordered."""
        for card, product_type in PRODUCT_TYPES.items():
            if product_type == self.product_type:
                return CARDS[card]
        raise UserError(
            "order.invalid_product",
            f"product type '{self.product_type}' cannot be ordered",
            f"It must be one of: {', '.join(PRODUCT_TYPES.values())}",
        )

    @property
    def key(self) -> tuple[str, str, datetime]:
        """What identifies the product, for all versions of its input: product type, sensor, sensed."""
        return self.product_type, self.sensor, self.sensed

    @property
    def sensor(self) -> str:
        """Satellite without its S, as in "1A"."""
        return self._match()["sensor"]

    @property
    def sensed(self) -> datetime:
        """Start of sensing of the product, UTC without a zone: that of the input."""
        return datetime.strptime(self._match()["sensing"], "%Y%m%dT%H%M%S")

    @property
    def made_beginning(self) -> str:
        """How the name of the product begins: as the input up to the sensing start, or for coherence S1A_."""
        match = self._match()
        if self.card.name == "bs":
            return self.input[: match.end("sensing")]
        return f"S{match['sensor']}_{match['sensing']}"

    def _match(self) -> re.Match[str]:
        """Match the input's name. Raises UserError if it is not a valid input of this product type."""
        if match := LEVEL_1[self.card.name].pattern.fullmatch(self.input):
            return match
        kind = "GRD" if self.card.name == "bs" else "SLC"
        raise UserError(
            "order.invalid_product",
            f"'{self.input}' is not a valid input of {self.product_type}",
            f"Use the full name of a Sentinel-1 IW {kind} product with .SAFE, not of its COG version",
        )
