//! No secret of a state goes anywhere: each is planted where states have them, and looked for in all that comes out.

use super::*;
use proptest::prelude::*;

/// Everything that an import can show, of each record in each form too.
fn all_outputs(state: &str) -> String {
    let mut out = String::new();
    match read(state.as_bytes(), &about()) {
        Err(e) => out.push_str(&format!("{e} {e:?} {}", e.advice())),
        Ok(import) => {
            out.push_str(&format!("{import:?}"));
            out.push_str(&serde_json::to_string(&import).unwrap());
            for record in &import.records {
                for form in [
                    export::Form::Json,
                    export::Form::Terraform,
                    export::Form::Heat,
                    export::Form::Shell,
                ] {
                    out.push_str(&export::export(record, form).unwrap());
                }
                out.push_str(&record.shown().to_string());
                let changes = diff::diff(record, &samples::record());
                out.push_str(&changes.iter().map(ToString::to_string).collect::<String>());
            }
        }
    }
    let found = stream::read(state.as_bytes());
    out.push_str(&format!("{:?}", found.map(|f| format!("{f:?}"))));
    out
}

#[test]
fn hard_case_39_the_examples_secrets_are_in_no_output() {
    let out = all_outputs(EXAMPLE);
    assert!(EXAMPLE.matches("SECRET").count() >= 8);
    assert!(!out.contains("SECRET"), "{out}");
    assert!(!out.contains("PRIVATE KEY"), "{out}");
    // And it is not for want of output.
    assert!(out.contains("web-0-data"));
}

#[test]
fn hard_case_39_nor_are_they_where_it_is_cut_off_or_broken() {
    let places = (1..EXAMPLE.len()).filter(|at| at % 211 == 0);
    for at in places {
        assert!(!all_outputs(&EXAMPLE[..at]).contains("SECRET"), "{at}");
    }
    // Values of every kind stand where another is expected.
    for broken in [
        EXAMPLE.replace(
            "\"sensitive_attributes\": [",
            "\"sensitive_attributes\": \"SECRET\", \"x\": [",
        ),
        EXAMPLE.replace("\"instances\": [", "\"instances\": \"SECRET\", \"x\": ["),
        EXAMPLE.replace("\"type\": \"random_password\"", "\"type\": {\"SECRET\": 1}"),
        EXAMPLE.replace("\"version\": 4", "\"version\": \"SECRET\""),
        EXAMPLE.replace("\"attributes\": {", "\"attributes\": \"SECRET\", \"x\": {"),
        EXAMPLE.replace("\"get_attr\"", "\"SECRET\""),
    ] {
        assert_ne!(broken, EXAMPLE);
        assert!(!all_outputs(&broken).contains("SECRET"));
    }
}

/// A server with a value marked at a path.
fn marked(attribute: &str, value: Value, path: Value) -> Value {
    let mut s = server("a");
    set(&mut s, attribute, value);
    s["instances"][0]["sensitive_attributes"] = json!([path]);
    s
}

fn attr(name: &str) -> Value {
    json!({"type": "get_attr", "value": name})
}
fn index(key: &str) -> Value {
    json!({"type": "index", "value": {"value": key, "type": "string"}})
}

#[test]
fn a_marked_entry_goes_with_its_twin_and_the_others_stay() {
    let secret = "S3CRET";
    let mut s = marked(
        "metadata",
        json!({"dsn": secret, "role": "db"}),
        json!([attr("metadata"), index("dsn")]),
    );
    set(
        &mut s,
        "all_metadata",
        json!({"dsn": secret, "role": "db", "copy": secret}),
    );
    set(&mut s, "all_tags", json!([secret, "blue"]));
    let state = state(&[s]);
    let import = import(&state);
    let record = &import.records[0];
    assert_eq!(record.metadata.keys().collect::<Vec<_>>(), ["role"]);
    assert_eq!(record.tags.iter().collect::<Vec<_>>(), ["blue"]);
    assert!(!all_outputs(&state).contains(secret));
    assert_eq!(import.notes.len(), 3, "{:?}", import.notes);
}

#[test]
fn a_mark_that_leads_nowhere_takes_the_whole_attribute() {
    for path in [
        json!([attr("metadata"), index("gone")]),
        json!([attr("metadata")]),
        json!([attr("metadata"), attr("dsn"), index("deeper")]),
    ] {
        let s = marked(
            "metadata",
            json!({"dsn": "S3CRET", "role": "db"}),
            path.clone(),
        );
        let state = state(&[s]);
        assert_eq!(import(&state).records[0].metadata.len(), 0, "{path}");
        assert!(!all_outputs(&state).contains("S3CRET"));
    }
}

#[test]
fn marks_that_cannot_be_read_refuse_the_server() {
    for marks in [
        json!("x"),
        json!([5]),
        json!([[]]),
        json!([[{"type": "splat"}]]),
        json!([[index("a")]]),
        json!({}),
    ] {
        let mut s = server("a");
        set(&mut s, "metadata", json!({"dsn": "S3CRET"}));
        s["instances"][0]["sensitive_attributes"] = marks.clone();
        let state = state(&[s]);
        let import = import(&state);
        assert_eq!(import.records.len(), 0, "{marks}");
        assert!(
            import.refused[0]
                .why
                .contains("what is secret in it cannot be told"),
            "{marks}"
        );
        assert!(!all_outputs(&state).contains("S3CRET"));
    }
}

