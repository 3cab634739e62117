//! A forced promotion in snapshot mode.
//!
//! The mirror daemon is shut out first: librbd waits until it has let go of the image, some 5 s of its own accord, and for ever
//! where it is in the middle of a copy from a zone that is silent (hard case 22). Shut out, it starts anew by itself. Then a
//! copy that was interrupted is put back to the last state that was whole, because librbd 16 would go one state too far
//! (hard case 23; see `rbd_rs`, `mirror/interrupted.rs`), and then the image is promoted.
//!
//! A user's snapshots that came with that copy do not hold what they were taken of (`mirror/torn.rs`). They are set aside first, under
//! names that nobody asks for: Cinder would make volumes of them, and they would be mirrored home. Nothing is removed.
//!
//! Nor can such a copy be put back: what it writes for those snapshots overwrites the state before. So its volume is promoted only where
//! the order says that one of two moments is wanted.

use super::{BLOCKLISTED_FOR, image::other_watchers};
use crate::backend::Force;
use rbd_rs::{Cluster, Error, Image, Promote, Role, Settled, Snapshot, SnapshotKind};
use rekindle_common::ImageSpec;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Threads that compare an image's objects.
const THREADS: usize = 4;
/// Behind the name of a snapshot that was set aside; its number follows. No name of Cinder's ends so.
const TORN: &str = ".rekindle-torn-";
/// A watcher that was shut out is gone from the images by then.
const LATELY: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, Error>;

/// How often a copy is put back anew because a mirror daemon came up meanwhile. One takes half a minute to start.
const TRIES: usize = 5;

/// What forced promotions know of each other.
#[derive(Debug, Default)]
pub(super) struct Forcing {
    shut_out: Mutex<ShutOut>,
    /// The volumes on which a thread is at work, however long ago its asker went. Beside it a second one would go on putting objects
    /// back once the first had promoted the image, under its writer.
    at_work: Mutex<HashSet<ImageSpec>>,
}

/// The daemons that were shut out. An image still names its watcher for a moment, and a batch asks for one daemon's sake many times.
#[derive(Debug, Default)]
struct ShutOut {
    lately: HashMap<String, Instant>,
    /// How many, ever: who finds more than before had one beside it.
    count: u64,
}

/// A volume on which this thread is at work.
struct AtWork<'a> {
    forcing: &'a Forcing,
    spec: &'a ImageSpec,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.forcing.at_work().remove(self.spec);
    }
}

