//! A decision as an immutable list of steps.
//!
//! A plan is complete: an operator can read it before it runs, and no choice is left to execution. With each step stands
//! what is done should that step fail ([`PlannedStep::unwind`]); an empty list means that there is nothing to put back, or
//! that the point of no return (the first promotion) is behind and only forward is safe.

mod build;
mod servers;
mod words;

pub use build::{
    Disks, FailoverParts, ReprotectParts, ResumeParts, failback_or_move, failover, reprotect,
    resume, start_again,
};
/// The sidecars read it too.
pub use rekindle_common::plan::PlanKind;
pub use servers::{HookTime, SERVERS_AT_ONCE};

use jiff::Timestamp;
use rekindle_common::{
    DemotionToken, Generation, GroupName, ImageSpec, PlanId, ResyncToken, ZoneName,
    action::{Promotion, SafetyCopy},
    duration::Span,
    runbook::Runbook,
};
use serde::{Deserialize, Serialize};

/// Why the old primary cannot write: without one there is no failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
pub enum Proof {
    /// A fence agent will confirm it; the plan stops where it does not.
    FenceAgent {
        /// Its name in the orchestrators' configuration.
        agent: String,
    },
    /// The lease ran out, and its holder demotes itself before that.
    LeaseExpired {
        /// Waited on top of it.
        margin: Span,
    },
    /// A person vouches for it.
    Vouched {
        /// Who.
        by: String,
    },
}

/// How one volume is promoted: decided for each by itself (hard case 20).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePromotion {
    /// Which.
    pub volume: ImageSpec,
    /// How.
    #[serde(flatten)]
    pub promotion: Promotion,
}

/// What becomes of the lease of the zone that loses the primary role, when another is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "snake_case")]
pub enum OldLease {
    /// It has to be gone.
    #[default]
    Gone,
    /// It is taken from that zone in the same transaction, where it is of the generation that is replaced. For a zone whose sidecar
    /// lives and whose Ceph does not, and only on proof that none of its clients can write: the lease's end proves nothing then.
    Revoked {
        /// Whose.
        from: ZoneName,
    },
    /// Of a planned move: it was given back, and what is there all the same is taken from that zone in the same transaction, where it is of
    /// the generation that is replaced. A zone may have two sidecars, and orders reach one; the other takes the key whenever it is free, and
    /// gives it back to nobody. The proof is the demotion, which the copies show.
    Demoted {
        /// Whose.
        from: ZoneName,
    },
}

impl OldLease {
    fn is_gone(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::Revoked { .. } | Self::Demoted { .. } => false,
        }
    }
}

