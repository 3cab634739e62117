//! What of Cinder's operations a volume's state allows. Pure.
//!
//! | | a primary | a copy |
//! |---|---|---|
//! | delete, by force too | by its policy: `refuse` refuses, the driver carries out all others | goes on: it is the record alone |
//! | unmanage | by its policy | goes on: no image is touched |
//! | migrate, retype with a migration | by its policy | refused |
//! | extend | goes on | refused, but for the record that follows to the size that the image has |
//! | attach, overwrite, snapshot, back up, clone, retype, transfer | go on | refused |
//!
//! Whatever it is: while an action is in flight on the volume, or no zone has its primary, come again.

use super::asked::Operation;
use rekindle_common::{
    ZoneName,
    deletion::{After, OnDelete},
    status::VolumeStatus,
    volume::{Known, Role, VolumeReport},
};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is Cinder's.
    Pass,
    /// It is not, whatever comes.
    Refuse { name: &'static str, why: String },
    /// It is not now.
    Later(String),
    /// The zone's cluster does not say.
    Unknown,
}

/// By a report of the volume.
pub(crate) fn judge(
    operation: Operation,
    report: &VolumeReport,
    peer: Option<&ZoneName>,
) -> Verdict {
    if let Some(action) = &report.in_flight
        && waits_for(operation, action)
    {
        return Verdict::Later(format!(
            "{action} is in flight on this volume: try again when it has ended"
        ));
    }
    if let Some(mark) = &report.deletion
        && matches!(mark.then, After::Delete { .. })
        && !forgets(operation)
    {
        return Verdict::Refuse {
            name: "guard_deleted",
            why: format!("it was {}", mark.in_words()),
        };
    }
    match report.role {
        Role::NotMirrored => Verdict::Pass,
        Role::Unknown => Verdict::Unknown,
        Role::Primary => primary(operation, report),
        Role::Secondary => secondary(operation, report, peer),
    }
}

/// A server may have a volume while its policy is changed, and not while its zone is.
fn waits_for(operation: Operation, action: &str) -> bool {
    match operation {
        Operation::Attach => ["promote", "demote", "resync"].contains(&action),
        Operation::Delete
        | Operation::Unmanage
        | Operation::Migrate
        | Operation::Retype
        | Operation::Extend { .. }
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer => true,
    }
}

/// What ends Cinder's record of it. The other way round: what makes sense on a volume that is about to go.
fn forgets(operation: Operation) -> bool {
    match operation {
        Operation::Delete | Operation::Unmanage => true,
        Operation::Migrate
        | Operation::Retype
        | Operation::Extend { .. }
        | Operation::Attach
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer => false,
    }
}

/// What takes a primary out of this zone's Cinder, or its image away.
pub(crate) fn ends_it(operation: Operation) -> bool {
    match operation {
        Operation::Delete | Operation::Unmanage | Operation::Migrate => true,
        Operation::Retype
        | Operation::Extend { .. }
        | Operation::Attach
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer => false,
    }
}

fn primary(operation: Operation, report: &VolumeReport) -> Verdict {
    if !ends_it(operation) {
        return Verdict::Pass;
    }
    if report.status == VolumeStatus::ErrorSplitBrain {
        return Verdict::Refuse {
            name: "guard_split",
            why: "the volume is primary in both zones: an operator has to name the side to keep first"
                .to_owned(),
        };
    }
    // A primary always has a policy; one that is not told refuses.
    match report.on_delete.unwrap_or(OnDelete::Refuse) {
        OnDelete::Keep | OnDelete::Delete { .. } => Verdict::Pass,
        OnDelete::Refuse => Verdict::Refuse {
            name: "guard_policy",
            why: match &report.group {
                Some(group) => format!(
                    "the volume is the primary of a replicated pair, and the policy of its protection group {group} (on_delete = refuse) forbids that it is {}: \
                     take it out of the group first, or let an operator change that policy",
                    operation.done()
                ),
                None => format!(
                    "the volume is the primary of a replicated pair, and its policy (on_delete = refuse) forbids that it is {}: take replication off first",
                    operation.done()
                ),
            },
        },
    }
}

