//! The volumes, and the proof that their copies are in step.
//!
//! The mirror daemon's `up+replaying` is written every 30 s only and may be older than what it speaks of. So a mark is
//! written into an image's metadata, which arrives with all that was written before it and not earlier.

use crate::world::World;
use anyhow::{Context, bail, ensure};
use rbd_rs::{
    CreateOptions, DaemonPresence, Features, MirrorSnapshotState, Pool, Quiesce, ReplayState, Role,
};
use rekindle_common::{action::VolumeAction, mode::ReplicationMode};
use rekindle_lab::Site;
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Bytes of an image.
pub(crate) const SIZE: u64 = 8 << 20;
/// Bytes written to it before it is mirrored.
const DATA: usize = 64 << 10;
/// Where marks are put.
const MARK: &str = "failover-bench.mark";
/// Images handled at once by the harness itself.
const PARALLEL: usize = 12;
/// For all copies to be in step: with two restarts of the daemon, and a copy made anew.
const IN_STEP: Duration = Duration::from_secs(420);
/// Nothing moved for so long, twice the daemon's round of all images and more: it is stuck.
const STALLED: Duration = Duration::from_secs(75);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// One volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    /// The image's name.
    pub(crate) name: String,
    /// How it is replicated.
    pub(crate) mode: ReplicationMode,
}

impl Volume {
    fn in_snapshot_mode(&self) -> bool {
        match self.mode {
            ReplicationMode::Instant => false,
            ReplicationMode::Once | ReplicationMode::Periodic(_) => true,
        }
    }
}

/// `count` new volumes in zone-a, every second one in snapshot mode, replicated, with copies in step in zone-b.
pub(crate) fn create(
    world: &World,
    set: &str,
    from: usize,
    to: usize,
) -> anyhow::Result<Vec<Volume>> {
    let volumes: Vec<Volume> = (from..to)
        .map(|i| {
            let (mode, word) = if i % 2 == 0 {
                (ReplicationMode::Instant, "journal")
            } else {
                (ReplicationMode::Once, "snapshot")
            };
            Volume {
                name: format!("volume-{set}-{i:03}-{word}"),
                mode,
            }
        })
        .collect();
    let pool = world.admin(Site::ZoneA)?;
    let options = CreateOptions {
        features: Some(Features::DEFAULT),
        ..CreateOptions::default()
    };
    each(&volumes, |v| {
        pool.create_image(&v.name, SIZE, &options)?;
        let image = pool.open(&v.name)?;
        image.write(0, &vec![0x5a; DATA])?;
        image.flush()?;
        Ok(())
    })?;
    let batch = world.batch(Site::ZoneA, &volumes, |v| VolumeAction::Replicate {
        mode: v.mode,
        group: None,
        leave_group: false,
        anew: false,
        cinder: None,
    })?;
    if let Some((volume, error)) = batch.refused.first() {
        bail!("{volume} cannot be replicated: {error}");
    }
    Ok(volumes)
}

/// Does something to each volume, some at once, and stops at the first error.
pub(crate) fn each(
    volumes: &[Volume],
    what: impl Fn(&Volume) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    let todo = Mutex::new(volumes.iter());
    let work = || -> anyhow::Result<()> {
        loop {
            let next = todo.lock().map_err(|_| poisoned())?.next();
            let Some(v) = next else { return Ok(()) };
            what(v).with_context(|| v.name.clone())?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PARALLEL.min(volumes.len()))
            .map(|_| scope.spawn(work))
            .collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| poisoned())?)
    })
}

fn poisoned() -> anyhow::Error {
    anyhow::anyhow!("a thread of the benchmark panicked")
}

/// Waits until each volume meets a condition that a zone's daemon has to bring about. `met` answers what it sees instead.
///
/// A daemon of Ceph 16 may leave one image of a hundred lying for ever after its zone was killed; an operator starts it
/// again then, and where that does not help has the copy made anew, and so does this. The report counts both.
pub(crate) fn wait_all(
    world: &World,
    zone: Site,
    what: &str,
    volumes: &[Volume],
    deadline: Duration,
    met: impl Fn(&Volume) -> Result<(), String> + Sync,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut moved = begun;
    let mut restarted = false;
    let mut left = volumes.to_vec();
    loop {
        let still = Mutex::new(Vec::new());
        each(&left, |v| {
            if let Err(why) = met(v) {
                still.lock().map_err(|_| poisoned())?.push((v.clone(), why));
            }
            Ok(())
        })?;
        let still = still.into_inner().map_err(|_| poisoned())?;
        let Some((one, why)) = still.first() else {
            return Ok(begun.elapsed());
        };
        ensure!(
            begun.elapsed() < deadline,
            "{what}: {} of {} volumes not after {deadline:?}; {}: {why}",
            still.len(),
            volumes.len(),
            one.name
        );
        if still.len() < left.len() {
            moved = Instant::now();
        } else if moved.elapsed() > STALLED {
            if restarted {
                let stuck: Vec<Volume> = still.iter().map(|(v, _)| v.clone()).collect();
                make_anew(world, zone, &stuck)?;
            }
            world.restart_daemon(zone, &format!("{what}; {}: {why}", one.name))?;
            restarted = true;
            moved = Instant::now();
        }
        left = still.into_iter().map(|(v, _)| v).collect();
        std::thread::sleep(PAUSE);
    }
}

