//! The real thing: librbd through `rbd-rs`.
//!
//! ```text
//!   RbdBackend ── one connection, one I/O context a pool, both shared by all calls
//!       │  open ── RbdImage: look, act and look again on one open image (image.rs, seen.rs, forced.rs)
//!       │  list ── few calls a pool; details of an image are read again when its status changed, and one that cannot be read
//!       │          holds up no other (list.rs, details.rs, hung.rs)
//!       └  calls.rs: every call on a bounded pool of threads, with a deadline
//! ```
//!
//! A connection that the cluster shut out (blocklisted) is thrown away and made anew.

mod calls;
mod convert;
mod details;
mod forced;
mod hung;
mod image;
mod list;
mod roles;
mod seen;
mod silence;
mod source;

pub(super) use image::RbdImage;

use super::{
    Deadlines,
    error::{BackendError, BackendErrorKind, Op},
    view::{ClusterHealth, MirrorInfo, Watcher},
};
use calls::{CONNECTING, Calls, Gate, Lane};
use details::{Details, Failure, Kept};
use hung::{Reads, What};
use rbd_rs as rbd;
use rbd_rs::{Ceph, Cluster, ConnectOptions, Pool, Timeouts};
use rekindle_common::ImageSpec;
use silence::Silent;
use source::OpenPool;
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout_at},
};

type Result<T> = std::result::Result<T, BackendError>;

/// How long a client stays shut out: until it was certainly restarted, which gives it another address.
const BLOCKLISTED_FOR: Duration = Duration::from_secs(24 * 3600);
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
    pools: HashMap<String, OpenPool>,
}

struct Shared {
    ceph: Ceph,
    options: RbdOptions,
    calls: Calls,
    connection: AsyncMutex<Option<Connection>>,
    details: Kept<Details>,
    failures: Kept<Failure>,
    silent: Kept<Silent>,
    reads: Reads,
    connecting: Gate,
    probing: Gate,
    asking_health: Gate,
    asking_mirror: Gate,
    listing: Gate,
    forcing: forced::Forcing,
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
                options,
                connection: AsyncMutex::default(),
                details: Kept::default(),
                failures: Kept::default(),
                silent: Kept::default(),
                reads: Reads::default(),
                connecting: Gate::of(CONNECTING, Lane::Vital),
                probing: Gate::of(1, Lane::Vital),
                asking_health: Gate::default(),
                asking_mirror: Gate::default(),
                listing: Gate::default(),
                forcing: forced::Forcing::default(),
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
            .option("ms_async_op_threads", "2")
            // What Ceph's log keeps in memory for the case that it aborts: 500 lines of 1 KiB and more.
            .option("log_max_recent", "50");
        options.keyring.clone_from(&o.keyring);
        let (ceph, names) = (self.shared.ceph.clone(), o.pools.clone());
        let made = self
            .shared
            .connecting
            .run(&self.shared.calls, op, deadline, move || {
                let cluster = Cluster::connect(&ceph, &options)?;
                let of = names.len();
                let pools = names
                    .into_iter()
                    .map(|name| Ok((name.clone(), OpenPool::new(cluster.pool(&name)?, of))))
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
        Ok(self.open_pool(op, name, deadline).await?.io)
    }

    async fn open_pool(&self, op: Op, name: &str, deadline: Instant) -> Result<OpenPool> {
        let connection = self.connection(op, deadline).await?;
        let pool = connection.pools.get(name).cloned();
        pool.ok_or_else(|| BackendError::foreign_pool(op, None, name))
    }

    pub(in crate::backend) async fn open(
        &self,
        spec: &ImageSpec,
        write: bool,
        deadline: Instant,
    ) -> Result<RbdImage> {
        let pool = self.open_pool(Op::Open, spec.pool(), deadline).await?;
        self.refuse_if_silent(spec, &pool, deadline).await?;
        let pool = pool.io;
        let name = spec.image().to_owned();
        let what = What::Open {
            pool: spec.pool().to_owned(),
            name: name.clone(),
        };
        let read = self.shared.reads.begin(what).map_err(|hangs| {
            let kind = BackendErrorKind::Deadline;
            BackendError::new(Op::Open, Some(spec), kind, hangs.to_string())
        })?;
        let opened = self
            .shared
            .calls
            .run(Op::Open, Some(spec), deadline, move || {
                // Held by the thread, however late it returns.
                let _read = read;
                if write {
                    pool.open(&name)
                } else {
                    pool.open_read_only(&name)
                }
            })
            .await;
        let image = self.drop_if_dead(opened).await?;
        Ok(RbdImage::new(self.clone(), spec.clone(), image))
    }

    pub(super) async fn remove(&self, spec: &ImageSpec, d: Deadlines) -> Result<()> {
        let pool = self.pool(Op::Remove, spec.pool(), d.answer).await?;
        let name = spec.image().to_owned();
        let calls = &self.shared.calls;
        let done = calls
            .act(Op::Remove, Some(spec), d, move || pool.remove_image(&name))
            .await;
        self.forget_details(spec);
        self.drop_if_dead(done).await
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
        connection.pools.get(first).map(|pool| pool.io.clone())
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
}
