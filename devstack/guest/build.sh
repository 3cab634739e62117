#!/usr/bin/env bash
# Makes the disk image of the lab's test guest: Debian's cloud kernel, and a busybox that runs devstack/guest/init.
#
#   devstack/guest/build.sh [FILE]   by default target/openstack-nova/guest.img
#
# The kernel's package is fetched and unpacked, not installed: this machine boots another. No root is needed. Nothing is done
# where the image is there already and was made from just this.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath -m "${1:-$here/../../target/openstack-nova/guest.img}")
# Modules that the guest loads, in the order in which they need each other.
modules=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk evdev button
         failover net_failover virtio_net)
size_mib=32

for program in busybox:busybox-static syslinux:syslinux mcopy:mtools mkfs.fat:dosfstools cpio:cpio; do
  PATH=$PATH:/sbin:/usr/sbin command -v "${program%%:*}" >/dev/null || {
    echo "${program##*:} is missing: run devstack/packages.sh nova" >&2; exit 1; }
done
kernel=$(apt-cache depends --important linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -1)
[ -n "$kernel" ] || { echo "apt knows no linux-image-cloud-amd64: run apt-get update" >&2; exit 1; }
version=$(apt-cache policy "$kernel" | sed -n 's/^ *Candidate: //p')
# A busybox that is linked with libraries would find none of them in the guest.
busybox=$(command -v busybox)
made_from="$kernel $version, $(sha256sum "$here/init" "$here/build.sh" "$busybox" | cut -d' ' -f1 | tr '\n' ' ')"
[ ! -f "$out" ] || [ ! -f "$out.made-from" ] || [ "$(<"$out.made-from")" != "$made_from" ] || exit 0

echo "making the test guest's image in $out" >&2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/package" "$scratch/initramfs/bin" "$scratch/initramfs/modules" "$scratch/initramfs/etc/acpi" "$(dirname "$out")"
(cd "$scratch" && apt-get download -qq "$kernel" 2>/dev/null) || { echo "apt-get cannot fetch $kernel" >&2; exit 1; }
dpkg-deb -x "$scratch"/*.deb "$scratch/package"

cp "$busybox" "$scratch/initramfs/bin/busybox"
cp "$here/init" "$scratch/initramfs/init"
chmod 755 "$scratch/initramfs/init"
for module in "${modules[@]}"; do
  find "$scratch/package" -name "$module.ko" -exec cp {} "$scratch/initramfs/modules/" \;
  [ -f "$scratch/initramfs/modules/$module.ko" ] || { echo "$kernel has no module $module" >&2; exit 1; }
done
printf '%s\n' "${modules[@]}" >"$scratch/initramfs/modules/order"
ln -s busybox "$scratch/initramfs/bin/sh"
# busybox's acpid: which event runs which file.
printf 'EV_KEY 0x01 KEY_POWER 116 1 button/power\n' >"$scratch/initramfs/etc/acpi.map"
printf 'button/power power\n' >"$scratch/initramfs/etc/acpid.conf"
printf '#!/bin/sh\nkill -TERM 1\n' >"$scratch/initramfs/etc/acpi/power"
chmod 755 "$scratch/initramfs/etc/acpi/power"
(cd "$scratch/initramfs" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -9) >"$scratch/initrd"

cat >"$scratch/syslinux.cfg" <<'CFG'
SERIAL 0 115200
DEFAULT guest
PROMPT 0
LABEL guest
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0,115200 quiet panic=1 random.trust_cpu=on
CFG
image=$scratch/image
truncate -s "${size_mib}M" "$image"
# The whole disk is the file system, without a table of partitions: the BIOS starts its first sector.
PATH=$PATH:/sbin:/usr/sbin mkfs.fat -F 16 -n REKINDLE "$image" >/dev/null
mcopy -i "$image" "$scratch"/package/boot/vmlinuz-* ::vmlinuz
mcopy -i "$image" "$scratch/initrd" ::initrd
mcopy -i "$image" "$scratch/syslinux.cfg" ::syslinux.cfg
syslinux --install "$image"
mv "$image" "$out"
printf '%s\n' "$made_from" >"$out.made-from"
