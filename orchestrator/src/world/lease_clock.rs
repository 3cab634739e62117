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
    last_asked: Instant,
}

impl LeaseClock {
    /// Takes a look, and says what is known. It was made somewhere between `asked` and `answered`, and the time is counted so
    /// that it is never too long. `ttl` is the group's lease's.
    pub fn see(
        &self,
        group: &GroupName,
        lease: Option<&LeaseRecord>,
        ttl: Span,
        (asked, answered): (Instant, Instant),
    ) -> LeaseSight {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = lease {
            gone.remove(group);
            return LeaseSight::Held(lease.clone());
        }
        let entry = gone.entry(group.clone()).or_insert(Gone {
            since: answered,
            last_asked: asked,
        });
        if answered.saturating_duration_since(entry.last_asked) >= ttl.get() {
            entry.since = answered;
        }
        entry.last_asked = entry.last_asked.max(asked);
        LeaseSight::Gone {
            seen_gone_for: Span(asked.saturating_duration_since(entry.since)),
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
        let at = |s| (t + Duration::from_secs(s), t + Duration::from_secs(s));
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
        clock.see(&group, None, TTL, (t, t));
        let later = t + Duration::from_secs(60);
        assert_eq!(gone_for(clock.see(&group, None, TTL, (later, later))), 0);
    }

    #[test]
    fn a_slow_answer_makes_the_time_shorter_never_longer() {
        let clock = LeaseClock::default();
        let group = GroupName::new("db").unwrap();
        let t = Instant::now();
        let at = |s| t + Duration::from_secs(s);
        // Asked at 0, answered at 4: it may have been there until just before 4.
        clock.see(&group, None, TTL, (at(0), at(4)));
        assert_eq!(gone_for(clock.see(&group, None, TTL, (at(5), at(9)))), 1);
    }
}
