#!/bin/sh
# Writes deploy/scaled.env, the secrets of the compose profile `scaled`, unless there is one: what
# PostgreSQL and the bucket were first started with is theirs for good.
set -eu
cd "$(dirname "$0")"
test ! -e scaled.env || { echo "deploy/scaled.env is there already." >&2; exit 1; }
secret() { od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n'; }
umask 077
database=$(secret)
cat > scaled.env <<END
POSTGRES_PASSWORD=$database
PGPASSWORD=$database
AWS_ACCESS_KEY_ID=offload
AWS_SECRET_ACCESS_KEY=$(secret)
OFFLOAD_API_KEYS='{"shop": "$(secret)"}'
END
echo "deploy/scaled.env has the secrets; its OFFLOAD_API_KEYS are those of the clients."
