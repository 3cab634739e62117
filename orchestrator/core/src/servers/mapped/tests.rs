//! A record there and back, and every gap at once.

use super::*;
use crate::{
    catalogue::mapping::Project,
    servers::samples::{disk, entry, ip, mapping, project, record, zone},
};
use proptest::prelude::*;
use rekindle_common::{ZoneName, servers::PortSecurity};

/// Both clouds, and which volume is which.
struct World {
    a: ZoneName,
    b: ZoneName,
    of_a: Vec<Project>,
    of_b: Vec<Project>,
    there: BTreeMap<String, Counterpart>,
    back: BTreeMap<String, Counterpart>,
    mapping: Mapping,
}

impl World {
    fn new(volumes: &[(&str, &str)]) -> Self {
        let pair = |(a, b): &(&str, &str)| ((*a).to_owned(), Counterpart::Volume((*b).to_owned()));
        let turned = |(a, b): &(&str, &str)| pair(&(b, a));
        Self {
            a: zone("zone-a"),
            b: zone("zone-b"),
            of_a: vec![project("pa", "shop")],
            of_b: vec![project("pb", "dr-shop")],
            there: volumes.iter().map(pair).collect(),
            back: volumes.iter().map(turned).collect(),
            mapping: mapping(),
        }
    }

    fn there(&self, record: &ServerRecord) -> Result<ServerRecord, Vec<Gap>> {
        mapped(
            record,
            &Way {
                from: self.side(&self.a, &self.of_a),
                to: self.side(&self.b, &self.of_b),
                mapping: &self.mapping,
                volumes: &self.there,
            },
        )
    }

    fn back(&self, record: &ServerRecord) -> Result<ServerRecord, Vec<Gap>> {
        mapped(
            record,
            &Way {
                from: self.side(&self.b, &self.of_b),
                to: self.side(&self.a, &self.of_a),
                mapping: &self.mapping,
                volumes: &self.back,
            },
        )
    }

    fn side<'a>(&self, zone: &'a ZoneName, projects: &'a [Project]) -> Side<'a> {
        Side {
            zone,
            projects: Some(projects),
        }
    }
}

fn usual() -> World {
    World::new(&[("root-a", "root-b"), ("data-a", "data-b")])
}

/// What belongs to one zone alone is not carried over.
fn without_ids(mut record: ServerRecord) -> ServerRecord {
    record.id = None;
    for port in &mut record.ports {
        port.port_id = None;
    }
    record
}

#[test]
fn a_record_takes_on_the_other_zones_names_and_comes_back() {
    let world = usual();
    let there = world.there(&record()).unwrap();
    there.check().unwrap();
    assert_eq!(there.zone, zone("zone-b"));
    assert_eq!(
        (there.id.as_deref(), there.project.as_deref()),
        (None, Some("pb"))
    );
    assert_eq!(there.flavor.name, "s1");
    let volumes: Vec<&str> = there.disks.iter().map(|d| d.volume.id.as_str()).collect();
    assert_eq!(volumes, ["root-b", "data-b"]);
    let port = &there.ports[0];
    assert_eq!(port.network, "front-dr");
    assert_eq!(
        port.fixed_ips,
        [
            ip(Some("10.1.0.5"), Some("dr-4")),
            ip(Some("2001:db8:1::5"), Some("dr-6"))
        ]
    );
    assert_eq!(
        (port.mac.as_deref(), port.port_id.as_deref()),
        (Some("fa:16:3e:00:00:01"), None)
    );
    assert_eq!(port.security_groups, ["web"]);
    assert_eq!(there.key_name.as_deref(), Some("ops-dr"));
    assert_eq!(there.availability_zone.as_deref(), Some("nova"));
    assert_eq!(there.server_group.as_deref(), Some("apart"));
    assert_eq!(world.back(&there).unwrap(), without_ids(record()));
}

