//! Retypes: in place where there is a way, and else the copy is given up only for one that will be made.

use super::*;

const OFTEN: [(&str, &str); 2] = [("rekindle:mode", "periodic"), ("rekindle:interval", "1h")];

/// librbd takes mirroring off an image with clones that are not mirrored themselves, and we replicate none with clones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_37_a_retype_that_would_be_refused_afterwards_leaves_the_copy() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    bench.fabric.a().set_lineage(&volumes[0].image, None, 1);
    let copy = || bench.fabric.b().image_id(&volumes[0].image);
    let before = (
        bench.a.volume(&volumes[0].image).await.unwrap().mode,
        copy(),
    );
    let answer = bench.replicate(&volumes, &OFTEN).await;
    let refused = error_of(&answer.volumes[0]);
    assert_eq!(refused.code, ErrorCode::HasClones, "{refused}");
    // What the other zone's daemon makes of it.
    sleep(Duration::from_millis(200)).await;
    let after = bench.a.volume(&volumes[0].image).await.unwrap();
    assert_eq!(after.role, Role::Primary);
    assert_eq!((after.mode, copy()), before);
    // That one decides nothing for another.
    assert_eq!(
        answer.volumes[1].replication_status,
        ReplicationStatus::Enabled
    );
    let other = bench.a.volume(&volumes[1].image).await.unwrap();
    assert!(matches!(other.mode, Some(ReplicationMode::Periodic(_))));
    bench
        .wait(&bench.b, &volumes[1].image, VolumeStatus::ActiveSecondary)
        .await;
    // The clone is gone, and so is what spoke against it.
    bench.fabric.a().set_lineage(&volumes[0].image, None, 0);
    let answer = bench.replicate(&volumes, &OFTEN).await;
    for v in &answer.volumes {
        assert_eq!(v.replication_status, ReplicationStatus::Enabled, "{v:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retype_changes_mode_and_schedule_in_place() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let periodic = [("rekindle:mode", "periodic"), ("rekindle:interval", "1h")];
    let answer = bench.replicate(&volumes, &periodic).await;
    assert_eq!(
        answer.volumes[0].replication_status,
        ReplicationStatus::Enabled,
        "{answer:?}"
    );
    bench
        .wait(&bench.b, &volumes[0].image, VolumeStatus::ActiveSecondary)
        .await;
    let often = [("rekindle:mode", "periodic"), ("rekindle:interval", "15m")];
    bench.replicate(&volumes, &often).await;
    let report = bench.a.volume(&volumes[0].image).await.unwrap();
    let Some(ReplicationMode::Periodic(s)) = report.mode else {
        panic!("{report:?}")
    };
    assert_eq!(s.interval, Span::secs(900));
    let request = VolumesRequest {
        backend: None,
        volumes: volumes.clone(),
    };
    let off = bench.cinder.unreplicate(request.clone()).await.unwrap();
    assert_eq!(
        off.volumes[0].replication_status,
        ReplicationStatus::Disabled
    );
    let status = bench.cinder.status(&request).await.unwrap();
    assert_eq!(
        status.volumes[0].replication_status,
        ReplicationStatus::Disabled
    );
}

/// Cinder leaves such a volume its old type and its word `enabled`: what it is has to be seen elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retype_that_breaks_between_the_modes_is_seen_and_taken_up_again() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let image = &volumes[0].image;
    // Twice: what was seen to be replicated once is not forgotten by the next try either.
    for _ in 0..2 {
        bench.fabric.a().fail(Op::Enable, Some(image), 28, 1);
        let answer = bench.replicate(&volumes, &OFTEN).await;
        error_of(&answer.volumes[0]);
        let report = bench.a.volume(image).await.unwrap();
        assert_eq!(report.status, VolumeStatus::ErrorNotMirrored);
        assert!(
            matches!(report.mode, Some(ReplicationMode::Periodic(_))),
            "{report:?}"
        );
        let request = VolumesRequest {
            backend: None,
            volumes: volumes.clone(),
        };
        let status = bench.cinder.status(&request).await.unwrap();
        assert_eq!(
            status.volumes[0].replication_status,
            ReplicationStatus::Error
        );
    }
    let answer = bench.replicate(&volumes, &OFTEN).await;
    assert_eq!(
        answer.volumes[0].replication_status,
        ReplicationStatus::Enabled,
        "{answer:?}"
    );
    bench
        .wait(&bench.b, image, VolumeStatus::ActiveSecondary)
        .await;
}

/// A server's boot volume gets another image, or Cinder's generic group is put under replication: nobody changed its type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_replicated_otherwise_than_its_type_says_stays_so_where_no_type_was_changed()
 {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    let image = &volumes[0].image;
    // As docs/installing.md says it: `rekindle volume replicate --mode periodic --interval 1h --group shop`.
    let shop = [OFTEN[0], OFTEN[1], ("rekindle:group", "shop")];
    bench.replicate(&volumes[..1], &shop).await;
    bench
        .wait(&bench.b, image, VolumeStatus::ActiveSecondary)
        .await;
    let off = VolumeAction::Unreplicate;
    bench.by_hand(&bench.a, &volumes[1], off).await;
    let how = async |image: &ImageSpec| {
        let r = bench.a.volume(image).await.unwrap();
        (r.mode, r.group, r.on_delete)
    };
    let copy = || bench.fabric.b().image_id(image);
    let before = (how(image).await, copy());
    let answer = bench.replicate_for(Cause::Again, &volumes, &[]).await;
    for v in &answer.volumes {
        assert_eq!(v.replication_status, ReplicationStatus::Enabled, "{v:?}");
    }
    assert_eq!((how(image).await, copy()), before);
    // One that was not replicated is, by its type.
    let (mode, group, _) = how(&volumes[1].image).await;
    assert_eq!((mode, group), (Some(ReplicationMode::Instant), None));
    bench
        .wait(&bench.b, &volumes[1].image, VolumeStatus::ActiveSecondary)
        .await;
    // A retype says all of it, as ever.
    bench.replicate(&volumes[..1], &[]).await;
    let (mode, group, _) = how(image).await;
    assert_eq!((mode, group), (Some(ReplicationMode::Instant), None));
}
