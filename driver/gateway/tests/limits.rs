//! What clients and Cinder may take, and what is said when it is too much.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::time::{Duration, Instant};
use support::{
    gateway,
    raw::{Raw, ask, get},
    soon,
    stub::Stub,
};
use tokio::net::TcpListener;

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let stub = Stub::start().await;
    let more = "[limits]\nhead = 8192\nfields = 20\ntarget = 2000\n";
    let gateway = gateway(stub.address, "", more).await;
    let long = |n| "x".repeat(n);
    let fields: String = (0..30).map(|n| format!("X-{n}: y\r\n")).collect();
    for (request, status) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", long(3000)),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", long(9000)),
            431,
        ),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"), 431),
        (format!("GET /{}", long(200_000)), 414),
    ] {
        let mut raw = Raw::connect(gateway.address).await;
        // The last one is refused while it is still being sent.
        let _ = raw.try_send(&request).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["computeFault"]["code"], status);
    }
    // What fits is served, up to the last byte.
    let token = long(8192 - 60);
    let head = format!(
        "GET /{} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {token}\r\n\r\n",
        ""
    );
    assert!(head.len() <= 8192);
    assert_eq!(ask(gateway.address, &head).await.status, 200);
    assert_eq!(stub.book.seen().len(), 1);
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_before_or_while_they_are_sent() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "[limits]\nbody = 131072\n").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 131073\r\n\r\n")
        .await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close"))
    );
    assert_eq!(answer.json()["overLimit"]["code"], 413);
    assert!(stub.book.seen().is_empty());
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..3 {
        let _ = raw.try_send(&piece).await;
    }
    assert_eq!(raw.answer().await.unwrap().status, 413);
    let whole = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 131072\r\nConnection: close\r\n\r\n{}",
        "x".repeat(131_072)
    );
    assert_eq!(ask(gateway.address, &whole).await.json()["length"], 131_072);
}

#[tokio::test]
async fn a_slow_head_is_told_and_a_silent_client_is_not() {
    let stub = Stub::start().await;
    let more = "[limits]\nhead_time = \"150ms\"\nkeep_alive = \"150ms\"\n";
    let gateway = gateway(stub.address, "", more).await;
    let mut slow = Raw::connect(gateway.address).await;
    slow.send("GET / HTTP/1.1\r\nHo").await;
    let mut silent = Raw::connect(gateway.address).await;
    let mut idle = Raw::connect(gateway.address).await;
    idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(idle.answer().await.unwrap().status, 200);
    assert_eq!(slow.answer().await.unwrap().status, 408);
    assert_eq!(slow.rest().await, b"");
    assert_eq!(silent.rest().await, b"");
    assert_eq!(idle.rest().await, b"");
    gateway
        .has_metric("rekindle_gateway_connections", 0.0)
        .await;
}

#[tokio::test]
async fn dripping_a_head_gains_no_time() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "[limits]\nhead_time = \"200ms\"\n").await;
    let mut raw = Raw::connect(gateway.address).await;
    let began = Instant::now();
    raw.send("GET / HTTP/1.1\r\n").await;
    // A field after the other, for as long as it is taken; the limit on fields is far off.
    let (mut read, mut write) = raw.stream.into_split();
    let drip = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        loop {
            beat.tick().await;
            if write.write_all(b"X: y\r\n").await.is_err() {
                return;
            }
        }
    });
    let mut text = Vec::new();
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut read, &mut text)).await;
    assert!(
        text.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&text)
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    drip.abort();
}

