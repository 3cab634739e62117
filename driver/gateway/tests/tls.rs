//! TLS on both sides, with certificates that are renewed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rekindle_net::{ServerTls, TlsFiles, TrustedServers, testing::TestAuthority};
use rustls::pki_types::ServerName;
use std::{net::SocketAddr, path::Path, sync::Arc};
use support::{
    gateway_of,
    raw::{Raw, ask, get},
    soon,
    stub::{Book, Stub},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

fn text(upstream: &str, ca: Option<&Path>, listen: Option<&TlsFiles>) -> String {
    let tls = listen.map_or_else(String::new, |f| {
        format!("tls = {{ cert = {:?}, key = {:?} }}\n", f.cert, f.key)
    });
    let ca = ca.map_or_else(String::new, |ca| format!("ca = {ca:?}\n"));
    format!(
        "zone = \"zone-a\"\n[listen]\naddress = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n{tls}[upstream]\nurl = {upstream:?}\n{ca}"
    )
}

async fn tls(address: SocketAddr, ca: &Path) -> std::io::Result<Raw<TlsStream<TcpStream>>> {
    let connector = TlsConnector::from(TrustedServers::load(ca).unwrap().current());
    let stream = soon(TcpStream::connect(address)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    Ok(Raw::over(soon(connector.connect(name, stream)).await?))
}

#[tokio::test]
async fn clients_come_in_over_tls_and_cinder_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let files = TestAuthority::new()
        .unwrap()
        .issue(dir.path(), "gateway", &["localhost"])
        .unwrap();
    let stub = Stub::start().await;
    let url = format!("http://{}", stub.address);
    let gateway = gateway_of(&text(&url, None, Some(&files))).await;
    let mut raw = tls(gateway.address, &files.ca).await.unwrap();
    for path in ["/1", "/2"] {
        raw.send(format!(
            "GET {path} HTTP/1.1\r\nHost: volumes.example\r\n\r\n"
        ))
        .await;
        let answer = raw.answer().await.unwrap().json();
        assert_eq!(answer["links"][0], format!("https://volumes.example{path}"));
    }
    // A bad request is told through TLS too.
    raw.send("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 400);
    // In the clear nobody is served.
    let mut clear = Raw::connect(gateway.address).await;
    clear.send(get("/3")).await;
    assert!(!clear.rest().await.starts_with(b"HTTP"));
    assert_eq!(stub.book.seen().len(), 2);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_client() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (TestAuthority::new().unwrap(), TestAuthority::new().unwrap());
    let files = old.issue(dir.path(), "gateway", &["localhost"]).unwrap();
    let later = new.issue(dir.path(), "later", &["localhost"]).unwrap();
    let stub = Stub::start().await;
    let url = format!("http://{}", stub.address);
    let gateway = gateway_of(&text(&url, None, Some(&files))).await;
    assert!(tls(gateway.address, &files.ca).await.is_ok());
    assert!(tls(gateway.address, &later.ca).await.is_err());
    std::fs::rename(&later.key, &files.key).unwrap();
    std::fs::rename(&later.cert, &files.cert).unwrap();
    soon(async {
        while tls(gateway.address, &later.ca).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Cinder behind TLS, with those certificates.
async fn secure_stub(files: &TlsFiles) -> (SocketAddr, Book) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let book = Book::default();
    let tls = Arc::new(ServerTls::load(&files.cert, &files.key).unwrap());
    let served = book.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (book, tls) = (served.clone(), Arc::clone(&tls));
            tokio::spawn(async move {
                if let Ok(stream) = TlsAcceptor::from(tls.current()).accept(stream).await {
                    book.serve(stream).await;
                }
            });
        }
    });
    (address, book)
}

#[tokio::test]
async fn cinder_shows_a_certificate_of_the_right_authority_and_name() {
    let dir = tempfile::tempdir().unwrap();
    let authority = TestAuthority::new().unwrap();
    let files = authority
        .issue(dir.path(), "cinder", &["localhost"])
        .unwrap();
    let (address, book) = secure_stub(&files).await;
    let url = format!("https://localhost:{}", address.port());
    let gateway = gateway_of(&text(&url, Some(&files.ca), None)).await;
    assert_eq!(ask(gateway.address, &get("/v3")).await.status, 200);
    assert_eq!(book.seen().len(), 1);
    let other = TestAuthority::new()
        .unwrap()
        .issue(dir.path(), "other", &["localhost"])
        .unwrap();
    for (url, ca) in [(url, other.ca), (format!("https://{address}"), files.ca)] {
        let gateway = gateway_of(&text(&url, Some(&ca), None)).await;
        assert_eq!(ask(gateway.address, &get("/v3")).await.status, 502, "{url}");
    }
    assert_eq!(book.seen().len(), 1);
}
