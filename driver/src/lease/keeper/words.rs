//! What happens to a keeper, what it asks for, and where it can stand.

use rekindle_common::{Generation, policy::IsolationResponse};
use std::time::Duration;

/// A moment on this process's monotonic clock, as the time since any fixed origin.
pub type Moment = Duration;

/// What is known of this zone's images of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Images {
    /// The cluster does not answer.
    Unknown,
    /// The group has no volume here.
    None,
    /// At least one is primary.
    Primary,
    /// There are some, and none is primary.
    NotPrimary,
}

/// The primary record, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    /// etcd answered, and there is none: the group is not, or no longer, under Rekindle's decision.
    Absent,
    /// It names this zone.
    Ours {
        /// Under which generation.
        generation: Generation,
    },
    /// It names the other zone.
    Theirs {
        /// Under which generation.
        generation: Generation,
    },
}

/// What happened. Requests' answers carry the moment at which the request was **sent**.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The images were looked at.
    Looked {
        /// When that was begun: a look from before an isolation says nothing about what came of it.
        sent: Moment,
        /// What was seen.
        images: Images,
    },
    /// The record was read from an etcd majority.
    RecordRead {
        /// When that was asked for.
        sent: Moment,
        /// What stood there.
        record: Record,
    },
    /// The lease was taken.
    Taken {
        /// When that was asked for.
        sent: Moment,
        /// Under which generation.
        generation: Generation,
    },
    /// Another sidecar of this zone holds it.
    HeldByPeer {
        /// When the lease's key was asked for.
        sent: Moment,
        /// Under which generation.
        generation: Generation,
    },
    /// Another sidecar of this zone holds the lease, and says so without etcd (see [`crate::lease::Board`]).
    PeerVouched {
        /// When it was asked: its renewal reached etcd after that.
        sent: Moment,
        /// Under which generation the record named this zone then.
        generation: Generation,
    },
    /// The etcd lease was renewed.
    Renewed {
        /// When that was asked for.
        sent: Moment,
    },
    /// etcd says that the lease is gone.
    Gone,
    /// All other sites answered that the group is still this zone's, and bound themselves.
    SitesConfirmed {
        /// When the first of them was asked.
        sent: Moment,
    },
    /// The orchestrator ordered it to be taken.
    OrderedToTake {
        /// Under which generation.
        generation: Generation,
    },
    /// The orchestrator ordered it to be released; the images were seen demoted before.
    OrderedToRelease {
        /// Under which generation.
        generation: Generation,
    },
}

/// What is to be done. Each may be carried out any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take the lease, comparing the record; answer with [`Event::Taken`], [`Event::HeldByPeer`] or [`Event::RecordRead`].
    Take {
        /// Under which generation.
        generation: Generation,
    },
    /// Look whether another sidecar of this zone holds the lease; answer with [`Event::HeldByPeer`] or [`Event::RecordRead`].
    StandBy {
        /// Under which generation.
        generation: Generation,
    },
    /// Read the record now; answer with [`Event::RecordRead`].
    ReadRecord,
    /// Delete the lease's key, if it is ours.
    Release,
    /// Ask all other sites; answer with [`Event::SitesConfirmed`] or not at all.
    AskSites {
        /// The generation that was held.
        generation: Generation,
    },
    /// Carry the isolation response out, then look at the images.
    Isolate {
        /// Which.
        response: IsolationResponse,
    },
}

/// Where the lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The process has just begun: what it holds is not known.
    Starting {
        /// Demote what is primary from then on.
        until: Moment,
    },
    /// Held, by this sidecar or by another one of this zone.
    Held {
        /// Under which generation.
        generation: Generation,
        /// When the isolation response must begin.
        until: Moment,
        /// By whom.
        by: Holder,
    },
    /// etcd is ill; the other sites let this zone go on.
    KeptByFailsafe {
        /// Under which generation.
        generation: Generation,
        /// When the isolation response must begin.
        until: Moment,
    },
    /// This zone is recorded, and does not serve.
    Isolated {
        /// Under which generation it was held, or is recorded.
        generation: Generation,
    },
    /// Released by order.
    Released {
        /// Under which generation.
        generation: Generation,
    },
    /// The other zone is recorded.
    NotOurs {
        /// Under which generation.
        generation: Generation,
    },
    /// Nobody is recorded: there is nothing to hold.
    Unmanaged,
}

/// Which sidecar of the zone holds a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// This one.
    Us,
    /// Another.
    Peer,
}
