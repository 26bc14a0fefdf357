"""The exceptions that reach a person, and what their sentences need."""


class UserError(Exception):
    """Bad input or surroundings: one clear sentence that names the thing, says why, and what to do.

    The command line prints it without a traceback and ends with its exit code.

    Attributes:
        exit_code: of the command.
    """

    exit_code = 1


class NotSetUpError(UserError):
    """The tables or the area of a season do not exist yet: `schema apply` or `aoi set` has not run for it."""

    exit_code = 4


def counted(number: int, thing: str) -> str:
    """Return "1 feature", "2 features"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
