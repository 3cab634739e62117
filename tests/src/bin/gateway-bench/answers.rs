//! What the stub answers: Cinder's volumes, snapshots and types in the form that a real one gave to a member at microversion 3.70 (`--real`
//! compares the fields), a token of Keystone's for the gateway's own account, and the sidecar's list.

use serde_json::{Value, json};
use std::{borrow::Cow, net::SocketAddr};

/// As many as Cinder gives at once (`osapi_max_limit`).
pub(crate) const MANY: usize = 1000;
/// Whose they are.
pub(crate) const PROJECT: &str = "7a1f6c0e5f9b4d0c8a1be2b0c93d5a4e";
const USER: &str = "2b6e0f3d9c1a4e57b8d3f6a09c2e1d48";
const TYPE: &str = "5d0f8f0e-7f5b-4a53-9f0e-2b6d1c3a4e5f";
const REQUEST: &str = "req-5e1d0000-0000-4000-8000-000000000001";

/// Whole answers, heads and bodies.
#[derive(Debug)]
pub(crate) struct Answers {
    types: Vec<u8>,
    taken: Vec<u8>,
    snapshots: Vec<u8>,
    volumes: Vec<u8>,
    volume: Vec<u8>,
    versions: Vec<u8>,
    token: Vec<u8>,
    reports: Vec<u8>,
}

/// A volume's id.
pub(crate) fn id(n: usize) -> String {
    format!("9d2a4c1e-0000-4000-8000-{n:012}")
}

fn links(kind: &str, id: &str) -> Value {
    let base = "http://volumes.example";
    json!([
        { "rel": "self", "href": format!("{base}/v3/{PROJECT}/{kind}/{id}") },
        { "rel": "bookmark", "href": format!("{base}/{PROJECT}/{kind}/{id}") },
    ])
}

/// In detail, as a member sees it.
pub(crate) fn volume(n: usize) -> Value {
    let id = id(n);
    json!({
        "id": id, "status": "available", "size": 10, "availability_zone": "nova",
        "created_at": "2026-11-26T10:00:00.000000", "updated_at": "2026-11-26T10:00:01.000000",
        "name": format!("a-volume-of-somebody-{n}"), "description": "what it is for", "volume_type": "replicated",
        "snapshot_id": null, "source_volid": null, "metadata": { "purpose": "database", "owner": "somebody" },
        "links": links("volumes", &id), "user_id": USER, "bootable": "false", "encrypted": false,
        "replication_status": null, "consistencygroup_id": null, "multiattach": false, "attachments": [],
        "group_id": null, "shared_targets": false,
        "service_uuid": "6f0b1d7c-3a52-4a83-8a8b-0d1f2e3c4b5a", "volume_type_id": TYPE,
        "os-vol-tenant-attr:tenant_id": PROJECT, "consumes_quota": true,
    })
}

fn snapshot(n: usize) -> Value {
    json!({
        "id": format!("4c1e9d2a-0000-4000-8000-{n:012}"), "name": format!("a-snapshot-{n}"), "description": null,
        "volume_id": id(n), "status": "available", "size": 10, "metadata": { "kept": "a week" },
        "created_at": "2026-11-26T10:00:00.000000", "updated_at": "2026-11-26T10:00:01.000000",
        "os-extended-snapshot-attributes:project_id": PROJECT,
        "os-extended-snapshot-attributes:progress": "100%",
        "group_snapshot_id": null, "user_id": USER, "consumes_quota": true,
    })
}

fn volume_type(n: usize) -> Value {
    json!({
        "id": format!("5d0f8f0e-7f5b-4a53-9f0e-{n:012}"), "name": format!("replicated-{n}"), "is_public": true,
        "description": "on Ceph, with a copy in the other zone", "extra_specs": { "replication_enabled": "<is> True" },
        "qos_specs_id": null, "os-volume-type-access:is_public": true,
    })
}

