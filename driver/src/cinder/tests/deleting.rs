//! Deletions, each policy, with what can go wrong in their middle.

mod keeping;
mod purging;

use super::*;
use rekindle_common::{
    GroupName,
    deletion::{After, Deletion, OnDelete},
    facts::CinderFacts,
};

impl Bench {
    async fn delete(&self, v: &CinderVolume) -> Result<DeleteAnswer, ApiError> {
        let request = DeleteRequest {
            backend: None,
            volume: v.clone(),
            step: DeleteStep::Volume,
        };
        self.cinder.delete(request).await
    }

    /// Whether it would follow its snapshots.
    async fn would_follow(&self, v: &CinderVolume) -> Result<Deleted, ApiError> {
        let request = DeleteRequest {
            backend: None,
            volume: v.clone(),
            step: DeleteStep::SnapshotsFirst,
        };
        self.cinder.delete(request).await.map(|a| a.outcome)
    }

    /// A volume that is kept when it is deleted, with data on it and a copy in step.
    async fn ready_to_be_kept(&self) -> CinderVolume {
        let keep = [("rekindle:on_delete", "keep")];
        let v = self.replicated(1, &keep).await.remove(0);
        self.written(&v, 1).await;
        self.wait(&self.b, &v.image, VolumeStatus::ActiveSecondary)
            .await;
        v
    }

    /// Such a one, by the policy of its group.
    async fn of_a_group_that_keeps(&self) -> CinderVolume {
        let group = [("rekindle:group", "db")];
        let v = self.replicated(1, &group).await.remove(0);
        // As the lease keeper notes it.
        let keep = VolumeAction::Replicate {
            mode: ReplicationMode::Instant,
            group: Some(GroupName::new("db").unwrap()),
            leave_group: false,
            anew: false,
            cinder: Some(Box::new(rekindle_common::action::FromCinder {
                facts: None,
                on_delete: Some(OnDelete::Keep),
            })),
        };
        self.by_hand(&self.a, &v, keep).await;
        self.written(&v, 1).await;
        self.wait(&self.b, &v.image, VolumeStatus::ActiveSecondary)
            .await;
        v
    }

    async fn deleted(&self, v: &CinderVolume) -> Deleted {
        self.delete(v).await.unwrap().outcome
    }

    async fn gone(&self, cluster: &Cluster, v: &CinderVolume) {
        eventually("the image is gone", || cluster.image_id(&v.image).is_none()).await;
    }

    /// As the loop of the zone's own sidecar does, only at once.
    async fn round(&self) {
        self.cinder.end_deletions_once().await.unwrap();
    }

    async fn written(&self, v: &CinderVolume, seq: u64) {
        let writer = self.fabric.a().open(&v.image).await.unwrap();
        writer.write(seq, vec![7]).await.unwrap();
    }

