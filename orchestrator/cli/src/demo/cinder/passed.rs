//! What came by a zone's gateway, as its access log has it: that the story went through it, and not around.

use rekindle_lab::Site;
use serde_json::Value;
use std::collections::BTreeMap;

/// Requests that Cinder took, and how many of each: by method, and by path without version and project.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed(BTreeMap<(String, String), usize>);

/// A request that has to be among them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    method: &'static str,
    path: String,
    /// So often, or more: clients may ask again.
    times: usize,
}

impl Expected {
    pub(super) fn new(method: &'static str, path: impl Into<String>, times: usize) -> Self {
        Self {
            method,
            path: path.into(),
            times,
        }
    }
}

impl Passed {
    /// From a log of JSON lines. What is no line of the access log says something else.
    pub(super) fn read(log: &str) -> Self {
        let mut passed = Self::default();
        for request in log.lines().filter_map(request) {
            *passed.0.entry(request).or_default() += 1;
        }
        passed
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// What is not there, in words.
    pub(super) fn lacks(&self, site: Site, expected: &[Expected]) -> Vec<String> {
        let lack = |e: &Expected| {
            let key = (e.method.to_owned(), e.path.clone());
            let seen = self.0.get(&key).copied().unwrap_or_default();
            (seen < e.times).then(|| {
                format!(
                    "{site}'s gateway passed {seen} of {} {} {}: the rest went around it",
                    e.times, e.method, e.path
                )
            })
        };
        expected.iter().filter_map(lack).collect()
    }
}

/// The request of a line, where Cinder answered it and well.
fn request(line: &str) -> Option<(String, String)> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["target"] != "access" {
        return None;
    }
    let fields = &line["fields"];
    let text = |key: &str| fields[key].as_str();
    if !(200..300).contains(&fields["status"].as_u64()?) || text("cinder.request.id").is_none() {
        return None;
    }
    let (_project, path) = text("path")?.strip_prefix("/v3/")?.split_once('/')?;
    Some((text("method")?.to_owned(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str, path: &str, status: u16, cinder: &str) -> String {
        format!(
            r#"{{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","fields":{{"method":"{method}","path":"{path}","status":{status},"took_ms":3,"whole":true{cinder}}},"target":"access"}}"#
        )
    }

    const CINDER: &str = r#","cinder.request.id":"req-1""#;

    #[test]
    fn what_cinder_took_is_counted() {
        let log = [
            r#"{"level":"INFO","fields":{"message":"serving"},"target":"rekindle_gateway"}"#
                .to_owned(),
            line("POST", "/v3/p1/volumes", 202, CINDER),
            line("POST", "/v3/p2/volumes", 202, CINDER),
            line("GET", "/v3/p1/volumes/1f", 200, CINDER),
            "not JSON".to_owned(),
        ]
        .join("\n");
        let passed = Passed::read(&log);
        assert_eq!(passed.count(), 3);
        let expected = [
            Expected::new("POST", "volumes", 2),
            Expected::new("GET", "volumes/1f", 1),
        ];
        assert_eq!(passed.lacks(Site::ZoneA, &expected), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let passed = Passed::read(&line("POST", "/v3/p1/volumes", 202, CINDER));
        let expected = [
            Expected::new("POST", "volumes", 2),
            Expected::new("GET", "volumes", 1),
        ];
        assert_eq!(
            passed.lacks(Site::ZoneA, &expected),
            [
                "zone-a's gateway passed 1 of 2 POST volumes: the rest went around it",
                "zone-a's gateway passed 0 of 1 GET volumes: the rest went around it"
            ]
        );
    }

    #[test]
    fn what_cinder_did_not_take_is_not_counted() {
        for line in [
            line("POST", "/v3/p1/volumes", 409, CINDER),
            line("POST", "/v3/p1/volumes", 202, ""),
            line("GET", "/", 300, CINDER),
            line("GET", "/v3/", 200, CINDER),
            line("POST", "/v3/p1/volumes", 202, CINDER).replace("access", "other"),
        ] {
            assert_eq!(Passed::read(&line), Passed::default(), "{line}");
        }
    }
}
