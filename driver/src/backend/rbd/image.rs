//! One open image: look, act, look again.

use super::{
    BLOCKLISTED_FOR, RbdBackend, Result,
    calls::Lane,
    convert, forced,
    seen::{Seen, lineage},
};
use crate::backend::{
    Deadlines, Force, MEASURE_GRACE,
    error::{BackendError, BackendErrorKind, Op},
    view::{ImageView, Lineage, Watcher},
};
use rbd_rs as rbd;
use rbd_rs::{Cluster, Image, Pool};
use rekindle_common::{
    DemotionToken, ImageSpec, given_up::Written, metadata, mode::MirrorImageMode,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// After a demotion was replayed the daemon holds the image for some milliseconds more, and promotions fail meanwhile.
const DAEMON_LETS_GO: Duration = Duration::from_secs(5);
/// How long an image that was flagged for a resync is kept open. Where it is deleted while it is being closed, librbd 16 may
/// abort the whole process (`AsyncOpTracker.cc: FAILED ceph_assert(m_pending_ops == 0)` in `~ImageWatcher`; seen once in
/// some 2,000 resyncs whose image was closed at once). Later its watch is gone already, and closing is safe.
const UNTIL_DELETED: Duration = Duration::from_secs(10);
/// Threads that compare an image's objects while it is measured. Many volumes are, at once.
const MEASURING: usize = 2;
/// For the connection, where a call may take hours after it.
const FIRST: Duration = Duration::from_secs(30);
/// Between two tries of such a promotion.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// One open image.
pub(in crate::backend) struct RbdImage {
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
    pub(super) fn new(backend: RbdBackend, spec: ImageSpec, image: Image) -> Self {
        Self {
            backend,
            spec,
            image: Some(Arc::new(image)),
            flagged: AtomicBool::new(false),
        }
    }

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

    pub(in crate::backend) async fn look(&self, deadline: Instant) -> Result<ImageView> {
        let seen = self.read(Op::Look, deadline, Seen::read).await?;
        seen.view(&self.spec)
    }

    pub(in crate::backend) async fn look_again(
        &self,
        before: &ImageView,
        deadline: Instant,
    ) -> Result<ImageView> {
        let seen = self.read(Op::Look, deadline, Seen::without_words).await?;
        Ok(ImageView {
            local: before.local.clone(),
            peer: before.peer.clone(),
            ..seen.view(&self.spec)?
        })
    }

    pub(in crate::backend) async fn lineage(&self, deadline: Instant) -> Result<Lineage> {
        self.read(Op::Look, deadline, lineage).await
    }

    pub(in crate::backend) async fn metadata(
        &self,
        key: &'static str,
        deadline: Instant,
    ) -> Result<Option<String>> {
        self.read(Op::Look, deadline, move |i| i.metadata_find(key))
            .await
    }

    pub(in crate::backend) async fn enable(
        &self,
        mode: MirrorImageMode,
        d: Deadlines,
    ) -> Result<()> {
        self.act(Op::Enable, d, move |i| {
            i.mirror_enable(convert::to_mode(mode))
        })
        .await
    }

    pub(in crate::backend) async fn disable(&self, d: Deadlines) -> Result<()> {
        self.act(Op::Disable, d, |i| i.mirror_disable(rbd::Disable::Plain))
            .await
    }

    pub(in crate::backend) async fn promote(&self, force: Force, d: Deadlines) -> Result<()> {
        let (op, how) = match force {
            Force::No => (Op::Promote, rbd::Promote::Plain),
            Force::Yes | Force::EvenTorn => (Op::ForcePromote, rbd::Promote::Force),
        };
        let cluster = self.backend.connection(op, d.answer).await?.cluster;
        let spec = self.spec.clone();
        let shared = self.backend.shared.clone();
        let give_up = std::time::Instant::now() + DAEMON_LETS_GO;
        let done = self.act(op, d, move |i| {
            if force != Force::No && i.mirror_mode()? == rbd::MirrorMode::Snapshot {
                return forced::promote(i, &cluster, &spec, &shared.forcing, force);
            }
            loop {
                match i.mirror_promote(how) {
                    Err(rbd::Error::Busy {
                        reason: rbd::BusyReason::DaemonHoldsImage,
                        ..
                    }) if std::time::Instant::now() < give_up => std::thread::sleep(TRY_AGAIN),
                    other => return other.map(|()| forced::Forced::Promoted),
                }
            }
        });
        match done.await? {
            forced::Forced::Promoted => Ok(()),
            forced::Forced::Torn(snapshots) => Err(BackendError::torn(&self.spec, &snapshots)),
            forced::Forced::Later(why) => {
                let kind = BackendErrorKind::InUse;
                Err(BackendError::new(op, Some(&self.spec), kind, why))
            }
        }
    }

    /// A client that holds the lock is shut out first, for two reasons, both measured on 16.2.15:
    ///
    /// * In snapshot mode a write that is under way may be carried out after the demotion's snapshot, and then stays in this
    ///   image for ever without the other zone having it.
    /// * librbd asks for the lock by a notification, and each of those waits 5 s for every watcher that does not answer. In a zone
    ///   that was cut off the other zone's mirror daemon is one: the demotion takes 6 to 16 s, and the writer goes on until its end,
    ///   past the lease. Shut out, it stops at once (hard case 31).
    pub(in crate::backend) async fn demote(
        &self,
        token: Option<&DemotionToken>,
        d: Deadlines,
    ) -> Result<()> {
        let cluster = self.backend.connection(Op::Demote, d.answer).await?.cluster;
        let spec = self.spec.clone();
        let token = token.map(ToString::to_string);
        self.act(Op::Demote, d, move |i| {
            let shut_out = shut_out_writer(i, &cluster, &spec);
            // Another zone relies on what the name says: that nothing is written after it. Without a name, that this zone stops
            // writing goes first.
            if token.is_some() {
                shut_out?;
            } else if let Err(error) = shut_out {
                tracing::warn!(volume.id = %spec, %error, "a writer could not be shut out before the demotion: its last write may be here and not in the other zone");
            }
            if let Some(token) = &token {
                i.metadata_set(metadata::DEMOTION_TOKEN, token)?;
            }
            i.mirror_demote()
        })
        .await
    }

    pub(in crate::backend) async fn shut_out_writer(&self, deadline: Instant) -> Result<()> {
        let cluster = self
            .backend
            .connection(Op::Blocklist, deadline)
            .await?
            .cluster;
        let spec = self.spec.clone();
        self.read(Op::Blocklist, deadline, move |i| {
            shut_out_writer(i, &cluster, &spec)
        })
        .await
    }

    pub(in crate::backend) async fn resync(&self, d: Deadlines) -> Result<()> {
        self.flagged.store(true, Ordering::Relaxed);
        self.act(Op::Resync, d, Image::mirror_resync).await
    }

    pub(in crate::backend) async fn mirror_snapshot(&self, d: Deadlines) -> Result<()> {
        self.act(Op::MirrorSnapshot, d, |i| {
            i.create_mirror_snapshot(rbd::Quiesce::IfPossible)
                .map(|_| ())
        })
        .await
    }

    pub(in crate::backend) async fn set_metadata(
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

    pub(in crate::backend) async fn written_since_split(
        &self,
        deadline: Instant,
    ) -> Result<Written> {
        let give_up = rbd::GiveUp {
            at: deadline.into_std(),
            threads: MEASURING,
        };
        let by = deadline + MEASURE_GRACE;
        let found = self.read(Op::Measure, by, move |i| i.written_since_split(give_up));
        Ok(convert::written(found.await?))
    }

    pub(in crate::backend) async fn own_history(&self, deadline: Instant) -> Result<u64> {
        self.read(Op::Look, deadline, Image::own_history).await
    }

    pub(in crate::backend) async fn copy_to(&self, to: &ImageSpec, d: Deadlines) -> Result<()> {
        let (pool, name) = (to.pool().to_owned(), to.image().to_owned());
        let soon = (Instant::now() + FIRST).min(d.answer);
        let pool = self.backend.pool(Op::Copy, &pool, soon).await?;
        let image = self.image(Op::Copy)?;
        // A copy is what goes before a resync, and the daemon deletes the image after that.
        self.flagged.store(true, Ordering::Relaxed);
        let calls = &self.backend.shared.calls;
        let copied = calls
            .run_on(
                Lane::Copies,
                Op::Copy,
                Some(&self.spec),
                d.abandon,
                move || copy(&image, &pool, &name),
            )
            .await;
        self.backend.drop_if_dead(copied).await
    }

    pub(in crate::backend) async fn watchers(&self, deadline: Instant) -> Result<Vec<Watcher>> {
        let connection = self.backend.connection(Op::Watchers, deadline).await?;
        let own = connection.cluster.instance_id();
        self.read(Op::Watchers, deadline, move |i| {
            let others = other_watchers(i, own)?;
            Ok(others.map(|w| Watcher { address: w.address }).collect())
        })
        .await
    }
}

/// Who has the image open besides this connection, whose number is `own`.
pub(super) fn other_watchers(
    image: &Image,
    own: u64,
) -> std::result::Result<impl Iterator<Item = rbd::Watcher>, rbd::Error> {
    let all = image.watchers()?.into_iter();
    Ok(all.filter(move |w| u64::try_from(w.client).ok() != Some(own)))
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
    let (mut shut_out, mut failed) = (false, None);
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
            Err(error) => failed = Some(error),
        }
    }
    if shut_out {
        cluster.wait_for_latest_osdmap()?;
    }
    failed.map_or(Ok(()), Err)
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
