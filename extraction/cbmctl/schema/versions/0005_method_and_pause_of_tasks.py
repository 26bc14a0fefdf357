"""How a task is to be done, when it is tried again, and tasks of Sentinel-1."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add tasks.method and tasks.not_before, and let the band sets of Sentinel-1 in.

    How the rows that are there were made is not known: the next plan has their scenes extracted once more,
    and until then they stay.
    """
    op.execute("""
        ALTER TABLE tasks
            ADD method jsonb,
            ADD not_before timestamp with time zone,
            DROP CONSTRAINT tasks_bandset_check,
            ADD CONSTRAINT tasks_bandset_check
                CHECK (bandset IN ('scl', '10', '20', 'bs', 'c6', 'c12'));

        -- nobody but the configuration knows the method of these: the next plan enters them again
        UPDATE tasks SET state = 'done', bands = NULL, reason = NULL
        WHERE state IN ('ready', 'running') AND rows > 0;
        DELETE FROM tasks WHERE state IN ('ready', 'running');
        ALTER TABLE tasks ADD CONSTRAINT tasks_method_check
            CHECK (method IS NOT NULL OR state IN ('done', 'failed'));

        COMMENT ON COLUMN tasks.method IS
            'beside the bands, how: to be done; once done, done; null: not known';
        COMMENT ON COLUMN tasks.not_before IS
            'after a failure, when the task is tried again';
    """)
