//! The end of a gateway: what it still finishes, what does not hold it, and when it is over.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rekindle_net::Drained;
use std::{
    net::{SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};
use support::{
    gateway,
    raw::{Raw, ask, get},
    soon,
    stub::Stub,
};
use tokio::process::Command;

/// Well below the drain time, 60 s, and below what a connection may take for a head.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    assert_eq!(gateway.page("/readyz").await.0, 200);
    let mut busy = Raw::connect(gateway.address).await;
    busy.send("GET / HTTP/1.1\r\nHost: h\r\nX-Stub: hold\r\n\r\n")
        .await;
    stub.book.has_seen(1).await;
    let mut idle = Raw::connect(gateway.address).await;
    idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(idle.answer().await.unwrap().status, 200);
    gateway.stop();
    // A connection that waits for its next request is closed; the probes go on and say so.
    assert_eq!(idle.rest().await, b"");
    assert_eq!(gateway.page("/readyz").await.0, 503);
    assert_eq!(gateway.page("/healthz").await.0, 200);
    soon(async {
        while tokio::net::TcpStream::connect(gateway.address)
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stub.book.let_go();
    let answer = busy.answer().await.unwrap();
    assert_eq!((answer.status, answer.whole), (200, true));
    assert_eq!(gateway.ended().await, Drained::Clean);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "[limits]\ndrain_time = \"100ms\"\n").await;
    let mut busy = Raw::connect(gateway.address).await;
    busy.send("GET / HTTP/1.1\r\nHost: h\r\nX-Stub: hold\r\n\r\n")
        .await;
    stub.book.has_seen(1).await;
    gateway.stop();
    assert_eq!(gateway.ended().await, Drained::Cut { connections: 1 });
    assert_eq!(busy.rest().await, b"");
}

#[tokio::test]
async fn clients_that_are_waited_for_do_not_hold_a_drain() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut silent = Raw::connect(gateway.address).await;
    let mut half = Raw::connect(gateway.address).await;
    half.send("GET / HTTP/1.1\r\nHo").await;
    let mut kept = Raw::connect(gateway.address).await;
    let mut kept_and_half = Raw::connect(gateway.address).await;
    for raw in [&mut kept, &mut kept_and_half] {
        raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.answer().await.unwrap().status, 200);
    }
    kept_and_half.send("GET / HT").await;
    // Whoever reads the metrics keeps its connection too.
    let mut scraped = Raw::connect(gateway.metrics).await;
    scraped
        .send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(scraped.answer().await.unwrap().status, 200);
    let mut half_scraped = Raw::connect(gateway.metrics).await;
    half_scraped.send("GET /met").await;
    gateway
        .has_metric("rekindle_gateway_connections", 4.0)
        .await;
    let began = Instant::now();
    gateway.stop();
    assert_eq!(gateway.ended().await, Drained::Clean);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    for raw in [&mut silent, &mut half, &mut kept, &mut kept_and_half] {
        assert_eq!(raw.rest().await, b"");
    }
}

/// Nobody waits for the answer any more: the request ends with its client, and so does what it held of Cinder.
#[tokio::test]
async fn a_silent_cinder_holds_no_drain_once_its_client_is_gone() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    for (n, body) in ["", "Content-Length: 2\r\n"].into_iter().enumerate() {
        let mut gone = Raw::connect(gateway.address).await;
        let end = if body.is_empty() { "" } else { "{}" };
        gone.send(&format!(
            "POST / HTTP/1.1\r\nHost: h\r\nX-Stub: hold\r\n{body}\r\n{end}"
        ))
        .await;
        stub.book.has_seen(n + 1).await;
    }
    let began = Instant::now();
    gateway.stop();
    assert_eq!(gateway.ended().await, Drained::Clean);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The resolver reads the aliases of names without a dot in a file; this one is a pipe that nobody writes to, as silent as a name server
/// behind a dead network, and for longer.
#[tokio::test]
async fn a_name_that_is_still_looked_up_holds_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let (file, pipe) = (dir.path().join("gateway.toml"), dir.path().join("aliases"));
    let made = Command::new("mkfifo").arg(&pipe).status().await.unwrap();
    assert!(made.success());
    let address = free();
    std::fs::write(
        &file,
        format!(
            "zone = \"zone-a\"\n[listen]\naddress = \"{address}\"\n\
             [upstream]\nurl = \"http://cinder-of-no-resolver:8776\"\nconnect_time = \"100ms\"\n"
        ),
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rekindle-gateway"))
        .arg("--config")
        .arg(&file)
        .env("HOSTALIASES", &pipe)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    soon(async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Not 502: there is no answer about the name, rather than none of that name.
    let answer = ask(address, &get("/")).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    let began = Instant::now();
    let pid = child.id().unwrap().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(told.unwrap().success());
    let ended = soon(child.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}
