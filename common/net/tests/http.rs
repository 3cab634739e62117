//! The server and the client against each other, and against clients that misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helper asserts too"
)]

use axum::{
    Extension, Json, Router,
    response::Response,
    routing::{get, post},
};
use futures::stream;
use rekindle_common::{ApiError, ErrorCode, action::Order};
use rekindle_net::{
    AllowedNames, ApiJson, ApiResult, Bound, Client, ClientLimits, Drained, Limits, ListenConfig,
    Peer, Server, SocketOptions, TlsFiles, ndjson, testing::TestAuthority, with_fallbacks,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{
    net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

fn limits() -> Limits {
    Limits {
        connections: 8,
        header_time: Duration::from_millis(400),
        body: 64 * 1024,
        request_time: Duration::from_millis(700),
        drain_time: Duration::from_secs(5),
    }
}

#[derive(Clone, Default)]
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

fn router(gate: Gate) -> Router {
    let wait = move || async move {
        gate.entered.notify_one();
        gate.open.notified().await;
        Json("waited")
    };
    with_fallbacks(
        Router::new()
            .route(
                "/who",
                get(|peer: Extension<Peer>| async move { Json(peer.0.to_string()) }),
            )
            .route(
                "/order",
                post(|ApiJson(order): ApiJson<Order>| async move { ApiResult::Ok(Json(order)) }),
            )
            .route(
                "/length",
                post(|ApiJson(s): ApiJson<String>| async move { Json(s.len()) }),
            )
            .route("/wait", get(wait))
            .route(
                "/panic",
                get(|| async {
                    assert!(std::hint::black_box(false), "on purpose");
                    Json(())
                }),
            )
            .route(
                "/busy",
                get(|| async {
                    ApiResult::<()>::Err(ApiError::new(ErrorCode::Busy, "in flight").into())
                }),
            )
            .route(
                "/lines",
                post(|ApiJson(n): ApiJson<u32>| async move { lines(n) }),
            )
            .route("/cut", post(|| async { cut() })),
    )
}

fn lines(n: u32) -> Response {
    ndjson(stream::iter(0..n))
}

/// A stream that breaks after its first line.
fn cut() -> Response {
    let chunks = stream::unfold(0, |n| async move {
        if n == 0 {
            return Some((Ok("1\n"), 1));
        }
        // What is in one piece with the break may never be sent.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Err(std::io::Error::other("gone")), 2))
    });
    Response::new(axum::body::Body::from_stream(chunks))
}

struct Running {
    folder: TempDir,
    socket: PathBuf,
    tls: SocketAddr,
    plain: SocketAddr,
    authority: TestAuthority,
    gate: Gate,
    stop: CancellationToken,
    server: JoinHandle<Drained>,
}

impl Running {
    async fn start(limits: Limits) -> Self {
        Self::start_for(limits, AllowedNames::default()).await
    }

    async fn start_for(limits: Limits, allowed: AllowedNames) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = TestAuthority::new().unwrap();
        let files = authority
            .issue(folder.path(), "server", &["127.0.0.1", "sidecar.zone-a"])
            .unwrap();
        let socket = folder.path().join("s.sock");
        let gate = Gate::default();
        let mut server = Server::new(limits);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let unix = ListenConfig::Unix {
            path: socket.clone(),
            options: SocketOptions::default(),
        };
        let tls = ListenConfig::Tls {
            address: any,
            files,
            allowed,
        };
        let plain = ListenConfig::Loopback { address: any };
        assert_eq!(
            server.listen(&unix, router(gate.clone())).await.unwrap(),
            Bound::Unix(socket.clone())
        );
        let tls = server.listen(&tls, router(gate.clone())).await.unwrap();
        let plain = server.listen(&plain, router(gate.clone())).await.unwrap();
        let stop = CancellationToken::new();
        Self {
            socket,
            tls: tls.address().unwrap(),
            plain: plain.address().unwrap(),
            authority,
            gate,
            server: tokio::spawn(server.run(stop.clone())),
            stop,
            folder,
        }
    }

    fn unix(&self) -> Client {
        Client::unix(&self.socket, ClientLimits::default())
    }
    fn certificate(&self, name: &str) -> TlsFiles {
        self.authority
            .issue(self.folder.path(), name, &[name])
            .unwrap()
    }
    fn mtls(&self, files: &TlsFiles) -> Client {
        let url = format!("https://{}", self.tls);
        Client::mtls(&url, files, ClientLimits::default()).unwrap()
    }

    /// Opens connections to where certificates are asked for, and says nothing on them.
    async fn silent(&self, many: usize) -> Vec<TcpStream> {
        let mut all = Vec::new();
        for _ in 0..many {
            all.push(TcpStream::connect(self.tls).await.unwrap());
        }
        all
    }

    /// Shows a certificate, and says nothing after it.
    async fn shown(&self, files: &TlsFiles) -> TlsStream<TcpStream> {
        let ca = CertificateDer::from_pem_file(&files.ca).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca).unwrap();
        let chain = CertificateDer::pem_file_iter(&files.cert).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        let stream = TcpStream::connect(self.tls).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }

    /// So many requests that are in a handler for as long as the gate is shut.
    async fn waiting(
        &self,
        many: usize,
        client: impl Fn() -> Client,
    ) -> Vec<JoinHandle<Result<String, ApiError>>> {
        let mut all = Vec::new();
        for _ in 0..many {
            let client = client();
            all.push(tokio::spawn(async move { client.get("/wait").await }));
            self.gate.entered.notified().await;
        }
        all
    }

    /// Opens the gate, and has each of them answered.
    async fn let_go(&self, waiting: Vec<JoinHandle<Result<String, ApiError>>>) {
        self.gate.open.notify_waiters();
        for w in waiting {
            assert_eq!(w.await.unwrap().unwrap(), "waited");
        }
    }

    /// Sends raw bytes to the unix socket and reads all that comes.
    async fn raw(&self, text: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        timeout(Duration::from_secs(5), stream.read_to_end(&mut all))
            .await
            .expect("the server keeps the connection open")
            .unwrap();
        String::from_utf8(all).unwrap()
    }
}