    /// Until the other zone has it as a plain volume with that many records, and this zone has none.
    async fn kept(&self, v: &CinderVolume, records: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.fabric.a().image_id(&v.image).is_some() {
            assert!(Instant::now() < deadline, "zone-a still has {}", v.image);
            self.round().await;
            sleep(Duration::from_millis(20)).await;
        }
        let report = self.b.volume(&v.image).await.unwrap();
        assert_eq!((report.role, report.deletion), (Role::NotMirrored, None));
        assert_eq!(self.fabric.b().records(&v.image).unwrap().len(), records);
        // It is a volume as any other: whoever has it may write to it and delete it.
        let writer = self.fabric.b().open(&v.image).await.unwrap();
        writer.write(99, vec![9]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_without_a_word_cinder_deletes_as_ever_and_a_refusal_leaves_the_volume() {
    let bench = bench().await;
    let plain = bench.replicated(1, &[]).await.remove(0);
    assert_eq!(bench.deleted(&plain).await, Deleted::Proceed);
    let kept = bench
        .replicated(1, &[("rekindle:on_delete", "refuse")])
        .await
        .remove(0);
    let refused = bench.delete(&kept).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Held);
    assert!(refused.message.contains("rekindle:on_delete"), "{refused}");
    // By retype, in place.
    bench.replicate(std::slice::from_ref(&kept), &[]).await;
    assert_eq!(bench.deleted(&kept).await, Deleted::Proceed);
    // A group's volume is refused until its policy says otherwise.
    let grouped = bench
        .replicated(1, &[("rekindle:group", "db")])
        .await
        .remove(0);
    assert!(
        bench
            .delete(&grouped)
            .await
            .unwrap_err()
            .message
            .contains("group db")
    );
    // What is not there, or not replicated, is Cinder's own business.
    let unknown = CinderVolume {
        image: ImageSpec::new("volumes", "volume-none").unwrap(),
        ..kept.clone()
    };
    assert_eq!(bench.deleted(&unknown).await, Deleted::Proceed);
    bench.a.freeze("for the night".to_owned()).await;
    assert_eq!(
        bench.delete(&kept).await.unwrap_err().code,
        ErrorCode::Frozen
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_kept_by_the_other_zone_with_all_that_was_written() {
    let bench = bench().await;
    for pairs in [
        &[("rekindle:on_delete", "keep")][..],
        &[("rekindle:on_delete", "keep"), ("rekindle:mode", "once")][..],
    ] {
        let v = bench.replicated(1, pairs).await.remove(0);
        bench.written(&v, 1).await;
        if pairs.len() == 1 {
            bench
                .wait(&bench.b, &v.image, VolumeStatus::ActiveSecondary)
                .await;
        }
        let answer = bench.delete(&v).await.unwrap();
        assert_eq!(answer.outcome, Deleted::RemovedByUs, "{answer:?}");
        // From here on nothing is lost, whatever the loop finds.
        assert_eq!(bench.fabric.b().records(&v.image).unwrap().len(), 1);
        bench.kept(&v, 1).await;
        assert_eq!(
            bench.deleted(&v).await,
            Deleted::Proceed,
            "asked again, it is done"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_57_a_keeping_that_died_in_its_middle_is_gone_on_with() {
    let bench = bench().await;
    for op in [Op::SetMetadata, Op::Demote, Op::Promote] {
        let v = bench.ready_to_be_kept().await;
        let zone = if op == Op::Promote {
            bench.fabric.b()
        } else {
            bench.fabric.a()
        };
        // EIO: the call failed, as it does for a sidecar that dies in it.
        zone.fail(op, Some(&v.image), 5, 1);
        bench.delete(&v).await.unwrap_err();
        assert!(
            bench.fabric.a().image_id(&v.image).is_some()
                && bench.fabric.b().image_id(&v.image).is_some()
        );
        assert_eq!(bench.deleted(&v).await, Deleted::RemovedByUs, "{op}");
        bench.kept(&v, 1).await;
    }
    // Past the demotion the loop alone goes on, also where nobody asks again.
    let v = bench.ready_to_be_kept().await;
    bench.fabric.b().fail(Op::Promote, Some(&v.image), 5, 1);
    bench.delete(&v).await.unwrap_err();
    bench.kept(&v, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_not_handed_over_to_a_zone_that_cannot_take_it() {
    let bench = bench().await;
    let v = bench
        .replicated(1, &[("rekindle:on_delete", "keep")])
        .await
        .remove(0);
    bench.b.freeze("for the night".to_owned()).await;
    assert_eq!(bench.delete(&v).await.unwrap_err().code, ErrorCode::Frozen);
    bench.b.thaw().await;
    // Its daemon is dead: what is written now does not arrive.
    bench.fabric.b().daemon().kill();
    bench
        .wait(&bench.b, &v.image, VolumeStatus::ErrorMirrorDown)
        .await;
    let refused = bench.delete(&v).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Held, "{refused}");
    bench.fabric.b().kill();
    eventually("it is seen to be away", || {
        bench.cinder.inner.peer.as_ref().unwrap().1.health() != Health::Writes
    })
    .await;
    assert_eq!(bench.delete(&v).await.unwrap_err().code, ErrorCode::Held);
    let report = bench.a.volume(&v.image).await.unwrap();
    assert_eq!(
        (report.role, report.deletion),
        (Role::Primary, None),
        "nothing was changed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_groups_volume_leaves_its_group_before_it_is_handed_over() {
    let bench = bench().await;
    let v = bench.of_a_group_that_keeps().await;
    assert_eq!(bench.deleted(&v).await, Deleted::RemovedByUs);
    bench.kept(&v, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_deletion_with_a_delay_can_be_taken_back_until_it_is_due() {
    let bench = bench().await;
    let later = [("rekindle:on_delete", "delete:1h")];
    let soon = [("rekindle:on_delete", "delete:1s")];
    let v = bench.replicated(1, &later).await.remove(0);
    let answer = bench.delete(&v).await.unwrap();
    assert_eq!(answer.outcome, Deleted::Scheduled);
    let due = answer.due.unwrap();
    assert_eq!(
        bench.delete(&v).await.unwrap().due,
        Some(due),
        "asked again, it is the same"
    );
    let report = bench.a.volume(&v.image).await.unwrap();
    assert!(
        report.concerns.iter().any(|c| c.contains("undelete")),
        "{:?}",
        report.concerns
    );
    // Nobody uses a volume that is about to go.
    for operation in [Operation::Manage, Operation::Attach, Operation::Clone] {
        let request = GuardRequest {
            backend: None,
            operation,
            image: v.image.clone(),
            specs: Specs::new(),
        };
        assert_eq!(
            bench.cinder.guard(&request).await.unwrap_err().code,
            ErrorCode::Held
        );
    }
    bench.round().await;
    assert!(
        bench.fabric.a().image_id(&v.image).is_some(),
        "it was not due"
    );
    bench.by_hand(&bench.a, &v, VolumeAction::Undelete).await;
    assert_eq!(bench.a.volume(&v.image).await.unwrap().deletion, None);

    let [gone, clone] = <[CinderVolume; 2]>::try_from(bench.replicated(2, &soon).await).unwrap();
    assert_eq!(bench.deleted(&gone).await, Deleted::Scheduled);
    sleep(Duration::from_millis(1100)).await;
    // Somebody has it open: it stays, until they let go.
    let writer = bench.fabric.a().open(&gone.image).await.unwrap();
    bench.round().await;
    assert!(bench.fabric.a().image_id(&gone.image).is_some());
    drop(writer);
    bench.round().await;
    bench.gone(&bench.fabric.a(), &gone).await;
    bench.gone(&bench.fabric.b(), &gone).await;
    // What depends on it, or on its snapshots, is told at once.
    for (children, snapshots) in [(1, 0), (0, 2)] {
        bench.fabric.a().set_lineage(&clone.image, None, children);
        bench.fabric.a().set_snapshots(&clone.image, snapshots);
        let refused = bench.delete(&clone).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::HasClones, "{refused}");
    }
    assert!(bench.fabric.a().image_id(&clone.image).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_mark_outlives_a_failover_and_never_another_image() {
    let bench = bench().await;
    let v = bench
        .replicated(1, &[("rekindle:on_delete", "delete:1h")])
        .await
        .remove(0);
    assert_eq!(bench.deleted(&v).await, Deleted::Scheduled);
    let away = bench
        .failover(None, None, std::slice::from_ref(&v))
        .await
        .unwrap();
    assert!(matches!(away.volumes[0].end, End::Ok { .. }), "{away:?}");
    let there = bench.b.volume(&v.image).await.unwrap();
    assert!(there.deletion.is_some(), "the other zone is to end it");
    // A clone brings the mark along, and it is overdue: it is a mark of another image.
    let clone = bench.replicated(1, &[]).await.remove(0);
    let mark = Deletion {
        image: v.image.clone(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        then: After::Delete {
            after: Span::secs(1),
        },
    };
    let set = std::collections::BTreeMap::from([(
        rekindle_common::metadata::DELETED.to_owned(),
        mark.to_metadata(),
    )]);
    let by = Instant::now() + Duration::from_secs(5);
    let session = bench
        .a
        .backend()
        .open(&clone.image, crate::backend::Access::Write, by)
        .await
        .unwrap();
    session.set_metadata(&set, &[], by).await.unwrap();
    bench.round().await;
    assert!(bench.fabric.a().image_id(&clone.image).is_some());
    // Its own would have been heeded.
    let own = Deletion {
        image: clone.image.clone(),
        ..mark
    };
    let set = [(
        rekindle_common::metadata::DELETED.to_owned(),
        own.to_metadata(),
    )];
    session.set_metadata(&set.into(), &[], by).await.unwrap();
    sleep(Duration::from_millis(600)).await;
    bench.round().await;
    bench.gone(&bench.fabric.a(), &clone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cinder_says_is_in_the_other_zone_with_the_first_copy() {
    let bench = bench().await;
    let id = uuid::Uuid::new_v4().to_string();
    let image = ImageSpec::new("volumes", format!("volume-{id}")).unwrap();
    bench.fabric.a().create_image(&image, 1 << 30);
    let facts = |snapshots| VolumeFacts {
        project_id: "p".to_owned(),
        name: Some("»Konto« \u{1f525}".to_owned()),
        description: Some("x".repeat(20_000)),
        volume_type: Some("gold".to_owned()),
        size_gib: 1,
        bootable: true,
        image_metadata: [("os_type".to_owned(), "linux".to_owned())].into(),
        encryption_key_id: None,
        snapshots,
    };
    let mut v = CinderVolume {
        id: id.clone(),
        image: image.clone(),
        facts: Some(facts(None)),
        taken_in: false,
    };
    bench
        .replicate(std::slice::from_ref(&v), &[("rekindle:mode", "once")])
        .await;
    bench
        .wait(&bench.b, &image, VolumeStatus::ActiveSecondary)
        .await;
    let there = bench.b.volume(&image).await.unwrap();
    let told = there.cinder.unwrap();
    assert_eq!(
        (&told.id, told.zone.as_str(), told.bootable),
        (&id, "zone-a", true)
    );
    assert_eq!(told.name.as_deref(), Some("»Konto« \u{1f525}"));
    assert_eq!(told.description, None, "it was too long");
    assert!(
        there.concerns.iter().any(|c| c.contains("description")),
        "{:?}",
        there.concerns
    );
    // What is said later without the snapshots leaves those that are known.
    let snapshot = rekindle_common::facts::SnapshotFacts {
        id: "1".to_owned(),
        name: None,
        description: None,
        created_at: None,
    };
    let with = CinderFacts {
        snapshots: vec![snapshot.clone()],
        ..told
    };
    let describe = VolumeAction::Describe {
        facts: Box::new(with),
    };
    bench.by_hand(&bench.a, &v, describe).await;
    v.facts = Some(VolumeFacts {
        size_gib: 2,
        ..facts(None)
    });
    bench
        .replicate(std::slice::from_ref(&v), &[("rekindle:mode", "once")])
        .await;
    let here = bench.a.volume(&image).await.unwrap().cinder.unwrap();
    assert_eq!((here.size_gib, here.snapshots), (2, vec![snapshot]));
}
