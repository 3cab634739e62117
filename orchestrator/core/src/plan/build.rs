//! How each kind of plan is put together. One function a kind; none of them decides, [`crate::decision`] does.

mod resume;
mod servers;

pub use resume::{Disks, ResumeParts, resume, start_again};

use super::{
    ExpectedLoss, HookTime, LeftOut, OldLease, Plan, PlanKind, PlannedStep, Proof, Step,
    VolumePromotion,
};
use crate::snapshot::GroupView;
use jiff::Timestamp;
use rekindle_common::{
    DemotionToken, Generation, ImageSpec, PlanId, ResyncToken, ZoneName, action::Promotion,
    duration::Span, lease::PrimaryRecord,
};

/// For a step that changes one key, or asks a sidecar one short thing.
const SHORT: Span = Span::secs(30);
/// For orders to all volumes of a group: a forced promotion may have to roll a half-applied snapshot back (hard case 23).
const ORDERS: Span = Span::secs(600);
/// For an application to stop or start.
const APPLICATION: Span = Span::secs(300);
/// For a demotion to reach the other zone: the last delta goes with it. The application stands still meanwhile, and where a mirror
/// daemon does not follow it never arrives (hard case 57), so this is how long a move that cannot succeed takes to be undone.
const REPLAY: Span = Span::secs(1800);
/// For a returned zone's servers to be held before its stale primaries are demoted.
const FIRST_HOLD: Span = Span::secs(60);
/// For a full resync.
const RESYNC: Span = Span::secs(24 * 3600);

fn step(step: Step, deadline: Span) -> PlannedStep {
    PlannedStep {
        step,
        deadline,
        unwind: Vec::new(),
    }
}

/// What every builder needs.
pub(super) struct Base<'a> {
    id: PlanId,
    view: &'a GroupView,
    primary: &'a PrimaryRecord,
    at: Timestamp,
    why: String,
}

impl<'a> Base<'a> {
    fn plan(self, kind: PlanKind, from: ZoneName, to: ZoneName, steps: Vec<PlannedStep>) -> Plan {
        Plan {
            id: self.id,
            parent: self
                .view
                .state
                .last_failover
                .as_ref()
                .map(|f| f.plan.clone()),
            group: self.view.spec.name.clone(),
            kind,
            from,
            to,
            made_for: self.primary.generation,
            at: self.at,
            why: self.why,
            proof: None,
            expected_loss: Vec::new(),
            left_out: Vec::new(),
            runbook: self.view.spec.runbook.clone(),
            steps,
        }
    }
    fn start(
        &self,
        zone: &ZoneName,
        volumes: &[ImageSpec],
        generation: Generation,
    ) -> Option<Step> {
        let application = self.view.spec.policy.application.clone()?;
        Some(Step::StartApplication {
            application,
            zone: zone.clone(),
            volumes: volumes.to_vec(),
            generation,
        })
    }
    fn stop(&self, zone: &ZoneName, volumes: &[ImageSpec], generation: Generation) -> Option<Step> {
        let application = self.view.spec.policy.application.clone()?;
        Some(Step::StopApplication {
            application,
            zone: zone.clone(),
            volumes: volumes.to_vec(),
            generation,
        })
    }
}

fn base<'a>(
    id: PlanId,
    view: &'a GroupView,
    primary: &'a PrimaryRecord,
    at: Timestamp,
    why: String,
) -> Base<'a> {
    Base {
        id,
        view,
        primary,
        at,
        why,
    }
}

/// For the zone that was primary last: no other was since, so what it has is all there is.
fn plainly(volumes: &[ImageSpec]) -> Vec<VolumePromotion> {
    each(volumes, &Promotion::Plain)
}

fn each(volumes: &[ImageSpec], promotion: &Promotion) -> Vec<VolumePromotion> {
    volumes
        .iter()
        .map(|v| VolumePromotion {
            volume: v.clone(),
            promotion: promotion.clone(),
        })
        .collect()
}

/// What a failover does, as [`crate::decision`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverParts {
    /// The zone that takes over.
    pub to: ZoneName,
    /// Why the old primary cannot write.
    pub proof: Proof,
    /// What becomes of its lease.
    pub lease: OldLease,
    /// Each volume's promotion.
    pub volumes: Vec<VolumePromotion>,
    /// Those that cannot be helped.
    pub left_out: Vec<LeftOut>,
    /// What is lost.
    pub expected_loss: Vec<ExpectedLoss>,
}

