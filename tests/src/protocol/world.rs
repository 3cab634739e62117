//! The state, and what is true in it.

use super::leader::Orchestrator;
use super::zone::Zone;
use rekindle_common::{
    Generation, PlanId, ZoneName,
    duration::Span,
    lease::LeaseTiming,
    policy::{FailoverMode, GroupPolicy, IsolationResponse, OnReturn},
};
use rekindle_core::{plan::Plan, saga::Event};
use std::{
    hash::{Hash, Hasher},
    rc::Rc,
    sync::LazyLock,
};

/// One tick is one second.
pub(super) type Tick = u64;

/// Longer than the margin: else the margin alone would do what the promise is for.
pub(super) const TTL: Tick = 7;
pub(super) const DEMOTE_BUDGET: Tick = 1;
pub(super) const MARGIN: Tick = 4;
pub(super) const HOLD_OFF: Tick = 1;
/// A sidecar that dies is back before `margin - 2 * demote_budget` is over, as the lease's rule demands.
pub(super) const RESTART: Tick = MARGIN - 2 * DEMOTE_BUDGET - 1;

/// The index of a zone.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// Guards of the protocol, each of which can be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of switches for tests, each independent of the others"
)]
pub struct Guards {
    /// The leader waits a margin after the lease is gone.
    pub margin: bool,
    /// A lease of a holder that does not demote itself is no proof.
    pub proof_needs_demotion: bool,
    /// A right to write counts from the sending of what granted it.
    pub counts_from_sending: bool,
    /// A site that answers "still yours" binds itself.
    pub promise_binds: bool,
    /// A promotion needs the lease of the order's generation.
    pub promotion_needs_lease: bool,
    /// A zone that was replaced demotes what is primary there.
    pub replaced_demotes: bool,
    /// A sidecar that cannot renew demotes before its lease ends.
    pub isolated_demotes: bool,
    /// A lease that ended while its zone was there is no proof for a later leader.
    pub a_lone_end_is_forgotten: bool,
    /// Nor is one that ended while its zone's Ceph took no writes.
    pub ill_storage_is_no_proof: bool,
    /// A lease is taken from a zone only once its clients are fenced.
    pub revoked_after_proof: bool,
    /// Right before another zone is recorded, what the plan was decided on is so still, the fence among it.
    pub recorded_on_what_is_now: bool,
    /// The transaction that takes it compares the leader, the record and the lease.
    pub revocation_compares: bool,
    /// A person's word counts only in the trouble that it was given in.
    pub words_have_an_age: bool,
}

impl Guards {
    /// All in place.
    pub const ALL: Self = Self {
        margin: true,
        proof_needs_demotion: true,
        counts_from_sending: true,
        promise_binds: true,
        promotion_needs_lease: true,
        replaced_demotes: true,
        isolated_demotes: true,
        a_lone_end_is_forgotten: true,
        ill_storage_is_no_proof: true,
        revoked_after_proof: true,
        recorded_on_what_is_now: true,
        revocation_compares: true,
        words_have_an_age: true,
    };
}

/// What may go wrong, or be asked for, at any tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Zone A is cut off from all others; a second one mends it.
    CutOff,
    /// Zone A and zone B no longer see each other, both see the witness; a second one mends it.
    CutLine,
    /// etcd loses its majority; a second one brings it back.
    Etcd,
    /// Zone A's sidecar dies, once, and is back in time.
    Sidecar,
    /// Zone A's sidecar dies, and nothing brings it back: what the margin does not cover, and so not among [`Self::ALL`].
    SidecarForGood,
    /// Zone A's power fails; a second one brings it back.
    Power,
    /// Zone B's power fails; a second one brings it back.
    PowerOfB,
    /// Zone A's Ceph dies while others see the zone, and its hosts live: what runs there hangs in its writes. A second one brings it
    /// back, wherever the zone is then, and they go on.
    Storage,
    /// Zone A's Ceph dies while the zone is cut off, so that it cannot demote and nobody knows: not among [`Self::ALL`].
    StorageUnseen,
    /// etcd does what zone A's sidecar asks in this tick, and the answers are lost.
    LostReply,
    /// The leader stops in the middle of what it does; a second one wakes it.
    Pause,
    /// An operator asks for a move to the other zone.
    Move,
    /// An operator cuts zone A's clients off, for it is not well, and vouches for that: not among [`Self::ALL`], where it would double the search.
    Word,
}

impl Fault {
    /// All that the protocol is to stand.
    pub const ALL: [Self; 10] = [
        Self::CutOff,
        Self::CutLine,
        Self::Etcd,
        Self::Sidecar,
        Self::Power,
        Self::PowerOfB,
        Self::Storage,
        Self::LostReply,
        Self::Pause,
        Self::Move,
    ];
}

