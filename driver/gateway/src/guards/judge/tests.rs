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
        let Verdict::Copy(refusal) = verdict else {
            panic!("{operation:?}: {verdict:?}");
        };
        let Verdict::Refuse { name, why } = *refusal else {
            panic!("{operation:?}: {refusal:?}");
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
        assert!(matches!(extend(other), Verdict::Copy(_)), "{other:?}");
    }
}

#[test]
fn hard_case_35_a_primary_is_not_extended_to_less_than_its_image_has() {
    let outlook = |size: serde_json::Value| Outlook {
        report: report("p/volume-1", |r| {
            primary(r);
            r["size"] = size;
        }),
        under_way: Vec::new(),
    };
    let extend = |size, gib| judge(Operation::Extend { gib }, &outlook(size), None);
    let four = json!(4_u64 << 30);
    for gib in [Some(4), Some(5), None] {
        assert_eq!(extend(four.clone(), gib), Verdict::Pass, "{gib:?}");
    }
    assert_eq!(extend(json!(null), Some(3)), Verdict::Pass);
    let refused = extend(four, Some(3));
    let Verdict::Refuse { name, why } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(name, "guard_size");
    assert!(why.contains("Ask for 4 GiB or more"), "{why}");
}

#[test]
fn hard_case_48_what_races_a_failover_comes_again() {
    for status in [
        "pending - promotion",
        "pending - demotion",
        "pending - resync",
    ] {
        for (operation, verdict) in verdicts(|r| r["status"] = json!(status)) {
            let verdict = match verdict {
                Verdict::Copy(refusal) => {
                    assert_eq!(status, "pending - resync");
                    *refusal
                }
                Verdict::Pass
                | Verdict::Refuse { .. }
                | Verdict::Later { .. }
                | Verdict::Unknown => verdict,
            };
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
    let frozen =
        json!([{ "what": "frozen", "reason": "new switches", "since": "2026-11-26T10:00:00Z" }]);
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
            Verdict::Refuse { .. } | Verdict::Copy(_) | Verdict::Unknown => {
                panic!("{operation:?}: {verdict:?}")
            }
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

/// An action on a group's replication moves what a plan counts on, at whatever step that is.
#[test]
fn hard_case_48_a_groups_replication_waits_for_all_that_moves_it() {
    let serves = |r: &mut serde_json::Value| {
        primary(r);
        r["group"] = json!("db");
    };
    let copy = |r: &mut serde_json::Value| r["group"] = json!("db");
    let judged = |what, under_way: &serde_json::Value, of: &dyn Fn(&mut serde_json::Value)| {
        let outlook = Outlook {
            report: report("p/volume-1", of),
            under_way: serde_json::from_value(under_way.clone()).unwrap(),
        };
        judge(Operation::Replication(what), &outlook, None)
    };
    let frozen =
        json!([{ "what": "frozen", "reason": "new switches", "since": "2026-11-26T10:00:00Z" }]);
    for what in [OnGroup::FailOver, OnGroup::Enable, OnGroup::Disable] {
        for under_way in [
            plan("move", "zone-a", "zone-b"),
            plan("failover", "zone-b", "zone-a"),
            plan("resume", "zone-a", "zone-a"),
            plan("reprotect", "zone-a", "zone-a"),
            json!([{ "what": "failover_host" }]),
            frozen.clone(),
        ] {
            for of in [&serves as &dyn Fn(&mut serde_json::Value), &copy] {
                let verdict = judged(what, &under_way, of);
                let later = matches!(verdict, Verdict::Later { .. });
                assert!(later, "{what:?} {under_way}: {verdict:?}");
            }
        }
        let action = judged(what, &json!([]), &|r| {
            serves(r);
            r["in_flight"] = json!("describe");
        });
        assert!(matches!(action, Verdict::Later { .. }), "{what:?}");
        // Else the driver says what may be: a group comes home from here, and one without a primary is healed so.
        for status in ["active - secondary", "pending - promotion"] {
            let verdict = judged(what, &json!([]), &|r| r["status"] = json!(status));
            assert_eq!(verdict, Verdict::Pass, "{what:?} {status}");
        }
        assert_eq!(judged(what, &json!([]), &serves), Verdict::Pass);
    }
}
