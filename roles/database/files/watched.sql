-- The limits that the guard enforces for a role from now on. Returns whether they are new.
WITH wanted AS (
  SELECT rolname AS name, cbm_guard.duration(%(statement_limit)s) AS statement_limit,
         cbm_guard.duration(%(idle_limit)s) AS idle_limit, cbm_guard.duration(%(blocking_limit)s) AS blocking_limit, rolpassword AS verifier,
         coalesce((SELECT setconfig FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0), '{}') AS settings,
         true AS watched
    FROM pg_authid a WHERE rolname = %(name)s
), before AS (
  SELECT name, statement_limit, idle_limit, blocking_limit, verifier, settings, true AS watched FROM cbm_guard.roles
), written AS (
  INSERT INTO cbm_guard.roles AS r SELECT * FROM wanted
  ON CONFLICT (name) DO UPDATE SET (statement_limit, idle_limit, blocking_limit, verifier, settings, watched)
    = (excluded.statement_limit, excluded.idle_limit, excluded.blocking_limit, excluded.verifier, excluded.settings, true)
)
SELECT EXISTS (SELECT * FROM wanted EXCEPT SELECT * FROM before) AS changed
