//! A zone of which it is not known whether it takes writes.

use super::*;

fn forced() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "zone-b is gone for good".to_owned(),
            accept_torn: false,
        },
    }
}

/// Cinder would serve from home with all volumes in error, which are well where they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_21_the_way_home_from_a_silent_sidecar_is_refused_as_a_whole() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    bench.failover(None, None, &volumes).await.unwrap();
    bench.stop.cancel();
    let refused = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::Held);
    let words = "whether zone-b's cluster still takes writes is not known, and 2 of 2 volumes";
    assert!(refused.message.starts_with(words), "{refused}");
    for v in &volumes {
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
        assert_eq!(bench.role(&bench.a, v).await, Role::Secondary);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_21_nothing_is_left_on_a_guess_and_what_was_promoted_by_force_needs_none() {
    let bench = bench().await;
    let volumes = bench.replicated(3, &[]).await;
    let own = &bench.cinder.inner.own;
    let there = &bench.cinder.inner.peer.as_ref().unwrap().1;
    let asked = async |way, health| {
        let by = Instant::now() + Duration::from_secs(5);
        bench
            .cinder
            .refuse_a_guess(&volumes, way, health, by)
            .await
            .map_err(|e| (e.code, e.message))
    };
    let dead = Health::Dead { silent: DEAD_AFTER };
    for known in [Health::Writes, dead] {
        assert_eq!(asked((own, there), known).await, Ok(()));
    }
    // Its own cluster is full, say, or it has no thread to ask with.
    let (code, text) = asked((own, there), Health::Unknown).await.unwrap_err();
    assert_eq!(code, ErrorCode::Held);
    assert!(text.contains("and 3 of 3 volumes"), "{text}");
    // Primary at home, and perhaps stale: zone-b's may be the one in use.
    let (_, text) = asked((there, own), Health::Unknown).await.unwrap_err();
    assert!(text.contains("and 3 of 3 volumes"), "{text}");
    // One is not replicated any more and is in error wherever it is served from; zone-b was lost, and the others were forced home.
    bench.failover(None, None, &volumes[..2]).await.unwrap();
    bench
        .by_hand(&bench.a, &volumes[2], VolumeAction::Unreplicate)
        .await;
    bench.by_hand(&bench.a, &volumes[0], forced()).await;
    let (_, text) = asked((there, own), Health::Unknown).await.unwrap_err();
    assert!(text.contains("and 1 of 3 volumes"), "{text}");
    bench.by_hand(&bench.a, &volumes[1], forced()).await;
    assert_eq!(asked((there, own), Health::Unknown).await, Ok(()));
}
