//! A zone's sidecar for one tick: the shipped keeper, on a modelled etcd and image.

use super::world::{
    A, DEMOTE_BUDGET, Guards, Link, MARGIN, RESTART, Sidecars, TTL, Tick, World, policy, timing,
};
use rekindle_common::{Generation, lease::LeaseView, policy::IsolationResponse};
use rekindle_driver::lease::keeper::{Action, Event, Images, Keeper, Record, State};
use std::time::Duration;

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Zone {
    pub(super) powered: bool,
    /// The sidecar's process is down until then.
    down_until: Option<Tick>,
    keeper: Keeper,
    /// The image takes writes, as far as RBD is concerned.
    pub(super) primary: bool,
    /// A demotion is under way and takes effect then: as late as its budget allows.
    demoting: Option<Tick>,
    /// Something may write: from the sidecar's being ready after a power failure on.
    writers: bool,
    /// Its Ceph is there. Without it nothing is written, looked at or changed.
    storage: bool,
    /// A fence agent has cut its clients off. Whoever lifts that sees that the images are demoted, or the zone well and recorded.
    pub(super) fenced: bool,
    /// The other zone's copy has replayed this image's demotion.
    pub(super) demotion_seen: bool,
    /// The highest generation seen, beside the data.
    pub(super) seen: Generation,
    /// The sidecar's process has died once. A supervisor that cannot keep it up is outside what the margin covers.
    pub(super) crashed: bool,
}

fn at(tick: Tick) -> Duration {
    Duration::from_secs(tick)
}

impl Zone {
    pub(super) fn new(now: Tick, primary: bool) -> Self {
        Self {
            powered: true,
            down_until: None,
            keeper: Keeper::start(at(now), timing(), IsolationResponse::Demote),
            primary,
            demoting: None,
            writers: true,
            storage: true,
            fenced: false,
            demotion_seen: !primary,
            seen: Generation::ZERO,
            crashed: false,
        }
    }
    pub(super) fn writable(&self) -> bool {
        self.primary && self.stores() && self.writers && !self.fenced
    }
    /// Whether its Ceph is up.
    pub(super) fn stores(&self) -> bool {
        self.powered && self.storage
    }
    /// A demotion that was under way on a Ceph that dies has not happened; one on a Ceph that returns begins anew.
    pub(super) fn toggle_storage(&mut self) {
        self.storage = !self.storage;
        self.demoting = None;
    }
    /// Whether the sidecar's process is up.
    pub(super) fn runs(&self) -> bool {
        self.powered && self.down_until.is_none()
    }
    pub(super) fn crash(&mut self, now: Tick) {
        // One that died while it demoted has not finished.
        self.demoting = None;
        self.crashed = true;
        self.down_until = Some(now + RESTART);
    }
    pub(super) fn die(&mut self) {
        self.demoting = None;
        self.crashed = true;
        self.down_until = Some(Tick::MAX);
    }
    pub(super) fn toggle_power(&mut self, now: Tick) {
        self.powered = !self.powered;
        self.demoting = None;
        self.writers = false;
        self.down_until = None;
        if self.powered {
            self.keeper = Keeper::start(at(now), timing(), IsolationResponse::Demote);
        }
    }
    pub(super) fn view(&self, now: Tick) -> LeaseView {
        self.keeper.view(at(now))
    }
    /// Whether it holds that generation's lease, by its own clock.
    pub(super) fn holds(&self, now: Tick, generation: Generation) -> bool {
        match self.view(now) {
            LeaseView::Held {
                generation: g,
                left,
            }
            | LeaseView::KeptByFailsafe {
                generation: g,
                left,
            } => g == generation && !left.get().is_zero(),
            LeaseView::Isolated { .. } | LeaseView::NotHeld => false,
        }
    }
    pub(super) fn demote_now(&mut self) {
        if self.primary {
            self.primary = false;
            self.demotion_seen = false;
        }
        self.demoting = None;
    }
    pub(super) fn promote_now(&mut self) {
        self.primary = true;
        self.demotion_seen = false;
        self.writers = true;
    }
}

impl World {
    pub(super) fn zone_acts(&mut self, zone: usize, guards: Guards) {
        let now = self.now;
        let z = &mut self.zones[zone];
        if z.down_until.is_some_and(|t| t <= now) {
            z.down_until = None;
            z.keeper = Keeper::start(at(now), timing(), IsolationResponse::Demote);
        }
        if !z.runs() {
            return;
        }
        if z.demoting.is_some_and(|t| t <= now) {
            z.demote_now();
        }
        if self.reaches_etcd(zone) {
            self.tell(zone, self.record_read(zone), guards);
        }
        let images = match (self.zones[zone].stores(), self.zones[zone].primary) {
            (false, _) => Images::Unknown,
            (true, true) => Images::Primary,
            (true, false) => Images::NotPrimary,
        };
        self.tell(
            zone,
            Event::Looked {
                sent: at(now),
                images,
            },
            guards,
        );
        if self.reaches_etcd(zone) {
            self.renew(zone, guards);
        }
        self.tell(zone, Event::Tick, guards);
        // Servers wait for the sidecar to know where it stands.
        let z = &mut self.zones[zone];
        if !matches!(z.keeper.state(), State::Starting { .. }) && z.stores() {
            let settled = z.keeper.state() != State::Unmanaged && z.demoting.is_none();
            z.writers |= settled;
        }
        self.lift_fence(zone);
    }

    /// As soon as anybody may: the images are demoted, or the record names the zone and its Ceph is back.
    fn lift_fence(&mut self, zone: usize) {
        let recorded = self.reaches_etcd(zone) && self.etcd.primary == zone;
        let z = &mut self.zones[zone];
        if z.stores() && (!z.primary || recorded) {
            z.fenced = false;
        }
    }

