//! The microversion: the newest that we know of, or the newest that this Cinder has, if that is enough.

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

/// 3.64 shows a volume's `encryption_key_id`; nothing newer is of use to us, and what was not tried is not asked for.
const WANTED: Microversion = Microversion(3, 64);
/// 3.42 extends attached volumes; managing came before. Cinder of 2017.
const LEAST: Microversion = Microversion(3, 42);

/// A version of Cinder's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion(pub u32, pub u32);

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
    pub(crate) fn header(self) -> (HeaderName, HeaderValue) {
        let name = HeaderName::from_static("openstack-api-version");
        // Digits and a dot are a header's value always.
        let value = HeaderValue::from_str(&format!("volume {self}"));
        (
            name,
            value.unwrap_or(HeaderValue::from_static("volume 3.42")),
        )
    }
}

/// Asks what this Cinder speaks.
pub(crate) async fn negotiate(
    cloud: &Cloud,
    base: &Url,
    token: &Token,
    window: Window,
) -> Result<Microversion, CloudError> {
    let url = base.join("/");
    let headers = vec![token.header()];
    let answer = cloud.exchange(&Method::GET, &url, headers, None, window);
    let newest = newest(&answer.await?).ok_or_else(|| CloudError::Unexpected {
        call: cloud.call(&Method::GET, &url),
        why: "it names no version 3 of its API: is this Cinder?".to_owned(),
        source: None,
    })?;
    if newest < LEAST {
        let why = format!("its Cinder speaks {newest}, and {LEAST} is the least that is needed");
        return Err(cloud.misfit("auth_url", why));
    }
    Ok(newest.min(WANTED))
}

fn newest(answer: &Value) -> Option<Microversion> {
    let versions = answer.get("versions")?.as_array()?;
    let all = versions.iter().filter_map(|v| v["version"].as_str());
    all.filter_map(|v| v.parse::<Microversion>().ok())
        .filter(|v| v.0 == 3)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_of_version_3_counts() {
        let answer = json!({ "versions": [
            { "id": "v2.0", "version": "" }, { "id": "v3.0", "version": "3.71" }, { "id": "v4", "version": "4.1" },
        ]});
        assert_eq!(newest(&answer), Some(Microversion(3, 71)));
        assert_eq!(newest(&json!({ "versions": [{ "version": "3" }] })), None);
        assert_eq!(newest(&json!([])), None);
        assert!(Microversion(3, 9) < Microversion(3, 42));
        assert_eq!(WANTED.header().1, "volume 3.64");
    }
}
