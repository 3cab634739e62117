//! Servers that the other zone would take, broken one thing at a time.

use super::*;
use crate::preflight::{
    GapKind,
    tests::world::{World, silent, volume, zone},
};
use rekindle_common::servers::PortSecurity;
use rekindle_core::catalogue::mapping::{Entry, Kind};
use rekindle_openstack::Quota;
use rekindle_openstack::placement::Room;
use serde::Deserialize;
use serde_json::{Value, json};

type Break = fn(&mut World);

fn all<T: for<'a> Deserialize<'a>>(rows: Value) -> Result<Vec<T>, CloudError> {
    Ok(serde_json::from_value(rows).unwrap())
}

fn record() -> ServerRecord {
    serde_json::from_value(json!({
        "version": 1, "name": "web-1", "zone": "zone-a", "flavor": { "name": "small", "vcpus": 2, "ram_mib": 2048 },
        "disks": [{ "volume": { "id": "v1" }, "boot_index": 0, "delete_on_termination": false }, { "volume": { "id": "v2" }, "delete_on_termination": false }],
        "ports": [{ "network": "front", "fixed_ips": [{ "address": "10.0.0.5", "subnet": "four" }], "security_groups": ["web"] }],
        "security_groups": [], "key_name": "ops", "availability_zone": "az1", "server_group": "spread",
        "config_drive": false, "locked": false, "power": "running", "taken_at": "2026-11-26T10:00:00Z", "source": { "type": "nova" },
    }))
    .unwrap()
}

fn place() -> Place {
    let figure = |limit| Quota {
        limit,
        in_use: 3,
        reserved: 0,
    };
    let quota = [("instances", 10), ("cores", 20), ("ram", -1)];
    let project = ProjectSeen {
        networks: all(
            json!([{ "id": "n1", "name": "front" }, { "id": "n2", "name": "twin" }, { "id": "n3", "name": "twin" }]),
        ),
        subnets: all(
            json!([{ "id": "n1-4", "name": "four", "network_id": "n1", "cidr": "10.0.0.0/24", "ip_version": 4 }]),
        ),
        groups: all(json!([{ "id": "g1", "name": "web" }])),
        server_groups: all(json!([{ "id": "sg1", "name": "spread" }])),
        quota: Ok(QuotaSet(
            quota.map(|(n, l)| (n.to_owned(), figure(l))).into(),
        )),
        ports: [("n1".to_owned(), all(json!([])))].into(),
    };
    Place {
        flavors: all(
            json!([{ "id": "f1", "name": "small", "vcpus": 2, "ram": 4096 }, { "id": "f2", "name": "tiny", "vcpus": 1, "ram": 512 }]),
        ),
        keypairs: all(json!([{ "name": "ops" }])),
        zones: all(
            json!([{ "zoneName": "az1", "zoneState": { "available": true } }, { "zoneName": "az2", "zoneState": { "available": false } }]),
        ),
        services: all(
            json!([{ "binary": "nova-compute", "host": "h1", "status": "enabled", "state": "up" }]),
        ),
        rooms: Ok(vec![Room {
            vcpus: 2,
            ram_mib: 2048,
        }]),
        projects: [("b-shop".to_owned(), project)].into(),
    }
}

/// One server of two volumes, which zone-b has records of.
fn well() -> World {
    let mut w = World::new();
    w.mapping.same_name = Kind::ALL.into();
    w.rest_b().volumes = Ok(["v1", "v2"].map(|id| volume(id, "b-shop")).into());
    w.servers = ServersSeen {
        daily: Vec::new(),
        servers: vec![Protected {
            group: "shop".parse().unwrap(),
            key: "web-1".parse().unwrap(),
            from: zone("zone-a"),
            to: zone("zone-b"),
            standby: StandbyPolicy::Shutoff,
            record: Ok(record()),
            built: false,
        }],
        silent: None,
        places: [(zone("zone-b"), place())].into(),
    };
    w
}

fn there(w: &mut World) -> &mut Place {
    w.servers.places.get_mut(&zone("zone-b")).unwrap()
}

fn shop(w: &mut World) -> &mut ProjectSeen {
    there(w).projects.get_mut("b-shop").unwrap()
}

fn of_it(w: &mut World) -> &mut ServerRecord {
    w.servers.servers[0].record.as_mut().unwrap()
}

fn set(w: &mut World, figure: &str, limit: i64) {
    let quota = shop(w).quota.as_mut().unwrap();
    quota.0.get_mut(figure).unwrap().limit = limit;
}

