//! Two linked clusters in memory, with RBD mirroring as it was observed on real ones.
//!
//! ```text
//!   Fabric ── Cluster "zone-a" ⇄ link ⇄ Cluster "zone-b"
//!              │  images, objects, blocklist        (world.rs: data)
//!              │  a mirror daemon                   (mirror.rs: what it would have done by now)
//!              │  calls, as Backend::Memory         (ops.rs)
//!              └  clients that write records        (client.rs)
//! ```
//!
//! Faults are verbs: [`Cluster::kill`], [`Cluster::hang`], [`Cluster::fail`], [`Link::cut`], [`Daemon::kill`]. Nothing runs
//! in the background, so it is exact under `tokio::time::pause`. Used by the embedded demo and by tests of plans.
//!
//! What it is not: a model of librbd's timing under load, of partial data loss, or of more than one pool's rules.

mod client;
mod mirror;
mod ops;
mod world;

pub use client::{ClientError, Writer};
pub use world::{FabricConfig, Record};

use super::error::Op;
use crate::clock::Clock;
use rekindle_common::{ImageSpec, ZoneName};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use world::{ClusterState, Fault, Health, Image, World};

/// The pool that every simulated cluster starts with.
pub const POOL: &str = "volumes";

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    /// Rung by every verb: whatever hangs looks again.
    changed: Notify,
}

/// Two clusters and the link between them.
#[derive(Debug, Clone)]
pub struct Fabric {
    shared: Arc<Shared>,
    clusters: [Cluster; 2],
}

/// One simulated cluster; cheap to clone. Wrap it as `Backend::Memory(cluster)`.
#[derive(Debug, Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    side: usize,
}

/// The link between the clusters' mirror daemons.
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

/// A cluster's mirror daemon.
#[derive(Debug, Clone)]
pub struct Daemon {
    cluster: Cluster,
}

impl Shared {
    /// The world as of now.
    fn world(&self) -> MutexGuard<'_, World> {
        // A panic under the lock can only be a test's own; the data is whole between statements that matter.
        let mut w = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        w.advance(Instant::now());
        w
    }

    /// A verb: the world moves up to now, changes, and whoever waits looks again.
    fn change(&self, f: impl FnOnce(&mut World)) {
        {
            let mut w = self.world();
            f(&mut w);
            w.conditions_changed(Instant::now());
        }
        self.changed.notify_waiters();
    }
}

impl Fabric {
    /// Two healthy, empty, peered clusters. Call it inside a tokio runtime: it takes the runtime's clock.
    #[must_use]
    pub fn new(zone_a: ZoneName, zone_b: ZoneName, config: FabricConfig) -> Self {
        let now = Instant::now();
        let world = World {
            config,
            clock: Clock::simulated(),
            clusters: [
                ClusterState::new(zone_a, now),
                ClusterState::new(zone_b, now),
            ],
            link_up: true,
            last: now,
            next_id: 0,
        };
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            changed: Notify::new(),
        });
        let cluster = |side| Cluster {
            shared: shared.clone(),
            side,
        };
        Self {
            clusters: [cluster(0), cluster(1)],
            shared,
        }
    }

    /// The first zone's cluster.
    #[must_use]
    pub fn a(&self) -> Cluster {
        self.clusters[0].clone()
    }
    /// The second zone's cluster.
    #[must_use]
    pub fn b(&self) -> Cluster {
        self.clusters[1].clone()
    }
    /// A zone's cluster; `None` for a zone that is not in it.
    #[must_use]
    pub fn cluster(&self, zone: &ZoneName) -> Option<Cluster> {
        self.clusters.iter().find(|c| c.zone() == *zone).cloned()
    }
    /// The link.
    #[must_use]
    pub fn link(&self) -> Link {
        Link {
            shared: self.shared.clone(),
        }
    }
    /// The wall clock that both clusters show.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.world().clock
    }
}

