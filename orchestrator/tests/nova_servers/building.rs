//! A stand-by is built with its ports, and what it lacks is named.

use super::*;
use rekindle_common::ZoneName;
use rekindle_orchestrator::servers::control::counterpart;

#[tokio::test]
async fn a_stand_by_that_was_deleted_softly_is_taken_away_and_built_again() {
    let gone = ours("s2", "SOFT_DELETED");
    let bench = up(Stub::new().with(gone)).await;
    let seen = bench.build(StandbyPolicy::Shutoff).await.unwrap();
    assert_eq!(seen.state, ServerState::Stopped);
    assert_ne!(seen.id, "s2");
    let left: Vec<String> = bench.stub.servers().into_iter().map(|s| s.id).collect();
    assert_eq!(left, [seen.id]);
}

#[tokio::test]
async fn a_stand_by_is_built_with_its_ports_and_found_again() {
    let bench = up(Stub::new()).await;
    let built = bench.build(StandbyPolicy::Shutoff).await.unwrap();
    assert!(
        built.held && built.state == ServerState::Stopped,
        "{built:?}"
    );
    let posted = bench.fake.asked("POST /compute/v2.1/servers ");
    let body: Value = serde_json::from_str(&posted[0].body).unwrap();
    let server = &body["server"];
    assert_eq!(
        (
            server["flavorRef"].as_str(),
            body["os:scheduler_hints"]["group"].as_str()
        ),
        (Some("f1"), Some("sg1"))
    );
    assert_eq!(server["networks"], json!([{ "port": "port-1" }]));
    let disks: Vec<_> = server["block_device_mapping_v2"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["uuid"].as_str().unwrap(), &d["delete_on_termination"]))
        .collect();
    assert_eq!(disks, [("v8", &json!(false)), ("v9", &json!(false))]);
    let metadata = &server["metadata"];
    assert_eq!(
        (
            &metadata["role"],
            &metadata["rekindle:group"],
            &metadata["rekindle:standby-of"]
        ),
        (&json!("web"), &json!("shop"), &json!("zone-b/s9"))
    );
    let port = bench.net.ports().remove(0);
    assert_eq!(
        port["fixed_ips"],
        json!([{ "subnet_id": "n1-4", "ip_address": "10.0.0.5" }])
    );
    assert_eq!(
        (&port["mac_address"], &port["security_groups"]),
        (&json!("fa:16:3e:00:00:01"), &json!(["g1"]))
    );
    assert_eq!(port["description"], "rekindle:shop/web-1/0");

    // Again: it is adopted, and nothing is looked up or made for it.
    let before = bench.fake.asked("").len();
    let again = bench.build(StandbyPolicy::Shutoff).await.unwrap();
    assert_eq!(again.id, built.id);
    assert_eq!(bench.fake.asked("POST /compute/v2.1/servers ").len(), 1);
    assert_eq!(bench.net.ports().len(), 1);
    assert!(
        bench.fake.asked("").len() - before < 10,
        "an adoption takes few calls"
    );
    assert!(bench.fake.asked("/flavors/detail").len() == 1);
}

/// A description may be written by everybody on ports of his own, and an administrator is shown everybody's; Nova gives a server none of another
/// project's.
#[tokio::test]
async fn a_port_of_another_project_keeps_no_server_from_being_built() {
    let bench = up(Stub::new()).await;
    bench.net.0.lock().unwrap().push(json!({ "id": "strange", "project_id": "p2", "name": "rekindle-shop-web-1", "description": "rekindle:shop/web-1/0", "network_id": "n1", "device_id": "", "status": "DOWN" }));
    for _ in 0..2 {
        bench.build(StandbyPolicy::Shutoff).await.unwrap();
    }
    let posted = bench.fake.asked("POST /compute/v2.1/servers ");
    let body: Value = serde_json::from_str(&posted[0].body).unwrap();
    assert_eq!(body["server"]["networks"], json!([{ "port": "port-2" }]));
    let ports = bench.net.ports();
    let ids: Vec<_> = ports.iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["strange", "port-2"]);
}

