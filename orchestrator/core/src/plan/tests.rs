use super::*;
use crate::decision::{Decision, Request, decide, plan_for};
use crate::fixture::{World, group, plan_id, zone};

mod servers;

fn failover_plan() -> Plan {
    let mut w = World::healthy(2);
    w.kill_a(3600, 3600);
    match decide(&w.snapshot, &group(), plan_id()) {
        Some(Decision::Begin { plan }) => *plan,
        other => panic!("{other:?}"),
    }
}
fn move_plan() -> Plan {
    let w = World::healthy(2);
    plan_for(
        &w.snapshot,
        &group(),
        &Request::Move { to: zone("zone-b") },
        plan_id(),
    )
    .unwrap()
}

#[test]
fn a_plan_round_trips_through_json() {
    for plan in [failover_plan(), move_plan()] {
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

/// A sidecar takes of it what it needs.
#[test]
fn a_sidecar_reads_what_a_plan_is_for() {
    for plan in [failover_plan(), move_plan()] {
        let text = serde_json::to_string(&plan).unwrap();
        let read: rekindle_common::plan::PlanAtWork = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&read.id, read.kind, &read.from, &read.to),
            (&plan.id, plan.kind, &plan.from, &plan.to)
        );
        assert_ne!(read.from, read.to);
    }
}

#[test]
fn the_generation_grows_by_one_and_every_order_carries_it() {
    for plan in [failover_plan(), move_plan()] {
        let new = plan.made_for.next();
        for s in &plan.steps {
            match &s.step {
                Step::RecordPrimary {
                    generation,
                    replaces,
                    ..
                } => {
                    assert_eq!((*generation, *replaces), (new, plan.made_for));
                }
                Step::TakeLease { generation, .. } | Step::Promote { generation, .. } => {
                    assert_eq!(*generation, new);
                }
                Step::Demote { generation, .. } | Step::ReleaseLease { generation, .. } => {
                    assert_eq!(*generation, plan.made_for);
                }
                Step::Fence { .. }
                | Step::AwaitLeaseEnd { .. }
                | Step::StopApplication { .. }
                | Step::StartApplication { .. }
                | Step::AwaitDemotionReplayed { .. }
                | Step::MarkUnprotected { .. }
                | Step::Resync { .. }
                | Step::AwaitReplay { .. }
                | Step::MarkProtected
                | Step::RunHook { .. }
                | Step::Pause { .. }
                | Step::StopServers { .. }
                | Step::StartServers { .. }
                | Step::HoldServers { .. } => {}
            }
        }
    }
}

/// Nothing of a plan lets the other zone promote before the record names it, and the record only changes after the old
/// primary is out of the way.
#[test]
fn a_promotion_stands_behind_the_record_and_the_lease() {
    for plan in [failover_plan(), move_plan()] {
        let at = |name: &str| {
            plan.steps
                .iter()
                .position(|s| s.step.name() == name)
                .unwrap()
        };
        assert!(at("record_primary") < at("take_lease"));
        assert!(at("take_lease") < at("promote"));
    }
    let plan = move_plan();
    let at = |name: &str| {
        plan.steps
            .iter()
            .position(|s| s.step.name() == name)
            .unwrap()
    };
    assert!(at("demote") < at("await_demotion_replayed"));
    assert!(at("await_demotion_replayed") < at("release_lease"));
    assert!(at("release_lease") < at("record_primary"));
}

#[test]
fn a_move_puts_everything_back_until_its_promotion_and_nothing_after() {
    let plan = move_plan();
    let promote = plan
        .steps
        .iter()
        .position(|s| s.step.name() == "promote")
        .unwrap();
    for (n, s) in plan.steps.iter().enumerate() {
        assert_eq!(!s.unwind.is_empty(), n <= promote, "step {n}, {}", s.step);
        if n <= promote {
            let last = s.unwind.last().unwrap();
            assert!(
                matches!(last, Step::StartApplication { zone: z, .. } if *z == zone("zone-a")),
                "{last}"
            );
        }
    }
    // Once the record may have changed, the way back takes a generation of its own.
    let back = &plan.steps[promote].unwind;
    let to_third = Step::RecordPrimary {
        zone: zone("zone-a"),
        generation: plan.made_for.next().next(),
        replaces: plan.made_for.next(),
        lease: OldLease::Gone,
    };
    assert!(back.contains(&to_third), "{back:?}");
}

/// Who gives a lease back may not be the one who holds it. On the way back nothing was demoted by name: there it has to be gone.
#[test]
fn a_move_takes_what_is_left_of_the_lease_of_the_zone_that_it_demotes_and_of_no_other() {
    let plan = move_plan();
    assert!(plan.takes_what_is_left_of(&zone("zone-a"), plan.made_for));
    assert!(!plan.takes_what_is_left_of(&zone("zone-a"), plan.made_for.next()));
    assert!(!plan.takes_what_is_left_of(&zone("zone-b"), plan.made_for));
    assert!(!plan.takes_what_is_left_of(&zone("zone-b"), plan.made_for.next()));
    assert!(!failover_plan().takes_what_is_left_of(&zone("zone-a"), plan.made_for));
    let text = plan.to_string();
    let line = "and take what zone-a still holds of the lease of generation 1";
    assert!(text.contains(line), "{text}");
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn a_plan_reads_as_an_operator_would_want() {
    let text = failover_plan().to_string();
    for line in [
        "failover of group db: zone-a -> zone-b",
        "because zone-a is lost for 1h, say zone-b and witness",
        "record zone-b as primary, generation 2 after 1",
        "promote 2 volumes in zone-b (2 by force)",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
}
