//! One list for all who ask meanwhile.
//!
//! A list serves those alone who asked before it was begun, so what it shows is never older than the question. Who asks while one is read
//! waits for the next, with all who came since: forty servers that are looked for side by side are two lists of the cloud, not forty.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Shared<T> {
    /// Held while a list is read. Who gives up lets go of it, and the next one begins anew.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    /// How many lists were begun.
    begun: u64,
    /// The newest that ended well, and its number.
    last: Option<(u64, Arc<T>)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                begun: 0,
                last: None,
            }),
        }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list that was begun after this was called, by `list` or by another who asked.
    pub(super) async fn read<E>(
        &self,
        list: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let asked = self.state().begun;
        let _turn = self.turn.lock().await;
        let number = {
            let mut state = self.state();
            match &state.last {
                Some((number, last)) if *number > asked => return Ok(Arc::clone(last)),
                Some(_) | None => {}
            }
            state.begun += 1;
            state.begun
        };
        let all = Arc::new(list.await?);
        self.state().last = Some((number, Arc::clone(&all)));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };
    use tokio::time::{sleep, timeout};

    /// Says how many were begun before it, and takes a second.
    async fn list(begun: &AtomicU64) -> Result<u64, ()> {
        let number = begun.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_secs(1)).await;
        Ok(number)
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_serves_those_who_asked_before_it_was_begun() {
        let (shared, begun) = (Shared::default(), AtomicU64::new(0));
        let ask = async |after: u64| {
            sleep(Duration::from_millis(after)).await;
            *shared.read(list(&begun)).await.unwrap()
        };
        // The first has its own; who comes while it is read shares the next; who comes later still has another.
        let got = tokio::join!(ask(0), ask(100), ask(900), ask(1500), ask(5000));
        assert_eq!(got, (0, 1, 1, 2, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_or_fails_holds_up_nobody() {
        let (shared, begun) = (Shared::default(), AtomicU64::new(0));
        let short = Duration::from_millis(10);
        assert!(timeout(short, shared.read(list(&begun))).await.is_err());
        let failed = shared.read(async { Err::<u64, _>("away") }).await;
        assert_eq!(failed, Err("away"));
        assert_eq!(shared.read(list(&begun)).await, Ok(Arc::new(1)));
    }
}
