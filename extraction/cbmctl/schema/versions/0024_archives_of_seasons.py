"""Scenes whose statistics are in an archive: status `archived`, and which archive."""

from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Create archived_scenes and restored_files; count archived scenes in the view completeness."""
    op.execute("""
        CREATE TABLE archived_scenes (
            obsid integer PRIMARY KEY,
            archive text NOT NULL,
            last_id integer NOT NULL
        );
        COMMENT ON TABLE archived_scenes IS
            'archive that holds the rows of a scene; it counts only while the scene''s status is archived';
        COMMENT ON COLUMN archived_scenes.archive IS 'id in archive.json';
        COMMENT ON COLUMN archived_scenes.last_id IS
            'no parcel of the archive has a higher ogc_fid; parcels of other tables are numbered after it';

        CREATE TABLE restored_files (
            archive text NOT NULL,
            file text NOT NULL,
            rows bigint NOT NULL,
            PRIMARY KEY (archive, file)
        );
        COMMENT ON TABLE restored_files IS
            'an unfinished restore of an archive: how many rows of each file have been read';

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

        COMMENT ON COLUMN completeness.missing IS
            'published - extracted - archived - no_parcels - offered - superseded';
        COMMENT ON COLUMN completeness.archived IS
            'scenes that were extracted, and whose statistics are in an archive of the season';
    """)
