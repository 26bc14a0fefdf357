"""Which module holds which command, and how a message names a command.

Each is imported when its command is called, and registers itself then: a worker starts in half the time
without the libraries of the migrations, and an image without matplotlib is enough for it.
"""

import re
from importlib import import_module
from typing import Any

import click
import psycopg

from cbmctl.database import explain
from cbmctl.errors import UserError

MODULES = {
    "aoi": "aoi",
    "catalogue": "catalogue",
    "demo": "demo",
    "eodata": "eodata",
    "extract": "extract",
    "maintain": "maintain",
    "order": "order",
    "parcels": "parcels",
    "repair": "repair",
    "report": "report",
    "schema": "schema",
    "status": "status",
    "worker": "extract",
}
# In a message; "made by cbmctl parcels load" names what was done, and not what to do.
_NAMED = re.compile(rf"(?<!made by )(?<!made by `)\bcbmctl (?=(?:{'|'.join(sorted(MODULES))})\b)")


def in_season(text: str, season: str | None) -> str:
    """Return a text for people whose commands of cbmctl have the option of a season, as in `--season 2022`.

    Without the option, the command would change the first season. Messages name commands in many places, most
    of which do not know the season. So this is done where messages are printed.
    """
    return _NAMED.sub(f"cbmctl --season {season} ", text) if season else text


class Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            UserError: the command failed; commands in its message have the option of the season.
        """
        season = ctx.params.get("season")
        try:
            return super().invoke(ctx)
        except UserError as error:
            error.args = (in_season(str(error), season),)
            raise
        except psycopg.Error as error:
            explained = explain(error)
            if explained is None:
                raise
            explained.args = (in_season(str(explained), season),)
            raise explained from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, imported or not."""
        return sorted(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module, unless that was done before."""
        if cmd_name in MODULES:
            import_module(f"cbmctl.cli.{MODULES[cmd_name]}")
        return super().get_command(ctx, cmd_name)
