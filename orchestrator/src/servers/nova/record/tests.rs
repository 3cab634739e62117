//! From what Nova and Neutron show to a record.

use super::*;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

fn whole() -> Value {
    json!({
        "id": "s1", "name": "web-1", "status": "ACTIVE", "tenant_id": "p1", "user_id": "u1",
        "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:task_state": null, "OS-EXT-STS:power_state": 1,
        "metadata": { "role": "web", "rekindle:standby-of": "zone-b/s9", "rekindle:group": "shop" }, "tags": ["blue"],
        "flavor": { "original_name": "small", "vcpus": 2, "ram": 4096, "disk": 0, "ephemeral": 0, "swap": 0, "extra_specs": { "hw:cpu_policy": "shared" } },
        "image": "", "key_name": "ops", "config_drive": "True", "locked": false, "locked_reason": null, "description": "the front",
        "addresses": {
            "back": [{ "addr": "10.1.0.5", "version": 4, "OS-EXT-IPS-MAC:mac_addr": "FA:16:3E:00:00:02" }],
            "front": [{ "addr": "10.0.0.5", "version": 4, "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01" }],
        },
        "security_groups": [{ "name": "web" }, { "name": "web" }],
        "OS-EXT-AZ:availability_zone": "az1", "pinned_availability_zone": null, "server_groups": ["sg1"],
        "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda", "OS-EXT-SRV-ATTR:user_data": "c2VjcmV0cw==",
        "created": "2026-11-25T22:00:00Z",
    })
}

fn disk(volume: &str, device: Option<&str>) -> VolumeAttachment {
    VolumeAttachment {
        volume: volume.to_owned(),
        device: device.map(str::to_owned),
        tag: None,
        delete_on_termination: false,
        attachment_id: None,
    }
}

fn port(id: &str, network: &str, mac: &str, ip: &str) -> Port {
    Port::deserialize(json!({
        "id": id, "network_id": network, "mac_address": mac, "fixed_ips": [{ "subnet_id": format!("{network}-4"), "ip_address": ip }],
        "security_groups": ["g2", "g1"], "status": "ACTIVE", "device_id": "s1",
    }))
    .unwrap()
}

fn taken(server: Value, disks: Vec<VolumeAttachment>) -> Result<ServerRecord, ServersError> {
    with(server, disks, true)
}

fn with(
    server: Value,
    disks: Vec<VolumeAttachment>,
    pinned: bool,
) -> Result<ServerRecord, ServersError> {
    let zone = ZoneName::new("zone-a").unwrap();
    record(Parts {
        zone: &zone,
        server: Server::deserialize(server).unwrap(),
        disks,
        ports: vec![
            port("port-1", "n1", "fa:16:3e:00:00:01", "10.0.0.5"),
            port("port-2", "n2", "fa:16:3e:00:00:02", "10.1.0.5"),
        ],
        groups: vec![ServerGroup {
            id: "sg1".to_owned(),
            name: "spread".to_owned(),
            policy: None,
            members: Vec::new(),
        }],
        names: &Names::default(),
        pinned,
        at: "2026-11-26T10:00:00Z".parse().unwrap(),
    })
}

fn two() -> Vec<VolumeAttachment> {
    vec![
        disk("data", Some("/dev/vdb")),
        disk("root", Some("/dev/vda")),
    ]
}

#[test]
fn a_record_has_all_that_building_it_again_needs() {
    let r = taken(whole(), two()).unwrap();
    assert_eq!(
        (r.name.as_str(), r.id.as_deref(), r.project.as_deref()),
        ("web-1", Some("s1"), Some("p1"))
    );
    assert_eq!(
        (r.flavor.name.as_str(), r.flavor.vcpus, r.flavor.ram_mib),
        ("small", Some(2), Some(4096))
    );
    let disks: Vec<_> = r
        .disks
        .iter()
        .map(|d| (d.volume.id.as_str(), d.boot_index, d.device.as_deref()))
        .collect();
    assert_eq!(
        disks,
        [
            ("root", Some(0), Some("/dev/vda")),
            ("data", None, Some("/dev/vdb"))
        ]
    );
    // In the order of their addresses; MACs in lower case, groups in an order of ours.
    let ports: Vec<_> = r
        .ports
        .iter()
        .map(|p| (p.port_id.as_deref(), p.mac.as_deref()))
        .collect();
    assert_eq!(
        ports,
        [
            (Some("port-2"), Some("fa:16:3e:00:00:02")),
            (Some("port-1"), Some("fa:16:3e:00:00:01"))
        ]
    );
    assert_eq!(r.ports[1].security_groups, ["g1", "g2"]);
    assert_eq!(
        r.ports[1].fixed_ips,
        [FixedIp {
            address: Some("10.0.0.5".parse().unwrap()),
            subnet: Some("n1-4".to_owned())
        }]
    );
    assert_eq!(r.security_groups, Vec::<String>::new());
    // What we wrote on it is no part of it.
    assert_eq!(r.metadata.keys().collect::<Vec<_>>(), ["role"]);
    assert_eq!(r.server_group.as_deref(), Some("spread"));
    assert_eq!(
        r.user_data.as_ref().map(UserData::base64),
        Some("c2VjcmV0cw==")
    );
    assert!(!format!("{r:?}").contains("c2VjcmV0"));
    assert!(r.config_drive && !r.locked && r.power == PowerWish::Running);
    // The zone that it happens to be in is nobody's wish, where Nova tells the two apart.
    assert_eq!(r.availability_zone, None);
    assert_eq!(
        with(whole(), two(), false)
            .unwrap()
            .availability_zone
            .as_deref(),
        Some("az1")
    );
}

