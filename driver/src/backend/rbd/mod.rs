//! The real thing: librbd through `rbd-rs`.
//!
//! ```text
//!   RbdBackend ── one connection, one I/O context a pool, both shared by all calls
//!       │  open ── RbdImage: look, act and look again on one open image
//!       │  list ── two bulk calls a pool; details of an image are read again when its status changed (list.rs)
//!       └  calls.rs: every call on a bounded pool of threads, with a deadline
//! ```
//!
//! A connection that the cluster shut out (blocklisted) is thrown away and made anew.

mod calls;
mod convert;
mod list;

use super::{
    Deadlines, Force,
    error::{BackendError, BackendErrorKind, Op},
    view::{ClusterHealth, ImageView, Lineage, MirrorInfo, MirrorView, Mirrored, Watcher},
};
use calls::{Calls, OneAtATime};
use list::Details;
use rbd_rs as rbd;
use rbd_rs::{Ceph, Cluster, ConnectOptions, Image, Pool, Timeouts};
use rekindle_common::{DemotionToken, ImageSpec, metadata, mode::MirrorImageMode};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, oneshot},
    time::{Instant, timeout_at},
};

type Result<T> = std::result::Result<T, BackendError>;

/// How long a client stays shut out: until it was certainly restarted, which gives it another address.
const BLOCKLISTED_FOR: Duration = Duration::from_secs(24 * 3600);
/// After a demotion was replayed the daemon holds the image for some milliseconds more, and promotions fail meanwhile.
const DAEMON_LETS_GO: Duration = Duration::from_secs(5);
/// After which a forced promotion that has not ended is taken to wait for the mirror daemon, where that has the image open.
const DAEMON_STUCK: Duration = Duration::from_secs(5);
/// How long an image that was flagged for a resync is kept open. Where it is deleted while it is being closed, librbd 16 may
/// abort the whole process (`AsyncOpTracker.cc: FAILED ceph_assert(m_pending_ops == 0)` in `~ImageWatcher`; seen once in
/// some 2,000 resyncs whose image was closed at once). Later its watch is gone already, and closing is safe.
const UNTIL_DELETED: Duration = Duration::from_secs(10);
/// Between two tries of such a promotion.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How to reach a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbdOptions {
    /// Its configuration file.
    pub conf: PathBuf,
    /// The client's full name.
    pub client: String,
    /// Its keyring, where the configuration does not name it.
    pub keyring: Option<PathBuf>,
    /// The pools whose volumes are looked after.
    pub pools: Vec<String>,
    /// Threads that call librbd.
    pub threads: usize,
    /// To find a monitor and authenticate.
    pub connect_timeout: Duration,
}

/// A connection and its pools.
#[derive(Clone)]
struct Connection {
    cluster: Cluster,
    pools: HashMap<String, Pool>,
}

struct Shared {
    ceph: Ceph,
    options: RbdOptions,
    calls: Calls,
    /// For what must get through while all threads of `calls` wait for it.
    aside: Calls,
    connection: AsyncMutex<Option<Connection>>,
    details: Mutex<HashMap<(String, String), Details>>,
    probing: OneAtATime,
    asking_health: OneAtATime,
    asking_mirror: OneAtATime,
    listing: OneAtATime,
}

/// A cluster behind librbd; cheap to clone.
#[derive(Clone)]
pub struct RbdBackend {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for RbdBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RbdBackend")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl RbdBackend {
    /// Loads librbd. Connects with the first call, so that a sidecar can be started while its cluster is dead.
    ///
    /// # Errors
    /// [`rbd_rs::Error::Library`], [`rbd_rs::Error::MissingFunction`].
    pub fn new(options: RbdOptions) -> std::result::Result<Self, rbd::Error> {
        Ok(Self {
            shared: Arc::new(Shared {
                ceph: Ceph::load()?,
                calls: Calls::new(options.threads),
                aside: Calls::new(2),
                options,
                connection: AsyncMutex::default(),
                details: Mutex::default(),
                probing: OneAtATime::default(),
                asking_health: OneAtATime::default(),
                asking_mirror: OneAtATime::default(),
                listing: OneAtATime::default(),
            }),
        })
    }

    /// Threads in a call, and threads in a call that was given up on.
    #[must_use]
    pub fn call_threads(&self) -> (usize, usize) {
        self.shared.calls.counters()
    }

