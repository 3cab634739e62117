//! The other zone's catalogue: each replicated volume of a zone is a volume of the other zone's Cinder too.
//!
//! ```text
//!   images by each zone's sidecar  --+
//!   records of each zone's Cinder  --+--> decide --> Mend (what is to be written), Finding (what a person must look at),
//!   the mapping of names           --+                Ask (an image to be looked at by its name before a record may go)
//! ```
//!
//! Level-triggered: it looks at what is, never at what happened, so that a lost answer, a crash or a new leader changes nothing.
//! Both zones are treated alike. The words that count:
//!
//! * **record**: Cinder's row for a volume or a snapshot. **Image**: what lies in Ceph, `volume-UUID`, with the same name in both zones.
//! * **Shown**: each record of a replicated image carries its status as metadata ([`words::STATUS`] and its kin).
//! * **Speaks**: of one image, one zone's Cinder has the say about name, size, bootable and the rest: the one whose image is primary,
//!   or the one that Cinder itself failed over and that serves the image from the other zone's cluster. The other zone's record follows.
//!   What the speaker says is written into the image's metadata (`Describe`), so that it is there when the speaker is not.
//! * **Taken over**: a zone that begins to speak first brings its own record to what was said last, and then says it itself.
//!
//! Unknown is never "gone". A record is forgotten only if it was made here, is not attached, and both zones' sidecars have said, for
//! that very image, that there is no copy any more; see [`gone`]. An image is never touched but for its description.
//!
//! | module | what it holds |
//! |---|---|
//! | [`sight`] | what was seen, with what was not |
//! | [`words`] | the metadata's keys, and texts as Cinder keeps them |
//! | [`mend`], [`finding`] | what comes out |
//! | [`pair`] | one image with both zones' records, and who speaks |
//! | [`import`], [`follow`], [`snapshots`], [`gone`] | the rules |
//! | [`mapping`] | whose project, type and key are which in the other zone |

pub mod finding;
mod follow;
mod gone;
mod import;
pub mod mapping;
pub mod mend;
mod pair;
pub mod sight;
mod snapshots;
pub mod words;

pub use finding::{Finding, Kind};
pub use mend::{Change, Mend};
pub use sight::{Images, Named, Record, Records, SnapshotRecord, ZoneSight};

use mapping::Mapping;
use pair::Pair;
use rekindle_common::{ImageSpec, ZoneName, duration::Span, status::VolumeStatus};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A sidecar that is silent for so long leaves nothing known of its zone's volumes, and their records say so. A restart is shorter.
pub const SILENT_FOR: Span = Span::secs(60);

/// An image that must be looked at by its name before anything is decided about a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// In which zone.
    pub zone: ZoneName,
    /// Which.
    pub image: ImageSpec,
}

/// One zone's side of a replicated volume, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownSide {
    /// The volume's id in that zone's Cinder; `None`: there is none, or that Cinder does not answer.
    pub volume: Option<String>,
    /// Its name there.
    pub name: Option<String>,
    /// What its image is; `None`: there is none, or that sidecar does not answer.
    pub status: Option<VolumeStatus>,
}

/// A replicated volume with both its sides, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The image.
    pub image: ImageSpec,
    /// Each zone's side.
    pub sides: BTreeMap<ZoneName, ShownSide>,
}

/// What a look comes to. All lists are in an order that depends on nothing but the look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What is to be written, the first first.
    pub mends: Vec<Mend>,
    /// What a person must look at.
    pub findings: Vec<Finding>,
    /// What must be looked at before more can be decided.
    pub asks: BTreeSet<Ask>,
    /// All replicated volumes.
    pub shown: Vec<Shown>,
}

/// What is to be done about both zones' catalogues.
#[must_use]
pub fn decide(a: &ZoneSight, b: &ZoneSight, mapping: &Mapping) -> Verdict {
    let mut v = Verdict::default();
    for (here, there) in [(a, b), (b, a)] {
        keep(here, there, mapping, &mut v);
    }
    v.shown = shown(a, b);
    v.mends.sort_by_key(Mend::order);
    v.findings.sort();
    v.findings.dedup();
    v
}

/// One zone's catalogue.
fn keep(here: &ZoneSight, there: &ZoneSight, mapping: &Mapping, v: &mut Verdict) {
    let Some(records) = &here.records else {
        return;
    };
    let images = match &here.images {
        Images::Silent { held } => {
            if *held >= SILENT_FOR {
                unknown(here, records, v);
            }
            return;
        }
        Images::Partial(images) | Images::Whole(images) => images,
    };
    for report in images.values() {
        let pair = Pair::new(here, there, &report.volume);
        match pair.mine {
            Some(record) => kept(&pair, record, mapping, v),
            None => import::import(&pair, report, mapping, v),
        }
    }
    match &here.images {
        Images::Whole(_) => gone::gone(here, there, records, v),
        // A list that may lack some says nothing of those that it lacks.
        Images::Partial(_) | Images::Silent { .. } => {}
    }
}

/// A record whose image is there.
fn kept(pair: &Pair<'_>, record: &Record, mapping: &Mapping, v: &mut Verdict) {
    for other in &pair.doubles {
        v.findings.push(Finding::double(pair, record, other));
    }
    if record.import_failed() {
        v.mends.push(pair.mend(Change::DropFailedImport {
            volume: record.id.clone(),
        }));
        v.findings.push(Finding::import_failed(pair, record));
        return;
    }
    if !record.takes_changes() {
        return;
    }
    follow::show(pair, record, v);
    follow::follow(pair, record, mapping, v);
}

/// Nothing is known of this zone's volumes.
fn unknown(here: &ZoneSight, records: &Records, v: &mut Verdict) {
    let text = VolumeStatus::ErrorUnknown.as_str();
    for record in records.volumes.values() {
        let shows = record.metadata.get(words::STATUS);
        if record.takes_changes() && shows.is_some_and(|s| s != text) {
            v.mends.push(Mend {
                zone: here.zone.clone(),
                image: record.image.clone(),
                change: Change::Show {
                    volume: record.id.clone(),
                    set: BTreeMap::from([(words::STATUS.to_owned(), text.to_owned())]),
                    clear: BTreeSet::new(),
                },
            });
        }
    }
}

fn shown(a: &ZoneSight, b: &ZoneSight) -> Vec<Shown> {
    let all: BTreeSet<&ImageSpec> = [a, b].iter().flat_map(|z| z.images.all().keys()).collect();
    let side = |z: &ZoneSight, image: &ImageSpec| {
        let record = z.records.as_ref().and_then(|r| r.of(image).next());
        let side = ShownSide {
            volume: record.map(|r| r.id.clone()),
            name: record.and_then(|r| r.name.clone()),
            status: z.images.get(image).map(|r| r.status),
        };
        (z.zone.clone(), side)
    };
    all.into_iter()
        .map(|image| Shown {
            image: image.clone(),
            sides: BTreeMap::from([side(a, image), side(b, image)]),
        })
        .collect()
}

#[cfg(test)]
mod tests;
