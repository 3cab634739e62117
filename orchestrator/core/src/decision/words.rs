//! Why nothing is done, and what a person has to decide: each in an operator's words.

use crate::detector::Diagnosis;
use crate::plan::PlanKind;
use jiff::Timestamp;
use rekindle_common::{ImageSpec, PlanId, ZoneName, duration::Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Hold {
    /// All is well.
    AllWell,
    /// The operator wants no automatic action.
    Maintenance {
        /// In the operator's words.
        reason: String,
    },
    /// One plan at a time for a group (hard case 8).
    PlanActive {
        /// It.
        plan: PlanId,
    },
    /// No primary has been recorded yet.
    NoPrimary,
    /// The record names a zone that is not of this group.
    ForeignPrimary {
        /// It.
        zone: ZoneName,
    },
    /// The primary's zone is not well, and not lost.
    NotLost {
        /// What it is instead.
        diagnosis: Diagnosis,
        /// A person vouched that it cannot write, before this trouble: that word is about another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vouched_before: Option<Timestamp>,
    },
    /// The lease is still there: somebody in that zone renews it.
    LeaseStillHeld {
        /// The holder.
        holder: String,
    },
    /// The lease is gone, and the margin on top is not over.
    MarginRunning {
        /// What is left.
        left: Span,
    },
    /// This orchestrator promised an isolated zone not to.
    Promised {
        /// What is left of the promise.
        left: Span,
    },
    /// A plan of this kind came to nothing a short time ago.
    TryingAgain {
        /// Which kind.
        kind: PlanKind,
        /// It: `rekindle plan show` says why.
        failed: PlanId,
        /// What is left of the pause.
        left: Span,
    },
    /// The zone that holds the copies does not answer: what could be promoted is not known.
    CopiesUnknown {
        /// It.
        zone: ZoneName,
    },
    /// The other zone is not there to be protected on.
    Unprotected {
        /// It.
        zone: ZoneName,
        /// What is the matter with it.
        diagnosis: Diagnosis,
    },
    /// Copies are catching up.
    Syncing {
        /// How many are not in step.
        behind: usize,
    },
    /// The primary's sidecar has not said yet what it holds.
    PrimaryUnclear {
        /// It.
        zone: ZoneName,
    },
}

/// What a person has to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// The zone is lost and nothing proves that it cannot write.
    NoProof {
        /// What is known.
        evidence: String,
    },
    /// The zone's Ceph is lost, its sidecar lives and holds the lease, and nothing proves that no client of it can write.
    LeaseOfALostCeph {
        /// The zone.
        zone: ZoneName,
        /// Who renews it.
        holder: String,
        /// A person's word was given before this loss, and so is about another.
        vouched_before: Option<Timestamp>,
    },
    /// The zone that would take over is not well itself.
    TargetNotReady {
        /// It.
        zone: ZoneName,
        /// What is the matter with it.
        diagnosis: Diagnosis,
    },
    /// More would be lost than policy allows without asking.
    BeyondRpo {
        /// The worst volume.
        volume: ImageSpec,
        /// Its loss; `None` is unknown.
        loss: Option<Span>,
        /// The limit.
        limit: Span,
    },
    /// The zone that would take over lost the group by a failover, and its copies have not been in step since.
    NotInStepSince {
        /// It.
        zone: ZoneName,
        /// The failover.
        plan: PlanId,
        /// When that was.
        at: Timestamp,
        /// How long the other zone wrote since.
        loss: Span,
    },
    /// The loss is within the limit, and so near to it that a zone's clock decides (hard case 12).
    ClockSkew {
        /// The worst volume.
        volume: ImageSpec,
        /// Its loss, as the clocks have it.
        loss: Span,
        /// The limit.
        limit: Span,
        /// Whose clock.
        zone: ZoneName,
        /// How far that may be ahead; `None` is unknown.
        ahead: Option<Span>,
    },
    /// A failover happened a short time ago (hard case 7).
    Blocked {
        /// What is left of the blocking period.
        left: Span,
        /// The failover.
        plan: PlanId,
    },
    /// Policy wants a person's approval.
    Approve {
        /// For what.
        kind: PlanKind,
        /// Why it would be done.
        why: String,
    },
    /// The zone's sidecar is frozen: it would refuse every order of the plan.
    Frozen {
        /// It.
        zone: ZoneName,
        /// In the words of who froze it.
        reason: String,
    },
    /// No volume can be promoted.
    NothingToPromote {
        /// Why, volume by volume.
        why: Vec<String>,
    },
    /// Both zones say primary, and not by a failover of ours: nobody but a person may name the loser (hard case 17).
    SplitBrain {
        /// The volumes.
        volumes: Vec<ImageSpec>,
    },
    /// The plan that is due is larger than what can be written down, and so can never be begun.
    TooLarge {
        /// Which kind.
        kind: PlanKind,
        /// How large it is, and what a person can do.
        why: String,
    },
    /// Volumes are no primary in the recorded zone, which holds its lease: a failover left them behind, or somebody demoted by hand (hard case 14).
    NoPrimaryImages {
        /// The recorded zone.
        zone: ZoneName,
        /// They.
        volumes: Vec<ImageSpec>,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllWell => f.write_str("all is well"),
            Self::Maintenance { reason } => write!(f, "maintenance: {reason}"),
            Self::PlanActive { plan } => write!(f, "plan {plan} is at work"),
            Self::NoPrimary => f.write_str("no primary zone has been recorded yet"),
            Self::ForeignPrimary { zone } => {
                write!(f, "the record names {zone}, which is not of this group")
            }
            Self::NotLost {
                diagnosis,
                vouched_before,
            } => {
                write!(f, "the primary's zone is not lost: {diagnosis}")?;
                match vouched_before {
                    None => Ok(()),
                    Some(at) => write!(f, "; {}", before_this(*at)),
                }
            }
            Self::LeaseStillHeld { holder } => {
                write!(f, "the primary lease is still renewed by {holder}")
            }
            Self::MarginRunning { left } => {
                write!(f, "the lease is gone; {} of the margin left", left.tenths())
            }
            Self::Promised { left } => {
                write!(
                    f,
                    "promised an isolated zone to hold still; {} left",
                    left.tenths()
                )
            }
            Self::TryingAgain { kind, failed, left } => write!(
                f,
                "the {kind} {failed} came to nothing (`rekindle plan show {failed}` says why); another begins in {}",
                left.tenths()
            ),
            Self::CopiesUnknown { zone } => write!(f, "{zone} does not say what copies it holds"),
            Self::Unprotected { zone, diagnosis } => {
                write!(f, "UNPROTECTED: {zone} is {diagnosis}")
            }
            Self::Syncing { behind } => write!(f, "UNPROTECTED: {behind} copies are catching up"),
            Self::PrimaryUnclear { zone } => write!(f, "{zone} has not said yet what it holds"),
        }
    }
}

