"""Which parcels a task has left to another tile of the same datatake."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add tasks.cut and tasks.elsewhere, and say of what is there that every tile kept its rows.

    The next plan leaves each parcel in one tile where the configuration wants that; nothing is read again.
    Which parcels an image cuts is known of scenes that are extracted from now on.
    """
    op.execute("""
        ALTER TABLE tasks ADD cut integer[], ADD elsewhere integer[];
        UPDATE tasks SET method = method || jsonb_build_object(
            'overlap', CASE WHEN bandset IN ('scl', '10', '20') THEN 'all' END)
        WHERE method IS NOT NULL;

        COMMENT ON COLUMN tasks.cut IS 'parcels that reach beyond the image';
        COMMENT ON COLUMN tasks.elsewhere IS
            'parcels whose rows of this task were given up, because another tile of the datatake has them';
    """)
