"""Findings about a parcels file name the feature's number in the file, not `ogc_fid`."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Rename the key of stored findings; until now both numbers were the same."""
    # within a text of the findings the quotes are escaped, so nothing else has this pattern
    op.execute("""
        UPDATE parcel_sets
        SET findings = regexp_replace(findings::text, '([{ ])"ogc_fid": ', '\\1"feature": ', 'g')::jsonb;
        COMMENT ON COLUMN parcel_sets.findings IS
            'what is wrong in the file; feature: its position there, from 1';
    """)
