"""Which bands a task is about, so that a change of the configuration can be seen."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add tasks.bands, and tell the bands of what is done by the rows that are there.

    A parcel has either all bands of a task or none (cbmctl.pixels.statistics), so one parcel tells them: this
    takes an index lookup for each task, however many rows there are. NULL is left where rows cannot tell;
    the next plan has such a scene extracted once more, unless it meets no parcel.
    """
    op.execute("""
        ALTER TABLE tasks ADD bands text[];
        UPDATE tasks SET bands = '{SCL}' WHERE bandset = 'scl' AND state = 'done';
        UPDATE tasks t
        SET bands = (
            SELECT array_agg(s.band::text ORDER BY s.band::text COLLATE "C")
            FROM sigs s
            WHERE s.obsid = t.obsid AND s.band = ANY(known.bands) AND s.pid = (
                SELECT pid FROM sigs WHERE obsid = t.obsid AND band = ANY(known.bands) LIMIT 1))
        FROM (VALUES
            ('10', '{B02,B03,B04,B08}'::bpchar[]),
            ('20', '{B05,B06,B07,B8A,B11,B12}'::bpchar[])
        ) known (bandset, bands)
        WHERE known.bandset = t.bandset AND t.state = 'done' AND t.rows > 0;

        -- nobody but the configuration knows the bands of these: the next plan enters them again
        DELETE FROM tasks WHERE state IN ('ready', 'running');
        ALTER TABLE tasks ADD CONSTRAINT tasks_bands_check
            CHECK (bands IS NOT NULL OR state IN ('done', 'failed'));

        COMMENT ON COLUMN tasks.bands IS
            'sorted: to be extracted; once done, extracted; once failed, asked for; null: not known';
        COMMENT ON COLUMN tasks.rows IS
            'rows in sigs or hists, also of an earlier time while the task is to be done again';
    """)
