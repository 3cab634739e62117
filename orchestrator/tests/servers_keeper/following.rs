//! A server's record is kept, and its stand-by follows it: built, changed, held, and the other way round after a failover.

use super::fake::Mode;
use super::*;
use rekindle_common::servers::Build;

#[tokio::test(start_paused = true)]
async fn on_copies_that_are_mirrored_through_their_journal_the_record_stands_by() {
    let play = Play::on(StandbyPolicy::Shutoff, ReplicationMode::Instant).await;
    let trouble = play.trouble().await;
    assert!(trouble.contains("built from its record"), "{trouble}");
    assert_eq!(play.b.orders(), [""; 0]);
    assert!(play.kept().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_is_kept_and_its_stand_by_is_built_and_then_left_alone() {
    let play = Play::new().await;
    let shown = play.round().await;
    assert_eq!(shown[0].trouble, None, "{shown:?}");
    let kept = play.kept().await.unwrap();
    assert_eq!(
        kept.record,
        ServerRecord {
            id: Some("s1".to_owned()),
            ..record(json!({}))
        }
    );
    assert_eq!(kept.instances[&zone_a()].build, Build::Users);
    assert_eq!(
        (
            kept.instances[&zone_b()].id.as_str(),
            kept.instances[&zone_b()].build
        ),
        (
            "built-1",
            Build::Standby {
                policy: StandbyPolicy::Shutoff
            }
        )
    );
    let standby = play.b.servers().remove(0);
    assert_eq!(standby.mark.as_deref(), Some("zone-a/s1"));
    assert_eq!(standby.record.flavor.name, "s1.small");
    let volumes: Vec<&str> = standby
        .record
        .disks
        .iter()
        .map(|d| d.volume.id.as_str())
        .collect();
    assert_eq!(volumes, ["vol-0-zone-b", "vol-1-zone-b"]);
    assert!(play.is_described(&zone_a(), Some(&kept.record)).await);
    assert_eq!(play.built().await.unwrap().id, "built-1");

    assert_eq!(play.b.orders(), ["build built-1"]);
    let before = play
        .store
        .get(&keys::kept_server(&group(), &key()))
        .await
        .unwrap();
    let shown = play.round().await;
    assert_eq!(
        (shown[0].trouble.as_deref(), shown[0].serving.as_deref()),
        (None, Some("running"))
    );
    assert_eq!(
        play.store
            .get(&keys::kept_server(&group(), &key()))
            .await
            .unwrap(),
        before,
        "it was written again for nothing"
    );
    assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn each_policy_has_its_own_stand_by_and_a_change_is_followed() {
    for policy in [StandbyPolicy::Record, StandbyPolicy::None] {
        let play = Play::with(policy).await;
        assert_eq!(play.trouble().await, "");
        assert!(
            play.kept().await.is_some() && play.b.orders().is_empty(),
            "{policy:?}"
        );
    }
    let play = Play::with(StandbyPolicy::Shelved).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["build built-1 shelved"]);
    play.runbook(runbook(StandbyPolicy::Shutoff)).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-1", "build built-2"]);
    play.runbook(runbook(StandbyPolicy::Record)).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-2"]);
    play.round().await;
    assert_eq!(
        play.kept()
            .await
            .unwrap()
            .instances
            .keys()
            .collect::<Vec<_>>(),
        [&zone_a()]
    );
    assert_eq!(play.built().await, None);
}

/// A flavor that the other zone lacks, say, or a quota that is too small there: the one that stands by would have served.
#[tokio::test(start_paused = true)]
async fn hard_case_52_a_stand_by_is_kept_where_another_could_not_be_built() {
    let play = Play::settled().await;
    let refuses = || Mode::ChecksFail("zone-b: flavor \"s1.large\" is missing".to_owned());
    play.b.mode(refuses());
    play.a.change("s1", |s| {
        s.record = ServerRecord {
            id: Some("s1".to_owned()),
            ..record(json!({ "flavor": { "name": "large" } }))
        }
    });
    for _ in 0..3 {
        let trouble = play.trouble().await;
        for part in [
            "its stand-by is as it was built",
            "flavor \"s1.large\" is missing",
        ] {
            assert!(trouble.contains(part), "{trouble}");
        }
        tokio::time::sleep(TIMING.again).await;
    }
    assert_eq!(play.b.orders(), [""; 0]);
    assert_eq!(play.b.servers()[0].id, "built-1");
    play.b.mode(Mode::Well);
    tokio::time::sleep(TIMING.longest).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["remove built-1", "build built-2"]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_on_the_server_changes_its_stand_by() {
    let play = Play::settled().await;
    play.a.change("s1", |s| {
        s.record = ServerRecord {
            id: Some("s1".to_owned()),
            ..record(json!({ "flavor": { "name": "large" } }))
        }
    });
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["remove built-1", "build built-2"]);
    assert_eq!(play.b.servers()[0].record.flavor.name, "s1.large");
    // A volume more.
    play.a.change("s1", |s| {
        let mut more = s.record.disks[1].clone();
        more.volume.id = "vol-2-zone-a".to_owned();
        s.record.disks.push(more);
    });
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-2", "build built-3"]);
    assert_eq!(play.b.servers()[0].record.disks.len(), 3);
    let kept = play.kept().await.unwrap();
    assert!(play.is_described(&zone_a(), Some(&kept.record)).await);
    // A gap is said, and what stands by goes on standing by.
    play.a
        .change("s1", |s| s.record.flavor.name = "huge".to_owned());
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("flavor.name") && trouble.contains("huge"),
        "{trouble}"
    );
    assert_eq!(play.b.orders(), Vec::<String>::new());
    assert_eq!(play.kept().await.unwrap().trouble, Some(trouble));
}

#[tokio::test(start_paused = true)]
async fn what_was_built_and_not_written_down_is_adopted() {
    let play = Play::settled().await;
    for key in [
        keys::kept_server(&group(), &key()),
        keys::built_standby(&group(), &key(), &zone_b()),
    ] {
        play.delete(key).await;
    }
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["adopt built-1"]);
    assert_eq!(
        play.kept().await.unwrap().instances[&zone_b()].id,
        "built-1"
    );
    assert_eq!(play.b.servers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn hypervisors_that_start_a_stand_by_do_not_leave_it_running() {
    let play = Play::settled().await;
    play.b.change("built-1", |s| {
        (s.state, s.held) = (ServerState::Running, false)
    });
    play.round().await;
    assert_eq!(play.b.orders(), ["hold built-1"]);
    // Its users' own in the primary zone is never touched, whatever it does.
    play.a
        .change("s1", |s| s.state = ServerState::Failed { off: true });
    play.round().await;
    assert_eq!(play.a.orders(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn after_a_failover_it_is_the_other_way_round_and_nothing_is_renamed() {
    let mut play = Play::settled().await;
    play.moved().await;
    play.b.change("built-1", |s| {
        (s.state, s.held) = (ServerState::Running, false)
    });
    eventually("zone-a has copies", || async {
        let trouble = play.round().await[0].trouble.clone();
        trouble.is_none().then_some(())
    })
    .await;
    let kept = play.kept().await.unwrap();
    assert_eq!(
        (kept.record.zone.clone(), kept.record.id.as_deref()),
        (zone_b(), Some("built-1"))
    );
    assert_eq!(kept.record.flavor.name, "s1.small");
    assert_eq!(kept.instances[&zone_a()].build, Build::Users);
    assert_eq!(
        kept.instances[&zone_b()].build,
        Build::Standby {
            policy: StandbyPolicy::Shutoff
        }
    );
    assert_eq!(
        play.b.orders(),
        Vec::<String>::new(),
        "what serves was touched"
    );
    // Its users' own stands by now: held, and never taken away.
    assert_eq!(play.a.orders(), ["hold s1"]);
    assert!(play.is_described(&zone_b(), Some(&kept.record)).await);
    // A volume that was attached since is named.
    play.b.change("built-1", |s| {
        let mut more = s.record.disks[1].clone();
        more.volume.id = "vol-2-zone-b".to_owned();
        s.record.disks.push(more);
    });
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("vol-2-zone-a") && trouble.contains("attach"),
        "{trouble}"
    );
    assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
}
