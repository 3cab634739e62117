//! The storage under the actions: one surface, two clusters behind it.
//!
//! [`Backend`] is what a zone's cluster can do, [`Session`] what can be done to one open image: look, check, act and look
//! again cost one open. Every call has a deadline; a call that outlives it is reported in time and may still take effect.

pub mod error;
pub mod memory;
pub mod rbd;
pub mod view;
pub mod words;

pub use error::{BackendError, BackendErrorKind, Op};
pub use view::ImageView;

use rekindle_common::{DemotionToken, ImageSpec, given_up::Written, mode::MirrorImageMode};
use std::{collections::BTreeMap, future::Future, time::Duration};
use tokio::time::Instant;
use view::{ClusterHealth, Lineage, MirrorInfo, Watcher};

type Result<T> = std::result::Result<T, BackendError>;

/// A zone's cluster.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Ceph's, through librbd.
    Rbd(rbd::RbdBackend),
    /// Simulated.
    Memory(memory::Cluster),
}

/// How a promotion goes to librbd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Plainly: librbd refuses unless the peer's demotion was replayed here.
    No,
    /// By force, but for a volume that would be of two moments.
    Yes,
    /// That one too.
    EvenTorn,
}

/// How long a call that may take effect is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// By then the caller wants its answer; the call may go on. For what changes nothing it is the end.
    pub answer: Instant,
    /// By then the call is given up on, and its outcome is never known.
    pub abandon: Instant,
}

impl Deadlines {
    /// Given up on as soon as no answer came in time.
    #[must_use]
    pub fn strict(deadline: Instant) -> Self {
        Self {
            answer: deadline,
            abandon: deadline,
        }
    }
}

impl From<Instant> for Deadlines {
    fn from(deadline: Instant) -> Self {
        Self::strict(deadline)
    }
}

/// What an image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Looking only: no watch, no lock.
    Read,
    /// Acting on it.
    Write,
}

/// One open image.
#[derive(Debug)]
pub struct Session {
    spec: ImageSpec,
    image: OpenImage,
}

#[derive(Debug)]
enum OpenImage {
    Rbd(rbd::RbdImage),
    Memory(memory::Cluster),
}

/// What a measurement may take beyond its deadline: the object that was begun before it.
const MEASURE_GRACE: Duration = Duration::from_secs(1);
/// What librbd's calls get beyond their deadline to say how they ended: only their threads know whether one had begun.
const OWN_WORD: Duration = Duration::from_millis(50);

/// Bounds a call. The error names what overran.
async fn within<T>(
    deadline: Instant,
    op: Op,
    image: Option<&ImageSpec>,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout_at(deadline, call).await {
        Ok(result) => result,
        Err(_) => Err(BackendError::deadline(op, image)),
    }
}

impl Backend {
    /// Threads in a call, and threads in a call that was given up on.
    #[must_use]
    pub fn call_threads(&self) -> (usize, usize) {
        match self {
            Self::Rbd(b) => b.call_threads(),
            Self::Memory(_) => (0, 0),
        }
    }

    /// [`within`], with time for librbd's own word.
    async fn within<T>(
        &self,
        deadline: Instant,
        op: Op,
        image: Option<&ImageSpec>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let end = match self {
            Self::Rbd(_) => deadline + OWN_WORD,
            Self::Memory(_) => deadline,
        };
        within(end, op, image, call).await
    }

    /// All volumes that are mirrored or that policy says are, without their lineage. Few calls, however many there are. A mirrored one
    /// that cannot be read is [`view::MirrorView::Unread`], and no error.
    ///
    /// # Errors
    /// [`BackendError`]: the cluster does not answer.
    pub async fn list(&self, deadline: Instant) -> Result<Vec<ImageView>> {
        let call = async {
            match self {
                Self::Rbd(b) => b.list(deadline).await,
                Self::Memory(c) => c.list_views().await,
            }
        };
        self.within(deadline, Op::List, None, call).await
    }

