"""A product is on order once, of whatever version of its input."""

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Let order_items_once_idx compare satellite and sensing start: a version changes the input's name."""
    if op.get_context().version_table_schema != "public":
        return  # orders belong to all seasons
    op.execute("""
        DROP INDEX public.order_items_once_idx;
        CREATE UNIQUE INDEX order_items_once_idx ON public.order_items (product_type, sensor, sensed)
            WHERE state IN ('sending', 'unknown', 'queued', 'in_progress', 'completed');
    """)
