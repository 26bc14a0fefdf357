"""What a scene saw of the parcels whose histograms it gave up to another tile of the datatake."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add tasks.elsewhere_seen. What was given up before is not known, and is read again if it matters."""
    op.execute("""
        ALTER TABLE tasks ADD elsewhere_seen integer[];
        COMMENT ON COLUMN tasks.elsewhere_seen IS
            'of scl: observed pixels of each parcel in elsewhere, in the same order; null: not known';
    """)
