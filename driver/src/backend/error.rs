//! What a backend call failed with. The only place that gives an errno a meaning.

use rekindle_common::ImageSpec;
use std::fmt;

/// A backend call, by librbd's word for it. Also the handle by which the memory backend's faults are scripted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// All volumes.
    List,
    /// Opening one image.
    Open,
    /// Reading one image's state.
    Look,
    /// Turning mirroring on.
    Enable,
    /// Turning mirroring off.
    Disable,
    /// Promotion, plain.
    Promote,
    /// Promotion, forced.
    ForcePromote,
    /// Demotion.
    Demote,
    /// Flagging for resync.
    Resync,
    /// A mirror snapshot.
    MirrorSnapshot,
    /// Writing metadata.
    SetMetadata,
    /// Removing metadata.
    RemoveMetadata,
    /// Measuring what was written since the split.
    Measure,
    /// A deep copy.
    Copy,
    /// Removing an image.
    Remove,
    /// The clients that have an image open.
    Watchers,
    /// Shutting a client out.
    Blocklist,
    /// Reading a RADOS object.
    ReadObject,
    /// Changing a RADOS object if it is as expected.
    WriteObject,
    /// The write and read back of the health probe.
    Probe,
    /// The cluster's own account of itself.
    Health,
    /// The mirror daemons and the peer.
    MirrorInfo,
    /// A client's write (memory backend only).
    Write,
}

impl Op {
    /// Its name in messages and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Open => "open",
            Self::Look => "look",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Promote => "promote",
            Self::ForcePromote => "force_promote",
            Self::Demote => "demote",
            Self::Resync => "resync",
            Self::MirrorSnapshot => "mirror_snapshot",
            Self::SetMetadata => "set_metadata",
            Self::RemoveMetadata => "remove_metadata",
            Self::Measure => "measure",
            Self::Copy => "copy",
            Self::Remove => "remove",
            Self::Watchers => "watchers",
            Self::Blocklist => "blocklist",
            Self::ReadObject => "read_object",
            Self::WriteObject => "write_object",
            Self::Probe => "probe",
            Self::Health => "health",
            Self::MirrorInfo => "mirror_info",
            Self::Write => "write",
        }
    }
}
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an errno means for the call that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendErrorKind {
    /// No such image, pool or object.
    NotFound,
    /// The image is not mirrored: a state (hard case 36).
    NotMirrored,
    /// A plain promotion while the peer is primary **or** while its demotion was not yet replayed: librbd gives both the
    /// same EBUSY, and nothing here ever answers it with force (hard case 21).
    PeerPrimaryOrDemotionPending,
    /// The pool is not set up for mirroring of single images.
    PoolNotMirrored,
    /// Somebody holds on to it.
    InUse,
    /// It is there already.
    Exists,
    /// The object was not as expected: somebody else changed it first.
    Changed,
    /// The image is a copy and takes no writes.
    ReadOnly,
    /// No answer within the deadline; the call may still take effect.
    Deadline,
    /// The cluster cannot be reached, or its connection broke.
    Unreachable,
    /// Not begun, for want of a thread here: nothing was changed, and of the cluster it says nothing.
    NotBegun,
    /// This client was shut out of the cluster.
    Blocklisted,
    /// The Ceph user may not do this.
    Denied,
    /// The cluster or pool is full.
    Full,
    /// The loaded library lacks the function.
    Unsupported,
    /// The value read is not what it should be.
    Corrupt,
    /// A copy was interrupted, and cannot be put back: promoted, the volume would be of two moments (hard case 23).
    Torn,
    /// None of these.
    Other,
}

/// A failed backend call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BackendError {
    /// Which call.
    pub op: Op,
    /// On which image, where it concerns one.
    pub image: Option<ImageSpec>,
    /// The positive errno; 0 where the failure is not librbd's.
    pub errno: i32,
    /// What it means.
    pub kind: BackendErrorKind,
    /// More, in words.
    pub detail: String,
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        if let Some(image) = &self.image {
            write!(f, " of {image}")?;
        }
        match (self.errno, self.detail.is_empty()) {
            (0, _) => write!(f, ": {}", self.detail),
            (n, true) => write!(f, ": errno {n} ({})", errno_name(n)),
            (n, false) => write!(f, ": {} (errno {n}, {})", self.detail, errno_name(n)),
        }
    }
}

