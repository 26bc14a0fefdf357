"""Time that passes when a test says so: a slow machine cannot make it longer."""

from dataclasses import dataclass


@dataclass
class Clock:
    """The time module, as far as it is used."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
