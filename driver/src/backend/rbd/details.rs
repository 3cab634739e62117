//! What of an image only the image itself tells: read for a list, and kept between lists.
//!
//! An image that cannot be read is that image's trouble and no other's: the list goes on with what is known of it.

use super::{
    RbdBackend,
    hung::{Hangs, PATIENCE, What},
    silence::Silent,
    source::Source,
};
use crate::backend::{
    error::{BackendError, BackendErrorKind, Op},
    view::SnapshotSummary,
};
use rbd_rs as rbd;
use rekindle_common::ImageSpec;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

type Rbd<T> = std::result::Result<T, rbd::Error>;

/// A mirrored image's details are as good as new for so long.
const FRESH: Duration = Duration::from_secs(45);
/// Those of one that is not mirrored: read to see whether policy says it should be (hard case 36).
const FRESH_OTHER: Duration = Duration::from_secs(300);

/// One list of one pool.
pub(super) struct Listing<'a, S> {
    pub(super) pool: &'a str,
    pub(super) io: &'a S,
    pub(super) deadline: Instant,
    /// What one of its reads may take: whoever does not answer must not use up the others' time.
    pub(super) each: Duration,
}

impl<'a, S> Listing<'a, S> {
    pub(super) fn new(pool: &'a str, io: &'a S, deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        Self {
            pool,
            io,
            deadline,
            each: PATIENCE.min(left / 3),
        }
    }
}

/// What is kept of an image between lists.
#[derive(Debug, Clone)]
pub(super) struct Details {
    pub(super) name: String,
    pub(super) read: Instant,
    /// The status that they go with. `None`: an action has changed the image since.
    pub(super) mark: Option<String>,
    pub(super) size: u64,
    pub(super) metadata: Arc<BTreeMap<String, String>>,
    pub(super) snapshots: SnapshotSummary,
    /// The daemons' words, where the list had lost them.
    pub(super) status: Option<rbd::ImageStatus>,
    /// Its mirroring, where the pool's list did not get to say.
    pub(super) role: Option<(rbd::MirrorInfo, Option<rbd::MirrorMode>)>,
}

impl Details {
    /// Whether an image of that name, with that status, need not be read again.
    fn are_good(&self, name: &str, mark: &str, fresh: Duration) -> bool {
        self.name == name && self.mark.as_deref() == Some(mark) && self.read.elapsed() < fresh
    }
}

/// What a list wants of an image.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) mirrored: bool,
    pub(super) mark: String,
    pub(super) words: bool,
    pub(super) role: bool,
    /// Which of its objects does not answer.
    pub(super) silent: Option<Silent>,
}

/// Why an image was not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It has just gone.
    Gone,
    /// For a reason of its own. With what was last known of it.
    Own(BackendError, Option<Box<Details>>),
    /// The list as a whole has failed.
    List(BackendError),
}

/// Why one of a list's reads failed.
#[derive(Debug)]
pub(super) enum Failed {
    Own(BackendError),
    /// It was not begun, for so many others hang.
    Crowded(BackendError),
    List(BackendError),
}

/// An image that could not be read when it was last tried.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    name: String,
    mirrored: bool,
    at: Instant,
    error: BackendError,
    /// Whether the log has it.
    told: bool,
}

/// Of all images, by pool and id.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<HashMap<(String, String), T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<(String, String), T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What is gone from the pool is not kept.
    pub(super) fn retain(&self, pool: &str, ids: &HashSet<&String>) {
        self.all()
            .retain(|(p, id), _| p != pool || ids.contains(id));
    }
}

/// Whether a read's failure says nothing of the other images. `whole`: it had all of its time.
fn is_its_own(error: &BackendError, whole: bool) -> bool {
    use BackendErrorKind as K;
    match error.kind {
        K::Blocklisted | K::Unreachable | K::NotBegun => false,
        // Else it is the list that had no time left.
        K::Deadline => whole,
        K::NotFound
        | K::NotMirrored
        | K::PeerPrimaryOrDemotionPending
        | K::PoolNotMirrored
        | K::InUse
        | K::Exists
        | K::Changed
        | K::ReadOnly
        | K::Denied
        | K::Full
        | K::Unsupported
        | K::Corrupt
        | K::Torn
        | K::Other => true,
    }
}