/// The primary zone is lost: prove, record, promote, start. Nothing is asked of the lost zone's Nova (hard case 53).
///
/// Up to the record nothing was changed, so nothing is unwound; from there it only goes forward.
#[must_use]
pub fn failover(
    id: PlanId,
    view: &GroupView,
    primary: &PrimaryRecord,
    at: Timestamp,
    why: String,
    parts: FailoverParts,
) -> Plan {
    let b = base(id, view, primary, at, why);
    let (from, to, old, new) = (
        primary.zone.clone(),
        parts.to,
        primary.generation,
        primary.generation.next(),
    );
    let images: Vec<ImageSpec> = parts.volumes.iter().map(|v| v.volume.clone()).collect();
    let mut steps = b.hooks(HookTime::Before, &to, new);
    match &parts.proof {
        Proof::FenceAgent { agent } => {
            steps.push(step(
                Step::Fence {
                    agent: agent.clone(),
                    zone: from.clone(),
                },
                APPLICATION,
            ));
            // The lease's holder may be alive and only cut off from its storage by the fence: its key has to go, too.
            if parts.lease == OldLease::Gone {
                steps.push(step(
                    Step::AwaitLeaseEnd {
                        zone: from.clone(),
                        generation: old,
                        margin: Span::secs(0),
                    },
                    Span(view.spec.policy.lease.ttl.get() * 3),
                ));
            }
        }
        Proof::LeaseExpired { margin } => {
            let lease = Step::AwaitLeaseEnd {
                zone: from.clone(),
                generation: old,
                margin: *margin,
            };
            steps.push(step(
                lease,
                Span(margin.get() + view.spec.policy.lease.ttl.get() * 3),
            ));
        }
        Proof::Vouched { .. } => {}
    }
    let why = format!("{from} was lost; {to} is primary since generation {new} and has no copy");
    let policy = &view.spec.policy;
    let record_deadline = match (&parts.lease, &parts.proof) {
        (OldLease::Demoted { .. }, _) => SHORT,
        // A later leader counts the end of the lease from its own first look, and a site that was started anew the loss from its own.
        (OldLease::Gone, Proof::LeaseExpired { margin }) => {
            let again = margin.get() + policy.lease.ttl.get() * 3;
            Span(SHORT.get() + again + policy.hold_off.get())
        }
        // It looks again how the zone is, and may have to ask the fence agent again.
        (OldLease::Gone | OldLease::Revoked { .. }, _) => APPLICATION,
    };
    steps.extend([
        step(
            Step::RecordPrimary {
                zone: to.clone(),
                generation: new,
                replaces: old,
                lease: parts.lease,
            },
            record_deadline,
        ),
        // From here it only goes forward, and a person is not called for a cluster that takes the other's load and is slow for a minute.
        step(
            Step::TakeLease {
                zone: to.clone(),
                generation: new,
            },
            ORDERS,
        ),
        step(
            Step::MarkUnprotected {
                from: from.clone(),
                generation: new,
                why,
            },
            SHORT,
        ),
        step(
            Step::Promote {
                zone: to.clone(),
                volumes: parts.volumes,
                generation: new,
            },
            ORDERS,
        ),
    ]);
    steps.extend(b.serve(&to, &images, new));
    let mut plan = b.plan(PlanKind::Failover, from, to, steps);
    plan.parent = None;
    plan.proof = Some(parts.proof);
    plan.left_out = parts.left_out;
    plan.expected_loss = parts.expected_loss;
    plan
}

