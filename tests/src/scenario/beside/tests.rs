use super::*;
use crate::recorded::read;

fn beside() -> Beside {
    let addresses = ["127.0.0.1:1", "127.0.0.1:22"].map(|a| a.parse().unwrap());
    Beside::new(addresses, &[("volume", "0f0f0f0f")])
}

fn request(text: &str) -> Recorded {
    read(text).unwrap().remove(0)
}

fn answer(status: u16, fields: &str, body: &str) -> Answer {
    Answer {
        status,
        head: format!(
            "HTTP/1.1 {status} X\r\nX-Compute-Request-Id: {}\r\n{fields}",
            body.len()
        ),
        body: body.to_owned(),
    }
}

#[test]
fn what_is_the_same_but_for_what_may_differ_is_no_difference() {
    let mut beside = beside();
    beside.own[0].insert("made".into(), "aaaaaaaa".into());
    beside.own[1].insert("made".into(), "bbbbbbbb".into());
    let link = |port| format!("{{\"a\": \"http://127.0.0.1:{port}/v3\"}}");
    for (request, direct, through) in [
        (
            "200 GET /",
            answer(200, "Date: 1", &link("1")),
            answer(200, "date: 2\r\nContent-Length: 9", &link("22")),
        ),
        (
            "202 POST /v3/{made}",
            answer(
                202,
                "Location: http://127.0.0.1:1/aaaaaaaa",
                "aaaaaaaa 2026-01-02T03:04:05.678",
            ),
            answer(
                202,
                "location: http://127.0.0.1:22/bbbbbbbb",
                "bbbbbbbb 2026-01-02T03:04:07",
            ),
        ),
        (
            "200 GET /v3/hosts\n  ~",
            answer(200, "", "[1.5, 22]"),
            answer(200, "", "[7, 0.4]"),
        ),
    ] {
        let found = beside.differences(&self::request(request), &[direct, through]);
        assert_eq!(found, Vec::<String>::new(), "{request}");
    }
}

#[test]
fn the_fields_of_a_volume_are_to_be_there_and_nothing_else() {
    let beside = beside();
    let look = request("200 GET /v3/volumes/{volume}");
    let plain = "{\"volume\": {\"id\": \"0f0f0f0f\"}}";
    let with = |more: &str| {
        let body = format!(
            "{{\"volume\": {{\"id\": \"0f0f0f0f\", \"rekindle:status\": null, \"rekindle:mode\": null, \"rekindle:peer\": null, \
             \"rekindle:last_sync\": null{more}}}}}"
        );
        answer(200, "", &body)
    };
    let direct = answer(200, "", plain);
    let whole = with(", \"rekindle:lag\": null");
    assert!(
        beside
            .differences(&look, &[direct.clone(), whole])
            .is_empty()
    );
    let untouched = Recorded {
        untouched: true,
        ..look.clone()
    };
    let as_it_is = [direct.clone(), direct.clone()];
    assert!(beside.differences(&untouched, &as_it_is).is_empty());
    for less in [
        with(""),
        with(", \"rekindle:lag\": null, \"x\": 1"),
        direct.clone(),
    ] {
        assert_eq!(
            beside
                .differences(&look, &[direct.clone(), less.clone()])
                .len(),
            1,
            "{less:?}"
        );
    }
}

#[test]
fn each_difference_is_found() {
    let beside = beside();
    let get = request("200 GET /v3/types");
    let direct = answer(200, "A: 1", "x 2026-01-02T03:04:05");
    for through in [
        answer(404, "A: 1", "x 2026-01-02T03:04:05"),
        answer(200, "A: 2", "x 2026-01-02T03:04:05"),
        answer(200, "A: 1\r\nB: 1", "x 2026-01-02T03:04:05"),
        answer(200, "A: 1", "x 2026-01-02T03:04:06"),
        Answer {
            head: "HTTP/1.1 200 OK\r\nA: 1".to_owned(),
            ..direct.clone()
        },
    ] {
        assert_eq!(
            beside
                .differences(&get, &[direct.clone(), through.clone()])
                .len(),
            1,
            "{through:?}"
        );
    }
    let other = request("204 GET /v3/types");
    let found = beside.differences(&other, &[direct.clone(), direct]);
    assert!(found[0].contains("Cinder says 200"), "{found:?}");
}

#[test]
fn a_request_is_each_sides_own() {
    let mut beside = beside();
    beside.own[1].insert("made".into(), "bbbbbbbb".into());
    let post = request("202 POST /v3/{volume}/{made}\n  X-A: {side}\n  > {\"é\": {}}");
    assert_eq!(
        beside.text(1, &post).unwrap(),
        "POST /v3/0f0f0f0f/bbbbbbbb HTTP/1.1\r\nHost: 127.0.0.1:22\r\nX-A: on-that-side\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{\"é\": {}}"
    );
    assert!(beside.text(0, &post).is_err(), "it has made nothing");
}

#[test]
fn a_part_of_an_answer_is_found_by_its_way() {
    let answer = answer(200, "", "{\"a\": [{\"b\": \"c\"}, 7]}");
    assert_eq!(said(&answer, "a.0.b").as_deref(), Some("c"));
    assert_eq!(said(&answer, "a.1").as_deref(), Some("7"));
    assert_eq!(said(&answer, "a.2"), None);
}
