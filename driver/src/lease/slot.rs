//! One group's place: its keeper, what is under way for it, and what it was last seen to be in etcd.

use super::{
    keeper::{Action, Event, Holder, Images, Keeper, Moment, State},
    keys::Terms,
    policy::PolicyChange,
    sink::SeenImage,
};
use rekindle_common::{
    ApiError, Generation, GroupName, ZoneName,
    deletion::OnDelete,
    lease::{LeaseTiming, LeaseView},
    policy::IsolationResponse,
    volume::Known,
};
use rekindle_store::Revision;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Between two tries of the same thing.
const PAUSE: Duration = Duration::from_secs(1);
/// A demotion is given at least that long before it is begun anew.
const DEMOTE_AT_LEAST: Duration = Duration::from_secs(5);

pub(super) type Reply = oneshot::Sender<Result<LeaseView, ApiError>>;
pub(super) type Slots = BTreeMap<GroupName, Slot>;

/// What the orchestrator asks for.
#[derive(Debug)]
pub(super) enum Order {
    Take {
        group: GroupName,
        generation: Generation,
        reply: Reply,
    },
    GiveUp {
        group: GroupName,
        generation: Generation,
        reply: Reply,
    },
}

/// Something that can be under way once at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Errand {
    busy: bool,
    begun: Option<Moment>,
}

impl Errand {
    /// Begins it, unless it is under way or was begun less than `pause` ago.
    pub(super) fn begin(&mut self, now: Moment, pause: Duration) -> bool {
        let soon = self
            .begun
            .is_some_and(|begun| now.saturating_sub(begun) < pause);
        if self.busy || soon {
            return false;
        }
        *self = Self {
            busy: true,
            begun: Some(now),
        };
        true
    }
    pub(super) fn end(&mut self) {
        self.busy = false;
    }
    /// How long ago it was begun last.
    fn since(&self, now: Moment) -> Duration {
        self.begun
            .map_or(Duration::ZERO, |begun| now.saturating_sub(begun))
    }
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) keeper: Keeper,
    pub(super) policy: PolicyChange,
    pub(super) taking: Errand,
    /// The time to live, in seconds, of the lease that a take is putting the key on, or may have put it on: it is under way, or its
    /// end is not known.
    pub(super) putting: Option<u32>,
    pub(super) asking: Errand,
    pub(super) isolating: Errand,
    /// Of the demotion that was begun last: cancelled, it begins no further volume.
    pub(super) demotion: CancellationToken,
    /// Since when demoting is asked for without a break.
    demoting_since: Option<Moment>,
    /// After a try that ended before its time: when the next one is due.
    demote_again: Moment,
    pub(super) reading: Errand,
    pub(super) releasing: Errand,
    pub(super) noting: Errand,
    pub(super) noting_on_delete: Errand,
    /// What the group's primaries here carry as their deletion policy.
    pub(super) on_delete: Carried,
    /// An order that waits until what is under way has ended.
    pub(super) ordered: Option<(Generation, Reply)>,
    /// Orders to give up, answered when the key is gone.
    pub(super) giving_up: Vec<Reply>,
    /// Whether a key of this sidecar's may stand in etcd.
    pub(super) maybe_ours: bool,
    /// Whether the sidecar was frozen for it; `None`: not known since the start.
    pub(super) frozen: Option<bool>,
    /// The newest reading of the keys that was taken up.
    read: Option<(Revision, Moment)>,
    /// The zone that the record named when it was read last.
    pub(super) recorded: Option<ZoneName>,
    /// What the keeper asked for last.
    wanted: Vec<Action>,
}

impl Slot {
    /// `since`: the moment from which a start without etcd is counted.
    pub(super) fn new(since: Moment, timing: LeaseTiming, response: IsolationResponse) -> Self {
        Self {
            keeper: Keeper::start(since, timing, response),
            policy: PolicyChange::new(Terms { timing, response }),
            taking: Errand::default(),
            putting: None,
            asking: Errand::default(),
            isolating: Errand::default(),
            demotion: CancellationToken::new(),
            demoting_since: None,
            demote_again: Moment::ZERO,
            reading: Errand::default(),
            releasing: Errand::default(),
            noting: Errand::default(),
            noting_on_delete: Errand::default(),
            on_delete: Carried::NoPrimary,
            ordered: None,
            giving_up: Vec::new(),
            maybe_ours: false,
            frozen: None,
            read: None,
            recorded: None,
            wanted: Vec::new(),
        }
    }

    /// Whether a reading is newer than what was taken up, and takes its revision up.
    ///
    /// Tasks end in any order. A reading is old only where another one of a later revision was taken up after it began: after
    /// etcd was restored from a backup its revisions start lower.
    pub(super) fn is_news(&mut self, now: Moment, began: Moment, revision: Revision) -> bool {
        let old = self
            .read
            .is_some_and(|(newest, at)| revision < newest && began <= at);
        if !old {
            self.read = Some((revision, now));
        }
        !old
    }

