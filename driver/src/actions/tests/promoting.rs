//! Promotions: what they wait for, and what they need.

use super::*;

/// librbd lets an image that was itself demoted be promoted plainly, whatever the other zone did since.
#[tokio::test(start_paused = true)]
async fn hard_case_57_a_promotion_waits_for_the_demotion_of_that_name() {
    let token = |s: &str| DemotionToken::new(s).unwrap();
    let demote = |s: &str| VolumeAction::Demote {
        token: Some(token(s)),
    };
    let after = |s: &str| VolumeAction::Promote {
        promotion: Promotion::After { token: token(s) },
    };
    for mode in [ReplicationMode::Instant, ReplicationMode::Once] {
        let pair = Pair::replicated(1, mode).await;
        pair.a.act(&spec(0), order(demote("p1"), 1)).await.unwrap();
        pair.b.take_lease(&group(), Generation(2)).await.unwrap();
        pair.b.act(&spec(0), order(after("p1"), 2)).await.unwrap();
        pair.fabric.link().cut();
        let writer = pair.fabric.b().open(&spec(0)).await.unwrap();
        writer
            .write(1, b"written in zone-b".to_vec())
            .await
            .unwrap();
        let o = pair.b.act(&spec(0), order(demote("p2"), 2)).await.unwrap();
        assert_eq!(o.report.demotion, Some(token("p2")));

        pair.a.take_lease(&group(), Generation(3)).await.unwrap();
        let early = pair.a.act(&spec(0), order(after("p2"), 3)).await;
        assert_eq!(code(early), ErrorCode::DemotionNotReplayed, "{mode}");
        let a = pair.a.volume(&spec(0)).await.unwrap();
        assert_eq!((a.role, a.demotion), (Role::Secondary, Some(token("p1"))));

        pair.fabric.link().mend();
        wait(&pair.a, &spec(0), VolumeStatus::PendingPromotion).await;
        pair.a.act(&spec(0), order(after("p2"), 3)).await.unwrap();
        assert_eq!(pair.fabric.a().records(&spec(0)).unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_21_a_plain_promotion_beside_a_primary_says_so_and_does_not_force() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    let refused = pair.b.act(&spec(0), order(plain(), 2)).await;
    assert_eq!(code(refused), ErrorCode::ForceRequired);
    let forces = |c: &Cluster| {
        c.calls()
            .iter()
            .any(|(op, _)| *op == crate::backend::Op::ForcePromote)
    };
    assert!(!forces(&pair.fabric.b()));
    // The demotion is on its way: wait, and no force even where it is ordered.
    pair.fabric.link().cut();
    pair.a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 2))
        .await
        .unwrap();
    let refused = pair.b.act(&spec(0), order(plain(), 2)).await;
    assert_eq!(code(refused), ErrorCode::ForceRequired);
    pair.fabric.link().mend();
    wait(&pair.b, &spec(0), VolumeStatus::PendingPromotion).await;
    pair.b.act(&spec(0), order(plain(), 2)).await.unwrap();
    assert!(!forces(&pair.fabric.b()));
}

#[tokio::test(start_paused = true)]
async fn a_stale_generation_is_refused_where_the_data_is() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 5))
        .await
        .unwrap();
    let stale = pair
        .a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 4))
        .await;
    assert_eq!(code(stale), ErrorCode::StaleGeneration);
    let none = Order {
        action: VolumeAction::Demote { token: None },
        generation: None,
    };
    let error = pair.a.act(&spec(0), none).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::GenerationRequired);
    assert_eq!(error.field.as_deref(), Some("generation"));
    // Another sidecar of the zone, which has seen nothing itself.
    let other = zone(&pair.fabric.a(), Limits::default());
    let stale = other
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 4))
        .await;
    assert_eq!(code(stale), ErrorCode::StaleGeneration);
    let object = pair.fabric.a().object("volumes", "rekindle.group.db");
    assert_eq!(
        String::from_utf8(object.unwrap()).unwrap(),
        r#"{"v":1,"generation":5,"promoted":null}"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_promotion_needs_the_lease_of_its_generation() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let no_lease = pair.b.act(&spec(0), order(forced(), 2)).await;
    assert_eq!(code(no_lease), ErrorCode::LeaseNotHeld);
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    let older = pair.b.act(&spec(0), order(forced(), 1)).await;
    assert_eq!(code(older), ErrorCode::LeaseNotHeld);
    assert!(!pair.fabric.b().is_primary(&spec(0)));
    pair.b.act(&spec(0), order(forced(), 2)).await.unwrap();
    assert!(pair.fabric.b().is_primary(&spec(0)));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_lands_after_the_lease_went_does_not_stand() {
    let pair = Pair::with(Limits {
        action: Span::secs(5),
        ..Limits::default()
    });
    pair.fill(1, ReplicationMode::Instant).await;
    pair.fabric.a().kill();
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    pair.fabric.b().hang(crate::backend::Op::ForcePromote);
    let overran = pair.b.act(&spec(0), order(forced(), 2)).await;
    let error = overran.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(error.message.contains("may still take effect"), "{error}");
    let shown = pair.b.volume(&spec(0)).await.unwrap().in_flight.unwrap();
    assert!(shown.contains("overran"), "{shown}");
    // "Already so" would be a lie while the call may yet land.
    let early = pair
        .b
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 2))
        .await;
    assert_eq!(code(early), ErrorCode::Busy);
    pair.b
        .leases()
        .give_up(&group(), Generation(2))
        .await
        .unwrap();
    pair.fabric.b().release(crate::backend::Op::ForcePromote);
    while pair.b.in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!pair.fabric.b().is_primary(&spec(0)));
}
