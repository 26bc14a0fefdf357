"""How much a test tries: less every day than in `./run test-all`, which sets CBM_THOROUGH.

Every day the same examples, so that a failure comes from the change; `./run test-all` draws others each time.
"""

import os
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Test = TypeVar("Test", bound=Callable[..., None])

THOROUGH = os.environ.get("CBM_THOROUGH") == "1"
SEED = int(os.environ.get("CBM_SEED") or (secrets.randbits(32) if THOROUGH else 2021))


def drawing() -> random.Random:
    """Return what draws instants and choices; the output of a failed test names the seed."""
    print(f"CBM_SEED={SEED} in the environment draws the same")  # noqa: T201
    return random.Random(SEED)  # noqa: S311 - no secret


def examples(number: int) -> Callable[[Test], Test]:
    """Try so many examples, ten times as many in `./run test-all`; none is too slow."""
    return settings(deadline=None, max_examples=number * (10 if THOROUGH else 1))


def seeded(number: int, *, thorough: int) -> Callable[[Test], Test]:
    """Try so many examples with a fixture that all of them share, drawn from a seed that a failure names.

    Args:
        number: examples every day.
        thorough: examples in `./run test-all`.
    """

    def decorate(test: Any) -> Any:
        drawn = seed(SEED)(_limits(number, thorough)(test))

        @wraps(drawn)
        def run(*arguments: Any, **named: Any) -> None:
            with _naming_the_seed():
                drawn(*arguments, **named)

        return run

    return decorate


def run_machine(
    machine: Callable[[], RuleBasedStateMachine], number: int, *, thorough: int, steps: int
) -> None:
    """Run a state machine so many times, with so many steps, drawn from a seed that a failure names."""
    limits = settings(_limits(number, thorough), stateful_step_count=steps)
    # what `seed` does to a test, for which there is no other way here
    machine._hypothesis_internal_use_seed = SEED  # type: ignore[attr-defined]
    with _naming_the_seed():
        run_state_machine_as_test(machine, settings=limits)  # type: ignore[arg-type]


def _limits(number: int, thorough: int) -> settings:
    return settings(
        deadline=None,
        max_examples=thorough if THOROUGH else number,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def _naming_the_seed() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"CBM_SEED={SEED} in the environment repeats this")
        raise
