//! A periodic schedule on real Ceph: the times of the primary's mirror snapshots are what is judged.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod support;

use jiff::{SignedDuration, Timestamp};
use rbd_rs::MirrorSnapshotState;
use rekindle_common::{
    Generation, ImageSpec, duration::Span, mode::ReplicationMode, schedule::Schedule,
    status::VolumeStatus,
};
use rekindle_driver::{
    clock::Clock,
    schedule::{self, ScheduleConfig},
};
use rekindle_lab::Site;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use support::*;
use tokio_util::sync::CancellationToken;

const INTERVAL: i64 = 10;
/// How late a tick may come where the one before has arrived. The daemon's own words on that come every 30 s.
const LATE: SignedDuration = SignedDuration::from_secs(4);
/// librbd waits up to 5 s for a watcher of the image that does not answer: the stopped daemon is one.
const LATE_UNANSWERED: SignedDuration = SignedDuration::from_secs(9);
/// The task looks for periodic volumes that often, and then takes what is due.
const NOTICED: SignedDuration = SignedDuration::from_secs(9);

/// A primary's mirror snapshots, as they come and go.
struct Watch<'z> {
    z: &'z Zones,
    spec: ImageSpec,
    schedule: Schedule,
    /// By their numbers, when they were taken.
    taken: BTreeMap<u64, Timestamp>,
    /// Those that were given already.
    given: BTreeSet<u64>,
}

impl Watch<'_> {
    fn look(&mut self) {
        let pool = self.z.admin(Site::ZoneA).pool(POOL).unwrap();
        let image = pool.open_read_only(self.spec.image()).unwrap();
        let all = image.mirror_snapshots().unwrap();
        let mut needed = 0;
        for s in all {
            assert_eq!(s.state, MirrorSnapshotState::Primary);
            needed += usize::from(!s.peer_uuids.is_empty());
            let taken = SignedDuration::try_from(s.snapshot.taken).unwrap();
            self.taken
                .insert(s.snapshot.id, Timestamp::UNIX_EPOCH + taken);
        }
        // What the copy has, and one that is on its way: never two.
        assert!(needed <= 2, "{needed} are needed by the other zone");
    }

    /// Looks on until then. Gives those taken by then that were not given before.
    async fn until(&mut self, then: Timestamp) -> Vec<Timestamp> {
        while Timestamp::now() < then {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.look();
        }
        let by_then = self.taken.iter().filter(|(_, at)| **at < then);
        let news = by_then.filter(|(id, _)| self.given.insert(**id));
        news.map(|(_, at)| *at).collect()
    }

    fn tick(&self, n: i64) -> Timestamp {
        self.schedule.start + SignedDuration::from_secs(n * INTERVAL)
    }
    /// The number of the next tick.
    fn next(&self) -> i64 {
        let since = Timestamp::now().duration_since(self.schedule.start);
        since.as_secs() / INTERVAL + 1
    }
    /// Those ticks and nothing else, each in time.
    fn assert_ticks(&self, taken: &[Timestamp], first: i64, count: i64, most: SignedDuration) {
        let late: Vec<SignedDuration> = taken
            .iter()
            .zip(first..)
            .map(|(at, n)| at.duration_since(self.tick(n)))
            .collect();
        println!("ticks {first} to {}: late by {late:?}", first + count - 1);
        let ok = |l: &SignedDuration| !l.is_negative() && *l <= most;
        assert!(
            i64::try_from(taken.len()).unwrap() == count && late.iter().all(ok),
            "{count} from {first} on were due, late by at most {most:?}: {late:?}"
        );
    }
}

fn run(z: &Zones) -> CancellationToken {
    let stop = CancellationToken::new();
    let config = ScheduleConfig::default();
    tokio::spawn(schedule::run(
        z.a.volumes.clone(),
        Clock::System,
        config,
        stop.clone(),
    ));
    stop
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_28_a_periodic_schedule_keeps_its_start_and_its_interval() {
    let z = zones();
    let (group, specs) = z.replicated(1, ReplicationMode::Once).await;
    let stop = run(&z);
    let schedule = Schedule {
        // Not a whole second, and in time to be noticed.
        start: Timestamp::now() + SignedDuration::from_millis(12_345),
        interval: Span::secs(INTERVAL.unsigned_abs()),
    };
    let mut to_periodic = replicate(ReplicationMode::Periodic(schedule), &group);
    to_periodic.generation = Some(Generation(1));
    z.a.volumes.act(&specs[0], to_periodic).await.unwrap();
    let mut w = Watch {
        z: &z,
        spec: specs[0].clone(),
        schedule,
        taken: BTreeMap::new(),
        given: BTreeSet::new(),
    };
    // Those of the orders.
    w.look();
    w.until(Timestamp::now()).await;

    let early = w.until(schedule.start).await;
    assert!(early.is_empty(), "before its start: {early:?}");
    let half = SignedDuration::from_secs(INTERVAL / 2);
    let taken = w.until(w.tick(3) + half).await;
    w.assert_ticks(&taken, 0, 4, LATE);

    // The sidecar is down for some intervals. Then one is taken at once, and the next at the next tick.
    stop.cancel();
    let down = w.until(w.tick(6) + SignedDuration::from_secs(1)).await;
    assert!(down.is_empty(), "nobody was there to take them: {down:?}");
    let (up, stop) = (Timestamp::now(), run(&z));
    let taken = w.until(w.tick(8) + half).await;
    assert!(!taken.is_empty() && taken[0].duration_since(up) < NOTICED);
    w.assert_ticks(&taken[1..], 7, 2, LATE);

    // One is on its way for some intervals, and none is taken meanwhile.
    z.lab.pause_service(Site::ZoneB, "rbd-mirror").unwrap();
    let last = w.next();
    let taken = w.until(w.tick(last + 2) + half).await;
    z.lab.resume_service(Site::ZoneB, "rbd-mirror").unwrap();
    w.assert_ticks(&taken, last, 1, LATE_UNANSWERED);
    // It arrives: what was missed is made good once, and the rhythm is the old one.
    let resumed = Timestamp::now();
    let mut late = Vec::new();
    while late.is_empty() {
        let soon = Timestamp::now() + SignedDuration::from_millis(100);
        late = w.until(soon).await;
        let waited = Timestamp::now().duration_since(resumed);
        assert!(waited.as_secs() < 120, "it was never made good");
    }
    assert_eq!(late.len(), 1);
    println!("made good {:?} after the daemon went on", late[0] - resumed);
    let next = w.next();
    let taken = w.until(w.tick(next + 1) + half).await;
    w.assert_ticks(&taken, next, 2, LATE);
    stop.cancel();
    let report = wait(&z.b, &specs[0], VolumeStatus::ActiveSecondary).await;
    assert_eq!(report.mode, Some(ReplicationMode::Periodic(schedule)));
}
