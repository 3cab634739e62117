use super::{
    judge::judge,
    look::{CloudSeen, Rest},
    *,
};
use jiff::{SignedDuration, Timestamp};
use rekindle_common::{
    ErrorCode, ImageSpec,
    status::VolumeStatus,
    volume::{Known, Lag, Role, VolumeReport},
};
use rekindle_core::{
    catalogue::mapping::{Kind, Project},
    skew::Skew,
};
use rekindle_openstack::{
    BackendPool, Call, Clock, Identity, Quota, QuotaSet, Service, Snapshot, TypeEncryption, Volume,
    VolumeType,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const CONFIG: &str = r#"
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

fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}

fn call() -> Call {
    Call {
        zone: zone("zone-b"),
        what: "GET".to_owned(),
    }
}

fn unauthorized() -> CloudError {
    CloudError::Unauthorized {
        call: call(),
        message: "no".to_owned(),
    }
}

fn silent() -> CloudError {
    CloudError::Unreachable {
        call: call(),
        why: "nobody".to_owned(),
        source: None,
    }
}

fn image(zone_of: &str, id: &str, role: Role) -> VolumeReport {
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
        concerns: Vec::new(),
        in_flight: None,
    }
}

fn volume(id: &str, project: &str) -> Volume {
    serde_json::from_value(json!({
        "id": id, "status": "available", "size": 10, "os-vol-tenant-attr:tenant_id": project,
        "volume_type": "fast",
    }))
    .unwrap()
}

