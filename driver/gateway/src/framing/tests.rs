use super::*;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 2000,
    fields: 10,
    target: 200,
};

/// The bytes as they come at once: how many go on, and why no more.
fn at_once(bytes: &[u8]) -> (usize, Option<Refused>) {
    let mut framing = Framing::new(LIMITS);
    (framing.clear(bytes), framing.refused())
}

/// And in pieces of that size.
fn in_pieces(bytes: &[u8], size: usize) -> (usize, Option<Refused>) {
    let mut framing = Framing::new(LIMITS);
    let (mut gone, mut came) = (0, 0);
    while came < bytes.len() && framing.refused().is_none() {
        came = (came + size).min(bytes.len());
        gone += framing.clear(&bytes[gone..came]);
    }
    (gone, framing.refused())
}

fn both_ways(bytes: &[u8]) -> (usize, Option<Refused>) {
    let whole = at_once(bytes);
    for size in [1, 2, 7] {
        assert_eq!(in_pieces(bytes, size), whole, "{}", show(bytes));
    }
    whole
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

const GET: &str = "GET /v3 HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn what_clients_send_goes_on_whole() {
    for good in [
        GET.to_owned(),
        format!("\r\n{GET}"),
        format!("{GET}{GET}\r\n{GET}"),
        "OPTIONS * HTTP/1.1\r\nhost:h:8776\r\n\r\n".to_owned(),
        "GET /v3/volumes?name=a%20b&x=%C3%BC HTTP/1.0\r\n\r\n".to_owned(),
        "GET //x/../y HTTP/1.1\r\nHost: [2001:db8::1]:8776\r\nX-Empty:\r\nX: \t a\tb \t\r\n\r\n"
            .to_owned(),
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello{GET}"),
        format!("POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n{GET}"),
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhel\r\n\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n{GET}"
        ),
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n000\r\nA: b\r\nC: d\r\n\r\n{GET}"
        ),
    ] {
        assert_eq!(both_ways(good.as_bytes()), (good.len(), None), "{good:?}");
    }
}

#[test]
fn a_head_goes_on_only_when_it_is_whole() {
    let mut framing = Framing::new(LIMITS);
    for end in 0..GET.len() {
        assert_eq!(framing.clear(&GET.as_bytes()[..end]), 0, "{end}");
        assert!(!framing.in_body());
    }
    assert_eq!(framing.clear(GET.as_bytes()), GET.len());
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_whole() {
    let post =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{body}");
    for bad in [
        // Lengths.
        post(
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
        ),
        post(
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "0\r\n\r\n",
        ),
        post("Content-Length: 5\r\nContent-Length: 5", "hello"),
        post("Content-Length: 5\r\nContent-Length: 6", "hello"),
        post("Content-Length: 5, 5", "hello"),
        post("Content-Length: +5", "hello"),
        post("Content-Length: -1", ""),
        post("Content-Length: 0x5", "hello"),
        post("Content-Length: 5 5", "hello"),
        post("Content-Length:", ""),
        post("Content-Length: 99999999999999999999", ""),
        // Encodings.
        post("Transfer-Encoding: identity", ""),
        post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
        post(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
        ),
        post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: xchunked", ""),
        post("Transfer-Encoding: \"chunked\"", ""),
        post("Transfer-Encoding:", ""),
        "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        // Fields.
        post("Transfer-Encoding : chunked", "0\r\n\r\n"),
        post("Transfer-Encoding\t: chunked", "0\r\n\r\n"),
        post("Content-Length : 5", "hello"),
        post("X: a\r\n b", ""),
        post("X: a\r\n\tTransfer-Encoding: chunked", ""),
        post(" X: a", ""),
        post("X", ""),
        post(": a", ""),
        post("X(y): a", ""),
        post("X: a\0b", ""),
        post("X: a\x0bb", ""),
        post("X: a\rTransfer-Encoding: chunked", ""),
        post("X: a\nTransfer-Encoding: chunked", ""),
        post("X: a\r\r", ""),
        // Lines.
        GET.replace("\r\n", "\n"),
        format!("\r\n\r\n{GET}"),
        format!("\n{GET}"),
        format!(" {GET}"),
        "GET /v3 HTTP/1.1\r\n Host: h\r\n\r\n".to_owned(),
        "GET  /v3 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /v3  HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET\t/v3 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /v3 HTTP/1.1 \r\nHost: h\r\n\r\n".to_owned(),
        "GET /v3\r\n\r\n".to_owned(),
        "G@T /v3 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        // Targets.
        "GET http://h/v3 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET v3 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /v3#x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        // Hosts.
        "GET /v3 HTTP/1.1\r\n\r\n".to_owned(),
        "GET /v3 HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n".to_owned(),
        "GET /v3 HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        "GET /v3 HTTP/1.1\r\nHost: h/x\r\n\r\n".to_owned(),
        "GET /v3 HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(),
        "GET /v3 HTTP/1.1\r\nHost: u@h\r\n\r\n".to_owned(),
    ] {
        let (gone, why) = both_ways(bad.as_bytes());
        assert!(
            gone == 0 && matches!(why, Some(Refused::Malformed(_))),
            "{bad:?}: {gone} {why:?}"
        );
        // What came before it goes on, and nothing after it.
        let later = format!("{GET}{bad}{GET}");
        let (gone, again) = both_ways(later.as_bytes());
        let head = if bad.starts_with("\r\n\r\n") {
            None
        } else {
            why
        };
        assert!(
            gone >= GET.len() && gone <= GET.len() + 2,
            "{bad:?}: {gone}"
        );
        assert!(head.is_none() || again == head, "{bad:?}: {again:?}");
    }
}

#[test]
fn chunks_that_are_none_are_refused_where_they_stand() {
    const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bad in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\nx\r\n",
        "0x1\r\nx\r\n",
        " 1\r\nx\r\n",
        "1 \r\nx\r\n",
        "1\nx\n",
        "1\rx",
        "1\r\nxy\r\n",
        "1\r\nx\n",
        "1\r\nx\rX",
        ";a=b\r\n",
        "1;a\0\r\nx\r\n",
        "1;a\nb\r\nx\r\n",
        "ffffffffffffffff\r\n",
        "0000000000000001\r\nx\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\rz\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
        "0\r\nX: \0\r\n\r\n",
    ] {
        let text = format!("{HEAD}{bad}");
        let whole = at_once(text.as_bytes());
        assert!(
            matches!(whole.1, Some(Refused::Malformed(_))),
            "{bad:?}: {whole:?}"
        );
        assert!(whole.0 < text.len(), "{bad:?}");
        let (_, why) = in_pieces(text.as_bytes(), 1);
        assert_eq!(why, whole.1, "{bad:?}");
    }
    let long = format!("{HEAD}1;{}\r\nx\r\n", "a".repeat(300));
    assert!(at_once(long.as_bytes()).1.is_some());
    let long = format!("{HEAD}0\r\n{}\r\n", "a: b\r\n".repeat(2000));
    assert!(at_once(long.as_bytes()).1.is_some());
}