/// Who is quick within a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The zones act, then the leader does one step.
    ZonesFirst,
    /// The leader does one step, then the zones act.
    LeaderFirst,
    /// The leader does all that it can, then the zones act.
    LeaderRuns,
}

impl Pace {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ZonesFirst, Self::LeaderFirst, Self::LeaderRuns];
}

/// Zone A's sidecars. Zone B has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sidecars {
    /// It takes the orders.
    One,
    /// Orders reach the first. The keeper here is the second's, which takes the lease whenever it is free and gives it back to nobody.
    Two {
        /// The first was ordered to take the lease, and not to give it back since.
        first_holds: bool,
    },
}

/// How the sites are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Link {
    Whole,
    AOff,
    LineCut,
}

/// What etcd holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Etcd {
    pub(super) up: bool,
    /// The recorded primary, as an index.
    pub(super) primary: usize,
    pub(super) generation: Generation,
    /// The lease's zone, generation, and when it ends.
    pub(super) lease: Option<(usize, Generation, Tick)>,
    pub(super) last_lease: Option<(usize, Generation, IsolationResponse)>,
    /// Who leads: grows with each election.
    pub(super) term: u32,
    /// The plan at work, with its journal.
    pub(super) plan: Option<ActivePlan>,
    pub(super) plans_made: u32,
    /// The last failover of ours: away from, beginning that generation.
    pub(super) failed_over: Option<(usize, Generation)>,
    /// A person's word that zone A cannot write: for that generation, and when it was given.
    pub(super) word: Option<(Generation, Tick)>,
}

/// A plan with its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActivePlan {
    pub(super) plan: Rc<Plan>,
    pub(super) journal: Vec<Event>,
}
impl Hash for ActivePlan {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.plan.id.hash(h);
        self.journal.len().hash(h);
        if let Some(last) = self.journal.last() {
            std::mem::discriminant(last).hash(h);
        }
    }
}

/// The world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) now: Tick,
    pub(super) link: Link,
    pub(super) etcd: Etcd,
    pub(super) zones: [Zone; 2],
    pub(super) sidecars: Sidecars,
    pub(super) leaders: [Orchestrator; 2],
    /// Since when the witness has seen each zone's monitors down without a break: in a majority that sees a zone gone, it is the
    /// last to.
    pub(super) dark: [Option<Tick>; 2],
    /// The same of its sidecar.
    pub(super) mute: [Option<Tick>; 2],
    /// The group has a fence agent, which cuts off a zone's clients whatever state the zone is in.
    pub(super) agent: bool,
    /// In this tick only: answers from etcd to zone A are lost.
    pub(super) lost_reply: bool,
    /// In this tick only: an operator asks for a move.
    pub(super) move_asked: bool,
    /// Both zones' images could be written to at some moment of the last tick.
    both: bool,
}

impl World {
    /// Zone A serves under generation 1, all is well.
    #[must_use]
    pub fn well() -> Self {
        let mut world = Self {
            now: 0,
            link: Link::Whole,
            etcd: Etcd {
                up: true,
                primary: A,
                generation: Generation(1),
                lease: None,
                last_lease: None,
                term: 1,
                plan: None,
                plans_made: 0,
                failed_over: None,
                word: None,
            },
            zones: [Zone::new(0, true), Zone::new(0, false)],
            sidecars: Sidecars::One,
            leaders: [Orchestrator::new(Some(1)), Orchestrator::new(None)],
            dark: [None; 2],
            mute: [None; 2],
            agent: false,
            lost_reply: false,
            move_asked: false,
            both: false,
        };
        // Two ticks in which everybody finds their place.
        for _ in 0..2 {
            world.pass(Guards::ALL, Pace::ZonesFirst);
        }
        world
    }

    /// The same, and the group has a fence agent.
    #[must_use]
    pub fn well_with_an_agent() -> Self {
        Self {
            agent: true,
            ..Self::well()
        }
    }

    /// The same as [`Self::well`], and zone A has a second sidecar, which holds the lease.
    #[must_use]
    pub fn well_with_a_second_sidecar() -> Self {
        Self {
            sidecars: Sidecars::Two { first_holds: false },
            ..Self::well()
        }
    }