impl Link {
    /// Nothing is replicated any more, either way; both clusters go on.
    pub fn cut(&self) {
        self.shared.change(|w| w.link_up = false);
    }
    /// Whole again.
    pub fn mend(&self) {
        self.shared.change(|w| w.link_up = true);
    }
}

impl Daemon {
    /// As `kill -9` of rbd-mirror: its last word stands, and is `down` after the watch timeout.
    pub fn kill(&self) {
        let side = self.cluster.side;
        self.cluster
            .shared
            .change(|w| w.clusters[side].daemon.alive = false);
    }
    /// Runs again.
    pub fn start(&self) {
        let side = self.cluster.side;
        self.cluster
            .shared
            .change(|w| w.clusters[side].daemon.alive = true);
    }
}

impl Cluster {
    fn change(&self, f: impl FnOnce(&mut ClusterState)) {
        self.shared.change(|w| f(&mut w.clusters[self.side]));
    }
    fn read<T>(&self, f: impl FnOnce(&ClusterState) -> T) -> T {
        f(&self.shared.world().clusters[self.side])
    }

    /// Which zone's.
    #[must_use]
    pub fn zone(&self) -> ZoneName {
        self.read(|c| c.zone.clone())
    }
    /// Its mirror daemon.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        Daemon {
            cluster: self.clone(),
        }
    }
    /// The wall clock that it shows.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.world().clock
    }

    // --- verbs -----------------------------------------------------------------------------------------------------

    /// The whole cluster dies: every call hangs, as it does with a real one; its mirror daemon with it.
    pub fn kill(&self) {
        self.change(|c| c.health = Health::Hanging);
    }
    /// It dies so that every call is refused at once.
    pub fn refuse(&self) {
        self.change(|c| c.health = Health::Refusing);
    }
    /// It is back, with the data that it had. Calls that hung go on.
    pub fn start(&self) {
        self.change(|c| c.health = Health::Up);
    }
    /// Every call of that kind hangs until [`Self::release`].
    pub fn hang(&self, op: Op) {
        self.change(|c| c.faults.push(Fault::Hang(op)));
    }
    /// No call of that kind is begun until [`Self::release`]: this process has no thread for it, whatever the cluster does.
    pub fn starve(&self, op: Op) {
        self.change(|c| c.faults.push(Fault::Starve(op)));
    }
    /// Calls of that kind go through again, the ones that hung too; scripted failures and slowness of it end as well.
    pub fn release(&self, op: Op) {
        self.change(|c| {
            c.faults.retain(|f| match f {
                Fault::Hang(o) | Fault::Starve(o) | Fault::Slow(o, _) => *o != op,
                Fault::Fail { op: o, .. } => *o != op,
                Fault::Silent { .. } => true,
            });
        });
    }
    /// The next `times` calls of that kind (on `image`, or on any) fail with that errno.
    pub fn fail(&self, op: Op, image: Option<&ImageSpec>, errno: i32, times: u32) {
        let image = image.cloned();
        self.change(|c| {
            c.faults.push(Fault::Fail {
                op,
                image,
                errno,
                times,
            });
        });
    }
    /// The image's own objects do not answer, as in a placement group that is inactive, and all else does: who opens it hangs, and a list
    /// knows of it what the pool tells. `known`: its policy and size are known from before.
    pub fn silence(&self, image: &ImageSpec, known: bool) {
        let image = image.clone();
        self.change(|c| c.faults.push(Fault::Silent { image, known }));
    }
    /// It answers again, and calls that hung go on.
    pub fn unsilence(&self, image: &ImageSpec) {
        self.change(|c| {
            c.faults
                .retain(|f| !matches!(f, Fault::Silent { image: i, .. } if i == image));
        });
    }
    /// Every call of that kind takes that much longer.
    pub fn slow(&self, op: Op, by: Duration) {
        self.change(|c| c.faults.push(Fault::Slow(op, by)));
    }
    /// Writes fail with ENOSPC, or no longer do.
    pub fn set_full(&self, full: bool) {
        self.change(|c| c.full = full);
    }
    /// Adds a pool, set up for mirroring of single images or not.
    pub fn add_pool(&self, name: &str, mirrored: bool) {
        self.change(|c| {
            c.pools.insert(name.to_owned(), mirrored);
        });
    }
    /// Makes an image (of no content) that is not mirrored. Replaces one of that name.
    pub fn create_image(&self, spec: &ImageSpec, size: u64) {
        self.shared.change(|w| {
            let id = format!("{:x}", w.fresh_id());
            w.clusters[self.side].images.insert(
                spec.clone(),
                Image {
                    id,
                    log: Vec::new(),
                    size,
                    metadata: BTreeMap::new(),
                    parent: None,
                    children: 0,
                    snapshots: 0,
                    mirror: None,
                    writers: Default::default(),
                    torn: false,
                },
            );
        });
    }
    /// Grows or shrinks an image, as `rbd resize` does.
    pub fn resize_image(&self, spec: &ImageSpec, size: u64) {
        self.shared.change(|w| {
            let entry = w.entry(Instant::now(), world::Change::Resize(size));
            if let Some(i) = w.clusters[self.side].images.get_mut(spec) {
                i.append(entry);
            }
        });
    }
    /// Makes the image a clone of `parent`, or gives it that many children.
    pub fn set_lineage(&self, spec: &ImageSpec, parent: Option<&str>, children: u32) {
        self.change(|c| {
            if let Some(i) = c.images.get_mut(spec) {
                i.parent = parent.map(str::to_owned);
                i.children = children;
            }
        });
    }
    /// A copy was interrupted that came with a user's snapshot.
    pub fn tear(&self, spec: &ImageSpec) {
        self.change(|c| {
            if let Some(i) = c.images.get_mut(spec) {
                i.torn = true;
            }
        });
    }
    /// Gives the image that many snapshots of a user's.
    pub fn set_snapshots(&self, spec: &ImageSpec, snapshots: u32) {
        self.change(|c| {
            if let Some(i) = c.images.get_mut(spec) {
                i.snapshots = snapshots;
            }
        });
    }
    /// Removes an image, as `rbd rm` does: where it is primary, the other zone's copy goes too.
    pub fn remove_image(&self, spec: &ImageSpec) {
        self.change(|c| {
            if let Some(i) = c.images.remove(spec)
                && let Some(m) = i.mirror
                && m.primary
            {
                c.tombstones.insert(m.global_id);
            }
        });
    }

    // --- what a test or a demo looks at ----------------------------------------------------------------------------

    /// The records that the image holds: of a copy, what a promotion right now would keep. `None`: no such image.
    #[must_use]
    pub fn records(&self, spec: &ImageSpec) -> Option<Vec<Record>> {
        self.read(|c| c.images.get(spec).map(Image::records))
    }
    /// The image's id, which a resync changes.
    #[must_use]
    pub fn image_id(&self, spec: &ImageSpec) -> Option<String> {
        self.read(|c| c.images.get(spec).map(|i| i.id.clone()))
    }
    /// Whether the image is mirrored and primary here.
    #[must_use]
    pub fn is_primary(&self, spec: &ImageSpec) -> bool {
        self.read(|c| {
            c.images
                .get(spec)
                .and_then(|i| i.mirror.as_ref())
                .is_some_and(|m| m.primary)
        })
    }
    /// All images' names.
    #[must_use]
    pub fn images(&self) -> Vec<ImageSpec> {
        self.read(|c| c.images.keys().cloned().collect())
    }
    /// Every call made so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<(Op, Option<ImageSpec>)> {
        self.read(|c| c.calls.clone())
    }
    /// A RADOS object's content.
    #[must_use]
    pub fn object(&self, pool: &str, oid: &str) -> Option<Vec<u8>> {
        self.read(|c| c.objects.get(&(pool.to_owned(), oid.to_owned())).cloned())
    }
}
