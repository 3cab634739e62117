//! What outlives a round. A new leader begins without it: it tries at once what another waited with, and writes to each image once.

use super::ServersTiming;
use rekindle_common::{GroupName, ImageSpec, ServerKey, servers::ServerRecord};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

type Key = (GroupName, ServerKey);

/// What failed, and until when it waits.
#[derive(Debug)]
struct Failure {
    words: String,
    pause: Duration,
    until: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memory {
    failures: BTreeMap<Key, Failure>,
    described: BTreeMap<Key, (ImageSpec, ServerRecord)>,
}

impl Memory {
    /// Why the last act for a server failed, and whether it still waits.
    pub(super) fn failure(&self, group: &GroupName, key: &ServerKey) -> Option<(String, bool)> {
        let failure = self.failures.get(&(group.clone(), key.clone()))?;
        Some((failure.words.clone(), failure.until > Instant::now()))
    }

    pub(super) fn failed(
        &mut self,
        group: &GroupName,
        key: &ServerKey,
        words: String,
        timing: &ServersTiming,
    ) {
        let key = (group.clone(), key.clone());
        let pause = self
            .failures
            .get(&key)
            .map_or(timing.again, |f| (f.pause * 2).min(timing.longest));
        let failure = Failure {
            words,
            pause,
            until: Instant::now() + pause,
        };
        self.failures.insert(key, failure);
    }

    pub(super) fn good(&mut self, group: &GroupName, key: &ServerKey) {
        self.failures.remove(&(group.clone(), key.clone()));
    }

    /// Whether the record stands with the image, as far as this leader knows. When it was taken is no matter.
    pub(super) fn is_described(
        &self,
        group: &GroupName,
        key: &ServerKey,
        image: &ImageSpec,
        record: &ServerRecord,
    ) -> bool {
        let is = self.described.get(&(group.clone(), key.clone()));
        is.is_some_and(|(i, r)| {
            i == image
                && ServerRecord {
                    taken_at: record.taken_at,
                    ..r.clone()
                } == *record
        })
    }

    pub(super) fn described(
        &mut self,
        group: &GroupName,
        key: &ServerKey,
        image: ImageSpec,
        record: ServerRecord,
    ) {
        let key = (group.clone(), key.clone());
        self.described.insert(key, (image, record));
    }

    pub(super) fn forget(&mut self, group: &GroupName, key: &ServerKey) {
        let key = (group.clone(), key.clone());
        self.failures.remove(&key);
        self.described.remove(&key);
    }
}