#[tokio::test]
async fn both_ways_in_know_who_asks() {
    let s = Running::start(limits()).await;
    let who: String = s.unix().get("/who").await.unwrap();
    assert!(who.starts_with("uid "), "{who}");
    let client = s.mtls(&s.certificate("orchestrator.zone-b"));
    let who: String = client.get("/who").await.unwrap();
    assert!(
        who.starts_with("orchestrator.zone-b at 127.0.0.1:"),
        "{who}"
    );
    let mode = std::fs::metadata(&s.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_on_both_sides() {
    let s = Running::start(limits()).await;
    let others = TestAuthority::new().unwrap();
    let wrong = others
        .issue(s.folder.path(), "wrong", &["orchestrator.zone-b"])
        .unwrap();
    // Neither side trusts the other.
    let e = s.mtls(&wrong).get::<String>("/who").await.unwrap_err();
    assert_eq!(e.code, ErrorCode::SidecarUnreachable, "{e}");
    // The client trusts the server, the server not the client.
    let right = s.certificate("right");
    let half = TlsFiles {
        ca: right.ca.clone(),
        ..wrong
    };
    let e = s.mtls(&half).get::<String>("/who").await.unwrap_err();
    assert_eq!(e.code, ErrorCode::SidecarUnreachable, "{e}");
    // A server that is not the one that was meant: its certificate names 127.0.0.1 and not localhost.
    let url = format!("https://localhost:{}", s.tls.port());
    let client = Client::mtls(&url, &right, ClientLimits::default()).unwrap();
    let e = client.get::<String>("/who").await.unwrap_err();
    assert!(e.message.contains("certificate"), "{e}");
    // The right one still gets through.
    s.mtls(&right).get::<String>("/who").await.unwrap();
}

#[tokio::test]
async fn a_client_without_a_certificate_or_without_tls_gets_nothing() {
    let s = Running::start(limits()).await;
    let ca = s.certificate("any").ca;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(s.tls).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let got = async {
        // In TLS 1.3 the client learns of its refusal only with its first read.
        let mut tls = connector.connect(name, stream).await?;
        tls.write_all(b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n")
            .await?;
        let mut all = Vec::new();
        tls.read_to_end(&mut all).await?;
        std::io::Result::Ok(all)
    };
    assert!(got.await.is_err());

    let mut plain = TcpStream::connect(s.tls).await.unwrap();
    plain
        .write_all(b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut all = Vec::new();
    let _ = plain.read_to_end(&mut all).await;
    assert!(!String::from_utf8_lossy(&all).contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn bad_bodies_name_what_is_wrong_with_them() {
    let s = Running::start(limits()).await;
    for (body, code, field) in [
        ("{", "malformed_body", None),
        ("", "malformed_body", None),
        ("{} x", "invalid_field", None),
        (r#"{"action":{"type":"demote"}} x"#, "malformed_body", None),
        (
            r#"{"action":{"type":"explode"}}"#,
            "invalid_field",
            Some("action.type"),
        ),
        (
            r#"{"action":{"type":"demote"},"generation":"x"}"#,
            "invalid_field",
            Some("generation"),
        ),
    ] {
        let answer = s
            .raw(&format!(
                "POST /order HTTP/1.1\r\nhost: x\r\nx-request-id: r-1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        let (head, json) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400"), "{body}: {head}");
        assert!(head.contains("x-request-id: r-1"), "{head}");
        let e: ApiError = serde_json::from_str(json).unwrap();
        assert_eq!(e.code.as_str(), code, "{body}");
        assert_eq!(e.field.as_deref(), field, "{body}");
        assert_eq!(e.request_id.as_deref(), Some("r-1"));
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_never_reaches_a_handler() {
    let s = Running::start(limits()).await;
    let mut stream = UnixStream::connect(&s.socket).await.unwrap();
    let part = r#"POST /order HTTP/1.1
host: x
content-length: 1000

{"action":{"type":"demote"}}"#
        .replace('\n', "\r\n");
    stream.write_all(part.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut all))
        .await
        .unwrap()
        .unwrap();
    assert!(all.is_empty() || all.starts_with("HTTP/1.1 400"), "{all}");
    // And one that goes on for ever, drop by drop, ends with the request's time.
    let mut slow = UnixStream::connect(&s.socket).await.unwrap();
    slow.write_all(part.as_bytes()).await.unwrap();
    let mut all = vec![0; 4096];
    let n = timeout(Duration::from_secs(5), slow.read(&mut all))
        .await
        .unwrap()
        .unwrap();
    assert!(String::from_utf8_lossy(&all[..n]).starts_with("HTTP/1.1 504"));
}

#[tokio::test]
async fn a_body_of_100_mib_is_refused_and_said_so() {
    let s = Running::start(Limits {
        request_time: Duration::from_secs(20),
        ..limits()
    })
    .await;
    let big = "x".repeat(100 * 1024 * 1024);
    let right = s.certificate("right");
    for client in [s.unix(), s.mtls(&right)] {
        let e = client.post::<_, usize>("/length", &big).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::BodyTooLarge, "{e}");
        assert!(e.request_id.is_some());
    }
    // Without a length, as chunks: it is counted as it comes.
    let mut stream = UnixStream::connect(&s.socket).await.unwrap();
    let head = "POST /length HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for _ in 0..4 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 413"), "{all}");
    // One that waits to be asked for its body is refused before it sends any.
    let answer = s
        .raw("POST /length HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 104857600\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let just: usize = s
        .unix()
        .post("/length", &"x".repeat(60 * 1024))
        .await
        .unwrap();
    assert_eq!(just, 60 * 1024);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let s = Running::start(limits()).await;
    for begin in ["", "GET /who HTT"] {
        let mut stream = UnixStream::connect(&s.socket).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        timeout(Duration::from_secs(5), stream.read_to_end(&mut all))
            .await
            .expect("it was kept")
            .unwrap();
    }
    // Nor is a handshake waited for.
    let mut silent = TcpStream::connect(s.tls).await.unwrap();
    let mut all = Vec::new();
    let read = timeout(Duration::from_secs(5), silent.read_to_end(&mut all)).await;
    read.expect("it was kept").unwrap();
}

/// The processes of the machine have their connections, the peers as many of their own: neither takes the others'.
#[tokio::test]
async fn too_many_connections_are_refused_and_do_not_hurt_those_that_are_in() {
    let s = Running::start(Limits {
        connections: 2,
        request_time: Duration::from_secs(30),
        ..limits()
    })
    .await;
    let right = s.certificate("right");
    let (unix, mtls) = (|| s.unix(), || s.mtls(&right));
    let ways: [[&dyn Fn() -> Client; 2]; 2] = [[&unix, &mtls], [&mtls, &unix]];
    for [full, other] in ways {
        let waiting = s.waiting(2, full).await;
        let e = full().get::<String>("/who").await.unwrap_err();
        assert_eq!(e.code, ErrorCode::TooManyRequests, "{e}");
        other().get::<String>("/who").await.unwrap();
        s.let_go(waiting).await;
        timeout(Duration::from_secs(5), async {
            while full().get::<String>("/who").await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the slots did not come back");
    }
}

/// Anybody who reaches the port may open connections to it: whoever has no certificate keeps out nobody who has, nor the machine's own.
#[tokio::test]
async fn those_who_knock_and_say_nothing_keep_nobody_out() {
    let s = Running::start(Limits {
        connections: 2,
        // Nobody is let go for being silent while this runs.
        header_time: Duration::from_secs(60),
        request_time: Duration::from_secs(60),
        ..limits()
    })
    .await;
    let right = s.certificate("right");
    let waiting = s.waiting(1, || s.mtls(&right)).await;
    let _silent = s.silent(200).await;
    s.unix().get::<String>("/who").await.unwrap();
    s.mtls(&right).get::<String>("/who").await.unwrap();
    // More come all the time.
    for _ in 0..5 {
        let client = s.mtls(&right);
        let (more, got) = tokio::join!(s.silent(20), client.get::<String>("/who"));
        assert!(got.is_ok(), "{got:?} beside {}", more.len());
    }
    // Who is in stays in.
    s.let_go(waiting).await;
}

/// The authority may have signed others' certificates too, on whichever host.
#[tokio::test]
async fn a_certificate_that_may_not_ask_takes_nobodys_place() {
    let list = vec!["orchestrator-*".to_owned()];
    let limits = Limits {
        connections: 1,
        header_time: Duration::from_secs(60),
        ..limits()
    };
    let s = Running::start_for(limits, list.try_into().unwrap()).await;
    let other = s.certificate("etcd-a");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(s.shown(&other).await);
    }
    let right = s.certificate("orchestrator-a");
    s.mtls(&right).get::<String>("/who").await.unwrap();
    // They are told all the same.
    let e = s.mtls(&other).get::<String>("/who").await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Forbidden, "{e}");
}

#[tokio::test]
async fn deadlines_and_panics_and_unknown_paths_have_their_codes() {
    let s = Running::start(limits()).await;
    let client = s.unix();
    for (path, code) in [
        ("/wait", ErrorCode::DeadlineExceeded),
        ("/panic", ErrorCode::Internal),
        ("/busy", ErrorCode::Busy),
        ("/nowhere", ErrorCode::UnknownPath),
        ("/order", ErrorCode::MethodNotAllowed),
    ] {
        let e = client.get::<String>(path).await.unwrap_err();
        assert_eq!(e.code, code, "{path}: {e}");
        assert!(e.request_id.is_some(), "{path}");
        let answer = s
            .raw(&format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            ))
            .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {}", code.http_status())),
            "{answer}"
        );
    }
    // The client's own deadline, where the server's is longer.
    let began = Instant::now();
    let e = client
        .with_call_time(Duration::from_millis(200))
        .get::<String>("/wait")
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::DeadlineExceeded);
    assert!(
        e.message.contains("200ms") && began.elapsed() < Duration::from_millis(600),
        "{e}"
    );
}

#[tokio::test]
async fn nobody_there_is_said_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let none = Client::unix(folder.path().join("none.sock"), ClientLimits::default());
    let e = none.get::<String>("/who").await.unwrap_err();
    assert_eq!(e.code, ErrorCode::SidecarUnreachable);
    assert!(e.retryable());
    // A listener that never accepts.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = TestAuthority::new().unwrap();
    let files = authority.issue(folder.path(), "x", &["x"]).unwrap();
    let limits = ClientLimits {
        connect_time: Duration::from_millis(300),
        ..ClientLimits::default()
    };
    let url = format!("https://{}", deaf.local_addr().unwrap());
    let began = Instant::now();
    let e = Client::mtls(&url, &files, limits)
        .unwrap()
        .get::<String>("/who")
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::SidecarUnreachable, "{e}");
    assert!(began.elapsed() < Duration::from_secs(2));
    for bad in ["http://x:1", "https://x:1/path", "nonsense", "https://"] {
        let e = Client::mtls(bad, &files, limits).unwrap_err();
        assert_eq!(e.field.as_deref(), Some("url"), "{bad}");
    }
}

#[tokio::test]
async fn lines_come_one_by_one_and_a_cut_stream_is_no_success() {
    let s = Running::start(limits()).await;
    let mut lines = s.unix().post_ndjson::<_, u32>("/lines", &3).await.unwrap();
    let mut got = Vec::new();
    while let Some(n) = lines.next().await.unwrap() {
        got.push(n);
    }
    assert_eq!(got, [0, 1, 2]);
    assert_eq!(lines.next().await.unwrap(), None);

    let mut cut = s.unix().post_ndjson::<_, u32>("/cut", &()).await.unwrap();
    assert_eq!(cut.next().await.unwrap(), Some(1));
    let e = cut.next().await.unwrap_err();
    assert_eq!(e.code, ErrorCode::SidecarUnreachable);
    assert_eq!(
        cut.next().await.unwrap(),
        None,
        "after an error there is nothing more"
    );
    let e = s
        .unix()
        .post_ndjson::<_, u32>("/lines", &"x")
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::InvalidField);
}

