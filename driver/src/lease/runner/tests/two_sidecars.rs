//! Two sidecars of one zone, of which one loses etcd: what the other holds is not to be demoted.

use super::*;

/// A sidecar with an outage of etcd of its own.
fn start_apart(b: &Bench, name: &str) -> (MemoryStore, Sidecar) {
    let memory = b.memory.handle(name);
    let sidecar = b.start_on(Store::from(memory.clone()), name, "1");
    (memory, sidecar)
}

fn isolated(s: &Sidecar) -> bool {
    matches!(s.handle.view(&db()), LeaseView::Isolated { .. })
}

/// Neither by a second that stands by and loses etcd, nor by one that starts without it.
#[tokio::test(start_paused = true)]
async fn hard_case_01_a_sidecar_without_etcd_does_not_demote_what_another_holds() {
    for from_its_start in [false, true] {
        let b = Bench::new(true, demote_policy()).await;
        let first = b.start("host-a", "1");
        b.held(&first).await;
        let memory = b.memory.handle("host-b");
        if from_its_start {
            memory.hang();
        }
        let second = b.start_on(Store::from(memory.clone()), "host-b", "1");
        sleep(secs(20)).await;
        memory.partition();
        for _ in 0..300 {
            sleep(secs(1)).await;
            assert!(b.images.primary(), "start: {from_its_start}");
            assert!(held(&first) && !isolated(&second));
        }
        assert_eq!(b.key().await.unwrap().holder, "host-a/1");

        // It is a second line all the same: when the first dies too, nobody can renew.
        drop(first);
        let gone = b.key_gone().await;
        let demoted = b.images.with(|i| i.demoted_at);
        assert!(demoted.is_some_and(|d| d < gone), "{demoted:?} {gone:?}");
        // Nobody takes the lease again by himself.
        memory.heal();
        sleep(secs(60)).await;
        assert_eq!(b.key().await, None);
    }
}

/// The zone as a whole loses etcd: neither vouches for the other.
#[tokio::test(start_paused = true)]
async fn hard_case_01_two_sidecars_without_etcd_do_not_keep_each_other_alive() {
    let b = Bench::new(true, demote_policy()).await;
    let first = b.start("host-a", "1");
    b.held(&first).await;
    let (memory, second) = start_apart(&b, "host-b");
    sleep(secs(20)).await;
    b.memory.partition();
    memory.hang();
    let gone = b.key_gone().await;
    let demoted = b.images.with(|i| i.demoted_at);
    assert!(demoted.is_some_and(|d| d < gone), "{demoted:?} {gone:?}");
    b.until("both are isolated", secs(10), || {
        isolated(&first) && isolated(&second)
    })
    .await;
}

/// The holder loses etcd, and the one that stood by does not: the lease changes hands and nothing is demoted.
#[tokio::test(start_paused = true)]
async fn a_holder_without_etcd_leaves_the_lease_to_the_other() {
    let b = Bench::new(true, demote_policy()).await;
    let (memory, first) = start_apart(&b, "host-a");
    b.held(&first).await;
    let second = b.start("host-b", "1");
    sleep(secs(20)).await;
    memory.hang();
    b.until("the second holds it", secs(25), || held(&second))
        .await;
    for _ in 0..120 {
        sleep(secs(1)).await;
        assert!(b.images.primary() && held(&second));
    }
    assert_eq!(first.handle.view(&db()), LeaseView::NotHeld);
}

/// After the whole zone was isolated one of its sidecars is ordered to serve again; what is promoted on that is left alone by the
/// other, with and without etcd.
#[tokio::test(start_paused = true)]
async fn what_one_sidecar_was_ordered_to_serve_is_not_demoted_by_another_that_was_isolated() {
    for etcd_is_back in [true, false] {
        let b = Bench::new(true, demote_policy()).await;
        let first = b.start("host-a", "1");
        b.held(&first).await;
        let (memory, second) = start_apart(&b, "host-b");
        sleep(secs(20)).await;
        b.memory.partition();
        memory.partition();
        b.until("both are isolated", secs(60), || {
            isolated(&first) && isolated(&second)
        })
        .await;
        sleep(secs(10)).await;
        assert!(!b.images.primary());
        b.memory.heal();
        if etcd_is_back {
            memory.heal();
        }
        first.handle.take(&db(), Generation(1)).await.unwrap();
        b.images.with(|i| i.primary = true);
        for _ in 0..120 {
            sleep(secs(1)).await;
            assert!(b.images.primary(), "etcd is back: {etcd_is_back}");
        }
        assert!(held(&first) && !isolated(&second));
    }
}

