//! Both instances of a server are ours, as they come to be where a zone's Nova was set up anew while the other zone served, or where a server was
//! never built before its failover: each has its own word of what it was built from.

use super::{
    Play,
    common::{eventually, group, zone_a, zone_b},
    fake::Srv,
    key, record, runbook,
};
use rekindle_common::{
    keys,
    runbook::{Runbook, StandbyPolicy},
    servers::ServerRecord,
};
use rekindle_core::servers::Built;
use rekindle_orchestrator::servers::control::ServerState;
use serde_json::json;

fn serves(s: &mut Srv) {
    (s.state, s.held) = (ServerState::Running, false);
}

fn rests(s: &mut Srv) {
    (s.state, s.held) = (ServerState::Stopped, true);
}

async fn settles(play: &Play) {
    eventually("nothing is in the way", || async {
        play.round().await[0].trouble.is_none().then_some(())
    })
    .await;
}

/// There and back again; nobody has looked at it since.
async fn home_again() -> Play {
    let mut play = Play::settled().await;
    play.moved().await;
    play.b.change("built-1", serves);
    play.a.remove_by_hand("s1");
    settles(&play).await;
    assert_eq!(play.a.orders(), ["build built-1"]);
    let marks = |s: Vec<Srv>| s[0].mark.clone().unwrap();
    assert_eq!(marks(play.a.servers()), "zone-b/built-1");
    assert_eq!(marks(play.b.servers()), "zone-a/s1");
    let words = [
        play.built_in(&zone_a()).await.unwrap().counterpart,
        play.built_in(&zone_b()).await.unwrap().counterpart,
    ];
    assert_eq!(words, ["zone-b/built-1", "zone-a/s1"]);

    play.moved_to(&zone_a()).await;
    play.b.change("built-1", rests);
    play.a.change("built-1", serves);
    play
}

#[tokio::test(start_paused = true)]
async fn where_both_are_ours_the_one_that_stands_by_is_followed_by_its_own_word() {
    let play = home_again().await;
    settles(&play).await;
    // It is marked as the stand-by of one that is gone.
    assert_eq!(play.b.orders(), ["remove built-1", "build built-2"]);
    let standby = play.b.servers().remove(0);
    assert_eq!(standby.mark.as_deref(), Some("zone-a/built-1"));
    assert_eq!(play.trouble().await, "");
    assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));

    // And its protection ends.
    play.runbook(Runbook::default()).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-2"]);
    assert_eq!(play.round().await, []);
    assert_eq!(play.a.servers().len(), 1, "what serves");
    let left = play.store.list(keys::STANDBYS, 10).await.unwrap();
    assert_eq!(left.items, []);
}

#[tokio::test(start_paused = true)]
async fn where_both_are_ours_one_that_is_wanted_no_more_goes_under_its_own_mark() {
    let play = home_again().await;
    play.runbook(runbook(StandbyPolicy::Record)).await;
    settles(&play).await;
    assert_eq!(play.b.orders(), ["remove built-1"]);
    assert_eq!(play.built().await, None);
    assert_eq!(play.a.servers().len(), 1, "what serves");
}

/// One word for both zones, as older versions have it.
#[tokio::test(start_paused = true)]
async fn what_an_older_version_wrote_down_counts_until_it_is_written_anew() {
    let play = Play::settled().await;
    let old = keys::old_built_standby(&group(), &key());
    let is_there = async || play.store.get(&old).await.unwrap().is_some();
    let flavor = |name: &str| {
        let record = record(json!({ "flavor": { "name": name } }));
        let id = Some("s1".to_owned());
        play.a
            .change("s1", |s| s.record = ServerRecord { id, ..record });
    };
    let built = play.built().await.unwrap();
    play.delete(keys::built_standby(&group(), &key(), &zone_b()))
        .await;
    play.put(old.clone(), &built).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), [""; 0], "its word was taken for lost");
    flavor("large");
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["remove built-1", "build built-2"]);
    assert_eq!(play.built().await.unwrap().id, "built-2");
    assert!(!is_there().await);

    // The other zone's is of another server.
    let other = Built {
        zone: zone_a(),
        id: "gone".to_owned(),
        counterpart: "zone-b/gone".to_owned(),
        ..built
    };
    play.put(old.clone(), &other).await;
    flavor("small");
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["remove built-2", "build built-3"]);
    assert!(is_there().await);
}
