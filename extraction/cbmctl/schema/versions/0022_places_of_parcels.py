"""When the geometries of a parcel table were loaded last: files after that have changed attributes only."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Add parcel_sets.placed_at; until now every load replaced the geometries."""
    op.execute("""
        ALTER TABLE parcel_sets ADD placed_at timestamp with time zone NOT NULL DEFAULT now();
        UPDATE parcel_sets SET placed_at = loaded_at;
        COMMENT ON COLUMN parcel_sets.placed_at IS
            'when the geometries were loaded last; raster tables are made again after that';
    """)
