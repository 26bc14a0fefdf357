"""Products on order are part of the completeness of a day."""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add to the view completeness how many products are on order and not catalogued yet."""
    op.execute("""
        CREATE OR REPLACE VIEW completeness AS
        WITH product AS (
            SELECT card::text, relative_orbit, tile::text, obstime::date AS day, id, status
            FROM dias_catalogue
            UNION ALL
            SELECT card, relative_orbit, tile, day, NULL::integer, NULL
            FROM (SELECT DISTINCT ON (reference) * FROM rejected_products ORDER BY reference) rejected
            WHERE reference NOT IN (SELECT reference FROM dias_catalogue)
            UNION ALL
            SELECT card, NULL, NULL, sensed::date, NULL, 'on order'
            FROM public.order_items i
            WHERE state IN ('sending', 'unknown', 'queued', 'in_progress', 'completed')
                AND NOT EXISTS (SELECT FROM dias_catalogue d
                    WHERE (d.card, d.sensor, d.obstime) = (i.card, i.sensor, i.sensed))
        )
        SELECT card, relative_orbit, tile, day,
            count(*) FILTER (WHERE status IS DISTINCT FROM 'on order')::integer AS published,
            count(id)::integer AS catalogued,
            count(*) FILTER (WHERE status IN ('ingested', 'inprogress', 'offline'))::integer AS waiting,
            count(*) FILTER (WHERE status = 'extracted')::integer AS extracted,
            count(*) FILTER (WHERE status = 'No parcels')::integer AS no_parcels,
            count(*) FILTER (WHERE status NOT IN ('ingested', 'inprogress', 'offline', 'extracted',
                'No parcels', 'offered', 'superseded', 'on order'))::integer AS failed,
            count(*) FILTER (WHERE status = 'offered')::integer AS offered,
            count(*) FILTER (WHERE status = 'superseded')::integer AS superseded,
            count(*) FILTER (WHERE status IS NULL OR status NOT IN ('extracted', 'No parcels', 'offered',
                'superseded', 'on order'))::integer AS missing,
            (SELECT max(complete_at) FROM catalogue_syncs s
                WHERE s.card = product.card AND day >= first_day AND day < end_day) AS searched_at,
            count(*) FILTER (WHERE status = 'on order')::integer AS on_order
        FROM product
        GROUP BY card, relative_orbit, tile, day;

        COMMENT ON COLUMN completeness.on_order IS
            'products on order that are not catalogued yet; they have no orbit, and are not in published';
    """)