#[test]
fn what_a_port_may_use_beside_its_own_addresses_goes_the_way_of_addresses() {
    let world = usual();
    let pair = |address: &str| AddressPair {
        address: address.to_owned(),
        mac: Some("00:00:5e:00:01:07".to_owned()),
    };
    let mut some = record();
    some.ports[0].port_security = PortSecurity::On;
    some.ports[0].address_pairs = vec![pair("10.0.0.9"), pair("10.244.0.0/16"), pair("0.0.0.0/0")];
    let there = world.there(&some).unwrap();
    assert_eq!(there.ports[0].port_security, PortSecurity::On);
    assert_eq!(
        there.ports[0].address_pairs,
        [pair("10.1.0.9"), pair("10.244.0.0/16"), pair("0.0.0.0/0")]
    );
    assert_eq!(world.back(&there).unwrap(), without_ids(some.clone()));
    // One that the mapping does not know is named, as a port's own is.
    some.ports[0].address_pairs = vec![pair("192.0.2.9")];
    let gaps = world.there(&some).unwrap_err();
    let fields: Vec<&str> = gaps.iter().map(|g| g.field.as_str()).collect();
    assert_eq!(fields, ["ports[0].address_pairs[0].address"]);
}

#[test]
fn every_gap_is_named_at_once() {
    let mut world = World::new(&[("root-a", "root-b")]);
    world.there.insert("data-a".to_owned(), Counterpart::Absent);
    world.there.remove("root-a");
    world.mapping = Mapping::default();
    let gaps = world.there(&record()).unwrap_err();
    let fields: Vec<&str> = gaps.iter().map(|g| g.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "project",
            "flavor.name",
            "disks[0].volume.id",
            "disks[1].volume.id",
            "ports[0].fixed_ips[0].address",
            "ports[0].fixed_ips[0].subnet",
            "ports[0].fixed_ips[1].address",
            "ports[0].fixed_ips[1].subnet",
            "ports[0].network",
            "ports[0].security_groups[0]",
            "security_groups[0]",
            "key_name",
            "availability_zone",
            "server_group",
        ]
    );
    let unknown: Vec<&str> = gaps
        .iter()
        .filter(|g| g.unknown)
        .map(|g| g.field.as_str())
        .collect();
    assert_eq!(unknown, ["disks[0].volume.id"]);
    let text = gaps[1].to_string();
    assert!(
        text.starts_with(
            "flavor.name: flavors of the mapping has no entry for \"small\" of zone-a"
        ),
        "{text}"
    );
}

#[test]
fn a_keystone_that_is_silent_is_no_gap_of_the_mappings() {
    let world = usual();
    let to = Side {
        zone: &world.b,
        projects: None,
    };
    let way = Way {
        from: world.side(&world.a, &world.of_a),
        to,
        mapping: &world.mapping,
        volumes: &world.there,
    };
    let gaps = mapped(&record(), &way).unwrap_err();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].unknown && gaps[0].field == "project", "{gaps:?}");
}

#[test]
fn an_imported_records_project_may_be_a_name() {
    let world = usual();
    let mut some = record();
    some.project = Some("shop".to_owned());
    assert_eq!(world.there(&some).unwrap().project.as_deref(), Some("pb"));
    some.project = Some("nobody".to_owned());
    let gaps = world.there(&some).unwrap_err();
    assert_eq!(gaps[0].field, "project");
    assert!(!gaps[0].unknown);
}

#[test]
fn another_zones_record_is_refused() {
    let world = usual();
    let there = world.there(&record()).unwrap();
    let gaps = world.there(&there).unwrap_err();
    assert_eq!(gaps[0].field, "zone");
}

#[test]
fn a_subnet_without_an_entry_is_left_to_neutron_where_the_address_says_it() {
    let mut world = usual();
    world.mapping.subnets.clear();
    let there = world.there(&record()).unwrap();
    assert_eq!(there.ports[0].fixed_ips[0], ip(Some("10.1.0.5"), None));

    // Not where nothing says it.
    let mut some = record();
    some.ports[0].fixed_ips = vec![ip(None, Some("front-4"))];
    let gaps = world.there(&some).unwrap_err();
    assert_eq!(gaps[0].field, "ports[0].fixed_ips[0].subnet");

    // An address that is not kept needs its subnet, or leaves the network's choice to Neutron.
    world.mapping.ranges.clear();
    world.mapping.any_address = vec![entry("10.0.0.0/24", "10.1.0.0/24")];
    some.ports[0].fixed_ips = vec![ip(Some("10.0.0.5"), None)];
    assert_eq!(world.there(&some).unwrap().ports[0].fixed_ips, []);
    some.ports[0].fixed_ips = vec![ip(Some("10.0.0.5"), Some("front-4"))];
    assert_eq!(world.there(&some).unwrap_err().len(), 1);
    world.mapping.subnets = vec![entry("front-4", "dr-4")];
    assert_eq!(
        world.there(&some).unwrap().ports[0].fixed_ips,
        [ip(None, Some("dr-4"))]
    );
}

