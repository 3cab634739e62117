//! What a client asks of Cinder and what it answers, through the gateway: over real connections, with a stub as Cinder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::{
    gateway,
    raw::{Raw, ask, get},
    soon,
    stub::Stub,
};

#[tokio::test]
async fn an_answer_is_cinders_with_all_its_fields() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let request = "GET /v3/p/volumes/detail?limit=2&name=a%20b HTTP/1.1\r\nHost: volumes.example\r\n\
        X-Auth-Token: secret\r\nOpenStack-API-Version: volume 3.70\r\nAccept: application/json\r\nX-Stub: hop\r\n\r\n";
    let mut direct = Raw::connect(stub.address).await;
    direct.send(request).await;
    let direct = direct.answer().await.unwrap();
    let mut through = Raw::connect(gateway.address).await;
    through.send(request).await;
    let through = through.answer().await.unwrap();
    assert_eq!(through.body, direct.body);
    let own = ["connection", "keep-alive", "x-hop"];
    let kept: Vec<_> = direct
        .headers
        .iter()
        .filter(|(n, _)| !own.contains(&n.as_str()))
        .collect();
    assert_eq!(kept, through.headers.iter().collect::<Vec<_>>());
    assert_eq!(through.header("openstack-api-version"), Some("volume 3.70"));
    // What the stub saw through the gateway is what it saw directly, and where the client is.
    let seen = stub.book.seen();
    assert_eq!(seen[1].headers["x-auth-token"], "secret");
    assert_eq!(seen[1].headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen[1].headers["x-forwarded-proto"], "http");
    assert_eq!(seen[1].headers["x-forwarded-host"], "volumes.example");
    assert!(!seen[1].headers.contains_key("x-forwarded-prefix"));
    // Cinder's log names the request as ours does, where its client gave it no name.
    let id = seen[1].headers["x-openstack-request-id"].to_str().unwrap();
    assert!(id.starts_with("req-") && id.len() == 40, "{id}");
}

#[tokio::test]
async fn links_point_at_where_clients_come_in() {
    let stub = Stub::start().await;
    let more = "[forwarded]\nprefix = \"/volume\"\n";
    let gateway = gateway(stub.address, "", more).await;
    let request = "GET /v3/p/volumes?marker=x HTTP/1.1\r\nHost: volumes.example:8776\r\n\
        X-Forwarded-Host: evil.example\r\nX_Forwarded_Proto: gopher\r\nForwarded: host=evil.example\r\n\r\n";
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(request).await;
    let answer = raw.answer().await.unwrap().json();
    assert_eq!(
        answer["links"][0],
        "http://volumes.example:8776/volume/v3/p/volumes?marker=x"
    );
    let seen = stub.book.seen().remove(0).headers;
    assert!(
        !seen.contains_key("forwarded") && !seen.contains_key("x_forwarded_proto"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_trusted_proxy_says_who_its_client_is() {
    let stub = Stub::start().await;
    let more = "[forwarded]\ntrusted = [\"127.0.0.0/8\"]\n";
    let gateway = gateway(stub.address, "", more).await;
    let request = "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 203.0.113.9\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: volumes.example\r\n\r\n";
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(request).await;
    assert_eq!(
        raw.answer().await.unwrap().json()["links"][0],
        "https://volumes.example/"
    );
    let seen = stub.book.seen().remove(0).headers;
    assert_eq!(seen["x-forwarded-for"], "203.0.113.9, 127.0.0.1");
}

#[tokio::test]
async fn bodies_stream_both_ways_without_being_held() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(
        "POST /v3 HTTP/1.1\r\nHost: h\r\nX-Stub: mirror\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let head = raw.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("transfer-encoding")),
        (200, Some("chunked"))
    );
    // Each piece is back before the next one is sent.
    for piece in ["one", "two and more", "three"] {
        raw.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        assert_eq!(raw.chunk().await.unwrap(), piece.as_bytes());
    }
    raw.send("0\r\n\r\n").await;
    assert_eq!(raw.chunk().await.unwrap(), b"");
    // The connection is there for the next request.
    raw.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().json()["target"], "/next");
}

#[tokio::test]
async fn a_body_is_asked_for_when_it_is_read() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    let head = "POST /v3 HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    raw.send(head).await;
    assert_eq!(raw.head().await.unwrap().status, 100);
    raw.send("hello").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["body"]),
        (200, &"hello".into())
    );
    assert!(!stub.book.seen()[0].headers.contains_key("expect"));
    // Without anybody to give it to, one that is not read ahead is not asked for.
    let address = stub.kill().await;
    raw.send(head.replace(": 5", ": 20000")).await;
    let answer = raw.head().await.unwrap();
    assert_eq!(answer.status, 502);
    let nobody = "POST / HTTP/1.1\r\nHost: h\r\nExpect: a-miracle\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(ask(gateway.address, nobody).await.status, 417);
    let _ = address;
}

