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
//! Whatever it is, come again: while an action is in flight on the volume, or no zone has its primary; while a `cinder failover-host` or
//! a plan moves it, from before its first step to its end; while its zone is frozen:
//!
//! | under way | who waits |
//! |---|---|
//! | `cinder failover-host` | everything |
//! | failover, move, failback, resume: before the volume is primary where the plan ends | everything |
//! | the same, and it is primary there | what ends it, and a retype: the plan starts its servers on it |
//! | reprotect | what ends the primary |
//! | a freeze | of a primary, all but to attach it: servers go on, and what has to be ordered of the sidecar is refused there |

use super::asked::Operation;
use rekindle_common::{
    ZoneName,
    deletion::{After, OnDelete},
    plan::{PlanAtWork, PlanKind},
    status::VolumeStatus,
    volume::{Known, Outlook, Role, UnderWay, VolumeReport},
};

/// When a request that races something may come again, in seconds.
const SOON: u64 = 5;
/// A freeze is a person's, and lasts.
const THAWED: u64 = 60;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is Cinder's.
    Pass,
    /// It is not, whatever comes.
    Refuse { name: &'static str, why: String },
    /// It is not now: in so many seconds it may be.
    Later {
        name: &'static str,
        why: String,
        after: u64,
    },
    /// The zone's cluster does not say.
    Unknown,
}

impl Verdict {
    fn moving(why: String) -> Self {
        Self::Later {
            name: "guard_moving",
            why,
            after: SOON,
        }
    }
}

