//! A forced promotion in snapshot mode.
//!
//! The mirror daemon is shut out first: librbd waits until it has let go of the image, some 5 s of its own accord, and for ever
//! where it is in the middle of a copy from a zone that is silent (hard case 22). Shut out, it starts anew by itself. Then a
//! copy that was interrupted is put back to the last state that was whole, because librbd 16 would go one state too far
//! (hard case 23; see `rbd_rs`, `mirror/interrupted.rs`), and then the image is promoted.

use super::BLOCKLISTED_FOR;
use rbd_rs::{Cluster, Error, Image, Promote, Settled};
use rekindle_common::ImageSpec;

/// Threads that compare an image's objects.
const THREADS: usize = 4;

type Result<T> = std::result::Result<T, Error>;

/// Promotes. An error before the promotion leaves the copy as it was, or marked to be copied again.
pub(super) fn promote(image: &Image, cluster: &Cluster, spec: &ImageSpec) -> Result<()> {
    shut_out_daemon(image, cluster, spec)?;
    let interrupted = image.interrupted_copy()?;
    if let Some(copy) = &interrupted {
        match image.settle_interrupted_copy(THREADS)? {
            Settled::Whole => {}
            Settled::Restored { objects } => {
                tracing::warn!(volume.id = %spec, snapshot = copy.snapshot.id, objects, "a copy was interrupted: put back to the last whole state");
            }
            Settled::LeftToLibrbd => {
                tracing::warn!(volume.id = %spec, snapshot = copy.snapshot.id, "a copy was interrupted: librbd rolls it back");
            }
        }
    }
    // What was changed behind librbd's back is seen by an image that is opened after it.
    let fresh = image.pool().open_by_id(&image.id()?)?;
    let promoted = fresh.mirror_promote(Promote::Force);
    if let (Err(_), Some(copy)) = (&promoted, &interrupted)
        && let Err(error) = image.unsettle(copy)
    {
        tracing::error!(volume.id = %spec, %error, "the volume was not promoted, and its copy is called whole though it is not: promote it, or resync it before it is used");
    }
    promoted
}

fn shut_out_daemon(image: &Image, cluster: &Cluster, spec: &ImageSpec) -> Result<()> {
    let own = cluster.instance_id();
    let mut shut_out = false;
    for watcher in image.watchers()? {
        if u64::try_from(watcher.client).ok() != Some(own) {
            cluster.blocklist_add(&watcher.address, BLOCKLISTED_FOR)?;
            tracing::info!(volume.id = %spec, client = watcher.address, "shut out: it had the volume open while it was promoted by force");
            shut_out = true;
        }
    }
    if shut_out {
        cluster.wait_for_latest_osdmap()?;
    }
    Ok(())
}