    /// The connection, made if there is none. One asker connects, the others wait.
    async fn connection(&self, op: Op, deadline: Instant) -> Result<Connection> {
        let slot = timeout_at(deadline, self.shared.connection.lock()).await;
        let Ok(mut slot) = slot else {
            return Err(BackendError::deadline(op, None));
        };
        if let Some(c) = slot.as_ref() {
            return Ok(c.clone());
        }
        let o = &self.shared.options;
        let mut options = ConnectOptions::from_conf_file(&o.conf)
            .client(&o.client)
            .timeouts(Timeouts {
                connect: Some(o.connect_timeout),
                mon_op: Some(o.connect_timeout),
                osd_op: None,
            })
            // Volumes are not read here: no cache, fewer threads, less memory.
            .option("rbd_cache", "false")
            .option("rbd_op_threads", "1")
            .option("ms_async_op_threads", "2");
        options.keyring.clone_from(&o.keyring);
        let (ceph, names) = (self.shared.ceph.clone(), o.pools.clone());
        let made = self
            .shared
            .calls
            .run(op, None, deadline, move || {
                let cluster = Cluster::connect(&ceph, &options)?;
                let pools = names
                    .into_iter()
                    .map(|name| Ok((name.clone(), cluster.pool(&name)?)))
                    .collect::<std::result::Result<_, rbd::Error>>()?;
                Ok(Connection { cluster, pools })
            })
            .await
            .map_err(|mut e| {
                // No configuration, key or pool: the volume that was asked for is not what is missing.
                if e.kind == BackendErrorKind::NotFound {
                    e.kind = BackendErrorKind::Other;
                }
                e
            })?;
        tracing::info!(conf = %o.conf.display(), client = %o.client, "connected to the cluster");
        *slot = Some(made.clone());
        Ok(made)
    }

