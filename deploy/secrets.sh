#!/bin/sh
# Makes the secrets that docker-compose.yml and deploy/kubernetes.yaml use. Once: again is a no-op.
#
#   sh deploy/secrets.sh [FOLDER]        FOLDER is secrets/ by default
#
# postgres_password    of the database's user tuneoff
# pg_service.conf      libpq's connection service file: address, user and password in one
# dashboard_password   what to enter, as user tuneoff, when the browser asks; no container sees it
# dashboard_users      the same, hashed, for the proxy; more lines of NAME:HASH let more people in
set -eu

folder=${1:-secrets}
if [ -e "$folder" ]; then
    echo "$folder is there already: nothing changed"
    exit 0
fi

# The folder is closed to other users of this machine. The files inside are readable to all,
# because containers see them as they are, and run as users that this machine does not know.
umask 077
rm -rf "$folder.part"
mkdir -p "$folder.part"
cd "$folder.part"
openssl rand -hex 24 > postgres_password
openssl rand -hex 12 > dashboard_password
# No password is an argument of a program, where every user could read it: these are the shell's
# own commands, and openssl reads the file.
printf '[tuneoff]\nhost=postgres\ndbname=tuneoff\nuser=tuneoff\npassword=%s\n' \
    "$(cat postgres_password)" > pg_service.conf
printf 'tuneoff:%s\n' "$(openssl passwd -6 -in dashboard_password)" > dashboard_users
chmod 444 postgres_password pg_service.conf dashboard_users
cd - > /dev/null
mv "$folder.part" "$folder"
echo "made $folder; the dashboard's user is tuneoff, its password is in $folder/dashboard_password"
