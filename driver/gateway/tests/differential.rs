//! A few hundred requests, each sent to the stub and through the gateway: status, fields and body are the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{fmt::Write as _, net::SocketAddr};
use support::{
    gateway,
    raw::{Answer, Raw},
    stub::Stub,
};

const REQUESTS: usize = 400;

fn one<'a>(rng: &mut impl Rng, of: &[&'a str]) -> &'a str {
    of[rng.random_range(0..of.len())]
}

/// A request as Cinder's clients send them, and as they do not.
fn request(rng: &mut StdRng) -> (String, String) {
    let method = one(
        rng,
        &[
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW",
        ],
    );
    let path = one(
        rng,
        &[
            "/",
            "/v3/",
            "/v3/0123456789abcdef/volumes",
            "/v3/0123456789abcdef/volumes/detail?limit=2&marker=6f1e&sort=created_at:desc",
            "/v3/p/volumes?name=a%20b%2F%C3%BC&metadata={'a':%20'b'}",
            "/v3/p/volumes/9d2a/action",
            "/v3//p/../p/./snapshots?",
            "/v3/p/types?is_public=None&&=",
            "/v3/attachments/~x;y=1,2:3@4",
        ],
    );
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: volumes.example:8776\r\n");
    for (field, likely) in [
        ("X-Auth-Token: gAAAAABo-long_token==", 0.9),
        ("OpenStack-API-Version: volume 3.70", 0.7),
        ("openstack-api-version: compute 2.1, volume 3.0", 0.2),
        ("Accept: application/json", 0.8),
        ("ACCEPT-ENCODING: gzip, deflate", 0.5),
        ("User-Agent: python-cinderclient", 0.8),
        (
            "X-OpenStack-Request-ID: req-0e1d0000-0000-4000-8000-000000000002",
            0.3,
        ),
        ("Cookie: a=1; b=2", 0.1),
        ("Cookie: c=3", 0.1),
        ("If-None-Match: \"x\", \"y\"", 0.1),
        ("X-Empty:", 0.2),
        ("X-Latin: caf\u{e9}", 0.1),
        ("Content-Type: application/json", 0.5),
        ("Authorization: Basic eDp5", 0.1),
        ("Via: 1.1 somebody", 0.1),
        ("Keep-Alive: timeout=5", 0.1),
    ] {
        if rng.random_bool(likely) {
            let _ = write!(head, "{field}\r\n");
        }
    }
    let status = one(
        rng,
        &[
            "200", "201", "202", "204", "300", "304", "400", "401", "404", "409", "413", "500",
            "503",
        ],
    );
    let shape = one(rng, &["", " chunked", " hop", " hop chunked", " close"]);
    let _ = write!(head, "X-Stub: status={status}{shape}\r\n");
    let letters = ('a'..='z').cycle();
    let body: String = letters.take(rng.random_range(0..3000)).collect();
    let body = match rng.random_range(0..4) {
        0 => {
            let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
            body
        }
        1 => {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            let mut text = String::new();
            for piece in body.as_bytes().chunks(rng.random_range(1..700)) {
                let piece = std::str::from_utf8(piece).unwrap();
                let _ = write!(text, "{:x}\r\n{piece}\r\n", piece.len());
            }
            text + "0\r\n\r\n"
        }
        2 => {
            head.push_str("Content-Length: 0\r\n\r\n");
            String::new()
        }
        _ => {
            head.push_str("\r\n");
            String::new()
        }
    };
    (method.to_owned(), head + &body)
}

async fn sent(address: SocketAddr, method: &str, request: &str) -> Answer {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    let mut answer = raw.answer_to(method == "HEAD").await.unwrap();
    assert!(answer.whole, "{request}\n{answer:?}");
    // What is of one connection.
    let own = ["connection", "keep-alive", "transfer-encoding", "x-hop"];
    answer
        .headers
        .retain(|(n, _)| !own.contains(&n.to_ascii_lowercase().as_str()));
    answer.headers.sort();
    answer
}

#[tokio::test]
async fn through_the_gateway_every_answer_is_the_same() {
    let stub = Stub::start().await;
    let gateway = gateway(stub.address, "", "").await;
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for n in 0..REQUESTS {
        let (method, request) = request(&mut rng);
        let direct = sent(stub.address, &method, &request).await;
        let through = sent(gateway.address, &method, &request).await;
        assert_eq!(direct, through, "request {n} of seed {seed}:\n{request}");
    }
    assert_eq!(stub.book.seen().len(), 2 * REQUESTS);
}
