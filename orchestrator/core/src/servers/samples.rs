//! Records for tests.

use crate::catalogue::mapping::{Entry, Kind, Mapping, Project};
use rekindle_common::{
    ZoneName,
    servers::{
        DiskRecord, FixedIp, FlavorRecord, PortRecord, PortSecurity, PowerWish, RecordSource,
        ServerRecord, UserData, VolumeRef,
    },
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}

pub(super) fn entry(a: &str, b: &str) -> Entry {
    Entry::from([
        (zone("zone-a"), a.to_owned()),
        (zone("zone-b"), b.to_owned()),
    ])
}

pub(super) fn project(id: &str, name: &str) -> Project {
    Project {
        id: id.to_owned(),
        name: name.to_owned(),
        domain_id: "default".to_owned(),
        domain: "Default".to_owned(),
    }
}

pub(super) fn disk(volume: &str, boot_index: Option<u32>, device: &str) -> DiskRecord {
    DiskRecord {
        volume: VolumeRef {
            id: volume.to_owned(),
            name: None,
        },
        boot_index,
        device: Some(device.to_owned()),
        tag: None,
        delete_on_termination: false,
    }
}

pub(super) fn ip(address: Option<&str>, subnet: Option<&str>) -> FixedIp {
    FixedIp {
        address: address.map(|a| a.parse().unwrap()),
        subnet: subnet.map(str::to_owned),
    }
}

/// With something in every field that a mapping is about.
pub(super) fn record() -> ServerRecord {
    ServerRecord {
        name: "web-1".to_owned(),
        zone: zone("zone-a"),
        id: Some("server-a".to_owned()),
        project: Some("pa".to_owned()),
        flavor: FlavorRecord {
            name: "small".to_owned(),
            vcpus: Some(2),
            ram_mib: Some(4096),
            disk_gib: Some(0),
            extra_specs: BTreeMap::new(),
        },
        disks: vec![
            disk("root-a", Some(0), "/dev/vda"),
            disk("data-a", None, "/dev/vdb"),
        ],
        ports: vec![PortRecord {
            network: "front".to_owned(),
            fixed_ips: vec![
                ip(Some("10.0.0.5"), Some("front-4")),
                ip(Some("2001:db8::5"), Some("front-6")),
            ],
            mac: Some("fa:16:3e:00:00:01".to_owned()),
            security_groups: vec!["web".to_owned()],
            port_security: PortSecurity::Unknown,
            address_pairs: Vec::new(),
            port_id: Some("port-a".to_owned()),
            tag: None,
        }],
        security_groups: vec!["default".to_owned()],
        key_name: Some("ops".to_owned()),
        availability_zone: Some("az1".to_owned()),
        metadata: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        tags: BTreeSet::from(["blue".to_owned()]),
        user_data: Some(UserData::new("I2Nsb3VkLWNvbmZpZwo=").unwrap()),
        config_drive: true,
        server_group: Some("spread".to_owned()),
        description: Some("the shop's front".to_owned()),
        locked: false,
        power: PowerWish::Running,
        taken_at: "2026-11-26T10:00:00Z".parse().unwrap(),
        source: RecordSource::Nova,
    }
}

/// All of that record is in it.
pub(super) fn mapping() -> Mapping {
    Mapping {
        same_name: [Kind::SecurityGroups].into(),
        projects: vec![entry("shop", "dr-shop")],
        flavors: vec![entry("small", "s1")],
        networks: vec![entry("front", "front-dr")],
        subnets: vec![entry("front-4", "dr-4"), entry("front-6", "dr-6")],
        ranges: vec![
            entry("10.0.0.0/24", "10.1.0.0/24"),
            entry("2001:db8::/64", "2001:db8:1::/64"),
        ],
        key_pairs: vec![entry("ops", "ops-dr")],
        availability_zones: vec![entry("az1", "nova")],
        server_groups: vec![entry("spread", "apart")],
        ..Mapping::default()
    }
}
