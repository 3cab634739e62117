#!/usr/bin/env bash
# Unpacks Debian packages, with all that they need and the system has not, into a folder: nothing is installed.
#
#   devstack/unpack.sh FOLDER PACKAGE...
#
# Debian's python3-cinder pulls in two hundred packages, among them ones that a machine for builds does not want installed. Of
# what apt would install, Python's modules are taken, the libraries that they load, and the packages that were named. Nothing
# is done where the folder holds just that already.
set -euo pipefail

folder=${1:?a folder}
shift
[ "$(cat "$folder/made-of" 2>/dev/null)" = "$*" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder/debs"
[ "$(id -u)" -ne 0 ] || apt-get update -qq
named=$(printf '%s|' "$@")
apt-get install -s --no-install-recommends "$@" |
  awk -v named="^(${named%|})$" '$1 == "Inst" && ($2 ~ named ||
    $2 ~ /^(python3-|os-brick-common|pycadf-common|alembic|lib(xslt|mariadb|pq|ev4|rdkafka|norm|pgm|zmq))/) {print $2}' |
  (cd "$folder/debs" && xargs -r apt-get download -qq)
# None, where all of it is installed already: then that is what is used.
find "$folder/debs" -name '*.deb' -exec dpkg -x {} "$folder" \;
rm -rf "$folder/debs"
printf '%s\n' "$*" > "$folder/made-of"
