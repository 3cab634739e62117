//! The zone's one Ceph monitor.

use std::fs;
use std::time::Duration;

use super::{Service, SiteCtx, asok_says};
use crate::ceph;
use crate::error::{IoContext, Result};
use crate::run::{Cmd, require};
use crate::supervise::Spawn;

pub(super) struct Mon;

impl Service for Mon {
    fn name(&self) -> &'static str {
        "mon"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("ceph-mon", "ceph-mon"),
            ("monmaptool", "ceph-base"),
            ("ceph-authtool", "ceph-common"),
            ("ceph", "ceph-common"),
            ("rbd", "ceph-common"),
        ]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        let data = ctx.dirs.data("mon");
        if data.join("done").exists() {
            return Ok(());
        }
        ceph::write_conf(ctx)?;
        let mon_keyring = ceph::write_keyrings(ctx)?;
        fs::create_dir_all(&data).context(|| format!("making {}", data.display()))?;
        let fsid = ctx.fsid.clone().unwrap_or_default();
        let monmap = ctx.dirs.data("monmap");
        // msgr v2 alone: every client from Ceph 14 on speaks it, and it needs one port, not two.
        Cmd::new(require("monmaptool", "ceph-base")?)
            .args(["--create", "--clobber", "--fsid", &fsid, "--addv", "a"])
            .arg(format!("[v2:{}]", ctx.mon_addr()))
            .arg(&monmap)
            .run()?;
        Cmd::new(require("ceph-mon", "ceph-mon")?)
            .args(["--mkfs", "-i", "a", "-c"])
            .arg(ctx.dirs.ceph_conf())
            .arg("--monmap")
            .arg(&monmap)
            .arg("--keyring")
            .arg(mon_keyring)
            .deadline(Duration::from_secs(60))
            .run()?;
        // ceph-mon has a mark of its own, but writes it before all is on disk.
        fs::write(data.join("done"), "").context(|| "marking the mon's store as made".into())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        Spawn::new("ceph-mon")
            .args(["-f", "-i", "a", "-c"])
            .arg(ctx.dirs.ceph_conf().to_string_lossy())
    }

    /// What finds no mon tries again only after seconds.
    fn is_waited_for(&self) -> bool {
        true
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        asok_says(ctx, "mon", "mon_status", |s| s["state"] == "leader")
    }
}
