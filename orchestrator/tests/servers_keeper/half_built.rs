//! A build that did not end, and whose server comes up after that: whatever is wanted by then, it is found, held, and taken away or adopted.

use super::{
    Play, TIMING,
    common::{group, zone_b},
    fake::Mode,
    key, record, runbook, volumes,
};
use rekindle_common::{
    keys,
    runbook::{Runbook, StandbyPolicy},
};
use rekindle_core::servers::Begun;
use rekindle_orchestrator::servers::control::ServerState;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// Its first build was late. What comes of it has not come up yet.
async fn late() -> Play {
    let play = Play::new().await;
    play.b.mode(Mode::BuildsHang);
    assert!(play.trouble().await.contains("did not answer"));
    assert_eq!(play.kept().await.unwrap().instances.len(), 1);
    play.b.mode(Mode::Well);
    // What failed waits a moment.
    sleep(TIMING.again).await;
    play
}

/// Nova has built it to its end, on the copies, as a stand-by of that one.
fn comes_up(play: &Play, counterpart: &str) {
    play.b.put("half", record(json!({})));
    play.b.change("half", |s| {
        s.mark = Some(counterpart.to_owned());
        for (n, disk) in s.record.disks.iter_mut().enumerate() {
            disk.volume.id = format!("vol-{n}-zone-b");
        }
    });
}

async fn begun(play: &Play) -> Option<Begun> {
    let at = keys::begun_standby(&group(), &key(), &zone_b());
    let kv = play.store.get(&at).await.unwrap();
    kv.map(|kv| kv.json().unwrap())
}

async fn is_gone_in_two_rounds(play: &Play) {
    play.round().await;
    assert_eq!(play.b.orders(), ["hold half"]);
    play.round().await;
    assert_eq!(play.b.orders(), ["remove half"]);
    assert!(play.b.servers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn hard_case_51_what_a_late_build_brought_up_goes_where_no_stand_by_is_wanted_any_more() {
    for policy in [StandbyPolicy::Record, StandbyPolicy::None] {
        let play = late().await;
        comes_up(&play, "zone-a/s1");
        play.runbook(runbook(policy)).await;
        is_gone_in_two_rounds(&play).await;
        assert_eq!(begun(&play).await, None, "{policy:?}");
        assert_eq!(play.trouble().await, "");
        assert_eq!(play.kept().await.unwrap().instances.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_51_what_a_late_build_brought_up_goes_with_its_server_from_the_runbook() {
    let play = late().await;
    comes_up(&play, "zone-a/s1");
    play.runbook(Runbook::default()).await;
    is_gone_in_two_rounds(&play).await;
    // An order that was lost may still be carried out: it is looked for a while longer.
    assert!(play.trouble().await.contains("may still come up"));
    sleep(Duration::from_secs(1800)).await;
    play.round().await;
    assert_eq!((play.kept().await, begun(&play).await), (None, None));
    assert_eq!(play.b.orders(), ["clear"], "its ports go too");
}

#[tokio::test(start_paused = true)]
async fn hard_case_51_what_a_late_build_brought_up_goes_with_its_group() {
    let play = late().await;
    comes_up(&play, "zone-a/s1");
    play.delete(keys::group_spec(&group())).await;
    is_gone_in_two_rounds(&play).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_late_build_brought_up_is_adopted_where_it_is_wanted() {
    let play = late().await;
    let before = begun(&play).await.unwrap();
    assert_eq!(before.counterpart, "zone-a/s1");
    assert_eq!(before.record.disks[0].volume.id, "vol-0-zone-b");
    comes_up(&play, "zone-a/s1");
    play.round().await;
    assert_eq!(play.b.orders(), ["hold half"]);
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["adopt half"]);
    assert_eq!(play.kept().await.unwrap().instances[&zone_b()].id, "half");
    assert_eq!(begun(&play).await, None, "its build has ended");
}

/// It bears the one that served when it was begun.
#[tokio::test(start_paused = true)]
async fn what_a_late_build_brought_up_is_built_anew_where_another_serves_by_now() {
    let play = late().await;
    comes_up(&play, "zone-a/s1");
    play.a.remove_by_hand("s1");
    play.a.put("s2", record(json!({})));
    let mut renamed = runbook(StandbyPolicy::Shutoff);
    renamed.levels[0].servers[0].server = Some("s2".to_owned());
    play.runbook(renamed).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["hold half"]);
    play.round().await;
    assert_eq!(play.b.orders(), ["remove half", "build built-1"]);
    assert_eq!(play.b.servers()[0].mark.as_deref(), Some("zone-a/s2"));
    assert_eq!(begun(&play).await, None);
}

/// Nothing came of it: after a while that is certain, and it is not looked for any more.
#[tokio::test(start_paused = true)]
async fn a_build_that_came_to_nothing_is_forgotten() {
    let play = late().await;
    play.runbook(runbook(StandbyPolicy::Record)).await;
    assert_eq!(play.trouble().await, "");
    assert!(begun(&play).await.is_some());
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(begun(&play).await, None);
    assert_eq!(play.b.orders(), ["clear"], "its ports go too");
}

/// On volumes that can be written there it may serve.
#[tokio::test(start_paused = true)]
async fn what_a_late_build_brought_up_is_left_where_its_volumes_cannot_be_seen() {
    let mut play = late().await;
    comes_up(&play, "zone-a/s1");
    play.rig.world.kill_sidecar(&zone_b());
    play.runbook(runbook(StandbyPolicy::Record)).await;
    assert!(play.trouble().await.contains("cannot be seen now"));
    play.runbook(Runbook::default()).await;
    assert!(play.trouble().await.contains("cannot be seen now"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
}

/// What was built there before was deleted by hand, and its word must not be taken for that of the build that was begun after it.
#[tokio::test(start_paused = true)]
async fn hard_case_51_a_late_build_beside_the_word_of_an_earlier_one_is_found_too() {
    let play = Play::settled().await;
    play.b.remove_by_hand("built-1");
    play.b.mode(Mode::BuildsHang);
    for _ in 0..3 {
        play.round().await;
    }
    assert!(begun(&play).await.is_some());
    assert_eq!(play.built().await, None);
    play.b.mode(Mode::Well);
    sleep(TIMING.again).await;
    play.b.orders();
    comes_up(&play, "zone-a/s1");
    play.runbook(Runbook::default()).await;
    is_gone_in_two_rounds(&play).await;
}

/// One that failed on a volume that is gone by now is built anew on those that are wanted.
#[tokio::test(start_paused = true)]
async fn what_failed_on_a_volume_that_is_gone_is_built_anew_without_it() {
    let play = late().await;
    comes_up(&play, "zone-a/s1");
    play.b
        .change("half", |s| s.state = ServerState::Failed { off: true });
    play.a.change("s1", |s| s.record.disks.truncate(1));
    let mut volumes = volumes(play.clock.now());
    for (zone, all) in &mut volumes.zones {
        all.remove(&format!("vol-1-{zone}"));
    }
    play.feed.tell(Some(volumes));
    for _ in 0..3 {
        play.round().await;
    }
    let orders = play.b.orders();
    assert!(
        orders.contains(&"remove half".to_owned())
            && orders.iter().any(|o| o.starts_with("build ")),
        "{orders:?}"
    );
    assert_eq!(play.b.servers()[0].record.disks.len(), 1);
}
