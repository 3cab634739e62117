//! Snapshots: those of the zone that has the say become snapshots of the other zone's record, and go with them.
//!
//! The RBD snapshot is mirrored with the image; the record is made over it as it is. Both zones know it by the id in its name.

use super::{
    Verdict,
    finding::Finding,
    mend::{Change, ImportSnapshot},
    pair::{Pair, Speaker},
    sight::{Record, SnapshotRecord},
    words,
};
use rekindle_common::{
    facts::{CinderFacts, LeftOut, SnapshotFacts},
    mode::MirrorImageMode,
    volume::{Known, Role, VolumeReport},
};
use std::collections::{BTreeMap, BTreeSet};

/// What was said of them becomes so.
pub(super) fn follow(
    pair: &Pair<'_>,
    record: &Record,
    said: &CinderFacts,
    changes: &mut Vec<Change>,
) {
    let (Some(records), Some(report)) = (&pair.here.records, pair.report()) else {
        return;
    };
    let mut mine: BTreeMap<&str, &SnapshotRecord> = BTreeMap::new();
    for s in records.snapshots_of(&record.id) {
        mine.insert(s.rbd_id(), s);
    }
    for s in &said.snapshots {
        match mine.get(s.id.as_str()) {
            Some(is) => named(is, s, said, changes),
            None if arrived(report, s) => changes.push(import(record, s)),
            None => {}
        }
    }
}

/// Whether a snapshot can be expected to be in this zone's image by now. Where it is not, Cinder refuses its import, and it is tried again.
fn arrived(report: &VolumeReport, s: &SnapshotFacts) -> bool {
    match (report.role, report.mirror_mode) {
        // It came with the promotion, or it is lost.
        (Role::Primary, _) => true,
        (Role::Secondary, Some(MirrorImageMode::Journal)) => report.complete_copy == Known::Yes,
        // With the first mirror snapshot that was taken after it.
        (Role::Secondary, Some(MirrorImageMode::Snapshot)) => {
            match (report.last_sync, s.created_at) {
                (Some(sync), Some(made)) => sync.at > made,
                (Some(_) | None, Some(_) | None) => false,
            }
        }
        (Role::Secondary, None) | (Role::NotMirrored | Role::Unknown, _) => false,
    }
}

fn import(record: &Record, s: &SnapshotFacts) -> Change {
    let source_name = format!("snapshot-{}", s.id);
    Change::ImportSnapshot(Box::new(ImportSnapshot {
        project: record.project_id.clone(),
        volume: record.id.clone(),
        metadata: BTreeMap::from([(words::SNAPSHOT.to_owned(), source_name.clone())]),
        source_name,
        name: words::fit(s.name.as_deref()),
        description: words::fit(s.description.as_deref()),
    }))
}

fn named(is: &SnapshotRecord, s: &SnapshotFacts, said: &CinderFacts, changes: &mut Vec<Change>) {
    if is.status != "available" {
        return;
    }
    let keep = |part, now: &Option<String>, to: &Option<String>| {
        let from = if said.left_out.contains(&part) {
            now
        } else {
            to
        };
        words::fit(from.as_deref())
    };
    let name = keep(LeftOut::SnapshotNames, &is.name, &s.name);
    let description = keep(
        LeftOut::SnapshotDescriptions,
        &is.description,
        &s.description,
    );
    let was = (
        words::fit(is.name.as_deref()),
        words::fit(is.description.as_deref()),
    );
    if was != (name.clone(), description.clone()) {
        changes.push(Change::NameSnapshot {
            snapshot: is.id.clone(),
            name,
            description,
        });
    }
}

/// Records of snapshots that are not there any more: only where the zone that has the say answers, and no record of it in any state
/// is of that snapshot.
pub(super) fn gone(pair: &Pair<'_>, record: &Record, changes: &mut Vec<Change>, v: &mut Verdict) {
    let (Some(here), Some(there), Some(theirs)) =
        (&pair.here.records, &pair.there.records, pair.theirs)
    else {
        return;
    };
    // Both ways of knowing must agree: it has the say, and it has said so.
    let follows = pair.speaker() == Speaker::There && pair.role() == Role::Secondary;
    if !follows || pair.told().is_some_and(|t| t.zone != pair.there.zone) || !theirs.takes_changes()
    {
        return;
    }
    let there: BTreeSet<&str> = there
        .snapshots_of(&theirs.id)
        .map(SnapshotRecord::rbd_id)
        .collect();
    for s in here.snapshots_of(&record.id).filter(|s| s.is_calm()) {
        let forget = |changes: &mut Vec<Change>| {
            changes.push(Change::ForgetSnapshot {
                snapshot: s.id.clone(),
            });
        };
        match (there.contains(s.rbd_id()), s.made_by_us()) {
            // Cinder could not make it, most often because it had not arrived: again.
            (true, true) if s.status == "error" => forget(changes),
            (true, true | false) => {}
            (false, true) => forget(changes),
            (false, false) => v.findings.push(Finding::orphan_snapshot(pair, s)),
        }
    }
}
