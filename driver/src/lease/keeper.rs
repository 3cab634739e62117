//! One group's lease, as a pure machine: events with their time in, actions out.
//!
//! ```text
//!             record ours, images primary          renewed
//!   Starting ---------------------------> Held <-----------+
//!      |  \                               |  \            |
//!      |   record ours, images demoted    |   not renewed: AskSites
//!      |        \                         |     all say "still yours" -> KeptByFailsafe --+
//!      |         v                        |                                   |
//!      |      Isolated <--- deadline -----+<---------------- deadline --------+
//!      |         | ordered to take, record ours -> Held
//!      |         | the zone's other sidecar holds it -> Held (by the peer: this one watches)
//!      +--> NotOurs (record names the other zone; demotes what is primary here all the same)
//!   Held -- ordered to release --> Released -- ordered to take, or a newer record --> …
//! ```
//!
//! What must never happen: that this zone's images are writable after the moment at which the other zone may be recorded.
//! So each right to write has an end, `until`, reckoned from the **sending** of what granted it: `sent + ttl - demote_budget`.
//! At `until` at the latest [`Action::Isolate`] is emitted, and again with each event until the images are known to be demoted.
//!
//! Nor does a right last longer than one that was asked for now would: the key may be put on another lease at any moment, under the
//! policy as it is now or in a peer's place, and the answer may never come. See [`Keeper::set_policy`].
//!
//! What this is not: it knows nothing of etcd, sockets or librbd. [`super`] feeds it and carries its actions out.

mod rise;
mod words;

pub use words::{Action, Event, Holder, Images, Moment, Record, State};

use rekindle_common::{
    Generation,
    duration::Span,
    lease::{LeaseTiming, LeaseView},
    policy::IsolationResponse,
};
use rise::Rise;
use std::time::Duration;

/// One group's lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keeper {
    timing: Timing,
    response: IsolationResponse,
    state: State,
    images: Images,
    /// Looks that were begun before it are not believed.
    looks_since: Moment,
    /// While this zone does not serve.
    risen: Option<Rise>,
    record: Option<Record>,
    ordered: Option<Generation>,
}

/// [`LeaseTiming`] in a form that can be hashed and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Timing {
    ttl: Duration,
    renew_every: Duration,
    demote_budget: Duration,
}

impl Keeper {
    /// A keeper of a process that begins now.
    #[must_use]
    pub fn start(now: Moment, timing: LeaseTiming, response: IsolationResponse) -> Self {
        let timing = Timing {
            ttl: timing.ttl.get(),
            renew_every: timing.renew_every.get(),
            demote_budget: timing.demote_budget.get(),
        };
        // The margin allows for this grace, on top of the restart and the demotion.
        let until = now + timing.demote_budget;
        Self {
            timing,
            response,
            state: State::Starting { until },
            images: Images::Unknown,
            looks_since: now,
            risen: None,
            record: None,
            ordered: None,
        }
    }

