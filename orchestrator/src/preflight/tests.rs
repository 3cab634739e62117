pub(super) mod world;

use super::{look::CloudSeen, *};
use jiff::{SignedDuration, Timestamp};
use rekindle_common::{ErrorCode, volume::Role};
use rekindle_core::{catalogue::mapping::Kind, skew::Skew};
use rekindle_openstack::{Service, TypeEncryption, Volume};
use serde_json::json;
use world::{
    World, call, forbidden, image, no_service, not_found, quotas, silent, snapshot, unauthorized,
    volume, zone,
};

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
        servers: 0,
    };
    assert_eq!(found.counts, counts);
}

/// zone-b's cinder-volume as two in a cluster, and the configuration with the cluster's name.
fn clustered(w: &mut World) -> Vec<Service> {
    let pool = "both@ceph#ceph".to_owned();
    let cloud = w.config.clouds.get_mut(&zone("zone-b")).unwrap();
    cloud.backends.insert("volumes".to_owned(), pool.clone());
    let rest = w.rest_b();
    rest.pools.as_mut().unwrap()[0].name = pool;
    let one = rest.services.as_ref().unwrap()[0].clone();
    ["b@ceph", "b-2@ceph"]
        .map(|host| Service {
            host: host.to_owned(),
            cluster: Some("both@ceph".to_owned()),
            ..one.clone()
        })
        .into()
}

#[test]
fn of_a_cluster_one_member_is_enough() {
    let mut world = World::new();
    let mut all = clustered(&mut world);
    all[0].state = "down".to_owned();
    world.rest_b().services = Ok(all);
    let found = world.judged();
    assert!(found.is_well(), "{found:#?}");
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
            "another start",
            |w| w.retype(&[("rekindle:start", "2026-01-01T00:00:00Z")]),
            GapKind::TypeMismatch,
            "rekindle:start: 1970-01-01T00:00:00Z and 2026-01-01T00:00:00Z",
        ),
        (
            "a group on one side",
            |w| w.retype(&[("rekindle:group", "shop")]),
            GapKind::TypeMismatch,
            "rekindle:group: none and shop",
        ),
        (
            "another end of deleted volumes",
            |w| w.retype(&[("rekindle:on_delete", "keep")]),
            GapKind::TypeMismatch,
            "rekindle:on_delete: delete:0s and keep",
        ),
        (
            "what makes no sense, beside what does",
            |w| w.retype(&[("rekindle:interval", "often")]),
            GapKind::TypeMismatch,
            "rekindle:interval: none and often",
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
            "a cluster of which no member is up",
            |w| {
                let mut all = clustered(w);
                for s in &mut all {
                    s.state = "down".to_owned();
                }
                w.rest_b().services = Ok(all);
            },
            GapKind::Backend,
            "no cinder-volume of the cluster both@ceph is up and enabled, of 2",
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
        (
            "a key that is not there",
            |w| w.key(Err(not_found())),
            GapKind::MissingKey,
            "k2 of project Default:shop, is not there",
        ),
        (
            "a key that is not active",
            |w| w.key(Ok(Some("is PENDING and not ACTIVE".to_owned()))),
            GapKind::MissingKey,
            "is PENDING",
        ),
        (
            "no key manager",
            |w| w.key(Err(no_service())),
            GapKind::KeyManager,
            "its catalogue has no Barbican",
        ),
        (
            "a key manager that shows us nothing",
            |w| w.key(Err(forbidden())),
            GapKind::KeyManager,
            "is not shown to us",
        ),
        (
            "no role in the key's project",
            |w| w.key(Err(unauthorized())),
            GapKind::KeyManager,
            "is not shown to us",
        ),
    ]
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
fn what_is_written_in_another_way_is_no_difference() {
    let mut world = World::new();
    let ours = [
        ("rekindle:mode", "periodic"),
        ("rekindle:interval", "1h"),
        ("rekindle:start", "1970-01-01T01:00:00+01:00"),
        ("rekindle:on_delete", "delete:7d"),
    ];
    let theirs = [
        ("rekindle:mode", "periodic"),
        ("rekindle:interval", "60m"),
        ("rekindle:on_delete", "delete:168h"),
    ];
    world.rest_a().types = Ok(vec![world::fast(&ours)]);
    world.retype(&theirs);
    let found = world.judged();
    assert!(found.is_well(), "{found:#?}");
}

#[test]
fn what_did_not_answer_is_unchecked_and_never_well() {
    let breaks: [Break; 6] = [
        |w| w.key(Err(silent())),
        // More than are asked for, or asked for before the volume was there.
        |w| {
            w.key(Ok(None));
            w.rest_b().keys.clear();
        },
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
fn hard_case_39_a_key_that_is_there_is_well_and_a_groups_own_are_looked_at_by_the_daily_check() {
    let mut world = World::new();
    world.key(Ok(None));
    let found = world.judged();
    assert!(found.is_well(), "{found:#?}");

    let daily = |of: &str| {
        let mut world = World::new();
        world.key(Err(not_found()));
        world.judged_keys(of)
    };
    assert_eq!(daily("v1").gaps[0].kind, GapKind::MissingKey);
    assert!(daily("v2").is_well());
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
