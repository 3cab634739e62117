//! What servers look like in states, and what cannot be protected.

use super::*;

fn one(resources: &[Value]) -> (ServerRecord, Vec<String>) {
    let import = import(&state(resources));
    assert_eq!(import.refused, Vec::new());
    assert_eq!(import.records.len(), 1);
    let notes = import.notes.into_iter().map(|n| n.what).collect();
    (import.records.into_iter().next().unwrap(), notes)
}

fn why(resources: &[Value]) -> String {
    let import = import(&state(resources));
    assert_eq!(import.records, Vec::new());
    let whys: Vec<String> = import.refused.into_iter().map(|r| r.why).collect();
    whys.join("; ")
}

fn block(source: &str, destination: &str, uuid: &str, boot_index: i32) -> Value {
    json!({"source_type": source, "destination_type": destination, "uuid": uuid, "boot_index": boot_index})
}

fn volume(id: &str, attached: &[(&str, &str)]) -> Value {
    let attachment: Vec<Value> = attached
        .iter()
        .map(|(s, d)| json!({"instance_id": s, "device": d}))
        .collect();
    resource(
        "openstack_blockstorage_volume_v2",
        id,
        json!({"id": id, "name": format!("{id}-name"), "attachment": attachment}),
    )
}

#[test]
fn addresses_are_those_of_terraform() {
    let mut s = server("a");
    s["module"] = json!("module.x[0]");
    for (key, address) in [
        (json!(0), "module.x[0].openstack_compute_instance_v2.a[0]"),
        (
            json!("k\"1"),
            r#"module.x[0].openstack_compute_instance_v2.a["k\"1"]"#,
        ),
        (Value::Null, "module.x[0].openstack_compute_instance_v2.a"),
    ] {
        s["instances"][0]["index_key"] = key;
        let (record, _) = one(&[s.clone()]);
        let RecordSource::Terraform { address: found, .. } = record.source else {
            panic!("{:?}", record.source);
        };
        assert_eq!(found.as_deref(), Some(address));
    }
}

#[test]
fn a_root_disk_that_is_no_volume_is_refused() {
    let mut local = server("a");
    set(
        &mut local,
        "block_device",
        json!([block("image", "local", "image-1", 0)]),
    );
    let mut image = server("a");
    set(&mut image, "block_device", json!([]));
    set(&mut image, "image_id", json!("image-1"));
    let mut only_data = image.clone();
    set(
        &mut only_data,
        "block_device",
        json!([block("volume", "volume", "v-data", -1)]),
    );
    for s in [local, image, only_data] {
        let why = why(&[s]);
        assert!(
            why.contains("cannot be protected: its root disk is not a volume"),
            "{why}"
        );
    }
}

#[test]
fn a_volume_that_the_state_does_not_name_is_refused_with_what_to_do() {
    for (source, boot) in [("image", 0), ("snapshot", 0), ("blank", -1), ("volume", -1)] {
        let mut s = server("a");
        set(
            &mut s,
            "block_device",
            json!([
                block("volume", "volume", "v-a", if boot == 0 { 1 } else { 0 }),
                block(source, "volume", "", boot)
            ]),
        );
        let why = why(&[s]);
        assert!(
            why.contains(
                "the state does not say which: take the record from Nova, or write it by a script"
            ),
            "{why}"
        );
    }
}

#[test]
fn a_local_disk_beside_the_root_is_told() {
    let mut s = server("a");
    set(
        &mut s,
        "block_device",
        json!([
            block("volume", "volume", "v-a", 0),
            block("blank", "local", "", -1)
        ]),
    );
    let (record, notes) = one(&[s]);
    assert_eq!(record.disks.len(), 1);
    assert!(notes[0].contains("lost with its zone"), "{notes:?}");
}

#[test]
fn a_server_without_blocks_boots_from_its_first_device() {
    let mut s = server("a");
    set(&mut s, "block_device", json!([]));
    set(
        &mut s,
        "image_id",
        json!("Attempt to boot from volume - no image supplied"),
    );
    let (record, notes) = one(&[
        s.clone(),
        volume("v2", &[("a", "/dev/vdb")]),
        volume("v1", &[("a", "/dev/vda")]),
    ]);
    assert_eq!(record.disks[0].volume.id, "v1");
    assert_eq!(record.disks[0].boot_index, Some(0));
    assert_eq!(record.disks[1].volume.id, "v2");
    assert_eq!(notes, ["boots from v1, to judge by its device (/dev/vda)"]);
    let why = why(&[s, volume("v2", &[("a", "/dev/vdb")])]);
    assert!(
        why.contains("does not say which volume it boots from"),
        "{why}"
    );
}

#[test]
fn disks_come_in_boot_order_then_as_given_then_by_device() {
    let mut s = server("a");
    set(
        &mut s,
        "block_device",
        json!([
            block("volume", "volume", "d2", -1),
            block("volume", "volume", "b1", 1),
            block("volume", "volume", "b0", 0),
            block("volume", "volume", "d1", -1),
        ]),
    );
    let later = [
        volume("z", &[("a", "/dev/vdz")]),
        volume("aa", &[("a", "/dev/vdaa")]),
        volume("none", &[("a", "")]),
    ];
    let [z, aa, none] = later;
    let (record, _) = one(&[s, aa, none, z, volume("other", &[("b", "/dev/vda")])]);
    let order: Vec<&str> = record.disks.iter().map(|d| d.volume.id.as_str()).collect();
    assert_eq!(order, ["b0", "b1", "d2", "d1", "z", "aa", "none"]);
}

