//! Objects that a killed OSD does not find again.
//!
//! Seen with Ceph 16.2.15: after SIGKILL an object (the object map of a snapshot) had a wrong checksum, or the log of a placement
//! group named one that was in the store no more; some show at the start, others when they are first read. The configuration
//! takes away the cause that is known (deferred writes). With one copy there is nowhere to recover it from, and whoever asks for it
//! waits for ever. An operator gives it up then, and so does the lab: with a warning, so that a test that misses data afterwards
//! knows why.

use std::time::Duration;

use serde_json::Value;

use crate::error::{LabError, Result};
use crate::run::until;
use crate::services::SiteCtx;

/// The manager says what became of each group within a second or two of the OSD's start.
const SETTLED: Duration = Duration::from_secs(30);

/// A placement group as the manager tells of it.
#[derive(Debug, PartialEq)]
struct Group {
    state: String,
    /// The map by which its OSD spoke last.
    reported: u64,
}

/// Waits until all placement groups have recovered or found that they cannot, and gives up what is not to be found. Where they do
/// not get so far in time that is for others to find out: a zone may have been broken on purpose.
pub(crate) fn give_up_lost(ctx: &SiteCtx) -> Result<()> {
    let what = format!("the placement groups of {} to have recovered", ctx.site);
    let settled = until(&what, SETTLED, |last| match look(ctx) {
        Ok((groups, up_from)) => {
            let lost = settled_with_loss(&groups, up_from);
            *last = format!("the OSD is up from {up_from:?}, {groups:?}");
            Ok(lost)
        }
        Err(error @ (LabError::Command { .. } | LabError::CommandTimeout { .. })) => {
            *last = error.to_string();
            Ok(None)
        }
        Err(error) => Err(error),
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

fn look(ctx: &SiteCtx) -> Result<(Vec<Group>, Option<u64>)> {
    let up_from = up_from(&json(ctx, &["osd", "dump"])?);
    Ok((groups(&json(ctx, &["pg", "ls"])?), up_from))
}

/// Whether something is lost; `None`: that is not known yet. A group that recovers is active before it knows what it misses
/// (`active+recovering+degraded`), so active is not enough; and what was told before the OSD's present life (`up_from`) says nothing of
/// it, clean as it may be.
fn settled_with_loss(groups: &[Group], up_from: Option<u64>) -> Option<bool> {
    let up_from = up_from?;
    let lost = |g: &Group| g.state.contains("unfound");
    let over = |g: &Group| {
        g.reported >= up_from
            && !g.state.contains("stale")
            && g.state.contains("active")
            && (g.state.contains("clean") || lost(g))
    };
    (!groups.is_empty() && groups.iter().all(over)).then(|| groups.iter().any(lost))
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

/// The placement groups of `pg ls`; none where the answer has none.
fn groups(answer: &Value) -> Vec<Group> {
    answer["pg_stats"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|g| Group {
            state: g["state"].as_str().unwrap_or_default().to_owned(),
            reported: number(&g["reported_epoch"]).unwrap_or(0),
        })
        .collect()
}

/// The map by which the zone's one OSD came up, of `osd dump`.
fn up_from(answer: &Value) -> Option<u64> {
    number(&answer["osds"][0]["up_from"])
}

/// Releases differ in whether an epoch is a number or a text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn group(state: &str, reported: u64) -> Group {
        Group {
            state: state.to_owned(),
            reported,
        }
    }

    #[test]
    fn epochs_are_found_as_numbers_and_as_texts() {
        let answer = json!({ "pg_ready": true, "pg_stats": [
            { "pgid": "1.0", "state": "active+clean", "reported_epoch": 87 },
            { "pgid": "2.0", "state": "active+recovery_unfound+degraded", "reported_epoch": "88" },
            { "pgid": "2.1" },
        ] });
        let expected = [
            group("active+clean", 87),
            group("active+recovery_unfound+degraded", 88),
            group("", 0),
        ];
        assert_eq!(groups(&answer), expected);
        assert!(groups(&Value::Null).is_empty());
        assert_eq!(
            up_from(&json!({ "osds": [{ "osd": 0, "up_from": 85 }] })),
            Some(85)
        );
        assert_eq!(up_from(&Value::Null), None);
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
            let groups: Vec<Group> = states.iter().map(|s| group(s, 9)).collect();
            assert_eq!(settled_with_loss(&groups, Some(9)), known, "{states:?}");
        }
    }

    #[test]
    fn what_was_told_before_the_osds_present_life_says_nothing() {
        let clean = |reported| group("active+clean", reported);
        assert_eq!(settled_with_loss(&[clean(9), clean(8)], Some(9)), None);
        assert_eq!(
            settled_with_loss(&[clean(9), clean(10)], Some(9)),
            Some(false)
        );
        assert_eq!(settled_with_loss(&[clean(9)], None), None);
    }
}
