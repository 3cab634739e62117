//! One volume that is slow, or that never left, and what it does to the others: nothing.

use super::*;
use crate::cinder::{
    failover::{Ends, Trip, promote_all},
    rules::{Seen, Way, way},
};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_20_a_slow_demotion_keeps_no_other_volume_from_its_promotion() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    let token = token(rules::TOKEN).unwrap();
    let demote = VolumeAction::Demote {
        token: Some(token.clone()),
    };
    let inner = &bench.cinder.inner;
    let trip = Trip {
        from: &inner.own,
        to: &inner.peer.as_ref().unwrap().1,
        health: Health::Writes,
        by: Instant::now() + Duration::from_secs(30),
    };
    let (told, demoted) = mpsc::channel(2);
    let mut ends = Ends::new();
    let demoting = async {
        for v in &volumes {
            let outcome = bench.by_hand(&bench.a, v, demote.clone()).await;
            told.send((v.image.clone(), Ok(outcome))).await.unwrap();
            // The next one is demoted when this one has been promoted, and no sooner.
            let deadline = Instant::now() + Duration::from_secs(20);
            while bench.role(&bench.b, v).await != Role::Primary {
                assert!(Instant::now() < deadline, "{v:?} waits for another");
                sleep(Duration::from_millis(20)).await;
            }
        }
        drop(told);
    };
    let promoting = promote_all(BTreeMap::new(), demoted, &token, trip, &mut ends);
    tokio::join!(demoting, promoting);
    assert_eq!(ends.len(), 2);
    assert!(ends.values().all(|(_, end)| end.is_ok()), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_55_one_that_never_left_keeps_no_other_from_going_home() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    let off = VolumeAction::Unreplicate;
    bench.by_hand(&bench.a, &volumes[1], off).await;
    bench.failover(None, None, &volumes).await.unwrap();
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    let end = &home.volumes[0];
    assert_eq!(end.replication_status, ReplicationStatus::Enabled);
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
    assert_eq!(error_of(&home.volumes[1]).code, ErrorCode::NotReplicated);
}

#[tokio::test(start_paused = true)]
async fn hard_case_21_a_sidecar_that_is_out_of_threads_forces_nothing() {
    let zone = |n: &str| ZoneName::new(n).unwrap();
    let (a, b) = (zone("zone-a"), zone("zone-b"));
    let fabric = Fabric::new(a.clone(), b.clone(), FabricConfig::default());
    let own = Side::own(volumes(&fabric.a()), Ready::default());
    let watched = async || {
        let begun = Instant::now();
        while begun.elapsed() < DEAD_AFTER * 2 {
            own.look().await;
            sleep(Duration::from_millis(500)).await;
        }
        own.health()
    };
    assert_eq!(watched().await, Health::Writes);
    fabric.a().starve(Op::Probe);
    let health = watched().await;
    assert_eq!(health, Health::Unknown);
    // Of a volume whose copy could be forced.
    let image = ImageSpec::new("volumes", "v").unwrap();
    fabric.a().create_image(&image, 1 << 20);
    let replicate = Order {
        action: VolumeAction::Replicate {
            mode: ReplicationMode::Instant,
            group: None,
            leave_group: false,
            anew: false,
            cinder: None,
        },
        generation: None,
    };
    volumes(&fabric.a()).act(&image, replicate).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let there = volumes(&fabric.b());
    let copy = there.volume(&image).await.unwrap();
    let seen = |health| Seen {
        from: (&a, health),
        left: None,
        to: &b,
        taken: Some(&copy),
    };
    let Way::Refuse(why) = way(&seen(health)) else {
        panic!("{copy:?}");
    };
    assert_eq!(why.code, ErrorCode::Held);
    // A cluster that is silent is dead by then.
    fabric.a().release(Op::Probe);
    fabric.a().kill();
    assert_eq!(way(&seen(watched().await)), Way::Force);
}
