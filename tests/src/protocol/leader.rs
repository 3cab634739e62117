//! An orchestrator for one tick: the shipped decision, plan and saga, on a modelled etcd and zones.

use super::view::{group, volume};
use super::world::{ActivePlan, Guards, Tick, World, plan_id};
use jiff::Timestamp;
use rekindle_common::{Generation, action::Promotion};
use rekindle_core::{
    decision::{Decision, Request, decide, forget_lease, plan_for, remember_lease},
    overtaken::{in_vain, overtaken},
    plan::{OldLease, Plan, PlanKind, Proof, Step, VolumePromotion},
    saga::{End, Event, Left, Next, Record, Saga, State, StepOutcome},
    standing::{Standing, standing},
};
use std::rc::Rc;

/// An orchestrator that can lead; both are outside zone A.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Orchestrator {
    /// The term that it believes it leads.
    pub(super) term: Option<u32>,
    pub(super) paused: bool,
    /// Since when it has seen the lease gone without a break.
    pub(super) gone_since: Option<Tick>,
    pub(super) promised_until: Tick,
    /// What it was about to do when it was paused, in its order: for a zone, under a generation.
    in_hand: Vec<(InHand, usize, Generation)>,
    /// When it last had a fence confirmed.
    fenced_at: Option<Tick>,
}

/// What a paused leader may have been about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum InHand {
    /// Record the zone, and take the other's lease of the generation before.
    Record,
    /// Have it take its lease.
    TakeLease,
    /// Have it promote, by force.
    Promote,
}

/// For so long a fence is not asked about again.
const FRESH: Tick = 1;

impl Orchestrator {
    pub(super) fn new(term: Option<u32>) -> Self {
        Self {
            term,
            paused: false,
            gone_since: None,
            promised_until: 0,
            in_hand: Vec::new(),
            fenced_at: None,
        }
    }
    pub(super) fn paused_with_promotion(term: u32, zone: usize, generation: Generation) -> Self {
        Self {
            paused: true,
            in_hand: vec![(InHand::Promote, zone, generation)],
            ..Self::new(Some(term))
        }
    }
    pub(super) fn paused_with_revocation(term: u32, zone: usize, generation: Generation) -> Self {
        let all = [InHand::Record, InHand::TakeLease, InHand::Promote];
        Self {
            paused: true,
            in_hand: all.map(|what| (what, zone, generation)).to_vec(),
            ..Self::new(Some(term))
        }
    }
}

/// What became of a step in this tick.
enum Did {
    Done,
    NotYet,
    Failed(Left),
}

impl World {
    pub(super) fn leaders_act(&mut self, guards: Guards, steps: usize) {
        self.elect();
        for n in 0..self.leaders.len() {
            if !self.leaders[n].paused {
                self.leader_acts(n, guards, steps);
            }
        }
    }

    /// Where the leader is paused, the other one is elected, at the earliest: its lease is taken to have ended already.
    fn elect(&mut self) {
        let term = self.etcd.term;
        let leads = |l: &Orchestrator| l.term == Some(term) && !l.paused;
        if !self.etcd.up || self.leaders.iter().any(leads) {
            return;
        }
        if let Some(next) = self.leaders.iter_mut().find(|l| !l.paused) {
            self.etcd.term += 1;
            next.term = Some(self.etcd.term);
            next.gone_since = None;
        }
    }

    fn leader_acts(&mut self, n: usize, guards: Guards, steps: usize) {
        // What is in hand goes out as it is: a paused process looks at no lease before its next instruction.
        for (what, zone, generation) in std::mem::take(&mut self.leaders[n].in_hand) {
            if !self.send_out(n, what, zone, generation, guards) {
                break;
            }
            self.look_for_two();
        }
        // All else needs etcd, and a transaction that compares the leadership.
        if !self.etcd.up || self.leaders[n].term != Some(self.etcd.term) {
            self.leaders[n].gone_since = None;
            if self.etcd.up {
                self.leaders[n].term = None;
            }
            return;
        }
        self.watch_lease(n, guards);
        let ended = self.etcd.lease.is_none() && self.etcd.last_lease.is_some();
        if ended && guards.a_lone_end_is_forgotten {
            let snapshot = self.snapshot(&self.leaders[n], guards);
            if forget_lease(&snapshot, &group()) {
                self.etcd.last_lease = None;
            }
        }
        if self.etcd.plan.is_none() {
            self.decide(n, guards);
        }
        for _ in 0..steps {
            let Some(active) = self.etcd.plan.take() else {
                break;
            };
            let before = active.journal.len();
            self.execute(n, active, guards);
            self.look_for_two();
            let moved = self
                .etcd
                .plan
                .as_ref()
                .is_none_or(|p| p.journal.len() > before);
            if !moved {
                break;
            }
        }
    }

