//! Nova's calls against a server that misbehaves: lists are whole or an error, refusals say what to do, and no secret is shown.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod fake;

use fake::{
    Fake, Say,
    nova::{Fault, Srv, Stub},
};
use rekindle_common::duration::Span;
use rekindle_openstack::{
    CloudError, Microversion, Nova, Scope, ServerError,
    nova::{
        Attach, Disk, Found, Mark, Network, Nic, Patience, Refusal, ServerRequest, ServiceState,
        ServiceStatus, UserData, Whose,
    },
};
use serde_json::json;
use std::{collections::BTreeMap, sync::atomic::Ordering};

fn nova(fake: &Fake) -> Nova {
    fake.cloud("timeout = \"1s\"").nova(Scope::Home)
}

fn mark() -> Mark {
    Mark {
        zone: "zone-a".into(),
        server: "s0".into(),
    }
}

fn request() -> ServerRequest {
    ServerRequest {
        name: "shop".into(),
        flavor: "f1".into(),
        disks: vec![Disk {
            volume: "v9".into(),
            boot_index: Some(0),
            device: None,
            tag: None,
        }],
        network: Network::None,
        security_groups: Vec::new(),
        key_name: None,
        availability_zone: None,
        metadata: BTreeMap::new(),
        tags: ["protected".to_owned()].into(),
        user_data: Some(UserData("c2VjcmV0LW9mLXVzZXJz".into())),
        config_drive: true,
        server_group: None,
        description: None,
    }
}

