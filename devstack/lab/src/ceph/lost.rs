//! Objects that a killed OSD does not find again.
//!
//! Seen with Ceph 16.2.15: after SIGKILL the log of a placement group named an object (the object map of a snapshot) that was
//! in the store no more. With one copy there is nowhere to recover it from, and whoever asks for it waits for ever. An
//! operator gives it up then, and so does the lab: with a warning, so that a test that misses data afterwards knows why.

use std::time::Duration;

use serde_json::Value;

use crate::error::{LabError, Result};
use crate::run::until;
use crate::services::SiteCtx;

/// The manager says what became of each group within a second or two of the OSD's start.
const SETTLED: Duration = Duration::from_secs(30);

/// Waits until all placement groups have recovered or found that they cannot, and gives up what is not to be found. Where they do
/// not get so far in time that is for others to find out: a zone may have been broken on purpose.
pub(crate) fn give_up_lost(ctx: &SiteCtx) -> Result<()> {
    let what = format!("the placement groups of {} to have recovered", ctx.site);
    let settled = until(&what, SETTLED, |last| {
        let states = match json(ctx, &["pg", "stat"]) {
            Ok(stat) => states(&stat),
            Err(error @ (LabError::Command { .. } | LabError::CommandTimeout { .. })) => {
                *last = error.to_string();
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if let Some(lost) = settled_with_loss(&states) {
            return Ok(Some(lost));
        }
        *last = states.join(", ");
        Ok(None)
    });
    match settled {
        Ok(false) => Ok(()),
        Ok(true) => give_up(ctx),
        Err(error) => {
            tracing::warn!(zone = %ctx.site, %error, "going on all the same");
            Ok(())
        }
    }
}

/// Whether something is lost; `None`: that is not known yet. A group that recovers is active before it knows what it misses
/// (`active+recovering+degraded`), so active is not enough.
fn settled_with_loss(states: &[String]) -> Option<bool> {
    let lost = |s: &String| s.contains("unfound");
    let over = |s: &String| {
        !s.contains("stale") && s.contains("active") && (s.contains("clean") || lost(s))
    };
    (!states.is_empty() && states.iter().all(over)).then(|| states.iter().any(lost))
}

fn give_up(ctx: &SiteCtx) -> Result<()> {
    let ill = json(ctx, &["pg", "ls", "recovery_unfound"])?;
    for pg in ill["pg_stats"].as_array().into_iter().flatten() {
        let Some(id) = pg["pgid"].as_str() else {
            continue;
        };
        let lost = json(ctx, &["pg", id, "list_unfound"])?;
        let names: Vec<&str> = lost["objects"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|o| o["oid"]["oid"].as_str())
            .collect();
        tracing::warn!(zone = %ctx.site, pg = id, objects = ?names, "Ceph lost these when it was killed: they are given up");
        ctx.ceph_tool("ceph")
            .args(["pg", id, "mark_unfound_lost", "delete"])
            .run()?;
    }
    Ok(())
}

fn json(ctx: &SiteCtx, args: &[&str]) -> Result<Value> {
    let text = ctx
        .ceph_tool("ceph")
        .args(args)
        .args(["--format", "json"])
        .run()?
        .stdout;
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// The states that placement groups are in; none where the answer has none.
fn states(stat: &Value) -> Vec<String> {
    // The summary stands one level deeper in newer releases.
    let summary = stat.get("pg_summary").unwrap_or(stat);
    summary["num_pg_by_state"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_states_are_found_in_both_shapes_of_the_answer() {
        let by_state = json!([{ "name": "active+clean", "num": 8 }, { "name": "active+recovery_unfound+degraded", "num": 1 }]);
        let flat = json!({ "num_pg_by_state": by_state });
        let nested = json!({ "pg_ready": true, "pg_summary": flat });
        for stat in [flat, nested] {
            assert_eq!(
                states(&stat),
                ["active+clean", "active+recovery_unfound+degraded"]
            );
        }
        assert!(states(&Value::Null).is_empty());
    }

    #[test]
    fn what_is_lost_is_known_when_nothing_recovers_any_more() {
        for (states, known) in [
            (&["active+clean"][..], Some(false)),
            (&["active+clean", "active+clean+scrubbing"], Some(false)),
            (&["active+clean", "active+recovering+degraded"], None),
            (&["active+recovery_wait+degraded"], None),
            (
                &["active+clean", "active+recovery_unfound+degraded"],
                Some(true),
            ),
            (
                &[
                    "active+recovering+degraded",
                    "active+recovery_unfound+degraded",
                ],
                None,
            ),
            (&["unknown"], None),
            (&["activating", "active+clean"], None),
            (&["stale+active+clean"], None),
            (&[], None),
        ] {
            let states: Vec<String> = states.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(settled_with_loss(&states), known, "{states:?}");
        }
    }
}