#[test]
fn what_cannot_be_placed_for_its_marks_does_not_pass_in_silence() {
    let attach = |marks: Value| {
        let attributes =
            json!({"instance_id": "a", "volume_id": "S3CRET-VOLUME", "device": "/dev/vdb"});
        let mut attach = resource("openstack_compute_volume_attach_v2", "x", attributes);
        attach["instances"][0]["sensitive_attributes"] = marks;
        state(&[server("a"), attach])
    };
    for marks in [json!("damaged"), json!([[attr("volume_id")]])] {
        let state = attach(marks);
        let import = import(&state);
        assert_eq!(import.records[0].disks.len(), 1);
        let note = &import.notes[0];
        assert_eq!(note.address, "openstack_compute_volume_attach_v2.x");
        assert!(note.what.contains("may lack a disk"), "{note:?}");
        assert!(!all_outputs(&state).contains("S3CRET"));
    }
    assert_eq!(import(&attach(json!([]))).notes, Vec::new());
}

#[test]
fn a_secret_of_one_resource_is_none_of_anothers_metadata() {
    let mut s = server("a");
    set(
        &mut s,
        "metadata",
        json!({"x": "LONG-S3CRET", "y": "LONG-S3CRET-OUTPUT", "role": "db"}),
    );
    let mut random = resource("random_password", "x", json!({"result": "LONG-S3CRET"}));
    random["instances"][0]["sensitive_attributes"] = json!([[attr("result")]]);
    let text = json!({
        "version": 4, "resources": [s, random],
        "outputs": {"o": {"value": {"in": ["LONG-S3CRET-OUTPUT"]}, "sensitive": true}, "p": {"value": "db"}},
    })
    .to_string();
    assert_eq!(
        import(&text).records[0].metadata.keys().collect::<Vec<_>>(),
        ["role"]
    );
    assert!(!all_outputs(&text).contains("LONG-S3CRET"));
}

#[test]
fn a_server_whose_name_is_a_secret_is_refused_without_it() {
    let s = marked("name", json!("S3CRET-NAME"), json!([attr("name")]));
    let state = state(&[s]);
    let import = import(&state);
    assert_eq!(import.refused[0].name, None);
    assert!(
        import.refused[0]
            .why
            .contains("its name is marked as sensitive"),
        "{:?}",
        import.refused
    );
    assert!(!all_outputs(&state).contains("S3CRET-NAME"));
}

#[test]
fn a_private_key_anywhere_refuses_the_server_without_it() {
    for attribute in ["name", "key_pair", "availability_zone"] {
        let mut s = server("a");
        set(
            &mut s,
            attribute,
            json!("-----BEGIN EC PRIVATE KEY-----S3CRET"),
        );
        let state = state(&[s]);
        let import = import(&state);
        assert_eq!(import.records.len(), 0, "{attribute}");
        let whys = &import.refused[0].why;
        assert!(whys.contains("is a private key"), "{whys}");
        assert!(!whys.contains("S3CRET"), "{whys}");
    }
    let mut s = server("a");
    set(
        &mut s,
        "metadata",
        json!({"deploy": "-----BEGIN EC PRIVATE KEY-----\nS3CRET"}),
    );
    assert!(!all_outputs(&state(&[s])).contains("S3CRET"));
}

proptest! {
    /// Any secret, under any name that a record reads, marked there: it is in no output.
    #[test]
    fn what_is_marked_is_in_no_output(
        secret in "[A-Za-z0-9]{10,20}",
        attribute in proptest::sample::select(vec![
            "name", "flavor_name", "key_pair", "availability_zone", "user_data", "admin_pass", "metadata", "tags", "security_groups",
            "network", "block_device", "scheduler_hints", "id", "image_id",
        ]),
        form in 0..4,
    ) {
        let value = match form {
            0 => json!(secret),
            1 => json!([secret]),
            2 => json!({"x": secret, (secret.clone()): "y"}),
            _ => json!([{"uuid": secret, "name": secret, "group": secret, "source_type": "volume"}]),
        };
        let mut s = marked(attribute, value.clone(), json!([attr(attribute)]));
        set(&mut s, "all_metadata", value.clone());
        set(&mut s, "all_tags", value);
        let out = all_outputs(&state(&[s]));
        prop_assert!(!out.contains(&secret), "{attribute}: {out}");
    }

    #[test]
    fn no_rubbish_ends_badly(text in "\\PC{0,300}", at in any::<proptest::sample::Index>()) {
        prop_assert!(read(text.as_bytes(), &about()).is_err());
        // In the middle of a state it ends as an error or as an import.
        let places: Vec<usize> = EXAMPLE.char_indices().map(|(n, _)| n).collect();
        let place = *at.get(&places);
        let broken = format!("{}{text}{}", &EXAMPLE[..place], &EXAMPLE[place..]);
        let _ = read(broken.as_bytes(), &about());
    }
}
