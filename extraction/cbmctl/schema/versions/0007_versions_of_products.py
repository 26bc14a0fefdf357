"""What tells versions of one acquisition apart, and how far each search of a catalogue has come."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add to dias_catalogue where a product stands among its versions; create catalogue_syncs."""
    op.execute(r"""
        ALTER TABLE dias_catalogue
            ADD datatake text,
            ADD datastrip text,
            ADD processed timestamp without time zone,
            ADD published timestamp without time zone,
            ADD online boolean NOT NULL DEFAULT true,
            ADD superseded_by integer REFERENCES dias_catalogue ON DELETE SET NULL;
        CREATE INDEX dias_catalogue_acquisition_idx ON dias_catalogue (obstime, sensor, card);
        CREATE INDEX dias_catalogue_superseded_idx ON dias_catalogue (superseded_by)
            WHERE superseded_by IS NOT NULL;

        COMMENT ON COLUMN dias_catalogue.processed IS 'when the product was made, UTC';
        COMMENT ON COLUMN dias_catalogue.published IS 'when the catalogue service entered it, UTC';
        COMMENT ON COLUMN dias_catalogue.online IS 'whether the archive has it at once';
        COMMENT ON COLUMN dias_catalogue.superseded_by IS
            'the newer version of the same acquisition; while the status is another than superseded,'
            ' that one waits to take this one''s place';

        CREATE TABLE catalogue_syncs (
            aoi text NOT NULL,
            card text NOT NULL,
            source text NOT NULL,
            url text NOT NULL,
            area text NOT NULL,
            first_day date NOT NULL,
            end_day date NOT NULL,
            complete_at timestamp with time zone,
            began_at timestamp with time zone,
            reached timestamp without time zone,
            PRIMARY KEY (aoi, card, source, url)
        );
        COMMENT ON TABLE catalogue_syncs IS
            'what was asked of a catalogue, so that the next search asks only for what was published since';
        COMMENT ON COLUMN catalogue_syncs.area IS 'checksum of the outline that was asked for';
        COMMENT ON COLUMN catalogue_syncs.complete_at IS
            'when the last search that was complete began; null: there was none of this period and area';
        COMMENT ON COLUMN catalogue_syncs.began_at IS
            'when a search began that was cut short; null: none was';
        COMMENT ON COLUMN catalogue_syncs.reached IS
            'scenes sensed before this are entered by the search that was cut short';
    """)
