"""Which workers vanished from which tasks, and whether a restart explains it."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create vanished_workers; add to tasks on which start of host and server they were begun."""
    op.execute("""
        ALTER TABLE tasks ADD host_boot text, ADD server_start timestamp with time zone;
        COMMENT ON COLUMN tasks.host_boot IS 'boot id of the host whose worker began with it last';
        COMMENT ON COLUMN tasks.server_start IS 'when PostgreSQL had been started, at that time';

        CREATE TABLE vanished_workers (
            obsid integer NOT NULL,  -- no reference: that would lock scenes before tasks
            bandset text NOT NULL,
            worker text NOT NULL,
            attempt integer NOT NULL,
            noticed_at timestamp with time zone NOT NULL,
            excuse text CHECK (excuse IN ('server', 'host', 'connection', 'together'))
        );
        CREATE INDEX vanished_workers_task_idx ON vanished_workers (obsid, bandset);
        COMMENT ON TABLE vanished_workers IS 'workers that vanished during the last day, by task';
        COMMENT ON COLUMN vanished_workers.excuse IS
            'why the attempt does not count against the task; null: it does';
    """)
