//! The part of oslo.policy's language that rules are written in. Pure.
//!
//! ```text
//!   or  := and ("or" and)*          role:NAME                    the token has that role, whatever its case
//!   and := not ("and" not)*         project_id:%(project_id)s    the token is for the volume's project
//!   not := "not" not | one          rule:NAME                    as that rule says
//!   one := "(" or ")" | CHECK       @  and an empty rule: anybody   !: nobody
//! ```
//!
//! What oslo.policy knows and this does not (`is_admin:True`, `user_id:…`, `http:…`, literals) is an error: a rule that is read otherwise
//! than it was meant is worse than none.

use std::{collections::BTreeMap, fmt};

/// Nobody nests deeper, and nothing here recurs without a bound.
const DEEPEST: usize = 32;
/// How oslo.policy's files write that the token is for the target's project.
const PROJECT: &str = "project_id:%(project_id)s";

/// When something is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    Anybody,
    Nobody,
    Role(String),
    Project,
    Rule(String),
    Not(Box<Check>),
    All(Vec<Check>),
    Any(Vec<Check>),
}

/// Who asks, for which volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) roles: &'a [String],
    /// Whether the token is for the volume's project. `None`: that was not looked at yet.
    pub(super) is_of_project: Option<bool>,
}

impl Check {
    /// Of a rule's text.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        if words.is_empty() {
            return Ok(Self::Anybody);
        }
        let mut reader = Reader {
            words: &words,
            depth: 0,
        };
        let check = reader.or()?;
        match reader.words.first() {
            None => Ok(check),
            Some(word) => Err(format!("{word:?} stands where `and` or `or` should")),
        }
    }

    /// The rules that it refers to.
    pub(super) fn refers_to(&self) -> Vec<&str> {
        match self {
            Self::Rule(name) => vec![name],
            Self::Not(one) => one.refers_to(),
            Self::All(each) | Self::Any(each) => each.iter().flat_map(Self::refers_to).collect(),
            Self::Anybody | Self::Nobody | Self::Role(_) | Self::Project => Vec::new(),
        }
    }

    /// Whether it allows that; `None` where the project decides, and is not known. References lead to no circle and to no rule that is
    /// not there: that was looked at when they were read.
    pub(super) fn allows(&self, asker: Asker<'_>, rules: &BTreeMap<String, Self>) -> Option<bool> {
        match self {
            Self::Anybody => Some(true),
            Self::Nobody => Some(false),
            Self::Role(name) => {
                let has = |role: &String| role.to_lowercase() == name.to_lowercase();
                Some(asker.roles.iter().any(has))
            }
            Self::Project => asker.is_of_project,
            Self::Rule(name) => match rules.get(name) {
                Some(rule) => rule.allows(asker, rules),
                None => Some(false),
            },
            Self::Not(one) => one.allows(asker, rules).map(|is| !is),
            Self::All(each) => decided(each.iter().map(|c| c.allows(asker, rules)), false),
            Self::Any(each) => decided(each.iter().map(|c| c.allows(asker, rules)), true),
        }
    }
}

/// One that says `so` decides; else one that does not know leaves it open.
fn decided(each: impl Iterator<Item = Option<bool>>, so: bool) -> Option<bool> {
    let mut open = false;
    for one in each {
        match one {
            Some(is) if is == so => return Some(so),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!so)
}

/// As it is written in a file.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, check: &Self| match check {
            Self::All(_) | Self::Any(_) => write!(f, "({check})"),
            Self::Anybody
            | Self::Nobody
            | Self::Role(_)
            | Self::Project
            | Self::Rule(_)
            | Self::Not(_) => write!(f, "{check}"),
        };
        let joined = |f: &mut fmt::Formatter<'_>, each: &[Self], word: &str| {
            for (n, check) in each.iter().enumerate() {
                if n > 0 {
                    write!(f, " {word} ")?;
                }
                part(f, check)?;
            }
            Ok(())
        };
        match self {
            Self::Anybody => f.write_str("@"),
            Self::Nobody => f.write_str("!"),
            Self::Role(name) => write!(f, "role:{name}"),
            Self::Project => f.write_str(PROJECT),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Not(one) => {
                f.write_str("not ")?;
                part(f, one)
            }
            Self::All(each) => joined(f, each, "and"),
            Self::Any(each) => joined(f, each, "or"),
        }
    }
}

struct Reader<'a> {
    words: &'a [String],
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn takes(&mut self, word: &str) -> bool {
        let is = self
            .words
            .first()
            .is_some_and(|w| w.eq_ignore_ascii_case(word));
        if is {
            self.next();
        }
        is
    }

    fn or(&mut self) -> Result<Check, String> {
        let mut each = vec![self.and()?];
        while self.takes("or") {
            each.push(self.and()?);
        }
        Ok(one_or(each, Check::Any))
    }

    fn and(&mut self) -> Result<Check, String> {
        let mut each = vec![self.not()?];
        while self.takes("and") {
            each.push(self.not()?);
        }
        Ok(one_or(each, Check::All))
    }

    fn not(&mut self) -> Result<Check, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST} times"));
        }
        let check = if self.takes("not") {
            self.not().map(|check| Check::Not(Box::new(check)))
        } else {
            self.one()
        };
        self.depth -= 1;
        check
    }

    fn one(&mut self) -> Result<Check, String> {
        match self.next() {
            None => Err("it ends where a check should stand".to_owned()),
            Some("(") => {
                let inner = self.or()?;
                if self.takes(")") {
                    Ok(inner)
                } else {
                    Err("a parenthesis is not closed".to_owned())
                }
            }
            Some(word) => check(word),
        }
    }
}

