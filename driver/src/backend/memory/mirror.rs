//! The two mirror daemons, as a function of time.
//!
//! Nothing runs in the background: every access first calls [`World::advance`], which does what the daemons would have
//! done since the last one. Conditions (link, daemons, clusters) change only through verbs, and each verb advances
//! first, so between two calls the conditions were constant. That makes it exact under paused time.

use super::world::{Change, ClusterState, Entry, Health, Image, Mirror, Snap, World};
use crate::backend::{
    view::{DaemonState, MirrorSnapshot, Replay, SiteStatus, SnapshotState},
    words,
};
use rekindle_common::{ImageSpec, mode::MirrorImageMode};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

impl World {
    /// Does all that the daemons would have done up to `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        if now <= self.last {
            return;
        }
        self.last = now;
        for dst in 0..2 {
            if let Some(since) = self.clusters[dst].daemon.path_since {
                self.replicate_into(dst, since, now);
            }
        }
        for side in 0..2 {
            self.report(side, now);
        }
    }

    /// After a condition changed: whether each daemon can replicate now, and since when.
    pub(super) fn conditions_changed(&mut self, now: Instant) {
        let up = |c: &ClusterState| c.health == Health::Up;
        let paths = self.link_up && self.clusters.iter().all(up);
        for c in &mut self.clusters {
            let ok = paths && c.daemon.alive;
            c.daemon.path_since = match (ok, c.daemon.path_since) {
                (false, _) => None,
                (true, Some(since)) => Some(since),
                (true, None) => Some(now),
            };
        }
    }

    fn replicate_into(&mut self, dst: usize, since: Instant, now: Instant) {
        let cfg = self.config;
        let src = 1 - dst;
        // Removed or disabled at the primary: the copy goes (field note; hard case 32).
        if now >= since + cfg.poll {
            let tombstones = self.clusters[src].tombstones.clone();
            self.clusters[dst].images.retain(|_, i| {
                i.mirror
                    .as_ref()
                    .is_none_or(|m| m.primary || !tombstones.contains(&m.global_id))
            });
        }
        // A flagged image is deleted, whatever the other side is: that is what makes a wrong resync fatal (hard case 18).
        let flagged: Vec<ImageSpec> = self.clusters[dst]
            .images
            .iter()
            .filter(|(_, i)| {
                i.mirror.as_ref().is_some_and(|m| {
                    !m.primary
                        && m.resync_flagged
                            .is_some_and(|at| now >= at.max(since) + cfg.poll)
                })
            })
            .map(|(spec, _)| spec.clone())
            .collect();
        for spec in flagged {
            self.clusters[dst].images.remove(&spec);
            self.discover(dst, &spec, now);
        }
        // New at the primary.
        let new: Vec<(ImageSpec, Instant)> = self.clusters[src]
            .images
            .iter()
            .filter(|(spec, i)| {
                i.mirror.as_ref().is_some_and(|m| m.primary)
                    && !self.clusters[dst].images.contains_key(*spec)
            })
            .filter_map(|(spec, i)| {
                let at = i.mirror.as_ref()?.since.max(since) + cfg.poll;
                (now >= at).then(|| (spec.clone(), at))
            })
            .collect();
        for (spec, at) in new {
            self.discover(dst, &spec, at);
        }
        let specs: Vec<ImageSpec> = self.clusters[dst].images.keys().cloned().collect();
        for spec in specs {
            let Some(source) = self.clusters[src].images.get(&spec).cloned() else {
                continue;
            };
            let clock = self.clock;
            if let Some(copy) = self.clusters[dst].images.get_mut(&spec) {
                follow(copy, &source, &cfg, clock, since, now);
            }
        }
    }

    /// The daemon of `dst` makes an empty copy of a primary image of the other side, if it is one.
    fn discover(&mut self, dst: usize, spec: &ImageSpec, at: Instant) {
        let id = format!("{:x}", self.fresh_id());
        let Some(source) = self.clusters[1 - dst].images.get(spec) else {
            return;
        };
        let Some(m) = source.mirror.as_ref().filter(|m| m.primary) else {
            return;
        };
        let copy = Image {
            id,
            log: Vec::new(),
            size: source.size,
            metadata: BTreeMap::new(),
            parent: None,
            children: 0,
            snapshots: 0,
            mirror: Some(Mirror {
                global_id: m.global_id,
                mode: m.mode,
                primary: false,
                since: at,
                first_sync: true,
                resync_flagged: None,
                snapshots: Vec::new(),
                last_sync: None,
            }),
            writers: Default::default(),
            torn: false,
        };
        self.clusters[dst].images.insert(spec.clone(), copy);
    }

    /// What the daemon of one side writes down, where it can reach.
    fn report(&mut self, side: usize, now: Instant) {
        let own = &self.clusters[side];
        if !own.daemon.alive || own.health != Health::Up {
            return;
        }
        let other = &self.clusters[1 - side];
        let path = own.daemon.path_since.is_some();
        let at = self.clock.at(now);
        let mut said = BTreeMap::new();
        for (spec, image) in &own.images {
            let Some(m) = &image.mirror else { continue };
            if let Some(status) = describe(image, m, other.images.get(spec), path) {
                let status = SiteStatus {
                    last_update: Some(at),
                    ..status
                };
                said.insert(m.global_id, status);
            } else if let Some(old) = own.daemon.own.get(&m.global_id) {
                said.insert(m.global_id, old.clone());
            }
        }
        let daemon = &mut self.clusters[side].daemon;
        daemon.seen_own = now;
        if path {
            daemon.seen_abroad = now;
            daemon.abroad = said.clone();
        }
        daemon.own = said;
    }

    /// What stands in `cluster` about an image, written by the daemon of `writer`.
    pub(super) fn status_in(
        &self,
        cluster: usize,
        writer: usize,
        global_id: u64,
    ) -> Option<SiteStatus> {
        let d = &self.clusters[writer].daemon;
        let (said, seen) = if cluster == writer {
            (&d.own, d.seen_own)
        } else {
            (&d.abroad, d.seen_abroad)
        };
        let up = self.last < seen + self.config.watch_timeout;
        said.get(&global_id).map(|s| SiteStatus { up, ..s.clone() })
    }
}

