"""How much a test tries: less every day than in `./run test-all`, which sets CBM_THOROUGH."""

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import settings

Test = TypeVar("Test", bound=Callable[..., None])

THOROUGH = os.environ.get("CBM_THOROUGH") == "1"


def examples(number: int) -> Callable[[Test], Test]:
    """Try so many examples, ten times as many in `./run test-all`; none is too slow."""
    return settings(deadline=None, max_examples=number * (10 if THOROUGH else 1))
