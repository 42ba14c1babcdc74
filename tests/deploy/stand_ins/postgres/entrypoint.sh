#!/bin/sh
# Makes the cluster at the first start, as the real image does, and then becomes the server.
set -eu
if [ "$(id -u)" = 0 ]; then
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  password=${POSTGRES_PASSWORD_FILE:-/tmp/password}
  [ -n "${POSTGRES_PASSWORD_FILE:-}" ] || printf '%s' "$POSTGRES_PASSWORD" > "$password"
  # shellcheck disable=SC2086 # the arguments are several words
  initdb --encoding UTF8 --locale C.UTF-8 ${POSTGRES_INITDB_ARGS:-} \
    --pgdata "$PGDATA" --username "${POSTGRES_USER:-postgres}" --pwfile "$password" \
    --auth-local trust --auth-host scram-sha-256
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
  # Without TCP, so that health checks over TCP fail until the database exists.
  pg_ctl --pgdata "$PGDATA" -o "-c listen_addresses=''" --wait start
  createdb --username "${POSTGRES_USER:-postgres}" "${POSTGRES_DB:-postgres}" || [ "${POSTGRES_DB:-postgres}" = postgres ]
  pg_ctl --pgdata "$PGDATA" --wait --mode fast stop
fi
exec "$@"
