"""The one exception that reaches a person, and what its sentences need."""


class UserError(Exception):
    """Bad input or surroundings: one clear sentence that names the thing, says why, and what to do.

    The command line prints it without a traceback and ends with its exit code.
    """

    exit_code = 1


class NoTablesError(UserError):
    """The season has no schema or no tables yet. Callers that predict changes know it by its exit code."""

    exit_code = 4


def counted(number: int, thing: str) -> str:
    """Return "1 feature", "2 features"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