/// The errnos that are met here, by Linux' numbers.
#[allow(missing_docs)]
pub mod errno {
    pub const EPERM: i32 = 1;
    pub const ENOENT: i32 = 2;
    pub const EIO: i32 = 5;
    pub const EAGAIN: i32 = 11;
    pub const EACCES: i32 = 13;
    pub const EBUSY: i32 = 16;
    pub const EEXIST: i32 = 17;
    pub const EINVAL: i32 = 22;
    pub const ENOSPC: i32 = 28;
    pub const EROFS: i32 = 30;
    pub const ENOSYS: i32 = 38;
    pub const EOPNOTSUPP: i32 = 95;
    pub const ECONNREFUSED: i32 = 111;
    pub const ENOTCONN: i32 = 107;
    pub const ESHUTDOWN: i32 = 108;
    pub const ETIMEDOUT: i32 = 110;
    pub const ECANCELED: i32 = 125;
    pub const EDQUOT: i32 = 122;
}

fn errno_name(n: i32) -> String {
    std::io::Error::from_raw_os_error(n).to_string()
}

impl BackendError {
    /// From an errno (either sign), whose meaning depends on the call.
    #[must_use]
    pub fn from_errno(
        op: Op,
        image: Option<&ImageSpec>,
        errno: i32,
        detail: impl Into<String>,
    ) -> Self {
        let errno = errno.saturating_abs();
        Self {
            op,
            image: image.cloned(),
            errno,
            kind: kind_of(op, errno),
            detail: detail.into(),
        }
    }

    /// From a meaning that has no errno.
    #[must_use]
    pub fn new(
        op: Op,
        image: Option<&ImageSpec>,
        kind: BackendErrorKind,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            op,
            image: image.cloned(),
            errno: 0,
            kind,
            detail: detail.into(),
        }
    }

    /// Of a pool that this sidecar was not given. That is not to say that there is no such image: what is there was not looked at.
    #[must_use]
    pub fn foreign_pool(op: Op, image: Option<&ImageSpec>, pool: &str) -> Self {
        let text = format!(
            "pool {pool} is not among those of this sidecar: put it into `ceph.pools` of its driver.toml, in both zones, and start it anew"
        );
        Self::new(op, image, BackendErrorKind::Other, text)
    }

    /// A forced promotion that would bring up a volume of two moments. `snapshots`: what the copy came with, by name.
    #[must_use]
    pub fn torn(image: &ImageSpec, snapshots: &[String]) -> Self {
        let text = format!(
            "the copy was interrupted after it had made the user snapshots that came with it ({}), and what it has written cannot be put back: some of the volume may be of a newer moment than the rest. \
             Bring the other zone back, and the copy ends by itself; or take it as it is, and look at its file systems: `rekindle volume promote {image} --force --accept-torn --reason TEXT`",
            snapshots.join(", ")
        );
        Self::new(Op::ForcePromote, Some(image), BackendErrorKind::Torn, text)
    }

    /// No answer in time.
    #[must_use]
    pub fn deadline(op: Op, image: Option<&ImageSpec>) -> Self {
        Self::new(
            op,
            image,
            BackendErrorKind::Deadline,
            "no answer within the deadline",
        )
    }
}

fn kind_of(op: Op, errno: i32) -> BackendErrorKind {
    use BackendErrorKind as K;
    match errno {
        errno::ENOENT => K::NotFound,
        // Field note: EINVAL from a mirroring call on an image means that it is not mirrored; from enable, that the pool is not.
        errno::EINVAL => match op {
            Op::Promote
            | Op::ForcePromote
            | Op::Demote
            | Op::Resync
            | Op::MirrorSnapshot
            | Op::Disable => K::NotMirrored,
            Op::Enable => K::PoolNotMirrored,
            Op::List
            | Op::Open
            | Op::Look
            | Op::SetMetadata
            | Op::RemoveMetadata
            | Op::Measure
            | Op::Copy
            | Op::Remove
            | Op::Watchers
            | Op::Blocklist
            | Op::ReadObject
            | Op::WriteObject
            | Op::Probe
            | Op::Health
            | Op::MirrorInfo
            | Op::Write => K::Other,
        },
        errno::EBUSY => {
            if op == Op::Promote {
                K::PeerPrimaryOrDemotionPending
            } else {
                K::InUse
            }
        }
        errno::EEXIST => K::Exists,
        // A client holds the image's lock for itself alone and does not give it up; a copy cannot be demoted at all.
        errno::EROFS if op == Op::Demote => K::InUse,
        errno::EROFS => K::ReadOnly,
        errno::EPERM | errno::EACCES => {
            if op == Op::Write {
                K::ReadOnly
            } else {
                K::Denied
            }
        }
        errno::ETIMEDOUT => K::Deadline,
        errno::ECONNREFUSED | errno::ENOTCONN => K::Unreachable,
        errno::ESHUTDOWN => K::Blocklisted,
        errno::ECANCELED => K::Changed,
        errno::ENOSPC | errno::EDQUOT => K::Full,
        errno::ENOSYS | errno::EOPNOTSUPP => K::Unsupported,
        _ => K::Other,
    }
}
