//! What an action does to the protection group of its volume. A group is nobody's project's: who may change what is in one is a rule of
//! its own, and of a member's own volume too.

use super::{
    Actions, Found,
    asked::{Asked, Group},
    rules::{Allowed, GROUP},
};
use crate::fault::Fault;
use hyper::StatusCode;
use rekindle_common::{
    ErrorCode, GroupName, ImageSpec,
    volume::{Role, VolumeReport},
};
use rekindle_openstack::Holder;

/// When somebody who was not told may ask again.
const AGAIN: u64 = 5;

/// What becomes of the group by an action, as the volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change<'a> {
    None,
    /// The volume is in no group any more: the next failover does not promote it.
    Leaves(&'a GroupName),
    /// The group is moved, with all that is in it.
    Moves(&'a GroupName),
    /// It comes under replication, and its image brings the name of a group along: of its own, or of the one that it was cloned from.
    Comes(&'a GroupName),
    /// The zone's cluster does not say.
    Unknown,
}

/// Whether that depends on the volume. Where the request names a group or leaves one, its form says it.
fn depends(asked: &Asked) -> bool {
    match asked {
        Asked::Unreplicate
        | Asked::Replicate {
            group: Group::Stays,
            ..
        } => true,
        Asked::Replicate {
            group: Group::Joins(_) | Group::Leaves,
            ..
        }
        | Asked::Promote
        | Asked::PromoteByForce
        | Asked::Demote
        | Asked::Resync => false,
    }
}

pub(super) fn change<'a>(asked: &Asked, report: &'a VolumeReport) -> Change<'a> {
    if !depends(asked) {
        return Change::None;
    }
    match (report.role, &report.group, asked == &Asked::Unreplicate) {
        (Role::Unknown, _, _) => Change::Unknown,
        (Role::NotMirrored | Role::Primary | Role::Secondary, None, _)
        | (Role::Primary | Role::Secondary, Some(_), false) => Change::None,
        (Role::NotMirrored | Role::Primary | Role::Secondary, Some(group), true) => {
            Change::Leaves(group)
        }
        (Role::NotMirrored, Some(group), false) => Change::Comes(group),
    }
}

impl Actions {
    /// Whether the holder may do that to the volume's group. The sidecar is asked for it only where that decides.
    pub(crate) async fn group_allows(
        &self,
        asked: &Asked,
        found: &Found,
        holder: &Holder,
    ) -> Result<(), Fault> {
        if !depends(asked) {
            return Ok(());
        }
        let report = self.told(&found.image, &found.owner, holder).await?;
        report.map_or(Ok(()), |report| self.may(change(asked, &report)))
    }

    /// How a volume is, for what becomes of its group; `None` where that does not matter: its holder may change all, or there is no such volume.
    pub(super) async fn told(
        &self,
        image: &ImageSpec,
        owner: &str,
        holder: &Holder,
    ) -> Result<Option<VolumeReport>, Fault> {
        if self.rules.allow_by(GROUP, holder, Some(owner)) == Allowed::Yes {
            return Ok(None);
        }
        match self.sidecar.volume(image).await {
            Ok(report) => Ok(Some(report)),
            // So it says to the order too, in its own words.
            Err(e) if e.code == ErrorCode::UnknownVolume => Ok(None),
            Err(error) => {
                tracing::warn!(%error, volume.image = %image, "the sidecar does not say which group a volume is in");
                Err(unknown())
            }
        }
    }

    /// Whether somebody may do that whom the rule does not allow to change groups.
    pub(super) fn may(&self, change: Change<'_>) -> Result<(), Fault> {
        let why = match change {
            Change::None => return Ok(()),
            Change::Unknown => return Err(unknown()),
            Change::Leaves(group) => {
                format!("the volume is in protection group {group}, and this would take it out")
            }
            Change::Moves(group) => {
                format!(
                    "a volume is in protection group {group}, and this would move all that is in it"
                )
            }
            Change::Comes(group) => {
                format!(
                    "the volume's image names protection group {group}, and this would put it in"
                )
            }
        };
        Err(self.forbidden(GROUP, &why))
    }
}

fn unknown() -> Fault {
    let why = "it is not known now whether the volume is in a protection group: nothing was done, ask again when the zone's sidecar and its cluster answer";
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "group_unknown", why).retry_after(AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::report;
    use rekindle_common::mode::ReplicationMode;

    #[test]
    fn what_is_in_a_group_changes_by_what_is_done_to_which_volume() {
        let db: GroupName = "db".parse().unwrap();
        let replicate = Asked::Replicate {
            mode: ReplicationMode::Instant,
            group: Group::Stays,
        };
        let of = |role, group: Option<&GroupName>| {
            let mut report = report("volumes/v", |_| {});
            report.role = role;
            report.group = group.cloned();
            report
        };
        for (asked, role, changed) in [
            (&replicate, Role::Primary, Change::None),
            (&replicate, Role::Secondary, Change::None),
            (&replicate, Role::NotMirrored, Change::Comes(&db)),
            (&replicate, Role::Unknown, Change::Unknown),
            (&Asked::Unreplicate, Role::Primary, Change::Leaves(&db)),
            (&Asked::Unreplicate, Role::Secondary, Change::Leaves(&db)),
            (&Asked::Unreplicate, Role::NotMirrored, Change::Leaves(&db)),
            (&Asked::Unreplicate, Role::Unknown, Change::Unknown),
            // They have rules of their own, and the sidecar moves no volume of a group alone.
            (&Asked::Resync, Role::Secondary, Change::None),
            (&Asked::Promote, Role::Unknown, Change::None),
        ] {
            let is = of(role, Some(&db));
            assert_eq!(change(asked, &is), changed, "{asked:?} {role:?}");
            let alone = of(role, None);
            let expected = match changed {
                Change::Unknown => Change::Unknown,
                Change::None | Change::Leaves(_) | Change::Moves(_) | Change::Comes(_) => {
                    Change::None
                }
            };
            assert_eq!(change(asked, &alone), expected, "{asked:?} {role:?}");
        }
    }
}
