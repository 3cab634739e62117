mod same;
mod slow;

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const FIELDS: &str = r#""rekindle:status": "x""#;

fn added(replication: Option<&'static str>) -> Added<'static> {
    Added {
        fields: FIELDS,
        replication,
    }
}

/// The whole body, with the same fields in each volume.
fn with(body: &str, kind: Kind, replication: Option<&'static str>) -> Option<String> {
    let found = read(body.as_bytes(), kind)?;
    let volumes = found.spots.iter().map(|s| (s, added(replication)));
    let mut out = Vec::new();
    spliced(body.as_bytes(), 0..body.len(), volumes, &mut out);
    Some(String::from_utf8(out).unwrap())
}

#[test]
fn all_else_stays_byte_for_byte() {
    let body = " {\n\"x\":1.0e+2 , \"volume\" : {\"id\":\"1\\u00e9\", \"n\": 100000000000000000000.10, \"m\":{\"id\":\"no\"}, \"t\": \"\\/ü\" } }\n";
    let out = with(body, Kind::One, None).unwrap();
    assert_eq!(out, body.replace("ü\" }", &format!("ü\" , {FIELDS}}}")));
    let body = r#"{"volumes": [{"id": "a", "links": [{"rel": "self"}]}, {"id": "b"}], "volumes_links": [{"rel": "next", "href": "h"}], "count": 7}"#;
    let found = read(body.as_bytes(), Kind::Page).unwrap();
    assert!(found.more && found.count);
    let ids: Vec<&str> = found.spots.iter().map(|s| &*s.id).collect();
    assert_eq!(ids, ["a", "b"]);
    let out = with(body, Kind::Page, None).unwrap();
    let wanted = body
        .replace("}]}", &format!("}}], {FIELDS}}}"))
        .replace("\"b\"", &format!("\"b\", {FIELDS}"));
    assert_eq!(out, wanted);
    // A part of it alone: one volume, as it goes into another page.
    let mut out = Vec::new();
    let spot = &found.spots[1];
    spliced(
        body.as_bytes(),
        spot.at.clone(),
        [(spot, added(None))],
        &mut out,
    );
    assert_eq!(out, format!("{{\"id\": \"b\", {FIELDS}}}").as_bytes());
    assert_eq!(
        with(r#"{"volumes": []}"#, Kind::Page, None).unwrap(),
        r#"{"volumes": []}"#
    );
}

#[test]
fn administrators_bodies_tell_the_image_and_others_do_not() {
    let body = r#"{"volume": {"id": "a", "os-vol-host-attr:host": "h@b#p", "cluster_name": null, "os-vol-mig-status-attr:name_id": null}}"#;
    let spot = read(body.as_bytes(), Kind::One).unwrap().spots.remove(0);
    assert_eq!(spot.host.as_deref(), Some("h@b#p"));
    assert_eq!((spot.cluster, spot.name_id), (None, Some(None)));
    let body = r#"{"volume": {"id": "a", "os-vol-mig-status-attr:name_id": "n"}}"#;
    let spot = read(body.as_bytes(), Kind::One).unwrap().spots.remove(0);
    assert_eq!(spot.name_id, Some(Some("n".into())));
    // A user's own words decide nothing.
    let body = r#"{"volume": {"id": "a", "metadata": {"os-vol-mig-status-attr:name_id": "n", "rekindle:status": "x"}}}"#;
    let spot = read(body.as_bytes(), Kind::One).unwrap().spots.remove(0);
    assert_eq!(spot.name_id, None);
}

#[test]
fn cinders_own_word_is_replaced_where_that_is_wanted() {
    let body = r#"{"volume": {"id": "a", "replication_status": null, "size": 1}}"#;
    let out = with(body, Kind::One, Some("active - primary")).unwrap();
    assert_eq!(
        out,
        format!(
            r#"{{"volume": {{"id": "a", "replication_status": "active - primary", "size": 1, {FIELDS}}}}}"#
        )
    );
    let out = with(body, Kind::One, None).unwrap();
    assert!(out.contains("\"replication_status\": null"), "{out}");
}

#[test]
fn what_cannot_be_read_in_one_way_is_left() {
    for (body, kind) in [
        ("", Kind::One),
        ("[]", Kind::Page),
        ("null", Kind::One),
        ("{}", Kind::One),
        (r#"{"volumes": []}"#, Kind::One),
        (r#"{"volume": {"id": "a"}}"#, Kind::Page),
        (r#"{"volume": {}}"#, Kind::One),
        (r#"{"volume": {"id": null}}"#, Kind::One),
        (r#"{"volume": {"id": "a"}"#, Kind::One),
        (r#"{"volume": {"id": "a"}} x"#, Kind::One),
        (r#"{"volume": {"id": "a", "id": "b"}}"#, Kind::One),
        (
            r#"{"volume": {"id": "a"}, "volume": {"id": "b"}}"#,
            Kind::One,
        ),
        (
            r#"{"volume": {"id": "a", "rekindle:status": 1}}"#,
            Kind::One,
        ),
        (r#"{"volumes": [{"id": "a"}, 1]}"#, Kind::Page),
        (r#"{"volumes": {"id": "a"}}"#, Kind::Page),
        (r#"{"volume-summary": {"total_count": 1}}"#, Kind::One),
    ] {
        assert_eq!(read(body.as_bytes(), kind), None, "{body}");
    }
    assert_eq!(read(b"{\"volume\": {\"id\": \"\xff\"}}", Kind::One), None);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z:]{1,8}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever Cinder's volumes hold, what is added is all that is different.
    #[test]
    fn a_page_reads_the_same_but_for_what_was_added(
        volumes in prop::collection::vec(prop::collection::btree_map("[a-z_]{1,8}", value(), 0..6), 0..6),
        pretty in any::<bool>(),
    ) {
        let volumes: Vec<Value> = volumes.into_iter().enumerate().map(|(n, fields)| {
            let mut volume: Map<String, Value> = fields.into_iter().collect();
            volume.insert("id".to_owned(), json!(format!("id-{n}")));
            Value::Object(volume)
        }).collect();
        let body = json!({ "volumes": volumes });
        let text = if pretty { serde_json::to_string_pretty(&body).unwrap() } else { body.to_string() };
        let out = with(&text, Kind::Page, None).unwrap();
        let mut read: Value = serde_json::from_str(&out).unwrap();
        for volume in read["volumes"].as_array_mut().unwrap() {
            prop_assert_eq!(volume.as_object_mut().unwrap().remove("rekindle:status"), Some(json!("x")));
        }
        prop_assert_eq!(read, serde_json::from_str::<Value>(&text).unwrap());
    }
}
