//! What becomes of a replicated volume that is deleted in Cinder.
//!
//! ```text
//!   refuse       nothing: Cinder is told why, and the volume stays
//!   keep         the other zone's image becomes a plain volume that holds all that was written; then this zone's goes
//!   delete:SPAN  a mark, and both go after SPAN; until then the mark can be taken away. delete:0s is Cinder's own semantics
//! ```
//!
//! The policy and the mark stand in the image's metadata, so that they outlive a failover.

use crate::{
    duration::Span,
    ids::{GroupName, ImageSpec, ZoneName},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest time that a deleted volume is kept for.
pub const MAX_DELAY: Span = Span::secs(365 * 86_400);

/// The policy. Written `refuse`, `keep` or `delete:7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OnDelete {
    /// A deletion is refused.
    Refuse,
    /// The other zone's image is kept, as a plain volume.
    Keep,
    /// Both zones' images go, after that time.
    Delete {
        /// After so long; none at all is Cinder's own semantics.
        after: Span,
    },
}

/// A text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no deletion policy: write refuse, keep or delete:7d")]
pub struct InvalidOnDelete {
    given: String,
}

impl OnDelete {
    /// Cinder's own semantics: what a type without a word on it, and without a group, has.
    pub const AS_CINDER: Self = Self::Delete {
        after: Span::secs(0),
    };

    /// What holds for a volume, from its metadata's text. A text that cannot be read refuses, for it may have said so.
    #[must_use]
    pub fn in_force(text: Option<&str>, in_group: bool) -> Self {
        match text {
            Some(text) => text.parse().unwrap_or(Self::Refuse),
            // Its group's policy was not noted yet.
            None if in_group => Self::Refuse,
            None => Self::AS_CINDER,
        }
    }

    /// Checks the bound.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Delete { after } if after > MAX_DELAY => Err(format!(
                "{after} is longer than {}h",
                MAX_DELAY.get().as_secs() / 3600
            )),
            Self::Refuse | Self::Keep | Self::Delete { .. } => Ok(()),
        }
    }
}

impl fmt::Display for OnDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::Keep => f.write_str("keep"),
            Self::Delete { after } => write!(f, "delete:{after}"),
        }
    }
}
impl FromStr for OnDelete {
    type Err = InvalidOnDelete;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let refuse = || InvalidOnDelete {
            given: s.chars().take(64).collect(),
        };
        match s {
            "refuse" => Ok(Self::Refuse),
            "keep" => Ok(Self::Keep),
            other => {
                let span = other.strip_prefix("delete:").ok_or_else(refuse)?;
                let after = span.trim().parse().map_err(|_| refuse())?;
                Ok(Self::Delete { after })
            }
        }
    }
}
impl TryFrom<String> for OnDelete {
    type Error = InvalidOnDelete;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}
impl From<OnDelete> for String {
    fn from(o: OnDelete) -> String {
        o.to_string()
    }
}

/// What follows a deletion that does not end at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum After {
    /// The other zone's image is made a plain volume.
    Keep {
        /// The zone that deleted it, whose image goes: the mark travels to the other one too.
        from: ZoneName,
        /// The group that it leaves for that. Taken back, it is in it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupName>,
    },
    /// Both images go.
    Delete {
        /// After so long.
        after: Span,
    },
}

/// Where a mark in doubt stands in its text.
const IN_DOUBT: &str = "in_doubt";

/// The mark on a volume that was deleted in Cinder.
///
/// It names its image: librbd copies metadata to clones, and a clone of a deleted volume is not a deleted volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Which image.
    pub image: ImageSpec,
    /// When it was deleted, by the clock of the zone that was primary.
    pub at: Timestamp,
    /// What follows.
    #[serde(flatten)]
    pub then: After,
}

impl Deletion {
    /// The mark's text in metadata.
    #[must_use]
    pub fn to_metadata(&self) -> String {
        // Of texts alone: it cannot fail, and an empty text would be read as no mark.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The mark of `image` from that text; `None` also where it is another image's, or was not written by us: nothing is ever
    /// deleted on a mark that cannot be read.
    #[must_use]
    pub fn from_metadata(text: &str, image: &ImageSpec) -> Option<Self> {
        let mark: Self = serde_json::from_str(text).ok()?;
        (mark.image == *image).then_some(mark)
    }

    /// The mark's text once it may have been taken back without this image having heard of it. No version reads it as a mark.
    #[must_use]
    pub fn in_doubt(&self) -> String {
        serde_json::json!({ (IN_DOUBT): self }).to_string()
    }

    /// The mark of `image` that such a text holds.
    #[must_use]
    pub fn doubted(text: &str, image: &ImageSpec) -> Option<Self> {
        let mut all: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).ok()?;
        let mark: Self = serde_json::from_value(all.remove(IN_DOUBT)?).ok()?;
        (mark.image == *image).then_some(mark)
    }

    /// For a person, of one that is in doubt.
    #[must_use]
    pub fn doubt_in_words(&self) -> String {
        format!(
            "deleted in Cinder at {}, and promoted by force since: whether the deletion had been taken back is not known, and nothing is removed. `rekindle volume undelete {}`, and delete it again where it is to go",
            self.at, self.image
        )
    }

