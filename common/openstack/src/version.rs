//! The microversion of a service: the newest that we know of, or the newest that it has, if that is enough.

use crate::{
    cloud::{Cloud, Window},
    error::CloudError,
    keystone::Token,
    url::Url,
};
use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// A version of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion(pub u32, pub u32);

/// How a service speaks of its versions, and what we need of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// For people.
    name: &'static str,
    /// In the header.
    word: &'static str,
    /// What was not tried is not asked for.
    wanted: Microversion,
    least: Microversion,
    /// Where the header cannot be made.
    least_value: &'static str,
}

/// 3.64 shows a volume's `encryption_key_id`; nothing newer is of use to us. 3.42 extends attached volumes; managing came before:
/// Cinder of 2017.
pub(crate) const CINDER: Dialect = Dialect {
    name: "Cinder",
    word: "volume",
    wanted: Microversion(3, 64),
    least: Microversion(3, 42),
    least_value: "volume 3.42",
};

/// 2.96 is Nova of 2024. 2.69 says which servers it cannot see now, 2.73 why one is locked, and 2.79 which volumes would be deleted with
/// their server: Nova of 2019. Without these a list is not known to be whole, and a deletion not known to be harmless.
pub(crate) const NOVA: Dialect = Dialect {
    name: "Nova",
    word: "compute",
    wanted: Microversion(2, 96),
    least: Microversion(2, 79),
    least_value: "compute 2.79",
};

/// 1.29 shows the host that a nested provider belongs to: Placement of 2019, and nothing newer is of use to us.
pub(crate) const PLACEMENT: Dialect = Dialect {
    name: "Placement",
    word: "placement",
    wanted: Microversion(1, 29),
    least: Microversion(1, 29),
    least_value: "placement 1.29",
};

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Microversion {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        let (major, minor) = s.split_once('.').ok_or(())?;
        Ok(Self(
            major.parse().map_err(|_| ())?,
            minor.parse().map_err(|_| ())?,
        ))
    }
}

impl Microversion {
    pub(crate) fn header(self, dialect: &Dialect) -> (HeaderName, HeaderValue) {
        let name = HeaderName::from_static("openstack-api-version");
        // Digits and a dot are a header's value always.
        let value = HeaderValue::from_str(&format!("{} {self}", dialect.word));
        let least = HeaderValue::from_static(dialect.least_value);
        (name, value.unwrap_or(least))
    }
}

/// Asks what this service speaks.
pub(crate) async fn negotiate(
    cloud: &Cloud,
    dialect: &Dialect,
    base: &Url,
    token: &Token,
    window: Window,
) -> Result<Microversion, CloudError> {
    let Dialect { name, least, .. } = dialect;
    let url = base.join("/");
    let headers = vec![token.header()];
    let answer = cloud.exchange(&Method::GET, &url, headers, None, window);
    let newest = newest(&answer.await?, least.0).ok_or_else(|| CloudError::Unexpected {
        call: cloud.call(&Method::GET, &url),
        why: format!(
            "it names no version {} of its API: is this {name}?",
            least.0
        ),
        source: None,
    })?;
    if newest < *least {
        let why = format!("its {name} speaks {newest}, and {least} is the least that is needed");
        return Err(cloud.misfit("auth_url", why));
    }
    Ok(newest.min(dialect.wanted))
}

/// Cinder gives a list, Nova the one that was asked, Placement a list with another name for the newest.
fn newest(answer: &Value, major: u32) -> Option<Microversion> {
    let listed = answer.get("versions").and_then(Value::as_array);
    let all = listed.into_iter().flatten().chain(answer.get("version"));
    all.filter_map(|v| v["version"].as_str().or_else(|| v["max_version"].as_str()))
        .filter_map(|v| v.parse::<Microversion>().ok())
        .filter(|v| v.0 == major)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_of_the_major_version_counts() {
        let answer = json!({ "versions": [
            { "id": "v2.0", "version": "" }, { "id": "v3.0", "version": "3.71" }, { "id": "v4", "version": "4.1" },
        ]});
        assert_eq!(newest(&answer, 3), Some(Microversion(3, 71)));
        assert_eq!(
            newest(&json!({ "versions": [{ "version": "3" }] }), 3),
            None
        );
        assert_eq!(newest(&json!([]), 3), None);
        let nova = json!({ "version": { "id": "v2.1", "version": "2.100", "min_version": "2.1" } });
        assert_eq!(newest(&nova, 2), Some(Microversion(2, 100)));
        assert_eq!(newest(&nova, 3), None);
        assert!(Microversion(3, 9) < Microversion(3, 42));
        let placement =
            json!({ "versions": [{ "id": "v1.0", "max_version": "1.39", "min_version": "1.0" }] });
        assert_eq!(newest(&placement, 1), Some(Microversion(1, 39)));
        for dialect in [CINDER, NOVA, PLACEMENT] {
            assert_eq!(dialect.least.header(&dialect).1, dialect.least_value);
        }
        assert_eq!(NOVA.wanted.header(&NOVA).1, "compute 2.96");
    }
}
