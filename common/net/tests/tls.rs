//! Whose certificates may ask, and certificates that are renewed while both ends run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helper asserts too"
)]

use axum::{Json, Router, routing::post};
use rekindle_common::{ApiError, ErrorCode};
use rekindle_net::{
    AllowedNames, Client, ClientLimits, Limits, ListenConfig, Server, TlsFiles,
    testing::TestAuthority, with_fallbacks,
};
use std::{fs, net::SocketAddr, time::Duration};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Running {
    folder: TempDir,
    /// The server's.
    files: TlsFiles,
    at: SocketAddr,
    _stop: DropGuard,
}

const SERVER: &[&str] = &["127.0.0.1"];

impl Running {
    async fn start(authority: &TestAuthority, allowed: AllowedNames) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = authority.issue(folder.path(), "server", SERVER).unwrap();
        let mut server = Server::new(Limits::default());
        let at = ListenConfig::Tls {
            address: "127.0.0.1:0".parse().unwrap(),
            files: files.clone(),
            allowed,
        };
        let echo = post(|text: String| async move { Json(text) });
        let router = with_fallbacks(Router::new().route("/echo", echo));
        let at = server.listen(&at, router).await.unwrap().address().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self {
            folder,
            files,
            at,
            _stop: stop.drop_guard(),
        }
    }

    fn client(&self, files: &TlsFiles) -> Client {
        let url = format!("https://{}", self.at);
        Client::mtls(&url, files, ClientLimits::default()).unwrap()
    }
}

async fn ask(client: &Client) -> Result<String, ApiError> {
    client.post("/echo", &"hello").await
}

/// Asks until the answer is such.
async fn until(client: &Client, what: &str, met: impl Fn(&Result<String, ApiError>) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask(client).await;
        if met(&answer) {
            return;
        }
        assert!(Instant::now() < end, "never {what}: {answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn unreachable(answer: &Result<String, ApiError>) -> bool {
    matches!(answer, Err(e) if e.code == ErrorCode::SidecarUnreachable)
}

#[tokio::test]
async fn a_certificate_that_is_not_on_the_list_is_told_that_it_may_not() {
    let authority = TestAuthority::new().unwrap();
    let list = vec!["orchestrator-*".to_owned()];
    let s = Running::start(&authority, list.try_into().unwrap()).await;
    let issue = |name: &str, subjects: &[&str]| {
        let files = authority.issue(s.folder.path(), name, subjects).unwrap();
        s.client(&files)
    };
    let of_etcd = issue("etcd", &["etcd-a", "127.0.0.1"]);
    let e = ask(&of_etcd).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Forbidden);
    assert!(
        e.message.contains("etcd-a") && e.message.contains("listen.allowed"),
        "{e}"
    );
    assert!(e.request_id.is_some());
    // Neither does it learn what is there.
    let e = of_etcd.get::<String>("/nothing").await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Forbidden);
    let nameless = issue("nameless", &["127.0.0.1"]);
    assert_eq!(ask(&nameless).await.unwrap_err().code, ErrorCode::Forbidden);

    ask(&issue("first", &["orchestrator-a"])).await.unwrap();
    ask(&issue("second", &["host-7", "orchestrator-b"]))
        .await
        .unwrap();
}

#[tokio::test]
async fn certificates_are_read_again_on_both_sides_and_bad_ones_are_not_taken_up() {
    let old = TestAuthority::new().unwrap();
    let s = Running::start(&old, AllowedNames::default()).await;
    let mine = old.issue(s.folder.path(), "client", &["client"]).unwrap();
    let client = s.client(&mine);
    ask(&client).await.unwrap();

    // A file that is cut off, and a key of another certificate: both go on with what they had.
    let (key, cert) = (
        fs::read(&s.files.key).unwrap(),
        fs::read(&s.files.cert).unwrap(),
    );
    let other = old.issue(s.folder.path(), "other", SERVER).unwrap();
    let other_key = fs::read(&other.key).unwrap();
    for bad in [&cert[..40], &other_key] {
        let path = if bad.len() == 40 {
            &s.files.cert
        } else {
            &s.files.key
        };
        fs::write(path, bad).unwrap();
        let end = Instant::now() + Duration::from_millis(1200);
        while Instant::now() < end {
            ask(&client).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
        fs::write(&s.files.cert, &cert).unwrap();
        fs::write(&s.files.key, &key).unwrap();
    }

    // The server's are of another authority now: it takes no client of the old one, nor does such a client take it.
    let new = TestAuthority::new().unwrap();
    new.issue(s.folder.path(), "server", SERVER).unwrap();
    until(&client, "refused", unreachable).await;
    // The client's too, in the same process.
    new.issue(s.folder.path(), "client", &["client"]).unwrap();
    until(&client, "answered again", Result::is_ok).await;
}
