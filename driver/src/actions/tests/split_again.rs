//! A volume in no group whose copies diverge a second time, before anything came of the first.

use super::*;

/// Its orders carry no generation.
fn alone(action: VolumeAction) -> Order {
    Order {
        action,
        generation: None,
    }
}

impl Pair {
    /// Writes that record in A, which is primary and reached by nobody else.
    async fn write_in_a(&self, seq: u64) {
        let writer = self.fabric.a().open(&spec(0)).await.unwrap();
        writer.write(seq, vec![0; 16]).await.unwrap();
    }

    /// A steps down beside B, which is primary by force.
    async fn a_has_lost(&self) {
        let demote = alone(VolumeAction::Demote { token: None });
        self.a.act(&spec(0), demote).await.unwrap();
        wait(&self.a, &spec(0), VolumeStatus::ErrorSplitBrain).await;
        wait(&self.b, &spec(0), VolumeStatus::ActivePrimary).await;
    }

    /// How many records each safety copy in A holds.
    fn kept(&self) -> Vec<usize> {
        let a = self.fabric.a();
        let mut kept: Vec<usize> = a
            .images()
            .iter()
            .filter(|s| s.image().contains(crate::replication::SAFETY_INFIX))
            .map(|s| a.records(s).unwrap().len())
            .collect();
        kept.sort_unstable();
        kept
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_16_what_is_written_between_two_splits_of_one_image_is_kept() {
    for mode in [ReplicationMode::Instant, periodic()] {
        let pair = Pair::new();
        pair.fabric.a().create_image(&spec(0), 1 << 30);
        let replicate = VolumeAction::Replicate {
            mode,
            group: None,
            leave_group: false,
            anew: false,
            cinder: None,
        };
        pair.a.act(&spec(0), alone(replicate)).await.unwrap();
        wait(&pair.b, &spec(0), VolumeStatus::ActiveSecondary).await;
        pair.fabric.link().cut();
        pair.write_in_a(1).await;
        pair.b.act(&spec(0), alone(forced())).await.unwrap();
        pair.fabric.link().mend();
        pair.a_has_lost().await;
        // The copy is made and the image not flagged, twice: the second order finds the copy.
        pair.fabric.a().fail(Op::Resync, None, errno::EIO, 2);
        for _ in 0..2 {
            pair.a.act(&spec(0), alone(resync("t"))).await.unwrap_err();
            assert_eq!(pair.kept(), [1], "{mode}");
        }
        // B is lost, and A goes on with what it has.
        pair.fabric.b().kill();
        tokio::time::sleep(Duration::from_secs(10)).await;
        pair.a.act(&spec(0), alone(forced())).await.unwrap();
        pair.write_in_a(2).await;
        // B is back, and is the side to keep after all.
        pair.fabric.b().start();
        wait(&pair.b, &spec(0), VolumeStatus::ErrorSplitBrain).await;
        pair.a_has_lost().await;
        let o = pair.a.act(&spec(0), alone(resync("u"))).await.unwrap();
        assert_eq!(o.effect, Effect::Started, "{mode}");
        let kept_as = o.given_up.unwrap().kept_as.unwrap();
        assert_eq!(pair.fabric.a().records(&kept_as).unwrap().len(), 2);
        assert_eq!(pair.kept(), [1, 2], "{mode}");
        wait(&pair.a, &spec(0), VolumeStatus::ActiveSecondary).await;
    }
}
