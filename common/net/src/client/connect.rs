//! Where a client connects to.

use crate::tls::ClientFiles;
use axum::http::Uri;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rekindle_common::{ApiError, ErrorCode};
use rustls::pki_types::ServerName;
use std::{fmt, io, path::PathBuf};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

pub(super) enum Target {
    Unix(PathBuf),
    Mtls {
        host: String,
        port: u16,
        name: ServerName<'static>,
        files: Box<ClientFiles>,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Mtls { .. } => write!(f, "https://{}", self.host()),
        }
    }
}
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Target {
    pub(super) fn mtls(url: &str, files: Box<ClientFiles>) -> Result<Self, ApiError> {
        let bad = |why: &str| {
            ApiError::new(
                ErrorCode::InvalidField,
                format!("{url:?} is no https://HOST:PORT: {why}"),
            )
            .at("url")
        };
        let uri: Uri = url.parse().map_err(|_| bad("it is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("it does not start with https://"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("a path has no place in it"));
        }
        let host = uri.host().ok_or_else(|| bad("it has no host"))?;
        // An IPv6 address stands in brackets in a URL, and without them in a certificate.
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| bad("its host is neither a name nor an address"))?;
        Ok(Self::Mtls {
            port: uri.port_u16().unwrap_or(443),
            host,
            name,
            files,
        })
    }

    /// For the `Host` header.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Mtls { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Mtls { host, port, .. } => format!("{host}:{port}"),
        }
    }

    pub(super) async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        match self {
            Self::Unix(path) => http(UnixStream::connect(path).await?).await,
            Self::Mtls {
                host,
                port,
                name,
                files,
            } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let tls = TlsConnector::from(files.current());
                http(tls.connect(name.clone(), stream).await?).await
            }
        }
    }
}

async fn http<S>(stream: S) -> io::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, conn) = handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Ends with the answer, or when the sender and the body are dropped. Its errors come out at the sender too.
    tokio::spawn(async move {
        if let Err(error) = conn.await {
            tracing::debug!(%error, "a client's connection ended badly");
        }
    });
    Ok(sender)
}
