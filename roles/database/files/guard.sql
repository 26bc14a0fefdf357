-- Run by the superuser in the database postgres, which nobody else enters: what the reader's guard knows and does. The
-- container's guard (roles/postgis/files/guard.sh) calls cbm_guard.watch() every two seconds.
-- A second run changes nothing. Whether this one did is in the setting cbm.changes.

SELECT set_config('cbm.before', md5(coalesce((
  SELECT string_agg(prosrc, '' ORDER BY proname) FROM pg_proc WHERE pronamespace = to_regnamespace('cbm_guard')), '')), false);

CREATE SCHEMA IF NOT EXISTS cbm_guard;

CREATE TABLE IF NOT EXISTS cbm_guard.roles (
  name text PRIMARY KEY,
  -- the age at which a statement or a transaction is ended
  statement_limit interval NOT NULL,
  -- the time after which a connection without a statement is ended
  idle_limit interval NOT NULL,
  -- how long another role waits for a lock before the holder is ended
  blocking_limit interval NOT NULL,
  -- password and settings as the playbook left them: a role may change its own, and this puts them back
  verifier text,
  settings text[] NOT NULL,
  -- false while the playbook changes the role
  watched boolean NOT NULL
);

-- A duration as PostgreSQL's settings have it: milliseconds where it has no unit, no limit where it is 0.
CREATE OR REPLACE FUNCTION cbm_guard.duration(said text) RETURNS interval LANGUAGE sql SET search_path = pg_catalog AS $$
  SELECT CASE WHEN said ~ '^0+ *[a-z]*$' THEN 'infinity'
              WHEN said ~ '^[0-9]+$' THEN (said || 'ms')::interval
              ELSE said::interval END
$$;

-- Backends to end, each with the reason.
CREATE OR REPLACE FUNCTION cbm_guard.overdue(OUT pid int, OUT name text, OUT client inet, OUT reason text)
RETURNS SETOF record LANGUAGE sql SET search_path = pg_catalog AS $$
  SELECT a.pid, r.name, a.client_addr, reason.text
    FROM cbm_guard.roles r
    JOIN pg_stat_activity a ON a.usename = r.name AND a.backend_type = 'client backend'
   CROSS JOIN LATERAL (
      SELECT format('its statement is older than %s', r.statement_limit)
       WHERE a.state IN ('active', 'fastpath function call') AND a.query_start < clock_timestamp() - r.statement_limit
      UNION ALL
      SELECT format('its transaction is older than %s', r.statement_limit)
       WHERE a.xact_start < clock_timestamp() - r.statement_limit
      UNION ALL
      SELECT format('it is idle for longer than %s', r.idle_limit)
       WHERE a.state = 'idle' AND a.state_change < clock_timestamp() - r.idle_limit
      UNION ALL
      SELECT format('others wait for its lock for longer than %s', r.blocking_limit)
       WHERE EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity waiting ON waiting.pid = l.pid
                      WHERE NOT l.granted AND l.waitstart < clock_timestamp() - r.blocking_limit
                        AND waiting.usename IS DISTINCT FROM r.name
                        AND a.pid = ANY (pg_blocking_pids(l.pid)))
      LIMIT 1
   ) AS reason(text)
$$;

-- Any role may change its own password and settings, for all who use it. Put back what the playbook set.
CREATE OR REPLACE FUNCTION cbm_guard.restore(role cbm_guard.roles) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  setting text;
  scope name;
BEGIN
  IF (SELECT rolpassword FROM pg_authid WHERE rolname = role.name) IS DISTINCT FROM role.verifier THEN
    EXECUTE format('ALTER ROLE %I PASSWORD %L', role.name, role.verifier);
    RAISE LOG 'guard: % had a changed password; the previous one is restored', role.name;
  END IF;
  FOR scope IN
    SELECT datname FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
     WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = role.name)
  LOOP
    EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', role.name, scope);
    RAISE LOG 'guard: % had settings of its own in database %; they are removed', role.name, scope;
  END LOOP;
  IF coalesce((SELECT setconfig FROM pg_db_role_setting
                WHERE setdatabase = 0 AND setrole = (SELECT oid FROM pg_roles WHERE rolname = role.name)), '{}')
     <> role.settings
  THEN
    EXECUTE format('ALTER ROLE %I RESET ALL', role.name);
    FOREACH setting IN ARRAY role.settings LOOP
      EXECUTE format('ALTER ROLE %I SET %I TO %L', role.name, split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1));
    END LOOP;
    RAISE LOG 'guard: % had changed settings; the previous ones are restored', role.name;
  END IF;
END $$;

-- One look: end what is overdue, put back what was changed. Returns the processes, separated by spaces, that are not a
-- guarded role's and may therefore have more memory.
CREATE OR REPLACE FUNCTION cbm_guard.watch() RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  backend record;
  role cbm_guard.roles;
BEGIN
  FOR backend IN SELECT * FROM cbm_guard.overdue() LOOP
    IF pg_terminate_backend(backend.pid) THEN
      RAISE LOG 'guard: process % of % from % is ended: %', backend.pid, backend.name, backend.client, backend.reason;
    END IF;
  END LOOP;
  FOR role IN SELECT r.* FROM cbm_guard.roles r JOIN pg_roles ON rolname = r.name WHERE watched LOOP
    PERFORM cbm_guard.restore(role);
  END LOOP;
  RETURN (SELECT coalesce(string_agg(pid::text, ' ' ORDER BY pid), '') FROM pg_stat_activity
           WHERE backend_type = 'autovacuum worker' OR NOT EXISTS (SELECT FROM cbm_guard.roles WHERE name = usename) AND usename IS NOT NULL);
END $$;

SELECT set_config('cbm.changes', (current_setting('cbm.before') <> md5(coalesce((
  SELECT string_agg(prosrc, '' ORDER BY proname) FROM pg_proc WHERE pronamespace = to_regnamespace('cbm_guard')), '')))::text, false);