fn one_or(mut each: Vec<Check>, many: fn(Vec<Check>) -> Check) -> Check {
    match each.pop() {
        Some(only) if each.is_empty() => only,
        last => {
            each.extend(last);
            many(each)
        }
    }
}

fn check(word: &str) -> Result<Check, String> {
    let named = |name: &str| {
        let plain = |c: char| !c.is_whitespace() && !"()%'\"".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("{word:?} has no plain name behind the colon"));
        }
        Ok(name.to_owned())
    };
    match (word, word.split_once(':')) {
        ("@", _) => Ok(Check::Anybody),
        ("!", _) => Ok(Check::Nobody),
        (PROJECT, _) => Ok(Check::Project),
        (_, Some(("role", name))) => named(name).map(Check::Role),
        (_, Some(("rule", name))) => named(name).map(Check::Rule),
        (_, Some(_) | None) => Err(format!(
            "{word:?} is no check that is known here: there are role:NAME, rule:NAME, {PROJECT}, @ and !, joined by and, or, not and parentheses"
        )),
    }
}

/// Parentheses stand for themselves at a word's beginning and end, as in oslo.policy; between is a check, `%(project_id)s` in it and all.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let inner = word.trim_start_matches('(');
        words.extend(std::iter::repeat_n(
            "(".to_owned(),
            word.len() - inner.len(),
        ));
        let check = inner.trim_end_matches(')');
        if !check.is_empty() {
            words.push(check.to_owned());
        }
        words.extend(std::iter::repeat_n(
            ")".to_owned(),
            inner.len() - check.len(),
        ));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allows(text: &str, roles: &[&str], is_of_project: Option<bool>) -> Option<bool> {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let asker = Asker {
            roles: &roles,
            is_of_project,
        };
        let owner = Check::read(PROJECT).unwrap();
        let rules = BTreeMap::from([("owner".to_owned(), owner)]);
        Check::read(text).unwrap().allows(asker, &rules)
    }

    #[test]
    fn a_rule_is_read_as_oslo_policy_does() {
        for (text, roles, is) in [
            ("", &[][..], true),
            ("@", &[], true),
            ("!", &["admin"], false),
            ("role:admin", &["Admin"], true),
            ("role:admin", &["administrator"], false),
            ("role:admin or role:member", &["member"], true),
            ("role:admin and role:member", &["member"], false),
            ("not role:admin", &["member"], true),
            ("not not role:admin", &["member"], false),
            ("NOT role:a OR role:b AND role:c", &["a", "b"], false),
            // `and` binds before `or`, wherever it stands.
            ("role:a or role:b and role:c", &["a"], true),
            ("(role:a or role:b) and role:c", &["a"], false),
            ("(role:a or role:b) and role:c", &["b", "c"], true),
            ("((role:a))", &["a"], true),
            ("not (role:a or role:b)", &["b"], false),
            ("( role:a ) or ( role:b )", &["b"], true),
            ("role:a:b", &["a:b"], true),
        ] {
            assert_eq!(allows(text, roles, None), Some(is), "{text:?} {roles:?}");
        }
    }

    #[test]
    fn the_project_decides_where_it_is_known() {
        let owner = "role:admin or (role:member and project_id:%(project_id)s)";
        assert_eq!(allows(owner, &["member"], Some(true)), Some(true));
        assert_eq!(allows(owner, &["member"], Some(false)), Some(false));
        assert_eq!(allows(owner, &["member"], None), None);
        assert_eq!(allows(owner, &["reader"], None), Some(false));
        assert_eq!(allows(owner, &["admin"], None), Some(true));
        assert_eq!(allows("not rule:owner", &[], Some(false)), Some(true));
        assert_eq!(allows("not rule:owner", &[], None), None);
        assert_eq!(allows("rule:nobody", &[], None), Some(false));
    }

    #[test]
    fn what_is_no_rule_of_these_is_said() {
        for (text, word) in [
            ("admin", "role:NAME"),
            ("is_admin:True", "known here"),
            ("user_id:%(user_id)s", "known here"),
            ("project_id:%(tenant)s", "known here"),
            ("http://policy.example/", "known here"),
            ("'Member':%(role.name)s", "known here"),
            ("role:", "plain name"),
            ("role:%(x)s", "plain name"),
            ("role:a role:b", "`and` or `or`"),
            ("role:a or", "ends where"),
            ("or role:a", "known here"),
            ("not", "ends where"),
            ("(role:a", "not closed"),
            ("role:a)", "`and` or `or`"),
            ("()", "known here"),
            (&"not ".repeat(40), "deeper"),
            (&"(".repeat(40), "deeper"),
        ] {
            let why = Check::read(text).unwrap_err();
            assert!(why.contains(word), "{text:?}: {why}");
        }
    }

    fn any_check() -> impl Strategy<Value = Check> {
        let leaf = prop_oneof![
            Just(Check::Anybody),
            Just(Check::Nobody),
            Just(Check::Project),
            "[a-z:_-]{1,8}".prop_map(Check::Role),
            "[a-z:_-]{1,8}".prop_map(Check::Rule),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|c| Check::Not(Box::new(c))),
                prop::collection::vec(inner.clone(), 2..4).prop_map(Check::All),
                prop::collection::vec(inner, 2..4).prop_map(Check::Any),
            ]
        })
    }

    proptest! {
        /// What is shown in a refusal is what could stand in the file.
        #[test]
        fn a_rule_that_is_shown_is_read_again(check in any_check()) {
            prop_assert_eq!(Check::read(&check.to_string()), Ok(check));
        }

        #[test]
        fn any_text_is_one_or_none(text in ".{0,80}", near in "(role:a|rule:b|and|or|not|[()@! ]){0,20}") {
            let _ = Check::read(&text);
            let _ = Check::read(&near);
        }
    }
}
