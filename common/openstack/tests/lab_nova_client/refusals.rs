//! What stands in the way of a server, each named.

use crate::zone::{MOST, PATIENCE, Zone, disk, flavor, mark, request};
use rekindle_lab::{Lab, Nova as LabNova, Site};
use rekindle_openstack::{
    ServerError,
    nova::{Because, How, Refusal, Rest, ServerRequest, Status},
};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_a_servers_way_is_named() {
    let lab = Lab::for_tests_with_nova().unwrap();
    let zone = Zone::new(&lab, Site::ZoneB).await;
    zone.clean().await;
    let nova = &zone.nova;
    let first = mark("first");
    let boot = zone.volume("client-taken", Some(LabNova::GUEST)).await;
    let new = request(
        "client-first",
        &flavor(&zone).await,
        vec![disk(&boot, Some(0))],
    );
    let done = nova.ensure_standby(&new, &first, Rest::Shutoff, MOST, PATIENCE);
    let id = done.await.unwrap().server.id;
    refusals(&zone, &new, &id).await;
    nova.ensure_absent(&id, &first, PATIENCE).await.unwrap();
    zone.volume_is(&boot, "available").await;
    let args = ["volume", "delete", &boot];
    zone.os.openstack(&zone.os.member, &args).unwrap();
}

/// What Nova does not take while that server has its volumes.
async fn refusals(zone: &Zone, new: &ServerRequest, id: &str) {
    let nova = &zone.nova;
    let why = async |new: &ServerRequest| match nova.create(new).await {
        Err(ServerError::Refused { why, .. }) => why,
        Err(e) => panic!("{e}"),
        Ok(made) => panic!("{made:?}"),
    };
    match why(new).await {
        Refusal::VolumeInUse { by, .. } => assert_eq!(*by, [id]),
        other => panic!("{other}"),
    }
    let missing = ServerRequest {
        flavor: "none-such".into(),
        ..new.clone()
    };
    assert_eq!(
        why(&missing).await,
        Refusal::FlavorMissing("none-such".into())
    );
    let key = ServerRequest {
        key_name: Some("none-such".into()),
        disks: Vec::new(),
        ..new.clone()
    };
    let free = zone.volume("client-free", Some(LabNova::GUEST)).await;
    let key = ServerRequest {
        disks: vec![disk(&free, Some(0))],
        ..key
    };
    assert_eq!(why(&key).await, Refusal::KeyMissing("none-such".into()));
    let none = "00000000-0000-4000-8000-000000000000";
    let volume = ServerRequest {
        disks: vec![disk(none, Some(0))],
        ..new.clone()
    };
    assert_eq!(why(&volume).await, Refusal::VolumeMissing(none.into()));

    zone.admin(&["quota", "set", "--instances", "1", "demo"]);
    let over = ServerRequest {
        disks: vec![disk(&free, Some(0))],
        ..new.clone()
    };
    let over = why(&over).await;
    zone.admin(&["quota", "delete", "--compute", "demo"]);
    match over {
        Refusal::OverQuota(over) => {
            assert_eq!((over[0].what.as_str(), over[0].left), ("instances", 0))
        }
        other => panic!("{other}"),
    }

    // No host has so much: the server is there and failed. It is built again when the flavor is another.
    let huge = [
        "flavor",
        "create",
        "--ram",
        "900000",
        "--disk",
        "0",
        "--vcpus",
        "1",
        "client-huge",
    ];
    let _ = zone
        .os
        .openstack(&zone.os.admin, &["flavor", "delete", "client-huge"]);
    zone.admin(&huge);
    let flavors = nova.flavors().await.unwrap();
    let huge = flavors.iter().find(|f| f.name == "client-huge").unwrap();
    zone.admin(&["quota", "set", "--ram", "-1", "demo"]);
    let half = mark("half");
    let mut big = request("client-half", &huge.id, vec![disk(&free, Some(0))]);
    let e = nova
        .ensure_standby(&big, &half, Rest::Shutoff, MOST, PATIENCE)
        .await
        .unwrap_err();
    println!("{e}");
    assert!(
        matches!(
            &e,
            ServerError::Failed {
                because: Because::NoHost,
                fault: Some(_),
                ..
            }
        ),
        "{e}"
    );
    zone.admin(&["flavor", "delete", "client-huge"]);
    zone.admin(&["quota", "delete", "--compute", "demo"]);
    big.flavor.clone_from(&new.flavor);
    let done = nova
        .ensure_standby(&big, &half, Rest::Shutoff, MOST, PATIENCE)
        .await
        .unwrap();
    assert_eq!(
        (done.how, &done.server.status),
        (How::Built, &Status::Shutoff)
    );

    // The name alone says nothing.
    let third = mark("third");
    let same = nova.ensure_standby(&big, &third, Rest::Shutoff, MOST, PATIENCE);
    let e = same.await.unwrap_err();
    assert_eq!(
        e.kind(),
        "refused",
        "another's stand-by may have the name; its volume is taken: {e}"
    );
    zone.admin(&[
        "server",
        "unset",
        "--property",
        "rekindle:standby-of",
        &done.server.id,
    ]);
    let e = nova
        .ensure_standby(&big, &half, Rest::Shutoff, MOST, PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(e, ServerError::NameTaken { .. }), "{e}");
    let mut back = BTreeMap::new();
    half.write(&mut back);
    nova.set_metadata(&done.server.id, &back).await.unwrap();
    nova.ensure_absent(&done.server.id, &half, PATIENCE)
        .await
        .unwrap();
    zone.volume_is(&free, "available").await;
    zone.os
        .openstack(&zone.os.member, &["volume", "delete", &free])
        .unwrap();
}
