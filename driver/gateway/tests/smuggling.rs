//! Requests that two servers could read in two ways are refused, and nothing of them reaches Cinder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::{gateway, raw::Raw, stub::Stub};

/// What an attacker wants Cinder to take for a request of its own.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let post = |fields: &str, body: &str| {
        format!("POST /bad HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{body}")
    };
    let attacks = [
        (
            "both lengths",
            post(
                "Content-Length: 4\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
            ),
        ),
        (
            "both, the other way",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 4",
                "0\r\n\r\n",
            ),
        ),
        (
            "two lengths",
            post("Content-Length: 0\r\nContent-Length: 44", ""),
        ),
        (
            "the same length twice",
            post("Content-Length: 0\r\nContent-Length: 0", ""),
        ),
        ("a list of lengths", post("Content-Length: 0, 0", "")),
        ("a signed length", post("Content-Length: +0", "")),
        (
            "a length beyond all",
            post("Content-Length: 18446744073709551616", ""),
        ),
        ("identity", post("Transfer-Encoding: identity", "")),
        (
            "chunked twice",
            post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
        ),
        (
            "chunked in two fields",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
            ),
        ),
        (
            "chunked and identity",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
                "0\r\n\r\n",
            ),
        ),
        (
            "gzip before chunked",
            post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ),
        (
            "a vertical tab",
            post("Transfer-Encoding:\x0bchunked", "0\r\n\r\n"),
        ),
        (
            "space before the colon",
            post("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ),
        (
            "space before a length's colon",
            post("Content-Length : 44", ""),
        ),
        ("a folded field", post("X: a\r\n Content-Length: 44", "")),
        (
            "a folded encoding",
            post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
        ),
        ("a bare CR", post("X: a\rContent-Length: 44", "")),
        ("a bare LF", post("X: a\nContent-Length: 44", "")),
        ("lines of LF", post("X: a", "").replace("\r\n", "\n")),
        ("a NUL", post("X: a\0b", "")),
        ("a field without a colon", post("X", "")),
        (
            "a first field that is folded",
            "GET /bad HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n".into(),
        ),
        (
            "absolute form",
            "GET http://other.example/bad HTTP/1.1\r\nHost: h\r\n\r\n".into(),
        ),
        (
            "authority form",
            "CONNECT other.example:80 HTTP/1.1\r\nHost: other.example:80\r\n\r\n".into(),
        ),
        (
            "authority form with GET",
            "GET other.example:80 HTTP/1.1\r\nHost: h\r\n\r\n".into(),
        ),
        (
            "two hosts",
            "GET /bad HTTP/1.1\r\nHost: h\r\nHost: other.example\r\n\r\n".into(),
        ),
        ("no host", "GET /bad HTTP/1.1\r\n\r\n".into()),
        (
            "chunks in HTTP/1.0",
            "POST /bad HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        ("two spaces", "GET  /bad HTTP/1.1\r\nHost: h\r\n\r\n".into()),
        (
            "a length that Connection takes off",
            post("Content-Length: 0\r\nConnection: content-length", ""),
        ),
    ];
    for (name, attack) in attacks {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(format!("{attack}{HIDDEN}")).await;
        let answer = raw
            .answer()
            .await
            .unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        let fault = answer.json();
        assert_eq!(fault["badRequest"]["code"], 400, "{name}: {fault}");
        assert!(answer.header("x-openstack-request-id").is_some(), "{name}");
        assert_eq!(raw.rest().await, b"", "{name}: the connection goes on");
    }
    assert!(stub.book.seen().is_empty(), "{:?}", stub.book.seen());
}

#[tokio::test]
async fn http_2_is_not_spoken_here() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 505);
    assert!(stub.book.seen().is_empty());
}

#[tokio::test]
async fn chunks_that_are_none_end_the_request_and_the_connection() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    for bad in [
        "x\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhello!!\r\n",
        "5\r\nhello\n",
        "5;\0\r\nhello\r\n",
        "ffffffffffffffff\r\nhello",
        "5;a=\n0\r\nhello\r\n",
    ] {
        let before = stub.book.seen().len();
        let mut raw = Raw::connect(gateway.address).await;
        let head = "POST /cut HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        raw.send(format!("{head}3\r\nabc\r\n{bad}0\r\n\r\n{HIDDEN}"))
            .await;
        let answer = raw.answer().await;
        let status = answer.map(|a| a.status);
        assert!(status.is_none_or(|s| s == 400), "{bad:?}: {status:?}");
        assert_eq!(raw.rest().await, b"", "{bad:?}: the connection goes on");
        let seen = stub.book.seen();
        assert!(seen.len() <= before + 1, "{bad:?}");
        assert!(seen.iter().all(|s| s.target == "/cut"), "{bad:?}: {seen:?}");
    }
}

/// A request that hides in another's body stays there.
#[tokio::test]
async fn a_body_is_a_body_whatever_stands_in_it() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    let length = HIDDEN.len();
    raw.send(format!(
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"
    ))
    .await;
    assert_eq!(raw.answer().await.unwrap().json()["body"], HIDDEN);
    raw.send(format!(
        "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{length:X};x\r\n{HIDDEN}\r\n0\r\nTransfer-Encoding: identity\r\n\r\n"
    ))
    .await;
    let answer = raw.answer().await.unwrap().json();
    assert_eq!(answer["body"], HIDDEN);
    let seen = stub.book.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(!seen[1].headers.contains_key("content-length"));
}

#[tokio::test]
async fn requests_one_after_the_other_are_answered_and_the_bad_one_ends_them() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let bad =
        "POST /bad HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    raw.send(format!("{}{}{bad}{HIDDEN}", one("/1"), one("/2")))
        .await;
    for target in ["/1", "/2"] {
        let answer = raw.answer().await.unwrap();
        assert_eq!(
            (answer.status, &answer.json()["target"]),
            (200, &target.into())
        );
    }
    assert_eq!(raw.answer().await.unwrap().status, 400);
    assert_eq!(raw.rest().await, b"");
    assert_eq!(stub.book.seen().len(), 2);
}

#[tokio::test]
async fn a_head_in_single_bytes_is_a_head() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = "\r\nPOST /slow HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in request.as_bytes() {
        raw.send([*byte]).await;
    }
    assert_eq!(raw.answer().await.unwrap().json()["body"], "abc");
}
