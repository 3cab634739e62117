//! The zone's one manager daemon: statistics and the `rbd_support` module.

use super::{Service, SiteCtx, asok_says};
use crate::error::Result;
use crate::supervise::Spawn;

pub(super) struct Mgr;

impl Service for Mgr {
    fn name(&self) -> &'static str {
        "mgr"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[("ceph-mgr", "ceph-mgr")]
    }

    fn prepare(&self, _ctx: &SiteCtx) -> Result<()> {
        Ok(())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        Spawn::new("ceph-mgr")
            .args(["-f", "-i", "x", "-c"])
            .arg(ctx.dirs.ceph_conf().to_string_lossy())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        asok_says(ctx, "mgr", "version", |v| v["version"].is_string())
    }
}