/// A planned move of the primary to the zone that holds the copies; home, it is called a failback.
///
/// Behind the hooks, and before anything that serves is touched, the servers of that zone are held: where one cannot be, the plan ends.
#[must_use]
pub fn failback_or_move(
    id: PlanId,
    view: &GroupView,
    primary: &PrimaryRecord,
    at: Timestamp,
    why: String,
    to: &ZoneName,
    volumes: &[ImageSpec],
) -> Plan {
    let b = base(id, view, primary, at, why);
    let (from, old, new) = (
        primary.zone.clone(),
        primary.generation,
        primary.generation.next(),
    );
    // Until the record is changed the old primary goes on under its own generation.
    let restart = b.serve_again(&from, volumes, old);
    let promote_back = Step::Promote {
        zone: from.clone(),
        volumes: plainly(volumes),
        generation: old,
    };
    let retake = Step::TakeLease {
        zone: from.clone(),
        generation: old,
    };
    let back = |steps: &[&Step]| -> Vec<Step> {
        steps
            .iter()
            .map(|s| (*s).clone())
            .chain(restart.clone())
            .collect()
    };
    // After it, it needs a generation of its own.
    let after = new.next();
    let mut back_after = vec![
        Step::ReleaseLease {
            zone: to.clone(),
            generation: new,
        },
        Step::RecordPrimary {
            zone: from.clone(),
            generation: after,
            replaces: new,
            lease: OldLease::Gone,
        },
        Step::TakeLease {
            zone: from.clone(),
            generation: after,
        },
        Step::Promote {
            zone: from.clone(),
            volumes: plainly(volumes),
            generation: after,
        },
    ];
    back_after.extend(b.serve_again(&from, volumes, after));

    // What proves that nothing is lost: the copies show the name under which the originals were demoted.
    let token = DemotionToken::from_plan(&b.id);
    let demote = Step::Demote {
        zone: from.clone(),
        volumes: volumes.to_vec(),
        generation: old,
        token: Some(token.clone()),
    };
    let replayed = Step::AwaitDemotionReplayed {
        zone: to.clone(),
        volumes: volumes.to_vec(),
        token: token.clone(),
    };
    let release = Step::ReleaseLease {
        zone: from.clone(),
        generation: old,
    };
    let record = Step::RecordPrimary {
        zone: to.clone(),
        generation: new,
        replaces: old,
        lease: OldLease::Demoted { from: from.clone() },
    };
    let take = Step::TakeLease {
        zone: to.clone(),
        generation: new,
    };
    let promote = Step::Promote {
        zone: to.clone(),
        volumes: each(volumes, &Promotion::After { token }),
        generation: new,
    };
    let mut steps = b.hooks(HookTime::Before, to, new);
    // What runs there came up on copies, or before they were made: promoted under it, they would be other than it knows them. On a good day all are held.
    steps.extend(b.hold(to, old, b.hold_time()));
    if let Some(stop) = b.stop(&from, volumes, old) {
        steps.push(PlannedStep {
            step: stop,
            deadline: APPLICATION,
            unwind: back(&[]),
        });
    }
    steps.extend(b.stop_levels(&from, old, &back(&[])));
    steps.extend([
        PlannedStep {
            step: demote,
            deadline: ORDERS,
            // A sidecar that was restarted, or cut off for a moment, with demoted images does not hold its lease any more.
            unwind: back(&[&retake, &promote_back]),
        },
        PlannedStep {
            step: replayed,
            deadline: REPLAY,
            unwind: back(&[&retake, &promote_back]),
        },
        PlannedStep {
            step: release,
            deadline: SHORT,
            unwind: back(&[&retake, &promote_back]),
        },
        PlannedStep {
            step: record,
            deadline: SHORT,
            unwind: back(&[&retake, &promote_back]),
        },
        PlannedStep {
            step: take,
            deadline: SHORT,
            unwind: back_after.clone(),
        },
        PlannedStep {
            step: promote,
            deadline: ORDERS,
            unwind: back_after,
        },
    ]);
    steps.extend(b.serve(to, volumes, new));
    let replay = Step::AwaitReplay {
        zone: from.clone(),
        volumes: volumes.to_vec(),
    };
    steps.extend([step(replay, RESYNC), step(Step::MarkProtected, SHORT)]);
    let kind = if *to == view.spec.home {
        PlanKind::Failback
    } else {
        PlanKind::Move
    };
    b.plan(kind, from, to.clone(), steps)
}

/// The zone that lost the role is made a copy again: demote first, then stop what still writes there, then resync (hard case 31).
///
/// Its servers are held before that, but not waited for: a Nova that comes up later than its Ceph must not keep the demotion back.
/// What it did not hold then is held before the resync.
#[must_use]
pub fn reprotect(
    id: PlanId,
    view: &GroupView,
    primary: &PrimaryRecord,
    at: Timestamp,
    why: String,
    loser: &ZoneName,
    parts: ReprotectParts,
) -> Plan {
    let b = base(id.clone(), view, primary, at, why);
    let generation = primary.generation;
    let mut steps = Vec::new();
    if !parts.demote.is_empty() {
        steps.extend(b.hold(loser, generation, FIRST_HOLD));
        let demote = Step::Demote {
            zone: loser.clone(),
            volumes: parts.demote,
            generation,
            token: None,
        };
        steps.push(step(demote, ORDERS));
    }
    // Whoever demoted it: what still runs there has the old volumes open, and would get the new copy's errors (hard case 50).
    if !parts.resync.is_empty() {
        steps.extend(b.hold(loser, generation, b.hold_time()));
        steps.extend(
            b.stop(loser, &parts.resync, generation)
                .map(|s| step(s, APPLICATION)),
        );
    }
    if !parts.resync.is_empty() {
        let token = ResyncToken::from_plan(&id);
        let safety = view.spec.policy.safety_copy;
        let resync = Step::Resync {
            zone: loser.clone(),
            volumes: parts.resync,
            token,
            safety,
            generation,
        };
        steps.push(step(resync, ORDERS));
    }
    steps.extend([
        step(
            Step::AwaitReplay {
                zone: loser.clone(),
                volumes: parts.all,
            },
            RESYNC,
        ),
        step(Step::MarkProtected, SHORT),
    ]);
    let mut plan = b.plan(
        PlanKind::Reprotect,
        primary.zone.clone(),
        primary.zone.clone(),
        steps,
    );
    plan.left_out = parts.left_out;
    plan
}

/// Which of the loser's volumes need what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReprotectParts {
    /// Primary there too: demoted.
    pub demote: Vec<ImageSpec>,
    /// Discarded and made anew.
    pub resync: Vec<ImageSpec>,
    /// All that must be in step in the end.
    pub all: Vec<ImageSpec>,
    /// Those that cannot be helped.
    pub left_out: Vec<LeftOut>,
}