    /// Opens one image.
    ///
    /// # Errors
    /// [`BackendError`] of kind `NotFound`, or the cluster does not answer.
    pub async fn open(
        &self,
        spec: &ImageSpec,
        access: Access,
        deadline: Instant,
    ) -> Result<Session> {
        let call = async {
            match self {
                Self::Rbd(b) => Ok(OpenImage::Rbd(
                    b.open(spec, access == Access::Write, deadline).await?,
                )),
                Self::Memory(c) => {
                    c.exists(spec).await?;
                    Ok(OpenImage::Memory(c.clone()))
                }
            }
        };
        let image = self.within(deadline, Op::Open, Some(spec), call).await?;
        Ok(Session {
            spec: spec.clone(),
            image,
        })
    }

    /// Removes an image. Where it is primary, the other zone's copy goes too (hard case 32): call it only behind the guards of
    /// [`crate::actions`].
    ///
    /// # Errors
    /// [`BackendError`] of kind `InUse` where it has snapshots or somebody has it open.
    pub async fn remove(&self, spec: &ImageSpec, d: impl Into<Deadlines>) -> Result<()> {
        let d = d.into();
        let call = async {
            match self {
                Self::Rbd(b) => b.remove(spec, d).await,
                Self::Memory(c) => c.remove(spec).await,
            }
        };
        self.within(d.abandon, Op::Remove, Some(spec), call).await
    }

    /// Shuts a client out of the cluster: its writes in flight and to come fail with ESHUTDOWN.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn blocklist(&self, client: &Watcher, deadline: Instant) -> Result<()> {
        let call = async {
            match self {
                Self::Rbd(b) => b.blocklist(client, deadline).await,
                Self::Memory(c) => c.blocklist_client(&client.address).await,
            }
        };
        self.within(deadline, Op::Blocklist, None, call).await
    }

    /// A small RADOS object's content; `None` where there is none.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn read_object(
        &self,
        pool: &str,
        oid: &str,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>> {
        let call = async {
            match self {
                Self::Rbd(b) => b.read_object(pool, oid, deadline).await,
                Self::Memory(c) => c.read_object(pool, oid).await,
            }
        };
        self.within(deadline, Op::ReadObject, None, call).await
    }

    /// Writes a small RADOS object if it still is as `expected` (`None`: absent).
    ///
    /// # Errors
    /// [`BackendError`] of kind `Changed` where it is not.
    pub async fn swap_object(
        &self,
        pool: &str,
        oid: &str,
        expected: Option<&[u8]>,
        new: &[u8],
        deadline: Instant,
    ) -> Result<()> {
        let call = async {
            match self {
                Self::Rbd(b) => b.swap_object(pool, oid, expected, new, deadline).await,
                Self::Memory(c) => c.swap_object(pool, oid, expected, new).await,
            }
        };
        self.within(deadline, Op::WriteObject, None, call).await
    }

    /// Writes a small object and reads it back: mons that answer are not enough (hard case 60).
    ///
    /// # Errors
    /// [`BackendError`]: `Deadline` and `Full` mean that writes do not go through.
    pub async fn probe(&self, deadline: Instant) -> Result<()> {
        let call = async {
            match self {
                Self::Rbd(b) => b.probe(deadline).await,
                Self::Memory(c) => c.probe_writes().await,
            }
        };
        self.within(deadline, Op::Probe, None, call).await
    }

    /// The cluster's own account of itself.
    ///
    /// # Errors
    /// [`BackendError`]: the mons do not answer.
    pub async fn health(&self, deadline: Instant) -> Result<ClusterHealth> {
        let call = async {
            match self {
                Self::Rbd(b) => b.health(deadline).await,
                Self::Memory(c) => c.cluster_health().await,
            }
        };
        self.within(deadline, Op::Health, None, call).await
    }

    /// The mirror daemons and the peer.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn mirror_info(&self, deadline: Instant) -> Result<MirrorInfo> {
        let call = async {
            match self {
                Self::Rbd(b) => b.mirror_info(deadline).await,
                Self::Memory(c) => c.mirror_info().await,
            }
        };
        self.within(deadline, Op::MirrorInfo, None, call).await
    }
}

impl Session {
    /// Which image.
    #[must_use]
    pub fn spec(&self) -> &ImageSpec {
        &self.spec
    }