    /// After an error that no call on this connection can recover from: the next one makes another.
    async fn drop_if_dead<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(e) = &result
            && e.kind == BackendErrorKind::Blocklisted
        {
            tracing::warn!("this client was shut out of its cluster: connecting anew");
            if let Some(old) = self.shared.connection.lock().await.take() {
                self.shared.calls.let_go(old, Duration::ZERO);
            }
        }
        result
    }

    async fn pool(&self, op: Op, name: &str, deadline: Instant) -> Result<Pool> {
        let connection = self.connection(op, deadline).await?;
        connection.pools.get(name).cloned().ok_or_else(|| {
            let text = format!("{name} is not among the pools of this sidecar");
            BackendError::new(op, None, BackendErrorKind::NotFound, text)
        })
    }

    pub(super) async fn open(
        &self,
        spec: &ImageSpec,
        write: bool,
        deadline: Instant,
    ) -> Result<RbdImage> {
        let pool = self.pool(Op::Open, spec.pool(), deadline).await?;
        let name = spec.image().to_owned();
        let opened = self
            .shared
            .calls
            .run(Op::Open, Some(spec), deadline, move || {
                if write {
                    pool.open(&name)
                } else {
                    pool.open_read_only(&name)
                }
            })
            .await;
        Ok(RbdImage {
            backend: self.clone(),
            spec: spec.clone(),
            image: Some(Arc::new(self.drop_if_dead(opened).await?)),
            flagged: AtomicBool::new(false),
        })
    }

    pub(super) async fn blocklist(&self, client: &Watcher, deadline: Instant) -> Result<()> {
        let cluster = self.connection(Op::Blocklist, deadline).await?.cluster;
        let address = client.address.clone();
        let done = self
            .shared
            .calls
            .run(Op::Blocklist, None, deadline, move || {
                cluster.blocklist_add(&address, BLOCKLISTED_FOR)?;
                // Until our own connection knows it, a demotion would still wait for that client.
                cluster.wait_for_latest_osdmap()
            })
            .await;
        self.drop_if_dead(done).await
    }

    pub(super) async fn read_object(
        &self,
        pool: &str,
        oid: &str,
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>> {
        let pool = self.pool(Op::ReadObject, pool, deadline).await?;
        let oid = oid.to_owned();
        let read = self
            .shared
            .calls
            .run(Op::ReadObject, None, deadline, move || {
                pool.find_object(&oid)
            })
            .await;
        self.drop_if_dead(read).await
    }

    pub(super) async fn swap_object(
        &self,
        pool: &str,
        oid: &str,
        expected: Option<&[u8]>,
        new: &[u8],
        deadline: Instant,
    ) -> Result<()> {
        let pool = self.pool(Op::WriteObject, pool, deadline).await?;
        let (name, expected, new) = (oid.to_owned(), expected.map(<[u8]>::to_vec), new.to_vec());
        let written = self
            .shared
            .calls
            .run(Op::WriteObject, None, deadline, move || {
                let expected = match &expected {
                    None => rbd::Expected::Absent,
                    Some(bytes) => rbd::Expected::Value(bytes),
                };
                pool.compare_and_write(&name, expected, &new)
            })
            .await;
        match self.drop_if_dead(written).await? {
            rbd::Compared::Written => Ok(()),
            rbd::Compared::Mismatch { .. } => Err(BackendError::new(
                Op::WriteObject,
                None,
                BackendErrorKind::Changed,
                format!("object {oid} is not as it was read"),
            )),
        }
    }

    pub(super) async fn probe(&self, deadline: Instant) -> Result<()> {
        let connection = self.connection(Op::Probe, deadline).await?;
        let Some(pool) = self.state_pool(&connection) else {
            return Ok(());
        };
        let probed = self
            .shared
            .probing
            .run(&self.shared.calls, Op::Probe, deadline, move || {
                let name = format!("rekindle.probe.{}", connection.cluster.instance_id());
                pool.write_object(&name, b"probe")?;
                let back = pool.read_object(&name)?;
                pool.remove_object(&name)?;
                Ok(back)
            })
            .await;
        match self.drop_if_dead(probed).await?.as_slice() {
            b"probe" => Ok(()),
            _ => Err(convert::unreadable(
                Op::Probe,
                None,
                "what was read back is not what was written",
            )),
        }
    }

    fn state_pool(&self, connection: &Connection) -> Option<Pool> {
        let first = self.shared.options.pools.first()?;
        connection.pools.get(first).cloned()
    }

    pub(super) async fn health(&self, deadline: Instant) -> Result<ClusterHealth> {
        let cluster = self.connection(Op::Health, deadline).await?.cluster;
        let (fsid_of, health_of) = (cluster.clone(), cluster);
        let asked = self
            .shared
            .asking_health
            .run(&self.shared.calls, Op::Health, deadline, move || {
                let h = health_of.health()?;
                Ok(ClusterHealth {
                    health: Some(match h.status {
                        rbd::HealthStatus::Ok => "HEALTH_OK".to_owned(),
                        rbd::HealthStatus::Warn => "HEALTH_WARN".to_owned(),
                        rbd::HealthStatus::Err => "HEALTH_ERR".to_owned(),
                        rbd::HealthStatus::Unrecognised(word) => word,
                    }),
                    osds_up: Some(h.osds_up),
                    osds: Some(h.osds),
                    fsid: Some(fsid_of.fsid()?),
                })
            })
            .await;
        self.drop_if_dead(asked).await
    }

    pub(super) async fn mirror_info(&self, deadline: Instant) -> Result<MirrorInfo> {
        let connection = self.connection(Op::MirrorInfo, deadline).await?;
        let Some(pool) = self.state_pool(&connection) else {
            return Err(BackendError::new(
                Op::MirrorInfo,
                None,
                BackendErrorKind::NotFound,
                "no pool is configured",
            ));
        };
        let asked = self
            .shared
            .asking_mirror
            .run(&self.shared.calls, Op::MirrorInfo, deadline, move || {
                let peer = pool.mirror_peers()?.into_iter().next();
                // Where there are images, their status tells it within the watch's 30 s; the manager's list of daemons
                // takes a minute and needs a manager.
                let statuses = pool.mirror_statuses()?;
                let daemon_up = if statuses.is_empty() {
                    !connection.cluster.mirror_daemons()?.is_empty()
                } else {
                    statuses
                        .values()
                        .filter_map(rbd::ImageStatus::local)
                        .any(|s| s.daemon == rbd::DaemonPresence::Up)
                };
                Ok(MirrorInfo {
                    daemon_up,
                    peer_site: peer.map(|p| p.site_name),
                })
            })
            .await;
        self.drop_if_dead(asked).await
    }

    fn forget_details(&self, spec: &ImageSpec) {
        let mut all = self
            .shared
            .details
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|(pool, _), d| pool != spec.pool() || d.name != spec.image());
    }
}

/// One open image.
pub(super) struct RbdImage {
    backend: RbdBackend,
    spec: ImageSpec,
    /// Taken only by the drop.
    image: Option<Arc<Image>>,
    /// It was flagged for a resync: its daemon is about to delete it under this handle.
    flagged: AtomicBool,
}

