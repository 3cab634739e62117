//! What people are shown of the last round.

use super::{
    look::{Part, Silent},
    memory::Memory,
    write::Written,
};
use crate::wire::{CatalogueStatus, CatalogueZone, FoundView, Problem, Sight};
use jiff::Timestamp;
use rekindle_common::{ErrorCode, SiteName};
use rekindle_core::catalogue::{Kind, Verdict, ZoneSight};
use std::collections::BTreeMap;

/// The most volumes, and the most findings, of an answer.
pub(super) const MOST: usize = 5000;

pub(super) fn status(
    site: &SiteName,
    at: Timestamp,
    sights: &[ZoneSight; 2],
    silent: &[Silent],
    verdict: &Verdict,
    memory: &Memory,
    written: &[Written],
) -> CatalogueStatus {
    let why = |zone: &ZoneSight, part| {
        let found = silent
            .iter()
            .find(|s| s.zone == zone.zone && s.part == part);
        found.map(|s| s.why.clone())
    };
    let zones = sights.iter().map(|z| CatalogueZone {
        zone: z.zone.clone(),
        images: Sight::of(z.images.all().len(), why(z, Part::Images)),
        records: Sight::of(
            z.records.as_ref().map_or(0, |r| r.volumes.len()),
            why(z, Part::Records),
        ),
    });
    let findings: Vec<FoundView> = memory
        .findings()
        .map(|(finding, since, lasts)| FoundView {
            since,
            lasts,
            finding: finding.clone(),
        })
        .collect();
    CatalogueStatus {
        site: site.clone(),
        at,
        last_good: memory.last_good(),
        zones: zones.collect(),
        more_volumes: verdict.shown.len().saturating_sub(MOST),
        volumes: verdict.shown.iter().take(MOST).cloned().collect(),
        more_findings: findings.len().saturating_sub(MOST),
        findings: findings.into_iter().take(MOST).collect(),
        written: written.iter().filter(|w| w.is_good()).count(),
        waiting: memory.waiting(),
    }
}

impl Sight {
    fn of(count: usize, why: Option<String>) -> Self {
        match why {
            None => Self::Seen { count },
            Some(why) => Self::Missing { count, why },
        }
    }
}

impl CatalogueStatus {
    /// How many of each kind are found.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts: BTreeMap<Kind, usize> = Kind::ALL.into_iter().map(|k| (k, 0)).collect();
        for f in &self.findings {
            *counts.entry(f.finding.kind).or_default() += 1;
        }
        counts
    }

    /// The findings by their cause, with how many volumes each concerns and the first of them.
    #[must_use]
    pub fn causes(&self) -> Vec<(&FoundView, usize)> {
        let mut causes: Vec<(&FoundView, usize)> = Vec::new();
        for f in &self.findings {
            let same = |c: &FoundView| {
                let (a, b) = (&c.finding, &f.finding);
                (&a.zone, a.kind, &a.text) == (&b.zone, b.kind, &b.text)
            };
            // In their order those of one cause stand together.
            match causes.last_mut() {
                Some((c, count)) if same(c) => *count += 1,
                Some(_) | None => causes.push((f, 1)),
            }
        }
        causes
    }

    /// What of it a person must look at: what has lasted, and a Cinder that does not answer.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let gap = |about: String, message: String| Problem {
            code: ErrorCode::CatalogueGap,
            about,
            message,
        };
        let silent = self.zones.iter().filter_map(|z| match &z.records {
            Sight::Seen { .. } => None,
            Sight::Missing { why, .. } => {
                let text =
                    format!("its Cinder cannot be read, and its catalogue is not kept: {why}");
                Some(gap(z.zone.to_string(), text))
            }
        });
        let lasting = self.causes().into_iter().filter(|(f, _)| f.lasts);
        let found = lasting.map(|(f, count)| {
            let of = match count {
                1 => f.finding.image.to_string(),
                n => format!("{n} volumes, {} among them", f.finding.image),
            };
            gap(
                format!("{} in {}", of, f.finding.zone),
                f.finding.text.clone(),
            )
        });
        silent.chain(found).collect()
    }
}