/// One step. Each looks before it acts, and may be run any number of times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Ask a fence agent to cut the zone's clients off from its storage. Exit code 0 is proof; all else stops the plan.
    Fence {
        /// Its name in the orchestrators' configuration.
        agent: String,
        /// Which zone.
        zone: ZoneName,
    },
    /// See once more, now, that the lease is gone and has been for the margin.
    AwaitLeaseEnd {
        /// Whose.
        zone: ZoneName,
        /// Under which generation.
        generation: Generation,
        /// On top.
        margin: Span,
    },
    /// Stop what writes to the volumes.
    StopApplication {
        /// Its name in the orchestrators' configuration.
        application: String,
        /// Where.
        zone: ZoneName,
        /// What it writes to.
        volumes: Vec<ImageSpec>,
        /// Under which generation.
        generation: Generation,
    },
    /// Start it.
    StartApplication {
        /// Its name in the orchestrators' configuration.
        application: String,
        /// Where.
        zone: ZoneName,
        /// What it writes to.
        volumes: Vec<ImageSpec>,
        /// Under which generation.
        generation: Generation,
    },
    /// Demote the volumes; those that are not primary already are left as they are.
    Demote {
        /// Where.
        zone: ZoneName,
        /// Which.
        volumes: Vec<ImageSpec>,
        /// Under which generation.
        generation: Generation,
        /// The demotion's name, where the other zone takes over from it.
        token: Option<DemotionToken>,
    },
    /// Wait until the zone's copies have replayed the demotion of that name (hard cases 21 and 57).
    AwaitDemotionReplayed {
        /// Where the copies are.
        zone: ZoneName,
        /// Which.
        volumes: Vec<ImageSpec>,
        /// Its name.
        token: DemotionToken,
    },
    /// Have the zone give its primary lease back; refused there while an image is primary.
    ReleaseLease {
        /// Whose.
        zone: ZoneName,
        /// Under which generation.
        generation: Generation,
    },
    /// Name the primary, in a transaction that compares the leader, the record before, and the lease's absence; or its holder and
    /// generation, and then takes it away ([`OldLease`]).
    RecordPrimary {
        /// The new primary.
        zone: ZoneName,
        /// The new generation.
        generation: Generation,
        /// The generation that it replaces.
        replaces: Generation,
        /// What becomes of the lease under that.
        #[serde(default, skip_serializing_if = "OldLease::is_gone")]
        lease: OldLease,
    },
    /// Have the zone take its primary lease.
    TakeLease {
        /// Whose.
        zone: ZoneName,
        /// Under which generation.
        generation: Generation,
    },
    /// Say that nothing protects the group, and remember the failover.
    MarkUnprotected {
        /// The zone that lost the role.
        from: ZoneName,
        /// The generation that began.
        generation: Generation,
        /// For the status.
        why: String,
    },
    /// Promote the volumes.
    Promote {
        /// Where.
        zone: ZoneName,
        /// Which, and how each.
        volumes: Vec<VolumePromotion>,
        /// Under which generation.
        generation: Generation,
    },
    /// Discard the zone's copies and make them anew, behind the sidecar's guards.
    Resync {
        /// Where.
        zone: ZoneName,
        /// Which.
        volumes: Vec<ImageSpec>,
        /// Names it, so that it happens once.
        token: ResyncToken,
        /// What becomes of what is discarded.
        safety: SafetyCopy,
        /// Under which generation.
        generation: Generation,
    },
    /// Wait until the zone's copies are complete and in step.
    AwaitReplay {
        /// Where.
        zone: ZoneName,
        /// Which.
        volumes: Vec<ImageSpec>,
    },
    /// Say that the group is protected again.
    MarkProtected,
    /// Run a command of the operator's. One that runs `before` and fails ends the plan; one that runs `after` is told about.
    RunHook {
        /// Its name in the orchestrators' configuration.
        hook: String,
        /// Before everything else, or after the last server.
        when: HookTime,
        /// Where the group is primary when the plan ends.
        zone: ZoneName,
        /// Under which generation.
        generation: Generation,
        /// It counts as failed after that long.
        within: Span,
    },
    /// Wait for a person's `rekindle approve`, before a level starts.
    Pause {
        /// The level, from 0.
        level: usize,
        /// What is to be looked at.
        text: String,
    },
    /// Stop and lock the servers of a level where they serve, in the order opposite to that of their start. Which they are stands in
    /// [`Plan::runbook`].
    StopServers {
        /// Where.
        zone: ZoneName,
        /// The level, from 0.
        level: usize,
        /// How many servers it has.
        servers: usize,
        /// Under which generation.
        generation: Generation,
    },
    /// Have the servers of a level serve, each after those that it needs. One whose volumes were not promoted is not started.
    StartServers {
        /// Where.
        zone: ZoneName,
        /// The level, from 0.
        level: usize,
        /// How many servers it has.
        servers: usize,
        /// Under which generation.
        generation: Generation,
    },
    /// Stop and lock all of the group's servers in a zone that is not primary, those too that their hypervisor started by itself (hard
    /// case 50). What cannot be held is named, and holds nothing up; in a planned move it ends the plan, which has touched nothing by then.
    HoldServers {
        /// Where.
        zone: ZoneName,
        /// How many they are.
        servers: usize,
        /// Under which generation the other zone is primary.
        generation: Generation,
    },
}