#[tokio::test]
async fn one_connection_to_cinder_serves_one_client_after_the_other() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "keep_alive = \"1h\"", "").await;
    for n in 1..=5 {
        let answer = ask(gateway.address, &get(&format!("/{n}"))).await;
        assert_eq!((answer.status, answer.whole), (200, true));
        assert_eq!(answer.header("connection"), Some("close"));
        // It is kept once its answer was read, which the client may know a moment before the gateway.
        gateway
            .has_metric("rekindle_gateway_requests_in_flight", 0.0)
            .await;
    }
    assert!(stub.book.connections() <= 2, "{}", stub.book.connections());
    assert_eq!(
        gateway
            .metric("rekindle_gateway_upstream_connections")
            .await,
        Some(stub.book.open() as f64)
    );
}

#[tokio::test]
async fn a_kept_connection_that_ended_costs_no_request() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "keep_alive = \"1h\"", "").await;
    for n in 1..=20 {
        // Cinder closes each after its answer, but for those that say so nobody can know it beforehand.
        let stub_says = if n % 2 == 0 { "X-Stub: close\r\n" } else { "" };
        let request = format!(
            "POST /{n} HTTP/1.1\r\nHost: h\r\n{stub_says}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let answer = ask(gateway.address, &request).await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
    }
    assert_eq!(stub.book.seen().len(), 20);
}

#[tokio::test]
async fn what_has_no_body_has_none_on_either_side() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("HEAD /v3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let head = raw.answer_to(true).await.unwrap();
    assert_ne!(
        head.header("content-length"),
        Some("0"),
        "the length of what GET would give"
    );
    for status in [204, 304] {
        raw.send(format!(
            "DELETE /v3 HTTP/1.1\r\nHost: h\r\nX-Stub: status={status}\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.answer().await.unwrap().status, status);
    }
    raw.send("DELETE /v3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let answer = raw.answer().await.unwrap().json();
    assert_eq!(
        (&answer["method"], &answer["length"]),
        (&"DELETE".into(), &0.into())
    );
    let headers = answer["headers"].to_string();
    assert!(!headers.contains("content-length"), "{headers}");
}

#[tokio::test]
async fn an_old_client_is_served_too() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let answer = ask(
        gateway.address,
        "GET /v3 HTTP/1.0\r\nX-Stub: chunked\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.json()["target"], "/v3");
    let seen = stub.book.seen().remove(0).headers;
    assert_eq!(seen["host"], stub.address.to_string());
    assert!(!seen.contains_key("x-forwarded-host"), "{seen:?}");
}

#[tokio::test]
async fn an_upgrade_is_not_heard_and_what_connection_names_is_not_passed() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let request = "GET /v3 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings, X-Mine, close\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Mine: 1\r\nTE: trailers\r\n\r\n";
    let answer = ask(gateway.address, request).await;
    assert_eq!(answer.status, 200);
    let seen = stub.book.seen().remove(0).headers;
    for gone in ["upgrade", "http2-settings", "x-mine", "te"] {
        assert!(!seen.contains_key(gone), "{gone}: {seen:?}");
    }
}

#[tokio::test]
async fn an_answer_before_the_body_reaches_its_client() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send(
        "POST /v3 HTTP/1.1\r\nHost: h\r\nX-Stub: early\r\nContent-Length: 1000000\r\n\r\nbegun",
    )
    .await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.text()), (401, "early".into()));
    assert!(answer.header("www-authenticate").is_some());
    // The rest is not waited for.
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET /v3 HTTP/1.1\r\nHost: h\r\nX-Stub: cut\r\n\r\n")
        .await;
    assert_eq!(raw.head().await.unwrap().status, 200);
    assert_eq!(raw.chunk().await.unwrap(), b"first");
    stub.book.let_go();
    // No last chunk: the connection ends.
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET /v3 HTTP/1.1\r\nHost: h\r\nX-Stub: hold\r\n\r\n")
        .await;
    stub.book.has_seen(1).await;
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 1.0)
        .await;
    drop(raw);
    gateway
        .has_metric("rekindle_gateway_requests_in_flight", 0.0)
        .await;
    gateway
        .has_metric(
            "rekindle_gateway_requests_total{zone=\"zone-a\",route=\"versions\",status=\"499\"",
            1.0,
        )
        .await;
    soon(async {
        while stub.book.open() != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