#[test]
fn a_server_that_the_other_zone_would_take_has_no_gap() {
    let found = well().judged();
    assert!(found.is_well(), "{found:#?}");
    assert_eq!(found.counts.servers, 1);
}

#[test]
fn each_gap_is_named_with_its_field() {
    let broken: Vec<(Break, GapKind, &str)> = vec![
        (
            |w| {
                w.mapping.same_name.remove(&Kind::Flavors);
            },
            GapKind::UnmappedServer,
            "flavor.name: flavors of the mapping has no entry",
        ),
        (
            |w| {
                w.mapping.same_name.remove(&Kind::Networks);
            },
            GapKind::UnmappedServer,
            "ports[0].network",
        ),
        (
            |w| {
                w.mapping.same_name.remove(&Kind::Addresses);
            },
            GapKind::UnmappedServer,
            "ports[0].fixed_ips[0].address",
        ),
        (
            |w| w.rest_b().volumes = Ok(vec![volume("v1", "b-shop")]),
            GapKind::UnmappedServer,
            "disks[1].volume.id: volume v2 has no copy",
        ),
        (
            |w| of_it(w).flavor.name = "huge".to_owned(),
            GapKind::Flavor,
            "\"huge\" is not there",
        ),
        (
            |w| of_it(w).flavor.name = "tiny".to_owned(),
            GapKind::Flavor,
            "flavor.vcpus: \"tiny\" has 1, and it has 2 now",
        ),
        (
            |w| of_it(w).flavor.name = "tiny".to_owned(),
            GapKind::Flavor,
            "flavor.ram_mib: \"tiny\" has 512",
        ),
        (
            |w| of_it(w).ports[0].network = "back".to_owned(),
            GapKind::Network,
            "ports[0].network: \"back\" is not there",
        ),
        (
            |w| of_it(w).ports[0].network = "twin".to_owned(),
            GapKind::Network,
            "is the name of several",
        ),
        (
            |w| of_it(w).ports[0].fixed_ips[0].subnet = Some("six".to_owned()),
            GapKind::Network,
            "ports[0].fixed_ips[0].subnet: \"six\"",
        ),
        (
            |w| {
                of_it(w).ports[0].security_groups.clear();
                of_it(w).ports[0].port_security = PortSecurity::Off;
            },
            GapKind::Network,
            "ports[0].port_security: it is off, and network \"front\" has no port without it",
        ),
        (
            |w| of_it(w).ports[0].security_groups = vec!["db".to_owned()],
            GapKind::SecurityGroup,
            "ports[0].security_groups[0]: \"db\"",
        ),
        (
            |w| of_it(w).key_name = Some("mine".to_owned()),
            GapKind::KeyPair,
            "key_name: our user has no key pair \"mine\"",
        ),
        (
            |w| of_it(w).availability_zone = Some("az9".to_owned()),
            GapKind::AvailabilityZone,
            "\"az9\" is not there",
        ),
        (
            |w| of_it(w).availability_zone = Some("az2".to_owned()),
            GapKind::AvailabilityZone,
            "\"az2\" does not work now",
        ),
        (
            |w| of_it(w).server_group = Some("apart".to_owned()),
            GapKind::ServerGroup,
            "server_group: \"apart\"",
        ),
        (
            |w| {
                shop(w).ports.insert("n1".to_owned(), all(json!([{ "id": "p9", "network_id": "n1", "device_id": "s9", "status": "ACTIVE", "fixed_ips": [{ "ip_address": "10.0.0.5" }] }])));
            },
            GapKind::Address,
            "10.0.0.5 is taken by port p9 of s9",
        ),
        (
            |w| set(w, "instances", 3),
            GapKind::Quota,
            "1 more instances are needed, 3 of 3",
        ),
        (
            |w| set(w, "cores", 4),
            GapKind::Quota,
            "2 more cores are needed, 3 of 4",
        ),
        (
            |w| {
                there(w).services = all(
                    json!([{ "binary": "nova-compute", "host": "h1", "status": "disabled", "state": "up" }]),
                )
            },
            GapKind::Capacity,
            "no nova-compute",
        ),
        (
            |w| there(w).rooms.as_mut().unwrap()[0].ram_mib = 2047,
            GapKind::Capacity,
            "no room for 1 of 1 servers that are to come: the first is web-1 of group shop, with 2 vCPUs and 2048 MiB",
        ),
    ];
    for (break_it, kind, words) in broken {
        let mut w = well();
        break_it(&mut w);
        let found = w.judged();
        let named = found
            .gaps
            .iter()
            .any(|g| g.kind == kind && g.what.contains(words));
        assert!(named, "{kind:?} {words}: {found:#?}");
        assert!(found.gaps.iter().all(|g| !g.advice.is_empty()));
    }
}

