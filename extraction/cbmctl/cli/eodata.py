"""`cbmctl eodata`: the archive of products."""

from contextlib import closing

from cbmctl.cli import Context, cbmctl, pass_context
from cbmctl.eodata import open_archive


@cbmctl.group("eodata")
def group() -> None:
    """Look at the archive of products."""


@group.command(
    "check",
    short_help="See whether the archive is there and lets us in.",
    epilog="\b\nExample:\n  cbmctl eodata check",
)
@pass_context
def check_command(context: Context) -> None:
    """See whether the archive is there and lets us in: a mount by its root, a bucket by a list and a byte."""
    config = context.config
    with closing(open_archive(config.eodata, config.cache)) as archive:
        archive.check()
    context.output.result({"changed": False, "eodata": str(config.eodata)}, f"{config.eodata} can be used.")
