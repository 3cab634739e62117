//! Names and numbers, each a type of its own so that one cannot stand where another belongs.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A name that was refused: which kind, what was given, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {kind}: {rule}")]
pub struct InvalidName {
    /// The kind of name, in words: `zone name`, `image spec`.
    pub kind: &'static str,
    /// What was given, cut to 64 characters.
    pub given: String,
    /// What a valid one looks like.
    pub rule: &'static str,
}

impl InvalidName {
    fn new(kind: &'static str, given: &str, rule: &'static str) -> Self {
        Self {
            kind,
            given: given.chars().take(64).collect(),
            rule,
        }
    }
}

/// Lower-case letters, digits and inner hyphens: these names stand in etcd keys, RADOS object names and URLs.
fn is_label(s: &str) -> bool {
    (1..=63).contains(&s.len())
        && s.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-')
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`InvalidName`] unless it is 1 to 63 lower-case letters, digits and inner hyphens.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                if is_label(&name) {
                    Ok(Self(name))
                } else {
                    Err(InvalidName::new($kind, &name, "1 to 63 of a-z, 0-9 and inner hyphens"))
                }
            }
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::new(s)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(s: String) -> Result<Self, Self::Error> {
                Self::new(s)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

label!(
    /// A zone: one OpenStack with one Ceph cluster. Also the RBD mirroring site name.
    ZoneName, "zone name"
);
label!(
    /// A place that has a vote: a zone, or the witness.
    SiteName, "site name"
);
label!(
    /// A protection group: volumes and servers that fail over together.
    GroupName, "group name"
);
label!(
    /// A protected server, by the name that its group's runbook gives it: the same in both zones, whatever Nova calls it there.
    ServerKey, "server key"
);
label!(
    /// A plan's id. Later plans of one group sort after earlier ones.
    PlanId, "plan id"
);
label!(
    /// Names one resync, so that asking twice does it once (hard case 19).
    ResyncToken, "resync token"
);

impl ResyncToken {
    /// The token of a plan's resync: a plan resyncs a volume once, however often its step is run.
    #[must_use]
    pub fn from_plan(plan: &PlanId) -> Self {
        Self(plan.0.clone())
    }
}

label!(
    /// Names one demotion. It is written into the volume's metadata just before it, and travels with the data: where it shows,
    /// all that was written before has arrived (hard case 57).
    DemotionToken, "demotion token"
);

impl DemotionToken {
    /// The token of a plan's demotion: a plan demotes a volume once, however often its step is run.
    #[must_use]
    pub fn from_plan(plan: &PlanId) -> Self {
        Self(plan.0.clone())
    }
}

impl From<ZoneName> for SiteName {
    fn from(zone: ZoneName) -> Self {
        Self(zone.0)
    }
}
impl PartialEq<ZoneName> for SiteName {
    fn eq(&self, zone: &ZoneName) -> bool {
        self.0 == zone.0
    }
}

/// A number that only grows: a new one for each change of a group's primary zone.
///
/// Every order carries it, and every receiver refuses an older one, so that an orchestrator that wrongly believes
/// it leads can do no harm.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// Before the first primary was named.
    pub const ZERO: Self = Self(0);
    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An RBD image by pool and name, written `pool/image` as the `rbd` command does.
///
/// A Cinder volume's image is `volume-<uuid>`. Namespaces within a pool are not supported.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageSpec {
    pool: String,
    image: String,
}

impl ImageSpec {
    /// Checks and takes a pool and an image name.
    ///
    /// # Errors
    /// [`InvalidName`] where either is empty, longer than 128 bytes, or holds anything but ASCII letters, digits, `-`, `_`, `.`
    /// and `:`, or is `.` or `..`.
    pub fn new(pool: impl Into<String>, image: impl Into<String>) -> Result<Self, InvalidName> {
        let (pool, image) = (pool.into(), image.into());
        let ok = |s: &str| {
            (1..=128).contains(&s.len())
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
                && s != "."
                && s != ".."
        };
        if ok(&pool) && ok(&image) {
            Ok(Self { pool, image })
        } else {
            let given = format!("{pool}/{image}");
            Err(InvalidName::new(
                "image spec",
                &given,
                "POOL/IMAGE, each of a-z A-Z 0-9 - _ . :",
            ))
        }
    }
    /// The pool's name.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.pool
    }
    /// The image's name within its pool.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }
}
impl fmt::Display for ImageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.image)
    }
}
impl FromStr for ImageSpec {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s.split_once('/') {
            Some((pool, image)) => Self::new(pool, image),
            None => Err(InvalidName::new("image spec", s, "POOL/IMAGE")),
        }
    }
}
impl TryFrom<String> for ImageSpec {
    type Error = InvalidName;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}
impl From<ImageSpec> for String {
    fn from(spec: ImageSpec) -> String {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked() {
        assert!(ZoneName::new("zone-a").is_ok());
        for bad in ["", "-a", "a-", "Zone", "a/b", "a b", &"x".repeat(64)] {
            assert!(ZoneName::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_image_spec_round_trips_and_refuses_paths() {
        let spec: ImageSpec = "volumes/volume-1".parse().unwrap();
        assert_eq!(spec.to_string(), "volumes/volume-1");
        for bad in ["volumes", "a/b/c", "/x", "x/", "../x", "a/..", "a/b@snap"] {
            assert!(bad.parse::<ImageSpec>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_generation_only_grows() {
        assert!(Generation(3).next() > Generation(3));
        assert_eq!(Generation(u64::MAX).next(), Generation(u64::MAX));
    }
}
