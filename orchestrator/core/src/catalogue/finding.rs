//! What a person must look at. Each says what is so and what to do; none is ever settled by taking something away.

use super::{
    pair::Pair,
    sight::{Record, SnapshotRecord},
};
use rekindle_common::{ImageSpec, ZoneName, volume::Role};
use serde::{Deserialize, Serialize};

/// Of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A project has none in the other zone.
    Project,
    /// A type has none in the other zone.
    VolumeType,
    /// A key has none in the other zone, or Cinder takes none.
    Key,
    /// No host of Cinder's is known for the pool.
    Backend,
    /// A volume changed its project after its record in the other zone was made.
    ProjectMoved,
    /// A volume changed its type after its record in the other zone was made.
    TypeChanged,
    /// Nothing says what a copy is, and the zone that knows does not answer.
    Undescribed,
    /// Cinder took an import and could not carry it out.
    ImportFailed,
    /// A write was refused or failed, again and again.
    Refused,
    /// More than one record of an image.
    Double,
    /// An image without a record, where a record must be made by hand.
    OrphanImage,
    /// A record without an image.
    OrphanRecord,
    /// A snapshot's record without a snapshot.
    OrphanSnapshot,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Project,
        Self::VolumeType,
        Self::Key,
        Self::Backend,
        Self::ProjectMoved,
        Self::TypeChanged,
        Self::Undescribed,
        Self::ImportFailed,
        Self::Refused,
        Self::Double,
        Self::OrphanImage,
        Self::OrphanRecord,
        Self::OrphanSnapshot,
    ];

    /// Its name in metrics and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::VolumeType => "volume_type",
            Self::Key => "key",
            Self::Backend => "backend",
            Self::ProjectMoved => "project_moved",
            Self::TypeChanged => "type_changed",
            Self::Undescribed => "undescribed",
            Self::ImportFailed => "import_failed",
            Self::Refused => "refused",
            Self::Double => "double",
            Self::OrphanImage => "orphan_image",
            Self::OrphanRecord => "orphan_record",
            Self::OrphanSnapshot => "orphan_snapshot",
        }
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// In which zone something is to be done.
    pub zone: ZoneName,
    /// Of which kind.
    pub kind: Kind,
    /// What is so, and what to do. The same for all that have the same cause.
    pub text: String,
    /// About which image.
    pub image: ImageSpec,
    /// And which record, if there is one.
    pub record: Option<String>,
}

impl Finding {
    pub(super) fn new(
        pair: &Pair<'_>,
        kind: Kind,
        record: Option<&str>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            zone: pair.here.zone.clone(),
            kind,
            text: text.into(),
            image: pair.image.clone(),
            record: record.map(str::to_owned),
        }
    }

    pub(super) fn double(pair: &Pair<'_>, first: &Record, other: &Record) -> Self {
        let text = format!(
            "is a second record of an image that {} is the record of. Only one may be used: `cinder unmanage` the other, which touches no image",
            first.id
        );
        Self::new(pair, Kind::Double, Some(&other.id), text)
    }

    pub(super) fn import_failed(pair: &Pair<'_>, record: &Record) -> Self {
        let text = "Cinder took the import and could not carry it out; it is tried again, less and less often. Its reason is in \
                    `cinder message-list` and in cinder-volume's log: most often a quota of the project, or a type that asks for another backend";
        Self::new(pair, Kind::ImportFailed, Some(&record.id), text)
    }

    pub(super) fn project_moved(pair: &Pair<'_>, record: &Record) -> Self {
        let text = "the volume was given to another project in the other zone, and Cinder lets nobody move a record: \
                    `openstack volume transfer request create` here, and accept it in the right project";
        Self::new(pair, Kind::ProjectMoved, Some(&record.id), text)
    }

    pub(super) fn type_changed(pair: &Pair<'_>, record: &Record, wanted: &str) -> Self {
        // Cinder's driver retypes no copy: it would change how the image is mirrored.
        let do_what = match pair.role() {
            Role::Secondary => {
                "`openstack volume delete --purge` it here: that takes the copy's record alone away, and it is made again with the right type"
            }
            Role::Primary | Role::NotMirrored | Role::Unknown => {
                "`openstack volume set --type` it here"
            }
        };
        let text = format!(
            "the volume was retyped in the other zone, and its record here should have the type {wanted:?}: {do_what}"
        );
        Self::new(pair, Kind::TypeChanged, Some(&record.id), text)
    }

    pub(super) fn undescribed(pair: &Pair<'_>) -> Self {
        let text = format!(
            "a copy that nothing describes: it was replicated by an earlier version or without Cinder. Its record is made once {}'s Cinder answers",
            pair.there.zone
        );
        Self::new(pair, Kind::Undescribed, None, text)
    }

    pub(super) fn orphan_image(pair: &Pair<'_>) -> Self {
        let text = "is primary here, and no volume of this Cinder has it: `cinder manage --id-type source-name HOST IMAGE` gives it a record, or `rekindle \
                    volume unreplicate` takes it out of the catalogue's care";
        Self::new(pair, Kind::OrphanImage, None, text)
    }

    pub(super) fn orphan_record(pair: &Pair<'_>, record: &Record, why: &str) -> Self {
        let text = format!(
            "{why}. Nothing is taken away: if it is meant to be gone, `openstack volume delete` it"
        );
        Self::new(pair, Kind::OrphanRecord, Some(&record.id), text)
    }

    pub(super) fn orphan_snapshot(pair: &Pair<'_>, snapshot: &SnapshotRecord) -> Self {
        let text = "the snapshot was deleted in the other zone while that one was primary, and this zone made the record itself: \
                    `openstack volume snapshot delete` it";
        Self::new(pair, Kind::OrphanSnapshot, Some(&snapshot.id), text)
    }
}