prop_compose! {
    /// Names of few letters, so that they meet entries; disks in any number.
    fn any_record()(
        flavor in "[a-c]", networks in prop::collection::vec("[a-c]", 0..3), groups in prop::collection::vec("[a-c]", 0..3),
        hosts in prop::collection::vec(0_u8..6, 3), key in prop::option::of("[a-c]"), az in prop::option::of("[a-c]"), disks in 1_usize..5,
        subnet in prop::option::of("[a-c]"), with_address in any::<bool>(), running in any::<bool>(),
    ) -> ServerRecord {
        let mut some = record();
        some.flavor.name = flavor;
        some.security_groups = groups.clone();
        some.key_name = key;
        some.availability_zone = az;
        some.server_group = None;
        if !running {
            some.power = rekindle_common::servers::PowerWish::ShutOff;
        }
        some.disks = (0..disks).map(|n| disk(&format!("v{n}-a"), (n == 0).then_some(0), &format!("/dev/vd{n}"))).collect();
        some.ports = networks.into_iter().zip(hosts).map(|(network, host)| PortRecord {
            network,
            fixed_ips: if with_address || subnet.is_some() {
                vec![FixedIp { address: with_address.then(|| std::net::IpAddr::from([10, 0, 0, host])), subnet: subnet.clone() }]
            } else {
                Vec::new()
            },
            mac: None,
            security_groups: groups.clone(),
            port_security: PortSecurity::Unknown,
            address_pairs: Vec::new(),
            port_id: None,
            tag: None,
        }).collect();
        some
    }
}

prop_compose! {
    /// Each letter of zone-a is at most one of zone-b's.
    fn any_list()(there in Just(vec!["a", "b", "c"]).prop_shuffle(), keep in prop::collection::vec(any::<bool>(), 3)) -> Vec<crate::catalogue::mapping::Entry> {
        ["a", "b", "c"].iter().zip(there).zip(keep).filter(|(_, k)| *k).map(|((a, b), _)| entry(a, b)).collect()
    }
}

proptest! {
    #[test]
    fn there_and_back_is_the_same(
        some in any_record(), lists in prop::collection::vec(any_list(), 5), same in any::<bool>(), range in any::<bool>(),
    ) {
        let volumes: Vec<(String, String)> = (0..5).map(|n| (format!("v{n}-a"), format!("v{n}-b"))).collect();
        let volumes: Vec<(&str, &str)> = volumes.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let mut world = World::new(&volumes);
        let [flavors, networks, subnets, security_groups, key_pairs]: [_; 5] = lists.try_into().unwrap();
        world.mapping = Mapping {
            same_name: if same { Kind::ALL.into() } else { [Kind::AvailabilityZones].into() },
            projects: vec![entry("shop", "dr-shop")],
            addresses: vec![entry("10.0.0.1", "10.1.0.2")],
            ranges: if range { vec![entry("10.0.0.0/24", "10.1.0.0/24")] } else { Vec::new() },
            flavors, networks, subnets, security_groups, key_pairs,
            ..Mapping::default()
        };
        let zones = [zone("zone-a"), zone("zone-b")].into();
        prop_assert_eq!(world.mapping.check(&zones), []);
        if let Ok(there) = world.there(&some) {
            there.check().unwrap();
            let back = world.back(&there).unwrap();
            let mut wanted = without_ids(some);
            // A subnet that the address says is left out on the way.
            for (port, back) in wanted.ports.iter_mut().zip(&back.ports) {
                for (ip, back) in port.fixed_ips.iter_mut().zip(&back.fixed_ips) {
                    if ip.address.is_some() && back.subnet.is_none() {
                        ip.subnet = None;
                    }
                }
            }
            prop_assert_eq!(back, wanted);
        }
    }
}
