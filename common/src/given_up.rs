//! What a resync gives up: how much the zone wrote that the primary's has not, and where it is kept (hard cases 16 and 31).
//!
//! The sidecar measures it before it flags the image, and remembers it with the resync; the plan's journal has it from there. It is a
//! report and decides nothing: a resync waits for it for some seconds at the most, and goes on without it.

use crate::ids::{ImageSpec, ZoneName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a figure is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// It is the amount.
    Exact,
    /// No more than that: some of it may have reached the other zone.
    AtMost,
    /// No less than that: the time to measure in was over.
    AtLeast,
}

/// How much was written.
///
/// On the wire: `{"kind": "measured", "bytes": 4096, "extents": 1, "bound": "exact"}`, `{"kind": "unknown", "why": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Written {
    /// So much.
    Measured {
        /// Bytes, in whole blocks of 4 KiB. 0: nothing.
        bytes: u64,
        /// In how many runs of blocks.
        extents: u64,
        /// How the two are to be read.
        bound: Bound,
    },
    /// It could not be measured. Never to be read as nothing.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What a resync gives up of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// What was written here and is not in the other zone.
    pub written: Written,
    /// The image that the whole state is kept as; `None`: it is discarded, as was ordered.
    pub kept_as: Option<ImageSpec>,
}

/// The longest reason that is kept, in characters: a plan's record has to fit into etcd with one for each volume.
const MAX_WHY: usize = 160;

impl Written {
    /// It could not be measured, and why.
    #[must_use]
    pub fn unknown(why: impl AsRef<str>) -> Self {
        Self::Unknown {
            why: why.as_ref().chars().take(MAX_WHY).collect(),
        }
    }
    /// Nothing was, for certain.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Measured { bytes, bound, .. } => *bytes == 0 && *bound != Bound::AtLeast,
            Self::Unknown { .. } => false,
        }
    }
}

impl fmt::Display for Bound {
    /// As it stands before a figure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "",
            Self::AtMost => "at most ",
            Self::AtLeast => "at least ",
        })
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured { .. } if self.is_nothing() => f.write_str("nothing"),
            Self::Measured {
                bytes,
                extents,
                bound,
            } => write!(f, "{bound}{}", amount(*bytes, *extents)),
            Self::Unknown { why } => write!(f, "an unknown amount ({why})"),
        }
    }
}

impl fmt::Display for GivenUp {
    /// `3.2 MiB in 5 extents, kept as volumes/v.rekindle-safety-2-1f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.written)?;
        match &self.kept_as {
            Some(image) => write!(f, ", kept as {image}"),
            None if self.written.is_nothing() => Ok(()),
            None => f.write_str(", discarded"),
        }
    }
}

/// What a zone gave up of several volumes, in one line.
#[must_use]
pub fn in_words<'a>(
    zone: &ZoneName,
    volumes: impl IntoIterator<Item = (&'a ImageSpec, &'a GivenUp)>,
) -> String {
    let all: Vec<_> = volumes.into_iter().collect();
    let what = match all.as_slice() {
        [] => return String::new(),
        [(_, one)] => one.to_string(),
        many => of_many(many),
    };
    format!("what {zone} wrote after the split: {what}")
}

fn of_many(all: &[(&ImageSpec, &GivenUp)]) -> String {
    let (mut bytes, mut extents, mut bounds) = (0_u64, 0_u64, Vec::new());
    let (mut nothing, mut unknown) = (0, Vec::new());
    for (volume, given_up) in all {
        match &given_up.written {
            w @ Written::Measured { .. } if w.is_nothing() => nothing += 1,
            Written::Measured {
                bytes: b,
                extents: e,
                bound,
            } => {
                bytes = bytes.saturating_add(*b);
                extents = extents.saturating_add(*e);
                bounds.push(*bound);
            }
            Written::Unknown { why } => unknown.push((volume, why)),
        }
    }
    if nothing == all.len() {
        return "nothing".to_owned();
    }
    let mut parts = Vec::new();
    if !bounds.is_empty() {
        let bound = match (
            bounds.contains(&Bound::AtMost),
            bounds.contains(&Bound::AtLeast),
        ) {
            (false, false) => "",
            (true, false) => "at most ",
            (false, true) => "at least ",
            (true, true) => "about ",
        };
        let of = counted(bounds.len(), "volume");
        parts.push(format!("{bound}{} of {of}", amount(bytes, extents)));
    }
    if let Some((volume, why)) = unknown.first() {
        let of = counted(unknown.len(), "volume");
        parts.push(format!("an unknown amount of {of} ({volume}: {why})"));
    }
    if nothing > 0 {
        parts.push(format!("nothing of {}", counted(nothing, "volume")));
    }
    let lost = all.iter().filter(|(_, g)| !g.written.is_nothing());
    let kept = lost.clone().filter(|(_, g)| g.kept_as.is_some()).count();
    let fate = match (kept, lost.count() - kept) {
        (_, 0) => "kept as safety copies".to_owned(),
        (0, _) => "discarded".to_owned(),
        (k, d) => format!("kept as safety copies of {k}, discarded of {d}"),
    };
    format!("{}; {fate}", parts.join(", "))
}