#[tokio::test]
async fn dripping_a_body_gains_no_time() {
    let stub = Stub::start().await;
    let more = "[limits]\nidle_time = \"10s\"\nbody_time = \"200ms\"\nbody_rate = 100000\n";
    let gateway = gateway(stub.address, "", more).await;
    for head in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut raw = Raw::connect(gateway.address).await;
        let began = Instant::now();
        raw.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n"))
            .await;
        // A byte after the other, each in time.
        let (mut read, mut write) = raw.stream.into_split();
        let piece: &[u8] = if head.starts_with('C') {
            b"x"
        } else {
            b"1\r\nx\r\n"
        };
        let drip = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let mut beat = tokio::time::interval(Duration::from_millis(20));
            loop {
                beat.tick().await;
                if write.write_all(piece).await.is_err() {
                    return;
                }
            }
        });
        let mut text = Vec::new();
        let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut read, &mut text)).await;
        assert!(
            text.is_empty() || text.starts_with(b"HTTP/1.1 400 "),
            "{}",
            String::from_utf8_lossy(&text)
        );
        assert!(began.elapsed() < Duration::from_secs(5));
        drip.abort();
        gateway
            .has_metric("rekindle_gateway_requests_in_flight", 0.0)
            .await;
    }
}

/// As fast as it may be, a large body takes longer than a small one has.
#[tokio::test]
async fn a_large_body_that_comes_at_its_rate_survives() {
    let stub = Stub::start().await;
    let more = "[limits]\nbody = 10000000\nbody_time = \"100ms\"\nbody_rate = 1000000\n";
    let gateway = gateway(stub.address, "", more).await;
    let mut raw = Raw::connect(gateway.address).await;
    let began = Instant::now();
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    let mut beat = tokio::time::interval(Duration::from_millis(25));
    let piece = vec![b'x'; 50_000];
    for _ in 0..20 {
        beat.tick().await;
        raw.send(&piece).await;
    }
    assert!(began.elapsed() > Duration::from_millis(300), "not at once");
    assert_eq!(raw.answer().await.unwrap().status, 200);
    assert_eq!(stub.book.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_stops_coming_ends_its_request() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "[limits]\nidle_time = \"150ms\"\n").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    let answer = raw.answer().await;
    assert!(answer.is_none_or(|a| a.status == 400));
    assert_eq!(raw.rest().await, b"");
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 0.0)
        .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let stub = Stub::start().await;
    let gateway = gateway(
        stub.address,
        "",
        "[limits]\nidle_time = \"200ms\"\nbody = 100000000\n",
    )
    .await;
    let raw = Raw::connect(gateway.address).await;
    let (_read, mut write) = raw.stream.into_split();
    let send = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let head =
            "POST / HTTP/1.1\r\nHost: h\r\nX-Stub: mirror\r\nContent-Length: 90000000\r\n\r\n";
        write.write_all(head.as_bytes()).await?;
        let piece = vec![0; 1_000_000];
        for _ in 0..90 {
            write.write_all(&piece).await?;
        }
        Ok::<_, std::io::Error>(())
    });
    // What it sends comes back, and it reads none of it: the way fills up.
    assert!(soon(send).await.unwrap().is_err());
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 0.0)
        .await;
}

#[tokio::test]
async fn connections_and_requests_have_their_bounds() {
    let stub = Stub::start().await;
    let more = "[limits]\nconnections = 3\nrequests = 1\n";
    let gateway = gateway(stub.address, "", more).await;
    let mut first = Raw::connect(gateway.address).await;
    first
        .send("GET /1 HTTP/1.1\r\nHost: h\r\nX-Stub: hold\r\n\r\n")
        .await;
    stub.book.has_seen(1).await;
    let mut second = Raw::connect(gateway.address).await;
    second.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let answer = second.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(answer.json()["serviceUnavailable"]["code"], 503);
    let mut third = Raw::connect(gateway.address).await;
    third.send("GET /3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(third.answer().await.unwrap().status, 503);
    let mut fourth = Raw::connect(gateway.address).await;
    let answer = fourth.answer().await.unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (503, Some("close"))
    );
    stub.book.let_go();
    assert_eq!(first.answer().await.unwrap().status, 200);
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 0.0)
        .await;
    second.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(second.answer().await.unwrap().status, 200);
    assert_eq!(stub.book.seen().len(), 2);
}

