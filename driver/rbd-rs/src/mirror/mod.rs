//! Mirroring: pools and their peers, images and their roles, and what the daemons report.
//!
//! ```text
//!   zone A: image (primary) --journal or mirror snapshots--> rbd-mirror of zone B --> image (non-primary)
//!                                                                 |
//!                          status of both sites, kept in each pool, in words  <---+
//! ```
//!
//! The role ([`MirrorInfo`]) is the cluster's own truth and is read from the image. The status
//! ([`ImageStatus`]) is what a daemon last wrote: it can be old, and for a dead daemon it says so
//! only by [`SiteStatus::daemon`].

pub(crate) mod daemon;
pub(crate) mod image;
pub(crate) mod interrupted;
pub(crate) mod list;
pub(crate) mod pool;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod torn;
pub(crate) mod written;
