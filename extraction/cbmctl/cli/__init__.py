"""`cbmctl`, the command: the only part of the package that prints.

Imports point one way, from top to bottom:

- `aoi`, `catalogue`, `demo`, `eodata`, `maintain`, `order`, `parcels`, `report`, `schema`: a command each.
- `extract`, `repair`, `status`: so too; the first two show failures as `status` does.
- `worker_processes`: worker processes on this machine, started, watched and replaced.
- `period`, `output`: the arguments of a period; results on stdout, progress on stderr.
- `commands`: which module holds which command; each is imported when it is called.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from cbmctl.cli.commands import Commands
from cbmctl.cli.output import Output
from cbmctl.config import Config, load_config
from cbmctl.errors import UserError


@dataclass
class Context:
    """What every command gets: the configuration, read when it is first needed, and a way to print."""

    config_path: Path | None
    output: Output
    season: str | None = None

    @property
    def config(self) -> Config:
        """The configuration. Raises UserError when there is none or it is wrong."""
        return load_config(self.config_path, self.season)


pass_context = click.make_pass_decorator(Context)


def check_option[F: Callable[..., object]](name: str = "check") -> Callable[[F], F]:
    """The option of a command that can report its changes without making them; `name` is its parameter."""
    return click.option("--check", name, is_flag=True, help="Report what would be done; change nothing.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="[default: $CBM_CONFIG, ./db_config.json, /etc/cbm/db_config.json]",
)
@click.option(
    "--season",
    metavar="NAME",
    envvar="CBM_SEASON",
    help="Use the configuration of this season, db_config.NAME.json beside db_config.json."
    "  [default: $CBM_SEASON, else the first season]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.version_option(package_name="cbmctl")
@click.pass_context
def cbmctl(ctx: click.Context, config_path: Path | None, season: str | None, as_json: bool) -> None:
    """Parcel statistics from Sentinel-1/2 in PostGIS.

    \b
    Example: a season from nothing to statistics
      cbmctl schema apply
      cbmctl parcels load gsaa_2021.gpkg
      cbmctl aoi set parcels_2021 --from-parcels
      cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2
      cbmctl parcels rasterise
      cbmctl extract run
      cbmctl status

    \b
    Example: the status of a later season in the same database
      cbmctl --season 2022 status
    """  # noqa: D301 - for click the control character keeps the lines apart
    ctx.obj = Context(config_path, Output(as_json), season)


def main() -> None:
    """Run the command; a UserError becomes sentences on stderr, and its exit code."""
    try:
        code = cbmctl.main(standalone_mode=False)
    except UserError as error:
        click.echo(f"cbmctl: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        called = getattr(error, "ctx", None)
        if called is not None and called.find_root().params.get("as_json"):
            Output(as_json=True).error(UserError("option.usage", error.format_message()))
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "cbmctl: interrupted. What is committed is kept. Run the command again to continue.", err=True
        )
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
