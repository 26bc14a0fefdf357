#!/bin/sh
# Runs beside postgres in its container for as long as the server answers (the host's cbm-database.service starts it):
# every two seconds it lets the database end what its reader holds for too long (cbm_guard.watch, made by role database),
# and lifts the memory limit of processes that are not the reader's to $POSTGIS_OTHERS_MEMORY_MB. All start with the low
# limit, so the reader's never have another.
# There is one guard: a new one ends the session of an earlier one, which goes on when only its `docker exec` is killed.
set -eu

lifted=" "

psql --no-psqlrc --quiet --tuples-only --no-align --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 <<'SQL' |
SELECT to_regprocedure('cbm_guard.watch()') IS NULL AS absent \gset
\if :absent
  \q
\endif
DO $$
BEGIN
  PERFORM pg_terminate_backend(pid, 5000) FROM pg_locks JOIN pg_database d ON d.oid = database AND datname = current_database()
    WHERE locktype = 'advisory' AND classid = 0 AND objid = 1 AND objsubid = 1;
END $$;
SELECT NOT pg_try_advisory_lock(1) AS occupied \gset
\if :occupied
  \q
\endif
SELECT cbm_guard.watch() \watch interval=2
SQL
  while read -r pids; do
    for pid in $pids; do
      case $lifted in
        *" $pid "*) ;;
        # it may have ended since
        *) prlimit --pid "$pid" --data="$((${POSTGIS_OTHERS_MEMORY_MB:?} * 1048576)):" 2>/dev/null || true ;;
      esac
    done
    lifted=" $pids "
  done