    /// The zone that is primary, where the keeper knows that it is another one.
    pub(super) fn elsewhere(&self) -> Option<ZoneName> {
        match self.keeper.state() {
            State::NotOurs { .. } => self.recorded.clone(),
            State::Starting { .. }
            | State::Held { .. }
            | State::KeptByFailsafe { .. }
            | State::Isolated { .. }
            | State::Released { .. }
            | State::Unmanaged => None,
        }
    }

    /// Gives the keeper an event, and remembers what it asks for.
    pub(super) fn apply(&mut self, group: &GroupName, now: Moment, event: Event) {
        let before = self.keeper.state();
        self.wanted = self.keeper.handle(now, event);
        let after = self.keeper.state();
        let demote = Action::Isolate {
            response: IsolationResponse::Demote,
        };
        if !self.wanted.contains(&demote) {
            self.demoting_since = None;
        }
        // The zone serves: what is left of a demotion from before would take the disks from under its servers.
        if let State::Held { .. } = after {
            self.demotion.cancel();
        }
        if std::mem::discriminant(&before) != std::mem::discriminant(&after) {
            log(group, before, after);
        }
    }

    /// What is to be begun now. An action that is under way, or was begun a moment ago, is not begun again.
    pub(super) fn begin(&mut self, now: Moment) -> Vec<Begin> {
        let mut begin = Vec::new();
        let standby = matches!(
            self.keeper.state(),
            State::Held {
                by: Holder::Peer,
                ..
            }
        );
        let mut keeps_key = self.keeper.wants_renewal() || self.taking.is_busy();
        for action in self.wanted.clone() {
            match action {
                Action::Take { generation } => {
                    keeps_key = true;
                    let pause = if standby {
                        // Often enough that a living peer never looks late.
                        self.policy.terms().timing.renew_every.get() / 2
                    } else {
                        PAUSE
                    };
                    if self.ordered.is_none() && self.taking.begin(now, pause) {
                        self.puts(self.policy.terms());
                        begin.push(Begin::Take { generation });
                    }
                }
                Action::StandBy { generation } => {
                    if self.ordered.is_none() && self.taking.begin(now, PAUSE) {
                        begin.push(Begin::StandBy { generation });
                    }
                }
                Action::AskSites { generation } => {
                    if self.asking.begin(now, PAUSE) {
                        begin.push(Begin::AskSites { generation });
                    }
                }
                Action::Isolate { response } => match response {
                    IsolationResponse::Demote => {
                        // While something may be written, a key that stands keeps the other zone from taking over.
                        keeps_key |= !matches!(self.keeper.state(), State::NotOurs { .. });
                        // One that is void holds up no other.
                        if self.demotion.is_cancelled() {
                            self.isolating.end();
                        }
                        if self.may_try(now) && self.isolating.begin(now, Duration::ZERO) {
                            self.demotion = CancellationToken::new();
                            begin.push(Begin::Demote);
                        }
                    }
                    IsolationResponse::Freeze => {
                        if self.frozen != Some(true) && self.isolating.begin(now, PAUSE) {
                            self.frozen = Some(true);
                            begin.push(Begin::SetFrozen(true));
                        }
                    }
                    IsolationResponse::Keep => {}
                },
                Action::ReadRecord => {
                    if self.reading.begin(now, PAUSE) {
                        // Whether etcd answers is the cycle's business.
                        self.reading.end();
                        begin.push(Begin::ReadRecord);
                    }
                }
                Action::Release => keeps_key = false,
            }
        }
        if self.frozen != Some(false)
            && matches!(self.keeper.state(), State::Held { .. })
            && self.isolating.begin(now, PAUSE)
        {
            self.frozen = Some(false);
            begin.push(Begin::SetFrozen(false));
        }
        // A shared lease is renewed for other groups too: a key that is not to stand must be deleted.
        let release = self.maybe_ours && !keeps_key || !self.giving_up.is_empty();
        if release && !self.taking.is_busy() && self.releasing.begin(now, PAUSE) {
            begin.push(Begin::Release);
        }
        if let Some((generation, _)) = &self.ordered
            && self.taking.begin(now, Duration::ZERO)
        {
            begin.push(Begin::OrderedTake {
                generation: *generation,
            });
            self.puts(self.policy.terms());
        }
        begin
    }

    /// How long one try to demote may last.
    pub(super) fn demote_limit(&self) -> Duration {
        let budget = self.policy.terms().timing.demote_budget.get();
        budget.max(DEMOTE_AT_LEAST)
    }

    /// Whether a demotion may be tried now. At first one follows the other, for each moment counts. What has not come about by then
    /// is refused again: lists and opens without a pause make it no sooner, and take the cluster's time from everybody.
    fn may_try(&mut self, now: Moment) -> bool {
        let since = *self.demoting_since.get_or_insert(now);
        now < since + self.demote_limit() || now >= self.demote_again
    }