/// The zone becomes primary, and one of its sidecars promotes, before the other has read that; which may have to ask the first one.
#[tokio::test(start_paused = true)]
async fn what_was_promoted_under_a_record_that_a_sidecar_has_not_read_is_not_demoted() {
    for etcd_is_back_after in [Some(6), None] {
        let b = Bench::new(false, demote_policy()).await;
        b.record("zone-b", 1).await;
        let first = b.start("host-a", "1");
        let (memory, second) = start_apart(&b, "host-b");
        sleep(secs(21)).await;
        memory.partition();
        b.record("zone-a", 2).await;
        first.handle.take(&db(), Generation(2)).await.unwrap();
        b.images.with(|i| i.primary = true);
        for n in 0..120 {
            if etcd_is_back_after == Some(n) {
                memory.heal();
            }
            sleep(secs(1)).await;
            assert!(b.images.primary(), "{etcd_is_back_after:?}, after {n} s");
        }
        assert!(held(&first) && !isolated(&second));
    }
}

/// Nor is it where a look failed meanwhile.
#[tokio::test(start_paused = true)]
async fn what_was_promoted_while_a_sidecar_could_not_look_is_not_demoted() {
    let b = Bench::new(false, demote_policy()).await;
    let (first, second) = (b.start("host-a", "1"), b.start("host-b", "1"));
    let both = || isolated(&first) && isolated(&second);
    b.until("both are isolated", secs(20), both).await;
    sleep(secs(10)).await;
    first.handle.take(&db(), Generation(1)).await.unwrap();
    b.images.with(|i| {
        i.primary = true;
        i.unseen = true;
    });
    for n in 0..60 {
        sleep(secs(1)).await;
        b.images.with(|i| i.unseen = n < 8);
        assert!(b.images.primary(), "after {n} s");
    }
    assert!(held(&first) && !isolated(&second));
}

/// Nor is it where an image has not been readable since the sidecar's start, which may be this group's or any group's. A demotion that is
/// under way may meet the first volumes; after the next look into etcd all that is promoted stays.
#[tokio::test(start_paused = true)]
async fn what_another_serves_is_not_demoted_over_and_over_for_an_image_that_cannot_be_read() {
    for (group, moves) in [
        (None, true),
        (None, false),
        (Some(db()), true),
        (Some(db()), false),
    ] {
        let b = Bench::new(false, demote_policy()).await;
        b.images.with(|i| {
            i.beside = Some(SeenImage {
                group: group.clone(),
                primary: Known::Unknown,
                isolation: None,
                on_delete: None,
            });
        });
        if moves {
            b.record("zone-b", 1).await;
        }
        let (first, second) = (b.start("host-a", "1"), b.start("host-b", "1"));
        sleep(secs(10)).await;
        // As after an isolation: both hold nothing, and the zone is recorded.
        b.memory.partition();
        sleep(secs(60)).await;
        b.memory.heal();
        let generation = if moves { 2 } else { 1 };
        if moves {
            b.record("zone-a", generation).await;
        }
        first
            .handle
            .take(&db(), Generation(generation))
            .await
            .unwrap();
        b.images.with(|i| i.primary = true);
        sleep(secs(2)).await;
        b.images.with(|i| i.primary = true);
        for n in 0..120 {
            sleep(secs(1)).await;
            assert!(b.images.primary(), "{group:?} {moves}, after {n} s");
        }
        assert!(held(&first) && !isolated(&second));
    }
}

