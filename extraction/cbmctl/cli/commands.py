"""Which module holds which command.

Each is imported when its command is called, and registers itself then: a worker starts in half the time
without the libraries of the migrations, and an image without matplotlib is enough for it.
"""

from importlib import import_module
from typing import Any

import click
import psycopg

from cbmctl.database import explain
from cbmctl.errors import UserError
from cbmctl.invocation import called_with

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


class Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            UserError: the command failed.
        """
        called_with(ctx.params.get("season"))
        ctx.call_on_close(lambda: called_with(None))
        try:
            return super().invoke(ctx)
        except UserError as error:
            ctx.obj.output.error(error)
            raise
        except psycopg.Error as error:
            explained = explain(error)
            if explained is None:
                raise
            ctx.obj.output.error(explained)
            raise explained from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, imported or not."""
        return sorted(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module, unless that was done before."""
        if cmd_name in MODULES:
            import_module(f"cbmctl.cli.{MODULES[cmd_name]}")
        return super().get_command(ctx, cmd_name)