#[tokio::test]
async fn the_microversion_is_agreed_once_and_an_older_nova_is_said_with_both_numbers() {
    let stub = Stub::new().with(Srv::new("s1", "ACTIVE"));
    let fake = Fake::cinder(stub.script()).await;
    let cloud = fake.cloud("");
    for _ in 0..3 {
        cloud.nova(Scope::Home).server("s1").await.unwrap();
    }
    assert_eq!(fake.asked("GET /compute/v2.1/ ").len(), 1);
    let asked = fake.asked("GET /compute/v2.1/servers/s1 ");
    assert!(
        asked[0]
            .head
            .contains("openstack-api-version: compute 2.96")
    );
    let spoken = cloud.nova(Scope::Home).microversion().await.unwrap();
    assert_eq!(spoken, Microversion(2, 96));

    fake.keystone.nova.store(78, Ordering::SeqCst);
    let e = nova(&fake).server("s1").await.unwrap_err();
    let text = e.to_string();
    assert!(text.contains("2.78") && text.contains("2.79"), "{text}");

    // One that is new enough for all but one call: that call names itself.
    fake.keystone.nova.store(79, Ordering::SeqCst);
    stub.change("s1", |s| s.volumes[0].1 = true);
    let nova = nova(&fake);
    nova.server("s1").await.unwrap();
    match nova.keep_volumes("s1").await {
        Err(e @ ServerError::TooOld { has, needs, .. }) => {
            assert_eq!((has, needs), (Microversion(2, 79), Microversion(2, 85)));
            assert!(e.to_string().contains("keeping a volume"), "{e}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked("PUT").len(), 0);
}

fn many(n: u32) -> Stub {
    let stub = Stub::new();
    (0..n).fold(stub, |stub, n| {
        let server = Srv::new(&format!("s{n}"), "SHUTOFF");
        stub.with(server.marked(&format!("zone-a/o{n}")))
    })
}

#[tokio::test]
async fn ten_thousand_servers_come_in_pages_and_one_more_is_too_many() {
    let fake = Fake::cinder(many(10_000).script()).await;
    let nova = fake.cloud("timeout = \"60s\"").nova(Scope::Home);
    let all = nova.servers(Whose::All, 10_000).await.unwrap();
    assert_eq!(all.len(), 10_000);
    assert_eq!(all[9_999].mark().unwrap().server, "o9999");
    let pages = fake.asked("/servers/detail");
    assert_eq!(pages.len(), 20);
    assert!(pages[0].line.contains("all_tenants=1"), "{:?}", pages[0]);
    assert!(pages[0].line.contains("sort_key=created_at&sort_dir=asc"));
    assert!(pages[1].line.contains("&marker=s499"), "{:?}", pages[1]);
    let e = nova.servers(Whose::Project, 9_999).await.unwrap_err();
    assert!(
        matches!(e, CloudError::TooMany { most: 9_999, .. }),
        "{e:?}"
    );
    let own = &fake.asked("/servers/detail")[20];
    assert!(!own.line.contains("all_tenants"), "{own:?}");
}

#[tokio::test]
async fn a_cut_page_is_read_again_and_a_list_that_stays_cut_is_an_error() {
    let cut = Fault::Instead(Say::Truncated);
    let fake = Fake::cinder(many(3).fault("/servers/detail", 2, cut.clone()).script()).await;
    let patient = fake.cloud("").nova(Scope::Home);
    assert_eq!(patient.servers(Whose::All, 10).await.unwrap().len(), 3);
    let fake = Fake::cinder(many(3).fault("/servers/detail", 99, cut).script()).await;
    let e = nova(&fake).servers(Whose::All, 10).await.unwrap_err();
    assert!(matches!(e, CloudError::Broken { .. }), "{e:?}");
}

#[tokio::test]
async fn a_server_that_comes_again_counts_once_and_a_list_that_goes_round_ends() {
    let row = |id: &str, status: &str| format!(r#"{{"id":"{id}","name":"n","status":"{status}"}}"#);
    let page = |rows: &[String], more: bool| {
        let links = if more {
            r#","servers_links":[{"rel":"next"}]"#
        } else {
            ""
        };
        Say::ok(format!(r#"{{"servers":[{}]{links}}}"#, rows.join(",")))
    };
    let services = Say::ok(r#"{"services":[]}"#);
    // One that is being built is shown first, and again at its place in the order.
    let (first, second) = (
        page(&[row("new", "BUILD"), row("s1", "ACTIVE")], true),
        page(&[row("s2", "ACTIVE"), row("new", "ACTIVE")], false),
    );
    let end = services.clone();
    let fake = Fake::cinder(move |n, _| [&first, &second, &end][n].clone()).await;
    let all = nova(&fake).servers(Whose::All, 3).await.unwrap();
    let seen: Vec<String> = all
        .iter()
        .map(|s| format!("{} {}", s.id, s.status))
        .collect();
    assert_eq!(seen, ["new ACTIVE", "s1 ACTIVE", "s2 ACTIVE"]);

    let same = page(&[row("s1", "ACTIVE")], true);
    let fake = Fake::cinder(move |_, _| same.clone()).await;
    match nova(&fake).servers(Whose::All, 100).await {
        Err(CloudError::Unexpected { why, .. }) => assert!(why.contains("goes round"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked("/servers/detail").len(), 2);
}

#[tokio::test]
async fn a_cell_that_does_not_answer_makes_no_list_shorter_in_silence() {
    let down = json!({ "services": [
        { "id": "x", "binary": "nova-compute", "host": "h1", "status": "enabled", "state": "up" },
        { "binary": "nova-compute", "host": "h2", "status": "UNKNOWN" },
    ]});
    let hidden = Srv::new("s2", "UNKNOWN");
    let stub = many(1).with(hidden.clone()).says("/os-services", down);
    let fake = Fake::cinder(stub.script()).await;
    let e = nova(&fake).servers(Whose::All, 10).await.unwrap_err();
    assert!(e.is_passing() && e.to_string().contains("h2"), "{e}");
    let services = nova(&fake).services().await.unwrap();
    assert_eq!(services[0].state, Some(ServiceState::Up));
    assert_eq!(
        (&services[1].status, &services[1].state),
        (&ServiceStatus::Unknown, &None)
    );

    // Who may not see services is shown the servers themselves.
    let fake = Fake::cinder(many(1).with(hidden).member().script()).await;
    let e = nova(&fake).servers(Whose::Project, 10).await.unwrap_err();
    assert!(e.to_string().contains("s2"), "{e}");
    let fake = Fake::cinder(many(2).member().script()).await;
    assert_eq!(
        nova(&fake).servers(Whose::Project, 10).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn ours_is_found_by_its_mark_and_its_root_volume_and_never_by_its_name() {
    let stub = Stub::new()
        .with(Srv::new("s1", "ACTIVE").named("shop"))
        .with(
            Srv::new("s2", "ACTIVE")
                .named("renamed")
                .marked("zone-a/s0")
                .on("v9"),
        )
        .with(Srv::new("s4", "ACTIVE").marked("zone-a/s0").on("v4"))
        .with(
            Srv::new("s3", "ACTIVE")
                .named("shop")
                .marked("zone-a/other"),
        );
    let fake = Fake::cinder(stub.script()).await;
    let nova = nova(&fake);
    match nova.find(&mark(), "v9", "shop", 10).await.unwrap() {
        Found::One(server) => assert_eq!(server.id, "s2"),
        other => panic!("{other:?}"),
    }
    let none = Mark {
        server: "none".into(),
        ..mark()
    };
    let fresh = nova.find(&none, "v9", "fresh", 10).await.unwrap();
    assert_eq!(fresh, Found::None);
    let taken = nova.find(&none, "v9", "shop", 10).await.unwrap();
    assert_eq!(taken, Found::NameTaken(vec!["s1".into()]));
}

#[tokio::test]
async fn a_request_is_sent_whole_and_its_secrets_are_in_no_message() {
    let stub = Stub::new();
    let fake = Fake::cinder(stub.script()).await;
    let nova = nova(&fake);
    let made = nova.create(&request()).await.unwrap();
    let sent = &fake.asked("POST /compute/v2.1/servers ")[0].body;
    for part in [
        r#""networks":"none""#,
        r#""flavorRef":"f1""#,
        r#""uuid":"v9""#,
        r#""tags":["protected"]"#,
        "c2VjcmV0LW9mLXVzZXJz",
    ] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
    // The password that Nova makes up is not kept.
    let e = nova.create(&request()).await.unwrap_err();
    let shown = format!("{made:?} {:?} {e:?} {}", request(), e.in_full());
    for secret in ["c2VjcmV0", "a-secret-password", "a-secret-token"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_not_asked() {
    let fake = Fake::cinder(Stub::new().script()).await;
    let bad = ServerRequest {
        disks: Vec::new(),
        ..request()
    };
    match nova(&fake).create(&bad).await {
        Err(ServerError::Unfit { why, .. }) => assert!(why.contains("boot"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked("POST /compute").len(), 0);
}

fn refuses(status: u16, message: &str) -> Stub {
    let body = json!({ "fault": { "code": status, "message": message } }).to_string();
    let volume = json!({ "volume": {
        "id": "v9", "status": "available", "size": 1, "os-vol-tenant-attr:tenant_id": "p1", "bootable": "true" } });
    Stub::new()
        .fault(
            "POST /compute/v2.1/servers ",
            1,
            Fault::Instead(Say::status(status, body)),
        )
        .says("/volume/v3/p1/volumes/v9", volume)
        .says(
            "/os-keypairs",
            json!({ "keypairs": [{ "keypair": { "name": "mine" } }] }),
        )
}

async fn why(stub: Stub, request: ServerRequest) -> (Refusal, String) {
    let fake = Fake::cinder(stub.script()).await;
    match nova(&fake).create(&request).await {
        Err(e @ ServerError::Refused { .. }) => {
            let text = e.in_full();
            assert!(
                !e.is_passing() && text.contains("zone-a") && text.contains("in words of now"),
                "{text}"
            );
            match e {
                ServerError::Refused { why, .. } => (why, text),
                _ => unreachable!(),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn hard_case_52_a_quota_is_named_with_what_is_needed_and_what_is_left() {
    let figure = |limit, used| json!({ "limit": limit, "in_use": used, "reserved": 0 });
    let quota = json!({ "quota_set": { "id": "p1", "instances": figure(3, 3), "cores": figure(-1, 50), "ram": figure(1024, 700) } });
    let stub = refuses(403, "in words of now").says("/os-quota-sets/p1/detail", quota);
    let (why, text) = why(stub, request()).await;
    match why {
        Refusal::OverQuota(over) => {
            let names: Vec<&str> = over.iter().map(|o| o.what.as_str()).collect();
            assert_eq!(names, ["instances", "ram"]);
            assert_eq!(
                (over[1].wanted, over[1].left, over[1].limit),
                (512, 324, 1024)
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(text.contains("instances: 1 needed, 0 left of 3"), "{text}");
}

#[tokio::test]
async fn hard_case_52_what_is_missing_is_named() {
    let flavor = ServerRequest {
        flavor: "f2".into(),
        ..request()
    };
    let (found, text) = why(refuses(400, "in words of now"), flavor).await;
    assert_eq!(found, Refusal::FlavorMissing("f2".into()));
    assert!(text.contains("map it"), "{text}");

    let mut volume = request();
    volume.disks[0].volume = "v8".into();
    let (found, _) = why(refuses(400, "in words of now"), volume).await;
    assert_eq!(found, Refusal::VolumeMissing("v8".into()));

    let key = ServerRequest {
        key_name: Some("theirs".into()),
        ..request()
    };
    let (found, _) = why(refuses(400, "in words of now"), key).await;
    assert_eq!(found, Refusal::KeyMissing("theirs".into()));

    let nic = Nic {
        port: "n1".into(),
        tag: None,
    };
    let port = ServerRequest {
        network: Network::Ports(vec![nic]),
        ..request()
    };
    let (found, _) = why(refuses(400, "in words of now"), port).await;
    assert_eq!(found, Refusal::PortMissing("n1".into()));
}

#[tokio::test]
async fn hard_case_51_what_another_has_is_named_with_who_has_it() {
    let volume = json!({ "volume": {
        "id": "v9", "status": "in-use", "size": 1, "os-vol-tenant-attr:tenant_id": "p1", "bootable": "true",
        "attachments": [{ "server_id": "s7" }] } });
    let stub = refuses(400, "in words of now").says("/volume/v3/p1/volumes/v9", volume);
    let (found, _) = why(stub, request()).await;
    assert_eq!(
        found,
        Refusal::VolumeInUse {
            volume: "v9".into(),
            status: "in-use".into(),
            by: ["s7".into()].into()
        }
    );
    let nic = Nic {
        port: "n1".into(),
        tag: None,
    };
    let request = ServerRequest {
        network: Network::Ports(vec![nic]),
        ..request()
    };
    let port = json!({ "port": { "id": "n1", "network_id": "net", "status": "ACTIVE", "device_id": "s7" } });
    let stub = refuses(409, "in words of now").says("/network/v2.0/ports/n1", port);
    let (found, _) = why(stub, request).await;
    assert_eq!(
        found,
        Refusal::PortInUse {
            port: "n1".into(),
            by: "s7".into()
        }
    );
}

#[tokio::test]
async fn a_refusal_that_no_look_explains_is_in_novas_words() {
    let fake = Fake::cinder(refuses(400, "something else").script()).await;
    match nova(&fake).create(&request()).await {
        Err(ServerError::Cloud(e @ CloudError::Invalid { .. })) => {
            assert!(e.to_string().contains("something else"), "{e}");
        }
        other => panic!("{other:?}"),
    }
    // What is no refusal is not explained: there is no look.
    for say in [
        Say::status(503, "busy"),
        Say::Json(429, vec![("Retry-After", "9".into())], String::new()),
    ] {
        let stub = Stub::new().fault("POST /compute/v2.1/servers ", 1, Fault::Instead(say));
        let fake = Fake::cinder(stub.script()).await;
        let e = nova(&fake).create(&request()).await.unwrap_err();
        assert!(e.is_passing(), "{e:?}");
        assert_eq!(fake.asked("/flavors").len(), 0);
        assert_eq!(
            fake.asked("POST /compute/v2.1/servers ").len(),
            1,
            "writes are made once"
        );
    }
    let late = Say::Json(413, vec![("Retry-After", "30".into())], String::new());
    let stub = Stub::new().fault("POST /compute/v2.1/servers ", 1, Fault::Instead(late));
    let fake = Fake::cinder(stub.script()).await;
    let e = nova(&fake).create(&request()).await.unwrap_err();
    assert_eq!(e.kind(), "throttled", "{e}");
}

#[tokio::test]
async fn a_volume_is_attached_once_and_let_go_of() {
    let stub = Stub::new().with(Srv::new("s1", "ACTIVE"));
    let stub = stub.fault(
        "POST /compute/v2.1/servers/s1/os-volume",
        1,
        Fault::After(Say::Truncated),
    );
    let fake = Fake::cinder(stub.script()).await;
    let nova = nova(&fake);
    let attach = Attach {
        volume: "v2".into(),
        device: Some("/dev/vdb".into()),
        tag: None,
    };
    for _ in 0..2 {
        assert_eq!(
            nova.ensure_attached("s1", &attach).await.unwrap().volume,
            "v2"
        );
    }
    let sent = fake.asked("POST /compute/v2.1/servers/s1/os-volume");
    assert_eq!(sent.len(), 1, "its answer was lost, and it was there");
    assert!(sent[0].body.contains(r#""delete_on_termination":false"#));
    let patience = Patience {
        within: Span::secs(5),
        poll: Span::millis(5),
    };
    for _ in 0..2 {
        nova.ensure_detached("s1", "v2", patience).await.unwrap();
    }
    assert_eq!(fake.asked("DELETE").len(), 1);

    // One that stays: said with the time.
    let stub = Stub::new().with(Srv::new("s1", "ACTIVE"));
    let stub = stub.fault("DELETE", 9, Fault::Instead(Say::status(202, "")));
    let fake = Fake::cinder(stub.script()).await;
    let short = Patience {
        within: Span::millis(50),
        ..patience
    };
    let e = self::nova(&fake)
        .ensure_detached("s1", "v1", short)
        .await
        .unwrap_err();
    assert!(
        matches!(e, ServerError::StillAttached { .. }) && e.is_passing(),
        "{e:?}"
    );
}

#[tokio::test]
async fn the_console_is_read_again_like_any_read() {
    let stub = Stub::new().with(Srv::new("s1", "ACTIVE"));
    let stub = stub.fault("/s1/action", 1, Fault::Instead(Say::Truncated));
    let fake = Fake::cinder(stub.script()).await;
    let text = fake
        .cloud("")
        .nova(Scope::Home)
        .console_output("s1", 20)
        .await;
    assert_eq!(text.unwrap(), "LAST 7\n");
    assert_eq!(fake.asked("/s1/action").len(), 2);
}

#[tokio::test]
async fn looks_around_are_read_as_they_come() {
    let zone = |name: &str, up| json!({ "zoneName": name, "zoneState": { "available": up }, "hosts": null });
    let stub = Stub::new()
        .says("/flavors/detail", json!({ "flavors": [{ "id": "f1", "name": "small", "vcpus": 1, "ram": 512, "disk": 0, "OS-FLV-EXT-DATA:ephemeral": 0,
            "os-flavor-access:is_public": true, "extra_specs": { "hw:cpu_policy": "shared" }, "rxtx_factor": 1.0, "swap": 0 }] }))
        .says("/os-keypairs", json!({ "keypairs": [{ "keypair": { "name": "mine", "fingerprint": "x", "type": "ssh", "public_key": "ssh-rsa AAAA" } }] }))
        .says("/os-availability-zone", json!({ "availabilityZoneInfo": [zone("nova", true), zone("other", false)] }))
        .says("/os-hypervisors/detail", json!({ "hypervisors": [{ "id": "h-1", "hypervisor_hostname": "h1", "state": "down", "status": "enabled", "hypervisor_type": "QEMU" }] }));
    let fake = Fake::cinder(stub.script()).await;
    let nova = nova(&fake);
    let flavors = nova.flavors().await.unwrap();
    assert_eq!((flavors[0].ram_mib, flavors[0].is_public), (512, true));
    assert_eq!(
        flavors[0].extra_specs.as_ref().unwrap()["hw:cpu_policy"],
        "shared"
    );
    assert_eq!(nova.flavor("f1").await.unwrap().unwrap().name, "small");
    assert_eq!(nova.flavor("f2").await.unwrap(), None);
    assert_eq!(nova.keypairs().await.unwrap()[0].name, "mine");
    let zones = nova.availability_zones().await.unwrap();
    assert!(zones[0].state.available && !zones[1].state.available);
    assert_eq!(
        nova.hypervisors().await.unwrap()[0].state,
        Some(ServiceState::Down)
    );
    let quota = nova.quota("p1").await.unwrap();
    assert_eq!(quota.get("cores").unwrap().left(), Some(17));
    assert_eq!(quota.get("ram").unwrap().left(), None);
}

#[tokio::test]
async fn server_groups_are_read_by_their_number() {
    let group = |n: u32| {
        format!(r#"{{"id":"g{n}","name":"n","policy":"anti-affinity","members":["s{n}"]}}"#)
    };
    let fake = Fake::cinder(move |n, _| {
        let rows: Vec<String> = match n {
            0 => (0..500).map(group).collect(),
            1 => vec![group(500)],
            _ => Vec::new(),
        };
        Say::ok(format!(r#"{{"server_groups":[{}]}}"#, rows.join(",")))
    })
    .await;
    assert_eq!(nova(&fake).server_groups().await.unwrap().len(), 501);
    let asked = fake.asked("/os-server-groups");
    assert!(
        asked[0].line.contains("/os-server-groups?limit=500 "),
        "{:?}",
        asked[0]
    );
    assert!(asked[1].line.contains("&offset=500 ") && asked[2].line.contains("&offset=501 "));
}
