"""When a catalogue was last searched for everything, whatever its date of publication."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add catalogue_syncs.full_at; of searches of before it is not known, so that the next one is full."""
    op.execute("""
        ALTER TABLE catalogue_syncs ADD full_at timestamp with time zone;
        COMMENT ON COLUMN catalogue_syncs.full_at IS
            'when the last complete search began that asked for everything, and not only for what was'
            ' published since; null: it is not known';
    """)
