//! Placement's answer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod fake;

use fake::{Fake, Say};
use rekindle_openstack::{CloudError, Scope, placement::Room};

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
