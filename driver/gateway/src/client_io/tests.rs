//! A connection with the server on it, and a client that reads as it likes. The clock stands: it goes on when nobody has anything to do.

use super::*;
use crate::{body::AnswerBody, exchange::Exchange, metrics::Metrics, routes::Route};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rekindle_common::ZoneName;
use std::convert::Infallible;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::Semaphore,
    task::JoinHandle,
};

/// More than the server takes of an answer at once.
const ANSWER: usize = 1024 * 1024;
/// The stream takes so much that is not read.
const STREAM: usize = 4 * 1024;
const TIMES: ClientTimes = ClientTimes {
    head: Duration::from_secs(10),
    keep_alive: Duration::from_secs(1),
    idle: Duration::from_secs(60),
    body: Duration::from_secs(10),
    body_rate: 1024,
};
const ASKED: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

struct Connected {
    client: DuplexStream,
    /// One for a request in flight.
    places: Arc<Semaphore>,
    /// What bodies that are held may take.
    parts: Arc<Semaphore>,
    served: JoinHandle<hyper::Result<()>>,
}

impl Connected {
    /// Each request is answered with `ANSWER` bytes that are at hand.
    fn new() -> Self {
        Self::answering(ANSWER, &Arc::new(Semaphore::new(1)), 1)
    }

    /// With so many bytes, for which so many of the parts are taken while they are made.
    fn answering(bytes: usize, parts: &Arc<Semaphore>, taken: u32) -> Self {
        let (stream, client) = duplex(STREAM);
        let limits = HeadLimits {
            bytes: 48 * 1024,
            fields: 100,
            target: 16 * 1024,
        };
        let shared = Arc::new(Shared::default());
        let io = ClientIo::new(stream, limits, TIMES, Arc::clone(&shared));
        let metrics = Metrics::new(&ZoneName::new("zone-a").unwrap());
        let (places, parts) = (Arc::new(Semaphore::new(1)), Arc::clone(parts));
        let (place, part) = (Arc::clone(&places), Arc::clone(&parts));
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, _) = request.into_parts();
            let peer = "192.0.2.1:1".parse().unwrap();
            let mut exchange =
                Exchange::begin(&head, Route::Versions, peer, &metrics, shared.begin());
            exchange.takes(Arc::clone(&place).try_acquire_owned().unwrap());
            exchange.holds(Arc::clone(&part).try_acquire_many_owned(taken).unwrap());
            let body = AnswerBody::own(vec![b'x'; bytes].into(), exchange);
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        });
        let served = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(io), service);
        Self {
            client,
            places,
            parts,
            served: tokio::spawn(served),
        }
    }

    async fn sends(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads so many bytes, and then none until nobody has anything to do for so long.
    async fn reads(&mut self, bytes: usize, then: Duration) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.client.read_exact(&mut read).await.unwrap();
        tokio::time::sleep(then).await;
        read
    }

    /// Reads to the end, which comes in time or never.
    async fn reads_all(&mut self) -> String {
        let mut rest = String::new();
        let read = self.client.read_to_string(&mut rest);
        tokio::time::timeout(TIMES.idle, read)
            .await
            .unwrap()
            .unwrap();
        rest
    }

    /// Reads an answer's head.
    async fn reads_head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(self.client.read_u8().await.unwrap()));
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        head
    }

    fn free(&self) -> (usize, usize) {
        let (places, parts) = (&self.places, &self.parts);
        (places.available_permits(), parts.available_permits())
    }
}

/// What a request and its body may take is bounded by these two: a client that asks and does not read has both.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_read_keeps_its_place_and_its_part() {
    const MOMENT: Duration = Duration::from_millis(1);
    let mut connected = Connected::new();
    connected.sends(ASKED).await;
    let head = connected.reads_head().await;
    let length = format!("content-length: {ANSWER}\r\n");
    assert!(head.contains(&length), "{head}");
    connected.reads(ANSWER / 2, MOMENT).await;
    assert_eq!(connected.free(), (0, 0));
    // The server has the last piece, and all that was held is in memory still: pieces are no copies.
    let left = 2 * STREAM;
    connected.reads(ANSWER / 2 - left, MOMENT).await;
    assert_eq!(connected.free(), (1, 0));
    connected.reads(left, MOMENT).await;
    assert_eq!(connected.free(), (1, 1));
    connected.sends(ASKED).await;
    connected.reads_head().await;
}

/// What a page by status is made of may be 16 MiB, of 64 for all; the page may be one volume.
#[tokio::test(start_paused = true)]
async fn small_answers_that_are_not_read_keep_out_nobody() {
    const KIB: u32 = 16 * 1024 + 1;
    let parts = Arc::new(Semaphore::new(64 * 1024));
    let connected = || Connected::answering(2 * STREAM, &parts, KIB);
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut one = connected();
        one.sends(ASKED).await;
        one.reads_head().await;
        slow.push(one);
    }
    // They have what their answers have.
    assert_eq!(
        parts.available_permits(),
        64 * 1024 - 8 * (2 * STREAM / 1024 + 1)
    );
    let mut other = connected();
    other.sends(ASKED).await;
    other.reads_head().await;
    other.reads(2 * STREAM, Duration::ZERO).await;
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_all_of_an_answer_and_then_its_time() {
    let mut connected = Connected::new();
    connected.sends(ASKED).await;
    connected.reads_head().await;
    let mut left = ANSWER;
    while left > 0 {
        let piece = left.min(50_000);
        left -= piece;
        let until = if left > 0 {
            3 * TIMES.keep_alive
        } else {
            Duration::ZERO
        };
        let read = connected.reads(piece, until).await;
        assert!(read.iter().all(|b| *b == b'x'));
    }
    // Between two requests time runs from the last byte of the first one's answer.
    let read = Instant::now();
    assert_eq!(connected.reads_all().await, "");
    let waited = read.elapsed();
    let off = waited.abs_diff(TIMES.keep_alive);
    assert!(off < TIMES.keep_alive / 10, "{waited:?}");
    connected.served.await.unwrap().unwrap();
}

/// A request in bytes that are none, or one that does not come to its end: it is refused after the answer to the one before it.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_behind_a_request_leaves_its_answer_whole() {
    for (behind, status) in [
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHo", "408"),
    ] {
        let mut connected = Connected::new();
        connected.sends(&format!("{ASKED}{behind}")).await;
        connected.reads_head().await;
        // The head's time is over too while the last bytes are not read.
        connected.reads(ANSWER - 2 * STREAM, 2 * TIMES.head).await;
        let rest = connected.reads(2 * STREAM, Duration::ZERO).await;
        assert!(rest.iter().all(|b| *b == b'x'), "{behind:?}");
        let told = connected.reads_all().await;
        let told_so = told.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(told_so, "{behind:?}: {told:?}");
    }
}

/// A client that reads nothing at all is not waited for beyond its time.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_more_is_let_go_with_its_place_and_its_part() {
    let mut connected = Connected::new();
    connected.sends(ASKED).await;
    connected.reads_head().await;
    let began = Instant::now();
    let ended = (&mut connected.served).await.unwrap();
    assert!(ended.is_err());
    assert_eq!(began.elapsed().as_secs(), TIMES.idle.as_secs());
    assert_eq!(connected.free(), (1, 1));
}