impl std::fmt::Debug for RbdImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RbdImage")
            .field("spec", &self.spec)
            .finish()
    }
}

impl Drop for RbdImage {
    fn drop(&mut self) {
        // Closing talks to the cluster.
        if let Some(image) = self.image.take() {
            let after = if self.flagged.load(Ordering::Relaxed) {
                UNTIL_DELETED
            } else {
                Duration::ZERO
            };
            self.backend.shared.calls.let_go(image, after);
        }
    }
}

impl RbdImage {
    fn image(&self, op: Op) -> Result<Arc<Image>> {
        self.image.clone().ok_or_else(|| {
            let text = "the image was closed";
            BackendError::new(op, Some(&self.spec), BackendErrorKind::Other, text)
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        op: Op,
        deadline: Instant,
        f: impl FnOnce(&Image) -> std::result::Result<T, rbd::Error> + Send + 'static,
    ) -> Result<T> {
        let image = self.image(op)?;
        let calls = &self.backend.shared.calls;
        let read = calls
            .run(op, Some(&self.spec), deadline, move || f(&image))
            .await;
        self.backend.drop_if_dead(read).await
    }

    async fn act<T: Send + 'static>(
        &self,
        op: Op,
        d: Deadlines,
        f: impl FnOnce(&Image) -> std::result::Result<T, rbd::Error> + Send + 'static,
    ) -> Result<T> {
        let image = self.image(op)?;
        let calls = &self.backend.shared.calls;
        let done = calls.act(op, Some(&self.spec), d, move || f(&image)).await;
        self.backend.forget_details(&self.spec);
        self.backend.drop_if_dead(done).await
    }

    pub(super) async fn look(&self, deadline: Instant) -> Result<ImageView> {
        let seen = self.read(Op::Look, deadline, Seen::read).await?;
        seen.view(&self.spec)
    }

    pub(super) async fn enable(&self, mode: MirrorImageMode, d: Deadlines) -> Result<()> {
        self.act(Op::Enable, d, move |i| {
            i.mirror_enable(convert::to_mode(mode))
        })
        .await
    }

    pub(super) async fn disable(&self, d: Deadlines) -> Result<()> {
        self.act(Op::Disable, d, |i| i.mirror_disable(rbd::Disable::Plain))
            .await
    }

    pub(super) async fn promote(&self, force: Force, d: Deadlines) -> Result<()> {
        let (op, how) = match force {
            Force::No => (Op::Promote, rbd::Promote::Plain),
            Force::Yes => (Op::ForcePromote, rbd::Promote::Force),
        };
        let give_up = std::time::Instant::now() + DAEMON_LETS_GO;
        let (tell, begun) = oneshot::channel();
        let promotion = self.act(op, d, move |i| {
            // Nobody listens where it is not forced.
            let _ = tell.send(());
            loop {
                match i.mirror_promote(how) {
                    Err(rbd::Error::Busy {
                        reason: rbd::BusyReason::DaemonHoldsImage,
                        ..
                    }) if std::time::Instant::now() < give_up => std::thread::sleep(TRY_AGAIN),
                    other => return other,
                }
            }
        });
        let rescue = async {
            // From when it really began: many promotions wait for a thread first.
            if force == Force::Yes && begun.await.is_ok() {
                tokio::time::sleep(DAEMON_STUCK).await;
                self.shut_out_daemon(d.answer).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = promotion => done,
            () = rescue => Err(BackendError::deadline(op, Some(&self.spec))),
        }
    }

    /// Frees a forced promotion that waits for this zone's mirror daemon. librbd waits until the daemon has let go of the image, and
    /// a daemon in the middle of a copy from a zone that is silent never does (hard case 22; seen on 16.2.15 with a zone that was cut
    /// off while a snapshot was on its way). Shut out, it starts anew by itself.
    ///
    /// A promotion that takes long for another reason (a roll-back, hard case 23) has no such watcher, and nobody is shut out.
    async fn shut_out_daemon(&self, deadline: Instant) {
        let shared = &self.backend.shared;
        let (Ok(image), Ok(connection)) = (
            self.image(Op::Watchers),
            self.backend.connection(Op::Watchers, deadline).await,
        ) else {
            return;
        };
        let spec = self.spec.clone();
        let shut_out = shared
            .aside
            .run(Op::Blocklist, Some(&self.spec), deadline, move || {
                let own = connection.cluster.instance_id();
                for w in image.watchers()? {
                    if u64::try_from(w.client).ok() != Some(own) {
                        connection.cluster.blocklist_add(&w.address, BLOCKLISTED_FOR)?;
                        tracing::warn!(volume.id = %spec, client = w.address, "shut out: it did not let go of the volume that is promoted by force");
                    }
                }
                Ok(())
            })
            .await;
        if let Err(error) = shut_out {
            tracing::warn!(volume.id = %self.spec, %error, "what holds up the forced promotion could not be shut out");
        }
    }

    /// A client that holds the lock is shut out first, for two reasons, both measured on 16.2.15:
    ///
    /// * In snapshot mode a write that is under way may be carried out after the demotion's snapshot, and then stays in this
    ///   image for ever without the other zone having it.
    /// * librbd asks for the lock by a notification, and each of those waits 5 s for every watcher that does not answer. In a zone
    ///   that was cut off the other zone's mirror daemon is one: the demotion takes 6 to 16 s, and the writer goes on until its end,
    ///   past the lease. Shut out, it stops at once (hard case 31).
    pub(super) async fn demote(&self, token: Option<&DemotionToken>, d: Deadlines) -> Result<()> {
        let cluster = self.backend.connection(Op::Demote, d.answer).await?.cluster;
        let spec = self.spec.clone();
        let token = token.map(ToString::to_string);
        self.act(Op::Demote, d, move |i| {
            shut_out_writer(i, &cluster, &spec)?;
            if let Some(token) = &token {
                i.metadata_set(metadata::DEMOTION_TOKEN, token)?;
            }
            i.mirror_demote()
        })
        .await
    }

    pub(super) async fn resync(&self, d: Deadlines) -> Result<()> {
        self.flagged.store(true, Ordering::Relaxed);
        self.act(Op::Resync, d, Image::mirror_resync).await
    }

    pub(super) async fn mirror_snapshot(&self, d: Deadlines) -> Result<()> {
        self.act(Op::MirrorSnapshot, d, |i| {
            i.create_mirror_snapshot(rbd::Quiesce::IfPossible)
                .map(|_| ())
        })
        .await
    }

    pub(super) async fn set_metadata(
        &self,
        set: &BTreeMap<String, String>,
        remove: &[&str],
        d: Deadlines,
    ) -> Result<()> {
        let set = set.clone();
        let remove: Vec<String> = remove.iter().map(|k| (*k).to_owned()).collect();
        self.act(Op::SetMetadata, d, move |i| {
            for (k, v) in &set {
                i.metadata_set(k, v)?;
            }
            for k in &remove {
                match i.metadata_remove(k) {
                    Ok(()) | Err(rbd::Error::NotFound(_)) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn copy_to(&self, to: &ImageSpec, d: Deadlines) -> Result<()> {
        let (pool, name) = (to.pool().to_owned(), to.image().to_owned());
        let pool = self.backend.pool(Op::Copy, &pool, d.answer).await?;
        self.act(Op::Copy, d, move |i| copy(i, &pool, &name)).await
    }

    pub(super) async fn watchers(&self, deadline: Instant) -> Result<Vec<Watcher>> {
        let connection = self.backend.connection(Op::Watchers, deadline).await?;
        let own = connection.cluster.instance_id();
        self.read(Op::Watchers, deadline, move |i| {
            let all = i.watchers()?.into_iter();
            Ok(all
                .filter(|w| u64::try_from(w.client).ok() != Some(own))
                .map(|w| Watcher { address: w.address })
                .collect())
        })
        .await
    }
}

fn shut_out_writer(
    image: &Image,
    cluster: &Cluster,
    spec: &ImageSpec,
) -> std::result::Result<(), rbd::Error> {
    let Some(owners) = image.lock_owners()? else {
        return Ok(());
    };
    let own = cluster.addresses()?;
    let mut shut_out = false;
    for owner in owners
        .addresses
        .iter()
        .filter(|o| !own.contains(o.as_str()))
    {
        match cluster.blocklist_add(owner, BLOCKLISTED_FOR) {
            Ok(()) => {
                tracing::info!(volume.id = %spec, client = owner, "shut out: it had the volume open for writing while it was demoted");
                shut_out = true;
            }
            // That this zone stops writing goes first.
            Err(error) => {
                tracing::warn!(volume.id = %spec, client = owner, %error, "a writer could not be shut out before the demotion: its last write may be here and not in the other zone");
            }
        }
    }
    if shut_out {
        cluster.wait_for_latest_osdmap()?;
    }
    Ok(())
}

/// A deep copy without our metadata: it is no volume, and must not look like one. It gets its name when it is whole, for
/// a copy of that name is taken as made.
fn copy(image: &Image, pool: &Pool, name: &str) -> std::result::Result<(), rbd::Error> {
    match pool.open_read_only(name) {
        Err(rbd::Error::NotFound(_)) => {}
        // `deep_copy` then says that it exists.
        Ok(_) => return image.deep_copy(pool, name),
        Err(e) => return Err(e),
    }
    let partial = format!("{name}-partial");
    match pool.remove_image(&partial) {
        Ok(()) | Err(rbd::Error::NotFound(_)) => {}
        Err(e) => return Err(e),
    }
    image.deep_copy(pool, &partial)?;
    let made = pool.open(&partial)?;
    for key in made.metadata()?.into_keys() {
        if key.starts_with(metadata::PREFIX) {
            made.metadata_remove(&key)?;
        }
    }
    made.close()?;
    pool.rename_image(&partial, name)
}

/// What one look at an open image reads.
struct Seen {
    id: String,
    size: u64,
    metadata: BTreeMap<String, String>,
    info: rbd::MirrorInfo,
    mode: Option<rbd::MirrorMode>,
    snapshots: Vec<rbd::MirrorSnapshot>,
    status: Option<rbd::ImageStatus>,
    lineage: Option<Lineage>,
}

impl Seen {
    fn read(i: &Image) -> std::result::Result<Self, rbd::Error> {
        let info = i.mirror_info()?;
        let on = match info.state {
            // Creating: the daemon is making this copy, and its first sync has not ended.
            rbd::MirrorState::Enabled | rbd::MirrorState::Creating => true,
            rbd::MirrorState::Disabling
            | rbd::MirrorState::Disabled
            | rbd::MirrorState::Unrecognised(_) => false,
        };
        let mode = if on { Some(i.mirror_mode()?) } else { None };
        let snapshots = match mode {
            Some(rbd::MirrorMode::Snapshot) => i.mirror_snapshots()?,
            Some(rbd::MirrorMode::Journal | rbd::MirrorMode::Unrecognised(_)) | None => Vec::new(),
        };
        let status = if on {
            match i.mirror_status() {
                Ok(s) => Some(s),
                Err(rbd::Error::NotMirrored { .. } | rbd::Error::NotFound(_)) => None,
                Err(e) => return Err(e),
            }
        } else {
            None
        };
        // Only asked where it matters: before replication is turned on.
        let lineage = if on {
            None
        } else {
            Some(Lineage {
                parent: i
                    .parent()?
                    .map(|p| format!("{}/{}@{}", p.image.pool, p.image.name, p.snapshot)),
                children: u32::try_from(i.children()?.len()).unwrap_or(u32::MAX),
            })
        };
        Ok(Self {
            id: i.id()?,
            size: i.size()?,
            metadata: i.metadata()?,
            info,
            mode,
            snapshots,
            status,
            lineage,
        })
    }

    fn view(self, spec: &ImageSpec) -> Result<ImageView> {
        let (local, peer) = self.status.as_ref().map_or((None, None), convert::sites);
        let mirror = match (self.info.state, self.mode) {
            (rbd::MirrorState::Enabled | rbd::MirrorState::Creating, Some(mode)) => {
                MirrorView::On(Mirrored {
                    mode: convert::mode(Op::Look, Some(spec), mode)?,
                    primary: self.info.role == rbd::Role::Primary,
                    snapshots: convert::snapshots(&self.snapshots),
                })
            }
            (rbd::MirrorState::Disabling, _) => MirrorView::Disabling,
            (rbd::MirrorState::Disabled, _) => MirrorView::Off,
            (rbd::MirrorState::Enabled | rbd::MirrorState::Creating, None)
            | (rbd::MirrorState::Unrecognised(_), _) => {
                return Err(convert::unreadable(
                    Op::Look,
                    Some(spec),
                    "mirroring is in a state that this version does not know",
                ));
            }
        };
        Ok(ImageView {
            spec: spec.clone(),
            id: self.id,
            size: self.size,
            metadata: self.metadata,
            mirror,
            lineage: self.lineage,
            local,
            peer,
        })
    }
}
