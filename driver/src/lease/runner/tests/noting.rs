//! What a group's policy says of isolation and of deletions: noted with its images, and followed.

use super::*;

fn policy(response: IsolationResponse) -> GroupPolicy {
    GroupPolicy {
        isolation_response: response,
        ..GroupPolicy::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_changes_in_record_deed_and_metadata_in_the_safe_order() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.policy(policy(IsolationResponse::Freeze)).await;
    sleep(secs(45)).await;
    let recorded = b.key().await.unwrap().isolation_response;
    assert_eq!(recorded, IsolationResponse::Freeze);
    assert_eq!(
        b.images.with(|i| i.isolation),
        Some(IsolationResponse::Freeze)
    );
    // It is what is done, too.
    b.memory.partition();
    b.until("it freezes", secs(25), || b.images.with(|i| i.frozen))
        .await;
    assert!(b.images.primary());
    sleep(secs(30)).await;
    b.memory.heal();
    b.held(&s).await;
    b.until("it thaws", secs(5), || !b.images.with(|i| i.frozen))
        .await;
    // And back to the stricter one.
    b.policy(demote_policy()).await;
    sleep(secs(45)).await;
    assert_eq!(
        b.images.with(|i| i.isolation),
        Some(IsolationResponse::Demote)
    );
    let recorded = b.key().await.unwrap().isolation_response;
    assert_eq!(recorded, IsolationResponse::Demote);
    b.memory.partition();
    b.until("it demotes", secs(25), || !b.images.primary())
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_deletion_policy_is_noted_on_primaries_and_follows_the_spec() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let noted = |o: OnDelete| {
        let images = b.images.clone();
        move || images.with(|i| i.on_delete) == Some(o)
    };
    b.until("the default is noted", secs(40), noted(OnDelete::Refuse))
        .await;
    let mut kept = demote_policy();
    kept.on_delete = OnDelete::Keep;
    b.policy(kept).await;
    b.until("a change is noted", secs(40), noted(OnDelete::Keep))
        .await;
    // A copy takes no metadata: nothing is written there.
    b.images.with(|i| {
        i.primary = false;
        i.on_delete = None;
    });
    sleep(secs(70)).await;
    assert_eq!(b.images.with(|i| i.on_delete), None);
}