#[test]
fn a_port_without_groups_or_filter_is_told_from_one_of_which_that_is_not_known() {
    let shown = |more: Value| {
        let mut port = json!({ "id": "p", "network_id": "n1", "mac_address": "FA:16:3E:00:00:01", "status": "ACTIVE" });
        port.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Port::deserialize(port).unwrap()
    };
    for (more, known) in [
        (json!({}), PortSecurity::Unknown),
        (json!({ "security_groups": null }), PortSecurity::Unknown),
        (json!({ "security_groups": [] }), PortSecurity::On),
        (
            json!({ "security_groups": ["g1"], "port_security_enabled": true }),
            PortSecurity::On,
        ),
        (
            json!({ "security_groups": [], "port_security_enabled": false }),
            PortSecurity::Off,
        ),
    ] {
        assert_eq!(filtered(&shown(more.clone())), known, "{more}");
    }
    let pairs = address_pairs(&shown(json!({ "allowed_address_pairs": [
        { "ip_address": "10.244.0.0/16", "mac_address": "00:00:5E:00:01:07" },
        { "ip_address": "10.0.0.9/32", "mac_address": "fa:16:3e:00:00:01" },
    ] })));
    let texts: Vec<_> = pairs
        .iter()
        .map(|p| (p.address.as_str(), p.mac.as_deref()))
        .collect();
    assert_eq!(
        texts,
        [
            ("10.0.0.9", None),
            ("10.244.0.0/16", Some("00:00:5e:00:01:07"))
        ]
    );
}

#[test]
fn what_cannot_be_seen_now_is_not_guessed_at() {
    let not_now = |change: &dyn Fn(&mut Value), disks| {
        let mut some = whole();
        change(&mut some);
        match taken(some, disks) {
            Err(ServersError::NotNow(words)) => words,
            other => panic!("{other:?}"),
        }
    };
    for (status, task) in [
        ("BUILD", None),
        ("RESIZE", None),
        ("VERIFY_RESIZE", None),
        ("RESCUE", None),
        ("UNKNOWN", None),
        ("ERROR", None),
        ("ACTIVE", Some("rebooting")),
    ] {
        let words = not_now(
            &|s| {
                s["status"] = json!(status);
                s["OS-EXT-STS:task_state"] = json!(task);
            },
            two(),
        );
        assert!(words.contains("its record waits"), "{words}");
    }
    let shelved = |s: &mut Value| s["status"] = json!("SHELVED_OFFLOADED");
    let words = not_now(&shelved, vec![disk("root", None), disk("data", None)]);
    assert!(words.contains("which volume it boots from"), "{words}");
    // With one there is no doubt.
    let mut some = whole();
    shelved(&mut some);
    let r = taken(some, vec![disk("root", None)]).unwrap();
    assert_eq!(
        (r.power, r.disks[0].boot_index),
        (PowerWish::ShutOff, Some(0))
    );
}

#[test]
fn a_server_whose_root_disk_stays_behind_is_refused() {
    let mut from_image = whole();
    from_image["image"] = json!({ "id": "i1" });
    for e in [
        taken(from_image, two()).unwrap_err(),
        taken(whole(), Vec::new()).unwrap_err(),
    ] {
        assert!(
            matches!(&e, ServersError::Refused(w) if w.contains("root disk is not a volume")),
            "{e:?}"
        );
    }
}

#[test]
fn only_another_persons_lock_is_part_of_it() {
    let locked = |reason: &str| {
        let mut some = whole();
        some["locked"] = json!(true);
        some["locked_reason"] = json!(reason);
        taken(some, two()).unwrap().locked
    };
    assert!(locked("do not touch"));
    assert!(!locked("rekindle: the zone came back"));
}

proptest! {
    /// The root disk first, then in the order of the devices, as the kernel names them.
    #[test]
    fn disks_keep_their_order(n in 1_usize..40, seed in any::<u64>(), root in 0_usize..40) {
        let name = |n: usize| {
            let letter = |n: usize| char::from(b'a' + u8::try_from(n).unwrap());
            if n < 26 { format!("/dev/vd{}", letter(n)) } else { format!("/dev/vd{}{}", letter(n / 26 - 1), letter(n % 26)) }
        };
        let root = root % n;
        let mut disks: Vec<VolumeAttachment> = (0..n).map(|n| disk(&format!("v{n}"), Some(&name(n)))).collect();
        // Any order.
        disks.sort_by_key(|d| seed.wrapping_mul(31).wrapping_add(d.volume.bytes().map(u64::from).sum::<u64>() * 7919) % 101);
        let mut server = whole();
        server["OS-EXT-SRV-ATTR:root_device_name"] = json!(name(root));
        let r = taken(server, disks).unwrap();
        let got: Vec<String> = r.disks.iter().map(|d| d.volume.id.clone()).collect();
        let wanted: Vec<String> = std::iter::once(root).chain((0..n).filter(|i| *i != root)).map(|i| format!("v{i}")).collect();
        prop_assert_eq!(got, wanted);
    }
}
