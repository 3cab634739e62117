//! Header fields on their way through: what belongs to one connection alone is taken off, and Cinder is told where its client is.
//!
//! | field | towards Cinder | towards the client |
//! |---|---|---|
//! | `Connection` and what it names, `Keep-Alive`, `Proxy-*`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade` | taken off (RFC 9110 7.6.1) | taken off |
//! | `Expect: 100-continue` | taken off: the gateway asks for the body itself, when it begins to read it | - |
//! | names with an underscore | taken off: a WSGI server takes `X_Forwarded_For` for `X-Forwarded-For` | kept |
//! | `Forwarded`, `X-Forwarded-*` | ours; a trusted proxy's are kept and added to | kept |
//! | `X-OpenStack-Request-ID` | the client's, or ours where it sent none | kept |
//! | all others | kept | kept |

use crate::{
    fault::{Fault, REQUEST_ID},
    trust::Networks,
};
use hyper::{
    HeaderMap, StatusCode,
    header::{
        CONNECTION, EXPECT, Entry, FORWARDED, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use std::net::SocketAddr;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED_ANY: &str = "x-forwarded-";

/// What is of one connection, whether `Connection` names it or not.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What `Connection` may not name: without it the message is another one.
const NEVER_NAMED: [&str; 4] = ["host", "content-length", "content-type", "x-auth-token"];

/// How the gateway is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What is said of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) scheme: Scheme,
    /// The proxies whose word counts.
    pub(crate) trusted: &'a Networks,
    /// The path under which the outermost proxy offers the gateway.
    pub(crate) prefix: Option<&'a HeaderValue>,
    /// Cinder's own authority, for a client that named no host.
    pub(crate) authority: &'a HeaderValue,
    /// The request's id with us.
    pub(crate) id: &'a str,
}

/// Makes a request's fields Cinder's.
pub(crate) fn to_cinder(headers: &mut HeaderMap, from: From<'_>) -> Result<(), Fault> {
    if let Some(expected) = headers.remove(EXPECT)
        && !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        let why = "nothing but 100-continue can be expected here";
        return Err(Fault::new(StatusCode::EXPECTATION_FAILED, "expectation", why).closing());
    }
    for named in named_by_connection(headers) {
        if NEVER_NAMED.contains(&named.as_str()) {
            let why = format!("Connection names {named}, which belongs to the whole way");
            return Err(Fault::new(StatusCode::BAD_REQUEST, "malformed", why).closing());
        }
        headers.remove(named);
    }
    take_off(headers, |name| name.contains('_'));
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    forwarded(headers, from);
    if !headers.contains_key(HOST) {
        headers.insert(HOST, from.authority.clone());
    }
    if let (Entry::Vacant(slot), Ok(id)) =
        (headers.entry(REQUEST_ID), HeaderValue::from_str(from.id))
    {
        slot.insert(id);
    }
    Ok(())
}

/// Makes an answer's fields the client's.
pub(crate) fn to_client(headers: &mut HeaderMap) {
    for named in named_by_connection(headers) {
        headers.remove(named);
    }
    for name in &HOP_BY_HOP {
        // A challenge is for whom the answer is for: Cinder is no proxy, and neither are we.
        if *name != PROXY_AUTHENTICATE {
            headers.remove(name);
        }
    }
}

/// What the `Connection` fields name, beside the words that are no fields.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok())
        .collect()
}

