//! The primary record, the primary lease, and their timing: the rule that two zones never both write.
//!
//! Two keys for each group:
//!
//! * the **primary record** ([`PrimaryRecord`]) is durable. It names the zone that is primary and the generation. Only
//!   the leading orchestrator changes it, in a transaction that compares its own leadership, the record it read, and
//!   that the lease key is **absent**; or, on proof that its zone's images cannot be written to, that it is as it was read, and deletes it.
//! * the **primary lease** ([`LeaseRecord`]) is attached to an etcd lease of `ttl`. Only a sidecar of the zone that the
//!   record names creates it, in a transaction that compares the record, and it lives while that sidecar renews it.
//!
//! ```text
//!   sidecar of A:   |-- renew --|-- renew --x (cannot renew)
//!   own deadline:   last successful renewal's SENDING time + ttl - demote_budget -> demote all, before the lease ends
//!   etcd:                       last renewal's ARRIVAL + ttl  -> key gone
//!   leader:                                                      sees it gone, waits `margin`, may record B as primary
//! ```
//!
//! Arrival is never before sending, so the sidecar's own end comes first, by at least `demote_budget`, whatever the
//! clocks say: both ends count elapsed time only (hard case 6, 12). `margin` covers a sidecar that dies while isolated, at the
//! latest in the middle of its demotion: its supervisor restarts it in less than `margin - 2 * demote_budget`; a starting sidecar
//! without a lease gives itself a grace of one `demote_budget`, and then demotes within another.

//!
//! Which lease a sidecar takes by itself:
//!
//! * the record names its zone, and its images of the group are primary (or it has none yet): it takes the lease;
//! * the record names its zone, and its images are **not** primary, as after an isolation, whoever demoted them: it reports
//!   [`LeaseView::Isolated`] and waits for an order to take it (the orchestrator's resume plan). A zone that takes its lease by
//!   itself says that it serves;
//! * it was ordered to release the lease of a generation: it does not take that generation's again until it is ordered to,
//!   or a newer record names it;
//! * the record names another zone: never. Where images of the group are primary here all the same (a zone that was lost and
//!   came back, hard case 31, 50), the isolation response is carried out at once: a demotion discards nothing, and what was
//!   written here stays until an orchestrator's reprotect plan has kept or discarded it.

use crate::{
    duration::Span,
    ids::{Generation, PlanId, ZoneName},
    policy::{InvalidPolicy, IsolationResponse},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The lease's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseTiming {
    /// How long etcd keeps the lease after its last renewal. Whole seconds.
    pub ttl: Span,
    /// How often the sidecar renews.
    pub renew_every: Span,
    /// Kept back from `ttl` to demote in: demoting all of a group must fit into it.
    pub demote_budget: Span,
    /// Waited on top after the lease was seen gone, before another zone is recorded.
    pub margin: Span,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            ttl: Span::secs(30),
            renew_every: Span::secs(5),
            demote_budget: Span::secs(5),
            margin: Span::secs(20),
        }
    }
}

impl LeaseTiming {
    /// For how long a site that answers "still yours" records no other primary: as long as it would wait after a renewal.
    #[must_use]
    pub fn promise(&self) -> Span {
        Span(self.ttl.get() + self.margin.get())
    }

    /// Checks the times against each other.
    ///
    /// # Errors
    /// [`InvalidPolicy`] where the sidecar could not try to renew at least twice before it must demote, where `ttl` is
    /// not whole seconds (etcd counts in seconds), or where `margin` leaves no time for a restart.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let bad = |field, why: String| Err(InvalidPolicy { field, why });
        if self.ttl.get().subsec_nanos() != 0 || !(2..=600).contains(&self.ttl.get().as_secs()) {
            return bad(
                "lease.ttl",
                format!("{} is not whole seconds from 2s to 10m", self.ttl),
            );
        }
        if self.renew_every.get().is_zero() {
            return bad(
                "lease.renew_every",
                "0s would renew without a pause".to_owned(),
            );
        }
        if self.renew_every.get() * 2 + self.demote_budget.get() > self.ttl.get() {
            return bad(
                "lease.ttl",
                format!(
                    "{} leaves no room for two renewals ({} each) and the demotion ({})",
                    self.ttl, self.renew_every, self.demote_budget
                ),
            );
        }
        if self.demote_budget.get().is_zero() {
            return bad(
                "lease.demote_budget",
                "0s leaves no time to demote in".to_owned(),
            );
        }
        if self.margin.get() <= self.demote_budget.get() * 2 {
            return bad(
                "lease.margin",
                format!(
                    "{} is not longer than twice demote_budget ({}): no time for a sidecar to be restarted in",
                    self.margin, self.demote_budget
                ),
            );
        }
        Ok(())
    }
}

/// Who is primary: the durable decision. JSON at [`crate::keys::group_primary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryRecord {
    /// The primary zone.
    pub zone: ZoneName,
    /// Grows with each change of zone.
    pub generation: Generation,
    /// Since when.
    pub since: Timestamp,
    /// The plan that decided it; `None` for the first.
    pub plan: Option<PlanId>,
}

/// Who holds the lease now. JSON at [`crate::keys::group_lease`], attached to an etcd lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The holder's zone.
    pub zone: ZoneName,
    /// Under which generation.
    pub generation: Generation,
    /// The sidecar's instance id.
    pub holder: String,
    /// What the holder does when it cannot renew: the leader's proof depends on it.
    pub isolation_response: IsolationResponse,
    /// The lease's time to live.
    pub ttl: Span,
}

/// A sidecar's own view of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LeaseView {
    /// Held, with that long before this sidecar must demote.
    Held {
        /// Under which generation.
        generation: Generation,
        /// Time left by the holder's own monotonic clock.
        left: Span,
    },
    /// etcd is ill, and all other sites confirmed that this zone still holds the group.
    KeptByFailsafe {
        /// Under which generation.
        generation: Generation,
        /// Time left before the sites must be asked again.
        left: Span,
    },
    /// The record names this zone, and it does not serve: its lease could not be renewed and the isolation response was carried
    /// out, or it started with images that are not primary. It waits for an order.
    Isolated {
        /// Under which generation it was held.
        generation: Generation,
    },
    /// Not this zone's.
    NotHeld,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_timing_is_sound() {
        assert_eq!(LeaseTiming::default().check(), Ok(()));
    }

    #[test]
    fn unsound_timings_name_their_field() {
        let ok = LeaseTiming::default();
        for (t, field) in [
            (
                LeaseTiming {
                    ttl: Span::millis(1500),
                    ..ok
                },
                "lease.ttl",
            ),
            (
                LeaseTiming {
                    ttl: Span::secs(14),
                    ..ok
                },
                "lease.ttl",
            ),
            (
                LeaseTiming {
                    renew_every: Span::secs(0),
                    ..ok
                },
                "lease.renew_every",
            ),
            (
                LeaseTiming {
                    demote_budget: Span::secs(0),
                    ..ok
                },
                "lease.demote_budget",
            ),
            (
                LeaseTiming {
                    margin: Span::secs(10),
                    ..ok
                },
                "lease.margin",
            ),
        ] {
            assert_eq!(t.check().unwrap_err().field, field);
        }
    }
}
