//! Clients that are slow with their bodies: they leave places, and connections to Cinder, to all others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::{
    gateway,
    raw::{Raw, ask, get},
    stub::Stub,
};

/// Who they are nobody has asked yet.
#[tokio::test]
async fn slow_bodies_leave_connections_to_cinder() {
    let stub = Stub::start().await;
    let lines = "connections = 4\nwait_time = \"100ms\"\n";
    let gateway = gateway(stub.address, lines, "").await;
    let begun = async |head: &str| {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n"))
            .await;
        raw
    };
    // Small ones take none before they are there, and are asked for all the same.
    let mut small = Vec::new();
    for _ in 0..8 {
        let mut raw = begun("Content-Length: 5\r\nExpect: 100-continue").await;
        raw.until("100 Continue\r\n\r\n").await.unwrap();
        small.push(raw);
    }
    assert_eq!(stub.book.seen().len(), 0);
    // Others have half of them.
    let mut large = [
        begun("Content-Length: 20000").await,
        begun("Transfer-Encoding: chunked").await,
    ];
    stub.book.has_seen(2).await;
    for head in ["Content-Length: 20000", "Transfer-Encoding: chunked"] {
        let answer = begun(head).await.answer().await.unwrap();
        let said = (answer.status, answer.header("retry-after"));
        assert_eq!(said, (503, Some("1")), "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(answer.text().contains("still to come"), "{}", answer.text());
    }
    for _ in 0..3 {
        assert_eq!(ask(gateway.address, &get("/")).await.status, 200);
    }
    for mut raw in small {
        raw.send("small").await;
        assert_eq!(raw.answer().await.unwrap().json()["length"], 5);
    }
    // One that has ended makes room.
    large[1].send("5\r\nlarge\r\n0\r\n\r\n").await;
    assert_eq!(large[1].answer().await.unwrap().json()["length"], 5);
    let mut next = begun("Content-Length: 20000").await;
    for raw in [&mut large[0], &mut next] {
        raw.send("x".repeat(20_000)).await;
        assert_eq!(raw.answer().await.unwrap().json()["length"], 20_000);
    }
}

#[tokio::test]
async fn slow_bodies_leave_places_to_requests() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "[limits]\nrequests = 8\n").await;
    let begun = async |head: &str| {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n"))
            .await;
        raw
    };
    let mut slow = Vec::new();
    for head in [
        "Content-Length: 5",
        "Content-Length: 5",
        "Content-Length: 20000",
        "Transfer-Encoding: chunked",
    ] {
        slow.push(begun(head).await);
    }
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 4.0)
        .await;
    let answer = begun("Content-Length: 5").await.answer().await.unwrap();
    let said = (answer.status, answer.header("retry-after"));
    assert_eq!(said, (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.text().contains("bodies"), "{}", answer.text());
    // Who has no body to send is not held up, nor one whose client sent it.
    for _ in 0..3 {
        assert_eq!(ask(gateway.address, &get("/")).await.status, 200);
    }
    // Each that has come makes room, also before it is answered.
    slow[0].send("small").await;
    assert_eq!(slow[0].answer().await.unwrap().json()["length"], 5);
    let mut held = begun("X-Stub: hold\r\nContent-Length: 5").await;
    held.send("small").await;
    stub.book.has_seen(7).await;
    let mut next = begun("Content-Length: 5").await;
    next.send("small").await;
    assert_eq!(next.answer().await.unwrap().json()["length"], 5);
    for (n, rest) in [
        (1, "small".to_owned()),
        (2, "x".repeat(20_000)),
        (3, "5\r\nlarge\r\n0\r\n\r\n".to_owned()),
    ] {
        slow[n].send(rest).await;
        assert_eq!(slow[n].answer().await.unwrap().status, 200, "{n}");
    }
    // And so does one that is given up.
    let all = [
        begun("Content-Length: 5").await,
        begun("Content-Length: 5").await,
    ];
    drop(all);
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 1.0)
        .await;
    let mut last = begun("Content-Length: 5").await;
    last.send("small").await;
    assert_eq!(last.answer().await.unwrap().json()["length"], 5);
}
