"""`cbmctl schema`: the tables of the database contract."""

import click

from cbmctl import schema
from cbmctl.cli import Context, cbmctl, pass_context


@cbmctl.group("schema")
def group() -> None:
    """Create and upgrade the tables."""


@group.command(
    "apply",
    short_help="Bring the tables to this version.",
    epilog="\b\nExample:\n  cbmctl --config owner/db_config.json schema apply",
)
@click.option("--check", is_flag=True, help="Say what would be done; change nothing.")
@pass_context
def apply_command(context: Context, check: bool) -> None:
    """Bring the tables to this version and let cbm_writer and cbm_reader in.

    A database that was made by hand from the manual is taken over with its rows.
    """
    applied = schema.apply(context.config, check=check)
    verb = "would be" if check and applied.changed else "is"
    before = "" if applied.before == applied.after else f" (before: {applied.before or 'none'})"
    context.output.result(
        {
            "changed": applied.changed,
            "before": applied.before,
            "after": applied.after,
            "tables": applied.tables,
            "grants": applied.grants,
        },
        f"The schema {verb} at version {applied.after}{before}.",
        *(f"New table: {table}" for table in applied.tables),
        *(f"Grant: {privilege}" for privilege in applied.grants),
    )
