"""The exceptions that reach a person, and what their sentences need.

A user error is data: programs read its code, people its sentences. docs/errors.md lists the codes.
"""

from typing import Any


class UserError(Exception):
    """Bad input or surroundings: what is wrong, and what to do.

    The command line prints both without a traceback, and ends with the exit code. `--json` prints the data.

    Attributes:
        code: of `error_codes`, stable, for programs.
        message: what is wrong: it names the thing and its value. Without a full stop.
        hint: what to do, in one sentence or more. Without the last full stop.
        about: the option, key of the configuration, file or table that the error is about.
        exit_code: of the command.
    """

    exit_code = 1

    def __init__(self, code: str, message: str, hint: str = "", *, about: object = "") -> None:
        super().__init__(code, message, hint)
        self.code, self.about = code, str(about)
        # what others say, such as a library, may end with a full stop
        self.message, self.hint = message.rstrip(". "), hint.rstrip(". ")

    def __str__(self) -> str:
        """Return message and hint as sentences. A hint may end with a statement of SQL and its semicolon."""
        end = "" if self.hint.endswith(";") else "."
        return f"{self.message}. {self.hint}{end}" if self.hint else f"{self.message}."

    def data(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"code": self.code, "about": self.about, "message": self.message, "hint": self.hint}


class NotSetUpError(UserError):
    """The tables or the area of a season do not exist yet: `schema apply` or `aoi set` has not run for it."""

    exit_code = 4


def counted(number: int, thing: str) -> str:
    """Return "1 feature", "2 features"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
