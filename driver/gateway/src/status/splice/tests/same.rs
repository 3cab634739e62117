//! That the reader reads what serde_json reads, and nothing else.

use super::{super::*, slow, value};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Every place where a reader of JSON can be too kind or too strict.
#[test]
fn it_reads_json_as_serde_does() {
    #[rustfmt::skip]
    let values = [
        // Numbers.
        "0", "-0", "00", "-", "01", "1.", ".1", "1.5", "1e5", "1E+5", "1e-5", "1e", "1e+", "+1", "0x1", "1_0", "1e999",
        "100000000000000000000000000000", "-a", "NaN", "Infinity", "0.0.0", "1 2", "-01", "1.e1", "0e0",
        // Names.
        "null", "nul", "nulll", "true", "tru", "false", "falsey", "True", "None",
        // Strings.
        r#""""#, r#"""#, r#""a"b""#, r#""\"""#, r#""\\""#, r#""\\\""#, r#""\u00e9""#, r#""\u00E9""#, r#""\u00g9""#, r#""\u00e""#,
        r#""\ud800""#, r#""\ud83d\ude00""#, r#""\x""#, r#""\/\b\f\n\r\t""#, "\"\t\"", "\"a\n\"", "\"1234567\u{1}\"",
        "\"12345678\u{1f}\"", "\"\u{7f}\"", "\"ü\"", "\"1234567ü\"", "\"\u{0}\"", "\"12345678901234567890\\\"\"", "'a'", "\"1234567\\",
        "\"12345678", "\"\u{2028}\"", "\"!\u{a0}#[]^\u{ff}\"",
        // Objects and lists.
        "{}", "[]", "{", "[", "}", "]", "{]", "[}", "[1,]", "[,1]", "[1 1]", "[1,,1]", "{\"a\":1,}", "{,}", "{\"a\"}", "{\"a\":}",
        "{\"a\" 1}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":1}", "{\"a\":1,\"a\":2}", "[[[[]]]]", "[{\"a\":[{}]}]", " [ 1 , 2 ] ", "[1]]",
        "{\"\\ud800\":1}", "{\"rekindle:status\":1}", "\u{a0}1", "\u{b}1", "\u{feff}1", "/**/1", "",
    ];
    let places = [
        r#"{"volume": {"id": "a", "x": @}}"#,
        r#"{"volume": {"x": @, "id": "a"}, "y": @}"#,
        r#"{"volume": {"id": @}}"#,
        r#"{"volume": {"id": "a", "os-vol-host-attr:host": @}}"#,
        r#"{"volume": {"id": "a", "cluster_name": @, "os-vol-mig-status-attr:name_id": @}}"#,
        r#"{"volume": {"id": "a", "replication_status": @}}"#,
        r#"{"volume": {"id": "a", @: 1}}"#,
        r#"{"volume": @}"#,
        r#"{@: {"id": "a"}}"#,
        r#"{"volume": {"id": "a"}} @"#,
        r#"{"volumes": [{"id": "a", "x": [@]}, {"id": "b", "x": {"y": @}}]}"#,
        r#"{"volumes": [{"id": "a"}, @]}"#,
        r#"{"volumes": @}"#,
        r#"{"volumes": [{"id": "a"}], "volumes_links": @, "count": @}"#,
        r#"{"volumes": [], "volumes_links": [{"rel": @}, {"href": "h"}]}"#,
        "@",
    ];
    let mut good = 0;
    for place in places {
        for body in values.iter().map(|value| place.replace('@', value)) {
            for kind in [Kind::One, Kind::Page] {
                let read = read(body.as_bytes(), kind);
                good += usize::from(read.is_some());
                assert_eq!(read, slow::read(body.as_bytes(), kind), "{body}");
            }
        }
    }
    assert!(good > 200, "{good}");
}

#[test]
fn an_escape_in_a_key_or_an_id_is_read() {
    let body = br#"{"volum\\u0065": 1, "volum\u0065": {"\u0069d": "1\u00e9\n", "os-vol-host-attr:hos\u0074": "\u0068"}}"#;
    let found = read(body, Kind::One).unwrap();
    assert_eq!(Some(&found), slow::read(body, Kind::One).as_ref());
    assert_eq!(found.spots[0].id, "1\u{e9}\n");
    assert_eq!(found.spots[0].host.as_deref(), Some("h"));
    // So is one that makes a key stand twice.
    let twice = br#"{"volume": {"id": "a", "\u0069d": "b"}}"#;
    assert_eq!(read(twice, Kind::One), None);
}

