#!/bin/sh
# Dumps the database once a day, and keeps the newest dumps.
#
#   sh backup.sh FOLDER        for ever; each day at BACKUP_HOUR (UTC), or later if it was missed
#
# To go back to a dump, with no worker running:
#
#   docker compose exec backup pg_restore --clean --if-exists --exit-on-error \
#       --dbname=service=tuneoff /var/lib/postgresql/tuneoff-2026-11-23.dump
#
# The dumps lie on the same machine as the database: copy them elsewhere.
set -u

folder=$1

dump() {
    file=$folder/tuneoff-$(date -u +%F).dump
    [ ! -e "$file" ] || return 0
    rm -f "$folder"/tuneoff-*.part
    # A dump gets its name when it is whole and on the disk (pg_dump syncs what it writes), so
    # that an interrupted one is never taken for a backup, nor counted as one.
    if ! pg_dump --format=custom --file="$file.part" --dbname=service=tuneoff; then
        rm -f "$file.part"
        return 1
    fi
    mv "$file.part" "$file" || return 1
    echo "dumped $file"
    ls -1r "$folder"/tuneoff-*.dump | tail -n "+$((BACKUP_KEEP + 1))" | while IFS= read -r old; do
        rm -f "$old"
    done
}

while :; do
    if [ "$(date -u +%H)" -ge "$BACKUP_HOUR" ]; then
        dump || echo "the dump failed; trying again in five minutes" >&2
    fi
    sleep 300
done
