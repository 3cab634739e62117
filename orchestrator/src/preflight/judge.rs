//! From what was seen to what is missing. Pure: it asks nobody.

mod backends;
mod keys;
mod projects;
mod reach;
mod types;

use super::{
    Counts, Gap, GapKind, Preflight, Seen, Unchecked, ZoneSeen,
    servers::{self, ServersSeen},
};
use crate::config::Config;
use rekindle_common::ZoneName;
use rekindle_core::catalogue::mapping::{Mapping, Unmapped};
use rekindle_openstack::CloudError;
use std::collections::BTreeSet;

/// What is judged, and what was found so far. Each is said once.
pub(super) struct Judge<'a> {
    config: &'a Config,
    pub(super) mapping: &'a Mapping,
    seen: &'a Seen,
    gaps: BTreeSet<Gap>,
    unchecked: BTreeSet<Unchecked>,
    pub(super) counts: Counts,
}

/// One way across: what is made here, and gets its record there.
#[derive(Clone, Copy)]
struct Way<'a> {
    from: &'a ZoneName,
    here: &'a ZoneSeen,
    to: &'a ZoneName,
    there: &'a ZoneSeen,
}

pub(super) fn judge(
    config: &Config,
    mapping: &Mapping,
    seen: &Seen,
    servers: &ServersSeen,
) -> Preflight {
    let mut judge = Judge::new(config, mapping, seen);
    judge.reach();
    judge.projects();
    judge.types();
    judge.backends();
    servers::judge(&mut judge, servers, seen);
    judge.found()
}

/// Servers alone, and whether their clouds can be asked at all.
pub(super) fn judge_servers(
    config: &Config,
    mapping: &Mapping,
    seen: &Seen,
    servers: &ServersSeen,
) -> Preflight {
    let mut judge = Judge::new(config, mapping, seen);
    judge.reach();
    judge.keys_of(&servers.volumes());
    servers::judge(&mut judge, servers, seen);
    judge.found()
}

impl<'a> Judge<'a> {
    pub(super) fn new(config: &'a Config, mapping: &'a Mapping, seen: &'a Seen) -> Self {
        Self {
            config,
            mapping,
            seen,
            gaps: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            counts: Counts {
                zones: seen.len(),
                ..Counts::default()
            },
        }
    }

    pub(super) fn found(self) -> Preflight {
        Preflight {
            gaps: self.gaps.into_iter().collect(),
            unchecked: self.unchecked.into_iter().collect(),
            counts: self.counts,
            daily: Vec::new(),
        }
    }

    pub(super) fn gap(
        &mut self,
        kind: GapKind,
        zone: Option<&ZoneName>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.gaps.insert(Gap {
            kind,
            zone: zone.cloned(),
            what: what.into(),
            advice: advice.into(),
        });
    }

    pub(super) fn unchecked(
        &mut self,
        zone: &ZoneName,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.unchecked.insert(Unchecked {
            zone: zone.clone(),
            what: what.into(),
            why: why.into(),
        });
    }

    /// A value, or that it is not known.
    pub(super) fn known<'v, T>(
        &mut self,
        zone: &ZoneName,
        what: &str,
        value: &'v Result<T, CloudError>,
    ) -> Option<&'v T> {
        value
            .as_ref()
            .inspect_err(|e| self.unchecked(zone, what, e.in_full()))
            .ok()
    }

    fn ways(&self) -> Vec<Way<'a>> {
        let mut all = Vec::new();
        for (from, here) in self.seen {
            for (to, there) in self.seen.iter().filter(|(to, _)| *to != from) {
                all.push(Way {
                    from,
                    here,
                    to,
                    there,
                });
            }
        }
        all
    }

    /// A mapping that does not lead anywhere. What hangs on a silent Keystone is named as unchecked by who looks at that zone.
    fn unmapped(&mut self, kind: GapKind, e: &Unmapped, about: &str) {
        let what = if about.is_empty() {
            e.to_string()
        } else {
            format!("{about}: {e}")
        };
        let advice = match e {
            Unmapped::NoEntry { .. } => {
                "add an entry to the mapping, or make it there under the same name and say so in same_name"
            }
            Unmapped::NoSuch { .. } => "make it there, or mend the mapping",
            Unmapped::Ambiguous { .. } => "mend the mapping",
            Unmapped::Unknown { .. } => return,
        };
        self.gap(kind, None, what, advice);
    }
}

/// `3 volumes`, `1 volume`.
fn count(n: usize, word: &str) -> String {
    if n == 1 {
        format!("1 {word}")
    } else {
        format!("{n} {word}s")
    }
}
