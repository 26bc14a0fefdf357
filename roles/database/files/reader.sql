-- Run by the superuser in the tenant's database: what PostgreSQL lets everybody do, but an analyst must not.
-- A second run changes nothing. What this one changed is a list of lines in the setting cbm.changes.

SELECT set_config('cbm.changes', '', false);

-- Functions that write (large objects, WAL, transaction ids, NOTIFY's queue) or that block others (advisory locks: the queue
-- of the workers stands on them). Superusers may call them as before.
DO $$
DECLARE
  function regprocedure;
BEGIN
  FOR function IN
    SELECT p.oid FROM pg_proc p
     WHERE pronamespace = 'pg_catalog'::regnamespace
       AND (proname ~ '^(lo_|pg_advisory_|pg_try_advisory_)'
            OR proname IN ('loread', 'lowrite', 'pg_notify', 'pg_logical_emit_message', 'pg_current_xact_id', 'txid_current'))
       AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) acl
                    WHERE acl.grantee = 0 AND acl.privilege_type = 'EXECUTE')
     ORDER BY p.oid::regprocedure::text
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function);
    PERFORM set_config('cbm.changes', current_setting('cbm.changes') || format(E'PUBLIC: %s revoked\n', function), false);
  END LOOP;
  FOR function IN
    SELECT p.oid FROM pg_proc p
     WHERE pronamespace = 'pg_catalog'::regnamespace
       AND proname ~ '^(pg_advisory_|pg_try_advisory_)'
       AND NOT (has_function_privilege('cbm_owner', p.oid, 'EXECUTE') AND has_function_privilege('cbm_writer', p.oid, 'EXECUTE'))
     ORDER BY p.oid::regprocedure::text
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO cbm_owner, cbm_writer', function);
    PERFORM set_config('cbm.changes', current_setting('cbm.changes') || format(E'cbm_owner, cbm_writer: %s granted\n', function), false);
  END LOOP;
END $$;

-- Statements that change privileges or definitions need no privilege of their own where they concern only the role itself:
-- DROP OWNED BY cbm_reader would take away what all analysts may read.
CREATE SCHEMA IF NOT EXISTS cbm_guard;

SELECT set_config('cbm.before', coalesce((SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('cbm_guard.refuse()')), ''), false);

CREATE OR REPLACE FUNCTION cbm_guard.refuse() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF session_user = 'cbm_reader' THEN
    RAISE insufficient_privilege USING MESSAGE = format('permission denied: cbm_reader cannot run %s, it only reads', tg_tag);
  END IF;
END $$;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'cbm_reader_only_reads'
                  AND evtfoid = 'cbm_guard.refuse()'::regprocedure AND evtevent = 'ddl_command_start' AND evtenabled = 'O') THEN
    DROP EVENT TRIGGER IF EXISTS cbm_reader_only_reads;
    CREATE EVENT TRIGGER cbm_reader_only_reads ON ddl_command_start EXECUTE FUNCTION cbm_guard.refuse();
    PERFORM set_config('cbm.changes', current_setting('cbm.changes') || E'event trigger cbm_reader_only_reads created\n', false);
  END IF;
  IF current_setting('cbm.before') <> (SELECT prosrc FROM pg_proc WHERE oid = 'cbm_guard.refuse()'::regprocedure) THEN
    PERFORM set_config('cbm.changes', current_setting('cbm.changes') || E'function cbm_guard.refuse() replaced\n', false);
  END IF;
END $$;
