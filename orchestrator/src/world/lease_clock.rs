//! For how long a leader has seen a lease key absent, by its own monotonic clock.
//!
//! It counts from the first read in which the key was absent, and a new leader counts anew: what another saw is not carried over.
//! Two looks without the key, less than a ttl apart, have no lease between them that ran out: one granted after the first would
//! still be there at the second, unless it was given back. A longer gap counts anew.

use rekindle_common::{GroupName, duration::Span, lease::LeaseRecord};
use rekindle_core::snapshot::LeaseSight;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

/// One term's count for all groups.
#[derive(Debug, Default)]
pub struct LeaseClock {
    gone: Mutex<BTreeMap<GroupName, Gone>>,
}

#[derive(Debug, Clone, Copy)]
struct Gone {
    since: Instant,
    last_seen: Instant,
}

impl LeaseClock {
    /// Takes a look that was made at `at`, and says what is known. `ttl` is the group's lease's.
    pub fn see(
        &self,
        group: &GroupName,
        lease: Option<&LeaseRecord>,
        ttl: Span,
        at: Instant,
    ) -> LeaseSight {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = lease {
            gone.remove(group);
            return LeaseSight::Held(lease.clone());
        }
        let entry = gone.entry(group.clone()).or_insert(Gone {
            since: at,
            last_seen: at,
        });
        if at.saturating_duration_since(entry.last_seen) >= ttl.get() {
            entry.since = at;
        }
        entry.last_seen = entry.last_seen.max(at);
        LeaseSight::Gone {
            seen_gone_for: Span(at.saturating_duration_since(entry.since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{Generation, ZoneName, policy::IsolationResponse};
    use std::time::Duration;

    const TTL: Span = Span::secs(10);

    fn held() -> LeaseRecord {
        LeaseRecord {
            zone: ZoneName::new("zone-a").unwrap(),
            generation: Generation(1),
            holder: "s1".to_owned(),
            isolation_response: IsolationResponse::Demote,
            ttl: Span::secs(10),
        }
    }
    fn gone_for(sight: LeaseSight) -> u64 {
        match sight {
            LeaseSight::Gone { seen_gone_for } => seen_gone_for.get().as_secs(),
            LeaseSight::Held(_) => panic!("held"),
        }
    }

    #[test]
    fn it_counts_from_the_first_look_without_the_key_and_anew_after_it_was_back() {
        let clock = LeaseClock::default();
        let group = GroupName::new("db").unwrap();
        let t = Instant::now();
        let at = |s| t + Duration::from_secs(s);
        clock.see(&group, Some(&held()), TTL, at(0));
        assert_eq!(gone_for(clock.see(&group, None, TTL, at(5))), 0);
        assert_eq!(gone_for(clock.see(&group, None, TTL, at(9))), 4);
        clock.see(&group, Some(&held()), TTL, at(10));
        assert_eq!(gone_for(clock.see(&group, None, TTL, at(11))), 0);
        assert_eq!(gone_for(clock.see(&group, None, TTL, at(12))), 1);
    }

    #[test]
    fn hard_case_06_a_time_without_looks_as_long_as_a_lease_is_not_counted() {
        let clock = LeaseClock::default();
        let group = GroupName::new("db").unwrap();
        let t = Instant::now();
        clock.see(&group, None, TTL, t);
        assert_eq!(
            gone_for(clock.see(&group, None, TTL, t + Duration::from_secs(60))),
            0
        );
    }
}