    /// [`within`], with time for librbd's own word.
    async fn within<T>(
        &self,
        deadline: Instant,
        op: Op,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let end = match &self.image {
            OpenImage::Rbd(_) => deadline + OWN_WORD,
            OpenImage::Memory(_) => deadline,
        };
        within(end, op, Some(&self.spec), call).await
    }

    /// In memory, as with librbd: a call waits for its thread until `d.answer`, and without any time it is withdrawn.
    fn begun(&self, op: Op, d: Deadlines) -> Result<()> {
        if d.answer > Instant::now() {
            return Ok(());
        }
        let (kind, why) = (BackendErrorKind::NotBegun, "no time was left for it");
        Err(BackendError::new(op, Some(&self.spec), kind, why))
    }

    /// The image as it is now, with its lineage.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn look(&self, deadline: Instant) -> Result<ImageView> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.look(deadline).await,
                OpenImage::Memory(c) => c.look_at(&self.spec).await,
            }
        };
        self.within(deadline, Op::Look, call).await
    }

    /// The image as an action has left it. The daemons write their words down seconds later: those of the look before stand.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn look_again(&self, before: &ImageView, deadline: Instant) -> Result<ImageView> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.look_again(before, deadline).await,
                OpenImage::Memory(c) => c.look_at(&self.spec).await,
            }
        };
        self.within(deadline, Op::Look, call).await
    }

    /// What hangs on the image: a look leaves it out where the image is mirrored, for it takes as long as the look itself.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn lineage(&self, deadline: Instant) -> Result<Lineage> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.lineage(deadline).await,
                OpenImage::Memory(c) => c.lineage_of(&self.spec).await,
            }
        };
        self.within(deadline, Op::Look, call).await
    }

    /// Turns mirroring on, with this side as primary. In snapshot mode librbd takes the first mirror snapshot with it.
    ///
    /// # Errors
    /// [`BackendError`] of kind `PoolNotMirrored`, `Exists`, …
    pub async fn enable(&self, mode: MirrorImageMode, d: impl Into<Deadlines>) -> Result<()> {
        let d = d.into();
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.enable(mode, d).await,
                OpenImage::Memory(c) => c.enable_mirroring(&self.spec, mode).await,
            }
        };
        self.within(d.abandon, Op::Enable, call).await
    }

    /// Turns mirroring off; the other zone's daemon then deletes its copy.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn disable(&self, d: impl Into<Deadlines>) -> Result<()> {
        let d = d.into();
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.disable(d).await,
                OpenImage::Memory(c) => c.disable_mirroring(&self.spec).await,
            }
        };
        self.within(d.abandon, Op::Disable, call).await
    }

    /// Promotes.
    ///
    /// # Errors
    /// [`BackendError`] of kind `PeerPrimaryOrDemotionPending` where a plain one cannot be, of kind `Torn` where a forced one would bring
    /// up a volume of two moments; nothing was changed then.
    pub async fn promote(&self, force: Force, d: impl Into<Deadlines>) -> Result<()> {
        let d = d.into();
        let op = match force {
            Force::No => Op::Promote,
            Force::Yes | Force::EvenTorn => Op::ForcePromote,
        };
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.promote(force, d).await,
                OpenImage::Memory(c) => {
                    self.begun(op, d)?;
                    c.promote_image(&self.spec, force).await
                }
            }
        };
        self.within(d.abandon, op, call).await
    }

    /// Demotes, and writes the demotion's name into the metadata just before, so that it travels with the last of the data.
    /// A live writer's next write fails with EROFS or EPERM.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn demote(
        &self,
        token: Option<&DemotionToken>,
        d: impl Into<Deadlines>,
    ) -> Result<()> {
        let d = d.into();
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.demote(token, d).await,
                OpenImage::Memory(c) => {
                    self.begun(Op::Demote, d)?;
                    c.demote_image(&self.spec, token).await
                }
            }
        };
        self.within(d.abandon, Op::Demote, call).await
    }

    /// Shuts out the client that holds the image for writing, as a demotion does first: its next write fails. Harms no action that
    /// is in flight. On a copy that client is the mirror daemon: call it only where the image is primary.
    ///
    /// # Errors
    /// [`BackendError`]: it may go on writing.
    pub async fn shut_out_writer(&self, deadline: Instant) -> Result<()> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.shut_out_writer(deadline).await,
                OpenImage::Memory(c) => c.shut_out_writers(&self.spec).await,
            }
        };
        within(deadline, Op::Blocklist, Some(&self.spec), call).await
    }

    /// Flags the image: its daemon **deletes** it and makes it anew from the other side. Call it only behind
    /// [`crate::replication`]'s guards (hard case 18).
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn resync(&self, d: impl Into<Deadlines>) -> Result<()> {
        let d = d.into();
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.resync(d).await,
                OpenImage::Memory(c) => c.flag_resync(&self.spec).await,
            }
        };
        self.within(d.abandon, Op::Resync, call).await
    }

    /// Takes a mirror snapshot.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn mirror_snapshot(&self, d: impl Into<Deadlines>) -> Result<()> {
        let d = d.into();
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.mirror_snapshot(d).await,
                OpenImage::Memory(c) => c.mirror_snapshot(&self.spec).await,
            }
        };
        self.within(d.abandon, Op::MirrorSnapshot, call).await
    }

    /// One value of the image's metadata as it is now: a look's smallest part, for who asks again and again.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn metadata(&self, key: &'static str, deadline: Instant) -> Result<Option<String>> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.metadata(key, deadline).await,
                OpenImage::Memory(c) => {
                    let view = c.look_at(&self.spec).await?;
                    Ok(view.metadata.get(key).cloned())
                }
            }
        };
        self.within(deadline, Op::Look, call).await
    }

    /// Sets and removes metadata.
    ///
    /// # Errors
    /// [`BackendError`] of kind `ReadOnly` on a copy.
    pub async fn set_metadata(
        &self,
        set: &BTreeMap<String, String>,
        remove: &[&str],
        d: impl Into<Deadlines>,
    ) -> Result<()> {
        let d = d.into();
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.set_metadata(set, remove, d).await,
                OpenImage::Memory(c) => c.write_metadata(&self.spec, set, remove).await,
            }
        };
        self.within(d.abandon, Op::SetMetadata, call).await
    }

    /// How much was written here that the other zone has not, of an image that was demoted. It ends by itself at the deadline, with
    /// what it has found by then.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn written_since_split(&self, deadline: Instant) -> Result<Written> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.written_since_split(deadline).await,
                OpenImage::Memory(c) => c.written_since_split(&self.spec).await,
            }
        };
        within(
            deadline + MEASURE_GRACE,
            Op::Measure,
            Some(&self.spec),
            call,
        )
        .await
    }

    /// Where the history of the image's own ends, of one that was demoted and has not followed since: another number after each time
    /// that it was primary.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn own_history(&self, deadline: Instant) -> Result<u64> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.own_history(deadline).await,
                OpenImage::Memory(c) => c.own_history(&self.spec).await,
            }
        };
        self.within(deadline, Op::Look, call).await
    }

    /// Copies the image, as it is, to a new one beside it that is not mirrored and carries none of our metadata.
    ///
    /// A deep copy: a clone would be quick, but depends on the image that a resync is about to delete, and would keep the
    /// daemon from deleting it (hard case 34). Only extents that hold data are copied.
    ///
    /// # Errors
    /// [`BackendError`] of kind `Exists` where such a copy is there already.
    pub async fn copy_to(&self, to: &ImageSpec, d: impl Into<Deadlines>) -> Result<()> {
        let d = d.into();
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.copy_to(to, d).await,
                OpenImage::Memory(c) => c.deep_copy(&self.spec, to).await,
            }
        };
        self.within(d.abandon, Op::Copy, call).await
    }

    /// The other clients that have it open. This session and the zone's mirror daemons are not among them.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn watchers(&self, deadline: Instant) -> Result<Vec<Watcher>> {
        let call = async {
            match &self.image {
                OpenImage::Rbd(i) => i.watchers(deadline).await,
                OpenImage::Memory(c) => c.watchers_of(&self.spec).await,
            }
        };
        self.within(deadline, Op::Watchers, call).await
    }
}