    /// Zone A was left for zone B and has become primary again, under generation 3; the leader of before the first failover was paused
    /// right before it recorded zone B, and still has that in hand: record, lease and promotion.
    #[must_use]
    pub fn with_an_old_revocation_in_hand() -> Self {
        let mut world = Self::well_with_an_agent();
        world.etcd.generation = Generation(3);
        world.etcd.lease = None;
        world.etcd.last_lease = None;
        world.etcd.term = 2;
        world.zones = [Zone::new(world.now, true), Zone::new(world.now, false)];
        world.leaders = [
            Orchestrator::paused_with_revocation(1, B, Generation(2)),
            Orchestrator::new(Some(2)),
        ];
        for _ in 0..2 {
            world.pass(Guards::ALL, Pace::ZonesFirst);
        }
        world
    }

    /// Zone A's sidecar died and nothing brought it back; its lease ran out in this tick, and what runs there writes on. The leader has
    /// looked once since: whatever happens to the zone or to the leader from now on, that look has to have been enough.
    #[must_use]
    pub fn with_a_dead_sidecar(guards: Guards) -> Self {
        let mut world = Self::well();
        world.zones[A].die();
        while world.etcd.lease.is_some() {
            world.pass(guards, Pace::ZonesFirst);
        }
        world
    }

    /// The same, and a failover that was decided while zone A was lost has waited since: behind a hook, or stuck before its record. Zone A came back meanwhile,
    /// and served, before its sidecar died.
    #[must_use]
    pub fn with_a_plan_that_waited(guards: Guards) -> Self {
        let mut lost = Self::well();
        lost.zones[A].toggle_power(lost.now);
        while lost.etcd.plan.is_none() {
            lost.pass(guards, Pace::ZonesFirst);
        }
        let mut world = Self::with_a_dead_sidecar(guards);
        world.etcd.plan = lost.etcd.plan;
        world.etcd.plans_made = lost.etcd.plans_made;
        world
    }

    /// As [`Self::with_a_dead_sidecar`], and a person vouched for zone A in an outage that passed before its sidecar died.
    #[must_use]
    pub fn with_an_old_word(guards: Guards) -> Self {
        let mut world = Self::with_a_dead_sidecar(guards);
        world.etcd.word = Some((world.etcd.generation, 0));
        world
    }

    /// Zone B took over under generation 2, zone A is a copy again; the leader of then was paused before its promotion order
    /// went out, and still has it in hand.
    #[must_use]
    pub fn after_failover_with_a_stale_order() -> Self {
        let mut world = Self::well();
        world.zones = [Zone::new(world.now, false), Zone::new(world.now, true)];
        world.etcd.primary = B;
        world.etcd.generation = Generation(2);
        world.etcd.lease = None;
        world.etcd.last_lease = None;
        world.etcd.term = 2;
        world.etcd.failed_over = Some((A, Generation(2)));
        world.leaders = [
            Orchestrator::paused_with_promotion(1, B, Generation(2)),
            Orchestrator::new(Some(2)),
        ];
        for _ in 0..2 {
            world.pass(Guards::ALL, Pace::ZonesFirst);
        }
        world
    }

    /// Both zones' images could be written to at some moment of the last tick.
    #[must_use]
    pub fn two_writers(&self) -> bool {
        self.both
    }

    /// Lets a fault happen. `None` where it makes no difference.
    #[must_use]
    pub fn strike(&self, fault: Fault) -> Option<Self> {
        let mut w = self.clone();
        match fault {
            Fault::CutOff => {
                w.link = match w.link {
                    Link::Whole => Link::AOff,
                    Link::AOff => Link::Whole,
                    Link::LineCut => return None,
                }
            }
            Fault::CutLine => {
                w.link = match w.link {
                    Link::Whole => Link::LineCut,
                    Link::LineCut => Link::Whole,
                    Link::AOff => return None,
                }
            }
            Fault::Etcd => {
                // A new etcd leader may give leases their whole time again, or, with checkpoints, only what was left. The
                // latter is the harder one: their time goes on here.
                w.etcd.up = !w.etcd.up;
            }
            Fault::Sidecar if w.zones[A].runs() && !w.zones[A].crashed => w.zones[A].crash(w.now),
            Fault::Sidecar => return None,
            Fault::SidecarForGood if w.zones[A].runs() => w.zones[A].die(),
            Fault::SidecarForGood => return None,
            Fault::Power => w.zones[A].toggle_power(w.now),
            Fault::PowerOfB => w.zones[B].toggle_power(w.now),
            Fault::Storage if w.zones[A].stores() && w.link == Link::AOff => return None,
            Fault::Storage => w.zones[A].toggle_storage(),
            Fault::StorageUnseen if w.link != Link::AOff => return None,
            Fault::StorageUnseen => w.zones[A].toggle_storage(),
            Fault::LostReply if w.reaches_etcd(A) && w.zones[A].runs() => w.lost_reply = true,
            Fault::LostReply => return None,
            Fault::Pause => w.pause_or_wake(),
            Fault::Move => w.move_asked = true,
            Fault::Word => {
                let z = &w.zones[A];
                let well = z.stores() && z.runs() && w.link == Link::Whole;
                if well || !w.etcd.up || w.etcd.primary != A || w.etcd.word.is_some() {
                    return None;
                }
                w.zones[A].fenced = true;
                w.etcd.word = Some((w.etcd.generation, w.now));
            }
        }
        Some(w)
    }

