//! Who may ask for what: a rule for each action, in oslo.policy's language.
//!
//! The defaults are Cinder's own for what changes a volume: an administrator, or a member of the volume's project. That is asked beside
//! Cinder's word that the user sees the volume: a cloud may let more people see a volume than change it.

use super::{
    asked::{Asked, DEMOTE, Group, PROMOTE, REPLICATE, RESYNC, UNREPLICATE},
    policy::{Asker, Check},
    policy_file,
};
use rekindle_openstack::Holder;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// By force is a rule of its own.
const FORCE: &str = "os-promote:force";
/// And so is to change what is in a protection group: it is nobody's project's, what joins it fails over with all that is in it, and what leaves
/// it does not any more.
pub(super) const GROUP: &str = "os-replicate:group";
const MEMBERS: &str = "role:admin or (role:member and project_id:%(project_id)s)";
const ADMINS: &str = "role:admin";
/// What is allowed where no rule is given.
const DEFAULTS: [(&str, &str); 7] = [
    (REPLICATE, MEMBERS),
    (UNREPLICATE, MEMBERS),
    (RESYNC, MEMBERS),
    (PROMOTE, ADMINS),
    (DEMOTE, ADMINS),
    (FORCE, ADMINS),
    (GROUP, ADMINS),
];
/// No file of rules is larger.
const FILE: u64 = 64 * 1024;

/// The rules by their names: each action's, and those that others refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules(BTreeMap<String, Check>);

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
    #[error("{} cannot be used: {why}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong with which rule.
        why: String,
    },
}

/// What the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    Yes,
    No,
    /// It depends on whose the volume is.
    IfTheirs,
}

impl Default for Rules {
    fn default() -> Self {
        // They are read in the tests: one that could not be would be nobody's.
        let read = |text: &str| Check::read(text).unwrap_or(Check::Nobody);
        let each = DEFAULTS.iter();
        Self(each.map(|(a, c)| ((*a).to_owned(), read(c))).collect())
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
        Self::of(&text).map_err(|why| RulesError::Unusable {
            path: path.to_owned(),
            why,
        })
    }

