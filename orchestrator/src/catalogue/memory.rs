//! What outlives a round: how long something has been so. A new leader begins without it, and loses nothing but patience.

use super::{
    CatalogueTiming, Place,
    look::{Looked, Part, Silent},
    write::Written,
};
use jiff::Timestamp;
use rekindle_common::{ImageSpec, ZoneName, duration::Span};
use rekindle_core::catalogue::{
    Change, Finding, Images, Kind, Mend, Verdict, ZoneSight, mapping::Project,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// Projects are asked for again after this: few are made, and a list of them is long.
const PROJECTS_FOR: Duration = Duration::from_secs(60);
/// So many failures in a row are a finding.
const LASTING: u32 = 3;

/// What failed for an image in a zone.
#[derive(Debug)]
struct Failure {
    times: u32,
    pause: Duration,
    until: Instant,
    last: Finding,
}

/// What was found, and since when.
#[derive(Debug)]
struct Found {
    since: Timestamp,
    from: Instant,
    told: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memory {
    silent_since: BTreeMap<ZoneName, Instant>,
    projects: BTreeMap<ZoneName, (Instant, Vec<Project>)>,
    failures: BTreeMap<(ZoneName, ImageSpec), Failure>,
    found: BTreeMap<Finding, Found>,
    last_good: Option<Timestamp>,
}

impl Memory {
    pub(super) fn asks_for_projects(&self, zone: &ZoneName) -> bool {
        let known = self.projects.get(zone);
        known.is_none_or(|(at, _)| at.elapsed() >= PROJECTS_FOR)
    }

    /// A look, with what is remembered of the zone.
    pub(super) fn sight(
        &mut self,
        place: &Place,
        looked: Looked,
        silent: &mut Vec<Silent>,
    ) -> ZoneSight {
        let zone = place.zone.name().clone();
        let mut say = |part, why| {
            silent.push(Silent {
                zone: zone.clone(),
                part,
                why,
            });
        };
        let images = match looked.images {
            Ok(listed) => {
                self.silent_since.remove(&zone);
                match listed.lacks {
                    None => Images::Whole(listed.images),
                    Some(why) => {
                        say(Part::Images, why.to_string());
                        Images::Partial(listed.images)
                    }
                }
            }
            Err(why) => {
                say(Part::Images, why);
                let since = self
                    .silent_since
                    .entry(zone.clone())
                    .or_insert_with(Instant::now);
                Images::Silent {
                    held: Span(since.elapsed()),
                }
            }
        };
        let records = match looked.records {
            Ok(records) => Some(records),
            Err(e) => {
                say(Part::Records, e.why);
                None
            }
        };
        match looked.projects {
            Some(Ok(all)) => {
                self.projects.insert(zone.clone(), (Instant::now(), all));
            }
            // Those that were known are still; where none were, nothing is made that needs them.
            Some(Err(e)) => tracing::debug!(zone = %zone, error = %e, "its projects were not read"),
            None => {}
        }
        ZoneSight {
            images,
            records,
            projects: self.projects.get(&zone).map(|(_, all)| all.clone()),
            hosts: place.cinder.hosts(),
            named: BTreeMap::new(),
            zone,
        }
    }

    /// Those whose time has come.
    pub(super) fn due(&self, mends: &[Mend]) -> Vec<Mend> {
        let now = Instant::now();
        let waits = |m: &Mend| {
            let key = (m.zone.clone(), m.image.clone());
            self.failures.get(&key).is_some_and(|f| f.until > now)
        };
        mends.iter().filter(|m| !waits(m)).cloned().collect()
    }

    /// How many images wait for another try.
    pub(super) fn waiting(&self) -> usize {
        self.failures.len()
    }

    pub(super) fn wrote(&mut self, written: &[Written], timing: &CatalogueTiming) {
        let now = Instant::now();
        // What went well for longer than it had to wait is forgotten.
        self.failures
            .retain(|_, f| now < f.until + f.pause + 3 * timing.every);
        for w in written {
            let key = (w.mend.zone.clone(), w.mend.image.clone());
            let what = w.mend.change.name();
            match (&w.end, &w.mend.change) {
                (Err(e), _) => self.failed(key, what, &e.why, timing),
                // Its next import waits: what Cinder could not do behind the last one, it most often still cannot.
                (Ok(()), Change::DropFailedImport { .. }) => {
                    self.failed(key, what, "Cinder could not carry out the import", timing);
                }
                // A status changes as often as the volume's does.
                (Ok(()), Change::Show { .. }) => {
                    tracing::debug!(zone = %key.0, volume.id = %key.1, mend = what, "the catalogue was mended");
                }
                (Ok(()), _) => {
                    tracing::info!(zone = %key.0, volume.id = %key.1, mend = what, "the catalogue was mended");
                }
            }
        }
    }

    fn failed(
        &mut self,
        key: (ZoneName, ImageSpec),
        what: &str,
        why: &str,
        timing: &CatalogueTiming,
    ) {
        tracing::debug!(zone = %key.0, volume.id = %key.1, mend = what, error = why, "the catalogue was not mended");
        let before = self.failures.get(&key).map(|f| (f.times, f.pause));
        let (times, pause) = match before {
            None => (1, timing.again),
            Some((times, pause)) => (times.saturating_add(1), (pause * 2).min(timing.longest)),
        };
        let last = Finding {
            zone: key.0.clone(),
            kind: Kind::Refused,
            text: format!("{what}: {why}. It is tried again, less and less often"),
            image: key.1.clone(),
            record: None,
        };
        let until = Instant::now() + pause;
        self.failures.insert(
            key,
            Failure {
                times,
                pause,
                until,
                last,
            },
        );
    }

    /// Takes in what was found, and tells once what has lasted.
    pub(super) fn found(&mut self, verdict: &Verdict, now: Timestamp, timing: &CatalogueTiming) {
        let lasting = self
            .failures
            .values()
            .filter(|f| f.times >= LASTING)
            .map(|f| &f.last);
        let all: BTreeSet<Finding> = verdict.findings.iter().chain(lasting).cloned().collect();
        self.found.retain(|f, _| all.contains(f));
        for finding in all {
            self.found.entry(finding).or_insert_with(|| Found {
                since: now,
                from: Instant::now(),
                told: false,
            });
        }
        self.tell(timing);
    }

    /// One line for all that have the same cause, once.
    fn tell(&mut self, timing: &CatalogueTiming) {
        let mut causes: BTreeMap<(ZoneName, Kind, String), (ImageSpec, usize)> = BTreeMap::new();
        let told_before: BTreeSet<_> = self
            .found
            .iter()
            .filter(|(_, f)| f.told)
            .map(|(f, _)| cause(f))
            .collect();
        for (finding, found) in &mut self.found {
            if found.told || found.from.elapsed() < timing.settle {
                continue;
            }
            found.told = true;
            let entry = causes
                .entry(cause(finding))
                .or_insert((finding.image.clone(), 0));
            entry.1 += 1;
        }
        for (cause, (image, count)) in causes {
            if told_before.contains(&cause) {
                continue;
            }
            let (zone, kind, text) = cause;
            tracing::error!(zone = %zone, gap = kind.name(), volume.id = %image, volumes = count, "the catalogue has a gap: {text}");
        }
    }

    pub(super) fn good(&mut self, now: Timestamp) {
        self.last_good = Some(now);
    }
    pub(super) fn last_good(&self) -> Option<Timestamp> {
        self.last_good
    }
    /// All that is found now, with since when, and whether it has lasted.
    pub(super) fn findings(&self) -> impl Iterator<Item = (&Finding, Timestamp, bool)> {
        self.found.iter().map(|(f, at)| (f, at.since, at.told))
    }
}

fn cause(f: &Finding) -> (ZoneName, Kind, String) {
    (f.zone.clone(), f.kind, f.text.clone())
}