/// Asks for new copies of those that are copies. What the daemon said of them goes into the log, and the report.
fn make_anew(world: &World, zone: Site, stuck: &[Volume]) -> anyhow::Result<()> {
    let pool = world.admin(zone)?;
    each(stuck, |v| {
        let Ok(image) = pool.open(&v.name) else {
            return Ok(());
        };
        match image.mirror_info()?.role {
            Role::Primary => Ok(()),
            Role::NonPrimary => {
                let said = match image.mirror_status() {
                    Ok(status) => status.local().map_or_else(String::new, |l| l.word()),
                    Err(e) => e.to_string(),
                };
                image.mirror_resync()?;
                world.made_anew(zone, &v.name, &said)
            }
        }
    })
}

/// Writes a mark on the primary's side. Snapshot images carry it with their next mirror snapshot.
pub(crate) fn mark(pool: &Pool, volumes: &[Volume], token: &str, send: Send) -> anyhow::Result<()> {
    each(volumes, |v| {
        let image = pool.open(&v.name)?;
        image.metadata_set(MARK, token)?;
        match send {
            Send::Now if v.in_snapshot_mode() => {
                image.create_mirror_snapshot(Quiesce::IfPossible)?;
            }
            Send::Now | Send::WithDemotion => {}
        }
        Ok(())
    })
}

/// When a mark goes to the other zone in snapshot mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Send {
    /// With a mirror snapshot taken for it.
    Now,
    /// With the one that the demotion takes.
    WithDemotion,
}

/// Whether the copy has that mark, and in snapshot mode the snapshot that it came with is whole.
fn has_mark(pool: &Pool, v: &Volume, token: &str) -> Result<(), String> {
    let image = pool.open_read_only(&v.name).map_err(|e| e.to_string())?;
    let found = image.metadata_find(MARK).map_err(|e| e.to_string())?;
    if found.as_deref() != Some(token) {
        return Err(format!("its mark is {found:?}"));
    }
    if v.in_snapshot_mode() {
        let newest = image
            .mirror_snapshots()
            .map_err(|e| e.to_string())?
            .into_iter()
            .next_back();
        if !newest.as_ref().is_some_and(|s| s.complete) {
            return Err(format!("its newest mirror snapshot is {newest:?}"));
        }
    }
    Ok(())
}

/// Proves that the zone `to` replays what `from` writes, volume by volume. Needed before a demotion too: where no side is
/// primary a daemon does not begin to replay.
pub(crate) fn wait_in_step(
    world: &World,
    volumes: &[Volume],
    from: Site,
    to: Site,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let (source, copy) = (world.admin(from)?, world.admin(to)?);
    wait_all(world, to, "a copy appears", volumes, IN_STEP, |v| {
        let image = copy.open_read_only(&v.name).map_err(|e| e.to_string())?;
        let info = image.mirror_info().map_err(|e| e.to_string())?;
        match info.role {
            Role::NonPrimary => Ok(()),
            Role::Primary => Err("it is primary".to_owned()),
        }
    })?;
    let token = token();
    mark(&source, volumes, &token, Send::Now)?;
    wait_all(world, to, "a copy is in step", volumes, IN_STEP, |v| {
        has_mark(&copy, v, &token)
    })?;
    Ok(begun.elapsed())
}

/// Waits for the daemon's own word that the copies are whole: a sidecar promotes a journal image by force only where it
/// has that. The daemon writes it every 30 s, for all images together.
pub(crate) fn wait_reported(
    world: &World,
    volumes: &[Volume],
    zone: Site,
) -> anyhow::Result<Duration> {
    let pool = world.admin(zone)?;
    wait_all(world, zone, "the daemon reports", volumes, IN_STEP, |v| {
        let image = pool.open_read_only(&v.name).map_err(|e| e.to_string())?;
        let status = image.mirror_status().map_err(|e| e.to_string())?;
        let local = status.local().ok_or("it reports nothing")?;
        match (local.daemon, local.state == ReplayState::Replaying) {
            (DaemonPresence::Up, true) => Ok(()),
            (DaemonPresence::Up, false) | (DaemonPresence::Down, _) => Err(local.word()),
        }
    })
}

/// Waits until the copies have replayed a demotion before which they were marked so.
pub(crate) fn wait_demoted(
    world: &World,
    volumes: &[Volume],
    to: Site,
    token: &str,
) -> anyhow::Result<Duration> {
    let copy = world.admin(to)?;
    wait_all(
        world,
        to,
        "the demotion is replayed",
        volumes,
        IN_STEP,
        |v| {
            has_mark(&copy, v, token)?;
            let image = copy.open_read_only(&v.name).map_err(|e| e.to_string())?;
            if v.in_snapshot_mode() {
                let newest = image
                    .mirror_snapshots()
                    .map_err(|e| e.to_string())?
                    .into_iter()
                    .next_back();
                return match newest {
                    Some(s) if s.state == MirrorSnapshotState::NonPrimaryDemoted && s.complete => {
                        Ok(())
                    }
                    other => Err(format!("its newest mirror snapshot is {other:?}")),
                };
            }
            let status = image.mirror_status().map_err(|e| e.to_string())?;
            // With the mark here it only has to let go of the image. It says "remote image demoted", and from the next try on
            // "remote image is not primary".
            match status.local() {
                Some(local) if local.state != ReplayState::Replaying => Ok(()),
                other => Err(format!(
                    "its daemon says {:?}",
                    other.map(|l| &l.description)
                )),
            }
        },
    )
}

/// A mark that was never used before.
pub(crate) fn token() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}-{n}", std::process::id())
}
