//! A server's URL with the path that it serves under.

use hyper::Uri;
use std::fmt;

/// `http[s]://HOST[:PORT][/PATH]`, without an end slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Url {
    pub(crate) secure: bool,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    path: String,
}

impl Url {
    /// Takes a URL, or says why not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("{text:?} is no http[s]://HOST[:PORT][/PATH]: {why}");
        let uri: Uri = text.parse().map_err(|_| bad("it is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(bad("it starts with neither http:// nor https://")),
        };
        if uri.query().is_some() {
            return Err(bad("a query has no place in it"));
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(bad("a user's name has no place in it"));
        }
        let host = uri.host().filter(|h| !h.is_empty());
        let host = host.ok_or_else(|| bad("it has no host"))?;
        Ok(Self {
            secure,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Keystone's, which ends in `/v3`, whether that was written or not.
    pub(crate) fn keystone(text: &str) -> Result<Self, String> {
        let url = Self::parse(text)?;
        Ok(if url.last_segment() == Some("v3") {
            url
        } else {
            url.join("/v3")
        })
    }

    /// The same server, with more path. `more` starts with a slash and may hold a query.
    pub(crate) fn join(&self, more: &str) -> Self {
        Self {
            path: format!("{}{more}", self.path),
            ..self.clone()
        }
    }

    /// The path with the query, as it stands in a request.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() {
            "/"
        } else {
            &self.path
        }
    }

    pub(crate) fn last_segment(&self) -> Option<&str> {
        self.path
            .rsplit_once('/')
            .map(|(_, last)| last)
            .filter(|s| !s.is_empty())
    }

    /// The same, without its last segment.
    pub(crate) fn parent(&self) -> Self {
        let path = self.path.rsplit_once('/').map_or("", |(before, _)| before);
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// `HOST:PORT`, for the `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// A text as one segment of a path, or one value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_put_together() {
        let url = Url::parse("https://[2001:db8::1]/volume/v3/abc/").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("2001:db8::1", 443));
        assert_eq!(url.last_segment(), Some("abc"));
        assert_eq!(
            url.parent().join("/x?y=1").to_string(),
            "https://[2001:db8::1]:443/volume/v3/x?y=1"
        );
        let bare = Url::parse("http://h").unwrap();
        assert_eq!(
            (bare.path(), bare.last_segment(), bare.parent().path()),
            ("/", None, "/")
        );
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in [
            "",
            "h:80",
            "ftp://h",
            "https://",
            "https://h?x=1",
            "https://u:p@h",
            "http://h h",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_segment_keeps_nothing_of_meaning() {
        assert_eq!(escaped("rekindle:a b/ü?"), "rekindle%3Aa%20b%2F%C3%BC%3F");
    }
}
