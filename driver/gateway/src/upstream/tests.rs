use super::{link::Link, *};
use crate::workers;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rekindle_common::ZoneName;
use std::pin::pin;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const TIMES: UpstreamTimes = UpstreamTimes {
    wait: Duration::from_secs(5),
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(5),
    idle: Duration::from_secs(5),
    keep_alive: Duration::from_secs(60),
};

/// A kept connection that ends after it was looked at and before the request is on it: nobody else can make that moment last.
#[tokio::test]
async fn a_request_of_which_nothing_was_sent_goes_over_another_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let metrics = Metrics::new(&ZoneName::new("zone-a").unwrap());
    let upstream = Upstream::new(&url.parse().unwrap(), None, 1, TIMES, &metrics).unwrap();
    let (ours, theirs) = tokio::io::duplex(1024);
    let (sender, connection) = handshake(TokioIo::new(ours)).await.unwrap();
    let mut connection = pin!(connection);
    assert!(futures::poll!(connection.as_mut()).is_pending());
    assert!(sender.is_ready());
    let link = Link::moved_elsewhere(sender);
    let open = upstream.pool.opens(metrics.upstream()).unwrap();
    upstream.pool.keeps(Lease::new(link, open));
    drop(theirs);

    let mut sending = pin!(upstream.send(Request::new(RequestBody::none())));
    // It goes to the kept connection, which has not noticed yet, and then does.
    assert!(futures::poll!(sending.as_mut()).is_pending());
    assert!(connection.await.is_ok());
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"GET /");
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(sending, serving);
    assert_eq!(answer.unwrap().status(), 204);
    let told = metrics.text().unwrap();
    assert!(
        told.contains("upstream_sent_again_total{zone=\"zone-a\"} 1"),
        "{told}"
    );
}

/// Cinder sees no more connections than it was said to, however many threads there are.
#[tokio::test]
async fn what_another_thread_keeps_is_taken_before_there_are_too_many() {
    let pool = Pool::new(1, TIMES.keep_alive);
    let metrics = Metrics::new(&ZoneName::new("zone-a").unwrap());
    let open = pool.opens(metrics.upstream()).unwrap();
    assert!(pool.opens(metrics.upstream()).is_none(), "one is open");
    let (ours, _theirs) = tokio::io::duplex(1024);
    let (sender, connection) = handshake(TokioIo::new(ours)).await.unwrap();
    let mut connection = pin!(connection);
    assert!(futures::poll!(connection.as_mut()).is_pending());
    pool.keeps(Lease::new(Link::moved_elsewhere(sender), open));
    let place = pool.place().await.unwrap();
    workers::count_as(1);
    if workers::count() > 1 {
        assert!(pool.kept(&place).is_none(), "it is the first one's");
    }
    assert!(pool.opens(metrics.upstream()).is_none());
    let lease = pool.kept_by_others(&place).unwrap();
    drop(lease);
    assert!(pool.opens(metrics.upstream()).is_some(), "it is gone");
}

/// Nobody moves a kept connection, so nobody would see that Cinder has closed it.
#[tokio::test]
async fn a_connection_that_nobody_takes_up_in_time_is_let_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let metrics = Metrics::new(&ZoneName::new("zone-a").unwrap());
    let times = UpstreamTimes {
        keep_alive: Duration::from_millis(50),
        ..TIMES
    };
    let upstream = Upstream::new(&url.parse().unwrap(), None, 1, times, &metrics).unwrap();
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let asking = upstream.send(Request::new(RequestBody::none()));
    let (answer, mut stream) = tokio::join!(asking, serving);
    let open = |n: u8| format!("upstream_connections{{zone=\"zone-a\"}} {n}\n");
    // It is kept, and not the answer's any more.
    assert!(metrics.text().unwrap().contains(&open(1)));
    let mut rest = Vec::new();
    let end = timeout(TIMES.idle, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "it is still open");
    assert!(metrics.text().unwrap().contains(&open(0)));
    assert_eq!(answer.unwrap().status(), 204);
}
