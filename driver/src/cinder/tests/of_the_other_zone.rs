//! The other zone's own volumes, which this zone's Cinder has records of.

use super::*;
use rekindle_common::facts::CinderFacts;

/// How the record of one came to be.
#[derive(Debug, Clone, Copy)]
enum Record {
    /// The catalogue made it.
    TakenIn,
    /// A person did.
    ByHand,
}

impl Bench {
    /// A volume that zone-b's Cinder made, in use there, with a copy in step in zone-a and a record in zone-a's Cinder.
    async fn of_zone_b(&self, record: Record) -> CinderVolume {
        let made_as = uuid::Uuid::new_v4().to_string();
        let image = ImageSpec::new("volumes", format!("volume-{made_as}")).unwrap();
        self.fabric.b().create_image(&image, 1 << 20);
        let replicate = VolumeAction::Replicate {
            mode: ReplicationMode::Instant,
            group: None,
            leave_group: false,
            anew: false,
            cinder: Some(Box::new(rekindle_common::action::FromCinder {
                facts: Some(facts("zone-b", &made_as)),
                on_delete: Some("delete:0s".parse().unwrap()),
            })),
        };
        let v = CinderVolume {
            id: uuid::Uuid::new_v4().to_string(),
            image,
            facts: None,
            taken_in: match record {
                Record::TakenIn => true,
                Record::ByHand => false,
            },
        };
        self.by_hand(&self.b, &v, replicate).await;
        self.wait(&self.a, &v.image, VolumeStatus::ActiveSecondary)
            .await;
        v
    }

    /// One of zone-a's Cinder that a migration brought: its image has another id in its name.
    async fn migrated(&self) -> CinderVolume {
        let mut v = self.replicated(1, &[]).await.remove(0);
        v.id = uuid::Uuid::new_v4().to_string();
        let describe = VolumeAction::Describe {
            facts: Box::new(facts("zone-a", &v.id)),
        };
        self.by_hand(&self.a, &v, describe).await;
        v
    }

    /// zone-b's Cinder, whose record of it is the catalogue's, has the say now.
    async fn zone_b_speaks_of(&self, v: &CinderVolume) {
        let theirs = uuid::Uuid::new_v4().to_string();
        let describe = VolumeAction::Describe {
            facts: Box::new(facts("zone-b", &theirs)),
        };
        self.by_hand(&self.b, v, describe).await;
    }

    async fn is_zone_bs(&self, v: &CinderVolume) {
        assert_eq!(self.role(&self.b, v).await, Role::Primary);
        assert_eq!(self.role(&self.a, v).await, Role::Secondary);
    }
}

