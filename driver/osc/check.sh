#!/usr/bin/env bash
# Tests and lints the plugin, in environments of its own under target/: nothing is installed into the system's Python.
#
#   check.sh lint      ruff and mypy
#   check.sh test      both of the next
#   check.sh 10        with openstackclient 10 in a venv
#   check.sh debian    with Debian's, and Debian's versions of all that it needs, unpacked beside the system
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/target
venv=$target/osc-venv
debian=$target/osc-debian
lint=$here/../shim/requirements/lint.txt
export PYTHONDONTWRITEBYTECODE=1

make_venv() {
  local wanted
  wanted=$(cat "$here/requirements/osc-10.txt" "$lint" "$here/pyproject.toml" | sha256sum)
  [ "$(cat "$venv/made-of" 2>/dev/null)" = "$wanted" ] && return
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements/osc-10.txt" -r "$lint"
  "$venv/bin/pip" install -q --disable-pip-version-check --no-build-isolation --no-deps -e "$here"
  echo "$wanted" > "$venv/made-of"
}

with_10() {
  make_venv
  cd "$here"
  "$venv/bin/python" -m pytest
}

with_debian() {
  "$here/../../devstack/unpack.sh" "$debian" python3-openstackclient python3-pytest
  # What openstackclient looks commands up by is the package's metadata, as an installation writes it.
  make_venv
  # From a copy: building leaves a folder beside the sources.
  rm -rf "$debian/rekindle-osc" "$debian/sources"
  mkdir "$debian/sources"
  cp -r "$here/pyproject.toml" "$here/README.md" "$here/src" "$debian/sources"
  "$venv/bin/pip" install -q --disable-pip-version-check --no-build-isolation --no-deps --target "$debian/rekindle-osc" "$debian/sources"
  export PYTHONPATH="$debian/rekindle-osc:$debian/usr/lib/python3/dist-packages"
  export LD_LIBRARY_PATH="$debian/usr/lib/$(uname -m)-linux-gnu"
  cd "$here"
  /usr/bin/python3 -m pytest
}

case "${1:-}" in
  lint)
    make_venv
    cd "$here"
    "$venv/bin/ruff" check . && "$venv/bin/ruff" format --check . && "$venv/bin/mypy"
    ;;
  10) with_10 ;;
  debian) with_debian ;;
  test)
    (with_10)
    (with_debian)
    ;;
  *) echo "usage: $0 lint|test|10|debian" >&2; exit 2 ;;
esac