    /// When both images go; `None`: never by themselves.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        match &self.then {
            After::Keep { .. } => None,
            After::Delete { after } => {
                let span = SignedDuration::try_from(after.get()).unwrap_or(SignedDuration::MAX);
                // A time beyond all calendars never comes.
                self.at.checked_add(span).ok()
            }
        }
    }

    /// For a person.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (&self.then, self.due()) {
            (After::Delete { .. }, Some(due)) => format!(
                "deleted in Cinder at {}; both zones' images go at {due}: `rekindle volume undelete {}` takes that back",
                self.at, self.image
            ),
            (
                After::Keep {
                    group: Some(group), ..
                },
                _,
            ) => format!(
                "deleted in Cinder at {}; the other zone's image is being made a plain volume, and it leaves its group {group} for that: delete it in Cinder again to go on",
                self.at
            ),
            (After::Delete { .. }, None) | (After::Keep { group: None, .. }, _) => format!(
                "deleted in Cinder at {}; the other zone's image is being made a plain volume: delete it in Cinder again to go on with that",
                self.at
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> ImageSpec {
        ImageSpec::new("volumes", name).unwrap()
    }

    #[test]
    fn a_policy_has_one_text() {
        for (text, policy) in [
            ("refuse", OnDelete::Refuse),
            ("keep", OnDelete::Keep),
            ("delete:0s", OnDelete::AS_CINDER),
            (
                "delete:7d",
                OnDelete::Delete {
                    after: Span::secs(7 * 86_400),
                },
            ),
            (
                "delete: 1h 30m",
                OnDelete::Delete {
                    after: Span::secs(5400),
                },
            ),
        ] {
            let read: OnDelete = text.parse().unwrap();
            assert_eq!(read, policy);
            assert_eq!(read.to_string().parse::<OnDelete>(), Ok(policy), "{read}");
        }
        for bad in ["", "delete", "delete:", "delete:soon", "Keep", "delete:-1s"] {
            assert!(bad.parse::<OnDelete>().is_err(), "{bad}");
            assert_eq!(OnDelete::in_force(Some(bad), false), OnDelete::Refuse);
        }
        assert!("delete:366d".parse::<OnDelete>().unwrap().check().is_err());
        assert!("delete:365d".parse::<OnDelete>().unwrap().check().is_ok());
    }

    #[test]
    fn what_was_never_said_is_safe_for_a_group_and_cinders_own_elsewhere() {
        assert_eq!(OnDelete::in_force(None, true), OnDelete::Refuse);
        assert_eq!(OnDelete::in_force(None, false), OnDelete::AS_CINDER);
        assert_eq!(OnDelete::in_force(Some("keep"), true), OnDelete::Keep);
    }

    #[test]
    fn hard_case_32_a_mark_counts_for_its_own_image_alone() {
        let mark = Deletion {
            image: image("volume-1"),
            at: "2026-11-25T10:00:00Z".parse().unwrap(),
            then: After::Delete {
                after: Span::secs(7200),
            },
        };
        let text = mark.to_metadata();
        assert_eq!(
            Deletion::from_metadata(&text, &image("volume-1")),
            Some(mark.clone())
        );
        assert_eq!(Deletion::from_metadata(&text, &image("volume-2")), None);
        assert_eq!(mark.due(), Some("2026-11-25T12:00:00Z".parse().unwrap()));
        assert!(mark.in_words().contains("undelete volumes/volume-1"));
        for foreign in ["", "yes", "2026-11-25T10:00:00Z", "{}"] {
            assert_eq!(Deletion::from_metadata(foreign, &image("volume-1")), None);
            assert_eq!(Deletion::doubted(foreign, &image("volume-1")), None);
        }
        // In doubt it is no mark to anybody, and can be told.
        let doubt = mark.in_doubt();
        let doubted = |name| Deletion::doubted(&doubt, &image(name));
        assert_eq!(Deletion::from_metadata(&doubt, &image("volume-1")), None);
        assert_eq!(
            (doubted("volume-1"), doubted("volume-2")),
            (Some(mark.clone()), None)
        );
        assert_eq!(Deletion::doubted(&text, &image("volume-1")), None);
        let kept = Deletion {
            then: After::Keep {
                from: ZoneName::new("zone-a").unwrap(),
                group: Some(GroupName::new("db").unwrap()),
            },
            ..mark
        };
        assert_eq!(kept.due(), None);
        assert!(kept.in_words().contains("its group db"));
        let text = kept.to_metadata();
        assert_eq!(Deletion::from_metadata(&text, &kept.image), Some(kept));
        // As versions wrote it that did not note the group.
        let text = r#"{"image":"volumes/volume-1","at":"2026-11-25T10:00:00Z","then":"keep","from":"zone-a"}"#;
        let read = Deletion::from_metadata(text, &image("volume-1")).unwrap();
        assert!(matches!(read.then, After::Keep { group: None, .. }));
    }
}
