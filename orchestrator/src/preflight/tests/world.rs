//! Two zones that fit, to be broken.

use super::super::{
    judge::{Judge, judge},
    look::{CloudSeen, Rest},
    servers::ServersSeen,
    *,
};
use jiff::Timestamp;
use rekindle_common::{
    ImageSpec,
    status::VolumeStatus,
    volume::{Known, Lag, Role, VolumeReport},
};
use rekindle_core::{
    catalogue::mapping::{Kind, Project},
    skew::Skew,
};
use rekindle_openstack::{
    BackendPool, Call, Clock, Identity, Quota, QuotaSet, Service, Snapshot, Volume, VolumeType,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

pub(in crate::preflight) const CONFIG: &str = r#"
site = "witness"
[sites]
zone-a = "https://192.0.2.1:7400"
zone-b = "https://192.0.2.2:7400"
witness = "https://192.0.2.3:7400"
[zones.zone-a]
sidecar = "https://192.0.2.1:7300"
ceph_mons = ["192.0.2.1:3300"]
[zones.zone-b]
sidecar = "https://192.0.2.2:7300"
ceph_mons = ["192.0.2.2:3300"]
[listen]
tcp = "192.0.2.3:7400"
tls = { ca = "a", cert = "b", key = "c" }
[etcd]
endpoints = ["https://192.0.2.1:2379"]
[clouds.zone-a]
auth_url = "http://192.0.2.1:5000/v3"
username = "rekindle"
password_file = "/none"
project = "service"
backends = { volumes = "a@ceph#ceph" }
[clouds.zone-b]
auth_url = "http://192.0.2.2:5000/v3"
username = "rekindle"
password_file = "/none"
project = "service"
backends = { volumes = "b@ceph#ceph" }
[catalogue]
mapping = "/none"
"#;

pub(in crate::preflight) fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}

pub(in crate::preflight) fn call() -> Call {
    Call {
        zone: zone("zone-b"),
        what: "GET".to_owned(),
    }
}

pub(in crate::preflight) fn unauthorized() -> CloudError {
    CloudError::Unauthorized {
        call: call(),
        message: "no".to_owned(),
    }
}

pub(in crate::preflight) fn silent() -> CloudError {
    CloudError::Unreachable {
        call: call(),
        why: "nobody".to_owned(),
        source: None,
    }
}

pub(in crate::preflight) fn not_found() -> CloudError {
    CloudError::NotFound {
        call: call(),
        message: "no".to_owned(),
    }
}

pub(in crate::preflight) fn forbidden() -> CloudError {
    CloudError::Forbidden {
        call: call(),
        message: "no".to_owned(),
    }
}

pub(in crate::preflight) fn no_service() -> CloudError {
    CloudError::Config {
        zone: zone("zone-b"),
        field: "auth_url".to_owned(),
        why: "its catalogue has no Barbican v1".to_owned(),
        source: None,
    }
}

pub(in crate::preflight) fn image(zone_of: &str, id: &str, role: Role) -> VolumeReport {
    VolumeReport {
        volume: ImageSpec::new("volumes", format!("volume-{id}")).unwrap(),
        zone: zone(zone_of),
        group: None,
        status: VolumeStatus::ActivePrimary,
        role,
        mode: None,
        mirror_mode: None,
        size: None,
        last_sync: None,
        lag: Lag::None,
        complete_copy: Known::Yes,
        local: None,
        peer: None,
        peer_primary: Known::No,
        demotion: None,
        forced: None,
        cinder: None,
        on_delete: None,
        deletion: None,
        concerns: Vec::new(),
        in_flight: None,
    }
}

pub(in crate::preflight) fn volume(id: &str, project: &str) -> Volume {
    serde_json::from_value(json!({
        "id": id, "status": "available", "size": 10, "os-vol-tenant-attr:tenant_id": project,
        "volume_type": "fast",
    }))
    .unwrap()
}

pub(in crate::preflight) fn fast(specs: &[(&str, &str)]) -> VolumeType {
    let usual = [
        ("replication_enabled", "<is> True"),
        ("volume_backend_name", "ceph"),
    ];
    VolumeType {
        id: "t1".to_owned(),
        name: "fast".to_owned(),
        is_public: true,
        extra_specs: usual
            .iter()
            .chain(specs)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    }
}

pub(in crate::preflight) fn quotas(volumes: i64, gigabytes: i64) -> QuotaSet {
    let one = |limit| Quota {
        limit,
        in_use: 0,
        reserved: 0,
    };
    let all = [
        ("volumes", volumes),
        ("gigabytes", gigabytes),
        ("snapshots", -1),
        ("volumes_fast", -1),
    ];
    QuotaSet(
        all.into_iter()
            .map(|(n, l)| (n.to_owned(), one(l)))
            .collect(),
    )
}

