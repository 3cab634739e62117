//! Clients of this machine that ask, and do not read: any user has a way to the loopback address, and the unix socket has places of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use axum::{Json, Router, routing::get};
use rekindle_net::{
    Client, ClientLimits, Limits, ListenConfig, Server, SocketOptions, with_fallbacks,
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn who_fills_the_loopback_address_keeps_nobody_from_the_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let router = || {
        let router = Router::new()
            .route("/metrics", get(|| async { "x".repeat(256 * 1024) }))
            .route("/who", get(|| async { Json("you") }));
        with_fallbacks(router)
    };
    let mut server = Server::new(Limits {
        connections: 2,
        ..Limits::default()
    });
    let unix = ListenConfig::Unix {
        path: path.clone(),
        options: SocketOptions::default(),
    };
    server.listen(&unix, router()).await.unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let loopback = ListenConfig::Loopback { address };
    let bound = server.listen(&loopback, router()).await.unwrap();
    let address = bound.address().unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));

    let mut unread = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Until nothing more is taken: the server writes to nobody, and reads no further.
        let ask = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
        while let Ok(sent) = timeout(Duration::from_millis(300), stream.write_all(&ask)).await {
            sent.unwrap();
        }
        unread.push(stream);
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut answer = String::new();
    let read = third.read_to_string(&mut answer);
    let read = timeout(Duration::from_secs(5), read).await;
    read.expect("it was let in").unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    let who: String = Client::unix(&path, ClientLimits::default())
        .get("/who")
        .await
        .unwrap();
    assert_eq!(who, "you");
    drop(unread);
    stop.cancel();
    running.await.unwrap();
}
