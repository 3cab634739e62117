//! From many observations to one diagnosis of a zone.
//!
//! A zone is [`Diagnosis::Lost`] only where **a majority of all sites** has, **for the whole hold-off**, seen **more than
//! one direct kind** of signal down and none up, and **no** site sees it alive. Everything short of that has a name of its
//! own (hard case 60) and is no ground for a failover.
//!
//! [`Diagnosis::StorageLost`] is as strict: the zone's Ceph is lost, and its sidecar lives. Two kinds that fail for different reasons
//! say so: no monitor greets the site that looks, and the sidecar, from inside, gets no write through. A single site that sees
//! anything else, a monitor above all, is enough for it not to be said.
//!
//! | Ceph monitors | sidecar | CephWrite | one site's verdict |
//! |---|---|---|---|
//! | up | up | up | alive |
//! | up | up | down | storage ill: it answers and takes no writes |
//! | up | up | unknown | alive |
//! | down | up | down | storage gone |
//! | down | up | up, unknown | storage ill |
//! | up | down | any | sidecar down: the data goes on, nobody steers it |
//! | down | down | any | gone |
//! | unknown on either | | | unknown |

use crate::observation::{Signal, SignalKind};
use crate::snapshot::Snapshot;
use rekindle_common::{SiteName, ZoneName, duration::Span, volume::Known};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What one site makes of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// All direct signals up.
    Alive,
    /// The sidecar answers, and its storage does not work.
    StorageIll,
    /// The sidecar answers, and says itself that no write goes through; no monitor answers. For that long.
    StorageGone {
        /// The shorter of the signals' times.
        held_for: Span,
    },
    /// The storage answers, and its sidecar does not.
    SidecarDown,
    /// More than one direct kind down, none up, for that long.
    Gone {
        /// The shorter of the signals' times.
        held_for: Span,
    },
    /// Not enough was seen.
    Unknown,
}

/// What is the matter with a zone, all sites taken together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "diagnosis", rename_all = "snake_case")]
pub enum Diagnosis {
    /// A majority sees it alive.
    Healthy,
    /// It answers, its storage does not work.
    StorageIll {
        /// The sites that say so.
        seen_by: Vec<SiteName>,
    },
    /// Its storage works, its sidecar does not answer.
    SidecarDown {
        /// The sites that say so.
        seen_by: Vec<SiteName>,
    },
    /// A majority sees it gone, not yet for the whole hold-off.
    Suspect {
        /// The sites that say so.
        seen_by: Vec<SiteName>,
        /// What is left of the hold-off.
        left: Span,
    },
    /// Lost beyond doubt.
    Lost {
        /// The sites that say so.
        seen_by: Vec<SiteName>,
        /// For how long the majority has said so.
        lost_for: Span,
    },
    /// Its sidecar answers, and its Ceph is lost beyond doubt.
    StorageLost {
        /// The sites that say so.
        seen_by: Vec<SiteName>,
        /// For how long the majority has said so.
        lost_for: Span,
    },
    /// Some sites see it gone and others alive: a link is cut, not a zone lost (hard case 1).
    LinkCut {
        /// To whom it is gone.
        gone_to: Vec<SiteName>,
        /// To whom it is there.
        there_to: Vec<SiteName>,
    },
    /// Too few sites say anything.
    Unknown {
        /// How many sites have a view, of how many.
        views: usize,
        /// All sites.
        sites: usize,
    },
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |sites: &[SiteName]| {
            sites
                .iter()
                .map(SiteName::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::StorageIll { seen_by } => write!(f, "storage ill, say {}", list(seen_by)),
            Self::SidecarDown { seen_by } => write!(f, "sidecar down, say {}", list(seen_by)),
            Self::Suspect { seen_by, left } => {
                write!(
                    f,
                    "suspected lost by {}; {} of the hold-off left",
                    list(seen_by),
                    left.tenths()
                )
            }
            Self::Lost { seen_by, lost_for } => {
                write!(f, "lost for {}, say {}", lost_for.tenths(), list(seen_by))
            }
            Self::StorageLost { seen_by, lost_for } => {
                write!(
                    f,
                    "without its Ceph for {}, its sidecar alive, say {}",
                    lost_for.tenths(),
                    list(seen_by)
                )
            }
            Self::LinkCut { gone_to, there_to } => {
                write!(
                    f,
                    "a link is cut: gone to {}, there to {}",
                    list(gone_to),
                    list(there_to)
                )
            }
            Self::Unknown { views, sites } => {
                write!(f, "unknown: {views} of {sites} sites have a view")
            }
        }
    }
}

