use super::*;
use rekindle_common::ZoneName;
use rekindle_store::MemoryStore;

const TTL: Span = Span::secs(10);

fn group() -> GroupName {
    GroupName::new("db").unwrap()
}
fn record(zone: &str, generation: u64) -> PrimaryRecord {
    PrimaryRecord {
        zone: ZoneName::new(zone).unwrap(),
        generation: Generation(generation),
        since: jiff::Timestamp::UNIX_EPOCH,
        plan: None,
    }
}
fn question(zone: &str, generation: u64) -> FailsafeQuestion {
    FailsafeQuestion {
        group: group(),
        zone: ZoneName::new(zone).unwrap(),
        generation: Generation(generation),
    }
}
/// A site that has run for longer than a ttl, and read the record.
async fn site() -> (MemoryStore, Failsafe) {
    let store = MemoryStore::default();
    let site = SiteName::new("witness").unwrap();
    let f = Failsafe::new(site, store.clone().into(), Duration::from_secs(1));
    f.learn(&group(), Some(&record("zone-a", 3)), TTL);
    tokio::time::advance(TTL.get() + Duration::from_secs(1)).await;
    (store, f)
}

#[tokio::test(start_paused = true)]
async fn with_etcd_well_what_etcd_says_counts() {
    let (_store, f) = site().await;
    let answer = f.answer(&question("zone-a", 3)).await.unwrap();
    assert!(
        matches!(answer, FailsafeAnswer::EtcdIsWell { .. }),
        "{answer:?}"
    );
    assert_eq!(f.bound_until(&group(), TTL), None);
}

#[tokio::test(start_paused = true)]
async fn without_etcd_it_promises_and_is_bound() {
    let (store, f) = site().await;
    store.partition();
    let answer = f.answer(&question("zone-a", 3)).await.unwrap();
    assert!(
        matches!(answer, FailsafeAnswer::StillYours { lasts, .. } if lasts == Some(TTL)),
        "{answer:?}"
    );
    let left = f.begin_recording(&group(), TTL).unwrap_err();
    assert_eq!(left, TTL);
    tokio::time::advance(TTL.get()).await;
    assert!(f.begin_recording(&group(), TTL).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_was_replaced_is_told_so() {
    let (store, f) = site().await;
    f.learn(&group(), Some(&record("zone-b", 4)), TTL);
    store.partition();
    let answer = f.answer(&question("zone-a", 3)).await.unwrap();
    assert!(
        matches!(
            answer,
            FailsafeAnswer::NotYours {
                generation: Generation(4),
                ..
            }
        ),
        "{answer:?}"
    );
    // An older read that comes late does not make it forget.
    f.learn(&group(), Some(&record("zone-a", 3)), TTL);
    let answer = f.answer(&question("zone-a", 3)).await.unwrap();
    assert!(
        matches!(answer, FailsafeAnswer::NotYours { .. }),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_has_just_started_is_bound_and_vouches_for_nobody() {
    let store = MemoryStore::default();
    let site = SiteName::new("witness").unwrap();
    let f = Failsafe::new(site, store.clone().into(), Duration::from_secs(1));
    assert!(
        f.begin_recording(&group(), TTL).is_err(),
        "it may have promised before it was started"
    );
    store.partition();
    let e = f.answer(&question("zone-a", 3)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_change_under_way_or_of_unknown_outcome_is_vouched_for_by_nobody() {
    let (store, f) = site().await;
    let recording = f.begin_recording(&group(), TTL).unwrap();
    store.partition();
    assert!(f.answer(&question("zone-a", 3)).await.is_err());
    drop(recording);
    assert!(f.answer(&question("zone-a", 3)).await.is_err());
    f.learn(&group(), Some(&record("zone-a", 3)), TTL);
    assert!(
        f.answer(&question("zone-a", 3)).await.is_err(),
        "the read may have been before the change came through"
    );
    tokio::time::advance(SETTLED_AFTER + Duration::from_secs(1)).await;
    f.learn(&group(), Some(&record("zone-a", 3)), TTL);
    assert!(f.answer(&question("zone-a", 3)).await.is_ok());

    tokio::time::advance(TTL.get()).await;
    let recording = f.begin_recording(&group(), TTL).unwrap();
    recording.settled(&record("zone-b", 4));
    let answer = f.answer(&question("zone-a", 3)).await.unwrap();
    assert!(
        matches!(answer, FailsafeAnswer::NotYours { .. }),
        "{answer:?}"
    );
}
