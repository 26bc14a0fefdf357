"""`cbmctl schema`: the tables of the database contract."""

from cbmctl import schema
from cbmctl.cli import Context, cbmctl, check_option, pass_context


@cbmctl.group("schema")
def group() -> None:
    """Create and upgrade the tables."""


@group.command(
    "apply",
    short_help="Upgrade the tables to this version.",
    epilog="\b\nExample:\n  cbmctl --config owner/db_config.json schema apply",
)
@check_option()
@pass_context
def apply_command(context: Context, check: bool) -> None:
    """Upgrade the tables to this version, and grant cbm_writer and cbm_reader access.

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
