//! What is to be written, and in which order.

use rekindle_common::{ImageSpec, ZoneName, facts::CinderFacts};
use std::collections::{BTreeMap, BTreeSet};

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// In which zone.
    pub zone: ZoneName,
    /// About which image. Those of one image are done one after the other, in their order.
    pub image: ImageSpec,
    /// What.
    pub change: Change,
}

/// What is to be written. All but `Describe` go to the zone's Cinder; each can be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A record that Cinder could not make is taken away, to be tried again.
    DropFailedImport {
        /// The volume's id.
        volume: String,
    },
    /// A copy that refused to be extended is again what it was.
    ResetExtending {
        /// The volume's id.
        volume: String,
        /// Whether a server holds it: then that is what it is again.
        attached: bool,
    },
    /// A record is made of an image that is there.
    ImportVolume(Box<ImportVolume>),
    /// The record takes on the size that its image has.
    Grow {
        /// The volume's id.
        volume: String,
        /// To.
        gib: u64,
    },
    /// Our metadata on a volume.
    Show {
        /// The volume's id.
        volume: String,
        /// These are set.
        set: BTreeMap<String, String>,
        /// These are taken away.
        clear: BTreeSet<String>,
    },
    /// Name and description.
    Name {
        /// The volume's id.
        volume: String,
        /// Its name; `None`: it has none.
        name: Option<String>,
        /// Its description; `None`: it has none.
        description: Option<String>,
    },
    /// Whether it can be booted from.
    Bootable {
        /// The volume's id.
        volume: String,
        /// Whether.
        bootable: bool,
    },
    /// What the image in Glance said.
    ImageMetadata {
        /// The volume's id.
        volume: String,
        /// These are set.
        set: BTreeMap<String, String>,
        /// These are taken away.
        clear: BTreeSet<String>,
    },
    /// A record is made of a snapshot that is there.
    ImportSnapshot(Box<ImportSnapshot>),
    /// A snapshot's name and description.
    NameSnapshot {
        /// The snapshot's id.
        snapshot: String,
        /// Its name; `None`: it has none.
        name: Option<String>,
        /// Its description; `None`: it has none.
        description: Option<String>,
    },
    /// What this zone's Cinder knows is written to the primary's image.
    Describe {
        /// It.
        facts: Box<CinderFacts>,
    },
    /// A snapshot's record is taken away; nothing else is touched.
    ForgetSnapshot {
        /// The snapshot's id.
        snapshot: String,
    },
    /// A volume's record is taken away; nothing else is touched.
    ForgetVolume {
        /// The volume's id.
        volume: String,
    },
}

/// A volume's record to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportVolume {
    /// Whose it is to be: the project's id in the zone.
    pub project: String,
    /// Cinder's host for the pool.
    pub host: String,
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its type's name in the zone.
    pub volume_type: Option<String>,
    /// Whether it can be booted from.
    pub bootable: bool,
    /// What is shown from the start.
    pub metadata: BTreeMap<String, String>,
}

/// A snapshot's record to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSnapshot {
    /// Whose it is to be: its volume's project.
    pub project: String,
    /// Its volume's id.
    pub volume: String,
    /// The RBD snapshot's name, `snapshot-UUID`.
    pub source_name: String,
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// By which it is found again.
    pub metadata: BTreeMap<String, String>,
}

impl Change {
    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DropFailedImport { .. } => "drop_failed_import",
            Self::ResetExtending { .. } => "reset_extending",
            Self::ImportVolume(_) => "import_volume",
            Self::Grow { .. } => "grow",
            Self::Show { .. } => "show",
            Self::Name { .. } => "name",
            Self::Bootable { .. } => "bootable",
            Self::ImageMetadata { .. } => "image_metadata",
            Self::ImportSnapshot(_) => "import_snapshot",
            Self::NameSnapshot { .. } => "name_snapshot",
            Self::Describe { .. } => "describe",
            Self::ForgetSnapshot { .. } => "forget_snapshot",
            Self::ForgetVolume { .. } => "forget_volume",
        }
    }

    /// What of it comes first where a round has more than it may do: volumes that are not there yet, then what is shown of
    /// those that are, then the rest. What is taken away comes last.
    fn rank(&self) -> u8 {
        match self {
            Self::DropFailedImport { .. } => 0,
            Self::ResetExtending { .. } => 1,
            Self::ImportVolume(_) => 2,
            Self::Show { .. } => 3,
            Self::Grow { .. } => 4,
            Self::Name { .. } => 5,
            Self::Bootable { .. } => 6,
            Self::ImageMetadata { .. } => 7,
            Self::ImportSnapshot(_) => 8,
            Self::NameSnapshot { .. } => 9,
            Self::Describe { .. } => 10,
            Self::ForgetSnapshot { .. } => 11,
            Self::ForgetVolume { .. } => 12,
        }
    }

    /// Which record it is about, so that the order is the same each time.
    fn about(&self) -> &str {
        match self {
            Self::ImportVolume(_) | Self::Describe { .. } => "",
            Self::ImportSnapshot(s) => &s.source_name,
            Self::DropFailedImport { volume }
            | Self::ResetExtending { volume, .. }
            | Self::Grow { volume, .. }
            | Self::Show { volume, .. }
            | Self::Name { volume, .. }
            | Self::Bootable { volume, .. }
            | Self::ImageMetadata { volume, .. }
            | Self::ForgetVolume { volume } => volume,
            Self::NameSnapshot { snapshot, .. } | Self::ForgetSnapshot { snapshot } => snapshot,
        }
    }

    /// Whether it takes a record away.
    #[must_use]
    pub fn forgets(&self) -> bool {
        match self {
            Self::ForgetSnapshot { .. } | Self::ForgetVolume { .. } => true,
            Self::DropFailedImport { .. }
            | Self::ResetExtending { .. }
            | Self::ImportVolume(_)
            | Self::Grow { .. }
            | Self::Show { .. }
            | Self::Name { .. }
            | Self::Bootable { .. }
            | Self::ImageMetadata { .. }
            | Self::ImportSnapshot(_)
            | Self::NameSnapshot { .. }
            | Self::Describe { .. } => false,
        }
    }
}

impl Mend {
    /// The place in a round's order.
    #[must_use]
    pub fn order(&self) -> (u8, ImageSpec, ZoneName, String) {
        (
            self.change.rank(),
            self.image.clone(),
            self.zone.clone(),
            self.change.about().to_owned(),
        )
    }
}