fn report(n: usize) -> Value {
    json!({
        "volume": format!("volumes/volume-{}", id(n)), "zone": "zone-a", "group": null, "status": "active - primary",
        "role": "primary", "mode": { "mode": "instant" }, "mirror_mode": "journal", "size": 10_u64 << 30, "last_sync": null,
        "lag": { "kind": "none" }, "complete_copy": "yes", "local": null, "peer": null, "peer_primary": "no", "concerns": [],
        "in_flight": null,
    })
}

fn all(of: fn(usize) -> Value) -> Vec<Value> {
    (0..MANY).map(of).collect()
}

/// In the form of Cinder behind uwsgi, without the closing of each connection.
fn answer(status: &str, more: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\nOpenStack-API-Version: volume 3.70\r\nVary: OpenStack-API-Version\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{more}x-compute-request-id: {REQUEST}\r\nx-openstack-request-id: {REQUEST}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn token(address: SocketAddr) -> Value {
    let url = format!("http://{address}/volume/v3/service");
    json!({ "token": {
        "issued_at": "2026-11-25T10:00:00.000000Z", "expires_at": "2036-11-25T11:00:00.000000Z",
        "user": { "id": "own", "name": "own" }, "project": { "id": "service", "name": "service" },
        "roles": [{ "id": "r", "name": "admin" }],
        "catalog": [{ "type": "block-storage", "endpoints": [{ "interface": "public", "region": "R", "url": url }] }],
    }})
}

impl Answers {
    /// Of a stub at that address.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let ok = |body: Value| answer("200 OK", "", &body);
        let few: Vec<Value> = (0..3).map(volume_type).collect();
        Self {
            types: ok(json!({ "volume_types": few })),
            taken: answer(
                "202 Accepted",
                "",
                &json!({ "volume_type": volume_type(0) }),
            ),
            snapshots: ok(json!({ "snapshots": all(snapshot) })),
            volumes: ok(json!({ "volumes": all(volume) })),
            volume: ok(json!({ "volume": volume(0) })),
            versions: answer(
                "300 Multiple Choices",
                "",
                &json!({ "versions": [{ "id": "v3.0", "version": "3.70" }] }),
            ),
            token: answer(
                "201 Created",
                "X-Subject-Token: own-token\r\n",
                &token(address),
            ),
            reports: ok(json!({ "volumes": all(report), "next": null })),
        }
    }

    /// To a request with that first line. `None`: it is none that anybody sends here.
    pub(crate) fn to(&self, line: &str) -> Option<Cow<'_, [u8]>> {
        let mut words = line.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let own = path
            .strip_prefix("/v3/")
            .and_then(|p| p.strip_prefix(PROJECT));
        Some(Cow::Borrowed(match (method, path, own) {
            ("GET", _, Some("/types")) => &self.types,
            ("POST", _, Some("/types")) => &self.taken,
            ("GET", _, Some("/snapshots/detail")) => &self.snapshots,
            ("GET", _, Some("/volumes/detail")) => &self.volumes,
            ("GET", _, Some(one)) if one.starts_with("/volumes/") => &self.volume,
            ("POST", "/v3/auth/tokens", _) => &self.token,
            ("GET", "/volume/v3/", _) => &self.versions,
            ("GET", "/volume/v3/service/volumes/detail", _) => {
                return Some(Cow::Owned(answer("200 OK", "", &as_admin(query))));
            }
            ("GET", "/v1/volumes", _) => &self.reports,
            (_, _, _) => return None,
        }))
    }
}

/// Those of the volumes whose ids are in a query, with what administrators are told of them.
fn as_admin(query: &str) -> Value {
    let asked = (0..MANY).map(id).filter(|id| query.contains(id.as_str()));
    let told = asked.map(|id| {
        json!({
            "id": id, "status": "available", "size": 10, "os-vol-tenant-attr:tenant_id": PROJECT,
            "os-vol-host-attr:host": "h@ceph#ceph", "os-vol-mig-status-attr:name_id": null,
        })
    });
    json!({ "volumes": told.collect::<Vec<_>>() })
}
