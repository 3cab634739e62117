use super::*;
use crate::catalogue::look::{Lack, Listed};
use rekindle_core::catalogue::Records;
use std::future::pending;
use tokio::time::{Instant, sleep};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn timing() -> CatalogueTiming {
    CatalogueTiming::default()
}
fn zone() -> ZoneName {
    ZoneName::new("zone-a").unwrap()
}
fn seen(images: u64, records: u64) -> Looked {
    Looked {
        images: Ok(Listed {
            images: BTreeMap::new(),
            lacks: None,
        }),
        records: Ok(Records::default()),
        projects: None,
        took: Parts {
            images: secs(images),
            records: secs(records),
        },
    }
}
/// Its sidecar did not answer.
fn without_images(took: u64) -> Looked {
    Looked {
        images: Err("silent".to_owned()),
        ..seen(took, 1)
    }
}
/// A knock that ends with that after so long.
fn knock(after: Duration, (images, records): (bool, bool)) -> Knock {
    Knock(tokio::spawn(async move {
        sleep(after).await;
        Heard {
            images,
            records,
            took: after,
        }
    }))
}

impl Patience {
    fn noted(&mut self, looked: &Looked, knock: impl FnOnce() -> Knock) {
        let door = self.zones.entry(zone()).or_default();
        door.note(looked, &timing());
        door.knocked(knock);
    }
    fn parts(&self) -> (u64, u64) {
        let parts = self.of(&zone(), &timing()).parts;
        (parts.images.as_secs(), parts.records.as_secs())
    }
    fn beyond(&self) -> u64 {
        self.of(&zone(), &timing()).beyond.as_secs()
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_53_what_was_silent_has_a_short_deadline_until_somebody_hears_it_again() {
    let mut p = Patience::default();
    assert_eq!(p.parts(), (30, 120));
    p.noted(&without_images(30), || knock(secs(20), (true, true)));
    assert_eq!(p.parts(), (3, 120), "only what was silent");
    // It is slow and alive: the short look misses it, and the knock does not.
    p.noted(&without_images(3), || panic!("one knocks already"));
    assert_eq!(p.parts(), (3, 120));
    sleep(secs(21)).await;
    p.noted(&without_images(3), || panic!("one has ended"));
    assert_eq!(p.parts(), (30, 120), "it was heard");
    assert_eq!(p.beyond(), 80, "and how long it took");
    // Whatever the next look sees is what counts.
    p.noted(&seen(20, 1), || panic!("nothing is silent"));
    assert_eq!(p.parts(), (30, 120));
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_stays_dead_is_knocked_at_again_and_again_one_at_a_time() {
    let mut p = Patience::default();
    let mut knocks = 0;
    for _ in 0..100 {
        p.noted(&without_images(3), || {
            knocks += 1;
            knock(secs(150), (false, false))
        });
        assert_eq!(p.parts().0, 3);
        sleep(secs(10)).await;
    }
    assert!((5..=7).contains(&knocks), "{knocks}");
}

#[test]
fn a_refusal_at_once_is_no_silence_and_a_dead_cluster_behind_a_sidecar_is() {
    let mut door = Door::default();
    door.note(&without_images(0), &timing());
    assert!(!door.images_silent);
    let mut lists_what_it_knew = seen(10, 1);
    if let Ok(listed) = &mut lists_what_it_knew.images {
        listed.lacks = Some(Lack::Cluster);
    }
    door.note(&lists_what_it_knew, &timing());
    assert!(door.images_silent && !door.records_silent);
    assert_eq!(door.took, None, "that was no good look");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_other_a_zone_has_a_multiple_of_its_last_good_look() {
    let mut p = Patience::default();
    assert_eq!(p.beyond(), 150, "nothing is known of it");
    for (images, records, expect) in [(0, 0, 3), (2, 3, 20), (20, 100, 150)] {
        p.noted(&seen(images, records), || panic!("nothing is silent"));
        assert_eq!(p.beyond(), expect);
    }
}

async fn timed(
    a: impl Future<Output = Looked>,
    b: impl Future<Output = Looked>,
) -> ((Looked, Looked), u64) {
    let begun = Instant::now();
    let looks = both((a, secs(7)), (b, secs(7))).await;
    (looks, begun.elapsed().as_secs())
}
async fn after(seconds: u64, looked: Looked) -> Looked {
    sleep(secs(seconds)).await;
    looked
}

#[tokio::test(start_paused = true)]
async fn who_has_answered_is_not_held_up_and_who_has_failed_hurries_nobody() {
    let ((a, b), took) = timed(pending(), after(2, seen(2, 0))).await;
    assert!(b.answered() && !a.answered());
    assert_eq!(took, 2 + 7);
    let ((a, b), took) = timed(after(2, seen(2, 0)), after(8, seen(8, 0))).await;
    assert!(a.answered() && b.answered());
    assert_eq!(took, 8);
    let ((a, b), took) = timed(after(0, without_images(0)), after(60, seen(60, 0))).await;
    assert!(!a.answered() && b.answered());
    assert_eq!(took, 60, "a refusal at once took the other's time");
}
