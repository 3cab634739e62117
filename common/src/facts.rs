//! What Cinder knows of a volume and the other zone's Cinder needs: it stands in the image's metadata, under one key and as
//! JSON, so that it changes as one and is mirrored with the image (at once in journal mode, with the next snapshot in snapshot mode).
//!
//! It is bounded. What does not fit is left out, the least needed first and no id ever cut, and [`CinderFacts::left_out`] names it:
//! who reads the facts in the other zone is never told that a list is whole when it is not.

use crate::ids::ZoneName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes of JSON: every list of volumes carries it. librbd takes and mirrors more (tried on 16.2.15: 256 KiB in a value, in both
/// modes).
pub const MAX_FACTS: usize = 16 * 1024;
/// The most characters of an id or a name: what Cinder's columns hold.
pub const MAX_NAME: usize = 255;

/// What the other zone has to know of a volume. Fields that this release does not know are ignored: a newer one may add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CinderFacts {
    /// Whose Cinder the ids and names below are of.
    pub zone: ZoneName,
    /// The volume's id there.
    pub id: String,
    /// Its project's id there.
    pub project_id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its type's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<String>,
    /// Its size as Cinder counts it.
    pub size_gib: u64,
    /// Whether a server may boot from it.
    #[serde(default)]
    pub bootable: bool,
    /// What Glance said of the image that it was made of (`volume_image_metadata`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_metadata: BTreeMap<String, String>,
    /// Its key's id in that zone's key manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key_id: Option<String>,
    /// Its snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotFacts>,
    /// What there was no room for, by field: [`LeftOut`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A snapshot of the volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// Its id there. The RBD snapshot is `snapshot-<id>`.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made, by that Cinder's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// A part that did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// The volume's description.
    Description,
    /// Some of its image metadata, the longest first.
    ImageMetadata,
    /// The snapshots' descriptions.
    SnapshotDescriptions,
    /// The snapshots' names.
    SnapshotNames,
    /// Some of the snapshots, the last of the list first: one that is not there may exist all the same.
    Snapshots,
    /// A part that a newer release named.
    #[serde(other)]
    Other,
}

impl LeftOut {
    fn in_words(self) -> &'static str {
        match self {
            Self::Description => "its description",
            Self::ImageMetadata => "some of its image metadata",
            Self::SnapshotDescriptions => "its snapshots' descriptions",
            Self::SnapshotNames => "its snapshots' names",
            Self::Snapshots => "some of its snapshots",
            Self::Other => "something that a newer release knows",
        }
    }
}

/// Facts that cannot be kept; `field` is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidFacts {
    /// The field.
    pub field: &'static str,
    /// What is wrong.
    pub why: String,
}

impl CinderFacts {
    /// The facts as they are kept: no larger than [`MAX_FACTS`] as JSON. Fitted again they stay the same.
    ///
    /// # Errors
    /// [`InvalidFacts`]: an id or name that is empty or longer than [`MAX_NAME`] characters. Such a one is no Cinder's.
    pub fn fitted(&self) -> Result<Self, InvalidFacts> {
        self.check()?;
        let mut f = self.clone();
        let drop = |part: LeftOut, f: &mut Self| {
            if !f.left_out.contains(&part) {
                f.left_out.push(part);
                f.left_out.sort_unstable();
            }
        };
        if f.is_too_long() && f.description.take().is_some() {
            drop(LeftOut::Description, &mut f);
        }
        while f.is_too_long() {
            let longest = f
                .image_metadata
                .iter()
                .max_by_key(|(k, v)| k.len() + v.len());
            let Some(key) = longest.map(|(k, _)| k.clone()) else {
                break;
            };
            f.image_metadata.remove(&key);
            drop(LeftOut::ImageMetadata, &mut f);
        }
        if f.is_too_long() && f.snapshots.iter().any(|s| s.description.is_some()) {
            f.snapshots.iter_mut().for_each(|s| s.description = None);
            drop(LeftOut::SnapshotDescriptions, &mut f);
        }
        if f.is_too_long() && f.snapshots.iter().any(|s| s.name.is_some()) {
            f.snapshots.iter_mut().for_each(|s| s.name = None);
            drop(LeftOut::SnapshotNames, &mut f);
        }
        if f.is_too_long() && !f.snapshots.is_empty() {
            drop(LeftOut::Snapshots, &mut f);
            while f.is_too_long() && f.snapshots.pop().is_some() {}
        }
        Ok(f)
    }

    /// The text that stands in the metadata.
    ///
    /// # Errors
    /// As [`Self::fitted`].
    pub fn to_metadata(&self) -> Result<String, InvalidFacts> {
        Ok(self.fitted()?.json())
    }

    /// From that text.
    ///
    /// # Errors
    /// [`InvalidFacts`]: somebody else wrote there, or a newer release in another form. It is never guessed at.
    pub fn from_metadata(text: &str) -> Result<Self, InvalidFacts> {
        serde_json::from_str(text).map_err(|e| InvalidFacts {
            field: "rekindle.cinder",
            why: e.to_string(),
        })
    }

    /// What is missing, for a person; `None`: nothing is.
    #[must_use]
    pub fn concern(&self) -> Option<String> {
        let parts: Vec<&str> = self.left_out.iter().map(|p| p.in_words()).collect();
        (!parts.is_empty()).then(|| {
            format!(
                "Cinder knows more of it than {} KiB hold; the other zone is not told {}",
                MAX_FACTS / 1024,
                parts.join(", ")
            )
        })
    }

    /// Whether a snapshot that is not listed does not exist.
    #[must_use]
    pub fn lists_all_snapshots(&self) -> bool {
        !self.left_out.contains(&LeftOut::Snapshots) && !self.left_out.contains(&LeftOut::Other)
    }

    fn check(&self) -> Result<(), InvalidFacts> {
        let required = [
            ("id", Some(&self.id)),
            ("project_id", Some(&self.project_id)),
        ];
        let optional = [
            ("name", self.name.as_ref()),
            ("volume_type", self.volume_type.as_ref()),
            ("encryption_key_id", self.encryption_key_id.as_ref()),
        ];
        let snapshots = self.snapshots.iter().flat_map(|s| {
            [
                ("snapshots.id", Some(&s.id)),
                ("snapshots.name", s.name.as_ref()),
            ]
        });
        for (field, text) in required.into_iter().chain(optional).chain(snapshots) {
            let Some(text) = text else { continue };
            let length = text.chars().count();
            if length > MAX_NAME {
                return Err(InvalidFacts {
                    field,
                    why: format!("{length} characters; Cinder's own have at most {MAX_NAME}"),
                });
            }
            if text.is_empty() && field.ends_with("id") {
                return Err(InvalidFacts {
                    field,
                    why: "it is empty".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn is_too_long(&self) -> bool {
        self.json().len() > MAX_FACTS
    }

    fn json(&self) -> String {
        // Of texts, numbers and lists alone: it cannot fail, and an empty text would be read as no facts.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
