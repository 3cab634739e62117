//! What the two simulated clusters hold. Plain data; [`super::mirror`] moves it forward in time.

use crate::{
    backend::{
        error::Op,
        view::{MirrorSnapshot, SiteStatus},
    },
    clock::Clock,
};
use jiff::Timestamp;
use rekindle_common::{ImageSpec, ZoneName, mode::MirrorImageMode};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The times of a simulated pair of clusters. All count tokio's clock, so a test may pause it.
#[derive(Debug, Clone, Copy)]
pub struct FabricConfig {
    /// How far behind a journal copy is while all is well.
    pub replay_delay: Duration,
    /// How long copying one mirror snapshot takes.
    pub snapshot_sync: Duration,
    /// How long a mirror daemon takes to notice a new, disabled or flagged image.
    pub poll: Duration,
    /// How long a first sync takes.
    pub first_sync: Duration,
    /// How long a dead daemon's last word still counts as `up` on the other side. Ceph: 30 s.
    pub watch_timeout: Duration,
    /// How long each call to a cluster takes.
    pub call: Duration,
    /// How long a client is blocked while its image is demoted. Measured on Ceph: 0.2 s (journal), 1.5 s (snapshot).
    pub demote: Duration,
    /// A forced promotion's time. Measured: 0.07 s (journal), 4.5 s (snapshot, a half-applied delta is rolled back).
    pub force_promote: Duration,
}

impl Default for FabricConfig {
    fn default() -> Self {
        Self {
            replay_delay: Duration::from_millis(200),
            snapshot_sync: Duration::from_millis(300),
            poll: Duration::from_millis(200),
            first_sync: Duration::from_millis(500),
            watch_timeout: Duration::from_secs(3),
            call: Duration::from_millis(1),
            demote: Duration::from_millis(20),
            force_promote: Duration::from_millis(20),
        }
    }
}

/// One numbered entry of a volume's content, as a demo's writer puts it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The writer's number.
    pub seq: u64,
    /// When it was acknowledged.
    pub at: Timestamp,
    /// What was written.
    pub payload: Vec<u8>,
}

/// Everything that can happen to an image's content, in order. The log *is* the journal of journal mode; a mirror
/// snapshot is a position in it. A copy is in step as long as its log is a prefix of the primary's: anything else is
/// split brain, which is how Ceph sees it too (a promotion starts a new tag even when nothing is written after it).
#[derive(Debug)]
pub(super) struct Entry {
    /// Unique in the fabric.
    pub(super) id: u64,
    pub(super) at: Instant,
    pub(super) change: Change,
}

#[derive(Debug)]
pub(super) enum Change {
    Write(Record),
    SetMetadata(String, String),
    RemoveMetadata(String),
    Resize(u64),
    Promoted,
    Demoted,
}

#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) id: String,
    pub(super) log: Vec<Arc<Entry>>,
    pub(super) size: u64,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) parent: Option<String>,
    pub(super) children: u32,
    pub(super) snapshots: u32,
    /// On a copy: one was interrupted, and cannot be put back.
    pub(super) torn: bool,
    pub(super) mirror: Option<Mirror>,
    /// Clients that have it open for writing, by address.
    pub(super) writers: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Mirror {
    pub(super) global_id: u64,
    pub(super) mode: MirrorImageMode,
    pub(super) primary: bool,
    /// Since when it is enabled (primary side) or known here (copy).
    pub(super) since: Instant,
    /// On a copy: the first sync has not ended.
    pub(super) first_sync: bool,
    pub(super) resync_flagged: Option<Instant>,
    pub(super) snapshots: Vec<Snap>,
    /// What was measured of the last snapshot copied here.
    pub(super) last_sync: Option<(Duration, u64)>,
}

/// A mirror snapshot.
#[derive(Debug, Clone)]
pub(super) struct Snap {
    pub(super) taken: Instant,
    /// How much of the log it holds.
    pub(super) position: usize,
    pub(super) info: MirrorSnapshot,
    /// The primary's clock at it: on a copy this differs from `info.at`.
    pub(super) primary_at: Timestamp,
}

/// How a cluster answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    /// Calls hang until it is back: what a killed cluster does.
    Hanging,
    /// Calls are refused at once.
    Refusing,
}

