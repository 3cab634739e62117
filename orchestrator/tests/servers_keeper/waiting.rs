//! Where something is unknown or missing, or somebody else is at work, nothing is done and it is said.

use super::*;
use crate::fake::Mode;
use rekindle_common::lease::PrimaryRecord;
use rekindle_orchestrator::{build, client::OrchestratorClient, wire::Maintenance};

#[tokio::test(start_paused = true)]
async fn hard_case_53_a_nova_that_hangs_changes_nothing() {
    let play = Play::settled().await;
    for (cloud, word) in [
        (&play.a, "cannot be followed now"),
        (&play.b, "cannot be seen now"),
    ] {
        cloud.mode(Mode::Hangs);
        let trouble = play.trouble().await;
        assert!(trouble.contains(word), "{trouble}");
        assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
        cloud.mode(Mode::Well);
    }
    assert_eq!(play.kept().await.unwrap().instances.len(), 2);
    assert_eq!(play.trouble().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_stand_by_is_not_built_where_its_copies_are_not_seen() {
    let mut play = Play::new().await;
    play.rig.world.kill_sidecar(&zone_b());
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("its volumes in zone-b cannot be seen now"),
        "{trouble}"
    );
    assert_eq!(play.b.orders(), Vec::<String>::new());
    play.rig.world.start_sidecar(&zone_b());
    eventually("it is built", || async {
        play.round().await[0].trouble.is_none().then_some(())
    })
    .await;

    // Nor without the catalogue, or where that is too old.
    let play = Play::new().await;
    play.feed.tell(None);
    let trouble = play.trouble().await;
    assert!(trouble.contains("not known now what volume"), "{trouble}");
    play.feed.tell(Some(VolumeMap {
        at: Timestamp::UNIX_EPOCH,
        ..volumes(play.clock.now())
    }));
    assert!(play.trouble().await.contains("not known now what volume"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_zone_takes_no_stand_by() {
    let play = Play::new().await;
    play.rig
        .world
        .volumes(&zone_b())
        .unwrap()
        .freeze("disk swap".to_owned())
        .await;
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("may not be attached in zone-b") && trouble.contains("disk swap"),
        "{trouble}"
    );
    assert_eq!(play.b.orders(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_while_a_plan_is_at_work_or_in_maintenance() {
    let play = Play::new().await;
    play.put(keys::group_active_plan(&group()), &"p-1").await;
    assert!(play.trouble().await.contains("plan p-1 is at work"));
    play.delete(keys::group_active_plan(&group())).await;
    play.put(
        keys::MAINTENANCE.to_owned(),
        &Maintenance {
            reason: "new switches".to_owned(),
        },
    )
    .await;
    assert!(play.trouble().await.contains("maintenance"));
    play.delete(keys::MAINTENANCE.to_owned()).await;
    let primary = play
        .store
        .get(&keys::group_primary(&group()))
        .await
        .unwrap()
        .unwrap();
    play.delete(keys::group_primary(&group())).await;
    assert!(play.trouble().await.contains("primary is not recorded"));
    assert_eq!(
        (play.a.orders(), play.b.orders(), play.kept().await),
        (vec![], vec![], None)
    );
    play.put(
        keys::group_primary(&group()),
        &primary.json::<PrimaryRecord>().unwrap(),
    )
    .await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["build built-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_build_is_given_up_the_moment_a_plan_begins() {
    let play = Play::new().await;
    play.b.mode(Mode::BuildsHang);
    let begun = tokio::time::Instant::now();
    let plan = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        play.put(keys::group_active_plan(&group()), &"p-1").await;
    };
    let (trouble, ()) = tokio::join!(play.trouble(), plan);
    assert!(
        trouble.contains("somebody else works on the group now"),
        "{trouble}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    // Its record was kept before; that a build was begun is found by its mark.
    assert_eq!(play.kept().await.unwrap().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_lost_ends_it_within_a_build() {
    let play = Play::new().await;
    play.b.mode(Mode::BuildsHang);
    let resign = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        play.hand.cancel.cancel();
    };
    let (end, ()) = tokio::join!(play.keeper.round(&play.hand.lead), resign);
    assert!(matches!(end, Err(LeadError::Lost)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn hard_case_52_a_quota_is_said_and_tried_again_less_and_less_often() {
    let play = Play::new().await;
    play.b
        .mode(Mode::BuildsFail("zone-b: over quota: instances".to_owned()));
    assert!(play.trouble().await.contains("over quota"));
    let before = play.trouble().await;
    assert!(
        before.contains("over quota") && before.contains("tried again"),
        "{before}"
    );
    play.b.mode(Mode::Well);
    assert!(play.trouble().await.contains("over quota"), "it waits");
    assert_eq!(play.b.orders(), Vec::<String>::new());
    tokio::time::sleep(TIMING.again).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["build built-1"]);
}

#[tokio::test(start_paused = true)]
async fn it_runs_beside_a_term_and_is_shown() {
    let mut rig = Rig::with(3, policy()).await;
    for s in rig.world.sites() {
        rig.world.stop_orchestrator(&s).await;
    }
    let orchestrator = build(rig.world.parts(&witness()));
    let client = OrchestratorClient::new(vec![orchestrator.endpoint()]);
    tokio::spawn(orchestrator.run(CancellationToken::new()));
    let e = eventually("it leads", || async {
        client
            .servers()
            .await
            .err()
            .filter(|e| e.code == rekindle_common::ErrorCode::Unsupported)
    })
    .await;
    assert!(e.message.contains("[catalogue]"), "{e}");
}
