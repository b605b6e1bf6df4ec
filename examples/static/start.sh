#!/bin/sh
# Fill in nginx.conf, then become nginx.
set -eu
sed -e "s|@PORT@|${PORT:-8000}|" \
    -e "s|@ROOT_PATH@|${ROOT_PATH:-}|" \
    -e "s|@WORKSHOP_PARTICIPANT@|${WORKSHOP_PARTICIPANT:-you}|" \
    -e "s|@WORKSHOP_VERSION@|${WORKSHOP_VERSION:-local}|" \
    /srv/nginx.conf >/tmp/nginx.conf
exec nginx -c /tmp/nginx.conf -g 'daemon off;'
