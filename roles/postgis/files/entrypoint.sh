#!/bin/sh
# Makes the cluster when the volume has none, then becomes postgres. Arguments are passed on to postgres.
#
# The cluster lives in a directory named after its major version below the volume's mount point. It is made under
# another name and renamed when complete: a power cut during initdb leaves nothing that looks like a database.
set -eu

volume=/var/lib/postgresql/data
cluster=$volume/$PG_MAJOR

if [ ! -d "$cluster" ]; then
  for other in "$volume"/[0-9]*/PG_VERSION; do
    if [ -e "$other" ]; then
      echo "The volume holds a PostgreSQL $(cat "$other") cluster, this image is PostgreSQL $PG_MAJOR:" \
           "upgrade the cluster first, or go back to the earlier image." >&2
      exit 1
    fi
  done
  rm -rf "$volume/initialising"
  # Collation by code point, built into PostgreSQL 17: indexes stay valid when glibc or ICU are upgraded.
  # The superuser gets no password: it can log in over the local socket only.
  initdb --pgdata="$volume/initialising" --username=postgres --encoding=UTF8 --data-checksums \
    --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8 \
    --auth-local=peer --auth-host=scram-sha-256 --no-instructions
  mv -T "$volume/initialising" "$cluster"
  sync -f "$volume"
fi

# What one process may take of memory, in MB, beside the shared buffers: more is an error of its statement. Every backend
# starts with the reader's limit, and guard.sh lifts that of the others. Not an option of docker run: runc itself needs more.
# shellcheck disable=SC3045 # dash has -S
[ -z "${POSTGIS_READER_MEMORY_MB:-}" ] || ulimit -S -d $((POSTGIS_READER_MEMORY_MB * 1024))

exec postgres -D "$cluster" -c config_file=/etc/postgresql/postgresql.conf "$@"