    fn of(text: &str) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        for (name, check) in policy_file::read(text)? {
            let check = Check::read(&check).map_err(|why| format!("{name:?}: {why}"))?;
            if given.insert(name.clone(), check).is_some() {
                return Err(format!("{name:?} stands there twice"));
            }
        }
        let mut rules = Self::default();
        let named: Vec<String> = given.keys().cloned().collect();
        rules.0.extend(given);
        for name in &named {
            let is_used = rules
                .0
                .values()
                .any(|c| c.refers_to().contains(&name.as_str()));
            // A name that is mistyped would leave the default in force.
            if !(is_used || DEFAULTS.iter().any(|(a, _)| a == name)) {
                let all: Vec<&str> = DEFAULTS.iter().map(|(a, _)| *a).collect();
                return Err(format!(
                    "{name:?} is no action, and no rule refers to it: there are {}",
                    all.join(", ")
                ));
            }
        }
        let mut whole = Vec::new();
        for name in rules.0.keys() {
            rules.follow(name, &mut Vec::new(), &mut whole)?;
        }
        Ok(rules)
    }

    /// That all references of a rule lead to rules, and none back. `whole` are those that were followed already.
    fn follow<'a>(
        &'a self,
        name: &'a str,
        way: &mut Vec<&'a str>,
        whole: &mut Vec<&'a str>,
    ) -> Result<(), String> {
        if whole.contains(&name) {
            return Ok(());
        }
        if way.contains(&name) {
            return Err(format!("{:?} refers to itself, by {name:?}", way[0]));
        }
        let Some(check) = self.0.get(name) else {
            let from = way.last().copied().unwrap_or_default();
            return Err(format!("{from:?}: there is no rule {name:?}"));
        };
        way.push(name);
        for other in check.refers_to() {
            self.follow(other, way, whole)?;
        }
        way.pop();
        whole.push(name);
        Ok(())
    }

    /// What they say to the holder of a token. `owner` is the volume's project, once that is known.
    pub(crate) fn allow(&self, asked: &Asked, holder: &Holder, owner: Option<&str>) -> Allowed {
        self.allow_by(Self::name(asked), holder, owner)
    }

    /// The same, of the rule of that name.
    pub(crate) fn allow_by(&self, rule: &str, holder: &Holder, owner: Option<&str>) -> Allowed {
        let asker = Asker {
            roles: &holder.roles,
            // A token for no project is for no volume's.
            is_of_project: match (&holder.project_id, owner) {
                (None, _) => Some(false),
                (Some(_), None) => None,
                (Some(project), Some(owner)) => Some(project == owner),
            },
        };
        // An action without a rule is nobody's.
        let check = self.0.get(rule).unwrap_or(&Check::Nobody);
        match check.allows(asker, &self.0) {
            Some(true) => Allowed::Yes,
            Some(false) => Allowed::No,
            None => Allowed::IfTheirs,
        }
    }

    /// What has to be so by the rule of that name, as the file has it.
    pub(crate) fn needed(&self, rule: &str) -> String {
        let check = self.0.get(rule).unwrap_or(&Check::Nobody);
        check.to_string()
    }

    /// The rule that decides, by the request's form.
    pub(crate) fn name(asked: &Asked) -> &'static str {
        match asked {
            Asked::PromoteByForce => FORCE,
            Asked::Replicate {
                group: Group::Joins(_) | Group::Leaves,
                ..
            } => GROUP,
            Asked::Replicate {
                group: Group::Stays,
                ..
            }
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

    fn holder(roles: &[&str]) -> Holder {
        Holder {
            user_id: "u".to_owned(),
            project_id: Some("p".to_owned()),
            roles: roles.iter().map(ToString::to_string).collect(),
        }
    }

    fn allow(rules: &Rules, asked: &Asked, roles: &[&str]) -> bool {
        rules.allow(asked, &holder(roles), Some("p")) == Allowed::Yes
    }

    #[test]
    fn members_replicate_what_is_theirs_and_admins_promote() {
        let rules = Rules::default();
        let replicate = |group| Asked::Replicate {
            mode: ReplicationMode::Instant,
            group,
        };
        for (asked, member) in [
            (replicate(Group::Stays), true),
            (
                replicate(Group::Joins(GroupName::new("db").unwrap())),
                false,
            ),
            (replicate(Group::Leaves), false),
            (Asked::Unreplicate, true),
            (Asked::Resync, true),
            (Asked::Promote, false),
            (Asked::PromoteByForce, false),
            (Asked::Demote, false),
        ] {
            assert_eq!(
                allow(&rules, &asked, &["reader", "Member"]),
                member,
                "{asked:?}"
            );
            assert!(allow(&rules, &asked, &["admin"]), "{asked:?}");
            assert!(!allow(&rules, &asked, &["reader"]), "{asked:?}");
            assert!(!allow(&rules, &asked, &[]), "{asked:?}");
            // Whoever sees another project's volume is no member of it; an administrator needs none.
            let (seen, none) = (holder(&["member"]), None);
            assert_eq!(rules.allow(&asked, &seen, Some("q")), Allowed::No);
            let open = rules.allow(&asked, &seen, none);
            assert_eq!(open == Allowed::IfTheirs, member, "{asked:?}");
            assert_eq!(rules.allow(&asked, &holder(&["admin"]), none), Allowed::Yes);
        }
        let nowhere = Holder {
            project_id: None,
            ..holder(&["member"])
        };
        assert_eq!(rules.allow(&Asked::Resync, &nowhere, None), Allowed::No);
    }

    #[test]
    fn a_file_changes_what_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.yaml");
        std::fs::write(
            &path,
            "\"os-promote\": \"rule:drills or role:chief\"\n\"drills\": \"role:dr-operator\"\n\"os-resync\": \"!\"\n",
        )
        .unwrap();
        let rules = Rules::read(&path).unwrap();
        assert!(allow(&rules, &Asked::Promote, &["dr-operator"]));
        assert!(allow(&rules, &Asked::Promote, &["chief"]));
        assert!(!allow(&rules, &Asked::PromoteByForce, &["dr-operator"]));
        assert!(!allow(&rules, &Asked::Promote, &["admin"]));
        assert!(!allow(&rules, &Asked::Resync, &["admin"]));
        assert!(allow(&rules, &Asked::Unreplicate, &["member"]));
        assert_eq!(rules.needed("os-promote"), "rule:drills or role:chief");
        for (bad, word) in [
            ("\"os-explode\": \"@\"", "no action"),
            ("\"os-promot\": \"role:admin\"", "os-promote, os-demote"),
            (
                "\"os-promote\": \"admin\"",
                "\"os-promote\": \"admin\" is no check",
            ),
            ("\"os-promote\": \"rule:drills\"", "no rule \"drills\""),
            ("\"os-promote\": \"rule:os-promote\"", "refers to itself"),
            (
                "\"os-promote\": \"rule:a\"\n\"a\": \"not rule:b\"\n\"b\": \"rule:a\"",
                "refers to itself",
            ),
            ("\"os-demote\": \"@\"\n\"os-demote\": \"!\"", "twice"),
            // As it was written before.
            ("\"os-promote\" = [\"admin\"]", "line 1"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let why = Rules::read(&path).unwrap_err().to_string();
            assert!(why.contains(word), "{bad}: {why}");
        }
        assert!(Rules::read(&dir.path().join("none")).is_err());
    }
}