/// How an order for a forced promotion ends, but for errors.
pub(super) enum Forced {
    /// It is promoted.
    Promoted,
    /// It would be of two moments, for a copy was interrupted that came with these snapshots. Nothing was changed.
    Torn(Vec<String>),
    /// Not now, and why.
    Later(&'static str),
}

/// Promotes. An error before the promotion leaves the copy as it was, or marked to be copied again.
pub(super) fn promote(
    image: &Image,
    cluster: &Cluster,
    spec: &ImageSpec,
    forcing: &Forcing,
    force: Force,
) -> Result<Forced> {
    let Some(_at_work) = forcing.enter(spec) else {
        return Ok(Forced::Later(
            "an earlier forced promotion is at work on it",
        ));
    };
    // That one may just have ended. What is primary is never put back.
    if image.mirror_info()?.role == Role::Primary {
        return Ok(Forced::Promoted);
    }
    let refused = |torn: &[Snapshot]| match force {
        Force::EvenTorn => Ok(None),
        Force::No | Force::Yes => of_two_moments(image, torn),
    };
    // Before its daemon is shut out, for it may yet end the copy; and after, for it may have begun one since.
    if let Some(snapshots) = refused(&image.torn_snapshots()?)? {
        return Ok(Forced::Torn(snapshots));
    }
    let daemons = forcing.shut_out_watchers(image, cluster, spec)?;
    let torn = image.torn_snapshots()?;
    if let Some(snapshots) = refused(&torn)? {
        return Ok(Forced::Torn(snapshots));
    }
    // Before the promotion: in its next moment somebody may use one, and this process may be gone.
    let promoted = set_all_aside(image, &torn)
        .and_then(|()| promote_whole(image, cluster, spec, (forcing, daemons), torn.is_empty()));
    match &promoted {
        Ok(Forced::Promoted) => {
            for snapshot in &torn {
                tracing::error!(volume.id = %spec, snapshot = before(&snapshot.name), name = aside(snapshot), "a copy was interrupted that this snapshot came with: it does not hold what it was taken of, and is set aside");
            }
        }
        // An error may come behind the promotion, too: then they stay where they are.
        Err(_)
            if !image
                .mirror_info()
                .is_ok_and(|i| i.role == Role::NonPrimary) => {}
        Ok(Forced::Torn(_) | Forced::Later(_)) | Err(_) => give_names_back(image, spec, &torn),
    }
    promoted
}

/// Puts an interrupted copy back, and promotes. `daemons`: how many were shut out by now. `known`: nothing was changed behind librbd's
/// back before.
fn promote_whole(
    image: &Image,
    cluster: &Cluster,
    spec: &ImageSpec,
    (forcing, mut daemons): (&Forcing, u64),
    known: bool,
) -> Result<Forced> {
    // What was changed behind librbd's back is seen by an image that is opened after it.
    let reopened = || image.pool().open_by_id(&image.id()?);
    for _ in 0..TRIES {
        let Some(copy) = image.interrupted_copy()? else {
            return if known {
                image.mirror_promote(Promote::Force)
            } else {
                reopened()?.mirror_promote(Promote::Force)
            }
            .map(|()| Forced::Promoted);
        };
        let id = copy.snapshot.id;
        match image.settle_interrupted_copy(&copy, THREADS)? {
            Settled::Restored { objects } => {
                tracing::warn!(volume.id = %spec, snapshot = id, objects, "a copy was interrupted: put back to the last whole state");
            }
            Settled::LeftToLibrbd => {
                tracing::warn!(volume.id = %spec, snapshot = id, "a copy was interrupted: librbd rolls it back");
            }
        }
        // A daemon starts anew by itself, and goes on with a copy that is not whole: what it wrote beside us is in this one too.
        let now = forcing.shut_out_watchers(image, cluster, spec)?;
        if now != daemons {
            daemons = now;
            image.unsettle(&copy)?;
            tracing::warn!(volume.id = %spec, snapshot = id, "a mirror daemon came up while the copy was put back: once more");
            continue;
        }
        let promoted = reopened()?.mirror_promote(Promote::Force);
        if promoted.is_err()
            && let Err(error) = image.unsettle(&copy)
        {
            tracing::error!(volume.id = %spec, %error, "the volume was not promoted, and its copy is called whole though it is not: promote it, or resync it before it is used");
        }
        return promoted.map(|()| Forced::Promoted);
    }
    Ok(Forced::Later(
        "a mirror daemon came up each time that its interrupted copy was put back",
    ))
}

/// The user snapshots of a copy that was interrupted behind them, where there are any.
fn of_two_moments(image: &Image, torn: &[Snapshot]) -> Result<Option<Vec<String>>> {
    if torn.is_empty() || image.interrupted_copy()?.is_none() {
        return Ok(None);
    }
    let names = torn.iter().map(|s| before(&s.name).to_owned());
    Ok(Some(names.collect()))
}

/// The names, as they are now, of the snapshots that were set aside.
pub(super) fn set_aside(all: &[Snapshot]) -> Vec<String> {
    let torn = |s: &&Snapshot| s.kind == SnapshotKind::User && before(&s.name) != s.name;
    all.iter().filter(torn).map(|s| s.name.clone()).collect()
}

fn set_all_aside(image: &Image, torn: &[Snapshot]) -> Result<()> {
    torn.iter()
        // An earlier call may have done so.
        .filter(|s| aside(s) != s.name)
        .try_for_each(|s| image.rename_copys_snapshot(s.id, &aside(s)))
}

/// The copy may go on yet, and be whole: its daemon knows a snapshot by its number, and leaves it the name that it has.
fn give_names_back(image: &Image, spec: &ImageSpec, torn: &[Snapshot]) {
    for snapshot in torn {
        match image.rename_copys_snapshot(snapshot.id, before(&snapshot.name)) {
            Ok(()) | Err(Error::Exists(_)) => {}
            Err(error) => {
                tracing::error!(volume.id = %spec, snapshot = before(&snapshot.name), %error, "the volume was not promoted, and this snapshot of its copy may be set aside: promote it, or resync it before it is used");
            }
        }
    }
}

fn aside(snapshot: &Snapshot) -> String {
    format!("{}{TORN}{}", before(&snapshot.name), snapshot.id)
}

/// The name that a snapshot had before it was set aside.
fn before(name: &str) -> &str {
    match name.rsplit_once(TORN) {
        Some((before, id)) if id.parse::<u64>().is_ok() => before,
        Some(_) | None => name,
    }
}

impl Forcing {
    fn at_work(&self) -> MutexGuard<'_, HashSet<ImageSpec>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut_out(&self) -> MutexGuard<'_, ShutOut> {
        self.shut_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter<'a>(&'a self, spec: &'a ImageSpec) -> Option<AtWork<'a>> {
        // Not made where another has it: its end would let go of that one's.
        let is_first = self.at_work().insert(spec.clone());
        is_first.then(|| AtWork {
            forcing: self,
            spec,
        })
    }

    /// Shuts out who else has the image open, and tells how many were ever shut out of the cluster here. Behind it nothing arrives any more of
    /// what they had sent.
    fn shut_out_watchers(&self, image: &Image, cluster: &Cluster, spec: &ImageSpec) -> Result<u64> {
        for watcher in other_watchers(image, cluster.instance_id())? {
            // Held while the cluster is told, so that the others of the batch wait for that.
            let mut all = self.shut_out();
            all.lately.retain(|_, at| at.elapsed() < LATELY);
            if !all.lately.contains_key(&watcher.address) {
                cluster.blocklist_add(&watcher.address, BLOCKLISTED_FOR)?;
                all.lately.insert(watcher.address.clone(), Instant::now());
                all.count += 1;
                tracing::info!(volume.id = %spec, client = watcher.address, "shut out: it had the volume open while it was promoted by force");
            }
        }
        // Also where it was another volume's promotion that shut it out, and the image names it no more.
        let count = self.shut_out().count;
        if count > 0 {
            cluster.wait_for_latest_osdmap()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, kind: SnapshotKind) -> Snapshot {
        Snapshot {
            id: 7,
            name: name.to_owned(),
            size: 1,
            kind,
            taken: Duration::ZERO,
        }
    }

    #[test]
    fn one_thread_is_at_work_on_a_volume_and_the_next_once_it_has_ended() {
        let (forcing, a) = (Forcing::default(), "volumes/a".parse().unwrap());
        let b: ImageSpec = "volumes/b".parse().unwrap();
        let first = forcing.enter(&a);
        assert!(first.is_some());
        assert!(forcing.enter(&a).is_none());
        assert!(forcing.enter(&b).is_some());
        drop(first);
        assert!(forcing.enter(&a).is_some());
    }

    #[test]
    fn a_torn_snapshot_gets_a_name_that_tells_its_own_and_gets_it_once() {
        let torn = snapshot("snapshot-1", SnapshotKind::User);
        let name = aside(&torn);
        assert_eq!(name, "snapshot-1.rekindle-torn-7");
        let again = snapshot(&name, SnapshotKind::User);
        assert_eq!(
            (aside(&again).as_str(), before(&name)),
            (&*name, "snapshot-1")
        );
        let others = [
            torn,
            snapshot(".mirror.primary.rekindle-torn-7", SnapshotKind::Mirror),
            snapshot("mine.rekindle-torn-cloth", SnapshotKind::User),
        ];
        assert!(set_aside(&others).is_empty());
        assert_eq!(set_aside(&[again]), [name]);
    }
}
