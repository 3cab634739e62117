//! Who may ask for what: for each action, the roles of which one is enough.

use super::asked::{Asked, DEMOTE, PROMOTE, REPLICATE, RESYNC, UNREPLICATE};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// By force is a rule of its own.
const FORCE: &str = "os-promote:force";
/// And so is to name a protection group: it is nobody's project's, and what joins it fails over with all that is in it.
const GROUP: &str = "os-replicate:group";
/// What is allowed where no rule is given.
const DEFAULTS: [(&str, &[&str]); 7] = [
    (REPLICATE, &["member", "admin"]),
    (UNREPLICATE, &["member", "admin"]),
    (RESYNC, &["member", "admin"]),
    (PROMOTE, &["admin"]),
    (DEMOTE, &["admin"]),
    (FORCE, &["admin"]),
    (GROUP, &["admin"]),
];
/// No file of rules is larger.
const FILE: u64 = 64 * 1024;

/// For each action, the roles.
///
/// In TOML: `"os-promote" = ["admin", "dr-operator"]`. A role counts in the project of its token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Vec<String>>")]
pub(crate) struct Rules(BTreeMap<&'static str, Vec<String>>);

/// Rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The file.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What stands in it.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
}

impl Default for Rules {
    fn default() -> Self {
        let owned = |roles: &[&str]| roles.iter().map(ToString::to_string).collect();
        Self(DEFAULTS.iter().map(|(a, r)| (*a, owned(r))).collect())
    }
}

impl TryFrom<BTreeMap<String, Vec<String>>> for Rules {
    type Error = String;

    fn try_from(given: BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        let mut rules = Self::default();
        for (action, roles) in given {
            let known = DEFAULTS.iter().find(|(a, _)| *a == action);
            let (action, _) = known.ok_or_else(|| {
                let all: Vec<&str> = DEFAULTS.iter().map(|(a, _)| *a).collect();
                format!("{action:?} is no action: there are {}", all.join(", "))
            })?;
            rules.0.insert(action, roles);
        }
        Ok(rules)
    }
}

impl Rules {
    /// Those in that file; what it does not name is as by default.
    ///
    /// # Errors
    /// [`RulesError`].
    pub(crate) fn read(path: &Path) -> Result<Self, RulesError> {
        let unreadable = |source| RulesError::Unreadable {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).map_err(unreadable)?.len() > FILE {
            return Err(unreadable(std::io::Error::other(
                "it is too large for rules",
            )));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        toml::from_str(&text).map_err(|source| RulesError::Unusable {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Whether one of these roles is enough.
    pub(crate) fn allow(&self, asked: &Asked, roles: &[String]) -> bool {
        let needed = self.needed(asked);
        roles
            .iter()
            .any(|role| needed.iter().any(|n| n.eq_ignore_ascii_case(role)))
    }

    /// The roles that are.
    pub(crate) fn needed(&self, asked: &Asked) -> &[String] {
        // An action without a rule is nobody's.
        self.0.get(Self::name(asked)).map_or(&[], Vec::as_slice)
    }

    /// The rule that decides.
    pub(crate) fn name(asked: &Asked) -> &'static str {
        match asked {
            Asked::PromoteByForce => FORCE,
            Asked::Replicate { group: Some(_), .. } => GROUP,
            Asked::Replicate { group: None, .. }
            | Asked::Unreplicate
            | Asked::Promote
            | Asked::Demote
            | Asked::Resync => asked.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{GroupName, mode::ReplicationMode};

    fn roles(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn members_replicate_and_admins_promote() {
        let rules = Rules::default();
        let replicate = |group: Option<&str>| Asked::Replicate {
            mode: ReplicationMode::Instant,
            group: group.map(|g| GroupName::new(g).unwrap()),
        };
        for (asked, member) in [
            (replicate(None), true),
            (replicate(Some("db")), false),
            (Asked::Unreplicate, true),
            (Asked::Resync, true),
            (Asked::Promote, false),
            (Asked::PromoteByForce, false),
            (Asked::Demote, false),
        ] {
            assert_eq!(
                rules.allow(&asked, &roles(&["reader", "Member"])),
                member,
                "{asked:?}"
            );
            assert!(rules.allow(&asked, &roles(&["admin"])), "{asked:?}");
            assert!(!rules.allow(&asked, &roles(&["reader"])), "{asked:?}");
            assert!(!rules.allow(&asked, &[]), "{asked:?}");
        }
    }

    #[test]
    fn a_file_changes_what_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.toml");
        std::fs::write(
            &path,
            "\"os-promote\" = [\"dr-operator\"]\n\"os-resync\" = []\n",
        )
        .unwrap();
        let rules = Rules::read(&path).unwrap();
        assert!(rules.allow(&Asked::Promote, &roles(&["dr-operator"])));
        assert!(!rules.allow(&Asked::PromoteByForce, &roles(&["dr-operator"])));
        assert!(!rules.allow(&Asked::Promote, &roles(&["admin"])));
        assert!(!rules.allow(&Asked::Resync, &roles(&["admin"])));
        assert!(rules.allow(&Asked::Unreplicate, &roles(&["member"])));
        for bad in ["\"os-explode\" = []", "os-promote = \"admin\"", "x ="] {
            std::fs::write(&path, bad).unwrap();
            assert!(Rules::read(&path).is_err(), "{bad}");
        }
        assert!(Rules::read(&dir.path().join("none")).is_err());
    }
}
