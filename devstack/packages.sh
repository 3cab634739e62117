#!/usr/bin/env bash
# Installs the Debian packages that building and testing Rekindle needs, and says which.
#
#   devstack/packages.sh build   what cargo needs (etcd-client compiles etcd's protocol files)
#   devstack/packages.sh lab     that, and the servers: real Ceph, real etcd, network namespaces
#   devstack/packages.sh shim    what the Python shim's tests need: librbd's binding, and venv for the rest
#   devstack/packages.sh cinder  that, and what a lab with Keystone and Cinder needs besides `devstack/venv.sh`
#   devstack/packages.sh bench   what the cinder set has, and the nginx that the gateway is measured beside
#   devstack/packages.sh nova    what the cinder set has, libvirt and QEMU for a lab with Nova, and what `devstack/guest/build.sh` needs
#
# Nothing is done where all are there already. Fails with the list where they are missing and cannot be installed.
set -euo pipefail

build=(gcc make protobuf-compiler libprotobuf-dev)
# The -dev packages hold the headers that a test compares our declarations with; nothing is built against them.
lab=("${build[@]}" ceph-mon ceph-osd ceph-mgr ceph-mgr-modules-core rbd-mirror ceph-common librbd1 librados2
     librbd-dev librados-dev etcd-server etcd-client iproute2 systemd)
shim=(python3-venv python3-rbd python3-rados)
# The -core packages of MariaDB are the programs without a unit that would start one.
cinder=("${lab[@]}" "${shim[@]}" mariadb-server-core mariadb-client-core rabbitmq-server)
# Its unit does not start here: see below.
bench=("${cinder[@]}" nginx)
# libvirt-daemon is the programs without their units.
nova=("${cinder[@]}" libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients python3-libvirt qemu-system-x86 qemu-block-extra
      qemu-utils busybox-static syslinux mtools dosfstools cpio)

case "${1:-}" in
  build) wanted=("${build[@]}") ;;
  lab)   wanted=("${lab[@]}") ;;
  shim)  wanted=("${shim[@]}") ;;
  cinder) wanted=("${cinder[@]}") ;;
  bench) wanted=("${bench[@]}") ;;
  nova)  wanted=("${nova[@]}") ;;
  *)     echo "usage: $0 build|lab|shim|cinder|bench|nova" >&2; exit 2 ;;
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
# Debian's own units must not start here: each lab runs its daemons itself. RUNLEVEL stops what has init scripts; a policy
# file stops what systemd would start, and goes again (one that is there already is somebody's, and stays).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
"${as_root[@]}" apt-get update -qq

# QEMU's RBD is in qemu-block-extra, which allows no qemu-utils of another version beside it. One from backports has to go back,
# or apt would take it away.
downgrades=()
if [[ " ${missing[*]} " == *" qemu-block-extra "* ]]; then
  fits=$(apt-cache policy qemu-block-extra | sed -n 's/^ *Candidate: //p')
  has=$(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null || true)
  if [ -n "$has" ] && [ "$has" != "$fits" ]; then
    echo "qemu-utils $has gives way to $fits, the version of the QEMU that has RBD" >&2
    missing+=("qemu-utils=$fits")
    downgrades=(--allow-downgrades)
  fi
fi

"${as_root[@]}" apt-get install -y -qq --no-install-recommends --no-remove "${downgrades[@]}" "${missing[@]}" >/dev/null
