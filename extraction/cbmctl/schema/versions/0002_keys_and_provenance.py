"""What the manual's tables lack: keys that make a duplicate impossible, and where a scene came from.

No column is renamed or narrowed: existing clients read these tables.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

KEYS = {
    "dias_catalogue": "id",
    "sigs": "pid, obsid, band",
    "hists": "pid, obsid",
}


def upgrade() -> None:
    """Add the keys, widen what is too narrow (card 'c12', multi-polygons), add the provenance of scenes."""
    if op.get_context().version_table_schema == "public":  # aois belongs to all seasons
        _add_key("aois", "name")
        op.execute("""
            ALTER TABLE public.aois
                ALTER wkb_geometry TYPE public.geometry(Geometry, 4326),
                ADD CHECK (public.GeometryType(wkb_geometry) IN ('POLYGON', 'MULTIPOLYGON'))
        """)
    for table, key in KEYS.items():
        _add_key(table, key)
    op.execute("""
        ALTER TABLE dias_catalogue
            ALTER card TYPE character varying(3),
            ALTER status TYPE character varying(24),
            ALTER footprint TYPE public.geometry(Geometry, 4326),
            ADD CHECK (public.GeometryType(footprint) IN ('POLYGON', 'MULTIPOLYGON')),
            ADD path text,
            ADD tile character varying(5),
            ADD baseline character varying(5),
            ADD boa_offset smallint,
            ADD applied_offset smallint,
            ADD cloud_cover real,
            ADD epsg integer,
            ADD reason text;
        ALTER TABLE sigs ALTER band TYPE character(3);

        COMMENT ON COLUMN dias_catalogue.path IS
            'product folder, relative to the root of the archive';
        COMMENT ON COLUMN dias_catalogue.boa_offset IS
            'BOA_ADD_OFFSET of the product''s metadata, in DN';
        COMMENT ON COLUMN dias_catalogue.applied_offset IS
            'offset added to the DN behind sigs; null until extracted';
        COMMENT ON COLUMN dias_catalogue.reason IS
            'what went wrong, where the status is an error word';
    """)
    # Scenes catalogued by hand: a Sentinel-2 name tells its folder, its tile and, by that, its zone.
    op.execute(r"""
        UPDATE dias_catalogue SET
            path = 'Sentinel-2/MSI/L2A/' || to_char(obstime, 'YYYY/MM/DD/') || reference,
            tile = substr(split_part(reference, '_', 6), 2, 5),
            epsg = CASE WHEN substr(split_part(reference, '_', 6), 4, 1) >= 'N' THEN 32600 ELSE 32700 END
                + substr(split_part(reference, '_', 6), 2, 2)::integer
        WHERE reference ~ '^S2[A-D]_MSIL2A_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d\d[A-Z]{3}_\d{8}T\d{6}\.SAFE$';
    """)


def _add_key(table: str, key: str) -> None:
    """Add the primary key; where rows are in its way, say how many and how to see them."""
    op.execute(f"""
        DO $$
        DECLARE
            bad bigint;
        BEGIN
            IF EXISTS (
                SELECT FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'p'
            ) THEN
                RETURN;
            END IF;
            SELECT count(*) INTO bad FROM (
                SELECT FROM {table} GROUP BY {key}
                HAVING count(*) > 1 OR num_nulls({key}) > 0
            ) groups;
            IF bad > 0 THEN
                RAISE EXCEPTION '% values of ({key}) in %.{table} occur more than once or are empty, '
                    'so it cannot get its key: delete the surplus rows and run again (SELECT {key}, count(*) '
                    'FROM %.{table} GROUP BY {key} HAVING count(*) > 1 shows them)',
                    bad, current_schema, current_schema;
            END IF;
            ALTER TABLE {table} ADD PRIMARY KEY ({key});
        END
        $$;
    """)  # noqa: S608 - the names are the constants above
