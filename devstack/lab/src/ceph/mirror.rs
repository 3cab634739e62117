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
    let text = rbd(ctx, &["mirror", "pool", "info", POOL, "--format", "json"])?;
    let info: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(info["peers"].as_array().map_or(0, Vec::len))
}

/// Makes a test image in `from`, waits until `to` has it and replays a change of it, removes it, and
/// waits until it is gone in `to` as well. Returns how long the first two took.
///
/// `mirror image status` is no proof. After a zone was killed it goes on showing the state from before;
/// and rbd-mirror writes `up+replaying` down only with its next round of all images, every 30 s
/// (`UPDATE_INTERVAL_SECONDS` in its source, no option), though the image is replayed long before.
/// A change that arrives proves it at once.
pub(crate) fn probe(from: &SiteCtx, to: &SiteCtx, deadline: Duration) -> Result<Duration> {
    let token = crate::state::new_uuid()?;
    let name = format!("lab-probe-{}-{token}", from.site);
    let image = format!("{POOL}/{name}");
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
    let replayed = is_replayed(from, to, &image, &token, deadline);
    // Removed whatever came of it, or it would be mirrored for ever.
    let removed = rbd(from, &["rm", "--no-progress", &image]);
    replayed?;
    let took = begin.elapsed();
    removed?;
    wait(
        &format!("{name} to be removed in {}", to.site),
        deadline,
        || match rbd(to, &["info", &image]) {
            Ok(_) => Ok(Err("it is still there".into())),
            Err(LabError::Command { stderr, .. }) if stderr.contains("No such file") => Ok(Ok(())),
            Err(error) => Err(error),
        },
    )?;
    Ok(took)
}

fn is_replayed(
    from: &SiteCtx,
    to: &SiteCtx,
    image: &str,
    token: &str,
    deadline: Duration,
) -> Result<()> {
    const KEY: &str = "lab-probe";
    rbd(from, &["mirror", "image", "enable", image, "journal"])?;
    wait(
        &format!("a new image of {} to appear in {}", from.site, to.site),
        deadline,
        || rbd(to, &["info", image]).map(|_| Ok(())),
    )?;
    rbd(from, &["image-meta", "set", image, KEY, token])?;
    wait(
        &format!("a change in {} to be replayed in {}", from.site, to.site),
        deadline,
        || {
            let seen = rbd(to, &["image-meta", "get", image, KEY])?;
            Ok(if seen.trim() == token {
                Ok(())
            } else {
                Err(format!("it reads {seen:?}"))
            })
        },
    )
}

fn rbd(ctx: &SiteCtx, args: &[&str]) -> Result<String> {
    Ok(ctx.ceph_tool("rbd").args(args).run()?.stdout)
}

/// Waits for an inner `Ok`. A command that fails or hangs means "not yet" here.
fn wait(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<std::result::Result<(), String>>,
) -> Result<()> {
    until(what, deadline, |last| match probe() {
        Ok(Ok(())) => Ok(Some(())),
        Ok(Err(why)) => {
            *last = why;
            Ok(None)
        }
        Err(error) if error.is_retryable() => {
            *last = error.to_string();
            Ok(None)
        }
        Err(error) => Err(error),
    })
}
