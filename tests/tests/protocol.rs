//! The rule that two zones never both write, on the shipped decision, keeper, plans and saga.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests, outside a #[test] function: a panic is a failed assertion, the figures are the result"
)]

use rekindle_tests::protocol::{Fault, Guards, World, explore};

const HORIZON: u64 = 20;

/// How many faults at once. `make explore` takes one more, in a release build.
fn budget() -> u32 {
    std::env::var("REKINDLE_EXPLORE_BUDGET")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3)
}

fn holds(start: &World, faults: &[Fault], horizon: u64, budget: u32) {
    let found = explore(start, Guards::ALL, faults, horizon, budget);
    println!(
        "{} states, zone B writable in {}",
        found.states, found.taken_over
    );
    assert_eq!(found.violation, None);
    assert!(found.taken_over > 100, "nobody ever takes over: {found:?}");
}

fn violated_without(start: &World, guards: Guards, faults: &[Fault], budget: u32) {
    let found = explore(start, guards, faults, HORIZON, budget);
    let trace = found.violation.unwrap_or_else(|| {
        panic!(
            "{guards:?}: not found in {} states, {} with zone B writable",
            found.states, found.taken_over
        )
    });
    println!("{}", trace.join("\n"));
}

#[test]
fn no_reachable_state_has_two_writers() {
    holds(&World::well(), &Fault::ALL, HORIZON, budget());
}

/// With a fence agent a lease may be taken from a zone whose Ceph is dead and whose sidecar lives.
#[test]
fn hard_case_60_a_zone_that_lost_its_ceph_alone_is_taken_over_and_never_writes_beside_the_other() {
    // Those that touch the plan between its proof and its record; the others are in the search above.
    let faults = [
        Fault::Storage,
        Fault::CutOff,
        Fault::CutLine,
        Fault::Etcd,
        Fault::Sidecar,
        Fault::Pause,
    ];
    holds(&World::well_with_an_agent(), &faults, HORIZON, budget());
    // And that is what happens, at the loss of its Ceph alone.
    let alone = explore(
        &World::well_with_an_agent(),
        Guards::ALL,
        &[Fault::Storage],
        HORIZON,
        1,
    );
    assert_eq!(alone.violation, None);
    assert!(alone.taken_over > 10, "{alone:?}");
    // Without an agent a person would be asked.
    let asked = explore(&World::well(), Guards::ALL, &[Fault::Storage], HORIZON, 1);
    assert_eq!((asked.violation, asked.taken_over), (None, 0));
}

/// A person vouched for a zone that was ill, nothing began on that word, the zone was well again, and its sidecar alone dies: the word is about that
/// outage. What takes it away is not modelled: its age alone is enough.
#[test]
fn hard_case_31_a_word_of_an_outage_that_passed_makes_no_two_writers() {
    let faults = [Fault::CutOff, Fault::Power, Fault::Pause];
    let start = World::with_an_old_word(Guards::ALL);
    let found = explore(&start, Guards::ALL, &faults, HORIZON, 2);
    assert_eq!(found.violation, None);
    assert!(found.states > 1000, "{found:?}");
    let guards = Guards {
        words_have_an_age: false,
        ..Guards::ALL
    };
    violated_without(&World::with_an_old_word(guards), guards, &faults, 0);
    // And given in any trouble, where whoever gave it lifts the fence as soon as anybody may.
    let faults = [Fault::Word, Fault::Storage, Fault::CutOff, Fault::Sidecar];
    holds(&World::well(), &faults, HORIZON, budget());
}

/// Orders reach one of zone A's sidecars, and the lease is the other's: it goes with the record of a move, of which that one hears later.
#[test]
fn hard_case_05_a_move_away_from_a_second_sidecar_s_lease_makes_no_two_writers() {
    let faults = [
        Fault::Move,
        Fault::CutOff,
        Fault::Etcd,
        Fault::Sidecar,
        Fault::Power,
        Fault::Pause,
    ];
    let start = World::well_with_a_second_sidecar();
    holds(&start, &faults, HORIZON, budget());
    // And it moves, by that alone.
    let alone = explore(&start, Guards::ALL, &[Fault::Move], HORIZON, 1);
    assert_eq!(alone.violation, None);
    assert!(alone.taken_over > 10, "{alone:?}");
}

/// A leader of before two changes of the primary wakes with its revocation in hand.
#[test]
fn hard_case_03_an_old_revocation_takes_no_newer_lease() {
    let start = World::with_an_old_revocation_in_hand();
    let faults = [Fault::Pause, Fault::Storage, Fault::CutOff];
    holds(&start, &faults, HORIZON, budget());
    let guards = Guards {
        revocation_compares: false,
        ..Guards::ALL
    };
    violated_without(&start, guards, &faults, 1);
}

#[test]
fn without_the_proof_a_ceph_that_returns_has_its_writers_beside_the_others() {
    let guards = Guards {
        revoked_after_proof: false,
        ..Guards::ALL
    };
    let start = World::well_with_an_agent();
    violated_without(&start, guards, &[Fault::Storage], 2);
}

/// The zone has its Ceph again, and whoever saw that lifted the fence, before the lease was taken.
#[test]
fn without_a_look_right_before_it_a_lease_is_taken_from_a_zone_that_is_well_again() {
    let guards = Guards {
        recorded_on_what_is_now: false,
        ..Guards::ALL
    };
    let start = World::well_with_an_agent();
    violated_without(&start, guards, &[Fault::Storage, Fault::Etcd], 4);
}

