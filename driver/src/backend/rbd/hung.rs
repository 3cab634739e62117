//! Reads that do not come back.
//!
//! librbd cannot be told to leave off: a read of an image whose placement group is inactive keeps its thread for as long as that is so.
//! Lists come every few seconds, and what an image is to be asked for is asked for again: so none of them begins such a read again before
//! those before it have come back. An image that hangs for a day then costs a few threads, and not all that there are. Of many that
//! hang most are seen without a read (silence.rs): what is bounded here is what those looks do not see, and the first of all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// One of a list's reads that takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// So many images may hang in lists' reads before no other one is read: 64 lost threads are replaced, and actions need them too.
const MOST_IMAGES: usize = 32;
/// So many pages. Their images are read one by one then, which takes longer and tells the same. Four hang in each list that is under
/// way when the first image falls silent; later ones know which pages would. With the images that leaves 16 of the 64.
const MOST_PAGES: usize = 16;
/// An action's or a look's open that takes longer hangs.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// So many of an image's may hang. Not one alone, for one may have been lost on the way.
const MOST_OPENS: usize = 2;
/// For so long after the last sign of it a pool has something that hangs.
const TROUBLED: Duration = Duration::from_secs(60);

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// An image for a list, by its id.
    Image { pool: String, id: String },
    /// A page of the pool's list of mirrored images: so many after that id.
    Page {
        pool: String,
        after: String,
        most: usize,
    },
    /// An image that is opened for a look or an action.
    Open { pool: String, name: String },
    /// Whether the pool's images answer.
    Silence { pool: String },
}

impl What {
    fn pool(&self) -> &str {
        match self {
            Self::Image { pool, .. }
            | Self::Page { pool, .. }
            | Self::Open { pool, .. }
            | Self::Silence { pool } => pool,
        }
    }
    fn patience(&self) -> Duration {
        match self {
            Self::Image { .. } | Self::Page { .. } => PATIENCE,
            Self::Open { .. } | Self::Silence { .. } => OPEN_PATIENCE,
        }
    }
    /// How many of the same may hang.
    fn most(&self) -> usize {
        match self {
            Self::Image { .. } | Self::Page { .. } => 1,
            Self::Open { .. } | Self::Silence { .. } => MOST_OPENS,
        }
    }
    /// How many of its kind may.
    fn most_of_all(&self) -> Option<usize> {
        match self {
            Self::Image { .. } => Some(MOST_IMAGES),
            Self::Page { .. } => Some(MOST_PAGES),
            Self::Open { .. } | Self::Silence { .. } => None,
        }
    }
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The reads that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// When each was begun, by its number.
    reads: HashMap<What, HashMap<u64, Instant>>,
    /// When a pool last showed that something of it hangs.
    troubled: HashMap<String, Instant>,
}

/// One of them: held by its thread, and not by who waits for it.
#[derive(Debug)]
pub(super) struct Read {
    all: Reads,
    what: What,
    number: u64,
}

/// Why none is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Hangs {
    /// One of the same.
    #[error("it does not answer: an earlier read of it has not come back")]
    This,
    /// So many others.
    #[error("it is not read while {0} reads of other images have not come back")]
    Others(usize),
}

impl UnderWay {
    fn hanging(&self, what: &What) -> usize {
        let patience = what.patience();
        let of = self.reads.get(what).into_iter().flat_map(HashMap::values);
        of.filter(|begun| begun.elapsed() >= patience).count()
    }
}

impl Reads {
    /// Begins one, unless it would only hang too.
    pub(super) fn begin(&self, what: What) -> Result<Read, Hangs> {
        let mut all = self.all();
        if all.hanging(&what) >= what.most() {
            return Err(Hangs::This);
        }
        if let Some(most) = what.most_of_all() {
            let alike = all.reads.keys().filter(|w| w.is_like(&what));
            let hanging = alike.map(|w| all.hanging(w)).sum();
            if hanging >= most {
                return Err(Hangs::Others(hanging));
            }
        }
        let number = all.next;
        all.next += 1;
        let same = all.reads.entry(what.clone()).or_default();
        same.insert(number, Instant::now());
        Ok(Read {
            all: self.clone(),
            what,
            number,
        })
    }