fn facts(zone: &str, id: &str) -> CinderFacts {
    CinderFacts::from_metadata(&format!(
        r#"{{"zone":"{zone}","id":"{id}","project_id":"p","size_gib":1}}"#
    ))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_zones_own_are_neither_taken_along_nor_brought_home() {
    use ReplicationStatus::{Enabled, FailedOver};
    let bench = bench().await;
    let mut volumes = bench.replicated(2, &[]).await;
    volumes.push(bench.migrated().await);
    let theirs = [
        bench.of_zone_b(Record::TakenIn).await,
        bench.of_zone_b(Record::ByHand).await,
    ];
    volumes.extend(theirs.clone());
    let words =
        |a: &FailoverAnswer| -> Vec<_> { a.volumes.iter().map(|v| v.replication_status).collect() };
    let writer = bench.fabric.b().open(&theirs[0].image).await.unwrap();

    // At home, they are no reason to go home.
    let nothing = bench.failover(None, Some(DEFAULT), &volumes).await;
    let nothing = nothing.unwrap_err();
    assert!(
        nothing.message.contains("nothing has failed over"),
        "{nothing}"
    );
    // Called twice, as after an answer that was lost.
    for active in [None, Some(PEER)] {
        let away = bench.failover(active, Some(PEER), &volumes).await.unwrap();
        assert_eq!(
            words(&away),
            [FailedOver, FailedOver, FailedOver, Enabled, Enabled],
            "{active:?}"
        );
        bench.is_zone_bs(&theirs[0]).await;
    }
    // zone-b's Cinder may have had the say in between: whose the migrated one is still shows.
    bench.zone_b_speaks_of(&volumes[2]).await;
    let away = bench.failover(None, Some(PEER), &volumes).await.unwrap();
    assert_eq!(words(&away)[2..], [FailedOver, Enabled, Enabled]);

    // Their state keeps nothing from going home.
    bench.wait_home(&volumes[..3]).await;
    bench
        .fabric
        .a()
        .fail(Op::Demote, Some(&theirs[0].image), 16, 99);
    let home = bench.failover(Some(PEER), Some(DEFAULT), &volumes).await;
    let home = home.unwrap();
    assert_eq!(words(&home), [Enabled; 5]);
    for v in &volumes[..3] {
        assert_eq!(bench.role(&bench.a, v).await, Role::Primary);
    }
    for v in &theirs {
        bench.is_zone_bs(v).await;
    }
    writer.write(1, vec![1]).await.unwrap();
}

impl Bench {
    async fn wait_home(&self, volumes: &[CinderVolume]) {
        for v in volumes {
            self.wait(&self.a, &v.image, VolumeStatus::ActiveSecondary)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_has_only_the_other_zones_own_goes_and_comes_back() {
    let bench = bench().await;
    let theirs = [bench.of_zone_b(Record::TakenIn).await];
    let away = bench.failover(None, None, &theirs).await.unwrap();
    assert_eq!(away.target, PEER);
    let home = bench.failover(Some(PEER), Some(DEFAULT), &theirs).await;
    assert_eq!(home.unwrap().target, DEFAULT);
    bench.is_zone_bs(&theirs[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_zones_own_are_not_forced_into_a_zone_whose_cinder_goes_home_from_a_dead_one() {
    let bench = bench().await;
    let mut volumes = bench.replicated(1, &[]).await;
    let theirs = bench.of_zone_b(Record::TakenIn).await;
    volumes.push(theirs.clone());
    bench.failover(None, None, &volumes).await.unwrap();
    bench.wait_home(&volumes[..1]).await;
    bench.fabric.b().kill();
    let home = bench.failover(Some(PEER), Some(DEFAULT), &volumes).await;
    let home = home.unwrap();
    for end in &home.volumes {
        assert_eq!(end.replication_status, ReplicationStatus::Enabled);
    }
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
    assert_eq!(bench.role(&bench.a, &theirs).await, Role::Secondary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_record_of_the_other_zones_own_that_is_deleted_takes_no_image_along() {
    let bench = bench().await;
    let mine = bench.replicated(1, &[]).await.remove(0);
    bench
        .failover(None, None, std::slice::from_ref(&mine))
        .await
        .unwrap();
    let ends = |v: &CinderVolume| {
        let request = DeleteRequest {
            backend: Some(PEER.to_owned()),
            volume: v.clone(),
            step: DeleteStep::Volume,
        };
        bench.cinder.delete(request)
    };
    for record in [Record::TakenIn, Record::ByHand] {
        let theirs = bench.of_zone_b(record).await;
        let end = ends(&theirs).await.unwrap();
        assert_eq!(end.outcome, Deleted::RecordAlone, "{record:?}: {end:?}");
        // Nor does Cinder think that it serves it from there.
        let request = VolumesRequest {
            backend: Some(PEER.to_owned()),
            volumes: vec![theirs, mine.clone()],
        };
        let shown = bench.cinder.status(&request).await.unwrap();
        let words: Vec<_> = shown.volumes.iter().map(|v| v.replication_status).collect();
        use ReplicationStatus::{Enabled, FailedOver};
        assert_eq!(words, [Enabled, FailedOver]);
    }
    let end = ends(&mine).await.unwrap();
    assert_eq!(end.outcome, Deleted::Proceed, "{end:?}");
}