/// A router's port, a Kubernetes node's, one that nothing is to reach: what a record says of its port is said to Neutron, also that there is nothing.
#[tokio::test]
async fn a_port_comes_up_filtered_as_the_servers_is() {
    for (says, groups, enabled, pairs) in [
        // As in a record of an older release.
        (json!({}), Value::Null, Value::Null, Value::Null),
        (
            json!({ "port_security": "on" }),
            json!([]),
            json!(true),
            Value::Null,
        ),
        (
            json!({ "port_security": "off" }),
            json!([]),
            json!(false),
            Value::Null,
        ),
        (
            json!({ "port_security": "on", "security_groups": ["web"], "address_pairs": [{ "address": "10.0.0.9" }, { "address": "10.244.0.0/16", "mac": "00:00:5e:00:01:07" }] }),
            json!(["g1"]),
            json!(true),
            json!([{ "ip_address": "10.0.0.9" }, { "ip_address": "10.244.0.0/16", "mac_address": "00:00:5e:00:01:07" }]),
        ),
    ] {
        let bench = up(Stub::new()).await;
        let mut port = json!({ "network": "front" });
        port.as_object_mut()
            .unwrap()
            .extend(says.as_object().unwrap().clone());
        let order = order(StandbyPolicy::Shutoff, json!({ "ports": [port] }));
        bench.servers.build(&order, WITHIN).await.unwrap();
        let port = bench.net.ports().remove(0);
        let got = [
            "security_groups",
            "port_security_enabled",
            "allowed_address_pairs",
        ];
        assert_eq!(
            got.map(|field| port[field].clone()),
            [groups, enabled, pairs],
            "{says}"
        );
    }
}

/// A Neutron without the extension shows it on no network, and refuses a port that names it.
#[tokio::test]
async fn where_neutron_filters_every_port_that_is_not_said_and_a_server_that_needs_another_is_refused()
 {
    let on = |says: &str| json!({ "ports": [{ "network": "private", "port_security": says }] });
    let bench = up(Stub::new()).await;
    let filtered = order(StandbyPolicy::Shutoff, on("on"));
    bench.servers.build(&filtered, WITHIN).await.unwrap();
    let port = bench.net.ports().remove(0);
    assert_eq!(port.get("port_security_enabled"), None);
    assert_eq!(port["security_groups"], json!([]));

    let bench = up(Stub::new()).await;
    let open = order(StandbyPolicy::Shutoff, on("off"));
    let words = refused(bench.servers.build(&open, WITHIN).await);
    assert!(
        words.contains("network \"private\" has no port without port security"),
        "{words}"
    );
    assert!(bench.net.ports().is_empty() && bench.stub.servers().is_empty());
}

/// Nova refused the build for which it was made, and the server has another address since.
#[tokio::test]
async fn hard_case_51_a_port_of_a_build_that_was_refused_has_not_the_address_of_that_day() {
    let refuses = Stub::new().fault(
        "POST /compute/v2.1/servers ",
        1,
        Fault::Instead(Say::status(400, r#"{"badRequest":{"message":"no"}}"#)),
    );
    let bench = up(refuses).await;
    refused(bench.build(StandbyPolicy::Shutoff).await);
    assert_eq!(bench.net.ports().len(), 1);
    let other = order(
        StandbyPolicy::Shutoff,
        json!({ "ports": [{ "network": "front", "fixed_ips": [{ "address": "10.0.0.7", "subnet": "four" }], "security_groups": ["web"] }] }),
    );
    bench.servers.build(&other, WITHIN).await.unwrap();
    let ports = bench.net.ports();
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0]["fixed_ips"][0]["ip_address"], "10.0.0.7");
}