/// How many sites are a majority of `sites`.
#[must_use]
pub fn majority(sites: usize) -> usize {
    sites / 2 + 1
}

/// One site's verdict on a zone, by the table above.
#[must_use]
pub fn verdict(snapshot: &Snapshot, site: &SiteName, zone: &ZoneName) -> Verdict {
    let Some(seen) = snapshot.observations.get(site) else {
        return Verdict::Unknown;
    };
    let find = |kind| {
        seen.observations
            .iter()
            .find(|o| o.zone == *zone && o.kind == kind)
    };
    let signal = |kind| find(kind).map_or(Signal::Unknown, |o| o.signal);
    let both_for = |kinds: [SignalKind; 2]| {
        let held = kinds
            .into_iter()
            .filter_map(|k| find(k).map(|o| o.held_for));
        held.min().unwrap_or_default()
    };
    match (
        signal(SignalKind::CephMon),
        signal(SignalKind::Sidecar),
        signal(SignalKind::CephWrite),
    ) {
        (Signal::Up, Signal::Up, Signal::Up | Signal::Unknown) => Verdict::Alive,
        (Signal::Up, Signal::Up, Signal::Down)
        | (Signal::Down, Signal::Up, Signal::Up | Signal::Unknown) => Verdict::StorageIll,
        (Signal::Down, Signal::Up, Signal::Down) => Verdict::StorageGone {
            held_for: both_for([SignalKind::CephMon, SignalKind::CephWrite]),
        },
        (Signal::Up, Signal::Down, Signal::Up | Signal::Down | Signal::Unknown) => {
            Verdict::SidecarDown
        }
        (Signal::Down, Signal::Down, Signal::Up | Signal::Down | Signal::Unknown) => {
            Verdict::Gone {
                held_for: both_for([SignalKind::CephMon, SignalKind::Sidecar]),
            }
        }
        (Signal::Unknown, Signal::Up | Signal::Down | Signal::Unknown, _)
        | (Signal::Up | Signal::Down, Signal::Unknown, _) => Verdict::Unknown,
    }
}

