//! Whose certificates may ask for anything, among all that the authority has signed.

use crate::extract::Failure;
use axum::Router;
use rekindle_common::{ApiError, ErrorCode};
use serde::Deserialize;

/// More than anybody needs.
const MOST: usize = 64;

/// The names that a client's certificate may have, of which one is enough. By default all that the authority has signed may ask.
///
/// `orchestrator-*` is the name `orchestrator-a` and not `orchestrator-a.example`: a `*` stands for any part of one label. Only DNS
/// names among the certificate's alternative names count. Its common name does not: no check of certificates has vouched for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct AllowedNames(Option<Vec<String>>);

/// A pattern that no name could match, or too many of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Nobody could ask for anything.
    #[error("an empty list lets nobody in: name at least one, or leave it out")]
    Empty,
    /// More than can be meant.
    #[error("more than {MOST} names")]
    TooMany,
    /// No DNS name looks like it.
    #[error("{0:?} is no DNS name with at most one `*` in each of its labels")]
    NoName(String),
}

impl TryFrom<Vec<String>> for AllowedNames {
    type Error = InvalidPattern;

    fn try_from(patterns: Vec<String>) -> Result<Self, InvalidPattern> {
        if patterns.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if patterns.len() > MOST {
            return Err(InvalidPattern::TooMany);
        }
        match patterns.iter().find(|p| !p.split('.').all(is_label)) {
            Some(bad) => Err(InvalidPattern::NoName(bad.clone())),
            None => Ok(Self(Some(patterns))),
        }
    }
}

fn is_label(label: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-_*".contains(&b);
    (1..=63).contains(&label.len()) && label.bytes().all(known) && label.matches('*').count() <= 1
}

impl AllowedNames {
    /// Whether everybody of the authority is let in.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a certificate with these names is.
    pub(super) fn admits(&self, names: &[String]) -> bool {
        let Some(patterns) = &self.0 else {
            return true;
        };
        let one = |name: &String| patterns.iter().any(|p| matches(p, name));
        names.iter().any(one)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    let (mut patterns, mut labels) = (pattern.split('.'), name.split('.'));
    loop {
        match (patterns.next(), labels.next()) {
            (None, None) => return true,
            (Some(pattern), Some(label)) if label_matches(pattern, label) => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

fn label_matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((begins, ends)) => {
            label.len() >= begins.len() + ends.len()
                && label.starts_with(begins)
                && label.ends_with(ends)
        }
    }
}

/// What a client that is not among them is served: a refusal, whatever it asks for.
pub(super) fn refusing(names: &[String]) -> Router {
    let named = match names {
        [] => "no DNS name".to_owned(),
        names => names.join(", "),
    };
    let error = ApiError::new(
        ErrorCode::Forbidden,
        format!(
            "a certificate of {named} may not ask for anything here: see listen.allowed in the server's configuration"
        ),
    );
    Router::new().fallback(move || async move { Failure(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str]) -> Result<AllowedNames, InvalidPattern> {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        AllowedNames::try_from(patterns)
    }

    #[test]
    fn a_star_stands_for_part_of_one_label() {
        for (pattern, name, admitted) in [
            ("orchestrator-a", "orchestrator-a", true),
            ("orchestrator-a", "Orchestrator-A", true),
            ("orchestrator-a", "orchestrator-ab", false),
            ("orchestrator-*", "orchestrator-a", true),
            ("orchestrator-*", "orchestrator-", true),
            ("orchestrator-*", "orchestrator", false),
            ("orchestrator-*", "orchestrator-a.evil.example", false),
            ("*.zone-a.example", "o.zone-a.example", true),
            ("*.zone-a.example", "zone-a.example", false),
            ("*.zone-a.example", "x.o.zone-a.example", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("orchestrator-*", "*", false),
        ] {
            let list = allowed(&["other", pattern]).unwrap();
            let names = ["127.0.0.1".to_owned(), name.to_owned()];
            assert_eq!(list.admits(&names), admitted, "{pattern} {name}");
        }
    }

    #[test]
    fn a_certificate_without_a_name_is_admitted_only_where_all_are() {
        assert!(AllowedNames::default().admits(&[]));
        assert!(!allowed(&["*"]).unwrap().admits(&[]));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!(allowed(&[]), Err(InvalidPattern::Empty));
        for bad in ["", "a..b", "a b", "**", "a.*b*", "zone-a.", "ä"] {
            assert!(
                matches!(allowed(&[bad]), Err(InvalidPattern::NoName(n)) if n == bad),
                "{bad}"
            );
        }
        assert_eq!(allowed(&["x"; MOST + 1]), Err(InvalidPattern::TooMany));
    }
}
