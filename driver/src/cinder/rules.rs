//! What a failover does for one volume, from what was seen of it in both zones. Pure. No volume decides for another
//! (hard case 20), and no error ever turns into force (hard case 21).

use super::{health::Health, wire::CinderVolume};
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, GroupName, ImageSpec, ZoneName,
    facts::CinderFacts,
    status::VolumeStatus,
    volume::{Known, Lag, Role, VolumeReport},
};

/// A journal that is behind by no more than this is in step: what writes to the volume keeps it from reaching 0.
const ENTRIES_IN_STEP: u64 = 1000;

/// What was seen of a volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The zone that is left, and whether its cluster takes writes.
    pub from: (&'a ZoneName, Health),
    /// The volume there; `None` where that zone does not say, or has none.
    pub left: Option<&'a VolumeReport>,
    /// The zone that takes over.
    pub to: &'a ZoneName,
    /// The volume there; `None` where it has none.
    pub taken: Option<&'a VolumeReport>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing: it is where it is to be.
    There,
    /// Demote it in the zone that is left, then promote it in the other once that has arrived.
    Move,
    /// It was demoted under that name, by an earlier call: promote it once that has arrived.
    GoOn(DemotionToken),
    /// The zone that is left is dead: promote it by force.
    Force,
    /// It belongs to that group: the orchestrator's plan moves it.
    Plan(GroupName),
    /// Nothing can be done for it now.
    Refuse(ApiError),
}

/// One volume's way.
#[must_use]
pub(super) fn way(seen: &Seen<'_>) -> Way {
    let (from, health) = seen.from;
    let to = seen.to;
    let Some(taken) = seen.taken else {
        return refuse(
            ErrorCode::UnknownVolume,
            format!(
                "{to} has no copy of it: nothing was copied before, or it was never replicated"
            ),
        );
    };
    match (taken.role, health, seen.left.map(|r| r.role)) {
        (Role::Primary, Health::Writes, Some(Role::Primary)) => {
            return refuse(
                ErrorCode::SplitBrain,
                format!(
                    "it is primary in {from} and in {to}: name the side to keep first, see docs/operations.md"
                ),
            );
        }
        (Role::Primary, _, _) => return Way::There,
        (Role::Unknown, _, _) => {
            return refuse(
                ErrorCode::ClusterUnreachable,
                format!("{to}'s cluster does not answer"),
            );
        }
        (Role::NotMirrored, _, _) => {
            return refuse(
                ErrorCode::NotReplicated,
                format!("its image in {to} is not a replica"),
            );
        }
        (Role::Secondary, _, _) => {}
    }
    let group = taken.group.as_ref();
    let group = group.or(seen.left.and_then(|r| r.group.as_ref()));
    match (group, health) {
        (Some(group), Health::Writes | Health::Dead { .. }) => return Way::Plan(group.clone()),
        (Some(_), Health::Unknown) | (None, _) => {}
    }
    match health {
        Health::Writes => planned(seen, taken),
        Health::Dead { .. } => match taken.complete_copy {
            Known::Yes => Way::Force,
            Known::No => refuse(
                ErrorCode::NoCompleteCopy,
                format!("{to} has no complete copy of it: the first sync had not ended"),
            ),
            Known::Unknown => refuse(
                ErrorCode::NoCompleteCopy,
                format!("whether {to} ever had a complete copy of it is not known"),
            ),
        },
        Health::Unknown => refuse(
            ErrorCode::Held,
            format!(
                "whether {from}'s cluster still takes writes is not known, and nothing is forced on a guess: call failover-host again in some seconds"
            ),
        ),
    }
}

/// Whether a failover of `home`'s Cinder has nothing to do with the volume: it is the other zone's own, in use there, and this Cinder's
/// record of it is of a copy. On the way out only what is primary there already can be such a volume. On the way back it is whatever
/// did not come home by itself: it was never brought out.
#[must_use]
pub(super) fn is_left_alone(volume: &CinderVolume, seen: &Seen<'_>, home: &ZoneName) -> bool {
    let roles = (seen.left.map(|r| r.role), seen.taken.map(|r| r.role));
    let may_be = if seen.to == home {
        matches!(
            roles,
            (Some(Role::Primary), _) | (Some(Role::Secondary) | None, Some(Role::Secondary))
        )
    } else {
        matches!(roles, (_, Some(Role::Primary)))
    };
    let (other, own) = if seen.to == home {
        (seen.left, seen.taken)
    } else {
        (seen.taken, seen.left)
    };
    let said = other.and_then(|r| r.cinder.as_ref());
    let said = said.or(own.and_then(|r| r.cinder.as_ref()));
    may_be && is_theirs(volume, said, home)
}