/// By how the volume is, and what is about to be done to it.
pub(crate) fn judge(operation: Operation, outlook: &Outlook, peer: Option<&ZoneName>) -> Verdict {
    let report = &outlook.report;
    if let Some(action) = &report.in_flight
        && waits_for(operation, action)
    {
        return Verdict::moving(format!(
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
    let waits = outlook
        .under_way
        .iter()
        .find_map(|what| waits_until_over(operation, report, what));
    match (report.role, waits) {
        (Role::NotMirrored, _) => Verdict::Pass,
        // Orchestrators say beforehand what they build.
        (Role::Secondary, _) if is_for_a_stand_by(operation, outlook) => Verdict::Pass,
        (Role::Unknown | Role::Primary | Role::Secondary, Some(later)) => later,
        (Role::Unknown, None) => Verdict::Unknown,
        (Role::Primary, None) => primary(operation, report),
        (Role::Secondary, None) => secondary(operation, report, peer),
    }
}

fn is_for_a_stand_by(operation: Operation, outlook: &Outlook) -> bool {
    operation == Operation::Attach && outlook.under_way.contains(&UnderWay::StandBy)
}

/// What of that is under way the operation has to wait for.
fn waits_until_over(
    operation: Operation,
    report: &VolumeReport,
    what: &UnderWay,
) -> Option<Verdict> {
    match what {
        UnderWay::FailoverHost => Some(Verdict::moving(
            "a cinder failover-host is moving this volume's backend: try again when it has ended"
                .to_owned(),
        )),
        UnderWay::Plan(plan) => {
            let group = report.group.as_ref().map_or("", |group| group.as_str());
            let PlanAtWork { id, kind, to, .. } = plan;
            waits_for_plan(operation, report, plan).then(|| {
                Verdict::moving(format!(
                    "plan {id} ({kind}, {to} is primary at its end) is at work on the volume's protection group {group}: try again when it has ended"
                ))
            })
        }
        UnderWay::Frozen(freeze) => {
            let waits = report.role == Role::Primary && operation != Operation::Attach;
            waits.then(|| Verdict::Later {
                name: "guard_frozen",
                why: format!(
                    "{} is frozen ({}): its replicated volumes stay as they are until an operator thaws it",
                    report.zone, freeze.reason
                ),
                after: THAWED,
            })
        }
        // While etcd is away no plan goes on, but one that began before; then the volume's own state tells.
        UnderWay::PlanUnknown | UnderWay::StandBy => None,
    }
}

fn waits_for_plan(operation: Operation, report: &VolumeReport, plan: &PlanAtWork) -> bool {
    let is_primary = report.role == Role::Primary;
    let ends = ends_it(operation) || operation == Operation::Retype;
    match plan.kind {
        PlanKind::Failover | PlanKind::Move | PlanKind::Failback | PlanKind::Resume => {
            let has_come = is_primary && report.zone == plan.to;
            !has_come || ends
        }
        PlanKind::Reprotect => is_primary && ends,
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
        return Verdict::moving(format!(
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
        verdicts_while(&json!([]), change)
    }

    fn verdicts_while(
        under_way: &serde_json::Value,
        change: impl Fn(&mut serde_json::Value),
    ) -> Vec<(Operation, Verdict)> {
        let peer = ZoneName::new("zone-b").unwrap();
        let report = report("p/volume-1", |r| {
            r["size"] = json!(4_u64 << 30);
            change(r);
        });
        let outlook = Outlook {
            report,
            under_way: serde_json::from_value(under_way.clone()).unwrap(),
        };
        let judged = |o: &Operation| (*o, judge(*o, &outlook, Some(&peer)));
        ALL.iter().map(judged).collect()
    }

    fn plan(kind: &str, from: &str, to: &str) -> serde_json::Value {
        json!([{ "what": "plan", "id": "p-1", "kind": kind, "from": from, "to": to }])
    }

    fn later(verdicts: &[(Operation, Verdict)]) -> Vec<Operation> {
        let waits = verdicts.iter().filter(|(_, v)| {
            let said = matches!(v, Verdict::Later { why, name: "guard_moving", .. } if why.contains("p-1") && why.contains("group db"));
            said
        });
        waits.map(|(o, _)| *o).collect()
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
        let outlook = Outlook {
            report: report("p/volume-1", |r| r["size"] = json!((4_u64 << 30) - 1)),
            under_way: Vec::new(),
        };
        let extend = |gib| judge(Operation::Extend { gib }, &outlook, None);
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
                let later = matches!(verdict, Verdict::Later { .. });
                assert_eq!(later, !forgets(operation), "{status} {operation:?}");
            }
        }
        for action in ["promote", "demote", "resync", "describe"] {
            for (operation, verdict) in verdicts(|r| {
                primary(r);
                r["in_flight"] = json!(action);
                r["on_delete"] = json!("delete:0s");
            }) {
                let later = matches!(verdict, Verdict::Later { .. });
                let attach = operation == Operation::Attach && action == "describe";
                assert_eq!(later, !attach, "{action} {operation:?}");
            }
        }
        let updating = verdicts(|r| {
            r["status"] = json!("active - updating");
            r["peer_primary"] = json!("no");
        });
        assert!(
            updating
                .iter()
                .any(|(_, v)| matches!(v, Verdict::Later { .. }))
        );
    }

    #[test]
    fn hard_case_48_what_races_a_plan_that_has_begun_comes_again() {
        let group = |r: &mut serde_json::Value| {
            r["group"] = json!("db");
            r["on_delete"] = json!("delete:0s");
        };
        let serves = |r: &mut serde_json::Value| {
            primary(r);
            group(r);
        };
        for kind in ["failover", "move", "failback"] {
            // Before its first step, in the zone that is left: nothing begins that it would run into.
            let leaving = verdicts_while(&plan(kind, "zone-a", "zone-b"), serves);
            assert_eq!(later(&leaving), ALL, "{kind}");
            // And of the copy that is about to be primary.
            let coming = verdicts_while(&plan(kind, "zone-b", "zone-a"), group);
            assert_eq!(later(&coming), ALL, "{kind}");
            // It has come: servers start on it, and it stays.
            let come = verdicts_while(&plan(kind, "zone-b", "zone-a"), serves);
            let ends = [
                Operation::Delete,
                Operation::Unmanage,
                Operation::Migrate,
                Operation::Retype,
            ];
            assert_eq!(later(&come), ends, "{kind}");
            let rest = come.iter().filter(|(o, _)| !ends.contains(o));
            assert!(rest.into_iter().all(|(_, v)| *v == Verdict::Pass), "{kind}");
            // A cluster that does not answer is no reason to begin something either.
            let silent = verdicts_while(&plan(kind, "zone-a", "zone-b"), |r| {
                group(r);
                r["role"] = json!("unknown");
            });
            assert_eq!(later(&silent), ALL, "{kind}");
        }
        let resumed = verdicts_while(&plan("resume", "zone-a", "zone-a"), group);
        assert_eq!(later(&resumed), ALL);
        // A reprotect may take hours, and moves nothing.
        let copied = verdicts_while(&plan("reprotect", "zone-a", "zone-a"), serves);
        assert_eq!(later(&copied).len(), 4);
        let copy = verdicts_while(&plan("reprotect", "zone-b", "zone-b"), group);
        assert_eq!(later(&copy), []);
        // Where etcd does not say, it is as without a plan.
        let unknown = verdicts_while(&json!([{ "what": "plan_unknown" }]), serves);
        assert!(unknown.iter().all(|(_, v)| *v == Verdict::Pass));
        // What Rekindle does not replicate has no group.
        let plain = verdicts_while(&plan("move", "zone-a", "zone-b"), |r| {
            group(r);
            r["role"] = json!("not_mirrored");
        });
        assert!(plain.iter().all(|(_, v)| *v == Verdict::Pass));
    }

    #[test]
    fn hard_case_48_a_host_that_fails_over_and_a_frozen_zone_are_heard() {
        let moving = json!([{ "what": "failover_host" }]);
        for (operation, verdict) in verdicts_while(&moving, primary) {
            let Verdict::Later { name, why, after } = verdict else {
                panic!("{operation:?}: {verdict:?}");
            };
            assert_eq!((name, after), ("guard_moving", SOON));
            assert!(why.contains("failover-host"), "{why}");
        }
        let frozen = json!([{ "what": "frozen", "reason": "new switches", "since": "2026-11-26T10:00:00Z" }]);
        for (operation, verdict) in verdicts_while(&frozen, |r| {
            primary(r);
            r["on_delete"] = json!("delete:0s");
        }) {
            match verdict {
                Verdict::Later { name, why, after } => {
                    assert_eq!((name, after), ("guard_frozen", THAWED));
                    assert!(why.contains("zone-a is frozen (new switches)"), "{why}");
                    assert_ne!(operation, Operation::Attach);
                }
                Verdict::Pass => assert_eq!(operation, Operation::Attach, "servers go on"),
                Verdict::Refuse { .. } | Verdict::Unknown => panic!("{operation:?}: {verdict:?}"),
            }
        }
        // Of a copy it is said whose it is, as ever.
        let copy = verdicts_while(&frozen, |_| ());
        assert!(!copy.iter().any(|(_, v)| matches!(v, Verdict::Later { .. })));
    }

    #[test]
    fn a_stand_by_is_built_on_a_copy_that_is_meant_for_it() {
        let meant = json!([{ "what": "stand_by" }]);
        for (operation, verdict) in verdicts_while(&meant, |_| ()) {
            let passes = operation == Operation::Attach || forgets(operation);
            assert_eq!(verdict == Verdict::Pass, passes, "{operation:?}");
        }
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
