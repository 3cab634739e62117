//! What one look at an open image reads, in the backend's words.

use super::{Result, convert, forced};
use crate::backend::error::Op;
use crate::backend::view::{ImageView, Lineage, MirrorView, Mirrored, SnapshotSummary};
use rbd_rs as rbd;
use rbd_rs::Image;
use rekindle_common::ImageSpec;
use std::{collections::BTreeMap, sync::Arc};

/// What one look at an open image reads.
pub(super) struct Seen {
    id: String,
    size: u64,
    metadata: BTreeMap<String, String>,
    info: rbd::MirrorInfo,
    mode: Option<rbd::MirrorMode>,
    snapshots: Vec<rbd::MirrorSnapshot>,
    torn: Vec<String>,
    status: Option<rbd::ImageStatus>,
    lineage: Option<Lineage>,
}

impl Seen {
    pub(super) fn read(i: &Image) -> std::result::Result<Self, rbd::Error> {
        let mut seen = Self::without_words(i)?;
        if seen.mode.is_some() {
            seen.status = match i.mirror_status() {
                Ok(s) => Some(s),
                Err(rbd::Error::NotMirrored { .. } | rbd::Error::NotFound(_)) => None,
                Err(e) => return Err(e),
            };
        }
        Ok(seen)
    }

    /// All that an action can change: the daemons' words are not among that, and reading them is a third of a look.
    pub(super) fn without_words(i: &Image) -> std::result::Result<Self, rbd::Error> {
        let info = i.mirror_info()?;
        let on = match info.state {
            // Creating: the daemon is making this copy, and its first sync has not ended.
            rbd::MirrorState::Enabled | rbd::MirrorState::Creating => true,
            rbd::MirrorState::Disabling
            | rbd::MirrorState::Disabled
            | rbd::MirrorState::Unrecognised(_) => false,
        };
        let mode = if on {
            Some(i.mirror_mode_of(&info)?)
        } else {
            None
        };
        let all = match mode {
            Some(rbd::MirrorMode::Snapshot) => i.snapshots()?,
            Some(rbd::MirrorMode::Journal | rbd::MirrorMode::Unrecognised(_)) | None => Vec::new(),
        };
        let torn = forced::set_aside(&all);
        let snapshots = i.mirror_snapshots_of(all)?;
        // Only asked where it matters: before replication is turned on.
        let lineage = if on { None } else { Some(lineage(i)?) };
        Ok(Self {
            id: i.id()?,
            size: i.size()?,
            metadata: i.metadata()?,
            info,
            mode,
            snapshots,
            torn,
            status: None,
            lineage,
        })
    }

    pub(super) fn view(self, spec: &ImageSpec) -> Result<ImageView> {
        let (local, peer) = self.status.as_ref().map_or((None, None), convert::sites);
        let mirror = match (self.info.state, self.mode) {
            (rbd::MirrorState::Enabled | rbd::MirrorState::Creating, Some(mode)) => {
                MirrorView::On(Mirrored {
                    mode: convert::mode(Op::Look, Some(spec), mode)?,
                    primary: self.info.role == rbd::Role::Primary,
                    snapshots: SnapshotSummary {
                        torn: self.torn,
                        ..convert::snapshots(&self.snapshots)
                    },
                })
            }
            (rbd::MirrorState::Disabling, _) => MirrorView::Disabling,
            (rbd::MirrorState::Disabled, _) => MirrorView::Off,
            (rbd::MirrorState::Enabled | rbd::MirrorState::Creating, None)
            | (rbd::MirrorState::Unrecognised(_), _) => {
                return Err(convert::unreadable(
                    Op::Look,
                    Some(spec),
                    "mirroring is in a state that this version does not know",
                ));
            }
        };
        Ok(ImageView {
            spec: spec.clone(),
            id: self.id,
            size: self.size,
            metadata: Arc::new(self.metadata),
            mirror,
            lineage: self.lineage,
            local,
            peer,
        })
    }
}

/// What hangs on an image, and what it hangs on.
pub(super) fn lineage(i: &Image) -> std::result::Result<Lineage, rbd::Error> {
    let own = |s: &rbd::Snapshot| match s.kind {
        rbd::SnapshotKind::User | rbd::SnapshotKind::Group | rbd::SnapshotKind::Unrecognised(_) => {
            true
        }
        // A removed one is there for its clones, and they are counted.
        rbd::SnapshotKind::Mirror | rbd::SnapshotKind::Trash => false,
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Lineage {
        parent: i
            .parent()?
            .map(|p| format!("{}/{}@{}", p.image.pool, p.image.name, p.snapshot)),
        children: count(i.children()?.len()),
        snapshots: count(i.snapshots()?.iter().filter(|s| own(s)).count()),
    })
}