fn secondary(operation: Operation, report: &VolumeReport, peer: Option<&ZoneName>) -> Verdict {
    match operation {
        // Its record alone is what Cinder's driver takes away then.
        Operation::Delete | Operation::Unmanage => return Verdict::Pass,
        Operation::Extend { gib: Some(gib) } if size_in_gib(report) == Some(gib) => {
            return Verdict::Pass;
        }
        Operation::Extend { .. }
        | Operation::Migrate
        | Operation::Retype
        | Operation::Attach
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer => {}
    }
    let zone = &report.zone;
    if let Some(what) = moving(report) {
        return Verdict::Later(format!(
            "the volume is a copy in {zone} ({}): {what}: try again when that has ended",
            report.status
        ));
    }
    let peer = peer.map_or_else(|| "the other zone".to_owned(), ToString::to_string);
    let there = match report.peer_primary {
        Known::Yes => format!("its primary is in {peer}: ask there"),
        Known::No => format!("{peer} has no primary of it either: an operator has to promote one"),
        Known::Unknown => format!("its primary is in {peer}, or was when that was last seen"),
    };
    Verdict::Refuse {
        name: "guard_copy",
        why: format!(
            "the volume is a copy in {zone} ({}), which cannot be {}: {there}",
            report.status,
            operation.done()
        ),
    }
}

/// What passes by itself, or with the plan that is at work.
fn moving(report: &VolumeReport) -> Option<&'static str> {
    match report.status {
        VolumeStatus::PendingPromotion => Some("no zone is primary now"),
        VolumeStatus::PendingDemotion => Some("its primary was demoted, and that is on its way"),
        VolumeStatus::PendingResync => Some("it is being made anew"),
        VolumeStatus::ActiveUpdating if report.peer_primary == Known::No => {
            Some("it takes over what its old primary wrote last")
        }
        VolumeStatus::ActivePrimary
        | VolumeStatus::ActiveSecondary
        | VolumeStatus::ActiveUpdating
        | VolumeStatus::PendingFirstSync
        | VolumeStatus::ErrorSplitBrain
        | VolumeStatus::ErrorNotMirrored
        | VolumeStatus::ErrorMirrorDown
        | VolumeStatus::ErrorMirroring
        | VolumeStatus::ErrorOrphan
        | VolumeStatus::ErrorUnknown => None,
    }
}

