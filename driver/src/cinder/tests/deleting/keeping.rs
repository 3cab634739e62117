//! A volume that was to be kept and whose deletion failed: it is in use again, and a mark that is left must not take it along.

use super::*;
use rekindle_common::DemotionToken;

const KEEP: (&str, &str) = ("rekindle:on_delete", "keep");

impl Bench {
    /// As a sidecar that died right behind the mark leaves it.
    async fn left_marked(&self, pairs: &[(&str, &str)]) -> CinderVolume {
        let v = self.replicated(1, pairs).await.remove(0);
        self.written(&v, 1).await;
        let then = After::Keep {
            from: self.a.zone_name().clone(),
            group: None,
        };
        self.by_hand(&self.a, &v, VolumeAction::MarkDeleted { then })
            .await;
        self.wait(&self.b, &v.image, VolumeStatus::ActiveSecondary)
            .await;
        v
    }

    async fn mark(&self, zone: &Volumes, v: &CinderVolume) -> Option<Deletion> {
        zone.volume(&v.image).await.unwrap().deletion
    }

    /// Moved to the other zone; this one's daemon follows it, and the loop has looked.
    async fn moved(&self, v: &CinderVolume) {
        let away = self.failover(None, None, std::slice::from_ref(v)).await;
        let away = away.unwrap();
        assert!(matches!(away.volumes[0].end, End::Ok { .. }), "{away:?}");
        self.wait(&self.a, &v.image, VolumeStatus::ActiveSecondary)
            .await;
        for _ in 0..3 {
            self.round().await;
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// It is replicated as before, and zone B has it.
    async fn is_in_use_in_b(&self, v: &CinderVolume) {
        assert_eq!(self.role(&self.b, v).await, Role::Primary);
        assert_eq!(self.role(&self.a, v).await, Role::Secondary);
        assert_eq!(self.fabric.b().records(&v.image).unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_mark_that_a_failed_keeping_left_ends_with_the_next_move() {
    let bench = bench().await;
    for pairs in [&[KEEP][..], &[KEEP, ("rekindle:mode", "once")][..]] {
        let v = bench.left_marked(pairs).await;
        bench.moved(&v).await;
        bench.is_in_use_in_b(&v).await;
        assert_eq!(bench.mark(&bench.b, &v).await, None);
        // In snapshot mode zone A has not heard of that, and its record is a copy's all the same.
        assert_eq!(bench.deleted(&v).await, Deleted::RecordAlone);
        let home = bench
            .failover(Some(PEER), Some(DEFAULT), std::slice::from_ref(&v))
            .await
            .unwrap();
        assert!(matches!(home.volumes[0].end, End::Ok { .. }), "{home:?}");
        assert_eq!(bench.mark(&bench.a, &v).await, None);
    }
}

/// The promotion stands and its note does not: zone B's own mark says what it said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_mark_that_could_not_be_taken_away_at_a_move_is_not_acted_on() {
    let bench = bench().await;
    let v = bench.left_marked(&[KEEP]).await;
    bench.fabric.b().fail(Op::SetMetadata, Some(&v.image), 5, 1);
    bench.moved(&v).await;
    assert!(bench.mark(&bench.b, &v).await.is_some());
    bench.is_in_use_in_b(&v).await;
    // Nor once the sidecar's watch has taken off what the promotion left.
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    tokio::spawn(crate::actions::watch(bench.b.clone(), stop));
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.b.volume(&v.image).await.unwrap().demotion.is_some() {
        assert!(Instant::now() < deadline, "its demotion's name stays");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bench.mark(&bench.b, &v).await, None);
    bench.round().await;
    bench.is_in_use_in_b(&v).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_keeping_that_fails_before_the_demotion_leaves_no_mark() {
    let bench = bench().await;
    for pairs in [&[KEEP][..], &[KEEP, ("rekindle:mode", "once")][..]] {
        let v = bench.replicated(1, pairs).await.remove(0);
        bench.fabric.a().fail(Op::Demote, Some(&v.image), 16, 1);
        bench.delete(&v).await.unwrap_err();
        let report = bench.a.volume(&v.image).await.unwrap();
        assert_eq!((report.role, report.deletion), (Role::Primary, None));
        bench
            .wait(&bench.b, &v.image, VolumeStatus::ActiveSecondary)
            .await;
        assert_eq!(bench.deleted(&v).await, Deleted::RemovedByUs);
    }
    // What cannot be taken back is said, with the command for it.
    let v = bench.left_marked(&[KEEP]).await;
    bench.fabric.a().fail(Op::Demote, Some(&v.image), 16, 1);
    bench.fabric.a().fail(Op::SetMetadata, Some(&v.image), 5, 1);
    let e = bench.delete(&v).await.unwrap_err();
    let command = format!("rekindle volume undelete {}", v.image);
    assert!(e.message.contains(&command), "{e}");
    assert!(bench.mark(&bench.a, &v).await.is_some());
    bench.by_hand(&bench.a, &v, VolumeAction::Undelete).await;
    assert_eq!(bench.mark(&bench.a, &v).await, None);
}

/// Demoted by a move, or by an older version that named its demotions like those: which of both cannot be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_57_a_keeping_goes_on_only_behind_a_demotion_of_its_own() {
    let bench = bench().await;
    let v = bench.left_marked(&[KEEP]).await;
    let token = Some(DemotionToken::new("cinder-1").unwrap());
    bench
        .by_hand(&bench.a, &v, VolumeAction::Demote { token })
        .await;
    bench
        .wait(&bench.b, &v.image, VolumeStatus::PendingPromotion)
        .await;
    bench.round().await;
    assert_eq!(bench.role(&bench.b, &v).await, Role::Secondary);
    let refused = bench.delete(&v).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DemotedOtherwise, "{refused}");
    // As it says.
    let promotion = Promotion::Plain;
    bench
        .by_hand(&bench.a, &v, VolumeAction::Promote { promotion })
        .await;
    assert_eq!(bench.mark(&bench.a, &v).await, None);
    bench
        .wait(&bench.b, &v.image, VolumeStatus::ActiveSecondary)
        .await;
    assert_eq!(bench.deleted(&v).await, Deleted::RemovedByUs);
    bench.kept(&v, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_groups_volume_whose_keeping_fails_is_in_its_group_again() {
    let bench = bench().await;
    let db = Some(GroupName::new("db").unwrap());
    let v = bench.of_a_group_that_keeps().await;
    let is = async || {
        let r = bench.a.volume(&v.image).await.unwrap();
        (r.group, r.on_delete, r.deletion.is_some())
    };
    bench.fabric.a().fail(Op::Demote, Some(&v.image), 16, 1);
    bench.delete(&v).await.unwrap_err();
    assert_eq!(is().await, (db.clone(), Some(OnDelete::Keep), false));
    // The sidecar dies behind the step that takes it out: the mark knows where it was, and says so.
    let then = After::Keep {
        from: bench.a.zone_name().clone(),
        group: db.clone(),
    };
    let leave = VolumeAction::Replicate {
        mode: ReplicationMode::Instant,
        group: None,
        leave_group: true,
        anew: false,
        cinder: None,
    };
    for action in [VolumeAction::MarkDeleted { then }, leave] {
        bench.by_hand(&bench.a, &v, action).await;
    }
    bench
        .wait(&bench.b, &v.image, VolumeStatus::ActiveSecondary)
        .await;
    assert_eq!(is().await, (None, Some(OnDelete::Keep), true));
    let concerns = bench.a.volume(&v.image).await.unwrap().concerns;
    assert!(
        concerns.iter().any(|c| c.contains("its group db")),
        "{concerns:?}"
    );
    // Deleted again, and it fails again; so does taking it back.
    bench.fabric.a().fail(Op::Demote, Some(&v.image), 16, 1);
    bench.fabric.a().fail(Op::SetMetadata, Some(&v.image), 5, 1);
    let e = bench.delete(&v).await.unwrap_err();
    assert!(e.message.contains("out of its group db"), "{e}");
    bench.by_hand(&bench.a, &v, VolumeAction::Undelete).await;
    assert_eq!(is().await, (db, Some(OnDelete::Keep), false));
    bench
        .wait(&bench.b, &v.image, VolumeStatus::ActiveSecondary)
        .await;
    assert_eq!(bench.deleted(&v).await, Deleted::RemovedByUs);
    bench.kept(&v, 1).await;
}