    /// Whether it went through.
    fn send_out(
        &mut self,
        n: usize,
        what: InHand,
        zone: usize,
        generation: Generation,
        guards: Guards,
    ) -> bool {
        match what {
            InHand::Record => {
                let compares = self.leaders[n].term == Some(self.etcd.term)
                    && self.etcd.generation.next() == generation;
                let goes = self.etcd.up && (compares || !guards.revocation_compares);
                if goes {
                    self.put_record(zone, generation);
                }
                goes
            }
            InHand::TakeLease => {
                self.order(zone, generation) && self.order_take(zone, generation, guards)
            }
            InHand::Promote => {
                let order = VolumePromotion {
                    volume: volume(),
                    promotion: Promotion::Forced {
                        reason: String::new(),
                        accept_torn: false,
                    },
                };
                self.promote(zone, &[order], generation, guards)
            }
        }
    }

    fn watch_lease(&mut self, n: usize, guards: Guards) {
        match self.etcd.lease {
            Some((zone, generation, _)) => {
                self.leaders[n].gone_since = None;
                let snapshot = self.snapshot(&self.leaders[n], guards);
                if let Some(seen) = remember_lease(&snapshot, &group()) {
                    self.etcd.last_lease = Some((zone, generation, seen.isolation_response));
                }
            }
            None => {
                let now = self.now;
                self.leaders[n].gone_since.get_or_insert(now);
            }
        }
    }

    fn decide(&mut self, n: usize, guards: Guards) {
        let snapshot = self.snapshot(&self.leaders[n], guards);
        let id = plan_id(self.etcd.plans_made);
        let plan = if self.move_asked {
            let to = Self::name(1 - self.etcd.primary);
            plan_for(&snapshot, &group(), &Request::Move { to }, id).ok()
        } else {
            match decide(&snapshot, &group(), id) {
                Some(Decision::Begin { plan }) => Some(*plan),
                Some(
                    Decision::Hold { .. }
                    | Decision::AskOperator { .. }
                    | Decision::MarkProtection { .. },
                )
                | None => None,
            }
        };
        if let Some(plan) = plan {
            match plan.kind {
                // They use a person's word up.
                PlanKind::Failover | PlanKind::Resume => self.etcd.word = None,
                PlanKind::Move | PlanKind::Failback | PlanKind::Reprotect => {}
            }
            self.etcd.plans_made += 1;
            self.etcd.plan = Some(ActivePlan {
                plan: Rc::new(plan),
                journal: vec![Event::Begun],
            });
        }
    }

    /// One step.
    fn execute(&mut self, n: usize, mut active: ActivePlan, guards: Guards) {
        let plan = active.plan.clone();
        let Ok((next, state)) = where_it_stands(&plan, &active.journal) else {
            return;
        };
        let events = match next {
            Next::Run { step, .. } => {
                let what = plan.steps[step].step.clone();
                match self.try_to(n, &plan, &what, guards) {
                    Did::Done => vec![
                        Event::StepBegun { step },
                        Event::StepDone {
                            step,
                            outcome: StepOutcome::default(),
                        },
                    ],
                    Did::NotYet => Vec::new(),
                    Did::Failed(left) => {
                        vec![
                            Event::StepBegun { step },
                            Event::StepFailed {
                                step,
                                error: String::new(),
                                left,
                            },
                        ]
                    }
                }
            }
            Next::Unwind { failed, undo, .. } => {
                let what = plan.steps[failed].unwind[undo].clone();
                match self.try_to(n, &plan, &what, guards) {
                    Did::Done => vec![
                        Event::UnwindBegun { undo },
                        Event::UnwindDone {
                            undo,
                            servers: vec![],
                            failed: vec![],
                        },
                    ],
                    Did::NotYet => Vec::new(),
                    Did::Failed(_) => vec![
                        Event::UnwindBegun { undo },
                        Event::UnwindFailed {
                            undo,
                            error: String::new(),
                        },
                    ],
                }
            }
            Next::Finish { .. } | Next::Over => return,
            // A stuck plan is a person's, unless a zone's loss or isolation overtakes it.
            Next::Wait => {
                let snapshot = self.snapshot(&self.leaders[n], guards);
                match overtaken(&snapshot, &plan, &state) {
                    Some(_) => vec![Event::Ended {
                        end: End::Overtaken,
                    }],
                    None => Vec::new(),
                }
            }
            Next::Begin => Vec::new(),
        };
        active.journal.extend(events);
        self.etcd.plan = Some(active);
    }

