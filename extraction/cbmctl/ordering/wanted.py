"""A product to order: what `plan` finds missing and `place` orders."""

from dataclasses import dataclass

# What can be ordered, as the service names it in a workflow's OutputProductType, by card.
PRODUCT_TYPES = {"bs": "CARD-BS", "c6": "CARD-COH6", "c12": "CARD-COH12"}


@dataclass(frozen=True)
class Wanted:
    """One product to order. The service makes one product of one input.

    Attributes:
        product_type: one of PRODUCT_TYPES' values.
        input: name of the Level-1 product with `.SAFE`, not the COG version: GRD for CARD-BS; for coherence
            the later SLC of the pair, to which the workflow itself finds the earlier one.
        earlier: for coherence, the SLC that the workflow is expected to find; stored, but not sent.
        label: area and period in a few words, for people who read the list of orders.
    """

    product_type: str
    input: str
    earlier: str | None = None
    label: str = ""