pub(in crate::preflight) fn well(prefix: &str) -> Rest {
    let host = format!("{prefix}@ceph");
    let shop = format!("{prefix}-shop");
    Rest {
        projects: Ok(vec![Project {
            id: shop.clone(),
            name: "shop".to_owned(),
            domain_id: "default".to_owned(),
            domain: "Default".to_owned(),
        }]),
        disabled: BTreeSet::new(),
        types: Ok(vec![fast(&[])]),
        services: Ok(vec![Service {
            binary: "cinder-volume".to_owned(),
            host: host.clone(),
            cluster: None,
            status: "enabled".to_owned(),
            state: "up".to_owned(),
            replication_status: None,
            active_backend_id: None,
            frozen: false,
        }]),
        pools: Ok(vec![BackendPool {
            name: format!("{host}#ceph"),
            capabilities: [("volume_backend_name".to_owned(), json!("ceph"))]
                .into_iter()
                .collect(),
        }]),
        volumes: Ok(Vec::new()),
        snapshots: Ok(Vec::new()),
        encryption: [("fast".to_owned(), Ok(None))].into(),
        roles: [(shop.clone(), Ok(vec!["admin".to_owned()]))].into(),
        quotas: [(shop, Ok(quotas(10, 1000)))].into(),
        keys: BTreeMap::new(),
    }
}

pub(in crate::preflight) fn zone_well(prefix: &str) -> ZoneSeen {
    let now = Timestamp::now();
    ZoneSeen {
        images: Ok(Vec::new()),
        sidecar_clock: Some(Skew::measured(now, now, now)),
        cloud: Some(CloudSeen {
            home: Ok(Identity {
                user_id: "u".to_owned(),
                project_id: "p".to_owned(),
                project_name: "service".to_owned(),
                roles: vec!["admin".to_owned()],
                clock: Clock {
                    theirs: now,
                    asked: now,
                    answered: now,
                },
            }),
            rest: Some(well(prefix)),
        }),
    }
}

/// Two zones that are well, with two volumes of `shop` in zone-a, of which zone-b has no records yet.
pub(in crate::preflight) struct World {
    pub(in crate::preflight) config: Config,
    pub(in crate::preflight) mapping: Mapping,
    pub(in crate::preflight) a: ZoneSeen,
    pub(in crate::preflight) b: ZoneSeen,
    pub(in crate::preflight) servers: ServersSeen,
}

impl World {
    pub(in crate::preflight) fn new() -> Self {
        let mut a = zone_well("a");
        let mut b = zone_well("b");
        let ids = ["v1", "v2"];
        a.images = Ok(ids.map(|id| image("zone-a", id, Role::Primary)).into());
        b.images = Ok(ids.map(|id| image("zone-b", id, Role::Secondary)).into());
        let mut world = Self {
            config: toml::from_str(CONFIG).unwrap(),
            mapping: Mapping {
                same_name: [Kind::Projects, Kind::Types].into(),
                ..Mapping::default()
            },
            a,
            b,
            servers: ServersSeen::default(),
        };
        world.rest_a().volumes = Ok(ids.map(|id| volume(id, "a-shop")).into());
        world
    }
    pub(in crate::preflight) fn rest_a(&mut self) -> &mut Rest {
        self.a.cloud.as_mut().unwrap().rest.as_mut().unwrap()
    }
    pub(in crate::preflight) fn rest_b(&mut self) -> &mut Rest {
        self.b.cloud.as_mut().unwrap().rest.as_mut().unwrap()
    }
    /// The first volume is encrypted, its key is k2 in zone-b, and that is what was heard of it there.
    pub(in crate::preflight) fn key(&mut self, heard: Result<Option<String>, CloudError>) {
        if let Ok(all) = &mut self.rest_a().volumes {
            all[0].encryption_key_id = Some("k1".to_owned());
        }
        let ids = [("zone-a", "k1"), ("zone-b", "k2")];
        let entry = ids.map(|(z, id)| (zone(z), id.to_owned()));
        self.mapping.keys.push(entry.into());
        let key = ("b-shop".to_owned(), "k2".to_owned());
        self.rest_b().keys.insert(key, heard);
    }
    /// Of that volume alone, as a group's daily check does it.
    pub(in crate::preflight) fn judged_keys(self, volume: &str) -> Preflight {
        let seen: Seen = [(zone("zone-a"), self.a), (zone("zone-b"), self.b)].into();
        let mut judge = Judge::new(&self.config, &self.mapping, &seen);
        judge.keys_of(&[volume.to_owned()].into());
        judge.found()
    }
    pub(in crate::preflight) fn judged(self) -> Preflight {
        let seen: Seen = [(zone("zone-a"), self.a), (zone("zone-b"), self.b)].into();
        judge(&self.config, &self.mapping, &seen, &self.servers)
    }
}

pub(in crate::preflight) fn snapshot(id: &str, of: &str, metadata: serde_json::Value) -> Snapshot {
    let row = json!({ "id": id, "volume_id": of, "status": "available", "size": 10, "metadata": metadata });
    serde_json::from_value(row).unwrap()
}

impl World {
    pub(in crate::preflight) fn refuse(&mut self, e: CloudError) {
        self.b.cloud = Some(CloudSeen {
            home: Err(e),
            rest: None,
        });
    }
    pub(in crate::preflight) fn entry(&mut self, kind: &str, a: &str, b: &str) {
        let entry = BTreeMap::from([
            (zone("zone-a"), a.to_owned()),
            (zone("zone-b"), b.to_owned()),
        ]);
        match kind {
            "projects" => self.mapping.projects.push(entry),
            _ => self.mapping.types.push(entry),
        }
    }
    pub(in crate::preflight) fn retype(&mut self, specs: &[(&str, &str)]) {
        self.rest_b().types = Ok(vec![fast(specs)]);
    }
    pub(in crate::preflight) fn quota(&mut self, quota: QuotaSet) {
        self.rest_b().quotas.insert("b-shop".to_owned(), Ok(quota));
    }
}
