//! Snapshot mode: the user snapshots of a copy that was interrupted.
//!
//! rbd-mirror makes a user's snapshots here before it copies what they are to hold, and before it takes its own snapshot of the copy:
//!
//! ```text
//!   snapshot n, whole   ->   user snapshots taken since n   ->   snapshot n+1, not whole   ->   data   ->   n+1 is whole
//! ```
//!
//! Where the copy breaks off, those behind n stay. They hold state n, or some of each, and look as good as any other.

use super::interrupted::is_orphan;
use super::snapshot::{MirrorSnapshot, MirrorSnapshotState};
use crate::snapshot::{Snapshot, SnapshotKind};
use crate::{Error, Image};

impl Image {
    /// The user snapshots that came with a copy that has begun and not ended: those behind the last mirror snapshot that is whole.
    ///
    /// # Errors
    /// As any call.
    pub fn torn_snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        let all = self.snapshots()?;
        let mirror = self.mirror_snapshots_of(all.clone())?;
        Ok(torn(all, &mirror))
    }

    /// Renames a user snapshot of a copy, which librbd refuses. Done behind librbd's back: what has the image open has the old name, so
    /// open it anew.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`] where a user snapshot has that name.
    pub fn rename_copys_snapshot(&self, id: u64, name: &str) -> Result<(), Error> {
        // `snapshot_rename` of the object class `rbd`: the number, and a text behind its length.
        let mut input = id.to_le_bytes().to_vec();
        let len = u32::try_from(name.len())
            .map_err(|_| self.at("rados_exec(snapshot_rename)").error(-libc::EINVAL))?;
        input.extend(len.to_le_bytes());
        input.extend(name.as_bytes());
        self.pool()
            .execute(&self.header()?, "rbd", "snapshot_rename", &input)
            .map(drop)
    }
}

fn torn(all: Vec<Snapshot>, mirror: &[MirrorSnapshot]) -> Vec<Snapshot> {
    let whole = mirror.iter().filter(|s| is_whole(s));
    let whole = whole.map(|s| s.snapshot.id).max().unwrap_or(0);
    let torn = |s: &Snapshot| s.kind == SnapshotKind::User && s.id > whole;
    all.into_iter().filter(torn).collect()
}

/// What a forced promotion that got stuck has left is called whole, and stands on top of the torn state.
fn is_whole(s: &MirrorSnapshot) -> bool {
    match s.state {
        MirrorSnapshotState::Primary | MirrorSnapshotState::PrimaryDemoted => true,
        MirrorSnapshotState::NonPrimary
        | MirrorSnapshotState::NonPrimaryDemoted
        | MirrorSnapshotState::Unrecognised(_) => s.complete && !is_orphan(s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn snapshot(id: u64, kind: SnapshotKind) -> Snapshot {
        Snapshot {
            id,
            name: format!("s{id}"),
            size: 1,
            kind,
            taken: Duration::from_secs(id),
        }
    }
    fn mirror(id: u64, state: MirrorSnapshotState, complete: bool, from: &str) -> MirrorSnapshot {
        MirrorSnapshot {
            snapshot: snapshot(id, SnapshotKind::Mirror),
            state,
            complete,
            peer_uuids: Vec::new(),
            primary_mirror_uuid: from.to_owned(),
            primary_snapshot_id: id,
            copied_objects: 0,
        }
    }
    fn ids(mirror: &[MirrorSnapshot]) -> Vec<u64> {
        let users = [2, 4, 6].map(|id| snapshot(id, SnapshotKind::User));
        let others = mirror.iter().map(|m| m.snapshot.clone());
        let mut all: Vec<Snapshot> = users.into_iter().chain(others).collect();
        all.sort_by_key(|s| s.id);
        torn(all, mirror).iter().map(|s| s.id).collect()
    }

    #[test]
    fn hard_case_23_a_users_snapshot_behind_the_last_whole_copy_is_torn() {
        use MirrorSnapshotState::{NonPrimary, NonPrimaryDemoted, PrimaryDemoted};
        let whole = mirror(3, NonPrimary, true, "a");
        // It broke off before its own snapshot was taken, or behind that.
        assert_eq!(ids(std::slice::from_ref(&whole)), [4, 6]);
        let half = mirror(5, NonPrimary, false, "a");
        assert_eq!(ids(&[whole.clone(), half.clone()]), [4, 6]);
        // What an earlier promotion left on top of it makes nothing whole.
        let orphan = mirror(7, NonPrimary, true, "");
        assert_eq!(ids(&[whole, half, orphan]), [4, 6]);
        for state in [NonPrimary, NonPrimaryDemoted, PrimaryDemoted] {
            assert_eq!(ids(&[mirror(7, state, true, "a")]), [0; 0], "{state:?}");
        }
        assert_eq!(ids(&[]), [2, 4, 6]);
    }
}
