//! The two zones' volumes of a group, put side by side.

use crate::plan::LeftOut;
use rekindle_common::{
    ImageSpec,
    status::VolumeStatus,
    volume::{Known, Lag, Role, VolumeReport},
};
use std::collections::BTreeMap;

/// The two zones' volumes, put side by side.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// Mirrored on the primary's side.
    pub(super) all: Vec<ImageSpec>,
    /// Primary on the copy's side too.
    pub(super) stale_primaries: Vec<ImageSpec>,
    /// Copies that their daemon has given up on: only a resync helps.
    pub(super) broken: Vec<ImageSpec>,
    /// Copies that are catching up, complete or not.
    pub(super) behind: Vec<ImageSpec>,
    /// Of those, the ones without a complete copy.
    pub(super) incomplete: Vec<ImageSpec>,
    /// Of those, the ones that are complete and whose daemon has not yet said how far behind they are: it starts, and may find that they have diverged.
    pub(super) starting: Vec<ImageSpec>,
    /// Of those, the ones that follow nothing now: on their way to a state that says more, or not reported on (hard case 29).
    pub(super) unclear: Vec<ImageSpec>,
    /// Those whose policy cannot be read in one zone: they are left out of every plan, and what they hold is not protected.
    pub(super) unreadable: Vec<ImageSpec>,
    /// What keeps a volume from being moved, in words.
    pub(super) not_in_step: BTreeMap<ImageSpec, String>,
    /// Not mirrored, with a policy that cannot be read, or no primary where the group is: no plan waits for them.
    pub(super) left_out: Vec<LeftOut>,
}

impl Sides {
    /// Each side has what the other lacks.
    pub(super) fn diverged(self) -> Vec<ImageSpec> {
        let mut volumes = self.stale_primaries;
        volumes.extend(self.broken);
        volumes.sort();
        volumes
    }
}

pub(super) fn compare(originals: &[VolumeReport], copies: &[VolumeReport]) -> Sides {
    let copies: BTreeMap<&ImageSpec, &VolumeReport> =
        copies.iter().map(|v| (&v.volume, v)).collect();
    let mut s = Sides::default();
    for original in originals {
        let volume = &original.volume;
        if original.role == Role::NotMirrored {
            s.left_out.push(LeftOut {
                volume: volume.clone(),
                why: "is not mirrored".to_owned(),
            });
            continue;
        }
        let copy = copies.get(volume);
        // Two primaries are that first. Else its sidecar refuses what would be ordered, and a plan that waited for it would keep all others.
        let two_primaries = copy.is_some_and(|c| c.role == Role::Primary);
        let mut sides = [Some(original), copy.copied()].into_iter().flatten();
        if let Some(v) = sides.find(|v| v.policy_is_unreadable())
            && !two_primaries
        {
            s.unreadable.push(volume.clone());
            s.left_out.push(unreadable_policy(v));
            continue;
        }
        // Left behind by a failover, or demoted by hand. Its only whole data may be on the other side: nothing there is discarded for it.
        if original.role == Role::Secondary {
            s.left_out.push(LeftOut {
                volume: volume.clone(),
                why: format!("is not primary in {}", original.zone),
            });
            continue;
        }
        s.all.push(volume.clone());
        let Some(copy) = copy else {
            s.behind.push(volume.clone());
            s.incomplete.push(volume.clone());
            s.not_in_step
                .insert(volume.clone(), format!("{volume} has no copy yet"));
            continue;
        };
        match (copy.role, copy.status) {
            (Role::Primary, _) => s.stale_primaries.push(volume.clone()),
            (_, VolumeStatus::ActiveSecondary) => {}
            (_, VolumeStatus::ActiveUpdating) => {
                s.behind.push(volume.clone());
                // A daemon that replays always says it, of a journal and of a mirror snapshot.
                if copy.lag == Lag::Unknown {
                    s.starting.push(volume.clone());
                }
            }
            (_, VolumeStatus::PendingFirstSync) => s.behind.push(volume.clone()),
            (_, VolumeStatus::ErrorSplitBrain) => s.broken.push(volume.clone()),
            (
                _,
                VolumeStatus::ActivePrimary
                | VolumeStatus::PendingPromotion
                | VolumeStatus::PendingDemotion
                | VolumeStatus::PendingResync
                | VolumeStatus::ErrorNotMirrored
                | VolumeStatus::ErrorMirrorDown
                | VolumeStatus::ErrorMirroring
                | VolumeStatus::ErrorOrphan
                | VolumeStatus::ErrorUnknown,
            ) => {
                s.behind.push(volume.clone());
                s.unclear.push(volume.clone());
            }
        }
        if copy.role != Role::Primary && copy.complete_copy != Known::Yes {
            s.incomplete.push(volume.clone());
            s.not_in_step
                .insert(volume.clone(), format!("{volume} has no complete copy"));
        }
        // A complete copy that is catching up may be moved: the demotion carries the rest, and the plan waits for it.
        let movable = matches!(
            copy.status,
            VolumeStatus::ActiveSecondary | VolumeStatus::ActiveUpdating
        );
        if copy.role != Role::Primary && !movable {
            s.not_in_step
                .insert(volume.clone(), format!("{volume} is {}", copy.status));
        }
    }
    s
}

/// Why a volume is left out whose policy cannot be read.
pub(super) fn unreadable_policy(v: &VolumeReport) -> LeftOut {
    let why = v.concerns.first().map_or("", String::as_str);
    LeftOut {
        volume: v.volume.clone(),
        why: format!("has a policy in {} that cannot be read ({why})", v.zone),
    }
}
