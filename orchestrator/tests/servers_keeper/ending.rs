//! What goes when a server's protection or its group ends, and what is left alone.

use super::*;
use rekindle_driver::backend::Op;
use tokio::time::sleep;

/// Somebody's server with our mark, which was once taken for ours: it is forgotten, and nothing is done to it.
#[tokio::test(start_paused = true)]
async fn hard_case_51_what_bears_the_mark_on_other_volumes_is_not_taken_away() {
    let play = Play::settled().await;
    play.b.change("built-1", |s| {
        s.record.disks[0].volume.id = "vol-9-zone-b".to_owned();
    });
    play.runbook(runbook(StandbyPolicy::Record)).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), Vec::<String>::new());
    assert!(!play.kept().await.unwrap().instances.contains_key(&zone_b()));
    // Nor is it in the way of the one that is wanted.
    play.runbook(runbook(StandbyPolicy::Shutoff)).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["build built-2"]);
    assert_eq!(play.b.servers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_its_user_deleted_is_said_and_nothing_else_is_lost() {
    let play = Play::settled().await;
    play.a.remove_by_hand("s1");
    assert!(play.trouble().await.contains("take it out of the runbook"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
    assert!(play.kept().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn protection_that_ends_takes_what_we_built_and_what_was_kept() {
    let play = Play::settled().await;
    play.runbook(Runbook::default()).await;
    // While a plan is at work it waits.
    play.put(keys::group_active_plan(&group()), &"p-1").await;
    assert!(play.trouble().await.contains("a plan is at work"));
    play.delete(keys::group_active_plan(&group())).await;
    // And while its stand-by serves somebody.
    play.b.change("built-1", |s| s.state = ServerState::Running);
    assert!(play.trouble().await.contains("is not at rest"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
    play.b.change("built-1", |s| s.state = ServerState::Stopped);
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-1"]);
    assert_eq!(play.round().await, []);
    assert_eq!((play.kept().await, play.built().await), (None, None));
    assert!(
        play.is_described(&zone_a(), None).await,
        "its record is still with its volume"
    );
    assert_eq!(play.a.servers().len(), 1);
    // A group that cannot be read is no group that is gone.
    let play = Play::settled().await;
    play.put(keys::group_spec(&group()), &"rubbish").await;
    assert!(play.trouble().await.contains("cannot be read"));
    assert_eq!(
        (play.b.orders(), play.kept().await.is_some()),
        (vec![], true)
    );
}

/// With its group go its stand-by, the record with its volume, and at last what is kept of it.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_deleted_leaves_nothing_of_its_servers() {
    let play = Play::settled().await;
    play.delete(keys::group_spec(&group())).await;
    let shown = play.round().await;
    assert!(
        shown[0].trouble.as_ref().unwrap().contains("was removed"),
        "{shown:?}"
    );
    assert_eq!(play.b.orders(), ["remove built-1"]);
    assert_eq!(play.round().await, []);
    assert_eq!((play.kept().await, play.built().await), (None, None));
    assert!(play.is_described(&zone_a(), None).await);
    assert_eq!(play.a.servers().len(), 1, "its users' own");
}

/// Its record was taken from its volume when the transaction was refused: it is written there again.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_protected_again_as_it_is_forgotten_is_described_anew() {
    let play = Play::settled().await;
    play.runbook(Runbook::default()).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-1"]);
    let cluster = play.rig.world.fabric().a();
    cluster.slow(Op::SetMetadata, Duration::from_secs(1));
    let put_back = async {
        sleep(Duration::from_millis(500)).await;
        play.runbook(runbook(StandbyPolicy::Shutoff)).await;
    };
    let (shown, ()) = tokio::join!(play.round(), put_back);
    let trouble = shown[0].trouble.clone().unwrap_or_default();
    assert!(trouble.contains("it was changed meanwhile"), "{shown:?}");
    cluster.release(Op::SetMetadata);
    let record = play.kept().await.unwrap().record;
    play.round().await;
    assert!(play.is_described(&zone_a(), Some(&record)).await);
}