    /// Takes a policy up, changed or not.
    ///
    /// It comes before the key is put on a lease of the new time to live. From then on etcd judges by that lease, also where nobody
    /// hears that the key was put there: so what is left of a longer right is cut to what one asked for now would be. What is
    /// kept back to demote in is the new budget, on both leases. No right becomes longer by it.
    pub fn set_policy(&mut self, now: Moment, timing: LeaseTiming, response: IsolationResponse) {
        let before = self.timing.demote_budget;
        self.timing = Timing {
            ttl: timing.ttl.get(),
            renew_every: timing.renew_every.get(),
            demote_budget: timing.demote_budget.get(),
        };
        self.response = response;
        let most = self.until(now);
        let budget = self.timing.demote_budget;
        match &mut self.state {
            State::Held { until, .. } | State::KeptByFailsafe { until, .. } => {
                let on_the_old = (*until + before).saturating_sub(budget);
                *until = on_the_old.min(most).min(*until);
            }
            State::Starting { .. }
            | State::Isolated { .. }
            | State::Released { .. }
            | State::NotOurs { .. }
            | State::Unmanaged => {}
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// As it is reported.
    #[must_use]
    pub fn view(&self, now: Moment) -> LeaseView {
        let left = |until: Moment| Span(until.saturating_sub(now));
        match self.state {
            State::Held {
                generation,
                until,
                by: Holder::Us,
            } => LeaseView::Held {
                generation,
                left: left(until),
            },
            State::KeptByFailsafe { generation, until } => LeaseView::KeptByFailsafe {
                generation,
                left: left(until),
            },
            State::Isolated { generation } => LeaseView::Isolated { generation },
            State::Starting { .. }
            | State::Held {
                by: Holder::Peer, ..
            }
            | State::Released { .. }
            | State::NotOurs { .. }
            | State::Unmanaged => LeaseView::NotHeld,
        }
    }

    /// Whether this sidecar's etcd lease stands behind the group, so that it has to be renewed.
    #[must_use]
    pub fn wants_renewal(&self) -> bool {
        matches!(
            self.state,
            State::Held { by: Holder::Us, .. } | State::KeptByFailsafe { .. }
        )
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Starting { until }
            | State::Held { until, .. }
            | State::KeptByFailsafe { until, .. } => Some(until),
            State::Isolated { .. } | State::NotOurs { .. } => {
                self.risen.map(|rise| rise.until(self.timing.demote_budget))
            }
            State::Released { .. } | State::Unmanaged => None,
        }
    }

    /// The end of a right that was asked for at `sent`.
    fn until(&self, sent: Moment) -> Moment {
        sent + self.timing.ttl.saturating_sub(self.timing.demote_budget)
    }

    /// Takes one event and says what is to be done.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        match event {
            Event::Tick => {}
            Event::Looked { sent, images } if sent >= self.looks_since => self.look(now, images),
            Event::Looked { .. } => {}
            Event::RecordRead { sent, record } => {
                self.record = Some(record);
                self.follow(now, record);
                // Whatever they were promoted on, this zone was not recorded after that.
                if let Record::Theirs { .. } = record {
                    self.risen = self.risen.filter(|rise| !rise.is_known_to(sent));
                }
            }
            Event::Taken { sent, generation } => self.granted(sent, generation, Holder::Us),
            Event::HeldByPeer { sent, generation } => {
                self.held_by_peer(now, sent, generation);
            }
            Event::PeerVouched { sent, generation } => {
                self.learn(now, generation);
                // It comes again and again, and what was granted here since is newer.
                if self.until(sent) > self.granted_until(generation) {
                    self.held_by_peer(now, sent, generation);
                }
            }
            Event::Renewed { sent } => self.renewed(sent),
            // The right lasts to its `until` all the same; what follows from the loss is in `wanted`.
            Event::Gone => self.gone(),
            Event::SitesConfirmed { sent } => self.confirmed(sent),
            Event::OrderedToTake { generation } => self.ordered = Some(generation),
            Event::OrderedToRelease { generation } => {
                self.ordered = None;
                if !matches!(self.state, State::NotOurs { .. } | State::Unmanaged) {
                    self.state = State::Released { generation };
                    return vec![Action::Release];
                }
            }
        }
        self.expire(now);
        self.wanted(now)
    }

    /// A right has ended: what was known of the images, and what was ordered, is from before.
    fn end_right(&mut self, now: Moment) {
        self.images = Images::Unknown;
        self.looks_since = now;
        self.risen = None;
        self.ordered = None;
    }

    fn look(&mut self, now: Moment, images: Images) {
        self.risen = match self.state {
            State::Isolated { .. } | State::NotOurs { .. } => {
                Rise::after(self.risen, self.images, now, images)
            }
            State::Starting { .. }
            | State::Held { .. }
            | State::KeptByFailsafe { .. }
            | State::Released { .. }
            | State::Unmanaged => None,
        };
        self.images = images;
    }

    /// A peer has read a record that names this zone under a generation that this sidecar had not heard of.
    fn learn(&mut self, now: Moment, generation: Generation) {
        let news = match self.record {
            None => true,
            Some(Record::Ours { generation: known } | Record::Theirs { generation: known }) => {
                known < generation
            }
            // Without a record there was nothing to hold, whatever a peer held before.
            Some(Record::Absent) => false,
        };
        if news {
            let record = Record::Ours { generation };
            self.record = Some(record);
            self.follow(now, record);
        }
    }

    /// A record overrules everything that was believed of who is primary.
    fn follow(&mut self, now: Moment, record: Record) {
        match (record, self.state) {
            (Record::Absent, _) => {
                self.ordered = None;
                self.risen = None;
                self.state = State::Unmanaged;
            }
            (Record::Theirs { generation }, before) => {
                self.ordered = None;
                if !matches!(before, State::NotOurs { .. }) {
                    self.end_right(now);
                }
                self.state = State::NotOurs { generation };
            }
            (
                Record::Ours { generation },
                State::Held { generation: g, .. }
                | State::KeptByFailsafe { generation: g, .. }
                | State::Released { generation: g },
            ) if g == generation => {}
            // The group was put under Rekindle's decision just now, with its images as they are.
            (Record::Ours { .. }, State::Unmanaged) => {
                self.state = State::Starting {
                    until: now + self.timing.demote_budget,
                };
            }
            // What was held under an older generation is void; a new one is taken by order.
            (
                Record::Ours { generation },
                State::Held { .. }
                | State::KeptByFailsafe { .. }
                | State::Isolated { .. }
                | State::Released { .. },
            ) => self.state = State::Isolated { generation },
            // Who may have promoted them meanwhile is looked for from now on: before, there was no lease to do so on.
            (Record::Ours { generation }, State::NotOurs { .. }) => {
                self.risen = self.risen.map(|_| Rise::at(now));
                self.state = State::Isolated { generation };
            }
            (Record::Ours { .. }, State::Starting { .. }) => {}
        }
    }

    fn granted(&mut self, sent: Moment, generation: Generation, by: Holder) {
        if self.record != Some(Record::Ours { generation }) {
            return;
        }
        // An answer that comes after a release, or after the demotion has begun, grants nothing unless it was ordered.
        let takes = match self.state {
            State::Starting { .. } | State::Held { .. } | State::KeptByFailsafe { .. } => true,
            // The zone holds it: its other sidecar was ordered to, or never lost it. This one watches.
            State::Isolated { .. } if by == Holder::Peer => true,
            State::Isolated { .. } | State::Released { .. } => {
                self.ordered == Some(generation)
                    || self.serves_undemoted()
                    || self.is_empty_and_recorded()
            }
            State::NotOurs { .. } | State::Unmanaged => false,
        };
        if takes {
            self.ordered = None;
            let until = self.until(sent).max(self.granted_until(generation));
            self.state = State::Held {
                generation,
                until,
                by,
            };
        }
    }

    /// A right of the peer's that is over already is none. One on a longer time to live than this sidecar's own ends as if it were
    /// on that: this one may take the key over, on its own lease.
    fn held_by_peer(&mut self, now: Moment, sent: Moment, generation: Generation) {
        let sent = sent.min(now);
        if self.until(sent) > now {
            self.granted(sent, generation, Holder::Peer);
        }
    }

    /// The end that was granted already, for a second grant must not shorten the first.
    fn granted_until(&self, generation: Generation) -> Moment {
        match self.state {
            State::Held {
                generation: g,
                until,
                ..
            }
            | State::KeptByFailsafe {
                generation: g,
                until,
            } if g == generation => until,
            State::Starting { .. }
            | State::Held { .. }
            | State::KeptByFailsafe { .. }
            | State::Isolated { .. }
            | State::Released { .. }
            | State::NotOurs { .. }
            | State::Unmanaged => Moment::ZERO,
        }
    }

    fn renewed(&mut self, sent: Moment) {
        let new = self.until(sent);
        if let State::Held {
            until,
            by: Holder::Us,
            ..
        } = &mut self.state
        {
            *until = new.max(*until);
        }
    }

    /// The key is gone. A holder that still has time goes on as kept, and asks or takes again.
    fn gone(&mut self) {
        if let State::Held {
            generation,
            until,
            by: Holder::Us,
        } = self.state
        {
            self.state = State::KeptByFailsafe { generation, until };
        }
    }

    fn confirmed(&mut self, sent: Moment) {
        let new = self.until(sent);
        match self.state {
            State::Held {
                generation, until, ..
            }
            | State::KeptByFailsafe { generation, until } => {
                let until = new.max(until);
                self.state = State::KeptByFailsafe { generation, until };
            }
            State::Starting { .. }
            | State::Isolated { .. }
            | State::Released { .. }
            | State::NotOurs { .. }
            | State::Unmanaged => {}
        }
    }

    /// Whether the images go on being written to although the lease is lost, because policy says so.
    fn serves_undemoted(&self) -> bool {
        self.response != IsolationResponse::Demote && self.images == Images::Primary
    }

    /// Whether the zone waits for nothing but its own hesitation: there is no image that anybody could have demoted or begun to use.
    fn is_empty_and_recorded(&self) -> bool {
        matches!(self.state, State::Isolated { .. }) && self.images == Images::None
    }

    /// Whether its images have to be looked at before anything can be decided.
    #[must_use]
    pub fn awaits_look(&self) -> bool {
        matches!(self.state, State::Starting { .. }) && self.images == Images::Unknown
    }

    /// A right whose time is over is no right.
    fn expire(&mut self, now: Moment) {
        match self.state {
            State::Held {
                generation, until, ..
            }
            | State::KeptByFailsafe { generation, until }
                if now >= until =>
            {
                self.state = State::Isolated { generation };
                self.end_right(now);
            }
            State::Starting { until } => {
                let over = now >= until;
                match (self.record, self.images) {
                    // A zone whose images are demoted does not say that it serves.
                    (Some(Record::Ours { generation }), Images::NotPrimary) => {
                        self.state = State::Isolated { generation };
                    }
                    // Still no lease though etcd answers: whoever may write, it is not known to be this zone.
                    (Some(Record::Ours { generation }), Images::Primary | Images::None) if over => {
                        self.state = State::Isolated { generation };
                    }
                    (None, _) if over => {
                        self.state = State::Isolated {
                            generation: Generation::ZERO,
                        }
                    }
                    // The cluster does not answer, so nothing can be demoted: the lease keeps the other zone from taking over.
                    (
                        Some(Record::Ours { .. }),
                        Images::Unknown | Images::Primary | Images::None,
                    )
                    | (Some(Record::Theirs { .. } | Record::Absent) | None, _) => {}
                }
            }
            State::Held { .. }
            | State::KeptByFailsafe { .. }
            | State::Isolated { .. }
            | State::Released { .. }
            | State::NotOurs { .. }
            | State::Unmanaged => {}
        }
    }

    /// What follows from where it stands.
    fn wanted(&self, now: Moment) -> Vec<Action> {
        let isolate = Action::Isolate {
            response: self.response,
        };
        let may_be_written = matches!(self.images, Images::Primary | Images::Unknown);
        let budget = self.timing.demote_budget;
        let is_new = self.risen.is_some_and(|rise| now < rise.until(budget));
        let record = match self.record {
            Some(Record::Ours { generation }) => Some(generation),
            Some(Record::Theirs { .. } | Record::Absent) | None => None,
        };
        match self.state {
            State::Starting { until } => match (record, self.images) {
                (Some(generation), Images::Primary | Images::None) => {
                    vec![Action::Take { generation }]
                }
                (Some(generation), Images::Unknown) if now >= until => {
                    vec![Action::Take { generation }]
                }
                (Some(_), Images::Unknown | Images::NotPrimary) | (None, _) => Vec::new(),
            },
            State::Held {
                generation,
                until,
                by,
            } => {
                let granted = until.saturating_sub(self.until(Moment::ZERO));
                let late = now > granted + self.timing.renew_every * 2;
                match (by, late) {
                    (Holder::Us, false) => Vec::new(),
                    (Holder::Us, true) => vec![Action::AskSites { generation }],
                    // Watches over the holder, and takes the lease when it is free.
                    (Holder::Peer, false) => vec![Action::Take { generation }],
                    (Holder::Peer, true) => {
                        vec![Action::Take { generation }, Action::AskSites { generation }]
                    }
                }
            }
            State::KeptByFailsafe { generation, .. } => {
                vec![Action::Take { generation }, Action::AskSites { generation }]
            }
            State::Isolated { generation } => {
                if self.ordered.is_some() && self.ordered == record {
                    return vec![Action::Take { generation }];
                }
                // Whoever promoted them did so on a lease that this sidecar may not have heard of: also where it never saw them demoted.
                let stand_by = record.map(|generation| Action::StandBy { generation });
                match (self.response, record) {
                    (IsolationResponse::Demote, _) if may_be_written && is_new => {
                        stand_by.into_iter().collect()
                    }
                    (IsolationResponse::Demote, _) if may_be_written => {
                        stand_by.into_iter().chain([isolate]).collect()
                    }
                    (IsolationResponse::Demote, Some(_)) if self.images == Images::None => {
                        vec![Action::Take { generation }]
                    }
                    (IsolationResponse::Demote, _) => Vec::new(),
                    (IsolationResponse::Freeze | IsolationResponse::Keep, Some(_))
                        if self.serves_undemoted() =>
                    {
                        vec![isolate, Action::Take { generation }]
                    }
                    (IsolationResponse::Freeze | IsolationResponse::Keep, _) => vec![isolate],
                }
            }
            State::Released { generation } => match self.ordered {
                Some(g) if g == generation && record == Some(g) => {
                    vec![Action::Take { generation }]
                }
                Some(_) | None => Vec::new(),
            },
            // Whoever promoted them did so under a record that this sidecar has not read. If it is as it was, the next reading says so.
            State::NotOurs { .. } if may_be_written && is_new => {
                vec![Action::Release, Action::ReadRecord]
            }
            // Replaced: what is still primary here must not be written to. What is not seen demoted may be served under a newer record,
            // and that must not have to wait for the next cycle.
            State::NotOurs { .. } if may_be_written => match self.response {
                IsolationResponse::Demote => vec![Action::Release, Action::ReadRecord, isolate],
                IsolationResponse::Freeze | IsolationResponse::Keep => {
                    vec![Action::Release, isolate]
                }
            },
            State::NotOurs { .. } => vec![Action::Release],
            State::Unmanaged => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
