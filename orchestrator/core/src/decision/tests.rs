mod back_again;
mod failover;
mod lost_ceph;
mod old_words;
mod proof;
mod refused;
mod returning;

use super::*;
use crate::fixture::{World, copy, group, lease, now, plan_id, volume, zone};
use crate::observation::Signal;
use crate::plan::{PlanKind, Proof, Step};
use crate::snapshot::{Approved, LossAccepted, Vouch};
use rekindle_common::{
    duration::Span,
    policy::{IsolationResponse, OnReturn},
    status::VolumeStatus,
    volume::{Known, Lag, LastSync, Role, VolumeReport},
};

fn decided(w: &World) -> Decision {
    decide(&w.snapshot, &group(), plan_id()).unwrap()
}
fn begun(w: &World) -> Plan {
    match decided(w) {
        Decision::Begin { plan } => *plan,
        other => panic!("not begun: {other:?}"),
    }
}
fn held(w: &World) -> Hold {
    match decided(w) {
        Decision::Hold { why } => why,
        other => panic!("not held: {other:?}"),
    }
}
fn asked(w: &World) -> Ask {
    match decided(w) {
        Decision::AskOperator { why } => why,
        other => panic!("not asked: {other:?}"),
    }
}
const VOUCHED: Approved = Approved::Failover {
    vouch: Vouch::CannotWrite,
    loss: LossAccepted::WithinLimit,
};
const ACCEPTED: Approved = Approved::Failover {
    vouch: Vouch::No,
    loss: LossAccepted::Any,
};
