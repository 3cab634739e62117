//! Records for tests, and strategies that make any.

use super::{
    AddressPair, DiskRecord, FixedIp, FlavorRecord, PortRecord, PortSecurity, PowerWish,
    RecordSource, ServerRecord, UserData, VolumeRef,
};
use crate::ids::ZoneName;
use proptest::{collection, option, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

/// A record is large: so many of them are enough, and take no minute on a busy machine.
pub(super) fn some() -> ProptestConfig {
    ProptestConfig::with_cases(64)
}

pub(super) fn zone() -> ZoneName {
    ZoneName::new("zone-a").unwrap()
}

pub(super) fn disk(id: &str, boot_index: Option<u32>, device: &str) -> DiskRecord {
    DiskRecord {
        volume: VolumeRef {
            id: id.to_owned(),
            name: Some(format!("{id}-name")),
        },
        boot_index,
        device: Some(device.to_owned()),
        tag: None,
        delete_on_termination: false,
    }
}

pub(super) fn port(network: &str) -> PortRecord {
    PortRecord {
        network: network.to_owned(),
        fixed_ips: Vec::new(),
        mac: None,
        security_groups: Vec::new(),
        port_security: PortSecurity::Unknown,
        address_pairs: Vec::new(),
        port_id: None,
        tag: None,
    }
}

/// With something in every field.
pub(super) fn record() -> ServerRecord {
    ServerRecord {
        name: "web-1".to_owned(),
        zone: zone(),
        id: Some("5d1a7f3e-0000-4000-8000-000000000001".to_owned()),
        project: Some("shop".to_owned()),
        flavor: FlavorRecord {
            name: "m1.small".to_owned(),
            vcpus: Some(2),
            ram_mib: Some(4096),
            disk_gib: Some(0),
            extra_specs: BTreeMap::from([("hw:cpu_policy".to_owned(), "shared".to_owned())]),
        },
        disks: vec![
            disk("vol-root", Some(0), "/dev/vda"),
            disk("vol-data", None, "/dev/vdb"),
        ],
        ports: vec![
            PortRecord {
                fixed_ips: vec![
                    FixedIp {
                        address: Some("10.0.0.5".parse().unwrap()),
                        subnet: Some("subnet-4".to_owned()),
                    },
                    FixedIp {
                        address: Some("2001:db8::5".parse().unwrap()),
                        subnet: Some("subnet-6".to_owned()),
                    },
                ],
                mac: Some("fa:16:3e:00:00:01".to_owned()),
                security_groups: vec!["web".to_owned()],
                port_security: PortSecurity::On,
                address_pairs: vec![AddressPair {
                    address: "10.0.0.9".to_owned(),
                    mac: Some("00:00:5e:00:01:07".to_owned()),
                }],
                port_id: Some("port-1".to_owned()),
                tag: Some("front".to_owned()),
                ..port("net-front")
            },
            port("net-back"),
        ],
        security_groups: vec!["default".to_owned()],
        key_name: Some("ops".to_owned()),
        availability_zone: Some("nova".to_owned()),
        metadata: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        tags: BTreeSet::from(["blue".to_owned()]),
        user_data: Some(UserData::new("I2Nsb3VkLWNvbmZpZwo=").unwrap()),
        config_drive: true,
        server_group: Some("spread".to_owned()),
        description: Some("the shop's front".to_owned()),
        locked: true,
        power: PowerWish::ShutOff,
        taken_at: "2026-11-26T10:00:00Z".parse().unwrap(),
        source: RecordSource::Script,
    }
}

/// Any line that a record may hold: every Unicode character but those that break lines, with what other languages would act on made
/// likely.
pub(super) fn line(most: usize) -> impl Strategy<Value = String> {
    let c = prop_oneof![
        4 => any::<char>(),
        3 => proptest::sample::select("'\"\\$`%{}()<>|&;!*?#~=,:-+ @[]/^\u{e9}\u{4e2d}\u{1f600}\u{feff}\u{200b}".chars().collect::<Vec<_>>()),
        2 => proptest::char::range('a', 'z'),
    ];
    collection::vec(c, 1..=most).prop_map(|chars| {
        let kept = chars
            .into_iter()
            .filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}'));
        let text: String = kept.collect();
        let text = text.trim();
        if text.is_empty() {
            "-x".to_owned()
        } else {
            text.to_owned()
        }
    })
}

