//! The backend's calls on a simulated cluster. Each refuses what librbd refuses, with the same errno.

use super::{
    Cluster,
    world::{Change, Entry, Fault, Health, Image, Mirror, Snap, World},
};
use crate::backend::{
    Force,
    error::{BackendError, BackendErrorKind, Op, errno},
    view::{
        ClusterHealth, ImageView, Lineage, MirrorInfo, MirrorSnapshot, MirrorView, Mirrored,
        SnapshotState, SnapshotSummary, Unread, Watcher,
    },
};
use rekindle_common::{
    DemotionToken, ImageSpec,
    given_up::{Bound, Written},
    metadata,
    mode::MirrorImageMode,
    volume::Known,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

type Result<T> = std::result::Result<T, BackendError>;

/// How many mirror snapshots an image keeps (field note).
const KEEP: usize = 5;

/// What the scripted faults make of a call.
enum Verdict {
    Go(Duration),
    Wait,
    Fail(i32),
    NotBegun,
}

impl Cluster {
    /// Waits as long as the cluster hangs, then fails or lets the call through.
    async fn enter(&self, op: Op, image: Option<&ImageSpec>) -> Result<()> {
        {
            let mut w = self.shared.world();
            w.clusters[self.side].calls.push((op, image.cloned()));
        }
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.verdict(op, image) {
                Verdict::Go(wait) => {
                    tokio::time::sleep(wait).await;
                    // It may have died meanwhile.
                    if self.read(|c| c.health) == Health::Up {
                        return Ok(());
                    }
                }
                Verdict::Wait => changed.await,
                Verdict::Fail(n) => return Err(BackendError::from_errno(op, image, n, "")),
                Verdict::NotBegun => {
                    let (kind, why) = (BackendErrorKind::NotBegun, "no thread is left");
                    return Err(BackendError::new(op, image, kind, why));
                }
            }
        }
    }

    fn verdict(&self, op: Op, image: Option<&ImageSpec>) -> Verdict {
        let mut w = self.shared.world();
        let call = w.config.call;
        let c = &mut w.clusters[self.side];
        // Before anything reaches the cluster.
        if c.faults
            .iter()
            .any(|f| matches!(f, Fault::Starve(o) if *o == op))
        {
            return Verdict::NotBegun;
        }
        match c.health {
            Health::Hanging => return Verdict::Wait,
            Health::Refusing => return Verdict::Fail(errno::ECONNREFUSED),
            Health::Up => {}
        }
        let mut wait = call;
        for f in &mut c.faults {
            match f {
                Fault::Hang(o) if *o == op => return Verdict::Wait,
                // A client that has it open goes on: its data is elsewhere.
                Fault::Silent { image: i, .. } if image == Some(&*i) && op != Op::Write => {
                    return Verdict::Wait;
                }
                Fault::Slow(o, by) if *o == op => wait += *by,
                Fault::Fail {
                    op: o,
                    image: i,
                    errno,
                    times,
                } if *o == op && *times > 0 && (i.is_none() || i.as_ref() == image) => {
                    *times -= 1;
                    return Verdict::Fail(*errno);
                }
                Fault::Hang(_)
                | Fault::Starve(_)
                | Fault::Slow(..)
                | Fault::Fail { .. }
                | Fault::Silent { .. } => {}
            }
        }
        Verdict::Go(wait)
    }

    async fn on_image<T>(
        &self,
        op: Op,
        spec: &ImageSpec,
        f: impl FnOnce(&mut World, usize, Instant) -> std::result::Result<T, i32>,
    ) -> Result<T> {
        self.enter(op, Some(spec)).await?;
        let mut w = self.shared.world();
        let now = Instant::now();
        if !w.clusters[self.side].pools.contains_key(spec.pool()) {
            return Err(BackendError::foreign_pool(op, Some(spec), spec.pool()));
        }
        if !w.clusters[self.side].images.contains_key(spec) {
            return Err(BackendError::from_errno(op, Some(spec), errno::ENOENT, ""));
        }
        f(&mut w, self.side, now).map_err(|n| BackendError::from_errno(op, Some(spec), n, ""))
    }

    pub(in crate::backend) async fn exists(&self, spec: &ImageSpec) -> Result<()> {
        self.on_image(Op::Open, spec, |_, _, _| Ok(())).await
    }

    pub(in crate::backend) async fn list_views(&self) -> Result<Vec<ImageView>> {
        self.enter(Op::List, None).await?;
        let w = self.shared.world();
        let c = &w.clusters[self.side];
        let ours = |i: &Image| i.mirror.is_some() || i.metadata.contains_key(metadata::MODE);
        Ok(c.images
            .iter()
            .filter(|(_, i)| ours(i))
            .map(|(spec, i)| {
                let view = ImageView {
                    lineage: None,
                    ..view(&w, self.side, spec, i)
                };
                let silent = c.faults.iter().find_map(|f| match f {
                    Fault::Silent { image, known } if image == spec => Some(*known),
                    Fault::Silent { .. }
                    | Fault::Hang(_)
                    | Fault::Starve(_)
                    | Fault::Slow(..)
                    | Fault::Fail { .. } => None,
                });
                match silent {
                    Some(known) => unread(view, known),
                    None => view,
                }
            })
            .collect())
    }

    pub(in crate::backend) async fn look_at(&self, spec: &ImageSpec) -> Result<ImageView> {
        self.on_image(Op::Look, spec, |w, side, _| {
            let image = image(w, side, spec)?;
            Ok(view(w, side, spec, image))
        })
        .await
    }

    pub(in crate::backend) async fn lineage_of(&self, spec: &ImageSpec) -> Result<Lineage> {
        self.on_image(Op::Look, spec, |w, side, _| {
            Ok(lineage(image(w, side, spec)?))
        })
        .await
    }

    pub(in crate::backend) async fn enable_mirroring(
        &self,
        spec: &ImageSpec,
        mode: MirrorImageMode,
    ) -> Result<()> {
        self.on_image(Op::Enable, spec, |w, side, now| {
            if !w.clusters[side].pools.get(spec.pool()).is_some_and(|m| *m) {
                return Err(errno::EINVAL);
            }
            let global_id = w.fresh_id();
            let at = w.clock.at(now);
            let image = image_mut(w, side, spec)?;
            if image.mirror.is_some() {
                return Err(errno::EEXIST);
            }
            let mut m = Mirror {
                global_id,
                mode,
                primary: true,
                since: now,
                first_sync: false,
                resync_flagged: None,
                snapshots: Vec::new(),
                last_sync: None,
            };
            if mode == MirrorImageMode::Snapshot {
                m.snapshots
                    .push(snap(now, at, image.log.len(), SnapshotState::Primary));
            }
            image.mirror = Some(m);
            Ok(())
        })
        .await
    }

    pub(in crate::backend) async fn disable_mirroring(&self, spec: &ImageSpec) -> Result<()> {
        self.on_image(Op::Disable, spec, |w, side, _| {
            let image = image_mut(w, side, spec)?;
            let m = image.mirror.as_ref().ok_or(errno::EINVAL)?;
            if !m.primary {
                return Err(errno::EINVAL);
            }
            let id = m.global_id;
            image.mirror = None;
            w.clusters[side].tombstones.insert(id);
            Ok(())
        })
        .await
    }

    pub(in crate::backend) async fn promote_image(
        &self,
        spec: &ImageSpec,
        force: Force,
    ) -> Result<()> {
        let forced = force != Force::No;
        let op = if forced {
            Op::ForcePromote
        } else {
            Op::Promote
        };
        if forced {
            let wait = self.shared.world().config.force_promote;
            tokio::time::sleep(wait).await;
        }
        let torn = |w: &World| image(w, self.side, spec).is_ok_and(|i| i.torn);
        if force == Force::Yes && torn(&self.shared.world()) {
            return Err(BackendError::torn(spec, &["a user's snapshot".to_owned()]));
        }
        self.on_image(op, spec, |w, side, now| {
            let image = image(w, side, spec)?;
            let m = image.mirror.as_ref().ok_or(errno::EINVAL)?;
            if m.primary {
                return Err(errno::EINVAL);
            }
            let demoted = matches!(image.log.last().map(|e| &e.change), Some(Change::Demoted));
            if !forced && (!demoted || m.first_sync) {
                return Err(errno::EBUSY);
            }
            change_role(w, side, spec, now, Change::Promoted)
        })
        .await
    }

    pub(in crate::backend) async fn demote_image(
        &self,
        spec: &ImageSpec,
        token: Option<&DemotionToken>,
    ) -> Result<()> {
        let wait = self.shared.world().config.demote;
        tokio::time::sleep(wait).await;
        self.on_image(Op::Demote, spec, |w, side, now| {
            let image = image(w, side, spec)?;
            let m = image.mirror.as_ref().ok_or(errno::EINVAL)?;
            if !m.primary {
                return Err(errno::EINVAL);
            }
            if let Some(token) = token {
                let name = (metadata::DEMOTION_TOKEN.to_owned(), token.to_string());
                let entry = w.entry(now, Change::SetMetadata(name.0, name.1));
                image_mut(w, side, spec)?.append(entry);
            }
            change_role(w, side, spec, now, Change::Demoted)
        })
        .await
    }

    pub(in crate::backend) async fn flag_resync(&self, spec: &ImageSpec) -> Result<()> {
        self.on_image(Op::Resync, spec, |w, side, now| {
            let m = image_mut(w, side, spec)?
                .mirror
                .as_mut()
                .ok_or(errno::EINVAL)?;
            if m.primary {
                return Err(errno::EINVAL);
            }
            m.resync_flagged = Some(now);
            Ok(())
        })
        .await
    }

    pub(in crate::backend) async fn mirror_snapshot(&self, spec: &ImageSpec) -> Result<()> {
        self.on_image(Op::MirrorSnapshot, spec, |w, side, now| {
            let at = w.clock.at(now);
            let image = image_mut(w, side, spec)?;
            let position = image.log.len();
            let m = image.mirror.as_mut().ok_or(errno::EINVAL)?;
            if !m.primary || m.mode != MirrorImageMode::Snapshot {
                return Err(errno::EINVAL);
            }
            push_snap(m, snap(now, at, position, SnapshotState::Primary));
            Ok(())
        })
        .await
    }

    pub(in crate::backend) async fn write_metadata(
        &self,
        spec: &ImageSpec,
        set: &BTreeMap<String, String>,
        remove: &[&str],
    ) -> Result<()> {
        self.on_image(Op::SetMetadata, spec, |w, side, now| {
            let (copy, present) = {
                let i = image(w, side, spec)?;
                (
                    i.mirror.as_ref().is_some_and(|m| !m.primary),
                    i.metadata.clone(),
                )
            };
            if copy {
                return Err(errno::EROFS);
            }
            let gone = remove.iter().filter(|k| present.contains_key(**k));
            let changes: Vec<Change> = set
                .iter()
                .map(|(k, v)| Change::SetMetadata(k.clone(), v.clone()))
                .chain(gone.map(|k| Change::RemoveMetadata((*k).to_owned())))
                .collect();
            for change in changes {
                let entry = w.entry(now, change);
                image_mut(w, side, spec)?.append(entry);
            }
            Ok(())
        })
        .await
    }

    /// Here the other side is known too: what is behind the last entry that both have.
    pub(in crate::backend) async fn written_since_split(
        &self,
        spec: &ImageSpec,
    ) -> Result<Written> {
        self.on_image(Op::Measure, spec, |w, side, _| {
            let image = image(w, side, spec)?;
            let Some(other) = w.clusters[1 - side].images.get(spec) else {
                return Ok(Written::unknown("the other zone has no such image"));
            };
            let both = image.log.iter().zip(&other.log);
            let common = both.take_while(|(a, b)| a.id == b.id).count();
            let own = || image.log.iter().skip(common);
            let writes = own().filter(|e| matches!(e.change, Change::Write(_)));
            Ok(Written::Measured {
                bytes: image.bytes_between(common, image.log.len()),
                extents: u64::try_from(writes.count()).unwrap_or(u64::MAX),
                bound: Bound::Exact,
            })
        })
        .await
    }

    /// By its last promotion or demotion: nothing else begins a history.
    pub(in crate::backend) async fn own_history(&self, spec: &ImageSpec) -> Result<u64> {
        self.on_image(Op::Look, spec, |w, side, _| {
            let log = &image(w, side, spec)?.log;
            let role = |e: &&Arc<Entry>| matches!(e.change, Change::Promoted | Change::Demoted);
            Ok(log.iter().rev().find(role).map_or(0, |e| e.id))
        })
        .await
    }

    pub(in crate::backend) async fn deep_copy(
        &self,
        spec: &ImageSpec,
        to: &ImageSpec,
    ) -> Result<()> {
        self.on_image(Op::Copy, spec, |w, side, _| {
            if w.clusters[side].images.contains_key(to) {
                return Err(errno::EEXIST);
            }
            let id = format!("{:x}", w.fresh_id());
            let mut copy = image(w, side, spec)?.clone();
            copy.id = id;
            copy.mirror = None;
            copy.writers.clear();
            copy.metadata
                .retain(|k, _| !k.starts_with(metadata::PREFIX));
            w.clusters[side].images.insert(to.clone(), copy);
            Ok(())
        })
        .await
    }

    pub(in crate::backend) async fn remove(&self, spec: &ImageSpec) -> Result<()> {
        self.on_image(Op::Remove, spec, |w, side, _| {
            let image = image(w, side, spec)?;
            if image.children > 0 || image.snapshots > 0 || !image.writers.is_empty() {
                return Err(errno::EBUSY);
            }
            Ok(())
        })
        .await?;
        self.remove_image(spec);
        Ok(())
    }

    pub(in crate::backend) async fn watchers_of(&self, spec: &ImageSpec) -> Result<Vec<Watcher>> {
        self.on_image(Op::Watchers, spec, |w, side, _| {
            Ok(image(w, side, spec)?
                .writers
                .iter()
                .map(|a| Watcher { address: a.clone() })
                .collect())
        })
        .await
    }

    pub(in crate::backend) async fn shut_out_writers(&self, spec: &ImageSpec) -> Result<()> {
        for writer in self.watchers_of(spec).await? {
            self.blocklist_client(&writer.address).await?;
        }
        Ok(())
    }

    pub(in crate::backend) async fn blocklist_client(&self, address: &str) -> Result<()> {
        self.enter(Op::Blocklist, None).await?;
        self.change(|c| {
            c.blocklist.insert(address.to_owned());
            for i in c.images.values_mut() {
                i.writers.remove(address);
            }
        });
        Ok(())
    }

    pub(in crate::backend) async fn read_object(
        &self,
        pool: &str,
        oid: &str,
    ) -> Result<Option<Vec<u8>>> {
        self.enter(Op::ReadObject, None).await?;
        Ok(self.object(pool, oid))
    }

    pub(in crate::backend) async fn swap_object(
        &self,
        pool: &str,
        oid: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<()> {
        self.enter(Op::WriteObject, None).await?;
        let mut w = self.shared.world();
        let c = &mut w.clusters[self.side];
        if c.full {
            return Err(BackendError::from_errno(
                Op::WriteObject,
                None,
                errno::ENOSPC,
                "",
            ));
        }
        let key = (pool.to_owned(), oid.to_owned());
        if c.objects.get(&key).map(Vec::as_slice) != expected {
            return Err(BackendError::new(
                Op::WriteObject,
                None,
                BackendErrorKind::Changed,
                format!("object {oid} is not as it was read"),
            ));
        }
        c.objects.insert(key, new.to_vec());
        Ok(())
    }

    pub(in crate::backend) async fn probe_writes(&self) -> Result<()> {
        self.enter(Op::Probe, None).await?;
        if self.read(|c| c.full) {
            return Err(BackendError::from_errno(Op::Probe, None, errno::ENOSPC, ""));
        }
        Ok(())
    }

    pub(in crate::backend) async fn cluster_health(&self) -> Result<ClusterHealth> {
        self.enter(Op::Health, None).await?;
        Ok(ClusterHealth {
            health: Some("HEALTH_OK".to_owned()),
            osds_up: Some(1),
            osds: Some(1),
            fsid: Some(format!("00000000-0000-0000-0000-00000000000{}", self.side)),
        })
    }

    pub(in crate::backend) async fn mirror_info(&self) -> Result<MirrorInfo> {
        self.enter(Op::MirrorInfo, None).await?;
        let w = self.shared.world();
        Ok(MirrorInfo {
            daemon_up: w.clusters[self.side].daemon.alive,
            peer_site: Some(w.clusters[1 - self.side].zone.to_string()),
        })
    }
}

fn image<'w>(w: &'w World, side: usize, spec: &ImageSpec) -> std::result::Result<&'w Image, i32> {
    w.clusters[side].images.get(spec).ok_or(errno::ENOENT)
}

