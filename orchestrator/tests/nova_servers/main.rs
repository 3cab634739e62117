//! A zone's servers through a real client: against a Nova and a Neutron that keep what they are told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

mod building;
#[path = "../../../common/openstack/tests/fake/mod.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod fake;
mod found;
mod marked;

use fake::{
    Asked, Fake, Say,
    nova::{Fault, Srv, Stub},
};
use rekindle_common::{
    GroupName, ServerKey, duration::Span, runbook::StandbyPolicy, servers::ServerRecord,
};
use rekindle_orchestrator::servers::{
    control::{BuildOrder, Seen, ServerState, Servers, ServersError, Wanted},
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
                { "id": "n1", "name": "front", "project_id": "p1", "port_security_enabled": true }, { "id": "n2", "name": "twin", "project_id": "p1" }, { "id": "n3", "name": "twin", "project_id": "p1" },
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
        json!({ "flavors": [
            { "id": "f1", "name": "small", "vcpus": 1, "ram": 512 }, { "id": "f2", "name": "big", "vcpus": 4, "ram": 512 },
        ] }),
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