    /// Whether one that was begun has not come back.
    pub(super) fn hangs(&self, what: &What) -> bool {
        self.all().hanging(what) > 0
    }

    /// Something of that pool hangs.
    pub(super) fn trouble(&self, pool: &str) {
        let mut all = self.all();
        all.troubled.insert(pool.to_owned(), Instant::now());
    }

    /// Whether something of that pool hangs, or did a moment ago.
    pub(super) fn is_troubled(&self, pool: &str) -> bool {
        let all = self.all();
        let lately = all.troubled.get(pool);
        lately.is_some_and(|at| at.elapsed() < TROUBLED)
            || all
                .reads
                .keys()
                .any(|what| what.pool() == pool && all.hanging(what) > 0)
    }

    fn all(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        let mut all = self.all.all();
        if let Some(same) = all.reads.get_mut(&self.what) {
            same.remove(&self.number);
            if same.is_empty() {
                all.reads.remove(&self.what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn image(n: usize) -> What {
        What::Image {
            pool: "volumes".to_owned(),
            id: n.to_string(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_does_not_answer_is_not_read_again_before_the_read_has_come_back() {
        let reads = Reads::default();
        let first = reads.begin(image(1)).unwrap();
        // Two lists at a time read the same image, and neither hangs.
        drop(reads.begin(image(1)).unwrap());
        advance(PATIENCE).await;
        assert_eq!(reads.begin(image(1)).unwrap_err(), Hangs::This);
        drop(reads.begin(image(2)).unwrap());
        drop(first);
        reads.begin(image(1)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_that_hang_leave_the_other_threads_to_the_actions() {
        let reads = Reads::default();
        let mut hanging: Vec<Read> = (0..MOST_IMAGES)
            .map(|n| reads.begin(image(n)).unwrap())
            .collect();
        // Slow is not hanging.
        drop(reads.begin(image(MOST_IMAGES)).unwrap());
        advance(PATIENCE).await;
        let refused = reads.begin(image(MOST_IMAGES)).unwrap_err();
        assert_eq!(refused, Hangs::Others(MOST_IMAGES));
        // A page is asked for all the same.
        let page = What::Page {
            pool: "volumes".to_owned(),
            after: String::new(),
            most: 1,
        };
        drop(reads.begin(page).unwrap());
        hanging.pop();
        reads.begin(image(MOST_IMAGES)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_is_troubled_while_something_of_it_hangs_and_for_a_moment_after() {
        let reads = Reads::default();
        let slow = reads.begin(image(1)).unwrap();
        assert!(!reads.is_troubled("volumes"));
        advance(PATIENCE).await;
        assert!(reads.is_troubled("volumes"));
        assert!(!reads.is_troubled("fast"));
        reads.trouble("volumes");
        drop(slow);
        assert!(reads.is_troubled("volumes"));
        advance(TROUBLED).await;
        assert!(!reads.is_troubled("volumes"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_does_not_answer_costs_actions_two_threads_and_no_more() {
        let reads = Reads::default();
        let open = || What::Open {
            pool: "volumes".to_owned(),
            name: "volume-1".to_owned(),
        };
        // What merely comes together is begun.
        let mut hanging: Vec<Read> = (0..5).map(|_| reads.begin(open()).unwrap()).collect();
        hanging.truncate(MOST_OPENS);
        advance(OPEN_PATIENCE).await;
        assert_eq!(reads.begin(open()).unwrap_err(), Hangs::This);
        // A list asks for itself.
        drop(reads.begin(image(1)).unwrap());
        hanging.pop();
        reads.begin(open()).unwrap();
    }
}
