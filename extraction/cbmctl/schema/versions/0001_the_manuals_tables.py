"""The tables as the manual has them, where nobody has made them by hand yet."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create aois, dias_catalogue, sigs and hists unless they exist."""
    if op.get_context().version_table_schema == "public":  # aois belongs to all seasons
        op.execute("""
            CREATE TABLE IF NOT EXISTS public.aois (
                name text,
                wkb_geometry public.geometry(Polygon, 4326)
            )
        """)
    op.execute("""
        CREATE TABLE IF NOT EXISTS dias_catalogue (
            id serial PRIMARY KEY,
            obstime timestamp without time zone NOT NULL,
            reference character varying(120) NOT NULL,
            sensor character(2) NOT NULL,
            card character(2) NOT NULL,
            status character varying(24) DEFAULT 'ingested' NOT NULL,
            footprint public.geometry(Polygon, 4326)
        );
        CREATE INDEX IF NOT EXISTS dias_catalogue_footprint_idx
            ON dias_catalogue USING gist (footprint);
        CREATE UNIQUE INDEX IF NOT EXISTS dias_catalogue_reference_idx
            ON dias_catalogue (reference);

        CREATE TABLE IF NOT EXISTS sigs (
            pid integer,
            obsid integer,
            band character(3),
            count real, mean real, std real,
            min real, max real,
            p25 real, p50 real, p75 real
        );
        CREATE INDEX IF NOT EXISTS sigs_bidx ON sigs (band);
        CREATE INDEX IF NOT EXISTS sigs_obsidx ON sigs (obsid);
        CREATE INDEX IF NOT EXISTS sigs_pidx ON sigs (pid);

        CREATE TABLE IF NOT EXISTS hists (
            pid integer,
            obsid integer,
            hist json
        );
        CREATE INDEX IF NOT EXISTS hists_obsidx ON hists (obsid);
        CREATE INDEX IF NOT EXISTS hists_pidx ON hists (pid);
    """)