/// A step in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What is done.
    #[serde(flatten)]
    pub step: Step,
    /// After this long it counts as failed.
    pub deadline: Span,
    /// What puts things back should this step fail, in order. Complete: it does not build on other steps' lists.
    ///
    /// A step with such a list does all of its volumes or fails; one without goes on with those that it could help, and
    /// the plan then ends as partial. [`Step::Promote`] fails only where it promoted none, and a last wait for copies
    /// ([`Step::AwaitReplay`]) never: copies that did not come are named, and the group is marked unprotected. Nor does
    /// [`Step::StartServers`], in an unwind list either, or [`Step::HoldServers`], but in a planned move: the servers are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwind: Vec<Step>,
}

/// A volume that a plan leaves out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which.
    pub volume: ImageSpec,
    /// Why.
    pub why: String,
}

/// What a failover is expected to lose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedLoss {
    /// Which.
    pub volume: ImageSpec,
    /// Up to this much of the newest writes; `None` is unknown.
    pub up_to: Option<Span>,
}

/// A plan. Immutable once it stands in etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// The plan that led to it: a reprotect's failover, a failback's reprotect.
    pub parent: Option<PlanId>,
    /// For which group.
    pub group: GroupName,
    /// What for.
    pub kind: PlanKind,
    /// Where the primary is when it begins.
    pub from: ZoneName,
    /// Where it is when it ends.
    pub to: ZoneName,
    /// The generation of the primary record that it was made for: it is not begun under another.
    pub made_for: Generation,
    /// When it was made.
    pub at: Timestamp,
    /// Why, in words.
    pub why: String,
    /// A failover's proof.
    pub proof: Option<Proof>,
    /// What it is expected to lose.
    pub expected_loss: Vec<ExpectedLoss>,
    /// Volumes that it cannot help.
    pub left_out: Vec<LeftOut>,
    /// The group's servers as they were to be started when the plan was made: the steps name its levels.
    #[serde(default, skip_serializing_if = "Runbook::is_empty")]
    pub runbook: Runbook,
    /// What is done, in order.
    pub steps: Vec<PlannedStep>,
}

impl Step {
    /// The volumes that it is about, in its own order; empty where it is about none.
    #[must_use]
    pub fn volumes(&self) -> Vec<&ImageSpec> {
        match self {
            Self::Demote { volumes, .. }
            | Self::AwaitDemotionReplayed { volumes, .. }
            | Self::Resync { volumes, .. }
            | Self::AwaitReplay { volumes, .. } => volumes.iter().collect(),
            Self::Promote { volumes, .. } => volumes.iter().map(|v| &v.volume).collect(),
            Self::Fence { .. }
            | Self::AwaitLeaseEnd { .. }
            | Self::StopApplication { .. }
            | Self::StartApplication { .. }
            | Self::ReleaseLease { .. }
            | Self::RecordPrimary { .. }
            | Self::TakeLease { .. }
            | Self::MarkUnprotected { .. }
            | Self::MarkProtected
            | Self::RunHook { .. }
            | Self::Pause { .. }
            | Self::StopServers { .. }
            | Self::StartServers { .. }
            | Self::HoldServers { .. } => Vec::new(),
        }
    }
}

impl Plan {
    /// Whether a lease of that zone and generation that is held after the zone was told to give it back goes with this plan's record.
    #[must_use]
    pub fn takes_what_is_left_of(&self, zone: &ZoneName, generation: Generation) -> bool {
        self.steps.iter().any(|s| {
            matches!(&s.step, Step::RecordPrimary { replaces, lease: OldLease::Demoted { from }, .. }
                if from == zone && *replaces == generation)
        })
    }
}

#[cfg(test)]
mod tests;
