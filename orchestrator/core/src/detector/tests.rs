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
}