/// One copy catches up with its source, as far as it would have got by `now`.
fn follow(
    copy: &mut Image,
    source: &Image,
    cfg: &super::FabricConfig,
    clock: crate::clock::Clock,
    since: Instant,
    now: Instant,
) {
    let prefix = copy.is_prefix_of(source);
    let (len, begun) = match copy.mirror.as_ref() {
        Some(m) if !m.primary => (copy.log.len(), m.since),
        Some(_) | None => return,
    };
    let Some(sm) = source.mirror.as_ref() else {
        return;
    };
    if !prefix {
        return;
    }
    let first_sync = copy.mirror.as_ref().is_some_and(|m| m.first_sync);
    if first_sync && now < begun.max(since) + cfg.first_sync {
        return;
    }
    match sm.mode {
        MirrorImageMode::Journal => {
            if now < since + cfg.replay_delay {
                return;
            }
            let ready = |e: &&Arc<Entry>| e.at + cfg.replay_delay <= now;
            let news: Vec<_> = source.log[len..]
                .iter()
                .take_while(ready)
                .cloned()
                .collect();
            for entry in news {
                copy.append(entry);
            }
        }
        MirrorImageMode::Snapshot => {
            let done = |s: &&Snap| s.taken.max(since) + cfg.snapshot_sync <= now;
            let Some(snap) = sm.snapshots.iter().rev().find(done) else {
                return;
            };
            let have = copy.mirror.as_ref().and_then(|m| m.snapshots.last());
            if have.is_some_and(|h| h.primary_at >= snap.primary_at && h.position >= snap.position)
            {
                return;
            }
            let bytes = source.bytes_between(len, snap.position);
            for entry in source.log.get(len..snap.position).unwrap_or_default() {
                copy.append(entry.clone());
            }
            let state = match snap.info.state {
                SnapshotState::Primary | SnapshotState::NonPrimary => SnapshotState::NonPrimary,
                SnapshotState::PrimaryDemoted | SnapshotState::NonPrimaryDemoted => {
                    SnapshotState::NonPrimaryDemoted
                }
            };
            if let Some(m) = copy.mirror.as_mut() {
                m.snapshots.push(Snap {
                    taken: now,
                    position: snap.position,
                    info: MirrorSnapshot {
                        at: clock.at(snap.taken.max(since)),
                        state,
                        complete: true,
                    },
                    primary_at: snap.primary_at,
                });
                m.last_sync = Some((cfg.snapshot_sync, bytes));
            }
        }
    }
    if let Some(m) = copy.mirror.as_mut() {
        m.first_sync = false;
    }
}

fn said(state: DaemonState, description: &str, replay: Replay) -> Option<SiteStatus> {
    Some(SiteStatus {
        up: true,
        state,
        description: description.to_owned(),
        replay,
        last_update: None,
    })
}

/// What a daemon says of its own image; `None`: it cannot reach the other side, and leaves its last word standing.
fn describe(image: &Image, m: &Mirror, other: Option<&Image>, path: bool) -> Option<SiteStatus> {
    use DaemonState as D;
    if m.primary {
        return said(D::Stopped, words::LOCAL_PRIMARY, Replay::None);
    }
    if !path {
        return None;
    }
    let Some((source, sm)) = other.and_then(|o| Some((o, o.mirror.as_ref()?))) else {
        return said(D::Unknown, words::REMOTE_NOT_PRIMARY, Replay::None);
    };
    if !image.is_prefix_of(source) {
        let ahead = source.is_prefix_of(image) && !sm.primary;
        return if ahead {
            said(D::Unknown, words::REMOTE_NOT_PRIMARY, Replay::None)
        } else {
            said(D::Error, words::SPLIT_BRAIN, Replay::None)
        };
    }
    if m.first_sync {
        return said(D::Syncing, words::BOOTSTRAPPING, Replay::None);
    }
    let demotion_seen = image
        .log
        .last()
        .is_some_and(|e| matches!(e.change, Change::Demoted));
    if !sm.primary {
        return if demotion_seen && image.log.len() == source.log.len() {
            said(D::Unknown, words::REMOTE_DEMOTED, Replay::None)
        } else {
            said(D::Replaying, words::REPLAYING, replay(image, m, source, sm))
        };
    }
    said(D::Replaying, words::REPLAYING, replay(image, m, source, sm))
}

fn replay(image: &Image, m: &Mirror, source: &Image, sm: &Mirror) -> Replay {
    match sm.mode {
        MirrorImageMode::Journal => Replay::Journal {
            entries_behind: Some((source.log.len() - image.log.len().min(source.log.len())) as u64),
            bytes_per_second: Some(0.0),
        },
        MirrorImageMode::Snapshot => {
            let local = m.snapshots.last().map(|s| s.primary_at);
            let remote = sm.snapshots.last().map(|s| s.primary_at);
            let syncing = remote > local;
            Replay::Snapshot {
                local,
                remote,
                syncing,
                percent: syncing.then_some(50),
                last_took: m.last_sync.map(|(took, _): (Duration, u64)| took),
                last_bytes: m.last_sync.map(|(_, bytes)| bytes),
            }
        }
    }
}
