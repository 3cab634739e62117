//! The zone's rbd-mirror: it pulls the other zone's images into this one.

use super::{Service, SiteCtx, asok_says};
use crate::error::Result;
use crate::supervise::Spawn;

pub(super) struct RbdMirror;

/// Starts it again where it aborted, as `ceph-rbd-mirror@.service` does (`Restart=on-failure`): 16.2.15's fails an assertion
/// of its own (`AsyncOpTracker`) now and then when an image goes, and every copy would stand still. One that was killed, or
/// ended with an error, stays as it is: that was somebody's will.
const KEPT: &str = r#"
trap 'kill "$child"; wait "$child"; exit' TERM
while :; do
  rbd-mirror -f --id mirror & child=$!
  wait "$child"; code=$?
  [ "$code" -eq 134 ] || exit "$code"
  echo "rbd-mirror aborted: starting it again"
  sleep 0.5
done
"#;

impl Service for RbdMirror {
    fn name(&self) -> &'static str {
        "rbd-mirror"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[("rbd-mirror", "rbd-mirror")]
    }

    fn prepare(&self, _ctx: &SiteCtx) -> Result<()> {
        Ok(())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        // It opens its local cluster by name, and `-c` does not reach that second connection: without
        // CEPH_CONF it says "can't open ceph.conf" every 30 s for ever.
        Spawn::new("sh")
            .args(["-c", KEPT])
            .env("CEPH_CONF", ctx.dirs.ceph_conf().to_string_lossy())
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        // Never `rbd mirror status` itself: asked while the daemon is starting, it fails an assertion
        // there and takes the daemon down (seen with 16.2.15). `help` is safe and lists what works.
        asok_says(ctx, "rbd-mirror", "help", |h| {
            h.get("rbd mirror status").is_some()
        })
    }
}
