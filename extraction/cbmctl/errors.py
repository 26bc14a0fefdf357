"""The one exception that reaches a person."""


class UserError(Exception):
    """Bad input or surroundings: one clear sentence that names the thing, says why, and what to do.

    The command line prints it without a traceback and ends with exit code 1.
    """
