//! Clients that do not read. The clock stands: it goes on when nobody has anything to do.

use super::{reading::READING_TIME, *};
use axum::routing::get;
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};

const ANSWER: usize = 64 * 1024;
/// The stream takes so much that is not read.
const STREAM: usize = 4 * 1024;
const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A connection from this machine, in the only slot that there is.
fn connected() -> (DuplexStream, Arc<Shared>, JoinHandle<()>) {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let shared = Arc::new(Shared::new(limits, CancellationToken::new()));
    let router = Router::new().route("/", get(|| async { "x".repeat(ANSWER) }));
    let router = request::layers(router, limits);
    let address = "127.0.0.1:1".parse().unwrap();
    let slot = Arc::clone(&shared.loopback).try_acquire_owned().unwrap();
    let (stream, client) = duplex(STREAM);
    let peer = Peer::Loopback { address };
    let served = tokio::spawn(local(stream, peer, router, Arc::clone(&shared), slot));
    (client, shared, served)
}

/// One that asks on and on, until nothing is taken from it any more: there is always a request that was begun, so that no head is waited for.
#[tokio::test(start_paused = true)]
async fn a_client_that_asks_and_does_not_read_is_let_go_with_its_slot() {
    let (mut client, shared, served) = connected();
    let began = Instant::now();
    let asking = tokio::spawn(async move { while client.write_all(ASKED).await.is_ok() {} });
    let ended = timeout(Duration::from_secs(3600), served).await;
    ended.expect("it has its slot for ever").unwrap();
    assert_eq!(began.elapsed().as_secs(), READING_TIME.as_secs());
    assert_eq!(shared.loopback.available_permits(), 1);
    asking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_all_of_its_answer() {
    let (mut client, _, served) = connected();
    client.write_all(ASKED).await.unwrap();
    let mut read = 0;
    while read < ANSWER {
        sleep(READING_TIME * 2 / 3).await;
        let mut piece = [0; STREAM];
        let n = client.read(&mut piece).await.unwrap();
        assert!(n > 0, "it was cut after {read} bytes");
        read += n;
    }
    drop(client);
    served.await.unwrap();
}
