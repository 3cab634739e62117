//! Records with our metadata whose image is in no list: what became of it is asked for by name, and only then decided.
//!
//! | this zone's image | the other zone's | its Cinder | the record |
//! |---|---|---|---|
//! | there, not replicated | any | any | becomes an ordinary volume: our metadata is taken away |
//! | not there | listed | any | left, and named: a resync makes it anew, or it is an orphan |
//! | not there | not there, or not replicated | has no such volume, or one that is not replicated | forgotten, if it was made here and nobody uses it |
//! | not there | not there | has a record | left, and named in both zones |
//! | any is unknown | | | left; nothing is known |

use super::{
    Ask, Verdict,
    finding::Finding,
    mend::Change,
    pair::Pair,
    sight::{Images, Named, Record, Records, ZoneSight},
    words,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn gone(here: &ZoneSight, there: &ZoneSight, records: &Records, v: &mut Verdict) {
    let unlisted = records
        .volumes
        .values()
        .filter(|r| r.is_marked() && here.images.get(&r.image).is_none());
    for record in unlisted {
        let pair = Pair::new(here, there, &record.image);
        if record.import_failed() {
            // The copy went before Cinder could be asked again.
            let volume = record.id.clone();
            v.mends.push(pair.mend(Change::DropFailedImport { volume }));
            continue;
        }
        match named(here, record, v) {
            Named::Unknown | Named::Replicated => {}
            Named::Plain => unmark(&pair, record, v),
            Named::NotThere => without_image(&pair, record, records, v),
        }
    }
}

/// What the zone said of the image by name; where it was not asked yet, it is.
fn named(zone: &ZoneSight, record: &Record, v: &mut Verdict) -> Named {
    match zone.named.get(&record.image) {
        Some(named) => *named,
        None => {
            v.asks.insert(Ask {
                zone: zone.zone.clone(),
                image: record.image.clone(),
            });
            Named::Unknown
        }
    }
}

/// It is an ordinary volume from now on, and its users'.
fn unmark(pair: &Pair<'_>, record: &Record, v: &mut Verdict) {
    if !record.takes_changes() {
        return;
    }
    let ours = words::ON_VOLUMES.iter().map(|k| (*k).to_owned());
    let clear: BTreeSet<String> = ours.filter(|k| record.metadata.contains_key(k)).collect();
    v.mends.push(pair.mend(Change::Show {
        volume: record.id.clone(),
        set: BTreeMap::new(),
        clear,
    }));
}

fn without_image(pair: &Pair<'_>, record: &Record, records: &Records, v: &mut Verdict) {
    match &pair.there.images {
        Images::Silent { .. } | Images::Partial(_) => return,
        Images::Whole(images) => {
            if let Some(theirs) = images.get(pair.image) {
                let why = format!(
                    "its image is not in this zone, and in {} it is \"{}\": it is being made anew, or rbd-mirror does not bring it",
                    pair.there.zone, theirs.status
                );
                v.findings.push(Finding::orphan_record(pair, record, &why));
                return;
            }
        }
    }
    let theirs = named(pair.there, record, v);
    match (theirs, &pair.there.records) {
        (Named::Unknown | Named::Replicated, _) | (_, None) => {}
        (Named::NotThere, Some(_)) if pair.theirs.is_some() => {
            if pair.theirs.is_some_and(|t| t.status != "deleting") {
                let why = format!(
                    "no image of it is there in any zone, and {}'s Cinder has it too",
                    pair.there.zone
                );
                v.findings.push(Finding::orphan_record(pair, record, &why));
            }
        }
        (Named::NotThere | Named::Plain, Some(_)) => forget(pair, record, records, v),
    }
}

/// There is no copy any more, and both zones have said so.
fn forget(pair: &Pair<'_>, record: &Record, records: &Records, v: &mut Verdict) {
    if !record.made_by_us() {
        let why = "its image is gone from both zones, and this zone made the record itself";
        v.findings.push(Finding::orphan_record(pair, record, why));
        return;
    }
    if record.in_use() {
        let why = format!(
            "its image is gone, and Cinder says \"{}\": somebody uses it",
            record.status
        );
        if record.status != "deleting" {
            v.findings.push(Finding::orphan_record(pair, record, &why));
        }
        return;
    }
    // Cinder forgets no volume that has snapshots.
    let mut left = false;
    for s in records.snapshots_of(&record.id) {
        left = true;
        if s.made_by_us() && s.is_calm() {
            let snapshot = s.id.clone();
            v.mends.push(pair.mend(Change::ForgetSnapshot { snapshot }));
        } else if !s.made_by_us() {
            let why =
                "its image is gone from both zones, and a snapshot of it was made in this zone";
            v.findings.push(Finding::orphan_record(pair, record, why));
        }
    }
    if !left {
        let volume = record.id.clone();
        v.mends.push(pair.mend(Change::ForgetVolume { volume }));
    }
}
