//! The zone's one OSD: BlueStore over a sparse file, so that a killed zone comes back with its data
//! (memstore does not).

use std::fs;
use std::time::Duration;

use super::{Service, SiteCtx, asok_says};
use crate::error::{IoContext, Result};
use crate::run::{Cmd, require};
use crate::supervise::Spawn;

/// Holds the OSD's UUID once the mon has given it the number 0.
const UUID_FILE: &str = "osd.uuid";

pub(super) struct Osd;

impl Service for Osd {
    fn name(&self) -> &'static str {
        "osd"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[("ceph-osd", "ceph-osd")]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        let data = ctx.dirs.data("osd");
        if data.join("done").exists() {
            return Ok(());
        }
        // Half a store from an earlier try is no store.
        if data.exists() {
            fs::remove_dir_all(&data).context(|| format!("removing {}", data.display()))?;
        }
        fs::create_dir_all(&data).context(|| format!("making {}", data.display()))?;
        let uuid_file = ctx.dirs.data(UUID_FILE);
        let uuid = match fs::read_to_string(&uuid_file) {
            Ok(uuid) => uuid,
            Err(_) => {
                let uuid = crate::state::new_uuid()?;
                ctx.ceph_tool("ceph")
                    .args(["osd", "new", &uuid, "0"])
                    .run()?;
                fs::write(&uuid_file, &uuid).context(|| "keeping the OSD's UUID".into())?;
                uuid
            }
        };
        // The keyring must be there before mkfs and named to it: without one, mkfs skips the `type`
        // file, and the OSD then refuses to start.
        Cmd::new(require("ceph-osd", "ceph-osd")?)
            .args(["--mkfs", "-i", "0", "--osd-uuid", &uuid, "-c"])
            .arg(ctx.dirs.ceph_conf())
            .arg("--keyring")
            .arg(ctx.dirs.keyring())
            .deadline(Duration::from_secs(60))
            .run()?;
        fs::write(data.join("done"), "").context(|| "marking the OSD's store as made".into())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        Spawn::new("ceph-osd")
            .args(["-f", "-i", "0", "-c"])
            .arg(ctx.dirs.ceph_conf().to_string_lossy())
    }

    /// A client that meets an OSD in the middle of its start hangs in the handshake until that times
    /// out, 10 s later (seen with rbd-mirror's first read).
    fn is_waited_for(&self) -> bool {
        true
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        asok_says(ctx, "osd", "status", |s| s["state"] == "active")
    }
}
