//! What is known of a step's volumes, one by one. One volume's failure decides nothing for another (hard case 20).

use rekindle_common::ImageSpec;
use std::collections::{BTreeMap, BTreeSet};

/// A step's volumes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Not ended yet, with what they wait for.
    open: BTreeMap<ImageSpec, String>,
    /// Done, or so already.
    done: BTreeSet<ImageSpec>,
    /// Failed for good.
    failed: BTreeMap<ImageSpec, String>,
    /// An order was sent, and it is not certain that it changed nothing.
    changed: bool,
}

impl Tally {
    /// A tally of these, less those that an earlier step failed for.
    #[must_use]
    pub fn new(volumes: Vec<ImageSpec>, failed_before: &BTreeSet<ImageSpec>) -> Self {
        let open = volumes
            .into_iter()
            .filter(|v| !failed_before.contains(v))
            .map(|v| (v, "not asked yet".to_owned()))
            .collect();
        Self {
            open,
            ..Self::default()
        }
    }
    /// Those that have not ended.
    #[must_use]
    pub fn open(&self) -> Vec<ImageSpec> {
        self.open.keys().cloned().collect()
    }
    /// Whether all have ended, one way or the other.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.open.is_empty()
    }
    /// Done, of all.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (
            self.done.len(),
            self.open.len() + self.done.len() + self.failed.len(),
        )
    }
    /// Those that failed, and why.
    #[must_use]
    pub fn failed(&self) -> &BTreeMap<ImageSpec, String> {
        &self.failed
    }
    /// Whether something may have been changed.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed
    }
    /// What the first of the open ones waits for, and how many there are.
    #[must_use]
    pub fn waits_for(&self) -> String {
        match self.open.iter().next() {
            None => String::new(),
            Some((volume, why)) if self.open.len() == 1 => format!("{volume}: {why}"),
            Some((volume, why)) => {
                format!("{} volumes; {volume}: {why}", self.open.len())
            }
        }
    }

    /// It is done.
    pub fn done(&mut self, volume: &ImageSpec) {
        if self.open.remove(volume).is_some() {
            self.done.insert(volume.clone());
        }
    }
    /// It waits.
    pub fn waits(&mut self, volume: &ImageSpec, why: impl Into<String>) {
        if let Some(note) = self.open.get_mut(volume) {
            *note = why.into();
        }
    }
    /// It failed for good.
    pub fn fail(&mut self, volume: &ImageSpec, why: impl Into<String>) {
        if self.open.remove(volume).is_some() {
            self.failed.insert(volume.clone(), why.into());
        }
    }
    /// Something may have been changed.
    pub fn touch(&mut self) {
        self.changed = true;
    }
    /// The time is over: what is open has failed.
    pub fn give_up(&mut self, why: &str) {
        for (volume, note) in std::mem::take(&mut self.open) {
            self.failed.insert(volume, format!("{why}: {note}"));
        }
    }
}
