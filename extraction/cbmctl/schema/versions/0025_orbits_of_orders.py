"""The relative orbit of an order, so that the completeness of an orbit's day shows it."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Add order_items.relative_orbit; count orders in the orbit's row, within the searched period."""
    if op.get_context().version_table_schema == "public":  # orders belong to all seasons
        # from the absolute orbit in the input's name, as cbmctl.catalogue.orbits.named_orbit does
        op.execute(r"""
            ALTER TABLE public.order_items ADD relative_orbit smallint;
            COMMENT ON COLUMN public.order_items.relative_orbit IS
                'of the input, by its name: 1 to 175; null: the name does not state the orbit';
            UPDATE public.order_items item
            SET relative_orbit = mod(mod(absolute - CASE
                    WHEN satellite = '1A' THEN 73
                    WHEN satellite = '1B' THEN 27
                    WHEN satellite = '1C' AND absolute > 8018 THEN 99
                    WHEN satellite = '1C' THEN 172
                    ELSE 42 END, 175) + 175, 175) + 1
            FROM (SELECT id, named[1] AS satellite, named[2]::integer AS absolute
                  FROM public.order_items, regexp_match(input,
                      '^S(1[A-D])_IW_\w{4}_1S\w{2}_\d{8}T\d{6}_\d{8}T\d{6}_(\d{6})_') AS named
                  WHERE named IS NOT NULL) each
            WHERE each.id = item.id
        """)
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
            SELECT card, relative_orbit, NULL, sensed::date, NULL, 'on order'
            FROM public.order_items i
            WHERE state IN ('sending', 'unknown', 'queued', 'in_progress', 'completed')
                AND NOT EXISTS (SELECT FROM dias_catalogue d
                    WHERE (d.card, d.sensor, d.obstime) = (i.card, i.sensor, i.sensed))
                AND coalesce(sensed >= (SELECT min(first_day) FROM catalogue_syncs)
                    AND sensed < (SELECT max(end_day) FROM catalogue_syncs), true)
        )
        SELECT card, relative_orbit, tile, day,
            count(*) FILTER (WHERE status IS DISTINCT FROM 'on order')::integer AS published,
            count(id)::integer AS catalogued,
            count(*) FILTER (WHERE status IN ('ingested', 'inprogress', 'offline'))::integer AS waiting,
            count(*) FILTER (WHERE status = 'extracted')::integer AS extracted,
            count(*) FILTER (WHERE status = 'No parcels')::integer AS no_parcels,
            count(*) FILTER (WHERE status NOT IN ('ingested', 'inprogress', 'offline', 'extracted',
                'archived', 'No parcels', 'offered', 'superseded', 'on order'))::integer AS failed,
            count(*) FILTER (WHERE status = 'offered')::integer AS offered,
            count(*) FILTER (WHERE status = 'superseded')::integer AS superseded,
            count(*) FILTER (WHERE status IS NULL OR status NOT IN ('extracted', 'archived', 'No parcels',
                'offered', 'superseded', 'on order'))::integer AS missing,
            (SELECT max(complete_at) FROM catalogue_syncs s
                WHERE s.card = product.card AND day >= first_day AND day < end_day) AS searched_at,
            count(*) FILTER (WHERE status = 'on order')::integer AS on_order,
            count(*) FILTER (WHERE status = 'archived')::integer AS archived
        FROM product
        GROUP BY card, relative_orbit, tile, day;

        COMMENT ON COLUMN completeness.on_order IS
            'products on order that are not catalogued yet, of the period that this season''s catalogue was'
            ' searched for; not in published';
    """)