    fn record_read(&self, zone: usize) -> Event {
        Event::RecordRead {
            sent: at(self.now),
            record: self.record_for(zone),
        }
    }

    fn record_for(&self, zone: usize) -> Record {
        let generation = self.etcd.generation;
        if self.etcd.primary == zone {
            Record::Ours { generation }
        } else {
            Record::Theirs { generation }
        }
    }

    fn renew(&mut self, zone: usize, guards: Guards) {
        if !self.zones[zone].keeper.wants_renewal() {
            return;
        }
        match self.etcd.lease.as_mut() {
            Some((holder, _, ends)) if *holder == zone => {
                *ends = self.now + TTL;
                if !(zone == A && self.lost_reply) {
                    self.tell(
                        zone,
                        Event::Renewed {
                            sent: self.sent(guards),
                        },
                        guards,
                    );
                }
            }
            Some(_) | None => self.tell(zone, Event::Gone, guards),
        }
    }

    /// The moment that a right is counted from. Without its guard: from the answer's arrival, a network's delay later.
    fn sent(&self, guards: Guards) -> Duration {
        at(if guards.counts_from_sending {
            self.now
        } else {
            self.now + MISCOUNT
        })
    }

    /// Tells the zone's keeper and carries out what it wants.
    pub(super) fn tell(&mut self, zone: usize, event: Event, guards: Guards) {
        let now = at(self.now);
        for action in self.zones[zone].keeper.handle(now, event) {
            match action {
                Action::Take { generation } => self.take(zone, generation, guards),
                Action::Release => {
                    let ours = self.etcd.lease.is_some_and(|(holder, _, _)| holder == zone);
                    if ours && self.reaches_etcd(zone) {
                        self.etcd.lease = None;
                    }
                }
                // A zone has one sidecar here, and reads the record in each tick.
                Action::StandBy { .. } | Action::ReadRecord => {}
                Action::AskSites { .. } => self.ask_sites(zone, guards),
                Action::Isolate { response: _ } => self.isolate(zone, guards),
            }
        }
    }

    fn isolate(&mut self, zone: usize, guards: Guards) {
        let replaced = matches!(self.zones[zone].keeper.state(), State::NotOurs { .. });
        let guard = if replaced {
            guards.replaced_demotes
        } else {
            guards.isolated_demotes
        };
        let ends = self.now + DEMOTE_BUDGET;
        let z = &mut self.zones[zone];
        if guard && z.primary && z.stores() && z.demoting.is_none() {
            z.demoting = Some(ends);
        }
    }

    fn take(&mut self, zone: usize, generation: Generation, guards: Guards) {
        if !self.reaches_etcd(zone) {
            return;
        }
        if self.record_for(zone) != (Record::Ours { generation }) {
            return;
        }
        if self.etcd.lease.is_some_and(|(holder, _, _)| holder != zone) {
            return;
        }
        self.etcd.lease = Some((zone, generation, self.now + TTL));
        if !(zone == A && self.lost_reply) {
            let sent = self.sent(guards);
            // One level deep: a grant wants nothing further in this tick.
            self.zones[zone]
                .keeper
                .handle(at(self.now), Event::Taken { sent, generation });
        }
    }

    /// Both orchestrators outside the zone answer, and bind themselves, only where they have no etcd majority either.
    fn ask_sites(&mut self, zone: usize, guards: Guards) {
        let reached = zone != A || self.link == Link::Whole;
        let all_answer = self.leaders.iter().all(|l| !l.paused);
        if !reached || !all_answer || self.etcd.up {
            return;
        }
        for leader in &mut self.leaders {
            if guards.promise_binds {
                leader.promised_until = leader.promised_until.max(self.now + TTL + MARGIN);
            }
        }
        let sent = at(self.now);
        self.zones[zone]
            .keeper
            .handle(at(self.now), Event::SitesConfirmed { sent });
    }

    /// What the copy's zone makes of the group's policy is of no account here; the leader's is in [`policy`].
    pub(super) fn order_release(
        &mut self,
        zone: usize,
        generation: Generation,
        guards: Guards,
    ) -> bool {
        if self.zones[zone].primary {
            return false;
        }
        match &mut self.sidecars {
            // The first deletes its own key alone, and the other knows nothing of it.
            Sidecars::Two { first_holds } if zone == A => {
                let held = std::mem::take(first_holds);
                let ours = self.etcd.lease.is_some_and(|(holder, _, _)| holder == zone);
                if held && ours && self.reaches_etcd(zone) {
                    self.etcd.lease = None;
                }
                return true;
            }
            Sidecars::One | Sidecars::Two { .. } => {}
        }
        self.tell(zone, Event::OrderedToRelease { generation }, guards);
        debug_assert!(
            policy(guards, self.agent).check().is_ok() || !guards.margin,
            "the model's own timing is sound"
        );
        self.etcd.lease.is_none_or(|(holder, _, _)| holder != zone)
    }

    pub(super) fn order_take(
        &mut self,
        zone: usize,
        generation: Generation,
        guards: Guards,
    ) -> bool {
        if !self.reaches_etcd(zone) {
            return false;
        }
        self.tell(zone, self.record_read(zone), guards);
        self.tell(zone, Event::OrderedToTake { generation }, guards);
        let holds = self.zones[zone].holds(self.now, generation);
        match &mut self.sidecars {
            Sidecars::Two { first_holds } if zone == A => *first_holds |= holds,
            Sidecars::One | Sidecars::Two { .. } => {}
        }
        holds
    }
}

/// How far a right is overcounted without its guard.
const MISCOUNT: Tick = TTL;