#[test]
fn limits_are_kept_before_a_head_is_whole() {
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "A: b\r\n".repeat(10));
    assert_eq!(
        both_ways(many.as_bytes()).1,
        Some(Refused::TooManyFields(10))
    );
    let enough = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(9));
    assert_eq!(both_ways(enough.as_bytes()), (enough.len(), None));
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "b".repeat(2000));
    assert_eq!(
        both_ways(large.as_bytes()).1,
        Some(Refused::HeadTooLarge(2000))
    );
    let long = format!("GET /{}", "x".repeat(300));
    assert_eq!(
        both_ways(long.as_bytes()).1,
        Some(Refused::TargetTooLong(200))
    );
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(200));
    assert_eq!(
        both_ways(long.as_bytes()).1,
        Some(Refused::TargetTooLong(200))
    );
    for other in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/11"] {
        let text = format!("GET / {other}\r\nHost: h\r\n\r\n");
        assert_eq!(
            both_ways(text.as_bytes()).1,
            Some(Refused::Version),
            "{other}"
        );
    }
}

proptest! {
    /// However the bytes come, the same goes on; and never a byte that was not there.
    #[test]
    fn pieces_make_no_difference(bytes in prop::collection::vec(wire(), 0..60), size in 1usize..9) {
        let bytes: Vec<u8> = bytes.concat();
        let whole = at_once(&bytes);
        prop_assert!(whole.0 <= bytes.len());
        let pieces = in_pieces(&bytes, size);
        prop_assert_eq!(pieces.1, whole.1);
        // Within a body that turns out bad, more of it may have gone on before that was seen.
        prop_assert!(pieces.0 >= whole.0);
    }

    /// A body of any bytes and any length ends where it says.
    #[test]
    fn bodies_end_where_they_say(body in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
        let mut text = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        text.extend_from_slice(&body);
        text.extend_from_slice(GET.as_bytes());
        prop_assert_eq!(at_once(&text), (text.len(), None));
        let mut text = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(cut) {
            text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n\r\n");
        text.extend_from_slice(GET.as_bytes());
        prop_assert_eq!(at_once(&text), (text.len(), None));
    }
}

/// Pieces that requests, good and bad, are made of.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /v3 HTTP/1.1\r\n",
        b"Host: h\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X: y\r\n",
        b" ",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"abc",
        b":",
        b"\0",
    ];
    prop::sample::select(words).prop_map(<[u8]>::to_vec)
}
