//! What the servers answer: each is asked for its last record all the time, in both zones, as its clients would.
//!
//! A record that was once on a page was on the disk before it: it is what a failover may lose and a planned move may not.

use crate::demo::ready;
use rekindle_common::{ServerKey, Timestamp};
use rekindle_lab::{GuestRecord, Site};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};

/// Between two questions to a server.
const EVERY: Duration = Duration::from_millis(200);

type Who = (Site, ServerKey);
type All = Arc<Mutex<BTreeMap<Who, Vec<Start>>>>;

/// What was heard of one start of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// When it answered first.
    pub(super) first: Timestamp,
    /// Its newest record that anybody was shown.
    pub(super) newest: GuestRecord,
}

/// Asks until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Heard {
    all: All,
    asking: JoinSet<()>,
}

impl Heard {
    /// Asks that server too, at its address in a zone.
    pub(super) fn ask(&mut self, site: Site, key: ServerKey, address: IpAddr) {
        let all = Arc::clone(&self.all);
        self.asking.spawn(async move {
            loop {
                let answer = tokio::task::spawn_blocking(move || ready::ask(address)).await;
                if let Ok(Ok(record)) = answer {
                    let mut all = lock(&all);
                    note(
                        all.entry((site, key.clone())).or_default(),
                        record,
                        Timestamp::now(),
                    );
                }
                sleep(EVERY).await;
            }
        });
    }

    /// The newest start that was heard of.
    pub(super) fn newest(&self, site: Site, key: &ServerKey) -> Option<Start> {
        let all = lock(&self.all);
        all.get(&(site, key.clone()))?.last().cloned()
    }

    /// The first answer of a start that was not heard of before then.
    pub(super) fn first_since(
        &self,
        site: Site,
        key: &ServerKey,
        since: Timestamp,
    ) -> Option<Timestamp> {
        let all = lock(&self.all);
        let starts = all.get(&(site, key.clone()))?;
        starts.iter().map(|s| s.first).find(|at| *at >= since)
    }
}

fn lock(all: &All) -> MutexGuard<'_, BTreeMap<Who, Vec<Start>>> {
    // Each change under this lock is one entry's.
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(starts: &mut Vec<Start>, record: GuestRecord, now: Timestamp) {
    match starts.last_mut() {
        Some(last) if last.newest.boot == record.boot => last.newest = record,
        Some(_) | None => starts.push(Start {
            first: now,
            newest: record,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_is_heard_of_once_and_then_its_newest_record() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let record = |number, boot: &str| GuestRecord {
            number,
            at_us: 0,
            boot: boot.to_owned(),
        };
        let mut starts = Vec::new();
        for (second, number, boot) in [(1, 0, "x"), (2, 1, "x"), (9, 2, "y"), (10, 3, "y")] {
            note(&mut starts, record(number, boot), at(second));
        }
        let heard = Heard::default();
        let key: ServerKey = "db".parse().unwrap();
        lock(&heard.all).insert((Site::ZoneA, key.clone()), starts);
        let newest = heard.newest(Site::ZoneA, &key).unwrap();
        assert_eq!((newest.first, newest.newest.number), (at(9), 3));
        assert_eq!(heard.first_since(Site::ZoneA, &key, at(2)), Some(at(9)));
        assert_eq!(heard.first_since(Site::ZoneA, &key, at(10)), None);
        assert_eq!(heard.newest(Site::ZoneB, &key), None);
    }
}
