"""A mistake in an inventory, for programs (code, variable) and for people (message, hint)."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        code: stable, for programs: `inventory.unknown_variable`.
        variable: the variable to correct.
        message: a sentence that names the variable and its value and says what is wrong.
        hint: a sentence that says what to do; may be empty.
    """

    code: str
    variable: str
    message: str
    hint: str = ""

    @property
    def sentence(self) -> str:
        """Message and hint, in one line."""
        return f"{self.message} {self.hint}".strip()

    def data(self) -> dict[str, str]:
        """For JSON: the fields, and `sentence`."""
        return {**asdict(self), "sentence": self.sentence}


def shown(value: object) -> str:
    """A value as a person wrote it, in one line: texts in quotes, cut at 80 characters."""
    if value is None:
        return "empty"
    text = " ".join(str(value).split())
    text = text if len(text) <= 80 else f"{text[:79]}…"
    return f"'{text}'" if isinstance(value, str) else text
