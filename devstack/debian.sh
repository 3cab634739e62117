#!/usr/bin/env bash
# Makes a folder that a lab's Cinder can be run from, with the Cinder of Debian's own packages: unpacked, not installed.
#
#   devstack/debian.sh [FOLDER [VENV]]   by default target/openstack-debian, beside target/openstack-venv
#   lab up --cinder --openstack FOLDER
#
# Keystone and the clients stay those of the environment that devstack/venv.sh makes: what is looked at is Cinder 21 with the
# driver in it, and Keystone's part in that is a token.
set -euo pipefail

repo=$(cd "$(dirname "$0")/.." && pwd)
folder=$(realpath -m "${1:-$repo/target/openstack-debian}")
venv=$(realpath -m "${2:-$repo/target/openstack-venv}")
root=$folder/root

[ -x "$venv/bin/keystone-manage" ] || { echo "there is no Keystone in $venv: run devstack/venv.sh" >&2; exit 1; }
# Its MySQL driver is what the lab's database needs, and only a suggestion of Debian's package.
"$repo/devstack/unpack.sh" "$root" python3-cinder cinder-common python3-pymysql

mkdir -p "$folder/bin" "$folder/lib" "$folder/etc/cinder"
cp "$root/usr/share/cinder-common/api-paste.ini" "$root"/etc/cinder/{rootwrap.conf,resource_filters.json} "$folder/etc/cinder/"

# What is unpacked, then the system's own, both before the environment's, out of which uwsgi comes.
modules=$folder/lib:$repo/driver/shim/src:$root/usr/lib/python3/dist-packages:/usr/lib/python3/dist-packages
libraries=$root/usr/lib/$(uname -m)-linux-gnu
program() { # NAME COMMAND...
  printf '#!/bin/sh\n%s\n' "${*:2}" > "$folder/bin/$1"
  chmod 755 "$folder/bin/$1"
}
debian="export PYTHONPATH='$modules' LD_LIBRARY_PATH='$libraries'"
for name in manage scheduler volume; do
  program "cinder-$name" "$debian
exec /usr/bin/python3 -W ignore -c 'import sys; sys.argv[0] = \"cinder-$name\"; from cinder.cmd.$name import main; sys.exit(main())' \"\$@\""
done
program rekindle-cinder-repair "$debian
exec /usr/bin/python3 -W ignore -m rekindle_cinder.repair \"\$@\""
for name in keystone-manage openstack cinder python3; do
  program "$name" "exec '$venv/bin/$name' \"\$@\""
done

# One uwsgi serves both APIs. Newer releases of Cinder have a module for it, this one a function.
printf 'from cinder.wsgi import wsgi\n\napplication = wsgi.initialize_application()\n' > "$folder/lib/rekindle_cinder_api.py"
program uwsgi "for word; do
  shift
  if [ \"\$word\" = cinder.wsgi.api:application ]; then
    set -- \"\$@\" rekindle_cinder_api:application
    $debian
  else
    set -- \"\$@\" \"\$word\"
  fi
done
exec '$venv/bin/uwsgi' \"\$@\""
