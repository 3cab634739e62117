//! The zone's own libvirt: libvirtd, and virtlogd, which keeps the guests' consoles.
//!
//! Both have their folders compiled in. Each runs in a mount namespace in which the zone's folders lie over these, so that two zones
//! on one machine, and the machine itself, see nothing of each other's guests:
//!
//! ```text
//! ROOT/SITE/libvirt/{etc,lib,cache,log,run}    over /etc/libvirt, /var/lib/libvirt, /var/cache/libvirt, /var/log/libvirt, /run/libvirt
//! ROOT/SITE/run/libvirt-sock                   for clients
//! ```
//!
//! A guest lives in its zone's network namespace as all else there does: with the zone it is killed and paused. `kill` of libvirtd
//! alone leaves it running, as on any host.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::{Lane, Service, SiteCtx};
use crate::ceph;
use crate::error::{IoContext, Result};
use crate::layout::write_whole;
use crate::openstack::{libvirt_uri, write_private};
use crate::run::{Cmd, require};
use crate::supervise::Spawn;

pub(super) struct VirtLogd;
pub(super) struct LibVirtd;

/// Puts the zone's folders over libvirt's, and becomes what the words after the first say. libvirtd does not start where the user
/// is unknown that Debian's package of its units makes; its guests run as root here.
const INSIDE: &str = r#"
over() { mkdir -p "$1" "$2"; mount --bind "$1" "$2"; }
base=$1; shift
over "$base/etc" /etc/libvirt
over "$base/lib" /var/lib/libvirt
over "$base/cache" /var/cache/libvirt
over "$base/log" /var/log/libvirt
over "$base/run" /run/libvirt
for file in passwd group; do
  { grep -v '^libvirt-qemu:' "/etc/$file"; cat "$base/$file"; } >"$base/$file.$$"
  mount --bind "$base/$file.$$" "/etc/$file"
  rm "$base/$file.$$"
done
exec "$@"
"#;

impl Service for VirtLogd {
    fn name(&self) -> &'static str {
        "virtlogd"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[("virtlogd", "libvirt-daemon"), ("unshare", "util-linux")]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_conf(ctx)
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        inside(ctx, "/usr/sbin/virtlogd", "virtlogd.conf")
    }

    /// libvirtd that finds none would start one of its own.
    fn is_waited_for(&self) -> bool {
        true
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        match UnixStream::connect(base(ctx).join("run/virtlogd-sock")) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}

impl Service for LibVirtd {
    fn name(&self) -> &'static str {
        "libvirtd"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("libvirtd", "libvirt-daemon"),
            ("virsh", "libvirt-clients"),
            ("qemu-system-x86_64", "qemu-system-x86"),
        ]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_conf(ctx)
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        inside(ctx, "/usr/sbin/libvirtd", "libvirtd.conf")
    }

    /// Its QEMU driver answers.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        match virsh(ctx).and_then(|virsh| virsh.args(["list", "--name"]).run()) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ceph's key, under the id that Cinder names to Nova.
    fn settle(&self, ctx: &SiteCtx) -> Result<()> {
        let done = base(ctx).join("secret-made");
        if done.exists() {
            return Ok(());
        }
        let id = ctx.fsid.clone().unwrap_or_default();
        let xml = base(ctx).join("secret.xml");
        let text = format!(
            "<secret ephemeral='no' private='yes'><uuid>{id}</uuid><usage type='ceph'>\
             <name>client.{}</name></usage></secret>\n",
            ceph::CINDER_ID
        );
        write_whole(&xml, &text)?;
        virsh(ctx)?.arg("secret-define").arg(&xml).run()?;
        // In a file: a command line can be read by all.
        let key = base(ctx).join("secret.key");
        let user = format!("client.{}", ceph::CINDER_ID);
        let printed = Cmd::new(require("ceph-authtool", "ceph-common")?)
            .args(["--print-key", "--name", &user])
            .arg(ctx.dirs.keyring())
            .run()?;
        write_private(&key, printed.stdout.trim())?;
        let set = virsh(ctx)?
            .args(["secret-set-value", &id, "--file"])
            .arg(&key)
            .run();
        let _ = fs::remove_file(&key);
        set?;
        fs::write(&done, "").context(|| "marking libvirt's secret as made".into())
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}

fn base(ctx: &SiteCtx) -> PathBuf {
    ctx.dirs.data("libvirt")
}

fn inside(ctx: &SiteCtx, program: &str, conf: &str) -> Spawn {
    let path = |path: PathBuf| path.display().to_string();
    let name = program.rsplit('/').next().unwrap_or(program);
    Spawn::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            INSIDE,
            name,
        ])
        .arg(path(base(ctx)))
        .arg(program)
        .args(["--config", &format!("/etc/libvirt/{conf}")])
        .arg("--pid-file")
        .arg(path(ctx.dirs.run().join(format!("{name}.pid"))))
}

fn virsh(ctx: &SiteCtx) -> Result<Cmd> {
    let program = require("virsh", "libvirt-clients")?;
    Ok(ctx
        .inside(&program.to_string_lossy())
        .args(["--connect", &libvirt_uri(ctx), "--quiet"])
        .deadline(Duration::from_secs(10)))
}

fn write_conf(ctx: &SiteCtx) -> Result<()> {
    let base = base(ctx);
    let etc = base.join("etc");
    fs::create_dir_all(&etc).context(|| format!("making {}", etc.display()))?;
    let sockets = ctx.dirs.run().display().to_string();
    let id = ctx.fsid.clone().unwrap_or_default();
    for (name, text) in [
        ("etc/libvirtd.conf", libvirtd_conf(&sockets, &id)),
        ("etc/virtlogd.conf", VIRTLOGD_CONF.to_owned()),
        ("etc/qemu.conf", QEMU_CONF.to_owned()),
        (
            "passwd",
            "libvirt-qemu:x:64055:64055::/:/bin/false\n".into(),
        ),
        ("group", "libvirt-qemu:x:64055:\n".into()),
    ] {
        write_whole(&base.join(name), &text)?;
    }
    Ok(())
}

fn libvirtd_conf(sockets: &str, id: &str) -> String {
    format!(
        "\
unix_sock_dir = \"{sockets}\"
unix_sock_group = \"root\"
unix_sock_rw_perms = \"0700\"
auth_unix_ro = \"none\"
auth_unix_rw = \"none\"
# Two hosts on one machine, and often no other id to be had.
host_uuid = \"{id}\"
log_outputs = \"3:stderr\"
"
    )
}

const VIRTLOGD_CONF: &str = "log_outputs = \"3:stderr\"\n";

/// Guests are plain processes of root, in no control group: those of two zones would have the same names there.
const QEMU_CONF: &str = "\
user = \"root\"
group = \"root\"
dynamic_ownership = 0
remember_owner = 0
security_driver = \"none\"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = \"logd\"
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_find_the_socket_in_the_zone_and_need_no_password() {
        let conf = libvirtd_conf("/lab/zone-a/run", "f-s-i-d");
        assert!(
            conf.contains("unix_sock_dir = \"/lab/zone-a/run\"\n"),
            "{conf}"
        );
        assert!(conf.contains("auth_unix_rw = \"none\"\n"), "{conf}");
    }

    #[test]
    fn all_five_folders_of_libvirt_are_the_zones() {
        for dir in ["/etc", "/var/lib", "/var/cache", "/var/log", "/run"] {
            assert!(INSIDE.contains(&format!(" {dir}/libvirt\n")), "{dir}");
        }
    }
}
