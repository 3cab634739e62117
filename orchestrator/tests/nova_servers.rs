//! A zone's servers through a real client: against a Nova and a Neutron that keep what they are told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../../common/openstack/tests/fake/mod.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod fake;

use fake::{
    Asked, Fake, Say,
    nova::{Fault, Srv, Stub},
};
use rekindle_common::{
    GroupName, ServerKey, ZoneName,
    duration::Span,
    runbook::StandbyPolicy,
    servers::{PowerWish, ServerRecord},
};
use rekindle_orchestrator::servers::{
    control::{BuildOrder, Seen, ServerState, Servers, ServersError, Wanted, counterpart},
    nova::NovaServers,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const WITHIN: Span = Span::secs(20);

/// A Neutron that keeps ports.
#[derive(Clone, Default)]
struct Net(Arc<Mutex<Vec<Value>>>);

impl Net {
    fn ports(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }

    fn answer(&self, asked: &Asked) -> Say {
        let mut words = asked.line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = path
            .trim_start_matches("/network")
            .trim_start_matches("/v2.0");
        let mut ports = self.0.lock().unwrap();
        match (method, path) {
            ("GET", "/networks") => Say::ok(json!({ "networks": [
                { "id": "n1", "name": "front", "project_id": "p1" }, { "id": "n2", "name": "twin", "project_id": "p1" }, { "id": "n3", "name": "twin", "project_id": "p1" },
                { "id": "n4", "name": "private", "project_id": "p1" }, { "id": "n5", "name": "private", "project_id": "p2" }, { "id": "n6", "name": "lent", "project_id": "p2", "shared": true },
            ] }).to_string()),
            ("GET", "/subnets") => Say::ok(json!({ "subnets": [{ "id": "n1-4", "name": "four", "network_id": "n1", "cidr": "10.0.0.0/24", "ip_version": 4 }] }).to_string()),
            ("GET", "/security-groups") => Say::ok(json!({ "security_groups": [{ "id": "g1", "name": "web", "project_id": "p1" }] }).to_string()),
            ("GET", "/ports") => {
                // As a real one: every filter counts.
                let fits = |p: &&Value| {
                    query.split('&').filter_map(|f| f.split_once('=')).all(|(key, value)| {
                        let value = value.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
                        !["device_id", "network_id", "description", "name"].contains(&key) || p[key].as_str() == Some(value.as_str())
                    })
                };
                let all: Vec<&Value> = ports.iter().filter(fits).collect();
                Say::ok(json!({ "ports": all }).to_string())
            }
            ("POST", "/ports") => {
                let mut port = serde_json::from_str::<Value>(&asked.body).unwrap()["port"].clone();
                port["id"] = json!(format!("port-{}", ports.len() + 1));
                port["status"] = json!("DOWN");
                port["device_id"] = json!("");
                // The token's.
                port["project_id"] = json!("p1");
                ports.push(port.clone());
                Say::status(201, json!({ "port": port }).to_string())
            }
            ("DELETE", path) if path.starts_with("/ports/") => {
                ports.retain(|p| path != format!("/ports/{}", p["id"].as_str().unwrap()));
                Say::status(204, "")
            }
            _ => Say::status(404, "{}"),
        }
    }
}

struct Bench {
    stub: Stub,
    net: Net,
    fake: Fake,
    servers: NovaServers,
}

async fn up(stub: Stub) -> Bench {
    let stub = stub.says(
        "/flavors/detail",
        json!({ "flavors": [{ "id": "f1", "name": "small", "vcpus": 1, "ram": 512 }] }),
    );
    let net = Net::default();
    let (compute, network) = (stub.script(), net.clone());
    let fake = Fake::cinder(move |n, asked| {
        if asked.line.contains(" /network") {
            network.answer(asked)
        } else if asked.line.contains("/os-server-groups") {
            // A page at a time, by an offset.
            let first = !asked.line.contains("offset=1");
            let groups = if first {
                json!([{ "id": "sg1", "name": "spread" }])
            } else {
                json!([])
            };
            Say::ok(json!({ "server_groups": groups }).to_string())
        } else {
            compute(n, asked)
        }
    })
    .await;
    let servers = NovaServers::new(fake.cloud("timeout = \"1s\""), Span::millis(2));
    Bench {
        stub,
        net,
        fake,
        servers,
    }
}

fn wanted(id: Option<&str>) -> Wanted {
    Wanted {
        group: GroupName::new("shop").unwrap(),
        key: ServerKey::new("web-1").unwrap(),
        id: id.map(str::to_owned),
        counterpart: Some("zone-b/s9".to_owned()),
        root: Some("v8".to_owned()),
    }
}

/// One that we built for `zone-b/s9`.
fn ours(id: &str, status: &'static str) -> Srv {
    Srv::new(id, status).marked("zone-b/s9").on("v8")
}

fn record(more: Value) -> ServerRecord {
    let mut all = json!({
        "version": 1, "name": "web-1", "zone": "zone-a", "project": "p1", "flavor": { "name": "small" },
        "disks": [{ "volume": { "id": "v8" }, "boot_index": 0, "device": "/dev/vda", "delete_on_termination": true }, { "volume": { "id": "v9" }, "delete_on_termination": false }],
        "ports": [{ "network": "front", "fixed_ips": [{ "address": "10.0.0.5", "subnet": "four" }], "mac": "fa:16:3e:00:00:01", "security_groups": ["web"] }],
        "security_groups": [], "config_drive": false, "locked": false, "power": "running", "taken_at": "2026-11-26T10:00:00Z", "source": { "type": "nova" },
        "metadata": { "role": "web" }, "server_group": "spread",
    });
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn order(rest: StandbyPolicy, more: Value) -> BuildOrder {
    BuildOrder {
        wanted: wanted(None),
        record: record(more),
        rest,
    }
}

impl Bench {
    async fn build(&self, rest: StandbyPolicy) -> Result<Seen, ServersError> {
        self.servers.build(&order(rest, json!({})), WITHIN).await
    }
}

fn refused<T: std::fmt::Debug>(end: Result<T, ServersError>) -> String {
    match end {
        Err(ServersError::Refused(words)) => words,
        other => panic!("{other:?}"),
    }
}

fn not_now<T: std::fmt::Debug>(end: Result<T, ServersError>) -> String {
    match end {
        Err(ServersError::NotNow(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_is_seen_by_its_id_or_by_its_mark() {
    let stub = Stub::new()
        .with(Srv::new("s1", "ACTIVE"))
        .with(ours("s2", "SHUTOFF"));
    let bench = up(stub).await;
    let seen = bench
        .servers
        .look(&wanted(Some("s1")), WITHIN)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (seen.id.as_str(), seen.state, seen.held),
        ("s1", ServerState::Running, false)
    );
    // One that was built again, and the word of it lost.
    for id in [None, Some("gone")] {
        let seen = bench
            .servers
            .look(&wanted(id), WITHIN)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((seen.id.as_str(), seen.state), ("s2", ServerState::Stopped));
    }
    let nobody = Wanted {
        counterpart: None,
        ..wanted(Some("gone"))
    };
    assert_eq!(bench.servers.look(&nobody, WITHIN).await, Ok(None));
    let bad = Wanted {
        counterpart: Some("zone-b".to_owned()),
        ..wanted(None)
    };
    refused(bench.servers.look(&bad, WITHIN).await);
}

/// Side by side, as a level's are, they share what is listed.
#[tokio::test]
async fn many_that_are_looked_for_by_their_marks_are_few_lists_of_the_cloud() {
    const N: usize = 40;
    let mut stub = Stub::new();
    for n in 0..N {
        let server = Srv::new(&format!("s{n}"), "SHUTOFF").marked(&format!("zone-b/o{n}"));
        stub = stub.with(server.on("v8"));
    }
    let bench = up(stub).await;
    let looks = (0..N).map(|n| {
        let wanted = Wanted {
            counterpart: Some(format!("zone-b/o{n}")),
            ..wanted(None)
        };
        let servers = &bench.servers;
        async move { servers.look(&wanted, WITHIN).await }
    });
    for (n, seen) in futures::future::join_all(looks)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(seen.unwrap().unwrap().id, format!("s{n}"));
    }
    let asked = bench.fake.asked("all_tenants=1");
    let lists = asked.len();
    assert!((1..=4).contains(&lists), "{lists} requests for {N} servers");
}

/// With a `reclaim_instance_interval` Nova keeps for a time what its users deleted.
#[tokio::test]
async fn hard_case_55_what_is_deleted_softly_is_not_there() {
    let stub = Stub::new()
        .with(Srv::new("s1", "SOFT_DELETED"))
        .with(ours("s2", "SOFT_DELETED"));
    let bench = up(stub).await;
    for id in [Some("s1"), Some("s2"), None] {
        let some = wanted(id);
        assert_eq!(bench.servers.look(&some, WITHIN).await, Ok(None), "{id:?}");
        let held = bench.servers.hold(&some, "it moves", WITHIN).await;
        assert_eq!(held, Ok(None), "{id:?}");
        assert_eq!(bench.servers.record(&some, WITHIN).await, Ok(None));
    }
    assert!(
        bench.fake.asked("POST /compute").is_empty(),
        "it was ordered"
    );
    // What we built and began to remove is removed to its end: its volumes are its until then.
    bench
        .servers
        .remove(&wanted(Some("s2")), WITHIN)
        .await
        .unwrap();
    let left: Vec<String> = bench.stub.servers().into_iter().map(|s| s.id).collect();
    assert_eq!(left, ["s1"]);
}

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
async fn hard_case_53_a_nova_that_hangs_leaves_it_unknown_and_in_time() {
    let stub = Stub::new().with(Srv::new("s1", "ACTIVE")).fault(
        "/servers",
        1000,
        Fault::Instead(Say::Silence),
    );
    let bench = up(stub).await;
    let begun = std::time::Instant::now();
    let short = Span::millis(300);
    let (some, order) = (wanted(Some("s1")), order(StandbyPolicy::Shutoff, json!({})));
    not_now(bench.servers.look(&some, short).await);
    not_now(bench.servers.hold(&some, "it came back", short).await);
    not_now(bench.servers.start(&some, short).await);
    not_now(bench.servers.remove(&some, short).await);
    not_now(bench.servers.record(&some, short).await);
    not_now(bench.servers.build(&order, short).await);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        bench.fake.asked("POST /network").is_empty(),
        "ports were made for a server of which nothing is known"
    );
}

#[tokio::test]
async fn hard_case_51_two_with_one_mark_are_both_named() {
    let stub = Stub::new()
        .with(ours("s1", "SHUTOFF"))
        .with(ours("s2", "SHUTOFF"));
    let bench = up(stub).await;
    let words = refused(bench.servers.look(&wanted(None), WITHIN).await);
    assert!(words.contains("s1") && words.contains("s2"), "{words}");
}

/// The mark is a property, which everybody may write on servers of his own, or copy there: what has it and not the root volume is nobody's
/// stand-by, whoever's it is.
#[tokio::test]
async fn hard_case_51_what_bears_the_mark_without_the_root_volume_is_neither_taken_nor_in_the_way()
{
    let copied = || Srv::new("copied", "ACTIVE").marked("zone-b/s9").on("v1");
    let bench = up(Stub::new().with(copied())).await;
    assert_eq!(bench.servers.look(&wanted(None), WITHIN).await, Ok(None));
    let held = bench.servers.hold(&wanted(None), "x", WITHIN).await;
    assert_eq!(held, Ok(None));
    let built = bench.build(StandbyPolicy::Shutoff).await.unwrap();
    assert_ne!(built.id, "copied");
    // The two are not taken for twins.
    let seen = bench.servers.look(&wanted(None), WITHIN).await.unwrap();
    assert_eq!(seen.unwrap().id, built.id);

    // Also where it was once written down as ours it is neither built upon nor taken away, whatever its state.
    for status in ["ACTIVE", "SOFT_DELETED"] {
        let mut theirs = copied();
        theirs.status = status;
        let bench = up(Stub::new().with(theirs)).await;
        let some = wanted(Some("copied"));
        bench.servers.remove(&some, WITHIN).await.unwrap();
        let order = BuildOrder {
            wanted: some,
            ..order(StandbyPolicy::Record, json!({}))
        };
        let built = bench.servers.build(&order, WITHIN).await.unwrap();
        assert_ne!(built.id, "copied");
        assert!(bench.fake.asked("/action").is_empty(), "{status}");
        assert_eq!(bench.fake.asked("DELETE").len(), 0, "{status}");
        assert_eq!(bench.stub.servers().len(), 2, "{status}");
    }
}

/// What is not known is waited for: which root volume it has to have, or what volumes Nova does not show of one that is only just begun.
#[tokio::test]
async fn hard_case_51_where_it_cannot_be_told_whether_it_is_the_one_nothing_is_done() {
    let bench = up(Stub::new().with(ours("s2", "SHUTOFF"))).await;
    let unknown = Wanted {
        root: None,
        ..wanted(None)
    };
    let words = not_now(bench.servers.look(&unknown, WITHIN).await);
    assert!(
        words.contains("(s2)") && words.contains("root volume"),
        "{words}"
    );
    let by_id = Wanted {
        id: Some("s2".to_owned()),
        ..unknown
    };
    refused(bench.servers.remove(&by_id, WITHIN).await);
    assert_eq!(bench.stub.servers().len(), 1);

    let begun = || {
        let mut begun = ours("s2", "BUILD");
        begun.volumes.clear();
        begun
    };
    let root_of = |project: &str| json!({ "volume": { "id": "v8", "status": "in-use", "size": 1, "os-vol-tenant-attr:tenant_id": project } });
    let stub = Stub::new().says("/volume/v3/p1/volumes/v8", root_of("p1"));
    let bench = up(stub.with(begun())).await;
    let words = not_now(bench.servers.look(&wanted(None), WITHIN).await);
    assert!(words.contains("(s2)"), "{words}");
    not_now(bench.build(StandbyPolicy::Shutoff).await);
    assert_eq!(bench.fake.asked("POST /compute/v2.1/servers ").len(), 0);
    // Of another project it is certain that it is not.
    let stub = Stub::new().says("/volume/v3/p1/volumes/v8", root_of("p2"));
    let bench = up(stub.with(begun())).await;
    assert_eq!(bench.servers.look(&wanted(None), WITHIN).await, Ok(None));
}

#[tokio::test]
async fn it_is_held_and_started_again() {
    let bench = up(Stub::new().with(Srv::new("s1", "ACTIVE"))).await;
    let held = bench
        .servers
        .hold(&wanted(Some("s1")), "its zone came back", WITHIN)
        .await
        .unwrap()
        .unwrap();
    assert!(held.held && held.state == ServerState::Stopped, "{held:?}");
    let lock = bench.stub.servers()[0].lock.clone().unwrap();
    assert!(lock.starts_with("rekindle: its zone came back"), "{lock}");
    let started = bench
        .servers
        .start(&wanted(Some("s1")), WITHIN)
        .await
        .unwrap();
    assert!(
        !started.held && started.state == ServerState::Running,
        "{started:?}"
    );
    // What is not there needs no holding, and cannot be started.
    let nobody = Wanted {
        counterpart: None,
        ..wanted(Some("gone"))
    };
    assert_eq!(bench.servers.hold(&nobody, "x", WITHIN).await, Ok(None));
    let words = refused(bench.servers.start(&nobody, WITHIN).await);
    assert!(
        words.contains("web-1 of group shop is not there"),
        "{words}"
    );
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

/// The word of what it was built from was lost, and meanwhile another serves: it is neither taken for that one's, nor doubled.
#[tokio::test]
async fn hard_case_51_one_that_bears_another_mark_is_named_with_both() {
    for (other, bears) in [
        (Srv::new("s2", "SHUTOFF").marked("zone-b/s1"), "zone-b/s1"),
        (Srv::new("s2", "SHUTOFF"), "none"),
    ] {
        let bench = up(Stub::new().with(other)).await;
        let order = BuildOrder {
            wanted: wanted(Some("s2")),
            ..order(StandbyPolicy::Shutoff, json!({}))
        };
        let words = refused(bench.servers.build(&order, WITHIN).await);
        let said = format!("rekindle:standby-of is {bears} where zone-b/s9 is due");
        assert!(words.contains("s2") && words.contains(&said), "{words}");
        assert_eq!(bench.stub.servers().len(), 1);
        assert!(bench.net.ports().is_empty());
    }
}

#[tokio::test]
async fn hard_case_51_a_namesake_is_neither_taken_nor_doubled() {
    let bench = up(Stub::new().with(Srv::new("s1", "ACTIVE").named("web-1"))).await;
    let words = refused(bench.build(StandbyPolicy::Shutoff).await);
    assert!(
        words.contains("s1") && words.contains("nobody's stand-by"),
        "{words}"
    );
    assert_eq!(bench.stub.servers().len(), 1);
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

#[tokio::test]
async fn what_we_built_goes_with_its_ports_and_nothing_else_does() {
    let bench = up(Stub::new().with(Srv::new("s1", "ACTIVE"))).await;
    // A user's server, whatever id we are given.
    let words = refused(bench.servers.remove(&wanted(Some("s1")), WITHIN).await);
    assert!(words.contains("left alone"), "{words}");
    bench.build(StandbyPolicy::Shutoff).await.unwrap();
    // Another server's port with our name on it, one of ours that something has, and another project's that bears all that ours do.
    let mark = "rekindle:shop/web-1/7";
    for (id, project, description, device) in [
        ("another", "p1", "somebody else's", ""),
        ("used", "p1", mark, "s1"),
        ("strange", "p2", mark, ""),
    ] {
        bench.net.0.lock().unwrap().push(json!({ "id": id, "project_id": project, "name": "rekindle-shop-web-1", "description": description, "network_id": "n1", "device_id": device, "status": "DOWN" }));
    }
    bench.servers.remove(&wanted(None), WITHIN).await.unwrap();
    let left: Vec<String> = bench.stub.servers().iter().map(|s| s.id.clone()).collect();
    assert_eq!(left, ["s1"]);
    let ports: Vec<String> = bench
        .net
        .ports()
        .iter()
        .map(|p| p["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ports, ["another", "used", "strange"]);
    // Again, and where it never was.
    bench.servers.remove(&wanted(None), WITHIN).await.unwrap();
    let words = refused(
        bench
            .servers
            .remove(
                &Wanted {
                    counterpart: None,
                    ..wanted(None)
                },
                WITHIN,
            )
            .await,
    );
    assert!(words.contains("left alone"), "{words}");
}

#[tokio::test]
async fn a_record_is_taken_with_names() {
    let mut server = Srv::new("s1", "ACTIVE").named("web-1");
    server.volumes = vec![("v1".to_owned(), true)];
    let bench = up(Stub::new().with(server)).await;
    bench.net.0.lock().unwrap().push(json!({
        "id": "port-9", "network_id": "n1", "mac_address": "fa:16:3e:00:00:09", "device_id": "s1", "status": "ACTIVE",
        "fixed_ips": [{ "subnet_id": "n1-4", "ip_address": "10.0.0.9" }], "security_groups": ["g1"],
    }));
    let some = Wanted {
        counterpart: None,
        ..wanted(Some("s1"))
    };
    let record = bench.servers.record(&some, WITHIN).await.unwrap().unwrap();
    assert_eq!(
        (
            record.name.as_str(),
            record.flavor.name.as_str(),
            record.power
        ),
        ("web-1", "small", PowerWish::Running)
    );
    assert_eq!(
        (
            record.disks[0].volume.id.as_str(),
            record.disks[0].delete_on_termination
        ),
        ("v1", true)
    );
    let port = &record.ports[0];
    assert_eq!(
        (
            port.network.as_str(),
            port.fixed_ips[0].subnet.as_deref(),
            port.security_groups.as_slice()
        ),
        ("front", Some("four"), &["web".to_owned()][..])
    );
    // Names are of the whole cloud, and are not read again for each server.
    bench.servers.record(&some, WITHIN).await.unwrap();
    assert_eq!(bench.fake.asked("GET /network/v2.0/networks").len(), 1);
    let nobody = Wanted {
        counterpart: None,
        ..wanted(Some("gone"))
    };
    assert_eq!(bench.servers.record(&nobody, WITHIN).await, Ok(None));
}