    /// The isolation response was carried out, or could not be.
    pub(super) fn isolation_ended(&mut self, now: Moment) {
        self.isolating.end();
        // One that took all of its time has waited already.
        let in_time = self.isolating.since(now) < self.demote_limit();
        self.demote_again = if in_time { now + PAUSE } else { now };
    }

    /// A take on these terms is begun: the key may be on their lease from now on.
    pub(super) fn puts(&mut self, terms: Terms) {
        let before = self.putting.unwrap_or(u32::MAX);
        self.putting = Some(before.min(terms.ttl()));
    }

    /// Whether a key that was read on a lease of `ttl` seconds stands there: a put on a shorter one may be under way.
    pub(super) fn stands_on(&self, ttl: u32) -> bool {
        self.putting.is_none_or(|putting| putting >= ttl)
    }

    /// No task is under way any more: after one of them was lost.
    pub(super) fn forget_errands(&mut self) {
        for errand in [
            &mut self.taking,
            &mut self.asking,
            &mut self.isolating,
            &mut self.releasing,
            &mut self.noting,
            &mut self.noting_on_delete,
        ] {
            errand.end();
        }
    }
}

/// A task to begin for one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Take { generation: Generation },
    OrderedTake { generation: Generation },
    StandBy { generation: Generation },
    AskSites { generation: Generation },
    Demote,
    SetFrozen(bool),
    ReadRecord,
    Release,
}

/// The deletion policy that a group's primaries in this zone carry in their metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// None is primary here, or that is not known: nothing can be written.
    NoPrimary,
    /// Not all of them carry one and the same.
    Mixed,
    /// This one.
    All(OnDelete),
}

impl Carried {
    fn and(self, primary: bool, on_delete: Option<OnDelete>) -> Self {
        match (self, primary, on_delete) {
            (before, false, _) => before,
            (Self::NoPrimary, true, Some(o)) => Self::All(o),
            (Self::All(before), true, Some(o)) if before == o => self,
            (Self::NoPrimary | Self::Mixed | Self::All(_), true, _) => Self::Mixed,
        }
    }
}

/// What a look shows of one group: its images, and the policies that they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupLook {
    pub(super) images: Images,
    /// `Demote` where one of them carries none: a start without etcd would demote.
    pub(super) noted: IsolationResponse,
    pub(super) on_delete: Carried,
}

/// What a look shows of each group, and of a group of which it shows none.
pub(super) fn by_group(seen: &[SeenImage]) -> (BTreeMap<GroupName, GroupLook>, Images) {
    let mut groups: BTreeMap<GroupName, GroupLook> = BTreeMap::new();
    for image in seen {
        let Some(group) = &image.group else {
            continue;
        };
        let noted = image.isolation.unwrap_or(IsolationResponse::Demote);
        let primary = image.primary == Known::Yes;
        let images = match image.primary {
            Known::Yes => Images::Primary,
            Known::No => Images::NotPrimary,
            Known::Unknown => Images::Unknown,
        };
        groups
            .entry(group.clone())
            .and_modify(|g| {
                g.on_delete = g.on_delete.and(primary, image.on_delete);
                g.images = together(g.images, images);
                // Where they differ, the strictest.
                if g.noted != noted {
                    g.noted = IsolationResponse::Demote;
                }
            })
            .or_insert(GroupLook {
                images,
                noted,
                on_delete: Carried::NoPrimary.and(primary, image.on_delete),
            });
    }
    // One whose group is not known may be any group's, also of one that has no other.
    if seen.iter().all(|image| image.group.is_some()) {
        return (groups, Images::None);
    }
    for look in groups.values_mut() {
        look.images = together(look.images, Images::Unknown);
    }
    (groups, Images::Unknown)
}

/// One that is primary says it for all, and one of which it is not known lets nobody say that none is.
fn together(one: Images, other: Images) -> Images {
    match (one, other) {
        (Images::Primary, _) | (_, Images::Primary) => Images::Primary,
        (Images::Unknown, _) | (_, Images::Unknown) => Images::Unknown,
        (Images::NotPrimary, _) | (_, Images::NotPrimary) => Images::NotPrimary,
        (Images::None, Images::None) => Images::None,
    }
}

fn log(group: &GroupName, before: State, after: State) {
    match after {
        State::Isolated { generation } => {
            tracing::warn!(%group, %generation, ?before, "isolated: this zone does not serve the group");
        }
        State::KeptByFailsafe { generation, .. } => {
            tracing::warn!(%group, %generation, "the lease is not renewed");
        }
        State::NotOurs { generation } => {
            tracing::info!(%group, %generation, "another zone is primary");
        }
        State::Held { generation, by, .. } => {
            tracing::info!(%group, %generation, ?by, "the lease is held");
        }
        State::Released { generation } => {
            tracing::info!(%group, %generation, "the lease is released")
        }
        State::Starting { .. } | State::Unmanaged => {
            tracing::info!(%group, state = ?after, "the lease's state changed");
        }
    }
}

#[cfg(test)]
mod tests;
