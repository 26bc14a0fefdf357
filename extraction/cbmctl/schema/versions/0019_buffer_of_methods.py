"""A task's method says by how much parcels were shrunk."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Say of all tasks that parcels were not shrunk, so that none is extracted again."""
    op.execute("""
        UPDATE tasks SET method = method || '{"buffer_m": 0}' WHERE method IS NOT NULL;
    """)
