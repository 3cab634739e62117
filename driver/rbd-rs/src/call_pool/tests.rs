use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

fn pool(threads: usize, queue: usize, lost: usize) -> CallPool {
    CallPool::new(CallPoolLimits {
        threads,
        queue,
        lost,
    })
}

/// A call that hangs until the sender is used or dropped.
fn hang() -> (
    mpsc::Sender<()>,
    impl FnOnce() -> Result<(), Error> + Send + 'static,
) {
    let (sender, receiver) = mpsc::channel::<()>();
    (sender, move || {
        let _ = receiver.recv();
        Ok(())
    })
}

/// Waits until the counters are as wanted.
async fn until(pool: &CallPool, wanted: impl Fn(CallPoolCounters) -> bool) {
    let start = Instant::now();
    while !wanted(pool.counters()) {
        assert!(start.elapsed() < LONG, "{:?}", pool.counters());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_call_gives_its_result() {
    let pool = pool(2, 8, 2);
    assert_eq!(pool.call(LONG, "seven", || Ok(7)).await.unwrap(), 7);
    until(&pool, |c| c.busy == 0).await;
    assert_eq!(pool.counters().threads, 1);
}

#[tokio::test]
async fn an_error_of_the_library_is_passed_on() {
    let pool = pool(1, 8, 1);
    let at = crate::error::At {
        operation: "rbd_open",
        subject: "p/i",
    };
    let error = at.error(-libc::ETIMEDOUT);
    let error = pool
        .call::<(), _>(LONG, "open", move || Err(error))
        .await
        .unwrap_err();
    assert!(matches!(error.error(), Some(Error::TimedOut(_))));
    assert!(error.retryable());
}

#[tokio::test]
async fn hard_case_22_a_call_that_hangs_is_reported_in_time_and_holds_up_nobody() {
    let pool = pool(1, 8, 2);
    let (release, hanging) = hang();
    let start = Instant::now();
    let error = pool
        .call(SHORT, "promote volumes/v", hanging)
        .await
        .unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(matches!(
        &error,
        CallError::TimedOut {
            stage: TimedOutStage::Running,
            ..
        }
    ));
    assert!(
        error
            .to_string()
            .starts_with("promote volumes/v did not end within 50ms"),
        "{error}"
    );
    let counters = pool.counters();
    assert_eq!(
        (counters.busy, counters.lost, counters.lost_total),
        (0, 1, 1)
    );

    // The one thread is gone, and yet calls are served.
    assert_eq!(pool.call(LONG, "other", || Ok(1)).await.unwrap(), 1);
    drop(release);
    until(&pool, |c| c.lost == 0 && c.returned_total == 1).await;
    assert_eq!(pool.counters().threads, 1, "one thread too many stayed");
}

#[tokio::test]
async fn at_the_bound_of_lost_threads_it_is_exhausted_and_recovers() {
    let pool = pool(1, 8, 1);
    let mut releases = Vec::new();
    for _ in 0..2 {
        let (release, hanging) = hang();
        releases.push(release);
        pool.call(SHORT, "hang", hanging).await.unwrap_err();
    }
    let error = pool.call(LONG, "late", || Ok(())).await.unwrap_err();
    assert!(
        matches!(error, CallError::Exhausted { lost: 2, .. }),
        "{error:?}"
    );
    assert!(error.retryable());

    releases.pop();
    until(&pool, |c| c.lost == 1).await;
    pool.call(LONG, "again", || Ok(())).await.unwrap();
}

#[tokio::test]
async fn a_call_that_waits_too_long_for_a_thread_never_begins() {
    let pool = pool(1, 8, 0);
    let (release, hanging) = hang();
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(LONG, "first", hanging).await }
    });
    until(&pool, |c| c.busy == 1).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let in_call = Arc::clone(&ran);
    let error = pool
        .call(SHORT, "second", move || {
            in_call.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        CallError::TimedOut {
            stage: TimedOutStage::Queued,
            ..
        }
    ));
    assert_eq!(pool.counters().queued, 0);
    drop(release);
    first.await.unwrap().unwrap();
    // A later call has run, so the withdrawn one would have had its turn.
    pool.call(LONG, "third", || Ok(())).await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_eq!(pool.counters().lost_total, 0);
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once() {
    let pool = pool(1, 1, 0);
    let (release, hanging) = hang();
    let spawn = |call: Box<dyn FnOnce() -> Result<(), Error> + Send>| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call(LONG, "held", call).await })
    };
    let running = spawn(Box::new(hanging));
    until(&pool, |c| c.busy == 1).await;
    let waiting = spawn(Box::new(|| Ok(())));
    until(&pool, |c| c.queued == 1).await;
    let error = pool.call(LONG, "third", || Ok(())).await.unwrap_err();
    assert!(
        matches!(error, CallError::QueueFull { queued: 1, .. }),
        "{error:?}"
    );
    drop(release);
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panic_is_reported_and_the_thread_works_on() {
    let pool = pool(1, 8, 1);
    let error = pool
        .call::<(), _>(LONG, "odd", || panic!("no {}", 7))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "odd panicked: no 7");
    assert!(!error.retryable());
    pool.call(LONG, "next", || Ok(())).await.unwrap();
    let counters = pool.counters();
    assert_eq!((counters.threads, counters.panicked_total), (1, 1));
}