fn amount(bytes: u64, extents: u64) -> String {
    let extents = counted(usize::try_from(extents).unwrap_or(usize::MAX), "extent");
    format!("{} in {extents}", size(bytes))
}

fn counted(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

/// Bytes for a person: `4.0 KiB`, `3.2 MiB`.
fn size(bytes: u64) -> String {
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, "bytes");
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.div_ceil(1024);
        unit = next;
    }
    if unit == "bytes" {
        format!("{bytes} {unit}")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> ImageSpec {
        ImageSpec::new("volumes", name).unwrap()
    }
    fn measured(bytes: u64, extents: u64, bound: Bound) -> Written {
        Written::Measured {
            bytes,
            extents,
            bound,
        }
    }
    fn kept(written: Written) -> GivenUp {
        GivenUp {
            written,
            kept_as: Some(image("copy")),
        }
    }
    fn discarded(written: Written) -> GivenUp {
        GivenUp {
            written,
            kept_as: None,
        }
    }
    fn words(all: &[GivenUp]) -> String {
        let names: Vec<_> = (0..all.len()).map(|n| image(&format!("v{n}"))).collect();
        let zone = ZoneName::new("zone-a").unwrap();
        in_words(&zone, names.iter().zip(all))
    }

    #[test]
    fn one_volume_in_words() {
        let some = measured(3_300_000, 5, Bound::Exact);
        for (given_up, text) in [
            (
                kept(some.clone()),
                "3.2 MiB in 5 extents, kept as volumes/copy",
            ),
            (discarded(some), "3.2 MiB in 5 extents, discarded"),
            (
                discarded(measured(4096, 1, Bound::AtMost)),
                "at most 4.0 KiB in 1 extent, discarded",
            ),
            (discarded(measured(0, 0, Bound::Exact)), "nothing"),
            // A copy was made all the same, and is to be removed.
            (
                kept(measured(0, 0, Bound::AtMost)),
                "nothing, kept as volumes/copy",
            ),
            // What was not looked at is not nothing.
            (
                discarded(measured(0, 0, Bound::AtLeast)),
                "at least 0 bytes in 0 extents, discarded",
            ),
            (
                discarded(Written::unknown("no answer")),
                "an unknown amount (no answer), discarded",
            ),
        ] {
            let all = format!("what zone-a wrote after the split: {text}");
            assert_eq!(words(std::slice::from_ref(&given_up)), all);
            let json = serde_json::to_string(&given_up).unwrap();
            assert_eq!(serde_json::from_str::<GivenUp>(&json).unwrap(), given_up);
        }
    }

    #[test]
    fn many_volumes_in_words() {
        let some = |bound| measured(1 << 20, 2, bound);
        let nothing = || measured(0, 0, Bound::Exact);
        let all = |v: Vec<GivenUp>| {
            words(&v)
                .strip_prefix("what zone-a wrote after the split: ")
                .unwrap()
                .to_owned()
        };
        assert_eq!(words(&[]), "");
        assert_eq!(all(vec![kept(nothing()), discarded(nothing())]), "nothing");
        assert_eq!(
            all(vec![
                kept(some(Bound::Exact)),
                kept(some(Bound::AtMost)),
                kept(nothing())
            ]),
            "at most 2.0 MiB in 4 extents of 2 volumes, nothing of 1 volume; kept as safety copies"
        );
        assert_eq!(
            all(vec![
                discarded(some(Bound::AtLeast)),
                discarded(Written::unknown("no answer")),
                discarded(Written::unknown("late"))
            ]),
            "at least 1.0 MiB in 2 extents of 1 volume, an unknown amount of 2 volumes (volumes/v1: no answer); discarded"
        );
        assert_eq!(
            all(vec![
                discarded(some(Bound::AtLeast)),
                kept(some(Bound::AtMost))
            ]),
            "about 2.0 MiB in 4 extents of 2 volumes; kept as safety copies of 1, discarded of 1"
        );
    }

    #[test]
    fn reasons_are_bounded() {
        let long = "x".repeat(1000);
        assert!(matches!(Written::unknown(long), Written::Unknown { why } if why.len() == MAX_WHY));
    }
}
