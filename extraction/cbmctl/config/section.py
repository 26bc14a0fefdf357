"""A JSON object that knows its place in its file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbmctl.errors import UserError


@dataclass(frozen=True)
class Section:
    """A JSON object that knows its place, so that every complaint names file and key."""

    source: Path
    path: str
    data: Any

    def __post_init__(self) -> None:
        if not isinstance(self.data, dict):
            raise UserError(
                "config.invalid_value",
                f"{self.source}: {self.path or 'the file'} must be an object in curly brackets",
                'Write it as {"name": value}',
                about=self.path or self.source,
            )

    def error(self, key: str, problem: str, hint: str = "") -> UserError:
        """Return the error of a key: what is wrong with it, without its name, and what to do."""
        name = self._name(key)
        return UserError("config.invalid_value", f"{self.source}: {name} {problem}", hint, about=name)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value. Raises UserError when it is missing and has no default."""
        value = self.data.get(key, default)
        if value is None:
            raise self.error(key, "is missing", "Add it")
        return value

    def section(self, key: str, default: dict[str, Any] | None = None) -> "Section":
        """Return the object below a key. Raises UserError when it is none."""
        return Section(self.source, self._name(key), self.get(key, default))

    def only(self, *keys: str) -> None:
        """Refuse what nobody reads. Raises UserError when there is another key than these."""
        for key in self.data:
            if key not in keys:
                raise self.error(key, "is unknown", f"Use one of {', '.join(keys)}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text. Raises UserError when it is another kind of value, or empty."""
        value = self.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.error(key, f"must be a text, not {value!r}")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """Return one of several words. Raises UserError, which lists them, when it is another."""
        value = self.text(key, default)
        if value not in choices:
            raise self.error(key, f"is '{value}'", f"Use one of {', '.join(choices)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false. Raises UserError when it is neither."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {value!r}")
        return value

    def whole(self, key: str, within: range, default: int) -> int:
        """Return a whole number. Raises UserError when it is none, or out of range."""
        value = self.get(key, default)
        if type(value) is not int or value not in within:
            raise self.error(key, f"is {value!r}", f"Use a whole number from {within[0]} to {within[-1]}")
        return value

    def number(self, key: str, default: float, most: float) -> float:
        """Return a number from 0 on. Raises UserError when it is none, or larger than `most`."""
        value = self.get(key, default)
        if type(value) not in {int, float} or not 0 <= value <= most:
            raise self.error(key, f"is {value!r}", f"Use a number from 0 to {most}")
        return float(value)

    def _name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key