/// What was begun for a lease that had ended takes no disk from under servers that serve on the next one.
#[tokio::test(start_paused = true)]
async fn a_demotion_under_way_ends_where_the_lease_is_held_again() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.demoting = secs(4));
    b.memory.partition();
    b.until("it demotes", secs(30), || isolated(&s)).await;
    b.memory.heal();
    s.handle.take(&db(), Generation(1)).await.unwrap();
    for _ in 0..60 {
        sleep(secs(1)).await;
        assert!(b.images.primary() && held(&s));
    }
    // And once that has ended it is demoted as ever.
    b.images.with(|i| i.demoting = Duration::ZERO);
    b.memory.partition();
    let gone = b.key_gone().await;
    let demoted = b.images.with(|i| i.demoted_at);
    assert!(demoted.is_some_and(|d| d < gone), "{demoted:?} {gone:?}");
}

/// Nor is what is promoted by hand beside the zone that is recorded left alone: the record is read again first, where it can be.
#[tokio::test(start_paused = true)]
async fn hard_case_50_what_rises_in_a_replaced_zone_is_demoted_again() {
    for (cut, within) in [(false, 7), (true, 12)] {
        let b = Bench::new(false, demote_policy()).await;
        b.record("zone-b", 2).await;
        let _s = b.start("host-a", "1");
        sleep(secs(12)).await;
        if cut {
            b.memory.partition();
        }
        b.images.with(|i| i.primary = true);
        let demoted = || !b.images.primary();
        b.until("it is demoted", secs(within), demoted).await;
        assert_eq!(b.key().await, None);
    }
}

/// What somebody promotes by hand in an isolated zone is demoted again, if a little later: nobody vouches for it.
#[tokio::test(start_paused = true)]
async fn what_nobody_holds_a_lease_for_is_demoted_again() {
    for cut in [false, true] {
        let b = Bench::new(false, demote_policy()).await;
        let s = b.start("host-a", "1");
        b.until("it is isolated", secs(20), || isolated(&s)).await;
        sleep(secs(10)).await;
        if cut {
            b.memory.partition();
        }
        b.images.with(|i| i.primary = true);
        b.until("it is demoted", secs(12), || !b.images.primary())
            .await;
        assert_eq!(b.key().await, None);
    }
}

/// As with one sidecar: whatever happens to two and to their etcd, nothing is primary here once the other zone is recorded.
#[tokio::test(start_paused = true)]
async fn hard_case_01_whatever_two_sidecars_tell_each_other_no_right_outlives_the_lease() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let (mut taken_over, mut kept) = (0, 0);
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let b = Bench::new(true, demote_policy()).await;
        let names = ["host-a", "host-b"];
        let stores = names.map(|name| b.memory.handle(name));
        let start = |i: usize, n: u32| {
            let store = Store::from(stores[i].clone());
            b.start_on(store, names[i], &n.to_string())
        };
        let mut sidecars = [start(0, 0), start(1, 0)];
        b.until("the lease is held", secs(15), || sidecars.iter().any(held))
            .await;
        let end = Instant::now() + secs(200);
        let trouble = async {
            let mut starts = 0;
            while Instant::now() < end {
                sleep(Duration::from_millis(rng.random_range(100..15_000))).await;
                let i = usize::from(rng.random_bool(0.5));
                match rng.random_range(0..10) {
                    0 => stores[i].partition(),
                    1 => stores[i].hang(),
                    2 => stores.iter().for_each(MemoryStore::hang),
                    3..=6 => stores[i].heal(),
                    7 => stores[i].lose_answers(rng.random_range(1..3)),
                    8 => b.images.with(|i| i.stubborn = 2),
                    _ => {
                        starts += 1;
                        sidecars[i].stop.cancel();
                        sleep(Duration::from_millis(rng.random_range(0..9_500))).await;
                        sidecars[i] = start(i, starts);
                    }
                }
            }
        };
        if is_taken_over(&b, seed, end, trouble).await {
            taken_over += 1;
        } else if b.images.primary() {
            kept += 1;
        }
    }
    assert!(
        taken_over > 5 && kept > 5,
        "the trouble was too small or too great to prove anything: {taken_over} {kept}"
    );
}
