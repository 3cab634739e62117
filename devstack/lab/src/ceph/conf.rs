//! `ceph.conf` of a zone. Every setting that is not Ceph's default says why.

use crate::error::Result;
use crate::layout::write_whole;
use crate::services::SiteCtx;

/// Writes the zone's `ceph.conf`.
pub(crate) fn write_conf(ctx: &SiteCtx) -> Result<()> {
    write_whole(&ctx.dirs.ceph_conf(), &render(ctx))
}

fn render(ctx: &SiteCtx) -> String {
    let addr = ctx.addr();
    let (first, last) = ctx.ports().daemons;
    let path = |p: std::path::PathBuf| p.display().to_string();
    format!(
        "\
[global]
fsid = {fsid}
mon host = [v2:{mon}]
mon initial members = a
public addr = {addr}
cluster addr = {addr}
# One protocol, one port a daemon.
ms bind msgr1 = false
ms bind port min = {first}
ms bind port max = {last}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {keyring}
# One OSD: one copy, on the one host, and no warning about it.
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
osd crush chooseleaf type = 0
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
# An image copied by rbd-mirror gets the features of its original, not these; they are for `rbd create`.
rbd default features = 125
# Clients renew their watches this often; the default of 5 s is too near to the 10 s of
# `osd client watch timeout` below.
objecter tick interval = 2
log to stderr = false
err to stderr = true
log to file = true
log file = {log}
debug ms = 0
# Crash dumps of daemons that are killed for sport are of no use.
log max recent = 500

[mon]
mon data = {mon_data}
keyring = {mon_data}/keyring
admin socket = {mon_asok}
mon cluster log file = {cluster_log}
mon allow pool delete = true
# The default waits up to 1 s to gather changes of a map; each step of a start is one.
paxos propose interval = 0.1
# Down, up and healthy are seen at the next tick.
mon tick interval = 1
# The lab is small, its disk may be nearly full of other things: below the default 5 % the mon ends itself.
mon data avail warn = 2
mon data avail crit = 1

[osd]
osd data = {osd_data}
keyring = {keyring}
admin socket = {osd_asok}
osd objectstore = bluestore
bluestore block size = {osd_bytes}
bluestore block create = true
# A disk that says it rotates has small writes deferred, and Ceph 16 replays those of a killed OSD over what was written there
# since: now and then an object's checksum is wrong then, and with one copy it is lost (ceph pull request 60753).
bluestore prefer deferred size hdd = 0
# A new and empty store needs no check; it doubles the time of mkfs.
bluestore fsck on mkfs = false
# Small: the default takes 4 GiB. Autotuning off, for its floor is 896 MiB.
bluestore cache autotune = false
bluestore cache size = 67108864
osd memory target = 939524096
osd op num shards = 2
osd op num threads per shard = 1
# A killed client's watch, and with it its exclusive lock on an image, ends after this many seconds
# instead of 30.
osd client watch timeout = 10

[mgr]
mgr data = {mgr_data}
keyring = {keyring}
admin socket = {mgr_asok}
# Python modules cost memory and seconds of start, even those that are not enabled.
mgr initial modules =
mgr disabled modules = {no_modules}
mgr stats period = 1

[client.mirror]
keyring = {keyring}
admin socket = {mirror_asok}
{mirror}",
        fsid = ctx.fsid.as_deref().unwrap_or_default(),
        mon = ctx.mon_addr(),
        keyring = path(ctx.dirs.keyring()),
        log = path(ctx.dirs.log("ceph-$name")),
        cluster_log = path(ctx.dirs.log("ceph-cluster")),
        mon_data = path(ctx.dirs.data("mon")),
        mon_asok = path(ctx.dirs.asok("mon")),
        osd_data = path(ctx.dirs.data("osd")),
        osd_asok = path(ctx.dirs.asok("osd")),
        osd_bytes = ctx.osd_mib * 1024 * 1024,
        mgr_data = path(ctx.dirs.data("mgr")),
        mgr_asok = path(ctx.dirs.asok("mgr")),
        no_modules = UNUSED_MODULES.join(","),
        mirror_asok = path(ctx.dirs.asok("rbd-mirror")),
        mirror = MIRROR,
    )
}

/// Manager modules that nothing here uses. Those that Ceph counts as always on cannot be among them:
/// leaving one out is `HEALTH_ERR`.
const UNUSED_MODULES: [&str; 15] = [
    "alerts",
    "diskprediction_local",
    "influx",
    "insights",
    "iostat",
    "localpool",
    "mirroring",
    "nfs",
    "osd_perf_query",
    "osd_support",
    "prometheus",
    "restful",
    "snap_schedule",
    "stats",
    "telegraf",
];

