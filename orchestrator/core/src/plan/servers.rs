//! The part of a plan that is about servers: when hooks run, and how long a level may take.

use super::Plan;
use rekindle_common::{
    ServerKey,
    duration::Span,
    runbook::{Level, RunbookServer},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// So many of a zone's servers are acted on at once: what a Nova of one controller takes without queueing.
pub const SERVERS_AT_ONCE: usize = 8;
/// The longest that a step may take over servers, however many they are.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// On top of what the servers are given: looks, and what is written to etcd.
const SLACK: Duration = Duration::from_secs(60);

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookTime {
    /// Before anything is done.
    Before,
    /// After the last server.
    After,
}

impl fmt::Display for HookTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

impl Plan {
    /// The servers of one of its levels; of one that it does not have, none.
    #[must_use]
    pub fn level(&self, n: usize) -> &[RunbookServer] {
        self.runbook
            .levels
            .get(n)
            .map_or(&[], |l| l.servers.as_slice())
    }

    /// How long the level's servers may take to start or to stop: those that wait for each other one after the other, the others a
    /// few at a time.
    #[must_use]
    pub fn level_deadline(&self, n: usize) -> Span {
        self.runbook.levels.get(n).map_or(Span(SLACK), deadline_of)
    }
}

pub(super) fn deadline_of(level: &Level) -> Span {
    // Dependencies only go backwards in a level, so one walk finds the longest way.
    let mut until: BTreeMap<&ServerKey, Duration> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    let mut one = Duration::ZERO;
    for s in &level.servers {
        let after = s.after.iter().filter_map(|a| until.get(a)).max().copied();
        let way = after.unwrap_or_default().saturating_add(s.within.get());
        until.insert(&s.key, way);
        longest = longest.max(way);
        one = one.max(s.within.get());
    }
    let rounds = level.servers.len().saturating_sub(1) / SERVERS_AT_ONCE;
    let queued = one.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
    Span(
        longest
            .saturating_add(queued)
            .saturating_add(SLACK)
            .min(LONGEST),
    )
}

/// How long it may take to hold so many servers, where a few are held at a time.
pub(super) fn hold_deadline(servers: usize) -> Span {
    let each = Duration::from_secs(60);
    let rounds = servers.div_ceil(SERVERS_AT_ONCE);
    let all = each.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
    Span(all.max(Duration::from_secs(600)).min(LONGEST))
}