#[test]
fn what_stands_by_takes_no_more_and_has_its_own_address() {
    let mut w = well();
    w.servers.servers[0].built = true;
    set(&mut w, "instances", 3);
    set(&mut w, "cores", 3);
    let own = json!([{ "id": "p9", "network_id": "n1", "device_id": "s9", "status": "ACTIVE", "fixed_ips": [{ "ip_address": "10.0.0.5" }] }]);
    shop(&mut w).ports.insert("n1".to_owned(), all(own));
    let found = w.judged();
    assert!(found.gaps.is_empty(), "{found:#?}");
    // One that is shelved has no place on a host yet.
    let mut w = well();
    (w.servers.servers[0].built, w.servers.servers[0].standby) = (true, StandbyPolicy::Shelved);
    set(&mut w, "cores", 3);
    let found = w.judged();
    assert!(
        found.gaps.iter().any(|g| g.what.contains("2 more cores")),
        "{found:#?}"
    );
    // Ports of a build that was cut off are found again by it.
    let mut w = well();
    let cut = json!([{ "id": "p9", "description": "rekindle:shop/web-1/0", "network_id": "n1", "status": "DOWN", "fixed_ips": [{ "ip_address": "10.0.0.5" }] }]);
    shop(&mut w).ports.insert("n1".to_owned(), all(cut));
    assert!(w.judged().gaps.is_empty());
}

#[test]
fn servers_of_one_project_are_counted_together() {
    let mut w = well();
    let more = (0..8).map(|n| Protected {
        key: format!("web-{}", n + 2).parse().unwrap(),
        ..w.servers.servers[0].clone()
    });
    let more: Vec<Protected> = more.collect();
    w.servers.servers.extend(more);
    let found = w.judged();
    assert!(
        found
            .gaps
            .iter()
            .any(|g| g.what.contains("9 more instances are needed, 3 of 10")),
        "{found:#?}"
    );
    // Nothing stands by for those whose policy is "none".
    let mut none = well();
    none.servers.servers[0].standby = StandbyPolicy::None;
    set(&mut none, "instances", 3);
    assert!(none.judged().gaps.is_empty());
}

#[test]
fn silence_is_no_gap_and_never_well() {
    let silences: Vec<(Break, &str)> = vec![
        (
            |w| w.servers.silent = Some("etcd did not answer".to_owned()),
            "the groups' servers",
        ),
        (
            |w| w.servers.servers[0].record = Err("it did not answer".to_owned()),
            "server web-1 of group shop",
        ),
        (|w| there(w).flavors = Err(silent()), "its flavors"),
        (|w| there(w).keypairs = Err(silent()), "our key pairs"),
        (|w| shop(w).networks = Err(silent()), "its networks"),
        (|w| shop(w).quota = Err(silent()), "the quota of Nova"),
        (|w| w.rest_a().volumes = Err(silent()), "disks[0].volume.id"),
    ];
    for (break_it, what) in silences {
        let mut w = well();
        break_it(&mut w);
        let found = w.judged();
        assert!(
            found.unchecked.iter().any(|u| u.what.contains(what)),
            "{what}: {found:#?}"
        );
        // Whose silence it is is said where that zone is looked at.
        assert!(
            found.gaps.iter().all(|g| g.kind.is_silence()),
            "{what}: {found:#?}"
        );
    }
}

#[test]
fn addresses_go_by_the_mapping() {
    let mut w = well();
    let range = |a: &str, b: &str| {
        Entry::from([
            (zone("zone-a"), a.to_owned()),
            (zone("zone-b"), b.to_owned()),
        ])
    };
    w.mapping.ranges = vec![range("10.0.0.0/24", "10.9.0.0/24")];
    let taken = json!([{ "id": "p9", "network_id": "n1", "status": "ACTIVE", "fixed_ips": [{ "ip_address": "10.9.0.5" }] }]);
    shop(&mut w).ports.insert("n1".to_owned(), all(taken));
    let found = w.judged();
    assert!(
        found
            .gaps
            .iter()
            .any(|g| g.kind == GapKind::Address && g.what.contains("10.9.0.5 is taken by port p9")),
        "{found:#?}"
    );
}
