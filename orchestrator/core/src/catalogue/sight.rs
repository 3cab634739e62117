//! What was seen of one zone, with what was not.
//!
//! Images are looked at before records: a volume's record is made before its image and goes after it, so that an image without a
//! record was without one while the look was made.

use super::{mapping::Project, words};
use jiff::Timestamp;
use rekindle_common::{ImageSpec, ZoneName, duration::Span, volume::VolumeReport};
use std::collections::BTreeMap;

/// One zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneSight {
    /// Which.
    pub zone: ZoneName,
    /// Its replicated images, as its sidecar reports them.
    pub images: Images,
    /// Its Cinder's records on our backends; `None`: it does not answer.
    pub records: Option<Records>,
    /// Its Keystone's projects, as they were last seen; `None`: never.
    pub projects: Option<Vec<Project>>,
    /// RBD pool -> Cinder's host for it.
    pub hosts: BTreeMap<String, String>,
    /// Images that were asked for by name, after everything else was seen.
    pub named: BTreeMap<ImageSpec, Named>,
}

/// A zone's replicated images.
#[derive(Debug, Clone, PartialEq)]
pub enum Images {
    /// Its sidecar does not answer.
    Silent {
        /// For how long.
        held: Span,
    },
    /// What it listed is so; what it did not list may be there too, for its cluster is silent or the list is too long.
    Partial(BTreeMap<ImageSpec, VolumeReport>),
    /// All there are.
    Whole(BTreeMap<ImageSpec, VolumeReport>),
}

static NONE: BTreeMap<ImageSpec, VolumeReport> = BTreeMap::new();

impl Images {
    /// Those that were listed.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<ImageSpec, VolumeReport> {
        match self {
            Self::Silent { .. } => &NONE,
            Self::Partial(images) | Self::Whole(images) => images,
        }
    }
    /// One of them.
    #[must_use]
    pub fn get(&self, image: &ImageSpec) -> Option<&VolumeReport> {
        self.all().get(image)
    }
}

/// What a zone said when it was asked for an image by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// There is none.
    NotThere,
    /// It is there, and nobody replicates it.
    Plain,
    /// It is there and replicated, though the list did not have it: the next look has.
    Replicated,
    /// It did not say.
    Unknown,
}

/// A zone's records on our backends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records {
    /// By id.
    pub volumes: BTreeMap<String, Record>,
    /// By id.
    pub snapshots: BTreeMap<String, SnapshotRecord>,
}

impl Records {
    /// The records of an image, the oldest first: there should be one.
    pub fn of(&self, image: &ImageSpec) -> impl Iterator<Item = &Record> {
        let mut all: Vec<&Record> = self
            .volumes
            .values()
            .filter(|r| r.image == *image)
            .collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all.into_iter()
    }
    /// A volume's snapshots.
    pub fn snapshots_of<'a>(&'a self, volume: &'a str) -> impl Iterator<Item = &'a SnapshotRecord> {
        self.snapshots.values().filter(move |s| s.volume == volume)
    }
}

/// A volume as Cinder has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// The image under it; see [`Record::image_of`].
    pub image: ImageSpec,
    /// Set where the image is named after another id than the record's.
    pub name_id: Option<String>,
    /// Whose it is.
    pub project_id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its type's name.
    pub volume_type: Option<String>,
    /// GiB.
    pub size_gib: u64,
    /// Cinder's own status.
    pub status: String,
    /// Whether somebody uses it.
    pub attached: bool,
    /// Whether it can be booted from.
    pub bootable: bool,
    /// What users see as properties.
    pub metadata: BTreeMap<String, String>,
    /// What the image in Glance said.
    pub image_metadata: BTreeMap<String, String>,
    /// Its key.
    pub encryption_key_id: Option<String>,
    /// Cinder's own word on replication.
    pub replication_status: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

impl Record {
    /// The image under a record: named after its `name_id` or its id. While Cinder still makes it for us, or has failed to, it has no
    /// `name_id` yet, and what we asked for stands in its metadata.
    #[must_use]
    pub fn image_of(
        id: &str,
        name_id: Option<&str>,
        size_gib: u64,
        metadata: &BTreeMap<String, String>,
    ) -> String {
        match metadata.get(words::IMAGE) {
            Some(image) if unfinished(name_id, size_gib) => image.clone(),
            Some(_) | None => format!("volume-{}", name_id.unwrap_or(id)),
        }
    }
    /// Whether Cinder was asked for it by us, and has not made it. It says "creating" or "error" of such a one, as of any other.
    fn is_unfinished(&self) -> bool {
        unfinished(self.name_id.as_deref(), self.size_gib)
            && self.metadata.contains_key(words::IMAGE)
    }
    /// Cinder was to make it for us, and could not.
    #[must_use]
    pub fn import_failed(&self) -> bool {
        self.is_unfinished() && self.status.starts_with("error")
    }
    /// Whether the catalogue made it.
    #[must_use]
    pub fn made_by_us(&self) -> bool {
        let named = self.name_id.as_ref().is_some_and(|n| *n != self.id);
        let image = self.metadata.get(words::IMAGE);
        (named || self.is_unfinished()) && image.is_some_and(|i| *i == self.image.image())
    }
    /// Whether Cinder lets its name and metadata be changed now.
    #[must_use]
    pub fn takes_changes(&self) -> bool {
        let busy = [
            "creating",
            "deleting",
            "maintenance",
            "uploading",
            "downloading",
        ];
        !self.is_unfinished() && !busy.contains(&self.status.as_str())
    }
    /// Whether it is used, or something is at work on it.
    #[must_use]
    pub fn in_use(&self) -> bool {
        // Those that Cinder forgets a volume in.
        let calm = ["available", "error", "error_extending", "error_restoring"];
        self.attached || !calm.contains(&self.status.as_str())
    }
    /// Whether Cinder itself failed it over: it serves the image that is in the other zone.
    #[must_use]
    pub fn served_from_afar(&self) -> bool {
        self.replication_status.as_deref() == Some("failed-over")
    }
    /// Whether any of our metadata is on it.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        words::ON_VOLUMES
            .iter()
            .any(|k| self.metadata.contains_key(*k))
    }
}

/// The size is what Cinder learns of an image first, and no volume has none.
fn unfinished(name_id: Option<&str>, size_gib: u64) -> bool {
    name_id.is_none() && size_gib == 0
}

/// A snapshot as Cinder has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its id.
    pub id: String,
    /// Its volume's id.
    pub volume: String,
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Cinder's own status.
    pub status: String,
    /// What users see as properties.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

impl SnapshotRecord {
    /// The id in its RBD snapshot's name, `snapshot-UUID`: the one by which both zones know it.
    #[must_use]
    pub fn rbd_id(&self) -> &str {
        let made = self.metadata.get(words::SNAPSHOT);
        made.and_then(|n| n.strip_prefix("snapshot-"))
            .unwrap_or(&self.id)
    }
    /// Whether the catalogue made it.
    #[must_use]
    pub fn made_by_us(&self) -> bool {
        self.rbd_id() != self.id
    }
    /// Whether nothing is at work on it.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        matches!(self.status.as_str(), "available" | "error")
    }
}