#[test]
fn what_is_nested_deeper_than_anything_of_cinders_is_left() {
    let body = |deep: usize| {
        let (open, close) = ("[".repeat(deep), "]".repeat(deep));
        format!(r#"{{"volume": {{"id": "a", "x": {open}{close}}}}}"#)
    };
    assert!(read(body(62).as_bytes(), Kind::One).is_some());
    assert_eq!(read(body(63).as_bytes(), Kind::One), None);
    assert_eq!(read(body(1_000_000).as_bytes(), Kind::One), None);
    // Beside each other there may be as many as there are.
    let many = vec![r#"{"id": "a", "x": [[{}], []]}"#; 1000].join(",");
    let page = format!(r#"{{"volumes": [{many}]}}"#);
    let found = read(page.as_bytes(), Kind::Page).unwrap();
    assert_eq!(found.spots.len(), 1000);
}

/// What was learnt of one volume's keys is not taken for the next one's, where those are others.
#[test]
fn volumes_that_are_nearly_alike_are_read_each_by_itself() {
    let first = r#"{"id": "a", "x": 1, "os-vol-host-attr:host": "h", "replication_status": null}"#;
    for second in [
        r#"{"id": "b", "x": 2, "os-vol-host-attr:host": null, "replication_status": "x"}"#,
        r#"{"id":"b", "x" : 2, "os-vol-host-attr:host":  "i", "replication_status":"x"}"#,
        r#"{ "id": "b", "xy": 2, "os-vol-host-attr:hosts": "i"}"#,
        r#"{"x": 1, "id": "b", "replication_status": 1, "os-vol-host-attr:host": "i"}"#,
        r#"{"id": "b", "id": "c"}"#,
        r#"{"id": "b", "x": 1, "id": "c", "replication_status": null}"#,
        r#"{"id": "b", "rekindle:status": 1}"#,
        r#"{"id": }"#,
        r#"{"id"}"#,
        r#"{"id": "b", "x"}"#,
        r#"{"id": "b", "x": 1, "os-vol-host-attr:host": "h", "replication_status": null, "x": {"id": 1}}"#,
        r#"{"id": "b", }"#,
        r#"{"\u0069d": "b", "x": 1}"#,
        "{}",
    ] {
        for (a, b) in [(first, second), (second, first)] {
            let body = format!(r#"{{"volumes": [{a}, {b}, {a}]}}"#);
            let found = read(body.as_bytes(), Kind::Page);
            assert_eq!(found, slow::read(body.as_bytes(), Kind::Page), "{body}");
        }
    }
    // More keys than are kept.
    let many: Vec<String> = (0..300).map(|n| format!(r#""k{n}": {n}"#)).collect();
    let one = format!(r#"{{{}, "id": "a"}}"#, many.join(", "));
    let body = format!(r#"{{"volumes": [{one}, {one}]}}"#);
    let found = read(body.as_bytes(), Kind::Page);
    assert_eq!(found, slow::read(body.as_bytes(), Kind::Page));
    assert_eq!(found.unwrap().spots.len(), 2);
}

fn volumes() -> impl Strategy<Value = Vec<Value>> {
    let fields = prop::collection::btree_map("[a-z_]{1,8}", value(), 0..4);
    let volume = fields.prop_map(|fields| {
        let mut volume: Map<String, Value> = fields.into_iter().collect();
        volume.insert("id".to_owned(), json!("i"));
        Value::Object(volume)
    });
    prop::collection::vec(volume, 1..4)
}

proptest! {
    /// A body that breaks off, or has something else in it somewhere.
    #[test]
    fn a_body_with_a_fault_is_read_as_serde_reads_it(
        volumes in volumes(),
        pretty in any::<bool>(),
        at in any::<prop::sample::Index>(),
        other in "[\\\\\"{}\\[\\],:0-9a-f \u{0}-\u{ff}]{0,2}",
        cut in any::<bool>(),
    ) {
        let body = json!({ "volumes": volumes });
        let text = if pretty { serde_json::to_string_pretty(&body).unwrap() } else { body.to_string() };
        let (at, there) = text.char_indices().nth(at.index(text.chars().count())).unwrap();
        let rest = if cut { "" } else { &text[at + there.len_utf8()..] };
        let text = format!("{}{other}{rest}", &text[..at]);
        prop_assert_eq!(read(text.as_bytes(), Kind::Page), slow::read(text.as_bytes(), Kind::Page));
    }

    #[test]
    fn any_bytes_are_read_as_serde_reads_them(body in prop::collection::vec(any::<u8>(), 0..300), near in "\\{\"volumes\": ?\\[.{0,80}") {
        for kind in [Kind::One, Kind::Page] {
            prop_assert_eq!(read(&body, kind), slow::read(&body, kind));
            prop_assert_eq!(read(near.as_bytes(), kind), slow::read(near.as_bytes(), kind));
        }
    }
}
