//! Pairing of the zones, and the proof that mirroring works.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::POOL;
use crate::error::{LabError, Result};
use crate::layout::write_whole;
use crate::run::until;
use crate::services::SiteCtx;

/// Pairs the zones both ways from one token. Does nothing when they are.
pub(crate) fn pair(a: &SiteCtx, b: &SiteCtx, scratch: &Path) -> Result<()> {
    if peers(a)? > 0 && peers(b)? > 0 {
        return Ok(());
    }
    let deadline = Duration::from_secs(60);
    let token = a
        .ceph_tool("rbd")
        .args([
            "mirror",
            "pool",
            "peer",
            "bootstrap",
            "create",
            "--site-name",
            a.site.name(),
            POOL,
        ])
        .deadline(deadline)
        .run()?
        .stdout;
    let file = scratch.join("token");
    write_whole(&file, &token)?;
    let imported = b
        .ceph_tool("rbd")
        .args([
            "mirror",
            "pool",
            "peer",
            "bootstrap",
            "import",
            "--site-name",
            b.site.name(),
        ])
        .args(["--direction", "rx-tx", POOL])
        .arg(&file)
        .deadline(deadline)
        .run();
    // The token is a key to the zone.
    let _ = std::fs::remove_file(&file);
    imported.map(drop)
}

fn peers(ctx: &SiteCtx) -> Result<usize> {
    let info = json(ctx, &["mirror", "pool", "info", POOL])?;
    Ok(info["peers"].as_array().map_or(0, Vec::len))
}

fn json(ctx: &SiteCtx, args: &[&str]) -> Result<Value> {
    let text = ctx
        .ceph_tool("rbd")
        .args(args)
        .args(["--format", "json"])
        .run()?
        .stdout;
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Makes a test image in `from`, waits until `to` replays it, removes it, and waits until it is gone
/// in `to` as well. Returns how long the image took to be replayed.
///
/// Only a new image proves anything: after a zone was killed, `mirror image status` of an old one goes
/// on showing the state from before.
pub(crate) fn probe(from: &SiteCtx, to: &SiteCtx, deadline: Duration) -> Result<Duration> {
    let name = format!("lab-probe-{}-{}", from.site, crate::state::new_uuid()?);
    let image = format!("{POOL}/{name}");
    let rbd = |ctx: &SiteCtx, args: &[&str]| ctx.ceph_tool("rbd").args(args).run();
    let begin = Instant::now();
    rbd(
        from,
        &[
            "create",
            "-s",
            "1M",
            "--image-feature",
            "exclusive-lock,journaling",
            &image,
        ],
    )?;
    let seen = rbd(from, &["mirror", "image", "enable", &image, "journal"]).and_then(|_| {
        let what = format!("a new image of {} to be replayed in {}", from.site, to.site);
        until(&what, deadline, |last| {
            let status = json(to, &["mirror", "image", "status", &image]);
            Ok(match status {
                Ok(s) if s["state"] == "up+replaying" => Some(begin.elapsed()),
                other => {
                    *last = other.map_or_else(|e| e.to_string(), |s| s["state"].to_string());
                    None
                }
            })
        })
    });
    // Removed whatever came of it, or it would be mirrored for ever.
    let removed = rbd(from, &["rm", "--no-progress", &image]);
    let took = seen?;
    removed?;
    until(
        &format!("{name} to be removed in {}", to.site),
        deadline,
        |last| match rbd(to, &["info", &image]) {
            Ok(_) => {
                *last = "it is still there".into();
                Ok(None)
            }
            Err(LabError::Command { stderr, .. }) if stderr.contains("No such file") => {
                Ok(Some(()))
            }
            Err(other) => {
                *last = other.to_string();
                Ok(None)
            }
        },
    )?;
    Ok(took)
}