fn fast(specs: &[(&str, &str)]) -> VolumeType {
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

fn quotas(volumes: i64, gigabytes: i64) -> QuotaSet {
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

fn well(prefix: &str) -> Rest {
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
    }
}

fn zone_well(prefix: &str) -> ZoneSeen {
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
struct World {
    config: Config,
    mapping: Mapping,
    a: ZoneSeen,
    b: ZoneSeen,
}

impl World {
    fn new() -> Self {
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
        };
        world.rest_a().volumes = Ok(ids.map(|id| volume(id, "a-shop")).into());
        world
    }
    fn rest_a(&mut self) -> &mut Rest {
        self.a.cloud.as_mut().unwrap().rest.as_mut().unwrap()
    }
    fn rest_b(&mut self) -> &mut Rest {
        self.b.cloud.as_mut().unwrap().rest.as_mut().unwrap()
    }
    fn judged(self) -> Preflight {
        let seen: Seen = [(zone("zone-a"), self.a), (zone("zone-b"), self.b)].into();
        judge(&self.config, &self.mapping, &seen)
    }
}

type Break = fn(&mut World);

#[test]
fn two_zones_that_fit_have_no_gap() {
    let found = World::new().judged();
    assert!(found.is_well(), "{found:#?}");
    let counts = Counts {
        zones: 2,
        volumes: 2,
        projects: 2,
        types: 2,
    };
    assert_eq!(found.counts, counts);
}

fn broken() -> Vec<(&'static str, Break, GapKind, &'static str)> {
    vec![
        (
            "no cloud",
            |w| w.b.cloud = None,
            GapKind::CloudNotConfigured,
            "clouds.zone-b",
        ),
        (
            "sidecar silent",
            |w| w.b.images = Err(ApiError::new(ErrorCode::SidecarUnreachable, "gone")),
            GapKind::SidecarUnreachable,
            "gone",
        ),
        (
            "cloud silent",
            |w| w.refuse(silent()),
            GapKind::CloudUnreachable,
            "nobody",
        ),
        (
            "wrong secret",
            |w| w.refuse(unauthorized()),
            GapKind::WrongSecret,
            "refused",
        ),
        (
            "no administrator at home",
            |w| {
                w.rest_b().services = Err(CloudError::Forbidden {
                    call: call(),
                    message: "policy".to_owned(),
                });
            },
            GapKind::NotAdministrator,
            "policy",
        ),
        (
            "no role in the mapped project",
            |w| {
                w.rest_b()
                    .roles
                    .insert("b-shop".to_owned(), Err(unauthorized()));
            },
            GapKind::NotAdministrator,
            "Default:shop",
        ),
        (
            "sidecar's clock",
            |w| {
                let now = Timestamp::now();
                let off = now + SignedDuration::from_secs(60);
                w.b.sidecar_clock = Some(Skew::measured(off, now, now));
            },
            GapKind::ClockSkew,
            "1m",
        ),
        (
            "keystone's clock",
            |w| {
                if let Some(CloudSeen { home: Ok(me), .. }) = &mut w.b.cloud {
                    me.clock.theirs -= SignedDuration::from_secs(60);
                }
            },
            GapKind::ClockSkew,
            "Keystone",
        ),
        (
            "a mapping to a project that is not there",
            |w| w.entry("projects", "shop", "gone"),
            GapKind::MappedProject,
            "\"gone\"",
        ),
        (
            "no project of the name",
            |w| w.rest_b().projects = Ok(Vec::new()),
            GapKind::UnmappedProject,
            "2 replicated volumes of zone-a",
        ),
        (
            "a disabled project",
            |w| {
                w.rest_b().disabled.insert("b-shop".to_owned());
            },
            GapKind::MappedProject,
            "disabled",
        ),
        (
            "no type of the name",
            |w| w.rest_b().types = Ok(Vec::new()),
            GapKind::MissingType,
            "\"fast\"",
        ),
        (
            "a mapping to a type that is not there",
            |w| w.entry("types", "fast", "gone"),
            GapKind::MissingType,
            "types[0].zone-b",
        ),
        (
            "no mapping of types",
            |w| {
                w.mapping.same_name.remove(&Kind::Types);
            },
            GapKind::UnmappedType,
            "\"fast\"",
        ),
        (
            "a counterpart that is not replicated",
            |w| w.retype(&[("replication_enabled", "<is> False")]),
            GapKind::TypeMismatch,
            "is not replicated",
        ),
        (
            "another mode",
            |w| w.retype(&[("rekindle:mode", "once")]),
            GapKind::TypeMismatch,
            "rekindle:mode: instant and once",
        ),
        (
            "multiattach on one side",
            |w| w.retype(&[("multiattach", "<is> True")]),
            GapKind::TypeMismatch,
            "multiattach: no and yes",
        ),
        (
            "encryption on one side",
            |w| {
                let sealed = TypeEncryption {
                    provider: Some("luks".to_owned()),
                    control_location: None,
                    cipher: None,
                    key_size: Some(256),
                };
                w.rest_b()
                    .encryption
                    .insert("fast".to_owned(), Ok(Some(sealed)));
            },
            GapKind::TypeMismatch,
            "encryption: none and luks",
        ),
        (
            "a type of another backend",
            |w| w.retype(&[("volume_backend_name", "other")]),
            GapKind::TypeMismatch,
            "\"other\"",
        ),
        (
            "a backend that Cinder does not know",
            |w| w.rest_b().pools = Ok(Vec::new()),
            GapKind::Backend,
            "b@ceph#ceph",
        ),
        (
            "a backend that is down",
            |w| {
                if let Ok(all) = &mut w.rest_b().services {
                    all[0].state = "down".to_owned();
                }
            },
            GapKind::Backend,
            "is down",
        ),
        (
            "a pool without a backend",
            |w| {
                w.config
                    .clouds
                    .get_mut(&zone("zone-b"))
                    .unwrap()
                    .backends
                    .clear()
            },
            GapKind::Backend,
            "pool volumes",
        ),
        (
            "too few volumes",
            |w| w.quota(quotas(1, 1000)),
            GapKind::Quota,
            "2 more volumes",
        ),
        (
            "too few gigabytes",
            |w| w.quota(quotas(10, 19)),
            GapKind::Quota,
            "20 more gigabytes",
        ),
        (
            "a snapshot is too much",
            |w| {
                w.quota(quotas(10, 29));
                w.rest_a().snapshots = Ok(vec![snapshot("s1", "v1", json!({}))]);
            },
            GapKind::Quota,
            "30 more gigabytes",
        ),
        (
            "a key without a counterpart",
            |w| {
                if let Ok(all) = &mut w.rest_a().volumes {
                    all[0].encryption_key_id = Some("k1".to_owned());
                }
            },
            GapKind::UnmappedKey,
            "\"k1\"",
        ),
    ]
}

fn snapshot(id: &str, of: &str, metadata: serde_json::Value) -> Snapshot {
    let row = json!({ "id": id, "volume_id": of, "status": "available", "size": 10, "metadata": metadata });
    serde_json::from_value(row).unwrap()
}

impl World {
    fn refuse(&mut self, e: CloudError) {
        self.b.cloud = Some(CloudSeen {
            home: Err(e),
            rest: None,
        });
    }
    fn entry(&mut self, kind: &str, a: &str, b: &str) {
        let entry = BTreeMap::from([
            (zone("zone-a"), a.to_owned()),
            (zone("zone-b"), b.to_owned()),
        ]);
        match kind {
            "projects" => self.mapping.projects.push(entry),
            _ => self.mapping.types.push(entry),
        }
    }
    fn retype(&mut self, specs: &[(&str, &str)]) {
        self.rest_b().types = Ok(vec![fast(specs)]);
    }
    fn quota(&mut self, quota: QuotaSet) {
        self.rest_b().quotas.insert("b-shop".to_owned(), Ok(quota));
    }
}

#[test]
fn hard_case_52_every_gap_is_named_with_what_to_do() {
    for (name, break_it, kind, word) in broken() {
        let mut world = World::new();
        break_it(&mut world);
        let found = world.judged();
        let gap = found
            .gaps
            .iter()
            .find(|g| g.kind == kind && g.what.contains(word));
        let gap = gap.unwrap_or_else(|| panic!("{name}: {found:#?}"));
        assert!(!gap.advice.is_empty(), "{name}");
        if kind.is_silence() {
            assert!(!found.unchecked.is_empty(), "{name}: {found:#?}");
        }
    }
}

#[test]
fn what_did_not_answer_is_unchecked_and_never_well() {
    let breaks: [Break; 4] = [
        |w| w.rest_b().volumes = Err(silent()),
        |w| w.rest_b().snapshots = Err(silent()),
        |w| {
            w.rest_b().quotas.insert("b-shop".to_owned(), Err(silent()));
        },
        |w| {
            w.rest_b()
                .encryption
                .insert("fast".to_owned(), Err(silent()));
        },
    ];
    for (n, break_it) in breaks.into_iter().enumerate() {
        let mut world = World::new();
        break_it(&mut world);
        let found = world.judged();
        assert!(
            !found.is_well() && !found.unchecked.is_empty(),
            "{n}: {found:#?}"
        );
    }
}

#[test]
fn what_has_its_record_needs_no_more_quota() {
    let mut world = World::new();
    world.quota(quotas(1, 10));
    let record = Volume {
        name_id: Some("v2".to_owned()),
        ..volume("another", "b-shop")
    };
    world.rest_b().volumes = Ok(vec![record]);
    world.rest_a().snapshots = Ok(vec![snapshot("s1", "v1", json!({}))]);
    let known = json!({ "rekindle:snapshot": "snapshot-s1" });
    world.rest_b().snapshots = Ok(vec![snapshot("another", "another", known)]);
    let found = world.judged();
    assert!(found.is_well(), "{found:#?}");
}

#[test]
fn the_way_back_is_checked_as_well() {
    let mut world = World::new();
    // After a failover: zone-b serves, zone-a has the copies and nobody's record of a third.
    world.a.images = Ok(vec![image("zone-a", "v3", Role::Secondary)]);
    world.b.images = Ok(vec![image("zone-b", "v3", Role::Primary)]);
    world.rest_b().volumes = Ok(vec![volume("v3", "b-shop")]);
    let none = quotas(0, 1000);
    world.rest_a().quotas.insert("a-shop".to_owned(), Ok(none));
    let found = world.judged();
    let zones: Vec<_> = found
        .gaps
        .iter()
        .map(|g| (g.kind, g.zone.clone()))
        .collect();
    assert_eq!(zones, [(GapKind::Quota, Some(zone("zone-a")))]);
}
