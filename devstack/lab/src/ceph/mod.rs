//! What a zone's Ceph needs besides its daemons: configuration, keys, the pool, and the pairing.

mod conf;
mod keys;
mod lost;
mod mirror;

pub(crate) use conf::write_conf;
pub(crate) use keys::write_keyrings;
pub(crate) use lost::give_up_lost;
pub(crate) use mirror::{pair, probe};

use std::time::Duration;

use crate::error::{LabError, Result};
use crate::run::until;
use crate::services::SiteCtx;

/// The pool of all volumes, of the same name in both zones.
pub(crate) const POOL: &str = "volumes";

/// The Ceph user of Cinder, without `client.`.
pub(crate) const CINDER_ID: &str = "cinder";

/// Makes the pool with mirroring image by image, if it is not there.
pub(crate) fn make_pool(ctx: &SiteCtx) -> Result<()> {
    let ceph = |args: &[&str]| ctx.ceph_tool("ceph").args(args).run();
    let pools = ceph(&["osd", "pool", "ls"])?.stdout;
    if !pools.lines().any(|l| l.trim() == POOL) {
        ceph(&["osd", "pool", "create", POOL, "8"])?;
    }
    ceph(&["osd", "pool", "application", "enable", POOL, "rbd"])?;
    // The first write waits until the placement groups are there.
    until(
        &format!("the pool of {} to take writes", ctx.site),
        Duration::from_secs(60),
        |last| {
            let enabled = ctx
                .ceph_tool("rbd")
                .args([
                    "mirror",
                    "pool",
                    "enable",
                    POOL,
                    "image",
                    "--site-name",
                    ctx.site.name(),
                ])
                .run();
            match enabled {
                Ok(_) => Ok(Some(())),
                Err(error @ (LabError::Command { .. } | LabError::CommandTimeout { .. })) => {
                    *last = error.to_string();
                    Ok(None)
                }
                Err(other) => Err(other),
            }
        },
    )
}
