//! A record whose image is there: what is shown of it, and how it follows what the other zone says.

use super::{
    Verdict,
    finding::Finding,
    import,
    mapping::{Mapping, Side},
    mend::Change,
    pair::{Pair, Speaker, facts_of},
    sight::Record,
    snapshots, words,
};
use rekindle_common::{
    facts::{CinderFacts, LeftOut},
    volume::Role,
};
use std::collections::{BTreeMap, BTreeSet};

const GIB: u64 = 1 << 30;

/// What users see of it, in this zone.
pub(super) fn show(pair: &Pair<'_>, record: &Record, v: &mut Verdict) {
    let set: BTreeMap<_, _> = import::shown(pair)
        .into_iter()
        .filter(|(k, value)| record.metadata.get(k) != Some(value))
        .collect();
    // While the other zone does not answer, what it said last stands.
    let clear: BTreeSet<_> = [
        (words::PEER, pair.not_there()),
        (words::DELETION, pair.not_deleted()),
    ]
    .into_iter()
    .filter(|(key, gone)| *gone && record.metadata.contains_key(*key))
    .map(|(key, _)| key.to_owned())
    .collect();
    if !set.is_empty() || !clear.is_empty() {
        let volume = record.id.clone();
        v.mends.push(pair.mend(Change::Show { volume, set, clear }));
    }
}

/// What the other zone's Cinder says becomes so here; and what this zone's says, once it has the say, is written down.
pub(super) fn follow(pair: &Pair<'_>, record: &Record, mapping: &Mapping, v: &mut Verdict) {
    let mut changes = Vec::new();
    if let Some(said) = pair.said() {
        if moved(pair, record, &said, mapping) {
            v.findings.push(Finding::project_moved(pair, record));
        }
        if let Some(wanted) = other_type(pair, record, &said, mapping) {
            v.findings.push(Finding::type_changed(pair, record, wanted));
        }
        differences(record, &said, &mut changes);
        snapshots::follow(pair, record, &said, &mut changes);
    }
    snapshots::gone(pair, record, &mut changes, v);
    if changes.is_empty() {
        describe(pair, record, v);
    }
    grow(pair, record, &mut changes);
    v.mends.extend(changes.into_iter().map(|c| pair.mend(c)));
}

fn differences(record: &Record, said: &CinderFacts, changes: &mut Vec<Change>) {
    let volume = || record.id.clone();
    let cut = |part| said.left_out.contains(&part);
    let name = words::fit(said.name.as_deref());
    let is = words::fit(record.description.as_deref());
    let description = if cut(LeftOut::Description) {
        is.clone()
    } else {
        words::fit(said.description.as_deref())
    };
    if name != words::fit(record.name.as_deref()) || description != is {
        changes.push(Change::Name {
            volume: volume(),
            name,
            description,
        });
    }
    if said.bootable != record.bootable {
        changes.push(Change::Bootable {
            volume: volume(),
            bootable: said.bootable,
        });
    }

    let set: BTreeMap<_, _> = said
        .image_metadata
        .iter()
        .filter(|(k, value)| record.image_metadata.get(*k) != Some(value))
        .map(|(k, value)| (k.clone(), value.clone()))
        .collect();
    let clear: BTreeSet<_> = record
        .image_metadata
        .keys()
        .filter(|k| !said.image_metadata.contains_key(*k) && !cut(LeftOut::ImageMetadata))
        .cloned()
        .collect();
    if !set.is_empty() || !clear.is_empty() {
        changes.push(Change::ImageMetadata {
            volume: volume(),
            set,
            clear,
        });
    }
}

/// A record is as large as its image, whatever anybody says: what is made of a volume is made of the size that Cinder knows, and what is
/// grown to less than the image has would be cut (hard case 35). So it is in each role: a zone may be lost before its growth was followed.
///
/// Only to exactly what the image has, for Cinder's driver sets an image to the size that it is told. The image was looked at before the
/// record: where the record's own zone grows the volume, Cinder says so by then.
fn grow(pair: &Pair<'_>, record: &Record, changes: &mut Vec<Change>) {
    let volume = || record.id.clone();
    if record.status == "error_extending" && pair.role() == Role::Secondary {
        changes.push(Change::ResetExtending {
            volume: volume(),
            attached: record.attached,
        });
    }
    // What a server holds that waits on no host is `reserved`: Cinder extends it once that server is somewhere.
    let takes_it = ["available", "in-use"].contains(&record.status.as_str());
    let bytes = pair.report().and_then(|r| r.size);
    let whole = bytes.filter(|bytes| bytes % GIB == 0).map(|b| b / GIB);
    if let Some(gib) = whole.filter(|gib| *gib > record.size_gib && takes_it) {
        changes.push(Change::Grow {
            volume: volume(),
            gib,
        });
    }
}

/// Whether the volume is another project's than its record here.
fn moved(pair: &Pair<'_>, record: &Record, said: &CinderFacts, mapping: &Mapping) -> bool {
    if said.zone == pair.here.zone {
        return false;
    }
    let from = Side {
        zone: &pair.there.zone,
        projects: pair.there.projects.as_deref(),
    };
    let to = Side {
        zone: &pair.here.zone,
        projects: pair.here.projects.as_deref(),
    };
    // A gap is no sign of a move.
    mapping
        .project(from, &said.project_id, to)
        .is_ok_and(|p| p.id != record.project_id)
}

/// The type that the record should have, where it has another: the volume was retyped after its record was made. A gap in
/// the mapping is no sign of that.
fn other_type<'a>(
    pair: &Pair<'_>,
    record: &Record,
    said: &'a CinderFacts,
    mapping: &'a Mapping,
) -> Option<&'a str> {
    let follows = said.zone == pair.there.zone && pair.speaker() == Speaker::There;
    let name = said.volume_type.as_deref()?;
    let wanted = mapping.volume_type(&pair.there.zone, name, &pair.here.zone);
    wanted
        .ok()
        .filter(|w| follows && record.volume_type.as_deref() != Some(w))
}

/// This zone has the say and its record is as it was said last: from now on it says it itself.
fn describe(pair: &Pair<'_>, record: &Record, v: &mut Verdict) {
    let (Speaker::Here, Some(records)) = (pair.speaker(), &pair.here.records) else {
        return;
    };
    // Written where the image takes it: on the primary, if there is exactly one.
    let at = match (pair.role(), pair.their_role()) {
        (Role::Primary, Role::Primary) => return,
        (Role::Primary, _) => pair.here,
        (_, Role::Primary) => pair.there,
        (_, _) => return,
    };
    // What is no Cinder's is not passed on; the sidecar would refuse it.
    let Ok(facts) = facts_of(pair.here, records, record).fitted() else {
        return;
    };
    if pair.told() == Some(&facts) {
        return;
    }
    let mut mend = pair.mend(Change::Describe {
        facts: Box::new(facts),
    });
    mend.zone = at.zone.clone();
    v.mends.push(mend);
}
