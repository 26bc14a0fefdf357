"""How messages name what to call next: as the person who reads them has called cbmctl.

Without the option of a season, a command that a message names would change the first season.
"""

_season: str | None = None


def called_with(season: str | None) -> None:
    """Let messages of this process name commands for a season; None: the first."""
    global _season  # noqa: PLW0603 - a process has one command line
    _season = season or None


def command(arguments: str) -> str:
    """Return a command for a message: `cbmctl --season 2022 parcels load`."""
    return f"cbmctl --season {_season} {arguments}" if _season else f"cbmctl {arguments}"
