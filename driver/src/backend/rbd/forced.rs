//! A forced promotion in snapshot mode.
//!
//! The mirror daemon is shut out first: librbd waits until it has let go of the image, some 5 s of its own accord, and for ever
//! where it is in the middle of a copy from a zone that is silent (hard case 22). Shut out, it starts anew by itself. Then a
//! copy that was interrupted is put back to the last state that was whole, because librbd 16 would go one state too far
//! (hard case 23; see `rbd_rs`, `mirror/interrupted.rs`), and then the image is promoted.

use super::{BLOCKLISTED_FOR, image::other_watchers};
use rbd_rs::{Cluster, Error, Image, Promote, Settled};
use rekindle_common::ImageSpec;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Threads that compare an image's objects.
const THREADS: usize = 4;
/// A watcher that was shut out is gone from the images by then.
const LATELY: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, Error>;

/// The daemons that were shut out lately. An image still names its watcher for a moment, and a batch asks for one daemon's sake
/// many times.
#[derive(Debug, Default)]
pub(super) struct ShutOut(Mutex<HashMap<String, Instant>>);

/// Promotes. An error before the promotion leaves the copy as it was, or marked to be copied again.
pub(super) fn promote(
    image: &Image,
    cluster: &Cluster,
    spec: &ImageSpec,
    lately: &ShutOut,
) -> Result<()> {
    lately.shut_out_watchers(image, cluster, spec)?;
    let Some(copy) = image.interrupted_copy()? else {
        return image.mirror_promote(Promote::Force);
    };
    match image.settle_interrupted_copy(&copy, THREADS)? {
        Settled::Restored { objects } => {
            tracing::warn!(volume.id = %spec, snapshot = copy.snapshot.id, objects, "a copy was interrupted: put back to the last whole state");
        }
        Settled::LeftToLibrbd => {
            tracing::warn!(volume.id = %spec, snapshot = copy.snapshot.id, "a copy was interrupted: librbd rolls it back");
        }
    }
    // What was changed behind librbd's back is seen by an image that is opened after it.
    let fresh = image.pool().open_by_id(&image.id()?)?;
    let promoted = fresh.mirror_promote(Promote::Force);
    if promoted.is_err()
        && let Err(error) = image.unsettle(&copy)
    {
        tracing::error!(volume.id = %spec, %error, "the volume was not promoted, and its copy is called whole though it is not: promote it, or resync it before it is used");
    }
    promoted
}

impl ShutOut {
    fn shut_out_watchers(&self, image: &Image, cluster: &Cluster, spec: &ImageSpec) -> Result<()> {
        let mut shut_out = false;
        for watcher in other_watchers(image, cluster.instance_id())? {
            shut_out = true;
            // Held while the cluster is told, so that the others of the batch wait for that.
            let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lately.retain(|_, at| at.elapsed() < LATELY);
            if !lately.contains_key(&watcher.address) {
                cluster.blocklist_add(&watcher.address, BLOCKLISTED_FOR)?;
                lately.insert(watcher.address.clone(), Instant::now());
                tracing::info!(volume.id = %spec, client = watcher.address, "shut out: it had the volume open while it was promoted by force");
            }
        }
        if shut_out {
            cluster.wait_for_latest_osdmap()?;
        }
        Ok(())
    }
}
