use super::*;
use crate::fixture::{World, site, zone};
use proptest::prelude::*;

const HOLD_OFF: Span = Span::secs(30);

fn diagnosis(w: &World) -> Diagnosis {
    diagnose(&w.snapshot, &zone("zone-a"), HOLD_OFF)
}

#[test]
fn a_healthy_world_is_healthy() {
    assert_eq!(diagnosis(&World::healthy(1)), Diagnosis::Healthy);
}

#[test]
fn hard_case_01_a_cut_link_is_not_a_lost_zone() {
    let mut w = World::healthy(1);
    w.sees("zone-b", "zone-a", Signal::Down, Signal::Down, 3600);
    let cut = Diagnosis::LinkCut {
        gone_to: vec![site("zone-b")],
        there_to: vec![site("zone-a"), site("witness")],
    };
    assert_eq!(diagnosis(&w), cut);
}

#[test]
fn one_site_alone_never_makes_a_loss() {
    let mut w = World::healthy(1);
    w.snapshot.observations.clear();
    w.sees("zone-b", "zone-a", Signal::Down, Signal::Down, 3600);
    assert_eq!(diagnosis(&w), Diagnosis::Unknown { views: 1, sites: 3 });
}

#[test]
fn a_loss_takes_the_whole_hold_off_of_a_majority() {
    let mut w = World::healthy(1);
    w.kill_a(29, 0);
    assert!(matches!(diagnosis(&w), Diagnosis::Suspect { left, .. } if left == Span::secs(1)));
    // One site has seen it longer; a majority has not.
    w.sees("witness", "zone-a", Signal::Down, Signal::Down, 3600);
    assert!(matches!(diagnosis(&w), Diagnosis::Suspect { .. }));
    w.kill_a(30, 0);
    assert!(matches!(diagnosis(&w), Diagnosis::Lost { lost_for, .. } if lost_for == HOLD_OFF));
}

#[test]
fn hard_case_60_each_partial_failure_has_its_own_name() {
    let cases = [
        (Signal::Down, Signal::Up, "storage"),
        (Signal::Up, Signal::Down, "sidecar"),
        (Signal::Unknown, Signal::Down, "unknown"),
        (Signal::Down, Signal::Unknown, "unknown"),
    ];
    for (mon, sidecar, expect) in cases {
        let mut w = World::healthy(1);
        for s in ["zone-a", "zone-b", "witness"] {
            w.sees(s, "zone-a", mon, sidecar, 3600);
        }
        let got = diagnosis(&w);
        let ok = match expect {
            "storage" => matches!(got, Diagnosis::StorageIll { .. }),
            "sidecar" => matches!(got, Diagnosis::SidecarDown { .. }),
            _ => matches!(got, Diagnosis::Unknown { .. }),
        };
        assert!(ok, "{mon:?} {sidecar:?}: {got:?}");
    }
}

#[test]
fn hard_case_60_monitors_up_and_writes_failing_is_ill_not_healthy() {
    let mut w = World::healthy(1);
    w.sees_write("witness", "zone-a", Signal::Down);
    assert_eq!(
        diagnosis(&w),
        Diagnosis::StorageIll {
            seen_by: vec![site("witness")]
        }
    );
}

#[test]
fn hard_case_60_a_lost_ceph_beside_a_living_sidecar_has_a_name_and_takes_its_time() {
    let mut w = World::healthy(1);
    w.lose_ceph_of_a(29);
    assert!(matches!(diagnosis(&w), Diagnosis::StorageIll { seen_by } if seen_by.len() == 3));
    w.lose_ceph_of_a(30);
    assert!(
        matches!(diagnosis(&w), Diagnosis::StorageLost { lost_for, seen_by } if lost_for == HOLD_OFF && seen_by.len() == 3)
    );
    // A zone's own site is not needed for it.
    w.snapshot.observations.remove(&site("zone-a"));
    assert!(matches!(diagnosis(&w), Diagnosis::StorageLost { .. }));
    w.snapshot.observations.remove(&site("zone-b"));
    assert!(matches!(diagnosis(&w), Diagnosis::Unknown { .. }));
}