    /// One pass over a step, which fails where it was not done and waiting for it is in vain.
    fn try_to(&mut self, n: usize, plan: &Plan, step: &Step, guards: Guards) -> Did {
        match self.act(n, plan, step, guards) {
            Did::NotYet => {
                let snapshot = self.snapshot(&self.leaders[n], guards);
                match in_vain(&snapshot, plan, step) {
                    Some(_) => Did::Failed(Left::MaybeSomething),
                    None => Did::NotYet,
                }
            }
            did @ (Did::Done | Did::Failed(_)) => did,
        }
    }

    fn act(&mut self, n: usize, plan: &Plan, step: &Step, guards: Guards) -> Did {
        let done = |ok: bool| if ok { Did::Done } else { Did::NotYet };
        match step {
            Step::AwaitLeaseEnd { margin, .. } => {
                match (self.etcd.lease, self.leaders[n].gone_since) {
                    (Some(_), _) => Did::Failed(Left::Nothing),
                    (None, Some(since)) => done(self.now - since >= margin.get().as_secs()),
                    (None, None) => Did::NotYet,
                }
            }
            Step::Demote {
                zone, generation, ..
            } => {
                let z = Self::index(zone);
                done(
                    self.order(z, *generation) && {
                        self.zones[z].demote_now();
                        true
                    },
                )
            }
            Step::AwaitDemotionReplayed { zone, .. } => {
                let from = 1 - Self::index(zone);
                if self.zones[from].primary {
                    Did::Failed(Left::Nothing)
                } else {
                    done(self.zones[from].demotion_seen)
                }
            }
            Step::ReleaseLease { zone, generation } => {
                let z = Self::index(zone);
                let gone = |w: &Self| w.etcd.lease.is_none_or(|(holder, _, _)| holder != z);
                done(
                    gone(self)
                        || (self.order(z, *generation)
                            && self.order_release(z, *generation, guards)
                            && (gone(self) || plan.takes_what_is_left_of(zone, *generation))),
                )
            }
            Step::RecordPrimary {
                zone,
                generation,
                replaces,
                lease,
            } => {
                let to = Self::index(zone);
                self.record(n, plan, (to, *generation, *replaces), lease, guards)
            }
            Step::TakeLease { zone, generation } => {
                let z = Self::index(zone);
                done(self.order(z, *generation) && self.order_take(z, *generation, guards))
            }
            Step::Promote {
                zone,
                volumes,
                generation,
            } => {
                let z = Self::index(zone);
                done(self.promote(z, volumes, *generation, guards))
            }
            Step::MarkUnprotected {
                from, generation, ..
            } => {
                self.etcd.failed_over = Some((Self::index(from), *generation));
                Did::Done
            }
            Step::Resync {
                zone, generation, ..
            } => {
                let z = Self::index(zone);
                done(self.order(z, *generation) && !self.zones[z].primary)
            }
            Step::Fence { zone, .. } => {
                self.fence(n, Self::index(zone), guards);
                Did::Done
            }
            Step::StopApplication { .. }
            | Step::StartApplication { .. }
            | Step::AwaitReplay { .. }
            | Step::MarkProtected
            | Step::RunHook { .. }
            | Step::Pause { .. }
            | Step::StopServers { .. }
            | Step::StartServers { .. }
            | Step::HoldServers { .. } => Did::Done,
        }
    }

