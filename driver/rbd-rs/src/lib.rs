//! Safe librados and librbd, loaded at run time.
//!
//! [`Ceph::load`] opens the installed libraries, so that one binary runs with every Ceph from 16
//! on and is built without Ceph's headers. From there:
//!
//! ```text
//!   Ceph --connect--> Cluster --pool--> Pool --open--> Image
//!                        |                |               |
//!                        commands,        objects,        data, metadata, snapshots, locks,
//!                        health,          image list,     mirroring of the image
//!                        blocklist        mirroring of the pool
//! ```
//!
//! Each handle keeps the one to its left alive and closes itself when dropped. Every call blocks,
//! and can block for ever on a dead cluster: run calls in a [`CallPool`], which bounds the wait
//! and survives those that never return.
//!
//! Each function names the C prototypes that it stands for under "Implements", and
//! `src/sys/` holds them in one table that a test compares with Ceph's headers.
//!
//! What it is not: a data path. Volumes are read and written by QEMU; reading and writing here is
//! for tests, drills and small objects.

mod asks;
mod blocklist;
mod buffer;
mod call_pool;
mod cluster;
mod command;
mod error;
mod exit;
mod features;
mod health;
mod image;
mod images;
mod ioctx;
mod lineage;
mod lock;
mod memory;
mod metadata;
mod mirror;
mod object;
mod object_view;
mod snapshot;
mod sys;
mod trash;

pub use asks::{Asks, MOST_ASKS};
pub use blocklist::BlocklistEntry;
pub use call_pool::{CallError, CallPool, CallPoolCounters, CallPoolLimits, TimedOutStage};
pub use cluster::{Cluster, ConnectOptions, Timeouts};
pub use command::CommandReply;
pub use error::{BusyReason, Call, Error, MirrorScope, Role};
pub use features::Features;
pub use health::{Health, HealthCheck, HealthStatus};
pub use image::{Image, Shrink};
pub use images::{CreateOptions, ImageEntry};
pub use ioctx::Pool;
pub use lineage::{LinkedImage, Parent};
pub use lock::{LockMode, LockOwners, Watcher};
pub use memory::{limit_malloc_arenas, return_free_memory};
pub use mirror::daemon::{Callout, CalloutLevel, MirrorDaemon, MirrorDaemonPool};
pub use mirror::image::{Disable, MirrorInfo, MirrorMode, Promote};
pub use mirror::interrupted::Settled;
pub use mirror::list::{MIRROR_PAGE, MirroredImage};
pub use mirror::pool::{MirrorPeer, PeerDirection, PoolMirrorMode};
pub use mirror::snapshot::{MirrorSnapshot, MirrorSnapshotState, Quiesce};
pub use mirror::status::{
    DaemonPresence, ImageStatus, JournalPosition, JournalReplay, MirrorState, ReplayDetail,
    ReplayState, Site, SiteStatus, SnapshotActivity, SnapshotReplay,
};
pub use mirror::written::{Bound, GiveUp, Written};
pub use object::{Compared, Expected, LARGEST_OBJECT};
pub use snapshot::{Snapshot, SnapshotKind};
pub use sys::load::{Ceph, LibraryVersion};
pub use trash::{TrashEntry, TrashRemoval};
