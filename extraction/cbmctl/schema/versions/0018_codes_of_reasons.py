"""Why a scene or a task failed: a stable code beside the text."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the codes, and take them and the manual's word out of the texts that are there.

    A text began with the manual's word for the scene's status, and a colon.
    """
    op.execute("""
        CREATE FUNCTION pg_temp.reason_code(word text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
            SELECT CASE
                WHEN word = '!S3 subdir' THEN 'archive.product_missing'
                WHEN word LIKE '!S3%' THEN 'archive.file_missing'
                WHEN word = 'Rio error' THEN 'archive.unreadable'
                WHEN word = 'No extent' THEN 'catalogue.no_footprint'
                WHEN word = 'Parcel SQL' THEN 'parcels.unreadable'
                WHEN word = 'No out db' THEN 'database.not_written'
                WHEN word = 'No in db' THEN 'database.unreachable'
                WHEN word = 'Worker vanished' THEN 'worker.vanished'
                WHEN word = 'Worker error' THEN 'worker.error'
            END
        $$;
        CREATE FUNCTION pg_temp.reason_text(reason text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
            SELECT CASE WHEN pg_temp.reason_code(split_part(reason, ': ', 1)) IS NULL THEN reason
                ELSE substr(reason, strpos(reason, ': ') + 2) END
        $$;

        ALTER TABLE tasks ADD reason_code text, ADD failed_status text;
        UPDATE tasks SET
            reason_code = coalesce(pg_temp.reason_code(split_part(reason, ': ', 1)), 'worker.error'),
            failed_status = CASE WHEN pg_temp.reason_code(split_part(reason, ': ', 1)) IS NULL
                THEN 'Worker error' ELSE split_part(reason, ': ', 1) END,
            reason = coalesce(pg_temp.reason_text(reason), 'the reason was not recorded')
        WHERE reason IS NOT NULL OR state = 'failed';
        ALTER TABLE tasks
            ADD CONSTRAINT tasks_reason_check
                CHECK (num_nulls(reason_code, failed_status, reason) IN (0, 3)),
            ADD CONSTRAINT tasks_failed_check CHECK (state <> 'failed' OR reason_code IS NOT NULL);
        COMMENT ON COLUMN tasks.reason IS 'why the last attempt failed, for people';
        COMMENT ON COLUMN tasks.reason_code IS
            'why the last attempt failed, for programs (docs/statuses.md)';
        COMMENT ON COLUMN tasks.failed_status IS
            'what dias_catalogue.status is while the task is failed';

        ALTER TABLE dias_catalogue ADD reason_code text;
        UPDATE dias_catalogue SET
            reason_code = CASE
                WHEN reason = 'done; waits for another part of what it replaces'
                    THEN 'versions.waits_for_parts'
                ELSE coalesce(
                    pg_temp.reason_code(split_part(reason, ': ', 1)), pg_temp.reason_code(status)) END,
            reason = pg_temp.reason_text(reason)
        WHERE reason IS NOT NULL OR pg_temp.reason_code(status) IS NOT NULL;
        COMMENT ON COLUMN dias_catalogue.reason IS
            'what went wrong, where the status is an error word, or what the scene waits for; for people';
        COMMENT ON COLUMN dias_catalogue.reason_code IS
            'the same for programs (docs/statuses.md)';

        DROP FUNCTION pg_temp.reason_text, pg_temp.reason_code;
    """)