/// Why a word that was given does not count.
pub(super) fn before_this(at: Timestamp) -> String {
    format!(
        "the word that was given at {at} is from before this trouble, or by a clock that was ahead, and so may be about another: give it again if it holds now"
    )
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProof { evidence } => write!(
                f,
                "nothing proves that the old primary cannot write ({evidence}); power it off or cut it off, then \
                 `rekindle approve GROUP failover --vouch-cannot-write`"
            ),
            Self::LeaseOfALostCeph {
                zone,
                holder,
                vouched_before,
            } => {
                write!(
                    f,
                    "the Ceph of {zone} is lost, and {holder} lives and still renews the primary lease: when that Ceph is back, whatever \
                     still runs there writes on. Power {zone}'s hypervisors off or cut them from its Ceph, and keep it so until its \
                     volumes are demoted; then `rekindle approve GROUP failover --vouch-cannot-write`. A fence agent does this by itself"
                )?;
                match vouched_before {
                    None => Ok(()),
                    Some(at) => write!(
                        f,
                        " (the word that was given at {at} is from before this loss)"
                    ),
                }
            }
            Self::TargetNotReady { zone, diagnosis } => {
                write!(
                    f,
                    "the primary's zone is lost, and {zone} cannot take over: {diagnosis}"
                )
            }
            Self::BeyondRpo {
                volume,
                loss,
                limit,
            } => {
                match loss {
                    Some(l) => write!(
                        f,
                        "{volume} would lose {}, the limit is {limit}",
                        l.tenths()
                    )?,
                    None => write!(
                        f,
                        "{volume} would lose an unknown amount, the limit is {limit}"
                    )?,
                }
                f.write_str("; `rekindle approve GROUP failover --accept-loss` accepts it")
            }
            Self::NotInStepSince {
                zone,
                plan,
                at,
                loss,
            } => write!(
                f,
                "the copies in {zone} have not been in step since failover {plan} took the group from it at {at}: they hold what {zone} itself \
                 had, and all that was written since would be lost, {} of it; `rekindle approve GROUP failover --accept-loss` accepts it",
                loss.tenths()
            ),
            Self::ClockSkew {
                volume,
                loss,
                limit,
                zone,
                ahead,
            } => {
                let ahead = match ahead {
                    Some(a) => format!("may be {} ahead", a.tenths()),
                    None => "is not known: it has not answered since this orchestrator started"
                        .to_owned(),
                };
                write!(
                    f,
                    "{volume} would lose {} by the clocks, the limit is {limit}, and {zone}'s clock {ahead}, so it may be more; \
                     `rekindle approve GROUP failover --accept-loss` accepts it",
                    loss.tenths()
                )
            }
            Self::Blocked { left, plan } => write!(
                f,
                "failover {plan} was a short time ago: blocked for another {}, or until `rekindle acknowledge GROUP`",
                left.tenths()
            ),
            // What goes on where it was is no failover: it is ordered, not approved.
            Self::Approve {
                kind: PlanKind::Resume,
                why,
            } => write!(f, "a resume waits for `rekindle group resume GROUP`: {why}"),
            Self::Approve { kind, why } => {
                write!(
                    f,
                    "a {kind} waits for `rekindle approve GROUP {kind}`: {why}"
                )
            }
            Self::Frozen { zone, reason } => write!(
                f,
                "{zone} is frozen ({reason}) and takes no orders; `rekindle thaw {zone}` first"
            ),
            Self::NothingToPromote { why } => {
                write!(f, "no volume can be promoted: {}", why.join("; "))
            }
            Self::SplitBrain { volumes } => write!(
                f,
                "{} volumes have diverged between the zones, not by a failover of ours; look at both, then \
                 `rekindle approve GROUP reprotect` to discard the side that is not recorded",
                volumes.len()
            ),
            Self::TooLarge { kind, why } => {
                write!(f, "the {kind} that is due cannot be begun: {why}")
            }
            Self::NoPrimaryImages { zone, volumes } => write!(
                f,
                "{} volumes are not primary in {zone}, where the group is; `rekindle group resume GROUP` promotes those that it may, \
                 and says of each other one what it lacks",
                volumes.len()
            ),
        }
    }
}
