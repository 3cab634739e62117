#!/usr/bin/env bash
# Installs the Debian packages that building and testing Rekindle needs, and says which.
#
#   devstack/packages.sh build   what cargo needs (etcd-client compiles etcd's protocol files)
#   devstack/packages.sh lab     that, and the servers: real Ceph, real etcd, network namespaces
#   devstack/packages.sh shim    what the Python shim's tests need: librbd's binding, and venv for the rest
#
# Nothing is done where all are there already. Fails with the list where they are missing and cannot be installed.
set -euo pipefail

build=(gcc make protobuf-compiler libprotobuf-dev)
# The -dev packages hold the headers that a test compares our declarations with; nothing is built against them.
lab=("${build[@]}" ceph-mon ceph-osd ceph-mgr ceph-mgr-modules-core rbd-mirror ceph-common librbd1 librados2
     librbd-dev librados-dev etcd-server etcd-client iproute2 systemd)
shim=(python3-venv python3-rbd python3-rados)

case "${1:-}" in
  build) wanted=("${build[@]}") ;;
  lab)   wanted=("${lab[@]}") ;;
  shim)  wanted=("${shim[@]}") ;;
  *)     echo "usage: $0 build|lab|shim" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

echo "installing Debian packages: ${missing[*]}" >&2
if [ "$(id -u)" -eq 0 ]; then as_root=(); elif command -v sudo >/dev/null; then as_root=(sudo); else
  echo "these packages are missing and you are not root: ${missing[*]}" >&2
  exit 1
fi
# Ceph's own units must not start here: each lab runs its daemons itself.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