fn image_mut<'w>(
    w: &'w mut World,
    side: usize,
    spec: &ImageSpec,
) -> std::result::Result<&'w mut Image, i32> {
    w.clusters[side].images.get_mut(spec).ok_or(errno::ENOENT)
}

fn snap(now: Instant, at: jiff::Timestamp, position: usize, state: SnapshotState) -> Snap {
    Snap {
        taken: now,
        position,
        info: MirrorSnapshot {
            at,
            state,
            complete: true,
        },
        primary_at: at,
    }
}

fn push_snap(m: &mut Mirror, s: Snap) {
    m.snapshots.push(s);
    if m.snapshots.len() > KEEP {
        m.snapshots.remove(0);
    }
}

/// A promotion or demotion: an entry in the log, and in snapshot mode a mirror snapshot right behind it.
fn change_role(
    w: &mut World,
    side: usize,
    spec: &ImageSpec,
    now: Instant,
    change: Change,
) -> std::result::Result<(), i32> {
    let promoted = matches!(change, Change::Promoted);
    let at = w.clock.at(now);
    let entry = w.entry(now, change);
    let image = image_mut(w, side, spec)?;
    image.append(entry);
    let position = image.log.len();
    let m = image.mirror.as_mut().ok_or(errno::EINVAL)?;
    m.primary = promoted;
    m.first_sync = false;
    if promoted {
        m.resync_flagged = None;
    }
    if m.mode == MirrorImageMode::Snapshot {
        let state = if promoted {
            SnapshotState::Primary
        } else {
            SnapshotState::PrimaryDemoted
        };
        push_snap(m, snap(now, at, position, state));
    }
    Ok(())
}

