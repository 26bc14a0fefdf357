"""How complete each day is: what was published, catalogued, rejected and extracted."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create rejected_products and the view completeness.

    What earlier searches rejected is not known: the next search of everything enters it.
    """
    op.execute(r"""
        CREATE TABLE rejected_products (
            aoi text NOT NULL,
            card text NOT NULL,
            source text NOT NULL,
            url text NOT NULL,
            reference text NOT NULL,
            relative_orbit smallint,
            tile text,
            day date NOT NULL,
            status text NOT NULL,
            reason text NOT NULL,
            noticed_at timestamp with time zone NOT NULL DEFAULT now(),
            PRIMARY KEY (aoi, card, source, url, reference)
        );
        COMMENT ON TABLE rejected_products IS
            'products that a search of a catalogue found and could not enter';
        COMMENT ON COLUMN rejected_products.day IS 'of the start of sensing, UTC';
        COMMENT ON COLUMN rejected_products.noticed_at IS 'when a search found it last';

        CREATE VIEW completeness AS
        WITH product AS (
            SELECT card::text, relative_orbit, tile::text, obstime::date AS day, id, status
            FROM dias_catalogue
            UNION ALL
            SELECT card, relative_orbit, tile, day, NULL::integer, NULL
            FROM (SELECT DISTINCT ON (reference) * FROM rejected_products ORDER BY reference) rejected
            WHERE reference NOT IN (SELECT reference FROM dias_catalogue)
        )
        SELECT card, relative_orbit, tile, day,
            count(*)::integer AS published,
            count(id)::integer AS catalogued,
            count(*) FILTER (WHERE status IN ('ingested', 'inprogress', 'offline'))::integer AS waiting,
            count(*) FILTER (WHERE status = 'extracted')::integer AS extracted,
            count(*) FILTER (WHERE status = 'No parcels')::integer AS no_parcels,
            count(*) FILTER (WHERE status NOT IN ('ingested', 'inprogress', 'offline', 'extracted',
                'No parcels', 'offered', 'superseded'))::integer AS failed,
            count(*) FILTER (WHERE status = 'offered')::integer AS offered,
            count(*) FILTER (WHERE status = 'superseded')::integer AS superseded,
            count(*) FILTER (WHERE status IS NULL OR status NOT IN ('extracted', 'No parcels', 'offered',
                'superseded'))::integer AS missing,
            (SELECT max(complete_at) FROM catalogue_syncs s
                WHERE s.card = product.card AND day >= first_day AND day < end_day) AS searched_at
        FROM product
        GROUP BY card, relative_orbit, tile, day;

        COMMENT ON VIEW completeness IS
            'numbers of products by card, relative orbit, tile and day of sensing (UTC)';
        COMMENT ON COLUMN completeness.published IS
            'products that the searches of the catalogue found, also those that could not be entered';
        COMMENT ON COLUMN completeness.waiting IS 'ingested, inprogress or offline';
        COMMENT ON COLUMN completeness.offered IS
            'newer versions of extracted scenes, not accepted yet';
        COMMENT ON COLUMN completeness.missing IS
            'published - extracted - no_parcels - offered - superseded';
        COMMENT ON COLUMN completeness.searched_at IS
            'when the last complete search that covers this day began, in any area; null: there was none';
    """)
