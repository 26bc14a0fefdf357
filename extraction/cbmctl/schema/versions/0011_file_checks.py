"""What became of each file of a scene when it was compared with its product's own checksum."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create file_checks. Files of scenes that are extracted already are not known to be whole."""
    op.execute("""
        CREATE TABLE file_checks (
            obsid integer NOT NULL REFERENCES dias_catalogue ON DELETE CASCADE,
            file text NOT NULL,
            outcome text NOT NULL CHECK (outcome IN ('ok', 'differs', 'no checksum')),
            detail text,
            algorithm text,
            digest text,
            version text,
            checked_at timestamp with time zone NOT NULL DEFAULT now(),
            PRIMARY KEY (obsid, file)
        );
        COMMENT ON TABLE file_checks IS
            'the files of a scene that were compared with the checksums of its product';
        COMMENT ON COLUMN file_checks.file IS 'path below the product folder';
        COMMENT ON COLUMN file_checks.detail IS
            'why there is no checksum, what differs, or that a first copy was damaged';
        COMMENT ON COLUMN file_checks.digest IS 'what the product says, hexadecimal';
        COMMENT ON COLUMN file_checks.version IS
            'size and time of change, or ETag, of the file that was compared';
    """)
