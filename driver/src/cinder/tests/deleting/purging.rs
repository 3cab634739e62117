//! A volume that is deleted with its snapshots: they go first, and do not come back.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_snapshots_go_first_only_where_their_volume_would_follow_and_nothing_is_changed()
 {
    let bench = bench().await;
    let policy = async |policy: &str| {
        let on_delete = [("rekindle:on_delete", policy)];
        bench.replicated(1, &on_delete).await.remove(0)
    };
    let plain = policy("delete:0s").await;
    assert_eq!(bench.would_follow(&plain).await, Ok(Deleted::Proceed));
    let refuse = policy("refuse").await;
    let later = policy("delete:7d").await;
    let group = [("rekindle:group", "db")];
    let grouped = bench.replicated(1, &group).await.remove(0);
    for (v, why) in [
        (&refuse, "rekindle:on_delete"),
        (&later, "delete them first, by themselves"),
        (&grouped, "group db"),
    ] {
        let refused = bench.would_follow(v).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Held);
        assert!(refused.message.contains(why), "{refused}");
    }
    let keep = bench.ready_to_be_kept().await;
    assert_eq!(bench.would_follow(&keep).await, Ok(Deleted::RemovedByUs));
    for v in [&plain, &refuse, &later, &grouped, &keep] {
        let report = bench.a.volume(&v.image).await.unwrap();
        assert_eq!((report.role, report.deletion), (Role::Primary, None));
    }
    // Its copy is not in step: it would be refused behind its snapshots.
    bench.fabric.b().daemon().kill();
    bench
        .wait(&bench.b, &keep.image, VolumeStatus::ErrorMirrorDown)
        .await;
    let refused = bench.would_follow(&keep).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Held);
    bench.a.freeze("for the night".to_owned()).await;
    let refused = bench.would_follow(&plain).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Frozen);
}
