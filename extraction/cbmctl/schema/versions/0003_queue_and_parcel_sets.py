"""The work queue, and the record of which parcel files were loaded."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create tasks and parcel_sets."""
    op.execute("""
        CREATE TABLE tasks (
            obsid integer NOT NULL REFERENCES dias_catalogue ON DELETE CASCADE,
            bandset text NOT NULL CHECK (bandset IN ('scl', '10', '20')),
            state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'running', 'done', 'failed')),
            attempts integer NOT NULL DEFAULT 0,
            reason text,
            worker text,
            claimed_at timestamp with time zone,
            finished_at timestamp with time zone,
            parcels integer,
            rows integer,
            PRIMARY KEY (obsid, bandset)
        );
        CREATE INDEX tasks_open_idx ON tasks (obsid) WHERE state IN ('ready', 'running');
        COMMENT ON TABLE tasks IS
            'one scene and one set of bands: what is to be extracted, and what was';

        CREATE TABLE parcel_sets (
            table_name text PRIMARY KEY,
            source text NOT NULL,
            checksum text NOT NULL,
            options jsonb NOT NULL,
            srid integer NOT NULL,
            parcels integer NOT NULL,
            loaded_at timestamp with time zone NOT NULL DEFAULT now(),
            findings jsonb NOT NULL DEFAULT '{}'
        );
        COMMENT ON TABLE parcel_sets IS 'the file behind each parcel table';
    """)