fn take_off(headers: &mut HeaderMap, which: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| which(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

fn forwarded(headers: &mut HeaderMap, from: From<'_>) {
    let trusted = from.trusted.hold(from.peer.ip());
    if !trusted {
        headers.remove(FORWARDED);
        take_off(headers, |name| name.starts_with(FORWARDED_ANY));
    }
    let peer = from.peer.ip().to_canonical().to_string();
    let chain: Vec<String> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|v| v.to_str().ok().map(str::to_owned))
        .chain([peer])
        .collect();
    if let Ok(chain) = HeaderValue::from_str(&chain.join(", ")) {
        headers.insert(FORWARDED_FOR, chain);
    }
    let host = headers.get(HOST).cloned();
    let proto = Some(HeaderValue::from_static(from.scheme.as_str()));
    for (name, ours) in [
        (FORWARDED_PROTO, proto),
        (FORWARDED_HOST, host),
        (FORWARDED_PREFIX, from.prefix.cloned()),
    ] {
        if let (Entry::Vacant(slot), Some(ours)) = (headers.entry(name), ours) {
            slot.insert(ours);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(n, v)| {
                let name = HeaderName::from_static(n);
                (name, HeaderValue::from_static(v))
            })
            .collect()
    }

    fn sent(list: &[(&'static str, &'static str)], trusted: &str) -> Result<Vec<String>, Fault> {
        let mut headers = fields(list);
        let prefix = HeaderValue::from_static("/volume");
        let trusted: Networks = trusted
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        to_cinder(
            &mut headers,
            From {
                peer: "192.0.2.7:4711".parse().unwrap(),
                scheme: Scheme::Https,
                trusted: &trusted,
                prefix: Some(&prefix),
                authority: &HeaderValue::from_static("cinder:8776"),
                id: "req-ours",
            },
        )?;
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect();
        lines.sort();
        Ok(lines)
    }

    const OURS: [&str; 5] = [
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: volumes.example",
        "x-forwarded-prefix: /volume",
        "x-forwarded-proto: https",
        "x-openstack-request-id: req-ours",
    ];

    #[test]
    fn what_is_of_one_connection_stays_there() {
        let lines = sent(
            &[
                ("host", "volumes.example"),
                ("connection", "keep-alive, X-Mine"),
                ("connection", "te , upgrade"),
                ("x-mine", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic eA=="),
                ("te", "trailers"),
                ("trailer", "x-sum"),
                ("upgrade", "h2c"),
                ("transfer-encoding", "chunked"),
                ("expect", "100-Continue"),
                ("x-auth-token", "t"),
                ("openstack-api-version", "volume 3.70"),
            ],
            "",
        );
        let mut expected = vec![
            "host: volumes.example",
            "openstack-api-version: volume 3.70",
        ];
        expected.push("x-auth-token: t");
        expected.extend(OURS);
        assert_eq!(lines.unwrap(), expected);
    }

    #[test]
    fn nobody_says_where_they_are_from_but_who_is_trusted() {
        let said = [
            ("host", "volumes.example"),
            ("forwarded", "for=203.0.113.1"),
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-for", "203.0.113.2"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "1"),
            ("x_forwarded_host", "evil.example"),
            ("x-openstack-request-id", "req-theirs"),
        ];
        let mut expected = vec!["host: volumes.example"];
        expected.extend(OURS);
        expected.pop();
        expected.push("x-openstack-request-id: req-theirs");
        assert_eq!(sent(&said, "192.0.3.0/24").unwrap(), expected);
        assert_eq!(
            sent(&said, "2001:db8::/32 192.0.2.0/24").unwrap(),
            [
                "forwarded: for=203.0.113.1",
                "host: volumes.example",
                "x-forwarded-for: 203.0.113.1, 203.0.113.2, 192.0.2.7",
                "x-forwarded-host: evil.example",
                "x-forwarded-port: 1",
                "x-forwarded-prefix: /volume",
                "x-forwarded-proto: https",
                "x-openstack-request-id: req-theirs",
            ]
        );
    }

    #[test]
    fn a_client_without_a_host_is_given_cinders() {
        let lines = sent(&[], "").unwrap();
        assert_eq!(lines[0], "host: cinder:8776");
        assert!(
            !lines.iter().any(|l| l.contains("forwarded-host")),
            "{lines:?}"
        );
    }

    #[test]
    fn connection_takes_nothing_off_that_a_message_needs() {
        for named in ["Host", "content-length", "x, X-Auth-Token"] {
            let e = sent(&[("connection", named)], "").unwrap_err();
            assert_eq!(e.status, StatusCode::BAD_REQUEST, "{named}");
        }
        let e = sent(&[("expect", "200-ok")], "").unwrap_err();
        assert_eq!(e.status, StatusCode::EXPECTATION_FAILED);
    }

    #[test]
    fn answers_keep_all_but_the_connection() {
        let mut headers = fields(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x_odd", "1"),
            ("www-authenticate", "Keystone uri=\"x\""),
            ("x-compute-request-id", "req-1"),
        ]);
        to_client(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["www-authenticate", "x-compute-request-id", "x_odd"]);
    }
}
