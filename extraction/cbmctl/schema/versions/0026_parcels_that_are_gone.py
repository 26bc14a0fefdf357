"""Parcels that are gone are found by an index."""

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Create the index: each task that is closed asks for these parcels, or whether there are any."""
    op.execute("""
        CREATE INDEX parcel_history_gone_idx ON parcel_history (table_name, ogc_fid)
            WHERE until IS NOT NULL
    """)