/// Whether a volume that is primary in the other zone is that zone's own, and not one of `home`'s that went there. `said`: what its
/// image carries of the Cinder that had the say last.
///
/// The image of a volume that was made at home has its record's id in its name. Others were taken in or came by a migration. Of these
/// one is home's if home had the say last, or if the other zone's record is as foreign to the image. Where nothing says so, it is left:
/// that may cost a second call, and the contrary another zone's data.
#[must_use]
pub(super) fn is_theirs(
    volume: &CinderVolume,
    said: Option<&CinderFacts>,
    home: &ZoneName,
) -> bool {
    if is_named_by(&volume.image, &volume.id) {
        return false;
    }
    said.is_none_or(|s| s.zone != *home && (volume.taken_in || is_named_by(&volume.image, &s.id)))
}

fn is_named_by(image: &ImageSpec, id: &str) -> bool {
    !id.is_empty() && image.image().contains(id)
}

/// The start of the names of our demotions; a time follows.
pub(super) const TOKEN: &str = "cinder-";

fn ours(token: &DemotionToken) -> bool {
    token.as_str().starts_with(TOKEN)
}

/// The zone that is left is well.
fn planned(seen: &Seen<'_>, taken: &VolumeReport) -> Way {
    let (from, _) = seen.from;
    let to = seen.to;
    let Some(left) = seen.left else {
        return refuse(
            ErrorCode::UnknownVolume,
            format!("{from} has no such volume"),
        );
    };
    match left.role {
        Role::Unknown => refuse(
            ErrorCode::ClusterUnreachable,
            format!("{from}'s cluster does not answer"),
        ),
        Role::NotMirrored => refuse(
            ErrorCode::NotReplicated,
            format!("its image in {from} is not replicated"),
        ),
        Role::Primary => match not_in_step(taken) {
            Some(why) => refuse(ErrorCode::Held, format!("its copy in {to} {why}")),
            None => Way::Move,
        },
        // Demoted in both zones. What is waited for is the demotion of the zone that is left; only where both names are of
        // calls of ours, which sort by time, does the younger one show that the other zone was primary last. A name goes
        // when its image is promoted, so one that shows is of the last demotion.
        Role::Secondary => match (&left.demotion, &taken.demotion) {
            (Some(l), Some(t)) if ours(l) && ours(t) => Way::GoOn(l.max(t).clone()),
            (Some(l), Some(_) | None) => Way::GoOn(l.clone()),
            (None, _) => refuse(
                ErrorCode::DemotedOtherwise,
                format!(
                    "it is primary in no zone, and nothing shows which was primary last: if it was {from}, `rekindle volume promote` it there"
                ),
            ),
        },
    }
}

/// Why a copy cannot take over without a loss now; `None` where it can. A copy that is not being kept up would never see
/// the demotion that it waits for, and the volume would stand still in both zones.
#[must_use]
pub(super) fn not_in_step(copy: &VolumeReport) -> Option<String> {
    let behind = match copy.lag {
        Lag::None => None,
        Lag::Time { behind } => Some(format!("is {} behind", behind.tenths())),
        Lag::Entries { behind } if behind <= ENTRIES_IN_STEP => None,
        Lag::Entries { behind } => Some(format!("is {behind} journal entries behind")),
        Lag::Unknown => Some("is being updated".to_owned()),
    };
    match copy.status {
        VolumeStatus::ActiveSecondary => None,
        VolumeStatus::ActiveUpdating => behind,
        VolumeStatus::ActivePrimary
        | VolumeStatus::PendingFirstSync
        | VolumeStatus::PendingPromotion
        | VolumeStatus::PendingDemotion
        | VolumeStatus::PendingResync
        | VolumeStatus::ErrorSplitBrain
        | VolumeStatus::ErrorNotMirrored
        | VolumeStatus::ErrorMirrorDown
        | VolumeStatus::ErrorMirroring
        | VolumeStatus::ErrorOrphan
        | VolumeStatus::ErrorUnknown => {
            let progress = copy.local.as_ref().map(|l| l.description.as_str());
            let progress = progress.filter(|d| !d.is_empty());
            Some(format!(
                "is \"{}\"{}",
                copy.status,
                progress.map_or_else(String::new, |d| format!(" ({d})"))
            ))
        }
    }
}

fn refuse(code: ErrorCode, message: String) -> Way {
    Way::Refuse(ApiError::new(code, message))
}

#[cfg(test)]
mod tests;
