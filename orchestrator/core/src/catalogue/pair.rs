//! One image with both zones' records, as one of the zones sees it; and which zone's Cinder has the say about it.

use super::{
    mend::{Change, Mend},
    sight::{Record, Records, ZoneSight},
    words,
};
use rekindle_common::{
    ImageSpec,
    deletion::Deletion,
    facts::{CinderFacts, SnapshotFacts},
    status::VolumeStatus,
    volume::{Role, VolumeReport},
};

/// Whose Cinder has the say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The zone whose catalogue is looked at.
    Here,
    /// The other one.
    There,
    /// Nobody can tell, or both say so: nothing is changed by anybody's word.
    Nobody,
}

/// An image, seen from one zone.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub here: &'a ZoneSight,
    pub there: &'a ZoneSight,
    pub image: &'a ImageSpec,
    /// This zone's record.
    pub mine: Option<&'a Record>,
    /// More of them.
    pub doubles: Vec<&'a Record>,
    /// The other zone's.
    pub theirs: Option<&'a Record>,
}

impl<'a> Pair<'a> {
    pub(super) fn new(here: &'a ZoneSight, there: &'a ZoneSight, image: &'a ImageSpec) -> Self {
        let mut all = here.records.iter().flat_map(|r| r.of(image));
        let mine = all.next();
        Self {
            here,
            there,
            image,
            mine,
            doubles: all.collect(),
            theirs: there.records.as_ref().and_then(|r| r.of(image).next()),
        }
    }

    pub(super) fn mend(&self, change: Change) -> Mend {
        Mend {
            zone: self.here.zone.clone(),
            image: self.image.clone(),
            change,
        }
    }

    pub(super) fn report(&self) -> Option<&'a VolumeReport> {
        self.here.images.get(self.image)
    }
    fn their_report(&self) -> Option<&'a VolumeReport> {
        self.there.images.get(self.image)
    }
    pub(super) fn role(&self) -> Role {
        self.report().map_or(Role::Unknown, |r| r.role)
    }
    pub(super) fn their_role(&self) -> Role {
        self.their_report().map_or(Role::Unknown, |r| r.role)
    }

    /// Who has the say.
    pub(super) fn speaker(&self) -> Speaker {
        let afar = |r: Option<&Record>| r.is_some_and(Record::served_from_afar);
        match (afar(self.mine), afar(self.theirs)) {
            (true, false) => return Speaker::Here,
            (false, true) => return Speaker::There,
            (true, true) => return Speaker::Nobody,
            (false, false) => {}
        }
        match (self.role(), self.their_role()) {
            (Role::Primary, Role::Primary) => Speaker::Nobody,
            (Role::Primary, _) => Speaker::Here,
            (_, Role::Primary) => Speaker::There,
            // A copy, and the other zone does not say what it is: the last word that has arrived stands.
            (Role::Secondary, Role::Unknown) => Speaker::There,
            (Role::Secondary | Role::NotMirrored | Role::Unknown, _) => Speaker::Nobody,
        }
    }

    pub(super) fn is_split(&self) -> bool {
        let split =
            |r: Option<&VolumeReport>| r.is_some_and(|r| r.status == VolumeStatus::ErrorSplitBrain);
        split(self.report()) || split(self.their_report())
    }

    /// The mark of a deletion. It is written to the primary, and travels: in snapshot mode with the next snapshot.
    pub(super) fn deletion(&self) -> Option<&'a Deletion> {
        let of = |r: Option<&'a VolumeReport>| r.and_then(|r| r.deletion.as_ref());
        match (self.role(), self.their_role()) {
            (Role::Primary, _) => of(self.report()),
            (_, Role::Primary) => of(self.their_report()),
            (Role::Secondary | Role::NotMirrored | Role::Unknown, _) => {
                of(self.report()).or_else(|| of(self.their_report()))
            }
        }
    }

    /// Whether it is known that there is no such mark. A copy knows of none only what has arrived.
    pub(super) fn not_deleted(&self) -> bool {
        let primary = self.role() == Role::Primary || self.their_role() == Role::Primary;
        primary && self.deletion().is_none()
    }

    /// The description that the image carries: the primary's own where it can be read, for it travels from there.
    pub(super) fn told(&self) -> Option<&'a CinderFacts> {
        let of = |r: Option<&'a VolumeReport>| r.and_then(|r| r.cinder.as_ref());
        match self.their_role() {
            Role::Primary => of(self.their_report()).or_else(|| of(self.report())),
            Role::Secondary | Role::NotMirrored | Role::Unknown => {
                of(self.report()).or_else(|| of(self.their_report()))
            }
        }
    }

    /// What this zone's record has to follow now; `None`: nothing, or it is not known.
    pub(super) fn said(&self) -> Option<CinderFacts> {
        let told = self.told();
        let last_said_there = told.is_none_or(|t| t.zone == self.there.zone);
        if !last_said_there {
            // Said here last. The other zone takes that over before it speaks.
            return None;
        }
        match self.speaker() {
            Speaker::There => match (&self.there.records, self.theirs) {
                (Some(records), Some(theirs)) if theirs.takes_changes() => {
                    Some(facts_of(self.there, records, theirs))
                }
                (Some(_), _) => None,
                (None, _) => told.cloned(),
            },
            // Not said here yet: first the record takes over what was said there.
            Speaker::Here => told.cloned(),
            Speaker::Nobody => None,
        }
    }

    /// Whether the other zone is known to have no record of it.
    pub(super) fn not_there(&self) -> bool {
        self.there.records.is_some() && self.theirs.is_none()
    }
}

/// What a zone's Cinder knows of a volume.
pub(super) fn facts_of(zone: &ZoneSight, records: &Records, record: &Record) -> CinderFacts {
    let mut snapshots: Vec<SnapshotFacts> = records
        .snapshots_of(&record.id)
        // One that is being made or taken away is not there for others.
        .filter(|s| s.status == "available" || s.status == "backing-up")
        .map(|s| SnapshotFacts {
            id: s.rbd_id().to_owned(),
            name: words::fit(s.name.as_deref()),
            description: words::fit(s.description.as_deref()),
            created_at: s.created_at,
        })
        .collect();
    // The oldest first: the last are left out where there is no room.
    snapshots.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    snapshots.dedup_by(|a, b| a.id == b.id);
    CinderFacts {
        zone: zone.zone.clone(),
        id: record.id.clone(),
        project_id: record.project_id.clone(),
        name: words::fit(record.name.as_deref()),
        description: words::fit(record.description.as_deref()),
        volume_type: record.volume_type.clone(),
        size_gib: record.size_gib,
        bootable: record.bootable,
        image_metadata: record.image_metadata.clone(),
        encryption_key_id: record.encryption_key_id.clone(),
        snapshots,
        left_out: Vec::new(),
    }
}
