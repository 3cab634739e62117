//! What an operator decides for a protection group.

use crate::{
    action::SafetyCopy,
    deletion::OnDelete,
    duration::Span,
    ids::{GroupName, ZoneName},
    lease::LeaseTiming,
    runbook::Runbook,
};
use serde::{Deserialize, Serialize};

/// Who says that a failover may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailoverMode {
    /// Rekindle, once the zone is lost beyond doubt and there is proof that it cannot write.
    Automatic,
    /// A person: `rekindle approve`.
    Approved,
}

/// What happens when the lost zone is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReturn {
    /// Protect the group from where it is now; it stays there.
    Stay,
    /// Protect it, and once it is in step move it home by a planned move.
    Return,
    /// Touch nothing that discards data until a person has said so.
    Ask,
}

/// What a sidecar does with its primaries when it can no longer renew their lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationResponse {
    /// Demotes them before the lease ends: the other zone may then be promoted by itself.
    Demote,
    /// Refuses every action, leaves the images writable: the other zone is promoted only with another proof.
    Freeze,
    /// Goes on as if nothing were: the same, without the refusal.
    Keep,
}

/// A group's policy. Every field has a default that is safe rather than quick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupPolicy {
    /// Automatic, or with a person's approval.
    pub failover: FailoverMode,
    /// For how long a majority of sites must have seen the zone lost, without a break.
    pub hold_off: Span,
    /// The lease's timing.
    pub lease: LeaseTiming,
    /// What an isolated sidecar does.
    pub isolation_response: IsolationResponse,
    /// The most data that a failover may lose without asking; `None` asks never.
    pub rpo_limit: Option<Span>,
    /// When the lost zone is back.
    pub on_return: OnReturn,
    /// No further automatic failover for this long after one, unless acknowledged (hard case 7).
    pub blocking_period: Span,
    /// What becomes of what the loser wrote after the split.
    pub safety_copy: SafetyCopy,
    /// What becomes of a volume of the group that is deleted in Cinder.
    pub on_delete: OnDelete,
    /// A fence agent's name in the orchestrators' configuration; exit code 0 is proof that the old primary cannot write.
    pub fence_agent: Option<String>,
    /// An application's name in the orchestrators' configuration: its command stops and starts what writes to the group.
    pub application: Option<String>,
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            failover: FailoverMode::Approved,
            hold_off: Span::secs(30),
            lease: LeaseTiming::default(),
            isolation_response: IsolationResponse::Demote,
            rpo_limit: None,
            on_return: OnReturn::Ask,
            blocking_period: Span::secs(3600),
            safety_copy: SafetyCopy::Keep,
            on_delete: OnDelete::Refuse,
            fence_agent: None,
            application: None,
        }
    }
}

/// A policy that contradicts itself; `field` is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidPolicy {
    /// The field, as a path: `lease.ttl`.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl GroupPolicy {
    /// Checks the times against each other.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the field and the bound.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        self.lease.check()?;
        if self.hold_off.get().is_zero() || self.hold_off > Span::secs(86_400) {
            return Err(InvalidPolicy {
                field: "hold_off",
                why: format!("{} is outside 1ms to 24h", self.hold_off),
            });
        }
        if self.blocking_period > Span::secs(31 * 86_400) {
            return Err(InvalidPolicy {
                field: "blocking_period",
                why: format!("{} is longer than 31d", self.blocking_period),
            });
        }
        self.on_delete.check().map_err(|why| InvalidPolicy {
            field: "on_delete",
            why,
        })?;
        if self.rpo_limit.is_some_and(|r| r.get().is_zero()) {
            return Err(InvalidPolicy {
                field: "rpo_limit",
                why:
                    "0s would always ask; leave it out for no limit, or set failover = \"approved\""
                        .to_owned(),
            });
        }
        Ok(())
    }
}

/// A protection group as it was defined. Stands in etcd at [`crate::keys::group_spec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Its name.
    pub name: GroupName,
    /// Where it belongs: failback goes there.
    pub home: ZoneName,
    /// The other zone.
    pub away: ZoneName,
    /// Its policy.
    #[serde(default)]
    pub policy: GroupPolicy,
    /// Its servers.
    #[serde(default, skip_serializing_if = "Runbook::is_empty")]
    pub runbook: Runbook,
}

impl GroupSpec {
    /// The zone that is not `zone`; `None` where `zone` has no part in this group.
    #[must_use]
    pub fn other(&self, zone: &ZoneName) -> Option<&ZoneName> {
        if *zone == self.home {
            Some(&self.away)
        } else if *zone == self.away {
            Some(&self.home)
        } else {
            None
        }
    }
}
