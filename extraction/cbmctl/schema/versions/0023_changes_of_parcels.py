"""Parcels that change: versions of a parcel set, since when a parcel is declared, and what succeeds it."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Create parcel_history and parcel_lineage; let sets, and the tasks that read them, have versions.

    Until now a table had one version; whatever is done covers it.
    """
    op.execute("""
        ALTER TABLE parcel_sets ADD version integer NOT NULL DEFAULT 1, ADD last_id integer;
        COMMENT ON COLUMN parcel_sets.version IS 'grows with each load that changes geometries';
        COMMENT ON COLUMN parcel_sets.last_id IS
            'the highest ogc_fid ever given, which is not given again; null: the highest in the table';

        CREATE TABLE parcel_history (
            table_name text NOT NULL,
            ogc_fid integer NOT NULL,
            since integer NOT NULL,
            until integer CHECK (until > since),
            valid_from timestamp with time zone,
            valid_to timestamp with time zone,
            source_from text,
            source_to text,
            PRIMARY KEY (table_name, ogc_fid)
        );
        CREATE INDEX parcel_history_current_idx ON parcel_history (table_name, since)
            WHERE until IS NULL;
        COMMENT ON TABLE parcel_history IS
            'parcels that came after the first load, or are gone; a parcel without a row is current since'
            ' version 1';
        COMMENT ON COLUMN parcel_history.since IS 'version of the parcel set that had it first';
        COMMENT ON COLUMN parcel_history.until IS
            'version of the parcel set that had it no more; null: current';
        COMMENT ON COLUMN parcel_history.valid_from IS 'when it was loaded; null: with the first load';
        COMMENT ON COLUMN parcel_history.valid_to IS 'when a file without it was loaded';
        COMMENT ON COLUMN parcel_history.source_from IS 'file that had it first';
        COMMENT ON COLUMN parcel_history.source_to IS 'file that had it no more';

        CREATE TABLE parcel_lineage (
            table_name text NOT NULL,
            predecessor integer NOT NULL,
            successor integer NOT NULL,
            version integer NOT NULL,
            share real,
            PRIMARY KEY (table_name, predecessor, successor)
        );
        CREATE INDEX parcel_lineage_successor_idx ON parcel_lineage (table_name, successor);
        COMMENT ON TABLE parcel_lineage IS 'which new parcel succeeds which one that is gone';
        COMMENT ON COLUMN parcel_lineage.version IS 'version of the parcel set that has the successor';
        COMMENT ON COLUMN parcel_lineage.share IS
            'area that both share, as a part of the smaller one; null: only the key links them';

        ALTER TABLE tasks
            ADD parcels_asked integer NOT NULL DEFAULT 1, ADD parcels_covered integer;
        COMMENT ON COLUMN tasks.parcels_asked IS
            'lowest version of the parcel set that is to be read';
        COMMENT ON COLUMN tasks.parcels_covered IS
            'version of the parcel set whose parcels have been read; only later ones are to be read;'
            ' null: all';
        UPDATE tasks SET parcels_covered = 1 WHERE state = 'done' AND method IS NOT NULL;
    """)
