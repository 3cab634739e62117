//! Neutron's calls: a port is made once and known by its mark, and what stands in its way is named. And Placement's one: what room hosts have.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod fake;

use fake::{Asked, Fake, Say};
use rekindle_openstack::{
    CloudError, Neutron, Scope,
    neutron::{AddressPair, ByName, FixedIp, PortError, PortRequest, PortStatus},
    placement::Room,
};

fn neutron(fake: &Fake) -> Neutron {
    fake.cloud("timeout = \"1s\"").neutron(Scope::Home)
}

fn wanted() -> PortRequest {
    PortRequest {
        mark: "rekindle:zone-a/s0/0".into(),
        project: "p1".into(),
        name: "shop-0".into(),
        network: "n1".into(),
        fixed_ips: vec![FixedIp {
            subnet: Some("sub1".into()),
            address: Some("10.0.0.5".into()),
        }],
        mac: None,
        security_groups: Some(vec!["g1".into()]),
        port_security_enabled: None,
        allowed_address_pairs: Vec::new(),
    }
}

fn port(id: &str, description: &str, ip: &str, device: &str) -> String {
    port_of("p1", id, description, ip, device)
}

fn port_of(project: &str, id: &str, description: &str, ip: &str, device: &str) -> String {
    format!(
        r#"{{"id":"{id}","name":"","description":"{description}","project_id":"{project}","network_id":"n1","mac_address":"fa:16:3e:00:00:01","status":"DOWN",
        "fixed_ips":[{{"subnet_id":"sub1","ip_address":"{ip}"}}],"device_id":"{device}","security_groups":["g1"]}}"#
    )
}

