use super::*;
use crate::pause::PAUSE;
use crate::status::fields::tests::report;
use rekindle_common::ErrorCode;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A sidecar that takes so long, and then says so.
#[derive(Clone)]
struct Sidecar {
    takes: Arc<Mutex<Duration>>,
    fails: Arc<Mutex<bool>>,
    asked: Arc<AtomicUsize>,
}

impl Source for Sidecar {
    async fn list(&self) -> Result<(Vec<VolumeReport>, bool), ApiError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        if *self.fails.lock().unwrap() {
            return Err(ApiError::new(ErrorCode::SidecarUnreachable, "away"));
        }
        Ok((vec![report("p/volume-1", |_| ())], true))
    }
}

const MS: Duration = Duration::from_millis(1);

fn list(takes: Duration) -> (Sidecar, Arc<List<Sidecar>>) {
    let sidecar = Sidecar {
        takes: Arc::new(Mutex::new(takes)),
        fails: Arc::default(),
        asked: Arc::default(),
    };
    let settings = Settings {
        age: MS * 1000,
        wait: MS * 300,
        ..Settings::default()
    };
    let metrics = Metrics::new(&ZoneName::new("zone-a").unwrap());
    let list = List::new(sidecar.clone(), None, settings, &metrics);
    (sidecar, Arc::new(list))
}

impl Sidecar {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn image(name: &str) -> ImageSpec {
    ImageSpec::new("p", name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_list_serves_all_who_come_within_its_time() {
    let (sidecar, list) = list(MS * 50);
    let many = (0..100).map(|_| {
        let list = Arc::clone(&list);
        tokio::spawn(async move { list.get().await.is_some() })
    });
    for told in futures::future::join_all(many).await {
        assert!(told.unwrap());
    }
    assert_eq!(sidecar.asked(), 1);
    let rows = list.get().await.unwrap();
    assert!(matches!(rows.of(&image("volume-1")), Listed::Row(_)));
    assert_eq!(rows.of(&image("volume-2")), Listed::Absent);
    tokio::time::advance(MS * 999).await;
    assert!(list.get().await.is_some());
    assert_eq!(sidecar.asked(), 1);
    tokio::time::advance(MS).await;
    assert!(list.get().await.is_some());
    assert_eq!(sidecar.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sidecar_holds_up_nobody_and_serves_the_next() {
    let (sidecar, list) = list(MS * 2000);
    let began = Instant::now();
    assert!(list.get().await.is_none());
    assert_eq!(began.elapsed(), MS * 300);
    // It is still asked: who comes now does not wait for what others have waited for already.
    assert!(list.get().await.is_none());
    assert_eq!(began.elapsed(), MS * 300);
    tokio::time::sleep(MS * 1701).await;
    assert!(list.get().await.is_some());
    assert_eq!(sidecar.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_is_away_is_left_alone_for_a_while() {
    let (sidecar, list) = list(MS * 60);
    *sidecar.fails.lock().unwrap() = true;
    assert!(list.get().await.is_none());
    let began = Instant::now();
    for _ in 0..100 {
        assert!(list.get().await.is_none());
    }
    assert_eq!((began.elapsed(), sidecar.asked()), (Duration::ZERO, 1));
    *sidecar.fails.lock().unwrap() = false;
    tokio::time::advance(PAUSE).await;
    assert!(list.get().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_refuses_at_once_is_asked_again() {
    let (sidecar, list) = list(MS);
    *sidecar.fails.lock().unwrap() = true;
    assert!(list.get().await.is_none());
    *sidecar.fails.lock().unwrap() = false;
    assert!(list.get().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_did_something_is_not_away() {
    let (sidecar, list) = list(MS * 60);
    *sidecar.fails.lock().unwrap() = true;
    assert!(list.get().await.is_none());
    *sidecar.fails.lock().unwrap() = false;
    list.changed(false);
    assert!(list.get().await.is_none());
    list.changed(true);
    assert!(list.get().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_seen_in_the_next_list() {
    let (sidecar, list) = list(MS * 10);
    assert!(list.get().await.is_some());
    list.changed(true);
    assert!(list.get().await.is_some());
    assert_eq!(sidecar.asked(), 2);
    // Nor does a list that was on its way hide it.
    tokio::time::advance(MS * 1000).await;
    let asking = {
        let list = Arc::clone(&list);
        tokio::spawn(async move { list.get().await.is_some() })
    };
    while sidecar.asked() < 3 {
        tokio::task::yield_now().await;
    }
    list.changed(true);
    assert!(!asking.await.unwrap());
    assert!(list.get().await.is_some());
    assert_eq!(sidecar.asked(), 4);
}