    /// The agent's exit code 0, wherever the zone is cut off.
    fn fence(&mut self, n: usize, zone: usize, guards: Guards) {
        self.leaders[n].fenced_at = Some(self.now);
        self.zones[zone].fenced |= guards.revoked_after_proof;
    }

    /// The transaction on the primary record.
    fn record(
        &mut self,
        n: usize,
        plan: &Plan,
        (to, new, old): (usize, Generation, Generation),
        lease: &OldLease,
        guards: Guards,
    ) -> Did {
        if self.etcd.primary == to && self.etcd.generation == new {
            return Did::Done;
        }
        let promised = self.leaders[n].promised_until > self.now;
        if self.etcd.generation != old || promised {
            return Did::Failed(Left::Nothing);
        }
        let free = match (lease, self.etcd.lease) {
            (_, None) => true,
            (OldLease::Gone, Some(_)) => false,
            (OldLease::Revoked { from }, Some((holder, generation, _))) => {
                holder == Self::index(from) && generation == old
            }
            (OldLease::Demoted { from }, Some((holder, generation, _))) => {
                let from = Self::index(from);
                let left_over = holder == from && generation == old;
                if left_over && !(self.order(from, old) && self.order_release(from, old, guards)) {
                    return Did::NotYet;
                }
                left_over
            }
        };
        if !free {
            return Did::Failed(Left::Nothing);
        }
        if guards.recorded_on_what_is_now {
            let fresh = |at: Tick| self.now - at <= FRESH;
            if matches!(plan.proof, Some(Proof::FenceAgent { .. }))
                && !self.leaders[n].fenced_at.is_some_and(fresh)
            {
                self.fence(n, Self::index(&plan.from), guards);
            }
            let snapshot = self.snapshot(&self.leaders[n], guards);
            match standing(&snapshot, plan, lease) {
                Standing::Stands => {}
                Standing::NotNow(_) => return Did::NotYet,
                Standing::Over(_) => return Did::Failed(Left::Nothing),
            }
        }
        self.put_record(to, new);
        Did::Done
    }

    fn put_record(&mut self, to: usize, generation: Generation) {
        self.etcd.primary = to;
        self.etcd.generation = generation;
        self.etcd.lease = None;
        self.etcd.last_lease = None;
    }

    /// Whether an order reaches a zone and is taken there: the generation beside the data.
    fn order(&mut self, zone: usize, generation: Generation) -> bool {
        let z = &self.zones[zone];
        let answers = self.reached(zone) && z.runs() && z.stores();
        if !answers || generation < z.seen {
            return false;
        }
        self.zones[zone].seen = generation;
        true
    }

    /// A promotion as the sidecar carries it out. A plain one is refused by librbd while the peer is, or may be, primary.
    fn promote(
        &mut self,
        zone: usize,
        orders: &[VolumePromotion],
        generation: Generation,
        guards: Guards,
    ) -> bool {
        if !self.order(zone, generation) {
            return false;
        }
        let holds = self.zones[zone].holds(self.now, generation) && self.holds_by_order(zone);
        if guards.promotion_needs_lease && !holds {
            return false;
        }
        let other = &self.zones[1 - zone];
        let peer_demoted = !other.primary && other.demotion_seen;
        let own_demotion = !self.zones[zone].primary && !other.primary;
        let may = orders.iter().all(|o| match o.promotion {
            Promotion::Plain => peer_demoted || own_demotion,
            Promotion::After { .. } => peer_demoted,
            Promotion::Forced { .. } => true,
        });
        if may {
            self.zones[zone].promote_now();
        }
        may
    }
}

fn where_it_stands(
    plan: &Plan,
    journal: &[Event],
) -> Result<(Next, State), rekindle_core::saga::Corrupted> {
    let record = |event: &Event| Record {
        at: Timestamp::UNIX_EPOCH,
        by: String::new(),
        event: event.clone(),
    };
    let records: Vec<Record> = journal.iter().map(record).collect();
    let saga = Saga::replay(plan, &records)?;
    Ok((saga.next(), saga.state().clone()))
}