#[tokio::test]
async fn connections_to_cinder_are_bounded_and_waited_for() {
    let stub = Stub::start().await;
    let lines = "connections = 2\nwait_time = \"100ms\"\n";
    let gateway = gateway(stub.address, lines, "").await;
    let mut held = Vec::new();
    for n in 1..=2 {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send("GET / HTTP/1.1\r\nHost: h\r\nX-Stub: hold\r\n\r\n")
            .await;
        stub.book.has_seen(n).await;
        held.push(raw);
    }
    let answer = ask(gateway.address, &get("/")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(stub.book.seen().len(), 2);
    stub.book.let_go();
    stub.book.let_go();
    for mut raw in held {
        assert_eq!(raw.answer().await.unwrap().status, 200);
    }
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 0.0)
        .await;
    for _ in 0..4 {
        assert_eq!(ask(gateway.address, &get("/")).await.status, 200);
    }
    assert!(stub.book.connections() <= 2 + 4);
    assert!(stub.book.open() <= 2, "{}", stub.book.open());
}

#[tokio::test]
async fn cinder_away_is_told_at_once_and_back_is_noticed_by_itself() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    let address = stub.kill().await;
    let began = Instant::now();
    let answer = ask(gateway.address, &get("/")).await;
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (502, Some("1"))
    );
    let fault = &answer.json()["computeFault"];
    assert_eq!(fault["message"], "Cinder cannot be connected");
    assert_eq!(fault["code"], 502);
    assert!(
        answer
            .header("x-compute-request-id")
            .unwrap()
            .starts_with("req-")
    );
    // Its address is for operators to know.
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    let stub = Stub::at(address).await;
    raw.send("GET /again HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().json()["target"], "/again");
    assert_eq!(stub.book.seen().len(), 1);
    let (_, text) = gateway.page("/metrics").await;
    let counted = "rekindle_gateway_faults_total{zone=\"zone-a\",name=\"upstream_connect\"} 1";
    assert!(text.contains(counted), "{text}");
}

#[tokio::test]
async fn cinder_that_hangs_is_told_with_what_may_have_come_of_it() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "first_byte_time = \"200ms\"", "").await;
    let hold = "POST / HTTP/1.1\r\nHost: h\r\nX-Stub: hold\r\nContent-Length: 2\r\n\r\n{}";
    let answer = ask(gateway.address, hold).await;
    assert_eq!(answer.status, 504);
    assert!(
        answer.text().contains("may still take effect"),
        "{}",
        answer.text()
    );
    // It is not sent a second time.
    assert_eq!(stub.book.seen().len(), 1);
    // A slow client is not Cinder's fault.
    let mut raw = Raw::connect(gateway.address).await;
    let large = "x".repeat(20_000);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    raw.send(head).await;
    stub.book.has_seen(2).await;
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    beat.tick().await;
    beat.tick().await;
    raw.send(large).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn cinder_that_stops_within_an_answer_is_let_go() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "idle_time = \"150ms\"", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\nX-Stub: stall\r\n\r\n")
        .await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.text().as_str(), answer.whole), ("first", false));
}

/// A port that takes connections and says nothing.
#[tokio::test]
async fn cinder_that_takes_a_request_and_breaks_is_not_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = gateway(listener.local_addr().unwrap(), "", "").await;
    let asking = tokio::spawn({
        let address = gateway.address;
        async move {
            ask(
                address,
                "POST /once HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
            )
            .await
        }
    });
    let (stream, _) = soon(listener.accept()).await.unwrap();
    let mut cinder = Raw::over(stream);
    cinder.until("{}").await.unwrap();
    drop(cinder);
    let answer = soon(asking).await.unwrap();
    assert_eq!(answer.status, 502);
    assert!(
        answer.text().contains("may still take effect"),
        "{}",
        answer.text()
    );
    // Nobody else comes: a second connection would be there before the answer.
    let second = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(second.is_err());
}

/// An answer that is none of HTTP's.
#[tokio::test]
async fn an_answer_that_is_none_is_a_bad_gateway() {
    for text in [
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = gateway(listener.local_addr().unwrap(), "", "").await;
        let asking = tokio::spawn({
            let address = gateway.address;
            async move { ask(address, &get("/")).await }
        });
        let (stream, _) = soon(listener.accept()).await.unwrap();
        let mut cinder = Raw::over(stream);
        cinder.until("\r\n\r\n").await.unwrap();
        cinder.send(text).await;
        assert_eq!(soon(asking).await.unwrap().status, 502, "{text:?}");
    }
}
