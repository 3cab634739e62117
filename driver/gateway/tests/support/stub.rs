//! A server where Cinder stands. What it answers follows from the request alone; `X-Stub` says how.
//!
//! | `X-Stub` | the answer |
//! |---|---|
//! | none | what it was sent, as JSON, with links as Cinder makes them |
//! | `status=N` | that status |
//! | `chunked` | in chunks rather than with a length |
//! | `mirror` | the request's body, piece by piece, as it comes |
//! | `hold` | the head comes when the test says so |
//! | `stall` | a piece of the body, and no more until the test says so |
//! | `cut` | the same, and then the connection breaks |
//! | `early` | an answer without reading the body |
//! | `close` | the connection is closed after it |

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{HeaderMap, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
};

/// A request as the stub saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
}

#[derive(Clone, Default)]
pub struct Book(Arc<Inner>);

#[derive(Default)]
struct Inner {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    /// How many held answers may go on.
    let_go: Gate,
}

struct Gate(Semaphore);
impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Book {
    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Connections now.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// One held answer goes on.
    pub fn let_go(&self) {
        self.0.let_go.0.add_permits(1);
    }

    async fn held(&self) {
        self.0.let_go.0.acquire().await.unwrap().forget();
    }

    /// Waits until it has seen so many requests.
    pub async fn has_seen(&self, n: usize) {
        super::soon(async {
            while self.seen().len() < n {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Serves one connection.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.0.connections.fetch_add(1, Ordering::SeqCst);
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let service = service_fn(|request| {
            let book = self.clone();
            async move { Ok::<_, Infallible>(book.answer(request).await) }
        });
        let _ = http1::Builder::new()
            .auto_date_header(false)
            .preserve_header_case(true)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Out> {
        let (head, body) = request.into_parts();
        let seen = Seen {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers.clone(),
        };
        self.0.seen.lock().unwrap().push(seen.clone());
        let how = head.headers.get("x-stub");
        let how = how.map_or("", |v| v.to_str().unwrap()).to_owned();
        let has = |word: &str| how.split(' ').any(|w| w == word);
        if has("mirror") {
            let out = body.map_err(|e| -> Broken { e.into() });
            return Response::new(out.boxed_unsync());
        }
        if has("early") {
            return own(StatusCode::UNAUTHORIZED, b"early".to_vec(), &how);
        }
        let body = match body.collect().await {
            Ok(all) => all.to_bytes(),
            Err(e) => format!("the body was cut: {e}").into(),
        };
        if has("hold") {
            self.held().await;
        }
        let status = how
            .split(' ')
            .find_map(|w| w.strip_prefix("status="))
            .map_or(StatusCode::OK, |n| {
                StatusCode::from_bytes(n.as_bytes()).unwrap()
            });
        if has("stall") || has("cut") {
            let book = self.clone();
            let cut = has("cut");
            let pieces = futures::stream::unfold(0, move |n| {
                let book = book.clone();
                async move {
                    match n {
                        0 => Some((Ok(Frame::data(Bytes::from_static(b"first"))), 1)),
                        1 => {
                            book.held().await;
                            if cut {
                                return Some((Err::<_, Broken>("cut".into()), 2));
                            }
                            Some((Ok(Frame::data(Bytes::from_static(b"second"))), 2))
                        }
                        _ => None,
                    }
                }
            });
            return Response::new(BodyExt::boxed_unsync(StreamBody::new(Box::pin(pieces))));
        }
        own(status, told(&seen, &body), &how)
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;
type Out = UnsyncBoxBody<Bytes, Broken>;

/// What of a request belongs to the whole way.
fn told(seen: &Seen, body: &Bytes) -> Vec<u8> {
    let header = |name: &str| {
        let value = seen.headers.get(name);
        value.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
    };
    let proto = header("x-forwarded-proto").unwrap_or_else(|| "http".into());
    let host = header("x-forwarded-host").or_else(|| header("host"));
    let prefix = header("x-forwarded-prefix").unwrap_or_default();
    let hop = [
        "connection",
        "keep-alive",
        "te",
        "expect",
        "transfer-encoding",
        "upgrade",
    ];
    let mut headers: Vec<String> = seen
        .headers
        .iter()
        .filter(|(n, _)| !n.as_str().starts_with("x-forwarded-") && !hop.contains(&n.as_str()))
        .filter(|(n, _)| *n != "x-openstack-request-id")
        .map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes())))
        .collect();
    headers.sort();
    json!({
        "method": seen.method,
        "target": seen.target,
        "headers": headers,
        "body": String::from_utf8_lossy(body),
        "length": body.len(),
        "links": [format!("{proto}://{}{prefix}{}", host.unwrap_or_default(), seen.target)],
    })
    .to_string()
    .into_bytes()
}

fn own(status: StatusCode, body: Vec<u8>, how: &str) -> Response<Out> {
    let has = |word: &str| how.split(' ').any(|w| w == word);
    let body = Bytes::from(body);
    let out: Out = if has("chunked") {
        let pieces: Vec<_> = body
            .chunks(7)
            .map(|c| Ok::<_, Broken>(Frame::data(Bytes::copy_from_slice(c))))
            .collect();
        BodyExt::boxed_unsync(StreamBody::new(futures::stream::iter(pieces)))
    } else {
        http_body_util::Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync()
    };
    let mut response = Response::new(out);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |n: &'static str, v: &str| {
        headers.append(n, HeaderValue::from_str(v).unwrap());
    };
    set("content-type", "application/json");
    set("openstack-api-version", "volume 3.70");
    set("vary", "OpenStack-API-Version");
    set("vary", "Accept");
    set(
        "x-openstack-request-id",
        "req-5e1d0000-0000-4000-8000-000000000001",
    );
    set(
        "x-compute-request-id",
        "req-5e1d0000-0000-4000-8000-000000000001",
    );
    set("x_odd", "an answer may have it");
    if status == StatusCode::UNAUTHORIZED {
        set(
            "www-authenticate",
            "Keystone uri=\"https://keystone.example\"",
        );
    }
    if has("hop") {
        set("connection", "x-hop");
        set("x-hop", "1");
        set("keep-alive", "timeout=5");
    }
    if has("close") {
        set("connection", "close");
    }
    response
}

/// A stub that listens.
pub struct Stub {
    pub address: SocketAddr,
    pub book: Book,
    task: JoinHandle<()>,
}

impl Stub {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        let listener = super::soon(async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let address = listener.local_addr().unwrap();
        let book = Book::default();
        let served = book.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let book = served.clone();
                connections.spawn(async move { book.serve(stream).await });
            }
        });
        Self {
            address,
            book,
            task,
        }
    }

    /// It dies, with all its connections.
    pub async fn kill(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}