#[tokio::test]
async fn the_ports_of_a_build_that_came_to_nothing_are_taken_away_and_no_servers() {
    let refuses = Stub::new().fault(
        "POST /compute/v2.1/servers ",
        1,
        Fault::Instead(Say::status(400, r#"{"badRequest":{"message":"no"}}"#)),
    );
    let root = json!({ "volume": { "id": "v8", "status": "available", "size": 1, "os-vol-tenant-attr:tenant_id": "p1" } });
    let bench = up(refuses.says("/volume/v3/p1/volumes/v8", root)).await;
    refused(bench.build(StandbyPolicy::Shutoff).await);
    assert_eq!(bench.net.ports().len(), 1);
    bench.servers.clear(&wanted(None), WITHIN).await.unwrap();
    assert!(bench.net.ports().is_empty());
    // One that is there after all keeps them.
    bench.build(StandbyPolicy::Shutoff).await.unwrap();
    bench.servers.clear(&wanted(None), WITHIN).await.unwrap();
    assert_eq!(bench.net.ports().len(), 1);
}

/// Neutron shows an administrator every project's networks, and makes a port on any: an entry of the mapping names one for all projects.
#[tokio::test]
async fn a_server_comes_into_no_network_of_another_project() {
    let on = |network: &str| json!({ "ports": [{ "network": network, "fixed_ips": [], "security_groups": [] }] });
    for (text, network) in [
        ("private", "n4"),
        ("n4", "n4"),
        ("lent", "n6"),
        ("n6", "n6"),
    ] {
        let bench = up(Stub::new()).await;
        let order = order(StandbyPolicy::Shutoff, on(text));
        bench.servers.build(&order, WITHIN).await.unwrap();
        let port = bench.net.ports().remove(0);
        assert_eq!(port["network_id"], network, "{text}");
    }
    let bench = up(Stub::new()).await;
    let order = order(StandbyPolicy::Shutoff, on("n5"));
    let words = refused(bench.servers.build(&order, WITHIN).await);
    for part in [
        "network \"n5\" is missing, or another project's",
        "project p1",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(bench.net.ports().is_empty() && bench.stub.servers().is_empty());
}

/// One whose record was imported has no id in the other zone.
#[tokio::test]
async fn what_was_never_built_is_built_under_its_place_in_the_runbook_and_found_by_that() {
    let bench = up(Stub::new()).await;
    let (group, key) = (wanted(None).group, wanted(None).key);
    let other = ZoneName::new("zone-b").unwrap();
    let never_built = Wanted {
        counterpart: Some(counterpart(&other, None, &group, &key)),
        ..wanted(None)
    };
    let order = BuildOrder {
        wanted: never_built.clone(),
        ..order(StandbyPolicy::Record, json!({}))
    };
    let built = bench.servers.build(&order, WITHIN).await.unwrap();
    let bears = &bench.stub.servers()[0].metadata["rekindle:standby-of"];
    assert_eq!(bears, "zone-b/shop/web-1");
    let again = bench.servers.look(&never_built, WITHIN).await.unwrap();
    assert_eq!(again.unwrap().id, built.id);
}

#[tokio::test]
async fn one_that_is_to_serve_at_once_is_left_running() {
    let bench = up(Stub::new()).await;
    let built = bench.build(StandbyPolicy::Record).await.unwrap();
    assert!(
        !built.held && built.state == ServerState::Running,
        "{built:?}"
    );
    assert!(
        bench.fake.asked("/action").is_empty(),
        "it was told something"
    );
    let shelved = up(Stub::new()).await;
    let built = shelved.build(StandbyPolicy::Shelved).await.unwrap();
    assert!(built.words.contains("SHELVED_OFFLOADED"), "{built:?}");
    refused(bench.build(StandbyPolicy::None).await);
}

#[tokio::test]
async fn what_is_missing_is_named_before_anything_is_made() {
    let bench = up(Stub::new()).await;
    let port = |more: Value| {
        let mut port = json!({ "network": "front", "fixed_ips": [], "security_groups": [] });
        port.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "ports": [port] })
    };
    for (more, word) in [
        (
            json!({ "flavor": { "name": "large" } }),
            "flavor \"large\" is missing",
        ),
        (
            json!({ "server_group": "apart" }),
            "server group \"apart\" is missing",
        ),
        (
            port(json!({ "network": "nowhere" })),
            "network \"nowhere\" is missing",
        ),
        (
            port(json!({ "network": "twin" })),
            "network \"twin\" is the name of several",
        ),
        (
            port(json!({ "fixed_ips": [{ "subnet": "six" }] })),
            "subnet of network \"front\" \"six\" is missing",
        ),
        (
            port(json!({ "security_groups": ["db"] })),
            "security group \"db\" is missing",
        ),
        (
            json!({ "zone": "zone-b" }),
            "the record is in zone-b's names",
        ),
    ] {
        let order = order(StandbyPolicy::Shutoff, more);
        let words = refused(bench.servers.build(&order, WITHIN).await);
        assert!(
            words.starts_with("zone-a: ") && words.contains(word),
            "{word}: {words}"
        );
    }
    assert!(bench.net.ports().is_empty() && bench.stub.servers().is_empty());
    let order = BuildOrder {
        wanted: Wanted {
            counterpart: None,
            ..wanted(None)
        },
        ..order(StandbyPolicy::Shutoff, json!({}))
    };
    refused(bench.servers.build(&order, WITHIN).await);
}

/// Before one that stands by is taken away for another: what that one needs is looked up, and nothing is made.
#[tokio::test]
async fn hard_case_52_whether_another_could_be_built_is_seen_before_the_one_that_stands_by_goes() {
    let cloud = |cores: i64| {
        let quota =
            |limit: i64, used: i64| json!({ "limit": limit, "in_use": used, "reserved": 0 });
        Stub::new()
            .with(ours("s2", "SHUTOFF"))
            .says("/os-keypairs", json!({ "keypairs": [{ "keypair": { "name": "ops" } }] }))
            .says("/os-availability-zone", json!({ "availabilityZoneInfo": [
                { "zoneName": "az1", "zoneState": { "available": true } }, { "zoneName": "az2", "zoneState": { "available": false } },
            ] }))
            .says("/os-quota-sets/p1/detail", json!({ "quota_set": { "id": "p1", "instances": quota(3, 3), "cores": quota(cores, 3), "ram": quota(-1, 0) } }))
    };
    let check = async |bench: &Bench, more: Value| {
        let order = BuildOrder {
            wanted: wanted(Some("s2")),
            ..order(StandbyPolicy::Shutoff, more)
        };
        let end = bench.servers.check(&order, WITHIN).await;
        assert!(bench.net.ports().is_empty() && bench.stub.servers().len() == 1);
        end
    };
    // Of a quota that is used up so much is free as the one that goes has.
    let bench = up(cloud(3)).await;
    let well = json!({ "key_name": "ops", "availability_zone": "az1" });
    assert_eq!(check(&bench, well).await, Ok(()));
    for (more, word) in [
        (
            json!({ "flavor": { "name": "large" } }),
            "flavor \"large\" is missing",
        ),
        (
            json!({ "server_group": "apart" }),
            "server group \"apart\" is missing",
        ),
        (
            json!({ "ports": [{ "network": "front", "security_groups": ["db"] }] }),
            "security group \"db\" is missing",
        ),
        (
            json!({ "key_name": "mine" }),
            "key pair \"mine\" is missing",
        ),
        (
            json!({ "availability_zone": "az2" }),
            "availability zone \"az2\" is missing, or does not work now",
        ),
        (
            json!({ "flavor": { "name": "big" } }),
            "cores: 3 needed, 0 left of 3",
        ),
        (
            json!({ "zone": "zone-b" }),
            "the record is in zone-b's names",
        ),
    ] {
        let words = refused(check(&bench, more).await);
        assert!(
            words.starts_with("zone-a: ") && words.contains(word),
            "{word}: {words}"
        );
    }
    let bench = up(cloud(6)).await;
    let big = json!({ "flavor": { "name": "big" } });
    assert_eq!(check(&bench, big).await, Ok(()));
}

#[tokio::test]
async fn hard_case_52_a_quota_is_named_and_a_host_that_is_full_too() {
    let quota = |limit: i64, used: i64| json!({ "limit": limit, "in_use": used, "reserved": 0 });
    let over = Stub::new()
        .says("/os-quota-sets/p1/detail", json!({ "quota_set": { "id": "p1", "instances": quota(10, 10), "cores": quota(20, 3), "ram": quota(-1, 0) } }))
        .fault("POST /compute/v2.1/servers ", 1, Fault::Instead(Say::status(403, r#"{"forbidden":{"message":"Quota exceeded for instances"}}"#)));
    let bench = up(over).await;
    let words = refused(bench.build(StandbyPolicy::Shutoff).await);
    assert!(
        words.contains("instances: 1 needed, 0 left of 10"),
        "{words}"
    );
    let full = up(Stub::new().builds("ERROR", Some((500, "No valid host was found.")))).await;
    let words = refused(full.build(StandbyPolicy::Shutoff).await);
    assert!(words.contains("no host takes it"), "{words}");
    // What failed before it ever ran is built again, once there is room.
    full.stub.clone().builds("ACTIVE", None);
    let built = full.build(StandbyPolicy::Shutoff).await.unwrap();
    assert_eq!(full.stub.servers().len(), 1);
    assert_eq!(built.state, ServerState::Stopped);
}
