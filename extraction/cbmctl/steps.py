"""Progress of work in several long steps; the command line passes in what shows it."""

from collections.abc import Callable

# Given the label and the length of the next step, returns what is called with each number that is done.
Steps = Callable[[str, int], Callable[[int], None]]


def hidden(_label: str, _length: int) -> Callable[[int], None]:
    """Show nothing."""
    return lambda _number: None