fn ports(rows: &[String]) -> Say {
    Say::ok(format!(r#"{{"ports":[{}]}}"#, rows.join(",")))
}

fn is(asked: &Asked, part: &str) -> bool {
    asked.line.contains(part)
}

#[tokio::test]
async fn a_port_is_made_once_with_its_address() {
    let made = port("p9", "rekindle:zone-a/s0/0", "10.0.0.5", "");
    let fake = Fake::cinder(move |n, asked| match n {
        0 => ports(&[]),
        1 => {
            assert!(is(asked, "POST /network/v2.0/ports "));
            Say::status(201, format!(r#"{{"port":{made}}}"#))
        }
        // A server that heeds no filter: what is not ours does not count.
        _ => ports(&[port("p1", "theirs", "10.0.0.7", ""), made.clone()]),
    })
    .await;
    let neutron = neutron(&fake);
    for _ in 0..2 {
        let port = neutron.ensure_port(&wanted()).await.unwrap();
        assert_eq!((port.id.as_str(), &port.status), ("p9", &PortStatus::Down));
        assert_eq!((port.device_id, port.fixed_ips.len()), (None, 1));
    }
    let looked = &fake.asked("GET /network/v2.0/ports?")[0].line;
    assert!(
        looked.contains("network_id=n1&description=rekindle%3Azone-a%2Fs0%2F0"),
        "{looked}"
    );
    let sent = fake.asked("POST /network");
    assert_eq!(sent.len(), 1);
    assert!(
        sent[0]
            .body
            .contains(r#""fixed_ips":[{"ip_address":"10.0.0.5","subnet_id":"sub1"}]"#),
        "{}",
        sent[0].body
    );
}

#[tokio::test]
async fn a_port_whose_answer_was_lost_is_looked_for() {
    let made = port("p9", "rekindle:zone-a/s0/0", "10.0.0.5", "");
    let fake = Fake::cinder(move |n, _| match n {
        0 => ports(&[]),
        1 => Say::Truncated,
        _ => ports(std::slice::from_ref(&made)),
    })
    .await;
    assert_eq!(
        neutron(&fake).ensure_port(&wanted()).await.unwrap().id,
        "p9"
    );
    assert_eq!(fake.asked("POST /network").len(), 1);

    let fake = Fake::cinder(move |n, _| if n == 1 { Say::Truncated } else { ports(&[]) }).await;
    match neutron(&fake).ensure_port(&wanted()).await {
        Err(PortError::Cloud(e)) => assert!(e.may_have_taken_effect(), "{e:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked("POST /network").len(), 1);
}

#[tokio::test]
async fn hard_case_51_an_address_that_another_has_is_named_with_who_has_it() {
    let holder = port("p3", "theirs", "10.0.0.5", "s7");
    let conflict = r#"{"NeutronError":{"type":"IpAddressAlreadyAllocated","message":"IP address already allocated","detail":""}}"#;
    let fake = Fake::cinder(move |_, asked| {
        if is(asked, "POST") {
            Say::status(409, conflict)
        } else if is(asked, "fixed_ips=ip_address%3D10.0.0.5") {
            ports(std::slice::from_ref(&holder))
        } else {
            ports(&[])
        }
    })
    .await;
    match neutron(&fake).ensure_port(&wanted()).await {
        Err(e @ PortError::AddressTaken { .. }) => {
            let text = e.to_string();
            for part in ["10.0.0.5", "p3", "s7", "zone-a"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn hard_case_52_a_quota_of_ports_is_named_and_two_of_a_mark_are_too() {
    let fake = Fake::cinder(move |_, asked| {
        if is(asked, "POST") {
            Say::status(409, r#"{"NeutronError":{"type":"OverQuota","message":"Quota exceeded for resources: ['port'].","detail":""}}"#)
        } else if is(asked, "/quotas/p1/details.json") {
            Say::ok(r#"{"quota":{"port":{"limit":5,"used":5,"reserved":0}}}"#)
        } else {
            ports(&[])
        }
    })
    .await;
    match neutron(&fake).ensure_port(&wanted()).await {
        Err(PortError::OverQuota { over, .. }) => {
            assert_eq!((over.what.as_str(), over.left, over.limit), ("port", 0, 5));
        }
        other => panic!("{other:?}"),
    }
    let two = [
        port("p1", "rekindle:zone-a/s0/0", "10.0.0.5", ""),
        port("p2", "rekindle:zone-a/s0/0", "10.0.0.6", ""),
    ];
    let fake = Fake::cinder(move |_, _| ports(&two)).await;
    let e = neutron(&fake)
        .ensure_port(&wanted())
        .await
        .unwrap_err()
        .to_string();
    assert!(e.contains("p1 and p2"), "{e}");
}

/// What an earlier build left behind has the address and the groups of that day.
#[tokio::test]
async fn hard_case_51_a_port_that_was_made_for_what_is_not_wanted_any_more_is_made_anew() {
    let mark = "rekindle:zone-a/s0/0";
    let wishes: [(PortRequest, &str); 5] = [
        (
            PortRequest {
                fixed_ips: vec![FixedIp {
                    subnet: Some("sub1".into()),
                    address: Some("10.0.0.6".into()),
                }],
                ..wanted()
            },
            "addresses",
        ),
        (
            PortRequest {
                mac: Some("fa:16:3e:00:00:02".into()),
                ..wanted()
            },
            "hardware address",
        ),
        (
            PortRequest {
                security_groups: Some(Vec::new()),
                ..wanted()
            },
            "security groups",
        ),
        (
            PortRequest {
                port_security_enabled: Some(false),
                ..wanted()
            },
            "port security",
        ),
        (
            PortRequest {
                allowed_address_pairs: vec![AddressPair {
                    address: "10.0.0.9".into(),
                    mac: None,
                }],
                ..wanted()
            },
            "allowed address pairs",
        ),
    ];
    for (wish, what) in wishes {
        let shown = |id: &str, device: &str| {
            let mut port: serde_json::Value =
                serde_json::from_str(&port(id, mark, "10.0.0.5", device)).unwrap();
            port["port_security_enabled"] = true.into();
            port.to_string()
        };
        let (free, new) = (shown("p3", ""), shown("p9", ""));
        let fake = Fake::cinder(move |n, asked| match n {
            0 => ports(std::slice::from_ref(&free)),
            1 => {
                assert!(is(asked, "DELETE /network/v2.0/ports/p3 "));
                Say::status(204, "")
            }
            _ => Say::status(201, format!(r#"{{"port":{new}}}"#)),
        })
        .await;
        assert_eq!(neutron(&fake).ensure_port(&wish).await.unwrap().id, "p9");
        assert_eq!(fake.asked("POST /network").len(), 1, "{what}");

        // Somebody has it: it is left, and said.
        let taken = shown("p3", "s7");
        let fake = Fake::cinder(move |_, _| ports(std::slice::from_ref(&taken))).await;
        let e = neutron(&fake).ensure_port(&wish).await.unwrap_err();
        let words = format!("port p3 of s7 was made for this server before, with other {what}");
        assert!(e.to_string().contains(&words), "{e}");
        assert_eq!(
            fake.asked("DELETE").len() + fake.asked("POST /network").len(),
            0
        );
    }
}

/// In other words, or beside what was asked for: it is taken as it is.
#[tokio::test]
async fn a_port_that_was_made_as_it_is_wanted_is_taken_whatever_neutron_adds() {
    let mark = "rekindle:zone-a/s0/0";
    let mut found: serde_json::Value =
        serde_json::from_str(&port("p3", mark, "10.0.0.5", "")).unwrap();
    found["fixed_ips"].as_array_mut().unwrap().push(
        serde_json::json!({ "subnet_id": "sub6", "ip_address": "2001:db8::f816:3eff:fe00:1" }),
    );
    found["security_groups"] = serde_json::json!(["g2", "g1"]);
    found["port_security_enabled"] = true.into();
    found["allowed_address_pairs"] =
        serde_json::json!([{ "ip_address": "10.0.0.9/32", "mac_address": "fa:16:3e:00:00:01" }]);
    let found = found.to_string();
    let fake = Fake::cinder(move |_, _| ports(std::slice::from_ref(&found))).await;
    let wish = PortRequest {
        mac: Some("FA:16:3E:00:00:01".into()),
        security_groups: Some(vec!["g1".into(), "g2".into()]),
        port_security_enabled: Some(true),
        allowed_address_pairs: vec![AddressPair {
            address: "10.0.0.9".into(),
            mac: None,
        }],
        ..wanted()
    };
    assert_eq!(neutron(&fake).ensure_port(&wish).await.unwrap().id, "p3");
    assert_eq!(
        fake.asked("DELETE").len() + fake.asked("POST /network").len(),
        0
    );
}

/// A description may be written by everybody on ports of his own, and an administrator is shown everybody's.
#[tokio::test]
async fn a_port_of_another_project_is_none_whatever_it_bears() {
    let mark = "rekindle:zone-a/s0/0";
    let theirs = port_of("p2", "p3", mark, "10.0.0.7", "");
    let made = port("p9", mark, "10.0.0.5", "");
    let fake = Fake::cinder(move |n, asked| match n {
        0 => ports(std::slice::from_ref(&theirs)),
        1 => {
            assert!(is(asked, "POST /network/v2.0/ports "));
            Say::status(201, format!(r#"{{"port":{made}}}"#))
        }
        _ => ports(&[theirs.clone(), made.clone()]),
    })
    .await;
    let neutron = neutron(&fake);
    for _ in 0..2 {
        assert_eq!(neutron.ensure_port(&wanted()).await.unwrap().id, "p9");
    }
    assert_eq!(fake.asked("POST /network").len(), 1);
}

#[tokio::test]
async fn a_port_is_taken_away_once() {
    let fake = Fake::cinder(|n, _| match n {
        0 => Say::status(204, ""),
        1 => Say::status(404, "{}"),
        2 => Say::Truncated,
        3 => Say::status(404, "{}"),
        _ => Say::status(
            409,
            r#"{"NeutronError":{"type":"PortInUse","message":"in use"}}"#,
        ),
    })
    .await;
    let neutron = neutron(&fake);
    for _ in 0..3 {
        neutron.ensure_port_absent("p1").await.unwrap();
    }
    let e = neutron.ensure_port_absent("p1").await.unwrap_err();
    assert!(matches!(e, CloudError::Conflict { .. }), "{e:?}");
}

#[tokio::test]
async fn names_are_nobodys_alone() {
    let fake = Fake::cinder(|_, asked| {
        let net = |id: &str, name: &str| format!(r#"{{"id":"{id}","name":"{name}","shared":false,"router:external":true,"subnets":["sub1"]}}"#);
        if is(asked, "/networks?") {
            // As an administrator sees them: everybody's. What is shared is shared with all, or with the token's project.
            let theirs = r#"{"id":"n9","name":"front","project_id":"p2","shared":false},{"id":"n8","name":"lent","project_id":"p2","shared":true},{"id":"n7","name":"own","project_id":"p1"}"#;
            Say::ok(format!(r#"{{"networks":[{},{},{},{theirs}]}}"#, net("n1", "front"), net("n2", "back"), net("n3", "back")))
        } else if is(asked, "/security-groups?project_id=p1") {
            Say::ok(r#"{"security_groups":[{"id":"g1","name":"default","project_id":"p1"}]}"#)
        } else {
            Say::ok(r#"{"subnets":[{"id":"sub1","name":"","network_id":"n1","cidr":"10.0.0.0/24","ip_version":4,"gateway_ip":null}]}"#)
        }
    })
    .await;
    let neutron = neutron(&fake);
    match neutron.network("p1", "front").await.unwrap() {
        ByName::One(n) => assert!(n.id == "n1" && n.external && !n.shared),
        other => panic!("{other:?}"),
    }
    match neutron.network("p1", "back").await.unwrap() {
        ByName::Several(all) => assert_eq!(all.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(neutron.network("p1", "none").await.unwrap(), ByName::None);
    assert!(matches!(
        neutron.network("p1", "n3").await.unwrap(),
        ByName::One(_)
    ));
    // Another project's is none, also by its id.
    for (network, usable) in [("n9", false), ("n8", true), ("lent", true), ("own", true)] {
        let found = neutron.network("p1", network).await.unwrap();
        assert_eq!(matches!(found, ByName::One(_)), usable, "{network}");
        assert_eq!(found == ByName::None, !usable, "{network}");
    }
    assert!(matches!(
        neutron.security_group("p1", "default").await.unwrap(),
        ByName::One(_)
    ));
    let subnets = neutron.subnets("n1").await.unwrap();
    assert_eq!(
        (subnets[0].cidr.as_str(), &subnets[0].gateway_ip),
        ("10.0.0.0/24", &None)
    );
}

#[tokio::test]
async fn a_hosts_room_is_what_is_not_used_over_all_its_nodes() {
    let fake = Fake::cinder(|_, asked| {
        assert!(asked.line.starts_with("GET /placement/allocation_candidates?resources=VCPU:1,MEMORY_MB:1&"));
        assert!(asked.head.to_lowercase().contains("openstack-api-version: placement 1.29"));
        Say::ok(
            r#"{"allocation_requests":[],"provider_summaries":{
            "r1":{"root_provider_uuid":"r1","resources":{"VCPU":{"capacity":32,"used":30},"MEMORY_MB":{"capacity":4096,"used":5000},"DISK_GB":{"capacity":9,"used":1}}},
            "r2":{"root_provider_uuid":"r2","parent_provider_uuid":null,"resources":{}},
            "n1":{"root_provider_uuid":"r2","resources":{"VCPU":{"capacity":4,"used":1}}},
            "n2":{"root_provider_uuid":"r2","resources":{"VCPU":{"capacity":4,"used":0},"MEMORY_MB":{"capacity":512,"used":0}}}}}"#
                .to_owned(),
        )
    })
    .await;
    let rooms = fake
        .cloud("timeout = \"1s\"")
        .placement(Scope::Home)
        .rooms()
        .await
        .unwrap();
    let room = |vcpus, ram_mib| Room { vcpus, ram_mib };
    assert_eq!(rooms, [room(2, 0), room(7, 512)]);
}

#[tokio::test]
async fn an_answer_without_hosts_is_no_room_and_one_without_the_list_is_an_error() {
    let fake = Fake::cinder(|n, _| match n {
        0 => Say::ok(r#"{"allocation_requests":[],"provider_summaries":{}}"#.to_owned()),
        1 => Say::ok("{}".to_owned()),
        _ => Say::status(
            403,
            r#"{"errors":[{"status":403,"title":"Forbidden"}]}"#.to_owned(),
        ),
    })
    .await;
    let placement = fake.cloud("timeout = \"1s\"").placement(Scope::Home);
    assert_eq!(placement.rooms().await.unwrap(), []);
    let e = placement.rooms().await.unwrap_err();
    assert!(matches!(e, CloudError::Unexpected { .. }), "{e:?}");
    let e = placement.rooms().await.unwrap_err();
    assert!(matches!(e, CloudError::Forbidden { .. }), "{e:?}");
}

/// Its metadata alone is read, and under the token of the key's own project.
#[tokio::test]
async fn hard_case_39_a_key_is_looked_for_and_never_read() {
    let body = |more: &str| format!(r#"{{"name":"luks","secret_type":"symmetric",{more}}}"#);
    let fake = Fake::cinder(move |_, asked| match asked.line.split('/').nth(4) {
        Some(rest) if rest.starts_with("well ") => Say::ok(body(
            r#""status":"ACTIVE","expiration":null,"content_types":{"default":"application/octet-stream"}"#,
        )),
        Some(rest) if rest.starts_with("pending ") => {
            Say::ok(body(r#""status":"PENDING","content_types":{"default":"x"}"#))
        }
        Some(rest) if rest.starts_with("old ") => Say::ok(body(
            r#""status":"ACTIVE","expiration":"2026-01-01T00:00:00","content_types":{"default":"x"}"#,
        )),
        Some(rest) if rest.starts_with("empty ") => Say::ok(body(r#""status":"ACTIVE""#)),
        Some(rest) if rest.starts_with("hidden ") => {
            Say::status(403, r#"{"title":"Forbidden","description":"Secret retrieval attempt not allowed"}"#)
        }
        Some(rest) if rest.starts_with("ill ") => Say::status(503, "{}"),
        _ => Say::status(404, r#"{"title":"Not Found","description":"Not Found. Sorry but your secret is in another castle."}"#),
    })
    .await;
    let keys = fake
        .cloud("timeout = \"2s\"")
        .barbican(Scope::Project("p1".to_owned()));
    let now: jiff::Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let said = async |id| keys.key(id).await.map(|k| k.unusable(now));
    assert_eq!(said("well").await.unwrap(), None);
    for (id, why) in [
        ("pending", "is PENDING"),
        ("old", "expired at 2026-01-01T00:00:00Z"),
        ("empty", "no content"),
    ] {
        let found = said(id).await.unwrap().unwrap();
        assert!(found.contains(why), "{id}: {found}");
    }
    let e = said("none").await.unwrap_err();
    assert!(matches!(e, CloudError::NotFound { .. }), "{e:?}");
    let e = said("hidden").await.unwrap_err();
    assert!(matches!(e, CloudError::Forbidden { .. }), "{e:?}");
    let e = said("ill").await.unwrap_err();
    assert!(matches!(e, CloudError::Unavailable { .. }), "{e:?}");
    let asked = fake.asked("GET /keys/v1/secrets/");
    assert!(asked.len() >= 7, "{asked:#?}");
    assert!(
        asked
            .iter()
            .all(|a| !a.line.contains("payload") && a.head.contains("accept: application/json"))
    );
    let tokens = fake.asked("POST /v3/auth/tokens");
    assert!(
        tokens
            .iter()
            .all(|t| t.body.contains(r#""project":{"id":"p1"}"#)),
        "{tokens:#?}"
    );

    let bare = Fake::cinder(|_, _| Say::status(404, "{}")).await;
    bare.keystone
        .without_barbican
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let e = bare
        .cloud("")
        .barbican(Scope::Home)
        .key("well")
        .await
        .unwrap_err();
    assert!(matches!(e, CloudError::Config { .. }), "{e:?}");
    assert!(e.to_string().contains("no Barbican v1"), "{e}");
}