#[derive(Debug)]
pub(super) struct DaemonState {
    pub(super) alive: bool,
    /// Its last word on each image, by global id, as it stands in its own cluster.
    pub(super) own: BTreeMap<u64, SiteStatus>,
    /// Its last word as it stands in the other cluster.
    pub(super) abroad: BTreeMap<u64, SiteStatus>,
    /// When it last reached its own cluster, and the other.
    pub(super) seen_own: Instant,
    pub(super) seen_abroad: Instant,
    /// Since when it can replicate into its cluster without a break; `None`: it cannot.
    pub(super) path_since: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Fault {
    Hang(Op),
    Starve(Op),
    Fail {
        op: Op,
        image: Option<ImageSpec>,
        errno: i32,
        times: u32,
    },
    Slow(Op, Duration),
    /// The image's own objects do not answer; a list has or has not read it before.
    Silent {
        image: ImageSpec,
        known: bool,
    },
}

#[derive(Debug)]
pub(super) struct ClusterState {
    pub(super) zone: ZoneName,
    pub(super) health: Health,
    /// Pool name, and whether it is set up for mirroring of single images.
    pub(super) pools: BTreeMap<String, bool>,
    pub(super) images: BTreeMap<ImageSpec, Image>,
    pub(super) objects: BTreeMap<(String, String), Vec<u8>>,
    pub(super) daemon: DaemonState,
    pub(super) blocklist: BTreeSet<String>,
    /// Global ids of images that were removed, or whose mirroring was turned off, while they were primary: the copy goes too.
    pub(super) tombstones: BTreeSet<u64>,
    pub(super) faults: Vec<Fault>,
    pub(super) full: bool,
    pub(super) calls: Vec<(Op, Option<ImageSpec>)>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) config: FabricConfig,
    pub(super) clock: Clock,
    pub(super) clusters: [ClusterState; 2],
    pub(super) link_up: bool,
    pub(super) last: Instant,
    pub(super) next_id: u64,
}

impl ClusterState {
    pub(super) fn new(zone: ZoneName, now: Instant) -> Self {
        Self {
            zone,
            health: Health::Up,
            pools: BTreeMap::from([("volumes".to_owned(), true)]),
            images: BTreeMap::new(),
            objects: BTreeMap::new(),
            daemon: DaemonState {
                alive: true,
                own: BTreeMap::new(),
                abroad: BTreeMap::new(),
                seen_own: now,
                seen_abroad: now,
                path_since: Some(now),
            },
            blocklist: BTreeSet::new(),
            tombstones: BTreeSet::new(),
            faults: Vec::new(),
            full: false,
            calls: Vec::new(),
        }
    }
}

impl Image {
    /// Applies a change to the content. The log alone decides; the rest of the image is its fold.
    pub(super) fn append(&mut self, entry: Arc<Entry>) {
        match &entry.change {
            Change::Write(_) | Change::Promoted | Change::Demoted => {}
            Change::SetMetadata(k, v) => {
                self.metadata.insert(k.clone(), v.clone());
            }
            Change::RemoveMetadata(k) => {
                self.metadata.remove(k);
            }
            Change::Resize(size) => self.size = *size,
        }
        self.log.push(entry);
    }

    /// Whether this log is a prefix of the other: nothing was written or decided here that the other has not.
    pub(super) fn is_prefix_of(&self, other: &Self) -> bool {
        match self.log.last() {
            None => true,
            Some(last) => other
                .log
                .get(self.log.len() - 1)
                .is_some_and(|e| e.id == last.id),
        }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.log
            .iter()
            .filter_map(|e| match &e.change {
                Change::Write(r) => Some(r.clone()),
                Change::SetMetadata(..)
                | Change::RemoveMetadata(_)
                | Change::Resize(_)
                | Change::Promoted
                | Change::Demoted => None,
            })
            .collect()
    }

    /// Bytes written between two positions of the log.
    pub(super) fn bytes_between(&self, from: usize, to: usize) -> u64 {
        self.log
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .map(|e| match &e.change {
                Change::Write(r) => r.payload.len() as u64,
                Change::SetMetadata(..)
                | Change::RemoveMetadata(_)
                | Change::Resize(_)
                | Change::Promoted
                | Change::Demoted => 0,
            })
            .sum()
    }
}

impl World {
    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn entry(&mut self, at: Instant, change: Change) -> Arc<Entry> {
        Arc::new(Entry {
            id: self.fresh_id(),
            at,
            change,
        })
    }
}
