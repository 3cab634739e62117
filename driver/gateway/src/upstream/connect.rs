//! The way to Cinder, in the clear or over TLS.

use super::link::Link;
use hyper::{Uri, client::conn::http1::Builder, header::HeaderValue};
use hyper_util::rt::TokioIo;
use rekindle_net::TrustedServers;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use std::{fmt, io, str::FromStr};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Bytes of an answer's head.
const ANSWER_HEAD: usize = 64 * 1024;
/// Fields of it.
const ANSWER_FIELDS: usize = 200;

/// Where Cinder is: `http://HOST:PORT` or `https://HOST:PORT`. Paths go through as they are, so it has none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UpstreamUrl {
    secure: bool,
    host: String,
    port: u16,
    name: ServerName<'static>,
    authority: HeaderValue,
}

/// A text that is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no http[s]://HOST:PORT: {why}")]
pub struct InvalidUpstream {
    text: String,
    why: &'static str,
}

impl FromStr for UpstreamUrl {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let bad = |why| InvalidUpstream {
            text: text.chars().take(200).collect(),
            why,
        };
        let uri: Uri = text.parse().map_err(|_| bad("it is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(bad("it starts with neither http:// nor https://")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad(
                "a path has no place in it: what clients ask for goes to Cinder as it is, and upstream.prefix says under which path that has its API",
            ));
        }
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user's name has no place in it"));
        }
        // An IPv6 address stands in brackets in a URL, and without them in a certificate.
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| bad("its host is neither a name nor an address"))?;
        Ok(Self {
            secure,
            host: host.to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            name,
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| bad("its host is neither a name nor an address"))?,
        })
    }
}

impl TryFrom<String> for UpstreamUrl {
    type Error = InvalidUpstream;

    fn try_from(text: String) -> Result<Self, InvalidUpstream> {
        text.parse()
    }
}

impl UpstreamUrl {
    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(
            f,
            "{scheme}://{}",
            self.authority.to_str().unwrap_or_default()
        )
    }
}

pub(super) struct Target {
    url: UpstreamUrl,
    trusted: Option<TrustedServers>,
}

impl Target {
    pub(super) fn new(url: &UpstreamUrl, trusted: Option<TrustedServers>) -> Self {
        Self {
            url: url.clone(),
            trusted,
        }
    }

    pub(super) fn authority(&self) -> &HeaderValue {
        &self.url.authority
    }

    pub(super) async fn connect(&self) -> io::Result<Link> {
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
        // A head and its body are two writes: waiting for more only delays them.
        stream.set_nodelay(true)?;
        if !self.url.secure {
            return http(stream).await;
        }
        let trusted = self
            .trusted
            .as_ref()
            .ok_or_else(|| io::Error::other("no authorities are known for TLS: set upstream.ca"))?;
        let tls = TlsConnector::from(trusted.current());
        http(tls.connect(self.url.name.clone(), stream).await?).await
    }
}

async fn http<S>(stream: S) -> io::Result<Link>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new()
        // What a script greps for in an answer stands there as Cinder wrote it.
        .preserve_header_case(true)
        .max_buf_size(ANSWER_HEAD)
        .max_headers(ANSWER_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    Ok(Link::new(sender, Box::pin(connection)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cinder_is_a_server_and_no_page() {
        for (text, secure, host, port) in [
            ("http://127.0.0.1:8776", false, "127.0.0.1", 8776),
            ("https://cinder.example/", true, "cinder.example", 443),
            ("https://[2001:db8::1]:8776", true, "2001:db8::1", 8776),
        ] {
            let url: UpstreamUrl = text.parse().unwrap();
            assert_eq!(
                (url.secure, url.host.as_str(), url.port),
                (secure, host, port)
            );
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for bad in [
            "",
            "cinder:8776",
            "ftp://h",
            "http://h/volume",
            "http://h?x=1",
            "http://u:p@h",
            "http://h h",
        ] {
            assert!(bad.parse::<UpstreamUrl>().is_err(), "{bad}");
        }
    }
}
