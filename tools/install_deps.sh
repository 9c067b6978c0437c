#!/bin/sh
# Installs the Debian packages named on the command line; asks for sudo only when it is needed.
set -eu
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
echo "installing: $*"
if ! $as_root apt-get install -y --no-install-recommends "$@"; then
    $as_root apt-get update
    $as_root apt-get install -y --no-install-recommends "$@"
fi
