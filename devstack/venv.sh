#!/usr/bin/env bash
# Makes the Python environment that the lab's OpenStack runs from, with every version pinned.
#
#   devstack/venv.sh [FOLDER [RELEASE]]   by default target/openstack-venv and cinder29: Keystone and Cinder
#   devstack/venv.sh target/openstack-nova nova34   these, and Nova, Neutron, Glance and Placement
#
# RELEASE names devstack/requirements-RELEASE.txt, which may include another one with `-r`. Nothing is done where the folder
# holds just that already.
# Where the repository has driver/shim and driver/osc, they are installed too, from their sources in place.
set -euo pipefail

repo=$(cd "$(dirname "$0")/.." && pwd)
venv=$(realpath -m "${1:-$repo/target/openstack-venv}")
release=${2:-cinder29}
wanted=$repo/devstack/requirements-$release.txt
# The system's Python and no other: librbd's bindings are Debian's, and are built for it.
python=/usr/bin/python3

[ -f "$wanted" ] || { echo "there is no $wanted; there are:" "$repo"/devstack/requirements-*.txt >&2; exit 2; }
"$python" -c 'import rados, rbd, ensurepip' 2>/dev/null || {
  echo "python3-rbd, python3-rados or python3-venv is missing: run devstack/packages.sh cinder" >&2; exit 1; }

# Does what follows its first two words unless the file has just that text; the file is written last, so what was left
# half made is made again.
unless_made() { # FILE TEXT COMMAND...
  [ -f "$1" ] && [ "$(<"$1")" = "$2" ] || { "${@:3}" && printf '%s\n' "$2" >"$1"; }
}
# The wanted file with those that it includes.
all_wanted() { cat "$wanted"; sed -n 's/^-r *//p' "$wanted" | while read -r more; do cat "$repo/devstack/$more"; done; }
# Where packages come from is the machine's configuration of pip.
pip() { "$venv/bin/pip" --disable-pip-version-check --quiet "$@"; }
make_environment() {
  echo "making the environment of $release in $venv, which takes a minute or two" >&2
  mkdir -p "$(dirname "$venv")"
  "$python" -m venv --clear --system-site-packages "$venv"
  pip install -r "$wanted"
}

unless_made "$venv/made-from" "$venv, $("$python" --version), $(all_wanted | sha256sum)" make_environment
for ours in shim osc; do
  from=$repo/driver/$ours
  [ -f "$from/pyproject.toml" ] || continue
  unless_made "$venv/made-$ours-from" "$from, $(sha256sum <"$from/pyproject.toml")" pip install --no-deps -e "$from"
done
