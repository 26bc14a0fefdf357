"""How messages name commands and options: as the person who reads them writes them.

Without the option of a season, a command that a message names would change the first season.
"""

import json
import os

_season: str | None = None


def called_with(season: str | None) -> None:
    """Let messages of this process name commands for a season; None: the first."""
    global _season  # noqa: PLW0603 - a process has one command line
    _season = season or None


def command(arguments: str) -> str:
    """Return a command for a message: `cbmctl --season 2022 parcels load`."""
    return f"cbmctl --season {_season} {arguments}" if _season else f"cbmctl {arguments}"


def option(name: str) -> str:
    """Return an option for a message: `--layer`, or what the caller writes for it.

    A program that sets options from lines of its own, such as a role of Ansible, names them in
    $CBM_OPTION_NAMES: {"--layer": "tenant_parcels_layer"}.
    """
    names: dict[str, str] = json.loads(os.environ.get("CBM_OPTION_NAMES") or "{}")
    return names.get(name, name)
