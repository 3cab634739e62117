//! An image without a record in this zone: one is made, or a person is told why none can be.

use super::{
    Verdict,
    finding::{Finding, Kind},
    mapping::{Mapping, Side, Unmapped},
    mend::{Change, ImportVolume},
    pair::{Pair, facts_of},
    words,
};
use rekindle_common::{
    deletion::Deletion,
    facts::CinderFacts,
    volume::{Role, VolumeReport},
};
use std::collections::BTreeMap;

/// What this zone's record is to be made of.
enum Source {
    /// Of this.
    Facts(Box<CinderFacts>),
    /// A person must see to it.
    Orphan,
    /// Nothing says what it is.
    Undescribed,
    /// Not now.
    Later,
}

pub(super) fn import(pair: &Pair<'_>, report: &VolumeReport, mapping: &Mapping, v: &mut Verdict) {
    // Others are no volumes of a Cinder: made by hand, or safety copies.
    if !words::is_volume_image(pair.image.image()) {
        return;
    }
    // Deleted in Cinder, and going.
    if report.deletion.is_some() {
        return;
    }
    match source(pair, report.role) {
        Source::Facts(facts) => match record(pair, &facts, mapping) {
            Ok(new) => v.mends.push(pair.mend(Change::ImportVolume(Box::new(new)))),
            Err(gaps) => v.findings.extend(gaps),
        },
        Source::Orphan => v.findings.push(Finding::orphan_image(pair)),
        Source::Undescribed => v.findings.push(Finding::undescribed(pair)),
        Source::Later => {}
    }
}

fn source(pair: &Pair<'_>, role: Role) -> Source {
    let told = pair.told();
    let said_there = told.filter(|t| t.zone == pair.there.zone);
    let theirs = match (&pair.there.records, pair.theirs) {
        (Some(records), Some(theirs)) if theirs.takes_changes() => {
            Some(facts_of(pair.there, records, theirs))
        }
        (Some(_) | None, _) => None,
    };
    match role {
        // Which of both is the volume, nobody has said yet.
        Role::Primary if pair.is_split() || pair.their_role() == Role::Primary => Source::Later,
        // It came over from the other zone, and this one had no record when it did.
        Role::Primary => match (said_there, theirs) {
            (Some(_), Some(facts)) => Source::Facts(Box::new(facts)),
            // It is being made or taken away there.
            (Some(_), None) if pair.theirs.is_some() => Source::Later,
            (Some(told), None) => Source::Facts(Box::new(told.clone())),
            (None, _) => Source::Orphan,
        },
        Role::Secondary => match (theirs, told) {
            (Some(facts), _) => Source::Facts(Box::new(facts)),
            // Being made or taken away there, or unmanaged there on purpose: an orphan of that zone, if it is primary there.
            (None, _) if pair.theirs.is_some() || pair.not_there() => Source::Later,
            (None, Some(told)) => Source::Facts(Box::new(told.clone())),
            (None, None) => Source::Undescribed,
        },
        Role::NotMirrored | Role::Unknown => Source::Later,
    }
}

/// The record, or what is in its way.
fn record(
    pair: &Pair<'_>,
    facts: &CinderFacts,
    mapping: &Mapping,
) -> Result<ImportVolume, Vec<Finding>> {
    let (here, there) = (pair.here, pair.there);
    // What was said by this zone's own Cinder needs no mapping.
    let own = facts.zone == here.zone;
    let mut gaps = Vec::new();
    let mut gap = |kind, text: String| gaps.push(Finding::new(pair, kind, None, text));
    let unmapped = |why: Unmapped| match why {
        // That Keystone does not answer now: no gap, and no record yet.
        Unmapped::Unknown { .. } => None,
        Unmapped::NoEntry { .. } | Unmapped::NoSuch { .. } | Unmapped::Ambiguous { .. } => {
            Some(why.to_string())
        }
    };

    let project = if own {
        facts.project_id.clone()
    } else {
        let from = Side {
            zone: &there.zone,
            projects: there.projects.as_deref(),
        };
        let to = Side {
            zone: &here.zone,
            projects: here.projects.as_deref(),
        };
        match mapping.project(from, &facts.project_id, to) {
            Ok(p) => p.id.clone(),
            Err(why) => {
                if let Some(text) = unmapped(why) {
                    gap(Kind::Project, text);
                }
                return Err(gaps);
            }
        }
    };
    let volume_type = match &facts.volume_type {
        None => None,
        Some(name) if own => Some(name.clone()),
        Some(name) => match mapping.volume_type(&there.zone, name, &here.zone) {
            Ok(name) => Some(name.to_owned()),
            Err(why) => {
                if let Some(text) = unmapped(why) {
                    gap(Kind::VolumeType, text);
                }
                return Err(gaps);
            }
        },
    };
    if let Some(key) = &facts.encryption_key_id {
        gap(Kind::Key, no_key(pair, key, mapping));
    }
    let host = here.hosts.get(pair.image.pool()).cloned();
    if host.is_none() {
        let text = format!(
            "no host of Cinder's is known for the pool {}: name it in clouds.{}.backends",
            pair.image.pool(),
            here.zone
        );
        gap(Kind::Backend, text);
    }
    let (Some(host), true) = (host, gaps.is_empty()) else {
        return Err(gaps);
    };
    let mut metadata = shown(pair);
    metadata.insert(words::IMAGE.to_owned(), pair.image.image().to_owned());
    Ok(ImportVolume {
        project,
        host,
        name: words::fit(facts.name.as_deref()),
        description: words::fit(facts.description.as_deref()),
        volume_type,
        bootable: facts.bootable,
        metadata,
    })
}

fn no_key(pair: &Pair<'_>, key: &str, mapping: &Mapping) -> String {
    let (here, there) = (&pair.here.zone, &pair.there.zone);
    let unmapped: Option<Unmapped> = mapping.key(there, key, here).err();
    match unmapped {
        Some(why) => why.to_string(),
        None => format!(
            "it is encrypted, and Cinder takes no key with an image that it is given: its copy is kept and can be promoted, and \
             its record in {here} must be made by hand then"
        ),
    }
}

/// Our metadata, as it is to be on this zone's record.
pub(super) fn shown(pair: &Pair<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([(words::ZONE.to_owned(), pair.here.zone.to_string())]);
    if let Some(report) = pair.report() {
        all.insert(words::STATUS.to_owned(), report.status.to_string());
        if let Some(mode) = report.mode {
            all.insert(words::MODE.to_owned(), mode.name().to_owned());
        }
    }
    let deletion = pair.deletion().map(Deletion::in_words);
    if let Some(text) = words::fit(deletion.as_deref()) {
        all.insert(words::DELETION.to_owned(), text);
    }
    if let Some(theirs) = pair.theirs {
        all.insert(
            words::PEER.to_owned(),
            format!("{}/{}", pair.there.zone, theirs.id),
        );
    }
    all
}