/// The diagnosis of a zone, under that hold-off.
#[must_use]
pub fn diagnose(snapshot: &Snapshot, zone: &ZoneName, hold_off: Span) -> Diagnosis {
    let need = majority(snapshot.sites.len());
    let mut alive = Vec::new();
    let mut storage_ill = Vec::new();
    let mut storage_gone: Vec<(SiteName, Span)> = Vec::new();
    let mut sidecar_down = Vec::new();
    let mut gone: Vec<(SiteName, Span)> = Vec::new();
    for site in &snapshot.sites {
        match verdict(snapshot, site, zone) {
            Verdict::Alive => alive.push(site.clone()),
            Verdict::StorageIll => storage_ill.push(site.clone()),
            Verdict::StorageGone { held_for } => storage_gone.push((site.clone(), held_for)),
            Verdict::SidecarDown => sidecar_down.push(site.clone()),
            Verdict::Gone { held_for } => gone.push((site.clone(), held_for)),
            Verdict::Unknown => {}
        }
    }
    let there: Vec<SiteName> = alive
        .iter()
        .chain(&storage_ill)
        .chain(storage_gone.iter().map(|(s, _)| s))
        .chain(&sidecar_down)
        .cloned()
        .collect();
    let views = there.len() + gone.len();
    if !gone.is_empty() && !there.is_empty() {
        let gone_to = gone.into_iter().map(|(s, _)| s).collect();
        return Diagnosis::LinkCut {
            gone_to,
            there_to: there,
        };
    }
    if gone.len() >= need {
        let lost_for = held_by_majority(&gone, need);
        let seen_by = gone.into_iter().map(|(s, _)| s).collect();
        return if lost_for >= hold_off {
            Diagnosis::Lost { seen_by, lost_for }
        } else {
            Diagnosis::Suspect {
                seen_by,
                left: Span(hold_off.get().saturating_sub(lost_for.get())),
            }
        };
    }
    if there.len() < need {
        return Diagnosis::Unknown {
            views,
            sites: snapshot.sites.len(),
        };
    }
    let lost_for = held_by_majority(&storage_gone, need);
    if storage_gone.len() >= need && storage_gone.len() == there.len() && lost_for >= hold_off {
        let seen_by = storage_gone.into_iter().map(|(s, _)| s).collect();
        return Diagnosis::StorageLost { seen_by, lost_for };
    }
    storage_ill.extend(storage_gone.into_iter().map(|(s, _)| s));
    // Everybody who has a view can reach it. One site's bad word on its inside is enough to hold back: each asked it itself.
    if !storage_ill.is_empty() {
        Diagnosis::StorageIll {
            seen_by: storage_ill,
        }
    } else if !sidecar_down.is_empty() {
        Diagnosis::SidecarDown {
            seen_by: sidecar_down,
        }
    } else {
        Diagnosis::Healthy
    }
}

/// Whether the zone's cluster takes writes, as its sidecar says itself to whoever reaches it. One site's bad word is enough for no; where
/// nobody reaches the sidecar it is unknown. A demotion is a write.
#[must_use]
pub fn takes_writes(snapshot: &Snapshot, zone: &ZoneName) -> Known {
    let mut known = Known::Unknown;
    for site in &snapshot.sites {
        let Some(seen) = snapshot.observations.get(site) else {
            continue;
        };
        let of = |kind, signal| {
            let mut all = seen.observations.iter();
            all.any(|o| o.zone == *zone && o.kind == kind && o.signal == signal)
        };
        if !of(SignalKind::Sidecar, Signal::Up) {
            continue;
        }
        if of(SignalKind::CephWrite, Signal::Down) {
            return Known::No;
        }
        if of(SignalKind::CephWrite, Signal::Up) {
            known = Known::Yes;
        }
    }
    known
}

/// For how long a majority of the sites has seen something of the zone down without a break, whatever it was: the trouble that is there
/// now began then, or before. None where fewer see anything down.
#[must_use]
pub fn troubled_for(snapshot: &Snapshot, zone: &ZoneName) -> Span {
    let mut troubled = Vec::new();
    for site in &snapshot.sites {
        let Some(seen) = snapshot.observations.get(site) else {
            continue;
        };
        let down = seen.observations.iter().filter(|o| {
            let direct = match o.kind {
                SignalKind::CephMon | SignalKind::Sidecar | SignalKind::CephWrite => true,
                SignalKind::MirrorDaemon => false,
            };
            direct && o.zone == *zone && o.signal == Signal::Down
        });
        if let Some(longest) = down.map(|o| o.held_for).max() {
            troubled.push((site.clone(), longest));
        }
    }
    held_by_majority(&troubled, majority(snapshot.sites.len()))
}

/// For how long a majority has said so: the `need`-th longest time; none where there are fewer.
fn held_by_majority(said: &[(SiteName, Span)], need: usize) -> Span {
    let mut held: Vec<Span> = said.iter().map(|(_, h)| *h).collect();
    held.sort_unstable_by(|a, b| b.cmp(a));
    held.get(need.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