/// The older snapshots of ours that the copy has nothing newer than: its daemon lets go of the others.
fn held(w: &World, side: usize, spec: &ImageSpec, m: &Mirror) -> u32 {
    let copy = w.clusters[1 - side].images.get(spec);
    let has = copy
        .and_then(|c| c.mirror.as_ref()?.snapshots.last())
        .map(|s| s.primary_at);
    let older = m.snapshots.split_last().map_or(&[][..], |(_, older)| older);
    let held = older.iter().filter(|s| match s.info.state {
        SnapshotState::Primary | SnapshotState::PrimaryDemoted => {
            has.is_none_or(|has| s.primary_at >= has)
        }
        SnapshotState::NonPrimary | SnapshotState::NonPrimaryDemoted => false,
    });
    u32::try_from(held.count()).unwrap_or(u32::MAX)
}

fn lineage(image: &Image) -> Lineage {
    Lineage {
        parent: image.parent.clone(),
        children: image.children,
        snapshots: image.snapshots,
    }
}

/// An image that a list cannot read. Who is primary stands in the journal, or in the image's own snapshots.
fn unread(view: ImageView, known: bool) -> ImageView {
    let primary = match &view.mirror {
        MirrorView::On(m) => match (m.mode, m.primary) {
            (MirrorImageMode::Snapshot, _) => Known::Unknown,
            (MirrorImageMode::Journal, true) => Known::Yes,
            (MirrorImageMode::Journal, false) => Known::No,
        },
        MirrorView::Off | MirrorView::Disabling | MirrorView::Unread(_) => return view,
    };
    let (size, metadata) = if known {
        (view.size, view.metadata)
    } else {
        (0, Arc::default())
    };
    ImageView {
        size,
        metadata,
        mirror: MirrorView::Unread(Unread {
            primary,
            known,
            why: "open: no answer within the deadline".to_owned(),
        }),
        ..view
    }
}

fn view(w: &World, side: usize, spec: &ImageSpec, image: &Image) -> ImageView {
    let mirror = image.mirror.as_ref().map_or(MirrorView::Off, |m| {
        let newest = m.snapshots.last().map(|s| s.info.clone());
        MirrorView::On(Mirrored {
            mode: m.mode,
            primary: m.primary,
            snapshots: SnapshotSummary {
                newest_complete: newest.clone(),
                newest,
                count: u32::try_from(m.snapshots.len()).unwrap_or(u32::MAX),
                held: held(w, side, spec, m),
                torn: Vec::new(),
            },
        })
    });
    let status = |writer| {
        let id = image.mirror.as_ref()?.global_id;
        w.status_in(side, writer, id)
    };
    ImageView {
        spec: spec.clone(),
        id: image.id.clone(),
        size: image.size,
        metadata: Arc::new(image.metadata.clone()),
        mirror,
        // As librbd's look has it: only asked where it matters.
        lineage: image.mirror.is_none().then(|| lineage(image)),
        local: status(side),
        peer: status(1 - side),
    }
}