#[tokio::test]
async fn a_result_that_comes_too_late_is_dropped_on_its_own_thread() {
    struct Handle(mpsc::Sender<std::thread::ThreadId>);
    impl Drop for Handle {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }
    let pool = pool(1, 8, 1);
    let (dropped, where_dropped) = mpsc::channel();
    let (release, hanging) = hang();
    let late = move || {
        hanging()?;
        Ok(Handle(dropped))
    };
    assert!(pool.call(SHORT, "late", late).await.is_err());
    drop(release);
    let id = where_dropped.recv_timeout(LONG).unwrap();
    assert_ne!(id, std::thread::current().id());
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_keep_a_thread() {
    let pool = pool(1, 8, 1);
    let (release, hanging) = hang();
    let task = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(LONG, "first", hanging).await }
    });
    until(&pool, |c| c.busy == 1).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(pool.counters().lost, 1);
    pool.call(LONG, "next", || Ok(())).await.unwrap();
    drop(release);
    until(&pool, |c| c.lost == 0).await;
}

#[tokio::test]
async fn a_call_that_waits_while_the_last_thread_is_lost_gets_the_new_one() {
    let pool = pool(1, 8, 1);
    let (_release, hanging) = hang();
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(SHORT, "first", hanging).await }
    });
    until(&pool, |c| c.busy == 1).await;
    // Queued behind the one that hangs.
    pool.call(LONG, "second", || Ok(())).await.unwrap();
    assert!(first.await.unwrap().is_err());
}

#[tokio::test]
async fn what_waits_when_no_thread_is_left_is_told_so() {
    let pool = pool(1, 8, 0);
    let (_release, hanging) = hang();
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(SHORT, "first", hanging).await }
    });
    until(&pool, |c| c.busy == 1).await;
    let error = pool.call(LONG, "second", || Ok(())).await.unwrap_err();
    assert!(matches!(error, CallError::Exhausted { .. }), "{error:?}");
    assert!(first.await.unwrap().is_err());
}

#[tokio::test]
async fn many_calls_run_side_by_side_within_the_limit() {
    let pool = pool(4, 256, 0);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let (pool, now, most) = (pool.clone(), Arc::clone(&now), Arc::clone(&most));
        tasks.push(tokio::spawn(async move {
            pool.call(LONG, "step", move || {
                let running = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(running, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            })
            .await
        }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let most = most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} at once");
    assert_eq!(pool.counters().threads, 4);
}

#[tokio::test]
async fn dropping_the_pool_ends_its_threads() {
    let pool = pool(2, 8, 0);
    let shared = Arc::downgrade(&pool.owner.shared);
    pool.call(LONG, "one", || Ok(())).await.unwrap();
    drop(pool);
    let start = Instant::now();
    while shared.strong_count() > 0 {
        assert!(start.elapsed() < LONG, "a thread stayed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