/// Any value of metadata: lines' ends too.
fn value() -> impl Strategy<Value = String> {
    (line(40), any::<bool>()).prop_map(|(text, broken)| {
        if broken {
            format!("{text}\n{text}\r\t'")
        } else {
            text
        }
    })
}

fn tag() -> impl Strategy<Value = String> {
    line(30).prop_map(|t| t.replace(['/', ','], "_"))
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    collection::btree_map("[a-zA-Z0-9_:. -]{1,20}", value(), 0..4)
}

prop_compose! {
    fn any_port()(
        network in line(20),
        fixed_ips in collection::vec((any::<std::net::IpAddr>(), option::of(line(12)), any::<bool>()), 0..3),
        mac in option::of("[0-9a-f]{2}(:[0-9a-f]{2}){5}"),
        security_groups in collection::vec(line(12), 0..3),
        port_security in proptest::sample::select(vec![PortSecurity::Unknown, PortSecurity::On, PortSecurity::Off]),
        pairs in collection::vec((any::<std::net::IpAddr>(), option::of(0_u8..32), option::of("[0-9a-f]{2}(:[0-9a-f]{2}){5}")), 0..3),
        tag in option::of(tag()),
    ) -> PortRecord {
        let off = port_security == PortSecurity::Off;
        let security_groups = if off { Vec::new() } else { security_groups };
        let pairs = pairs.into_iter().filter(|_| !off);
        let address_pairs = pairs.map(|(base, prefix, mac)| AddressPair { address: AddressPair::text(base, prefix), mac }).collect();
        let fixed_ips = fixed_ips
            .into_iter()
            .map(|(address, subnet, any)| FixedIp {
                address: (!any || subnet.is_none()).then_some(address),
                subnet,
            })
            .collect();
        PortRecord { network, fixed_ips, mac, security_groups, port_security, address_pairs, port_id: None, tag }
    }
}

prop_compose! {
    pub(super) fn any_record()(
        (name, id, flavor) in (line(60), option::of(line(40)), line(20)),
        extra_specs in texts(),
        disks in collection::vec((option::of(line(20)), option::of(tag())), 1..5),
        boots in 1_usize..3,
        ports in collection::vec(any_port(), 0..3),
        security_groups in collection::vec(line(12), 0..3),
        (key_name, availability_zone, server_group) in (option::of(line(20)), option::of(line(20)), option::of(line(20))),
        metadata in texts(),
        tags in collection::btree_set(tag(), 0..4),
        user_data in option::of(0_usize..40),
        (config_drive, locked, off) in any::<(bool, bool, bool)>(),
        description in option::of(line(60)),
    ) -> ServerRecord {
        let disks = disks
            .into_iter()
            .enumerate()
            .map(|(n, (name, tag))| DiskRecord {
                volume: VolumeRef { id: format!("vol-{n}"), name },
                boot_index: (n < boots).then(|| u32::try_from(n).unwrap()),
                device: (n % 2 == 0).then(|| format!("/dev/vd{n}")),
                tag,
                delete_on_termination: n % 3 == 0,
            })
            .collect();
        ServerRecord {
            name, id, disks, ports, security_groups, key_name, availability_zone, server_group, metadata, tags,
            config_drive, locked, description,
            flavor: FlavorRecord { name: flavor, extra_specs, ..record().flavor },
            user_data: user_data.map(|n| UserData::new("QUJD".repeat(n)).unwrap()),
            power: if off { PowerWish::ShutOff } else { PowerWish::Running },
            ..record()
        }
    }
}