    fn pause_or_wake(&mut self) {
        let term = self.etcd.term;
        if let Some(paused) = self.leaders.iter_mut().find(|l| l.paused) {
            paused.paused = false;
        } else if let Some(leader) = self.leaders.iter_mut().find(|l| l.term == Some(term)) {
            leader.paused = true;
        }
    }

    /// One tick passes, in that order of events.
    pub fn pass(&mut self, guards: Guards, pace: Pace) {
        self.now += 1;
        self.both = false;
        if self.etcd.up && self.etcd.lease.is_some_and(|(_, _, ends)| ends <= self.now) {
            self.etcd.lease = None;
        }
        self.look_around();
        match pace {
            Pace::ZonesFirst => {
                self.zones_act(guards);
                self.leaders_act(guards, 1);
            }
            Pace::LeaderFirst => {
                self.leaders_act(guards, 1);
                self.zones_act(guards);
            }
            Pace::LeaderRuns => {
                self.leaders_act(guards, usize::MAX);
                self.zones_act(guards);
            }
        }
        self.replay_demotions();
        self.lost_reply = false;
        self.move_asked = false;
    }

    fn zones_act(&mut self, guards: Guards) {
        for zone in [A, B] {
            self.zone_acts(zone, guards);
            self.look_for_two();
        }
    }

    /// Looked for after each actor's turn: what is mended within a tick was so all the same.
    pub(super) fn look_for_two(&mut self) {
        self.both |= self.zones.iter().all(Zone::writable);
    }

    /// A demotion reaches the other zone when the mirror daemons can talk.
    fn replay_demotions(&mut self) {
        let linked = self.link == Link::Whole && self.zones.iter().all(Zone::stores);
        for zone in [A, B] {
            if linked && !self.zones[zone].primary {
                self.zones[zone].demotion_seen = true;
            }
        }
    }

    /// Whether something in that zone reaches an etcd majority.
    pub(super) fn reaches_etcd(&self, zone: usize) -> bool {
        self.etcd.up && self.zones[zone].powered && (zone != A || self.link != Link::AOff)
    }
    /// Whether the orchestrators, both outside zone A, reach that zone's sidecar.
    pub(super) fn reached(&self, zone: usize) -> bool {
        zone != A || self.link == Link::Whole
    }

    /// Whether the sidecar that takes that zone's orders holds its lease where the zone does: of two, it may be the other.
    pub(super) fn holds_by_order(&self, zone: usize) -> bool {
        match self.sidecars {
            Sidecars::Two { first_holds } if zone == A => first_holds,
            Sidecars::One | Sidecars::Two { .. } => true,
        }
    }

    pub(super) fn name(zone: usize) -> ZoneName {
        NAMES[zone].clone()
    }
    pub(super) fn index(zone: &ZoneName) -> usize {
        if *zone == NAMES[A] { A } else { B }
    }
}

static NAMES: LazyLock<[ZoneName; 2]> = LazyLock::new(|| {
    ["zone-a", "zone-b"]
        .map(|name| ZoneName::new(name).unwrap_or_else(|_| unreachable!("a zone's name")))
});

pub(super) fn plan_id(n: u32) -> PlanId {
    PlanId::new(format!("p{n}")).unwrap_or_else(|_| unreachable!("p and a number is a plan id"))
}

pub(super) fn timing() -> LeaseTiming {
    LeaseTiming {
        ttl: Span::secs(TTL),
        renew_every: Span::secs(1),
        demote_budget: Span::secs(DEMOTE_BUDGET),
        margin: Span::secs(MARGIN),
    }
}

pub(super) fn policy(guards: Guards, agent: bool) -> GroupPolicy {
    let margin = if guards.margin { MARGIN } else { 0 };
    GroupPolicy {
        failover: FailoverMode::Automatic,
        hold_off: Span::secs(HOLD_OFF),
        lease: LeaseTiming {
            margin: Span::secs(margin),
            ..timing()
        },
        isolation_response: IsolationResponse::Demote,
        on_return: OnReturn::Stay,
        blocking_period: Span::secs(0),
        fence_agent: agent.then(|| "power".to_owned()),
        ..GroupPolicy::default()
    }
}