#[tokio::test]
async fn a_drain_lets_what_is_in_flight_finish() {
    let s = Running::start(Limits {
        request_time: Duration::from_secs(30),
        ..limits()
    })
    .await;
    let client = s.unix();
    let waiting = tokio::spawn(async move { client.get::<String>("/wait").await });
    s.gate.entered.notified().await;
    // An idle connection does not hold the drain up.
    let _idle = UnixStream::connect(&s.socket).await.unwrap();
    s.stop.cancel();
    timeout(Duration::from_secs(5), async {
        while s.unix().get::<String>("/who").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it takes new requests");
    s.gate.open.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), "waited");
    assert_eq!(s.server.await.unwrap(), Drained::Clean);
    assert!(!s.socket.exists(), "the socket is left behind");
}

#[tokio::test]
async fn a_drain_ends_in_time_whatever_hangs() {
    let s = Running::start(Limits {
        request_time: Duration::from_secs(30),
        drain_time: Duration::from_millis(300),
        ..limits()
    })
    .await;
    let client = s.unix();
    let waiting = tokio::spawn(async move { client.get::<String>("/wait").await });
    s.gate.entered.notified().await;
    s.stop.cancel();
    let drained = timeout(Duration::from_secs(5), s.server)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(drained, Drained::Cut { connections: 1 });
    let e = waiting.await.unwrap().unwrap_err();
    assert_eq!(e.code, ErrorCode::SidecarUnreachable, "{e}");
    assert!(TcpStream::connect(s.plain).await.is_err());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let config = ListenConfig::Unix {
        path: path.clone(),
        options: SocketOptions {
            mode: 0o600,
            group: None,
        },
    };
    // Left behind by a dead process: bound, and nobody listens.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut first = Server::new(limits());
    first.listen(&config, Router::new()).await.unwrap();
    // Now somebody does.
    let mut second = Server::new(limits());
    let e = second.listen(&config, Router::new()).await.unwrap_err();
    assert!(e.to_string().contains("another program"), "{e}");
    drop(first);
    std::fs::write(&path, "precious").unwrap();
    let e = second.listen(&config, Router::new()).await.unwrap_err();
    assert!(e.to_string().contains("no socket"), "{e}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let outside = ListenConfig::Loopback {
        address: "0.0.0.0:0".parse().unwrap(),
    };
    let e = second.listen(&outside, Router::new()).await.unwrap_err();
    assert!(e.to_string().contains("loopback"), "{e}");
}
