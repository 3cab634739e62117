//! What was written here that the other site has not: what a resync of this image would discard.
//!
//! It is asked of an image that was demoted, so nothing is written while it is measured, and it is answered by this cluster alone:
//!
//! ```text
//!   snapshot mode   the oldest mirror snapshot that the peer has not let go of   ->   the image as it is
//!                   which objects differ: the object maps between the two, where they are valid; else every object's version
//!                   how much of them: both states are read and compared, block by block
//!   journal mode    the peer's commit position in this image's journal           ->   the journal's end
//!                   the writes of those entries, each block counted once
//! ```
//!
//! The peer lets go of a mirror snapshot only once it has the whole of the next, and commits a journal position only once it
//! has replayed it. So it has at least what the left side shows, and the figure is never too small. It may be too large: a
//! newer snapshot may be whole there and not be told yet, and a daemon tells its commit position every 5 s. [`Bound`] says which.
//!
//! `rbd_diff_iterate2` would do for the first, but takes a snapshot by a user's name only, and mirror snapshots have none;
//! `rbd_diff_iterate3`, which takes a number, came after Ceph 16.

mod blocks;
mod decode;
mod journal;
mod snapshots;

use std::time::Instant;

use crate::{Error, Image, MirrorMode};

/// The unit of the figure in bytes: a block counts where one byte of it was written.
pub(crate) const BLOCK: u64 = 4096;

/// How a figure is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is the amount, in whole blocks of 4 KiB.
    Exact,
    /// No more than that: some of it may be on the other side too.
    AtMost,
    /// No less than that: the time was over.
    AtLeast,
}

/// How much was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// So much.
    Measured {
        /// Bytes, in whole blocks of 4 KiB.
        bytes: u64,
        /// In how many runs of blocks.
        extents: u64,
        /// How the two are to be read.
        bound: Bound,
    },
    /// It cannot be told.
    Unknown {
        /// Why, for a person.
        why: String,
    },
}

impl Written {
    fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }
}

/// When to stop, and by how many threads to look.
#[derive(Clone, Copy, Debug)]
pub struct GiveUp {
    /// No object is begun after it.
    pub at: Instant,
    /// Threads that compare objects.
    pub threads: usize,
}

impl GiveUp {
    fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }
}

impl Image {
    /// How much was written here that the other site has not, as far as this cluster can tell. For an image that was demoted; of
    /// one that takes writes the answer is old when it is given.
    ///
    /// # Errors
    /// [`Error::NotMirrored`], or as any call.
    pub fn written_since_split(&self, give_up: GiveUp) -> Result<Written, Error> {
        match self.mirror_mode()? {
            MirrorMode::Snapshot => self.written_since_snapshot(give_up),
            MirrorMode::Journal => self.written_in_journal(give_up),
            MirrorMode::Unrecognised(mode) => Ok(Written::unknown(format!(
                "it is mirrored in a mode that this version does not know ({mode})"
            ))),
        }
    }

    /// Where the history of this image's own ends, for one that was demoted and has not followed since: the same number as long as
    /// that is so, and another after each time that it was primary. Of any other image it may change at any time.
    ///
    /// # Errors
    /// [`Error::NotMirrored`], or as any call.
    pub fn own_history(&self) -> Result<u64, Error> {
        match self.mirror_mode()? {
            MirrorMode::Snapshot => Ok(snapshots::newest_own(&self.mirror_snapshots()?)),
            MirrorMode::Journal => self.next_tag(),
            MirrorMode::Unrecognised(_) => {
                let at = self.at("rbd_mirror_image_get_mode");
                Err(at.error(-libc::EOPNOTSUPP))
            }
        }
    }
}
