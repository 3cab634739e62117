//! A stand-by from its building to its end.

use crate::recorded::answer;
use crate::zone::{MOST, PATIENCE, Zone, cloud, disk, flavor, mark, request, until};
use rekindle_common::duration::Span;
use rekindle_lab::{Lab, Nova as LabNova, Site};
use rekindle_openstack::{
    CloudError, Scope, ServerError,
    nova::{Attach, Found, How, Patience, PowerState, Refusal, Rest, Status, VmState, Whose, Wish},
};
use std::{collections::BTreeMap, time::Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stand_by_is_built_rests_runs_and_goes() {
    let lab = Lab::for_tests_with_nova().unwrap();
    let zone = Zone::new(&lab, Site::ZoneB).await;
    zone.clean().await;
    let nova = &zone.nova;
    let (flavor, mark) = (flavor(&zone).await, mark("s0"));
    let boot = zone.volume("client-boot", Some(LabNova::GUEST)).await;
    let data = zone.volume("client-data", None).await;
    let mut new = request(
        "client-shop",
        &flavor,
        vec![disk(&boot, Some(0)), disk(&data, None)],
    );
    new.disks[1].device = Some("/dev/vdc".into());

    let begun = Instant::now();
    let done = nova
        .ensure_standby(&new, &mark, Rest::Shutoff, MOST, PATIENCE)
        .await
        .unwrap();
    println!("built and at rest: {:.1?}", begun.elapsed());
    assert_eq!(done.how, How::Built);
    let (server, id) = (done.server.clone(), done.server.id.clone());
    assert_eq!(
        (server.vm_state.clone(), server.power_state),
        (Some(VmState::Stopped), Some(PowerState::Shutdown))
    );
    assert_eq!(
        (server.name.as_deref(), server.description.as_deref()),
        (Some("client-shop"), Some("Bücher"))
    );
    assert_eq!(
        (server.mark(), server.metadata["rekindle:group"].as_str()),
        (Some(mark.clone()), "shop")
    );
    assert_eq!(
        (server.tags.clone(), server.image.clone()),
        (vec!["client".to_owned()], None)
    );
    assert!(
        server.locked
            && server.locked_reason.as_deref() == Some("rekindle: stand-by of client-test/s0")
    );
    assert_eq!(server.flavor.name.as_deref(), Some(LabNova::GUEST));
    assert_eq!(server.project_id.as_ref(), Some(&zone.project));
    assert!(server.launched_at.is_some() && server.created.is_some());
    let mut volumes = nova.volume_attachments(&id).await.unwrap();
    volumes.sort_by(|a, b| a.device.cmp(&b.device));
    let devices: Vec<_> = volumes
        .iter()
        .map(|v| {
            (
                v.volume.as_str(),
                v.device.as_deref(),
                v.delete_on_termination,
            )
        })
        .collect();
    println!("devices: {devices:?}");
    assert_eq!(devices[0], (boot.as_str(), Some("/dev/vda"), false));
    assert_eq!((devices[1].0, devices[1].2), (data.as_str(), false));

    let again = nova
        .ensure_standby(&new, &mark, Rest::Shutoff, MOST, PATIENCE)
        .await
        .unwrap();
    assert_eq!((again.how, &again.server.id), (How::Adopted, &id));
    match nova.find(&mark, &boot, "client-shop", MOST).await.unwrap() {
        Found::One(found) => assert_eq!(found.id, id),
        other @ (Found::None | Found::NameTaken(_)) => panic!("{other:?}"),
    }
    let all = nova.servers(Whose::All, MOST).await.unwrap();
    assert!(all.iter().any(|s| s.id == id && s.volumes.len() == 2));

    answer(&zone, "version", "/");
    answer(&zone, "server-shutoff", &format!("/servers/{id}"));
    answer(
        &zone,
        "attachments",
        &format!("/servers/{id}/os-volume_attachments"),
    );
    runs(&zone, &id).await;
    volumes_come_and_go(&zone, &id).await;
    shelves(&zone, &id).await;

    let e = nova
        .ensure_absent(&id, &crate::zone::mark("other"), PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(e, ServerError::NotOurs { .. }), "{e}");
    // A volume that would go with it stays: Nova is told so.
    for _ in 0..2 {
        nova.ensure_absent(&id, &mark, PATIENCE).await.unwrap();
    }
    for volume in [&boot, &data] {
        zone.volume_is(volume, "available").await;
        zone.os
            .openstack(&zone.os.member, &["volume", "delete", volume])
            .unwrap();
    }
    let e = nova.wait(&id, Wish::Active, PATIENCE).await.unwrap_err();
    assert!(matches!(e, ServerError::Gone { last: None, .. }), "{e}");
}

async fn runs(zone: &Zone, id: &str) {
    let nova = &zone.nova;
    // Who only waits orders nothing.
    let short = Patience {
        within: Span::secs(2),
        ..PATIENCE
    };
    let e = nova.wait(id, Wish::Active, short).await.unwrap_err();
    assert!(matches!(&e, ServerError::Late { orders: 0, .. }), "{e}");
    let begun = Instant::now();
    let server = nova.ensure_active(id, PATIENCE).await.unwrap();
    println!("active: {:.1?}", begun.elapsed());
    assert!(server.host.is_some() && server.power_state == Some(PowerState::Running));
    assert!(!nova.server(id).await.unwrap().locked, "our lock is off");
    answer(zone, "server-active", &format!("/servers/{id}"));
    until("the guest to write", async || {
        let text = nova.console_output(id, 200).await.unwrap_or_default();
        text.contains("READY").then_some(())
    })
    .await;
    println!("it writes: {:.1?}", begun.elapsed());
    let begun = Instant::now();
    let held = nova
        .ensure_held(id, "the other zone serves", PATIENCE)
        .await
        .unwrap();
    println!("held: {:.1?}", begun.elapsed());
    assert_eq!(held.status, Status::Shutoff);
    // Its owner may not start it, and is told why.
    let member = cloud(Site::ZoneB, &zone.os, &zone.os.member).nova(Scope::Home);
    match member.ensure_active(id, PATIENCE).await {
        Err(e @ ServerError::Locked { .. }) => {
            assert!(e.to_string().contains("the other zone serves"), "{e}")
        }
        Err(e) => panic!("{e}"),
        Ok(server) => panic!("{server}"),
    }
    let actions = nova.actions(id).await.unwrap();
    let told: Vec<&str> = actions.iter().map(|a| a.action.as_str()).collect();
    assert_eq!(
        (told.last(), told.contains(&"stop"), told.contains(&"start")),
        (Some(&"create"), true, true),
        "{told:?}"
    );
    let set = BTreeMap::from([("rekindle:note".to_owned(), "x".to_owned())]);
    nova.set_metadata(id, &set).await.unwrap();
    for _ in 0..2 {
        nova.delete_metadata(id, "rekindle:note").await.unwrap();
    }
    let server = nova.server(id).await.unwrap();
    assert!(server.mark().is_some() && !server.metadata.contains_key("rekindle:note"));
}

async fn volumes_come_and_go(zone: &Zone, id: &str) {
    let nova = &zone.nova;
    let more = zone.volume("client-more", None).await;
    let attach = Attach {
        volume: more.clone(),
        device: None,
        tag: None,
    };
    for _ in 0..2 {
        assert_eq!(
            nova.ensure_attached(id, &attach).await.unwrap().volume,
            more
        );
    }
    zone.volume_is(&more, "in-use").await;
    // As if it had been attached to be deleted with the server.
    zone.admin(&[
        "server",
        "volume",
        "update",
        "--delete-on-termination",
        id,
        &more,
    ]);
    let doomed = |all: Vec<rekindle_openstack::nova::VolumeAttachment>| {
        all.iter().any(|v| v.delete_on_termination)
    };
    assert!(doomed(nova.volume_attachments(id).await.unwrap()));
    nova.keep_volumes(id).await.unwrap();
    assert!(!doomed(nova.volume_attachments(id).await.unwrap()));
    for _ in 0..2 {
        nova.ensure_detached(id, &more, PATIENCE).await.unwrap();
    }
    zone.volume_is(&more, "available").await;
    zone.os
        .openstack(&zone.os.member, &["volume", "delete", &more])
        .unwrap();
    let e = nova.ensure_attached(id, &attach).await.unwrap_err();
    match e {
        ServerError::Refused {
            why: Refusal::VolumeMissing(v),
            ..
        } => assert_eq!(v, more),
        // It may be on its way out still.
        ServerError::Refused {
            why: Refusal::VolumeInUse { status, .. },
            ..
        } => assert_eq!(status, "deleting"),
        other => panic!("{other}"),
    }
}

async fn shelves(zone: &Zone, id: &str) {
    let nova = &zone.nova;
    let begun = Instant::now();
    let server = nova.ensure_offloaded(id, PATIENCE).await.unwrap();
    println!("offloaded: {:.1?}", begun.elapsed());
    assert_eq!((server.host, server.volumes.len()), (None, 2));
    // What stands by on no host cannot be written on.
    let set = BTreeMap::from([("rekindle:note".to_owned(), "x".to_owned())]);
    let e = nova.set_metadata(id, &set).await.unwrap_err();
    assert!(matches!(e, CloudError::Conflict { .. }), "{e}");
    assert_eq!(
        nova.ensure_stopped(id, PATIENCE).await.unwrap().status,
        Status::ShelvedOffloaded
    );
    let begun = Instant::now();
    nova.ensure_active(id, PATIENCE).await.unwrap();
    println!("unshelved and active: {:.1?}", begun.elapsed());
}
