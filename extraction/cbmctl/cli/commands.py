"""Which module holds which command.

Each is imported when its command is called, and registers itself then: a worker starts in half the time
without the libraries of the migrations, and an image without matplotlib is enough for it.
"""

from importlib import import_module

import click

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

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, imported or not."""
        return sorted(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module, unless that was done before."""
        if cmd_name in MODULES:
            import_module(f"cbmctl.cli.{MODULES[cmd_name]}")
        return super().get_command(ctx, cmd_name)
