#!/usr/bin/env bash
# Tests and lints the shim, in environments of its own under target/: nothing is installed into the system's Python.
#
#   check.sh lint      ruff and mypy
#   check.sh test      both of the next
#   check.sh 29        our tests and Cinder's own, with Cinder 29 in a venv
#   check.sh debian    the same with Debian's Cinder and Debian's versions of all that it needs, unpacked beside the system
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/target
venv=$target/shim-venv
debian=$target/shim-debian
export PYTHONDONTWRITEBYTECODE=1

# librbd's binding is not on PyPI; these two files are all that is taken from the system's packages, for with the rest of
# them in sight the venv's versions would be a mix of both.
make_venv() {
  local wanted
  wanted=$(cat "$here"/requirements/*.txt | sha256sum)
  [ "$(cat "$venv/made-of" 2>/dev/null)" = "$wanted" ] && return
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements/cinder-29.txt" -r "$here/requirements/lint.txt"
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
  for module in rados rbd; do
    ln -sf "$(/usr/bin/python3 -c "import $module; print($module.__file__)")" "$site/"
  done
  "$venv/bin/pip" install -q --disable-pip-version-check --no-build-isolation --no-deps -e "$here"
  echo "$wanted" > "$venv/made-of"
}

run_all() { # a Python
  cd "$here"
  "$@" -m pytest
  "$@" -W ignore -m tests.upstream
}

with_29() {
  make_venv
  run_all "$venv/bin/python"
}

with_debian() {
  "$here/../../devstack/unpack.sh" "$debian" python3-cinder python3-ddt python3-fixtures python3-oslotest \
    python3-testtools python3-testscenarios python3-pytest
  export PYTHONPATH="$here/src:$debian/usr/lib/python3/dist-packages"
  export LD_LIBRARY_PATH="$debian/usr/lib/$(uname -m)-linux-gnu"
  run_all /usr/bin/python3
}

case "${1:-}" in
  lint)
    make_venv
    cd "$here"
    # By the same rules what else of this repository is in Python: the lab's.
    all=(--config pyproject.toml . ../../devstack/lab/guests)
    "$venv/bin/ruff" check "${all[@]}" && "$venv/bin/ruff" format --check "${all[@]}" && "$venv/bin/mypy"
    ;;
  29) with_29 ;;
  debian) with_debian ;;
  test)
    (with_29)
    (with_debian)
    ;;
  *) echo "usage: $0 lint|test|29|debian" >&2; exit 2 ;;
esac