impl RbdBackend {
    /// One of a list's many reads, for no longer than its part of the time.
    pub(super) async fn part<S, T, F>(
        &self,
        list: &Listing<'_, S>,
        op: Op,
        image: Option<&ImageSpec>,
        what: &What,
        call: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnOnce() -> Rbd<T> + Send + 'static,
    {
        loop {
            let begun = Instant::now();
            let left = list.deadline.saturating_duration_since(begun);
            if left.is_zero() {
                return Err(Failed::List(BackendError::deadline(op, image)));
            }
            let given = list.each.min(left);
            let read = self.shared.reads.begin(what.clone()).map_err(|hangs| {
                let kind = BackendErrorKind::Deadline;
                let error = BackendError::new(op, image, kind, hangs.to_string());
                self.shared.reads.trouble(list.pool);
                match hangs {
                    Hangs::This => Failed::Own(error),
                    Hangs::Others(_) => Failed::Crowded(error),
                }
            })?;
            let f = call();
            let calls = &self.shared.calls;
            let answer = calls
                .run(op, image, begun + given, move || {
                    // Held by the thread, however late it returns.
                    let _read = read;
                    f()
                })
                .await;
            match self.drop_if_dead(answer).await {
                Ok(found) => return Ok(found),
                // All threads were busy for so long, which is nothing that the image could be blamed for.
                Err(e)
                    if e.kind == BackendErrorKind::NotBegun
                        && given < left
                        && begun.elapsed() >= given => {}
                Err(e) if is_its_own(&e, given == list.each) => {
                    if e.kind == BackendErrorKind::Deadline {
                        self.shared.reads.trouble(list.pool);
                    }
                    return Err(Failed::Own(e));
                }
                Err(e) => return Err(Failed::List(e)),
            }
        }
    }

    pub(super) async fn details<S: Source>(
        &self,
        list: &Listing<'_, S>,
        spec: &ImageSpec,
        id: &str,
        want: Want,
    ) -> Result<Details, Unreadable> {
        let key = (spec.pool().to_owned(), id.to_owned());
        let fresh = if want.mirrored { FRESH } else { FRESH_OTHER };
        let kept = self.shared.details.all().get(&key).cloned();
        if let Some(d) = &kept
            && d.are_good(spec.image(), &want.mark, fresh)
            && !want.role
        {
            return Ok(d.clone());
        }
        if let Some(error) = self.fails_still(&key, &want) {
            return Err(Unreadable::Own(error, kept.map(Box::new)));
        }
        let read = match want.silent.as_ref().filter(|silent| !silent.opens) {
            Some(silent) => Err(Failed::Own(silent.error(spec))),
            None => self.read_details(list, spec, id, &want).await,
        };
        match read {
            Ok(details) => {
                let mut all = self.shared.details.all();
                all.insert(key.clone(), details.clone());
                drop(all);
                // All but its role, which its journal has.
                let roleless = want.role && details.role.is_none();
                if let Some(silent) = want.silent.as_ref().filter(|_| roleless) {
                    let error = silent.error(spec);
                    self.note_failure(key, spec, &want, &error);
                    return Err(Unreadable::Own(error, Some(Box::new(details))));
                }
                self.shared.failures.all().remove(&key);
                Ok(details)
            }
            Err(Failed::List(e)) => Err(Unreadable::List(e)),
            // Nothing says that it changed, nor that anything is wrong with it.
            Err(Failed::Crowded(error)) => match kept {
                Some(d) if d.mark.as_ref() == Some(&want.mark) && !want.role => Ok(d),
                kept => Err(Unreadable::Own(error, kept.map(Box::new))),
            },
            Err(Failed::Own(e)) if e.kind == BackendErrorKind::NotFound => Err(Unreadable::Gone),
            Err(Failed::Own(error)) => {
                self.note_failure(key, spec, &want, &error);
                Err(Unreadable::Own(error, kept.map(Box::new)))
            }
        }
    }

    fn note_failure(
        &self,
        key: (String, String),
        spec: &ImageSpec,
        want: &Want,
        error: &BackendError,
    ) {
        let mut all = self.shared.failures.all();
        let told = all.get(&key).is_some_and(|f| f.told);
        let failure = Failure {
            name: spec.image().to_owned(),
            mirrored: want.mirrored,
            at: Instant::now(),
            error: error.clone(),
            told,
        };
        all.insert(key, failure);
    }

    async fn read_details<S: Source>(
        &self,
        list: &Listing<'_, S>,
        spec: &ImageSpec,
        id: &str,
        want: &Want,
    ) -> Result<Details, Failed> {
        let what = What::Image {
            pool: list.pool.to_owned(),
            id: id.to_owned(),
        };
        let call = || {
            let (io, name, want) = (list.io.clone(), spec.image().to_owned(), want.clone());
            move || io.read(&name, want)
        };
        self.part(list, Op::Open, Some(spec), &what, call).await
    }

    /// Whether a list reads an image that is not mirrored.
    pub(super) fn is_due(&self, pool: &str, id: &str, name: &str) -> bool {
        let all = self.shared.details.all();
        let kept = all.get(&(pool.to_owned(), id.to_owned()));
        !kept.is_some_and(|d| d.are_good(name, "", FRESH_OTHER))
    }

    /// A clone whose parent this user may not read, say: the pool may have hundreds, and each list would open them all in vain.
    fn fails_still(&self, key: &(String, String), want: &Want) -> Option<BackendError> {
        let all = self.shared.failures.all();
        let failure = all.get(key).filter(|f| {
            !f.mirrored
                && !want.mirrored
                && f.error.kind == BackendErrorKind::Denied
                && f.at.elapsed() < FRESH_OTHER
        })?;
        Some(failure.error.clone())
    }

    /// Says, once for each, which images could not be read.
    pub(super) fn tell_failures(&self, pool: &str) {
        let mut others = 0;
        let mut one = None;
        for ((_, id), failure) in self
            .shared
            .failures
            .all()
            .iter_mut()
            .filter(|((p, _), f)| p == pool && !f.told)
        {
            failure.told = true;
            if failure.mirrored {
                tracing::warn!(pool, image = failure.name, id, error = %failure.error, "a mirrored image cannot be read: it is listed as unknown, with its policy as it was last read");
            } else {
                others += 1;
                one = Some((failure.name.clone(), failure.error.to_string()));
            }
        }
        if let Some((image, error)) = one {
            tracing::warn!(
                pool,
                images = others,
                image,
                error,
                "images that are not mirrored cannot be read, and are left out of the lists. A clone cannot where the Ceph user may not read its parent: give it `profile rbd-read-only` on that one's pool"
            );
        }
    }

    /// An action may have changed it: what is kept is for when it cannot be read.
    pub(super) fn forget_details(&self, spec: &ImageSpec) {
        for ((pool, _), details) in self.shared.details.all().iter_mut() {
            if pool == spec.pool() && details.name == spec.image() {
                details.mark = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::error::errno;

    #[test]
    fn one_image_that_cannot_be_opened_does_not_end_the_list() {
        let spec = ImageSpec::new("volumes", "volume-1").unwrap();
        for n in [errno::EPERM, errno::EIO, errno::EINVAL, errno::EBUSY] {
            let error = BackendError::from_errno(Op::Open, Some(&spec), n, "");
            assert!(is_its_own(&error, true), "{error}");
        }
        for n in [errno::ESHUTDOWN, errno::ENOTCONN] {
            let error = BackendError::from_errno(Op::Open, Some(&spec), n, "");
            assert!(!is_its_own(&error, true), "{error}");
        }
        // That no thread was free is no image's fault.
        let starved = BackendErrorKind::NotBegun;
        let starved = BackendError::new(Op::Open, Some(&spec), starved, "");
        assert!(!is_its_own(&starved, true));
    }

    #[test]
    fn an_image_is_blamed_for_its_own_silence_and_not_for_a_list_without_time() {
        let silent = BackendError::deadline(Op::Open, None);
        assert!(is_its_own(&silent, true));
        assert!(!is_its_own(&silent, false));
    }
}
