"""Sensing starts in whole seconds, as products' names have them: these tell versions of an acquisition."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Cut off the milliseconds that the manual's catalogue script took over from the service."""
    op.execute(
        "UPDATE dias_catalogue SET obstime = date_trunc('second', obstime)"
        " WHERE obstime <> date_trunc('second', obstime)"
    )
