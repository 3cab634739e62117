//! The volume actions on real Ceph: two zones with rbd-mirror between them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rekindle_common::{
    ApiError, ErrorCode, Generation, ImageSpec,
    action::{BatchItem, BatchRequest, BatchResult, Effect, SafetyCopy, VolumeAction},
    duration::Span,
    given_up::Written,
    lease::LeaseView,
    mode::ReplicationMode,
    schedule::Schedule,
    status::VolumeStatus,
    volume::{Known, Role},
};
use rekindle_driver::{
    actions::{Limits, VolumeQuery},
    leases::Leases,
};
use rekindle_lab::Site;
use std::time::{Duration, Instant};
use support::*;

const BOTH: [ReplicationMode; 2] = [ReplicationMode::Instant, ReplicationMode::Once];

fn periodic() -> ReplicationMode {
    ReplicationMode::Periodic(Schedule {
        start: "2026-01-01T00:00:00Z".parse().unwrap(),
        interval: Span::secs(3600),
    })
}

fn code<T: std::fmt::Debug>(r: Result<T, ApiError>) -> ErrorCode {
    r.unwrap_err().code
}

/// The first bytes of an image, as a new client reads them.
fn first_bytes(z: &Zones, site: Site, spec: &ImageSpec) -> Vec<u8> {
    let pool = z.admin(site).pool(POOL).unwrap();
    let image = pool.open_read_only(spec.image()).unwrap();
    let mut bytes = vec![0; 4];
    image.read(0, &mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_is_replicated_with_its_policy() {
    let z = zones();
    for mode in [ReplicationMode::Instant, ReplicationMode::Once, periodic()] {
        let (group, specs) = z.replicated(1, mode).await;
        let b = z.b.volumes.volume(&specs[0]).await.unwrap();
        assert_eq!(
            (b.mode, b.group),
            (Some(mode), Some(group.clone())),
            "{mode}"
        );
        assert_eq!(b.mirror_mode, Some(mode.mirror_image_mode()));
        assert_eq!((b.role, b.complete_copy), (Role::Secondary, Known::Yes));
        assert!(b.last_sync.is_some(), "{mode}");
        assert_eq!(b.size, Some(SIZE));
        let a = z.a.volumes.volume(&specs[0]).await.unwrap();
        assert_eq!(a.status, VolumeStatus::ActivePrimary);
        assert_eq!(a.concerns, Vec::<String>::new());
        // The list says the same as the look.
        let query = VolumeQuery {
            group: Some(group.clone()),
            ..VolumeQuery::default()
        };
        let listed = z.b.volumes.volumes(&query).await.unwrap().volumes;
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].status, listed[0].mode, listed[0].complete_copy),
            (b.status, b.mode, b.complete_copy)
        );
        // Taking it off deletes the copy, and only the primary may.
        let off = || order(VolumeAction::Unreplicate, 1);
        assert_eq!(
            code(z.b.volumes.act(&specs[0], off()).await),
            ErrorCode::NotPrimary
        );
        for effect in [Effect::Done, Effect::AlreadySo] {
            let o = z.a.volumes.act(&specs[0], off()).await.unwrap();
            assert_eq!(o.effect, effect);
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while !matches!(z.b.volumes.volume(&specs[0]).await, Err(e) if e.code == ErrorCode::UnknownVolume)
        {
            assert!(Instant::now() < deadline, "the copy was not deleted");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_21_a_planned_move_under_a_live_writer_is_plain_and_loses_nothing() {
    let z = zones();
    for mode in BOTH {
        let (group, specs) = z.replicated(1, mode).await;
        let spec = &specs[0];
        let early = z.b.volumes.take_lease(&group, Generation(1)).await;
        early.unwrap();
        let refused = z.b.volumes.act(spec, order(plain(), 1)).await;
        assert_eq!(code(refused), ErrorCode::ForceRequired, "{mode}");
        let writer = z.admin(Site::ZoneA).pool(POOL).unwrap();
        let writer = writer.open(spec.image()).unwrap();
        writer.write(0, b"last").unwrap();
        let o = z.a.volumes.act(spec, order(demote("p1"), 2)).await;
        assert_eq!(o.unwrap().effect, Effect::Done, "{mode}");
        let late = writer.write(0, b"late").and_then(|_| writer.flush());
        let late = late.unwrap_err();
        assert!(
            late.is_write_refused() || late.needs_reconnect(),
            "{mode}: {late}"
        );
        drop(writer);
        z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
        // At once: the demotion is still on its way, and is waited for.
        let o = insist(&z.b, spec, &order(after("p1"), 2)).await.unwrap();
        assert_eq!((o.effect, o.report.role), (Effect::Done, Role::Primary));
        assert_eq!(first_bytes(&z, Site::ZoneB, spec), b"last", "{mode}");
        // Nothing is here that is not there: else the copy would differ for ever.
        assert_eq!(first_bytes(&z, Site::ZoneA, spec), b"last", "{mode}");
        // The old leader's order, in the new primary's zone.
        let stale =
            z.b.volumes
                .act(spec, order(VolumeAction::Demote { token: None }, 1))
                .await;
        assert_eq!(code(stale), ErrorCode::StaleGeneration);
        wait(&z.a, spec, VolumeStatus::ActiveSecondary).await;
        wait(&z.b, spec, VolumeStatus::ActivePrimary).await;
    }
}

/// librbd promotes plainly what was itself demoted, whatever the other zone wrote since: the demotion's name is what tells.
#[tokio::test(flavor = "multi_thread")]
async fn hard_case_57_a_promotion_waits_for_the_demotion_of_that_name() {
    let z = zones();
    for mode in BOTH {
        let (group, specs) = z.replicated(1, mode).await;
        let spec = &specs[0];
        z.a.volumes.act(spec, order(demote("p1"), 1)).await.unwrap();
        z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
        insist(&z.b, spec, &order(after("p1"), 2)).await.unwrap();
        // It sees nothing of what follows.
        z.lab.pause_service(Site::ZoneA, "rbd-mirror").unwrap();
        let writer = z.admin(Site::ZoneB).pool(POOL).unwrap();
        let writer = writer.open(spec.image()).unwrap();
        writer
            .write(0, b"in b")
            .and_then(|_| writer.flush())
            .unwrap();
        drop(writer);
        z.b.volumes.act(spec, order(demote("p2"), 2)).await.unwrap();
        z.a.volumes.take_lease(&group, Generation(3)).await.unwrap();
        let early = z.a.volumes.act(spec, order(after("p2"), 3)).await;
        z.lab.resume_service(Site::ZoneA, "rbd-mirror").unwrap();
        assert_eq!(code(early), ErrorCode::DemotionNotReplayed, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_16_split_brain_is_named_and_cured_with_the_losers_state_kept() {
    let z = zones();
    for mode in BOTH {
        let (group, specs) = z.replicated(1, mode).await;
        let spec = &specs[0];
        let writer = z.admin(Site::ZoneA).pool(POOL).unwrap();
        let writer = writer.open(spec.image()).unwrap();
        z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
        let o = z.b.volumes.act(spec, order(forced(), 2)).await.unwrap();
        assert_eq!(o.effect, Effect::Done);
        writer.write(0, b"lost").unwrap();
        drop(writer);
        wait(&z.a, spec, VolumeStatus::ErrorSplitBrain).await;
        wait(&z.b, spec, VolumeStatus::ErrorSplitBrain).await;
        // Hard case 18, 19: not while it is primary; not with the generation that it was promoted under.
        let keep = || resync("t1", SafetyCopy::Keep);
        let r = z.a.volumes.act(spec, order(keep(), 2)).await;
        assert_eq!(code(r), ErrorCode::IsPrimary);
        let r =
            z.a.volumes
                .act(spec, order(VolumeAction::Demote { token: None }, 2))
                .await;
        assert_eq!(r.unwrap().effect, Effect::Done);
        let split = wait(&z.a, spec, VolumeStatus::ErrorSplitBrain).await;
        assert_eq!(split.role, Role::Secondary);
        wait_for(&z.b, spec, "told of it", |r| {
            r.status == VolumeStatus::ActivePrimary
                && r.concerns.iter().any(|c| c.contains("diverged"))
        })
        .await;
        let r = z.a.volumes.act(spec, order(plain(), 2)).await;
        assert_eq!(code(r), ErrorCode::LeaseNotHeld);
        let pool = z.admin(Site::ZoneA).pool(POOL).unwrap();
        let given_up = pool.open_read_only(spec.image()).unwrap().id().unwrap();
        let o = insist(&z.a, spec, &order(keep(), 2)).await.unwrap();
        assert_eq!(o.effect, Effect::Started, "{mode}");
        wait(&z.a, spec, VolumeStatus::ActiveSecondary).await;
        let again = z.a.volumes.act(spec, order(keep(), 2)).await.unwrap();
        assert_eq!(again.effect, Effect::AlreadySo, "{mode}");
        assert_eq!(again.given_up, o.given_up, "{mode}");
        // Four bytes are a block.
        let told = o.given_up.unwrap();
        match &told.written {
            Written::Measured { bytes, extents, .. } => assert_eq!((*bytes, *extents), (4096, 1)),
            unknown @ Written::Unknown { .. } => panic!("{mode}: {unknown}"),
        }
        let safety = ImageSpec::new(
            POOL,
            format!("{}.rekindle-safety-2-{given_up}", spec.image()),
        )
        .unwrap();
        assert_eq!(first_bytes(&z, Site::ZoneA, &safety), b"lost", "{mode}");
        assert_eq!(told.kept_as, Some(safety));
        assert_eq!(first_bytes(&z, Site::ZoneA, spec), [0; 4], "{mode}");
        let query = VolumeQuery {
            group: Some(group),
            ..VolumeQuery::default()
        };
        assert_eq!(z.a.volumes.volumes(&query).await.unwrap().volumes.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_18_a_resync_beside_no_primary_is_refused() {
    let z = zones();
    for mode in BOTH {
        let (_, specs) = z.replicated(1, mode).await;
        let spec = &specs[0];
        z.a.volumes
            .act(spec, order(VolumeAction::Demote { token: None }, 1))
            .await
            .unwrap();
        wait_for(&z.b, spec, "seen demoted", |r| {
            r.status == VolumeStatus::PendingPromotion && r.peer_primary == Known::No
        })
        .await;
        let r =
            z.b.volumes
                .act(spec, order(resync("t", SafetyCopy::Discard), 2))
                .await;
        assert_eq!(code(r), ErrorCode::PeerNotPrimary, "{mode}");
        tokio::time::sleep(Duration::from_secs(3)).await;
        z.b.volumes.volume(spec).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_37_what_cannot_be_replicated_is_refused_and_leaves_nothing_behind() {
    let z = zones();
    let group = new_group();
    let parent = z.image();
    let pool = z.admin(Site::ZoneA).pool(POOL).unwrap();
    let image = pool.open(parent.image()).unwrap();
    image.create_snapshot("base").unwrap();
    let child = ImageSpec::new(POOL, format!("{}-child", parent.image())).unwrap();
    pool.clone_image(parent.image(), "base", &pool, child.image())
        .unwrap();
    for (spec, word) in [(&parent, "has 1 clones"), (&child, "is a clone of")] {
        let order = replicate(ReplicationMode::Instant, &group);
        let error = z.a.volumes.act(spec, order).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::HasClones);
        assert!(error.message.contains(word), "{error}");
        assert_eq!(
            image
                .metadata()
                .unwrap()
                .keys()
                .find(|k| k.starts_with("rekindle")),
            None
        );
    }
    let spec = z.image();
    for secs in [0, 366 * 86_400] {
        let mode = ReplicationMode::Periodic(Schedule {
            start: "2026-01-01T00:00:00Z".parse().unwrap(),
            interval: Span::secs(secs),
        });
        let error = z.a.volumes.act(&spec, replicate(mode, &group)).await;
        let error = error.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidField);
        assert_eq!(error.field.as_deref(), Some("action.interval"));
    }
    for (pool, image, known) in [
        (POOL, "no-such-image", ErrorCode::UnknownVolume),
        // Of what is in a pool that it was not given it knows nothing.
        ("no-such-pool", "volume-1", ErrorCode::StorageError),
    ] {
        let nowhere = ImageSpec::new(pool, image).unwrap();
        let r =
            z.a.volumes
                .act(&nowhere, order(VolumeAction::Demote { token: None }, 1));
        assert_eq!(code(r.await), known);
    }
    let r =
        z.a.volumes
            .act(&spec, order(VolumeAction::Demote { token: None }, 1))
            .await;
    assert_eq!(code(r), ErrorCode::NotReplicated);
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_29_a_dead_mirror_daemon_is_seen_and_force_still_works() {
    let z = zones();
    for mode in BOTH {
        let (group, specs) = z.replicated(1, mode).await;
        z.lab.kill_service(Site::ZoneB, "rbd-mirror").unwrap();
        wait(&z.b, &specs[0], VolumeStatus::ErrorMirrorDown).await;
        wait_for(&z.a, &specs[0], "worried", |r| {
            r.concerns.iter().any(|c| c.contains("does not report"))
        })
        .await;
        assert_eq!(z.b.volumes.zone().await.mirror.daemon_up, Known::No);
        z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
        let o = z.b.volumes.act(&specs[0], order(forced(), 2)).await;
        assert_eq!(o.unwrap().effect, Effect::Done, "{mode}");
        z.lab.start_service(Site::ZoneB, "rbd-mirror").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_31_fencing_shuts_out_a_live_client() {
    let z = zones();
    let (group, specs) = z.replicated(2, ReplicationMode::Instant).await;
    let writer = z.admin(Site::ZoneA).pool(POOL).unwrap();
    let writer = writer.open(specs[0].image()).unwrap();
    writer.write(0, b"here").unwrap();
    let fenced = z.a.volumes.fence(&group, Generation(2)).await.unwrap();
    assert_eq!(fenced.clients.len(), 1, "{fenced:?}");
    let refused = writer.write(0, b"late").and_then(|_| writer.flush());
    let refused = refused.unwrap_err();
    assert!(
        refused.is_write_refused() || refused.needs_reconnect(),
        "{refused}"
    );
    for spec in &specs {
        let r = z.a.volumes.volume(spec).await.unwrap();
        assert_eq!(r.role, Role::Secondary);
    }
    // A client that comes anew finds a copy.
    let fresh = z.admin(Site::ZoneA).pool(POOL).unwrap();
    let fresh = fresh.open(specs[0].image()).unwrap();
    assert!(fresh.write(0, b"late").and_then(|_| fresh.flush()).is_err());
    let r = z.a.volumes.give_up_lease(&group, Generation(2)).await;
    assert_eq!(r.unwrap().lease, LeaseView::NotHeld);
}

/// The main thing: the zone is killed, everything is promoted in the other one in one batch, the zone comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_zone_is_reported_in_time_and_its_volumes_are_promoted_by_force() {
    let z = zones();
    let limits = Limits {
        action: Span::secs(8),
        look: Span::secs(4),
        ..Limits::default()
    };
    let a = side(&z.lab, Site::ZoneA, limits);
    let (group, mut specs) = z.replicated(3, ReplicationMode::Instant).await;
    let mode = ReplicationMode::Once;
    for _ in 0..3 {
        let spec = z.image();
        z.a.volumes
            .act(&spec, replicate(mode, &group))
            .await
            .unwrap();
        wait(&z.b, &spec, VolumeStatus::ActiveSecondary).await;
        specs.push(spec);
    }
    let query = VolumeQuery {
        group: Some(group.clone()),
        ..VolumeQuery::default()
    };
    assert_eq!(a.volumes.volumes(&query).await.unwrap().volumes.len(), 6);
    z.lab.kill(Site::ZoneA).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    // Each question is answered in time, and nothing is made up.
    let begun = Instant::now();
    let zone = a.volumes.zone().await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(zone.ceph.writable, Known::No);
    let begun = Instant::now();
    let listed = a.volumes.volumes(&query).await.unwrap().volumes;
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        listed
            .iter()
            .all(|v| v.status == VolumeStatus::ErrorUnknown && v.role == Role::Unknown)
    );
    let begun = Instant::now();
    let r = a
        .volumes
        .act(&specs[0], order(VolumeAction::Demote { token: None }, 1))
        .await;
    assert_eq!(code(r), ErrorCode::DeadlineExceeded);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );

    // The other zone takes over.
    z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
    let items = specs.iter().map(|volume| BatchItem {
        volume: volume.clone(),
        order: order(forced(), 2),
    });
    let begun = Instant::now();
    let request = BatchRequest {
        items: items.collect(),
    };
    let mut lines = z.b.volumes.batch(request).unwrap();
    let mut promoted = 0;
    while let Some(line) = lines.recv().await {
        match line.result {
            BatchResult::Ok { outcome } => {
                assert_eq!(outcome.report.role, Role::Primary);
                promoted += 1;
            }
            BatchResult::Failed { error } => panic!("{}: {error}", line.volume),
        }
    }
    assert_eq!(promoted, specs.len());
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );

    // It is back, and still says primary until it is told otherwise.
    z.lab.start(Site::ZoneA).unwrap();
    z.lab.wait_mirroring(Duration::from_secs(240)).unwrap();
    wait_for(&a, &specs[0], "primary", |r| r.role == Role::Primary).await;
    let all = a
        .volumes
        .demote_all(
            &group,
            tokio::time::Instant::now() + Duration::from_secs(20),
        )
        .await;
    assert_eq!((all.demoted.len(), all.complete()), (6, Ok(())));
    for (i, spec) in specs.iter().enumerate() {
        wait(&a, spec, VolumeStatus::ErrorSplitBrain).await;
        let discard = resync(&format!("r{i}"), SafetyCopy::Discard);
        let o = insist(&a, spec, &order(discard, 2)).await.unwrap();
        assert_eq!(o.effect, Effect::Started);
        // Nobody had written.
        let given_up = o.given_up.unwrap();
        assert!(given_up.written.is_nothing(), "{given_up}");
        assert_eq!(given_up.kept_as, None);
    }
    for spec in &specs {
        wait(&a, spec, VolumeStatus::ActiveSecondary).await;
    }
    assert!(matches!(z.b.leases.view(&group), LeaseView::Held { .. }));
}