#[test]
fn hard_case_39_a_volume_of_several_servers_follows_none() {
    // Attached to two servers, of which the other cannot be protected anyhow.
    let mut other = server("b");
    set(&mut other, "block_device", json!([]));
    set(&mut other, "image_id", json!("image-1"));
    let whys = why(&[
        server("a"),
        other,
        volume("shared", &[("a", "/dev/vdb"), ("b", "/dev/vdb")]),
    ]);
    assert!(
        whys.contains("its volume shared may be attached to several servers"),
        "{whys}"
    );

    let mut s = server("a");
    let mut shared = block("volume", "volume", "v-a", 0);
    shared["multiattach"] = json!(true);
    set(&mut s, "block_device", json!([shared]));
    assert!(why(&[s]).contains("several servers"));
    let attach = resource(
        "openstack_compute_volume_attach_v2",
        "x",
        json!({"instance_id": "a", "volume_id": "v-2", "device": "/dev/vdb", "multiattach": true}),
    );
    assert!(why(&[server("a"), attach]).contains("its volume v-2"));
}

#[test]
fn hard_case_51_a_server_that_stands_in_the_state_twice_is_refused() {
    let whys = why(&[server("a"), server("a")]);
    assert_eq!(
        whys.matches("stands in the state more than once, with the id a")
            .count(),
        2,
        "{whys}"
    );
}

#[test]
fn ports_that_were_attached_later_are_there_and_none_twice() {
    let mut s = server("a");
    set(&mut s, "network", json!([{"port": "p1", "uuid": "n1"}]));
    let port = |id: &str| {
        let attributes = json!({"id": id, "network_id": format!("net-{id}"), "fixed_ip": [], "all_fixed_ips": ["10.0.0.1", "10.0.0.2"]});
        resource("openstack_networking_port_v2", id, attributes)
    };
    let attach = |id: &str| {
        resource(
            "openstack_compute_interface_attach_v2",
            id,
            json!({"instance_id": "a", "port_id": id, "network_id": "n9", "fixed_ip": "10.9.0.1"}),
        )
    };
    let (record, notes) = one(&[
        attach("p1"),
        attach("p2"),
        attach("p9"),
        port("p1"),
        port("p2"),
        s,
    ]);
    let networks: Vec<&str> = record.ports.iter().map(|p| p.network.as_str()).collect();
    assert_eq!(networks, ["net-p1", "net-p2", "n9"]);
    assert_eq!(record.ports[0].fixed_ips.len(), 2);
    assert!(
        notes
            .iter()
            .any(|n| n.contains("2 ports that were attached later")),
        "{notes:?}"
    );
}

#[test]
fn states_of_power_and_places_are_told_where_they_are_not_kept() {
    for (power, wish, noted) in [
        ("active", PowerWish::Running, false),
        ("shutoff", PowerWish::ShutOff, false),
        ("shelved_offloaded", PowerWish::ShutOff, true),
        ("error", PowerWish::Running, true),
    ] {
        let mut s = server("a");
        set(&mut s, "power_state", json!(power));
        let (record, notes) = one(&[s]);
        assert_eq!((record.power, !notes.is_empty()), (wish, noted), "{power}");
    }
    let mut s = server("a");
    set(&mut s, "availability_zone", json!("az1:host7"));
    s["instances"][0]["status"] = json!("tainted");
    let (record, notes) = one(&[s]);
    assert_eq!(record.availability_zone.as_deref(), Some("az1"));
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn what_is_on_its_way_out_and_data_sources_are_ignored() {
    let mut deposed = server("a");
    deposed["instances"][0]["deposed"] = json!("0a1b2c3d");
    let mut data = server("b");
    data["mode"] = json!("data");
    let import = import(&state(&[deposed, data]));
    assert_eq!((import.records.len(), import.refused.len()), (0, 0));
    let names: Vec<&String> = import.ignored.keys().collect();
    assert_eq!(
        names,
        [
            "data.openstack_compute_instance_v2",
            "openstack_compute_instance_v2 (deposed)"
        ]
    );
}

#[test]
fn one_servers_fault_is_no_others_and_says_what_is_missing() {
    let mut nameless = server("b");
    set(&mut nameless, "name", Value::Null);
    let mut odd = server("c");
    set(&mut odd, "name", json!("two\nlines"));
    let mut strange = server("d");
    strange["instances"][0]["attributes"] = json!("rubbish");
    let import = import(&state(&[nameless, odd, strange, server("a")]));
    assert_eq!(import.records.len(), 1);
    let whys: Vec<&str> = import.refused.iter().map(|r| r.why.as_str()).collect();
    assert!(whys[0].contains("it has no name in the state"), "{whys:?}");
    assert_eq!(whys[1], "name: has a control character");
    assert_eq!(import.refused[1].name.as_deref(), Some("two\\nlines"));
    assert!(whys[2].contains("it has no id in the state"), "{whys:?}");
}

#[test]
fn many_types_of_resource_are_counted_within_a_bound() {
    let many: Vec<Value> = (0..1500)
        .map(|n| resource(&format!("t{n}"), "x", json!({})))
        .collect();
    let import = import(&state(&many));
    assert_eq!(import.ignored.len(), MAX_TYPES + 1);
    assert_eq!(import.ignored["others"], 500);
}