#[test]
fn one_site_that_sees_anything_else_is_enough_for_a_ceph_not_to_be_lost() {
    let (up, down, unknown) = (Signal::Up, Signal::Down, Signal::Unknown);
    for (mon, sidecar, write) in [
        (up, up, up),
        (up, up, down),
        (up, down, unknown),
        (down, up, up),
        (down, up, unknown),
        (down, down, unknown),
    ] {
        let mut w = World::healthy(1);
        w.lose_ceph_of_a(3600);
        w.sees("zone-a", "zone-a", mon, sidecar, 3600);
        w.sees_write("zone-a", "zone-a", write);
        let got = diagnosis(&w);
        assert!(
            matches!(
                got,
                Diagnosis::StorageIll { .. } | Diagnosis::LinkCut { .. }
            ),
            "{mon:?} {sidecar:?} {write:?}: {got:?}"
        );
    }
}

fn any_signal() -> impl Strategy<Value = Signal> {
    prop_oneof![Just(Signal::Up), Just(Signal::Down), Just(Signal::Unknown)]
}

proptest! {
    /// Whatever is seen: a loss needs a majority of gone verdicts, each with both direct kinds down, and nobody who sees life.
    #[test]
    fn a_loss_is_never_without_its_majority(seen in prop::collection::vec((any_signal(), any_signal(), 0u64..100, any::<bool>()), 3)) {
        let mut w = World::healthy(1);
        for (s, (mon, sidecar, held, fresh)) in ["zone-a", "zone-b", "witness"].iter().zip(&seen) {
            if *fresh {
                w.sees(s, "zone-a", *mon, *sidecar, *held);
            } else {
                w.snapshot.observations.remove(&site(s));
            }
        }
        if let Diagnosis::Lost { .. } = diagnosis(&w) {
            let gone = seen.iter().filter(|(m, s, h, f)| *f && *m == Signal::Down && *s == Signal::Down && *h >= 30).count();
            let life = seen.iter().any(|(m, s, _, f)| *f && (*m == Signal::Up && *s != Signal::Unknown || *s == Signal::Up && *m != Signal::Unknown));
            prop_assert!(gone >= 2, "{seen:?}");
            prop_assert!(!life, "{seen:?}");
        }
    }

    /// Whatever is seen: a Ceph is lost only where a majority says so of both kinds, and nobody with a view says another thing.
    #[test]
    fn a_lost_ceph_is_never_without_its_majority(seen in prop::collection::vec((any_signal(), any_signal(), any_signal(), 0u64..100, any::<bool>()), 3)) {
        let mut w = World::healthy(1);
        for (s, (mon, sidecar, write, held, fresh)) in ["zone-a", "zone-b", "witness"].iter().zip(&seen) {
            if *fresh {
                w.sees(s, "zone-a", *mon, *sidecar, *held);
                w.sees_write(s, "zone-a", *write);
            } else {
                w.snapshot.observations.remove(&site(s));
            }
        }
        let says = |(m, s, c, h, f): &&(Signal, Signal, Signal, u64, bool)| {
            *f && *m == Signal::Down && *s == Signal::Up && *c == Signal::Down && *h >= 30
        };
        let blind = |(m, s, _, _, f): &&(Signal, Signal, Signal, u64, bool)| {
            !*f || *m == Signal::Unknown || *s == Signal::Unknown
        };
        let lost = matches!(diagnosis(&w), Diagnosis::StorageLost { .. });
        if lost {
            prop_assert!(seen.iter().filter(says).count() >= 2, "{seen:?}");
            prop_assert!(seen.iter().all(|s| blind(&s) || (s.0, s.1, s.2) == (Signal::Down, Signal::Up, Signal::Down)), "{seen:?}");
        }
    }
}
