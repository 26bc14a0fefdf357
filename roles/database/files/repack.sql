-- Run by the superuser in the tenant's database: lets the owner rewrite its tables with pg_repack (cbmctl maintain).
-- A second run changes nothing. What this one changed is a list of lines in the setting cbm.changes.

SELECT set_config('cbm.changes', '', false);

DO $$
DECLARE
  view text;
BEGIN
  -- program and extension must have the same version. CASCADE: what an interrupted run left goes with it
  IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_repack' AND installed_version <> default_version) THEN
    DROP EXTENSION pg_repack CASCADE;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_repack') THEN
    CREATE EXTENSION pg_repack SCHEMA public;
    PERFORM set_config('cbm.changes', current_setting('cbm.changes') || E'extension pg_repack created\n', false);
  END IF;
  IF NOT (has_schema_privilege('cbm_owner', 'repack', 'USAGE') AND has_schema_privilege('cbm_owner', 'repack', 'CREATE')) THEN
    GRANT USAGE, CREATE ON SCHEMA repack TO cbm_owner;
    PERFORM set_config('cbm.changes', current_setting('cbm.changes') || E'cbm_owner: schema repack granted\n', false);
  END IF;
  FOREACH view IN ARRAY '{repack.tables,repack.primary_keys}'::text[] LOOP
    IF NOT has_table_privilege('cbm_owner', view, 'SELECT') THEN
      EXECUTE format('GRANT SELECT ON %s TO cbm_owner', view);
      PERFORM set_config('cbm.changes', current_setting('cbm.changes') || format(E'cbm_owner: %s granted\n', view), false);
    END IF;
  END LOOP;
END $$;