/// As Cinder counts.
fn size_in_gib(report: &VolumeReport) -> Option<u64> {
    report.size.map(|bytes| bytes.div_ceil(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::report;
    use serde_json::json;

    const ALL: [Operation; 11] = [
        Operation::Delete,
        Operation::Unmanage,
        Operation::Migrate,
        Operation::Retype,
        Operation::Extend { gib: Some(9) },
        Operation::Attach,
        Operation::Overwrite,
        Operation::Snapshot,
        Operation::BackUp,
        Operation::Clone,
        Operation::Transfer,
    ];

    fn verdicts(change: impl Fn(&mut serde_json::Value)) -> Vec<(Operation, Verdict)> {
        let peer = ZoneName::new("zone-b").unwrap();
        let report = report("p/volume-1", |r| {
            r["size"] = json!(4_u64 << 30);
            change(r);
        });
        let judged = |o: &Operation| (*o, judge(*o, &report, Some(&peer)));
        ALL.iter().map(judged).collect()
    }

    fn primary(r: &mut serde_json::Value) {
        r["role"] = json!("primary");
        r["status"] = json!("active - primary");
        r["peer_primary"] = json!("no");
    }

    #[test]
    fn hard_case_32_a_primary_ends_as_its_policy_says() {
        for (policy, passes) in [
            (json!(null), false),
            (json!("refuse"), false),
            (json!("keep"), true),
            (json!("delete:0s"), true),
            (json!("delete:7d"), true),
        ] {
            let all = verdicts(|r| {
                primary(r);
                r["on_delete"] = policy.clone();
                r["group"] = json!("db");
            });
            for (operation, verdict) in all {
                let ends = ends_it(operation);
                assert_eq!(
                    verdict == Verdict::Pass,
                    passes || !ends,
                    "{policy} {operation:?}"
                );
                if let Verdict::Refuse { why, .. } = verdict {
                    assert!(
                        why.contains("group db") && why.contains(operation.done()),
                        "{why}"
                    );
                }
            }
        }
        let split = verdicts(|r| {
            primary(r);
            r["status"] = json!("error - split brain");
            r["on_delete"] = json!("delete:0s");
        });
        assert!(matches!(
            &split[0].1,
            Verdict::Refuse {
                name: "guard_split",
                ..
            }
        ));
    }

    #[test]
    fn hard_case_48_a_copy_is_nobodys_to_write() {
        for (operation, verdict) in verdicts(|_| ()) {
            if forgets(operation) {
                assert_eq!(verdict, Verdict::Pass);
                continue;
            }
            let Verdict::Refuse { name, why } = verdict else {
                panic!("{operation:?}: {verdict:?}");
            };
            assert_eq!(name, "guard_copy");
            assert!(why.contains("primary is in zone-b"), "{why}");
            assert!(why.contains(operation.done()), "{why}");
        }
        // The record of a copy follows its image.
        let report = report("p/volume-1", |r| r["size"] = json!((4_u64 << 30) - 1));
        let extend = |gib| judge(Operation::Extend { gib }, &report, None);
        assert_eq!(extend(Some(4)), Verdict::Pass);
        for other in [Some(3), Some(5), None] {
            assert!(matches!(extend(other), Verdict::Refuse { .. }), "{other:?}");
        }
    }

    #[test]
    fn hard_case_48_what_races_a_failover_comes_again() {
        for status in [
            "pending - promotion",
            "pending - demotion",
            "pending - resync",
        ] {
            for (operation, verdict) in verdicts(|r| r["status"] = json!(status)) {
                let later = matches!(verdict, Verdict::Later(_));
                assert_eq!(later, !forgets(operation), "{status} {operation:?}");
            }
        }
        for action in ["promote", "demote", "resync", "describe"] {
            for (operation, verdict) in verdicts(|r| {
                primary(r);
                r["in_flight"] = json!(action);
                r["on_delete"] = json!("delete:0s");
            }) {
                let later = matches!(verdict, Verdict::Later(_));
                let attach = operation == Operation::Attach && action == "describe";
                assert_eq!(later, !attach, "{action} {operation:?}");
            }
        }
        let updating = verdicts(|r| {
            r["status"] = json!("active - updating");
            r["peer_primary"] = json!("no");
        });
        assert!(updating.iter().any(|(_, v)| matches!(v, Verdict::Later(_))));
    }

    #[test]
    fn what_is_not_replicated_is_cinders_and_what_is_unknown_is_unknown() {
        let plain = verdicts(|r| r["role"] = json!("not_mirrored"));
        assert!(plain.iter().all(|(_, v)| *v == Verdict::Pass));
        let silent = verdicts(|r| r["role"] = json!("unknown"));
        assert!(silent.iter().all(|(_, v)| *v == Verdict::Unknown));
        let marked = verdicts(|r| {
            primary(r);
            r["on_delete"] = json!("delete:7d");
            r["deletion"] = json!({ "image": "p/volume-1", "at": "2026-11-26T10:00:00Z", "then": "delete", "after": "7d" });
        });
        for (operation, verdict) in marked {
            let refused = matches!(
                verdict,
                Verdict::Refuse {
                    name: "guard_deleted",
                    ..
                }
            );
            assert_eq!(refused, !forgets(operation), "{operation:?}");
        }
    }
}