/// A plan is older than its proof: the zone that it was made for came back, served, and lost its sidecar alone.
#[test]
fn a_failover_that_waited_while_its_zone_came_back_records_nobody() {
    let faults = [Fault::CutOff, Fault::Power, Fault::Pause];
    let start = World::with_a_plan_that_waited(Guards::ALL);
    let found = explore(&start, Guards::ALL, &faults, HORIZON, budget());
    println!("{} states", found.states);
    assert_eq!(found.violation, None);
    assert!(found.states > 1000, "{found:?}");
    let guards = Guards {
        recorded_on_what_is_now: false,
        ..Guards::ALL
    };
    violated_without(&World::with_a_plan_that_waited(guards), guards, &[], 0);
}

#[test]
fn hard_case_31_without_its_guard_a_lease_that_ended_on_a_dead_ceph_is_taken_for_a_demotion() {
    let guards = Guards {
        ill_storage_is_no_proof: false,
        ..Guards::ALL
    };
    violated_without(&World::well(), guards, &[Fault::Storage, Fault::CutOff], 3);
}

#[test]
fn hard_case_03_a_leader_that_wakes_with_an_old_order_does_no_harm() {
    let faults = [
        Fault::Pause,
        Fault::Move,
        Fault::Etcd,
        Fault::CutOff,
        Fault::LostReply,
    ];
    holds(
        &World::after_failover_with_a_stale_order(),
        &faults,
        HORIZON,
        budget(),
    );
}

/// Its lease has run out, and nobody demotes: however the zone is lost after that, its lease proves nothing.
#[test]
fn a_zone_whose_sidecar_died_alone_is_not_taken_over() {
    let faults = [Fault::CutOff, Fault::Power, Fault::Pause];
    let start = World::with_a_dead_sidecar(Guards::ALL);
    let found = explore(&start, Guards::ALL, &faults, HORIZON, budget());
    println!("{} states", found.states);
    assert_eq!(found.violation, None);
    assert!(found.states > 1000, "{found:?}");
}

#[test]
fn without_forgetting_a_lease_that_ended_alone_the_next_leader_takes_it_for_proof() {
    let guards = Guards {
        a_lone_end_is_forgotten: false,
        ..Guards::ALL
    };
    let faults = [Fault::CutOff, Fault::Pause];
    let start = World::with_a_dead_sidecar(guards);
    violated_without(&start, guards, &faults, 2);
}

/// What the margin does not cover, and the reason why the sidecar needs a supervisor: it dies, is not brought back in time, and
/// its zone is cut off before its lease has run out. From outside that is a zone that is isolated, and would demote itself.
#[test]
fn a_sidecar_that_is_not_brought_back_and_a_cut_line_are_found_to_be_too_much() {
    let faults = [Fault::SidecarForGood, Fault::CutOff];
    violated_without(&World::well(), Guards::ALL, &faults, 2);
}

/// What no guard covers: a zone that is cut off, and whose Ceph dies then, does not demote, and its Ceph comes back after its lease's
/// margin. From outside it is a zone that has demoted itself.
#[test]
fn hard_case_31_a_ceph_that_dies_unseen_in_an_isolated_zone_is_found_to_be_too_much() {
    let faults = [Fault::StorageUnseen, Fault::CutOff];
    violated_without(&World::well(), Guards::ALL, &faults, 3);
}

#[test]
fn without_the_margin_a_restarting_sidecar_is_too_late() {
    let guards = Guards {
        margin: false,
        ..Guards::ALL
    };
    violated_without(&World::well(), guards, &[Fault::CutOff, Fault::Sidecar], 2);
}

#[test]
fn without_self_demotion_an_isolated_zone_goes_on_writing() {
    let guards = Guards {
        isolated_demotes: false,
        proof_needs_demotion: false,
        ..Guards::ALL
    };
    violated_without(&World::well(), guards, &[Fault::CutOff], 1);
    // The proof's own guard is enough: such a lease is no proof, and a person is asked.
    let asked = Guards {
        isolated_demotes: false,
        ..Guards::ALL
    };
    let found = explore(&World::well(), asked, &[Fault::CutOff], HORIZON, 1);
    assert_eq!(found.violation, None);
}

#[test]
fn without_counting_from_the_sending_a_right_outlives_its_lease() {
    let guards = Guards {
        counts_from_sending: false,
        ..Guards::ALL
    };
    violated_without(&World::well(), guards, &[Fault::CutOff], 1);
}

#[test]
fn without_the_promise_a_recovering_etcd_lets_the_other_zone_in() {
    let guards = Guards {
        promise_binds: false,
        ..Guards::ALL
    };
    violated_without(&World::well(), guards, &[Fault::Etcd, Fault::CutOff], 3);
}

#[test]
fn without_the_lease_at_the_promotion_an_old_order_makes_two() {
    let guards = Guards {
        promotion_needs_lease: false,
        ..Guards::ALL
    };
    violated_without(
        &World::after_failover_with_a_stale_order(),
        guards,
        &[Fault::Pause, Fault::Move],
        2,
    );
}

#[test]
fn hard_case_50_without_the_replaced_zone_s_demotion_its_servers_write_again() {
    let guards = Guards {
        replaced_demotes: false,
        ..Guards::ALL
    };
    violated_without(&World::well(), guards, &[Fault::Power], 2);
}
