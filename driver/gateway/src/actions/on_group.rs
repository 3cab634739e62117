//! Cinder's own actions on the replication of a group of its volumes. Cinder lets every member of its project ask for them, and each comes to one
//! of ours on every volume of it: so whoever may not ask for those may not ask for these.

use super::{
    Actions, Allowed,
    asked::{Asked, DEMOTE, Group, PROMOTE, REPLICATE, UNREPLICATE},
    grouped::{Change, change},
    rules::GROUP,
};
use crate::{fault::Fault, status::Under};
use rekindle_common::{
    mode::ReplicationMode,
    volume::{Role, VolumeReport},
};
use rekindle_openstack::{Holder, Volume, each};
use std::num::NonZeroUsize;

/// Looks at once, for one request.
const LOOKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// What is asked of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnGroup {
    /// `failover_replication`: its volumes are demoted in one zone and promoted in the other, and where they are in a protection group, all
    /// that is in that.
    FailOver,
    /// `enable_replication`, as their types say.
    Enable,
    /// `disable_replication`: their copies are deleted.
    Disable,
}

impl OnGroup {
    /// The rules that it comes to.
    fn rules(self) -> &'static [&'static str] {
        match self {
            Self::FailOver => &[PROMOTE, DEMOTE],
            Self::Enable => &[REPLICATE],
            Self::Disable => &[UNREPLICATE],
        }
    }

    /// What becomes of a volume's protection group.
    fn changes(self, report: &VolumeReport) -> Change<'_> {
        match self {
            Self::FailOver => match (report.role, &report.group) {
                (Role::Unknown, _) => Change::Unknown,
                (Role::NotMirrored, _) | (Role::Primary | Role::Secondary, None) => Change::None,
                (Role::Primary | Role::Secondary, Some(group)) => Change::Moves(group),
            },
            Self::Enable => {
                let mode = ReplicationMode::Instant;
                let group = Group::Stays;
                change(&Asked::Replicate { mode, group }, report)
            }
            Self::Disable => change(&Asked::Unreplicate, report),
        }
    }
}

impl Actions {
    /// Whether the holder may ask for that, by the rules: `Yes`, whatever the group has in it.
    pub(crate) fn on_group(&self, what: OnGroup, holder: &Holder) -> Result<Allowed, Fault> {
        let mut all = self.rules.allow_by(GROUP, holder, None) == Allowed::Yes;
        for rule in what.rules() {
            match self.rules.allow_by(rule, holder, None) {
                Allowed::Yes => {}
                Allowed::IfTheirs => all = false,
                Allowed::No => return Err(self.forbidden(rule, "this token is not")),
            }
        }
        Ok(if all { Allowed::Yes } else { Allowed::IfTheirs })
    }

    /// Whether they may ask for that with these volumes in the group.
    pub(crate) async fn on_each(
        &self,
        what: OnGroup,
        volumes: &[Volume],
        holder: &Holder,
    ) -> Result<(), Fault> {
        for rule in what.rules() {
            let theirs = |v: &Volume| self.rules.allow_by(rule, holder, Some(&v.project_id));
            if volumes.iter().any(|v| theirs(v) != Allowed::Yes) {
                let why = "a volume of the group is another project's than this token's";
                return Err(self.forbidden(rule, why));
            }
        }
        let images = volumes.iter().filter_map(|v| match self.names.learn(v) {
            Under::Image(image) => Some((image, v.project_id.clone())),
            // It has no image that could be replicated.
            Under::Elsewhere | Under::Gone | Under::Unknown => None,
        });
        let images: Vec<_> = images.collect();
        let looked = each(LOOKS, images, async |(image, owner)| {
            let report = self.told(&image, &owner, holder).await?;
            report.map_or(Ok(()), |report| self.may(what.changes(&report)))
        })
        .await;
        looked.into_iter().collect()
    }
}