/// rbd-mirror's clocks. The defaults suit a WAN and thousands of images; here they are waiting time.
///
/// Not among them: `rbd mirror memory autotune = false`, however much less memory it promises. With it
/// 16.2.15 never starts to read the peer's journals, and yet reports `up+replaying`.
const MIRROR: &str = "\
# A zone has one rbd-mirror, so a leader's lock that is found taken is a dead one's: break it at the first
# try (by default after 3, of 10 s each). The dead instance, and the images mapped to it, are given up
# after heartbeat * (1 + missed + attempts): 30 s by default, 4 s so.
rbd mirror leader heartbeat interval = 1
rbd mirror leader max missed heartbeats = 2
rbd mirror leader max acquire attempts before break = 1
# How soon a new peer, and a pool whose replayer failed (peer dead at the start), is tried again; 30 s by default.
rbd mirror pool replayers refresh interval = 3
# How soon an image whose replay stopped on an error is started again; 30 s by default.
rbd mirror image state check interval = 5
# How soon an idle journal is looked at again. Twice this is the lag of an instant volume that is written
# to now and then (measured: 10 s with the default of 5, 1 s with 0.5).
rbd mirror journal poll age = 0.5
# How soon the primary is told what was replayed, so `entries_behind_primary` falls to 0; 5 s by default.
rbd mirror journal commit age = 1
# Tests remove many images at once; one at a time and 30 s between tries by default.
rbd mirror concurrent image deletions = 5
rbd mirror delete retry interval = 5

# The connection to the other zone.
[client.rbd-mirror-peer]
# Reads of journals of a dead peer stay in flight and count with their full size, 16 MiB and more each. At the default
# of 100 MiB (and 1024 operations) the next read waits for room for ever, on rbd-mirror's only timer thread; then this
# rbd-mirror lets go of no image any more, and every forced promotion of a snapshot image hangs as long as the peer is
# dead (hard case 22; found with 50 journal images).
objecter inflight op bytes = 1099511627776
objecter inflight ops = 1048576
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::Certs;
    use crate::layout::Layout;
    use crate::net::Net;
    use crate::site::Site;
    use crate::state::NetMode;

    fn ctx(site: Site, mode: NetMode) -> (tempfile::TempDir, SiteCtx) {
        let tmp = tempfile::tempdir().unwrap();
        let layout = Layout::create(tmp.path()).unwrap();
        let ctx = SiteCtx {
            site,
            dirs: layout.site(site),
            net: Net::new(mode, 3),
            lab_uuid: "u".into(),
            fsid: Some("f-s-i-d".into()),
            certs: Certs::in_dir(tmp.path(), "x"),
            osd_mib: 8192,
            cloud: crate::Cloud::None,
        };
        (tmp, ctx)
    }

    fn value(conf: &str, section: &str, key: &str) -> Option<String> {
        let mut now = "";
        for line in conf.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                now = name;
            } else if now == section
                && let Some((k, v)) = line.split_once('=')
                && k.trim() == key
            {
                return Some(v.trim().to_owned());
            }
        }
        None
    }

    #[test]
    fn every_path_in_it_is_absolute_so_that_any_process_may_use_it() {
        let (_tmp, ctx) = ctx(Site::ZoneA, NetMode::Namespaces);
        let conf = render(&ctx);
        for (section, key) in [
            ("global", "keyring"),
            ("global", "log file"),
            ("mon", "mon data"),
            ("osd", "osd data"),
            ("osd", "admin socket"),
            ("client.mirror", "admin socket"),
        ] {
            let path = value(&conf, section, key).unwrap();
            assert!(path.starts_with('/'), "{section} {key} = {path}");
        }
    }

    #[test]
    fn daemons_bind_to_the_site_and_within_its_ports() {
        for mode in [NetMode::Namespaces, NetMode::Loopback] {
            let (_tmp, ctx) = ctx(Site::ZoneB, mode);
            let conf = render(&ctx);
            assert_eq!(
                value(&conf, "global", "public addr").unwrap(),
                ctx.addr().to_string()
            );
            let (first, last) = ctx.ports().daemons;
            assert_eq!(
                value(&conf, "global", "ms bind port min").unwrap(),
                first.to_string()
            );
            assert_eq!(
                value(&conf, "global", "ms bind port max").unwrap(),
                last.to_string()
            );
            assert_eq!(
                value(&conf, "global", "mon host").unwrap(),
                format!("[v2:{}]", ctx.mon_addr())
            );
        }
    }

    #[test]
    fn nothing_stops_journals_from_being_read() {
        let (_tmp, ctx) = ctx(Site::ZoneA, NetMode::Namespaces);
        assert_eq!(
            value(&render(&ctx), "client.mirror", "rbd mirror memory autotune"),
            None
        );
    }

    #[test]
    fn hard_case_22_a_dead_peers_reads_do_not_stop_the_mirror_daemon() {
        let (_tmp, ctx) = ctx(Site::ZoneA, NetMode::Namespaces);
        let conf = render(&ctx);
        let limit = |key| -> u64 {
            let text = value(&conf, "client.rbd-mirror-peer", key).unwrap();
            text.parse().unwrap()
        };
        assert!(limit("objecter inflight op bytes") >= 1 << 40);
        assert!(limit("objecter inflight ops") >= 1 << 20);
    }

    #[test]
    fn the_store_is_a_file_of_the_size_asked_for() {
        let (_tmp, ctx) = ctx(Site::ZoneA, NetMode::Loopback);
        let conf = render(&ctx);
        assert_eq!(value(&conf, "osd", "osd objectstore").unwrap(), "bluestore");
        assert_eq!(
            value(&conf, "osd", "bluestore block size").unwrap(),
            "8589934592"
        );
        assert_eq!(
            value(&conf, "osd", "bluestore prefer deferred size hdd").unwrap(),
            "0"
        );
    }
}
