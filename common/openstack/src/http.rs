//! One call over one connection, with a deadline and a bound on the answer.
//!
//! A connection serves one call: one that is kept open may be closed by the server under the next write, and then nobody knows
//! whether that was carried out.

use crate::{
    error::{Call, CloudError},
    roots::Roots,
    url::Url,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rekindle_common::duration::Span;
use rustls::pki_types::ServerName;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

/// To connect, with the TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of an answer. A page of 500 volumes has about two million.
const ANSWER: usize = 32 * 1024 * 1024;

/// What is sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How servers are reached.
pub(crate) struct Http {
    /// `None` where nothing is reached by TLS.
    pub(crate) roots: Option<Roots>,
}

impl Http {
    /// Makes the call. Any status is an answer.
    pub(crate) async fn send(
        &self,
        call: &Call,
        ask: Ask<'_>,
        begun: Instant,
        deadline: Instant,
    ) -> Result<Answer, CloudError> {
        let late = || CloudError::TimedOut {
            call: call.clone(),
            after: Span(deadline.duration_since(begun)),
        };
        let broken = |source| CloudError::Broken {
            call: call.clone(),
            source,
        };
        let unreachable = |why: &str, source| CloudError::Unreachable {
            call: call.clone(),
            why: why.to_owned(),
            source,
        };
        let request = request(&ask).map_err(|e| CloudError::Unexpected {
            call: call.clone(),
            why: "it cannot be sent".to_owned(),
            source: Some(Box::new(e)),
        })?;
        let connecting = deadline.min(Instant::now() + CONNECT);
        let mut sender = timeout_at(connecting, self.connect(ask.url))
            .await
            .map_err(|_| unreachable("no connection in time", None))?
            .map_err(|e| match bad_certificate(&e) {
                true => CloudError::Untrusted {
                    call: call.clone(),
                    source: Box::new(e),
                },
                false => unreachable("no connection", Some(Box::new(e))),
            })?;
        let answer = timeout_at(deadline, sender.send_request(request))
            .await
            .map_err(|_| late())?
            .map_err(|e| broken(Box::new(e)))?;
        let (head, body) = answer.into_parts();
        let body = timeout_at(deadline, Limited::new(body, ANSWER).collect())
            .await
            .map_err(|_| late())?;
        let body = match body {
            Ok(all) => all.to_bytes(),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => {
                return Err(CloudError::Unexpected {
                    call: call.clone(),
                    why: format!("the answer is larger than {ANSWER} bytes"),
                    source: None,
                });
            }
            Err(e) => return Err(broken(e)),
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// The status of what is there, and nothing of what it says. The caller has the deadline.
    pub(crate) async fn status(&self, url: &Url) -> io::Result<StatusCode> {
        let ask = Ask {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: None,
        };
        let request = request(&ask).map_err(io::Error::other)?;
        let mut sender = self.connect(url).await?;
        let answer = sender.send_request(request).await;
        Ok(answer.map_err(io::Error::other)?.status())
    }

    async fn connect(&self, url: &Url) -> io::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        stream.set_nodelay(true)?;
        if !url.secure {
            return http(stream).await;
        }
        let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
        let roots = self
            .roots
            .as_ref()
            .ok_or_else(|| io::Error::other("no authorities are known for TLS: set `ca`"))?;
        let tls = TlsConnector::from(roots.current());
        http(tls.connect(name, stream).await?).await
    }
}

fn bad_certificate(e: &io::Error) -> bool {
    let tls = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

fn request(ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(&ask.method)
        .uri(ask.url.path())
        .header(header::HOST, ask.url.authority())
        .header(header::CONNECTION, "close")
        .header(header::ACCEPT, "application/json")
        .header(
            header::USER_AGENT,
            concat!("rekindle/", env!("CARGO_PKG_VERSION")),
        );
    if ask.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(ask.body.clone().unwrap_or_default()))
}

async fn http<S>(stream: S) -> io::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Ends with the answer, or when the sender and the body are dropped. Its errors come out at the sender too.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended badly");
        }
    });
    Ok(sender)
}
