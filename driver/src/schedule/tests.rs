use super::*;
use rekindle_common::ErrorCode;
use std::sync::Mutex;

fn at(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}
fn every(start: i64, secs: u64) -> Schedule {
    Schedule {
        start: at(start),
        interval: Span::secs(secs),
    }
}
fn seen(last: Option<i64>, arrived: Known) -> Periodic {
    Periodic {
        schedule: every(0, 60),
        last: last.map(at),
        arrived,
    }
}

#[test]
fn hard_case_12_a_clock_that_was_ahead_and_is_set_back_silences_no_schedule() {
    let due = seen(Some(60), Known::Yes);
    let a_day_ahead = Some(at(86_400));
    assert_eq!(
        decide(&due, a_day_ahead, at(120)),
        Decision::Take { tick: at(120) }
    );
    // Where the snapshot itself shows that the tick was served, it was.
    let served = seen(Some(120), Known::Yes);
    let wait = Decision::Wait { until: at(180) };
    assert_eq!(decide(&served, a_day_ahead, at(121)), wait);
    assert_eq!(decide(&due, Some(at(120)), at(121)), wait);
}

#[test]
fn a_volume_without_a_snapshot_is_due_from_its_start_on() {
    let v = Periodic {
        schedule: every(1000, 60),
        ..seen(None, Known::Unknown)
    };
    assert_eq!(
        decide(&v, None, at(999)),
        Decision::Wait { until: at(1000) }
    );
    assert_eq!(
        decide(&v, None, at(1070)),
        Decision::Take { tick: at(1060) }
    );
}

#[test]
fn hard_case_26_none_is_taken_while_the_last_one_is_on_its_way() {
    let on_its_way = seen(Some(60), Known::No);
    assert_eq!(decide(&on_its_way, None, at(125)), Decision::OnItsWay);
    assert_eq!(decide(&on_its_way, None, at(100_000)), Decision::OnItsWay);
    let there = seen(Some(60), Known::Yes);
    assert_eq!(
        decide(&there, None, at(125)),
        Decision::Take { tick: at(120) }
    );
    // Nobody says: patience has an end.
    let unknown = seen(Some(60), Known::Unknown);
    assert_eq!(decide(&unknown, None, at(359)), Decision::OnItsWay);
    assert_eq!(
        decide(&unknown, None, at(360)),
        Decision::Take { tick: at(360) }
    );
}

#[test]
fn a_clock_that_is_behind_does_not_serve_a_tick_twice() {
    // The snapshot's time is by the cluster's clock: a moment before the tick that it was taken for.
    let v = seen(Some(119), Known::Yes);
    assert_eq!(
        decide(&v, Some(at(120)), at(121)),
        Decision::Wait { until: at(180) }
    );
    assert_eq!(
        decide(&v, Some(at(120)), at(180)),
        Decision::Take { tick: at(180) }
    );
}

/// A zone's volumes: snapshots that take a while to be taken and to arrive.
#[derive(Clone)]
struct Zone(Arc<Mutex<World>>);

struct World {
    clock: Clock,
    volumes: BTreeMap<ImageSpec, Volume>,
    /// The cluster does not answer.
    dead: bool,
    /// How long one takes to be taken.
    takes: Duration,
    now_taking: usize,
    most_at_once: usize,
}
#[derive(Clone)]
struct Volume {
    schedule: Schedule,
    primary: bool,
    taken: Vec<Timestamp>,
    /// How long one takes to arrive.
    travels: Duration,
    /// The other zone's daemon says nothing.
    silent: bool,
    /// Lists cannot read it.
    unread: bool,
}

impl Zone {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(World {
            clock: Clock::simulated(),
            volumes: BTreeMap::new(),
            dead: false,
            takes: Duration::from_millis(200),
            now_taking: 0,
            most_at_once: 0,
        })))
    }
    fn with<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
    fn now(&self) -> Timestamp {
        self.with(|w| w.clock.now())
    }
    fn add(&self, name: &str, schedule: Schedule) {
        let volume = Volume {
            schedule,
            primary: true,
            taken: Vec::new(),
            travels: Duration::from_secs(1),
            silent: false,
            unread: false,
        };
        self.with(|w| w.volumes.insert(spec(name), volume));
    }
    fn change(&self, name: &str, f: impl FnOnce(&mut Volume)) {
        self.with(|w| f(w.volumes.get_mut(&spec(name)).unwrap()));
    }
    fn taken(&self, name: &str) -> Vec<Timestamp> {
        self.with(|w| w.volumes[&spec(name)].taken.clone())
    }
    fn start(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        let clock = self.with(|w| w.clock);
        tokio::spawn(run(
            self.clone(),
            clock,
            ScheduleConfig::default(),
            stop.clone(),
        ));
        stop
    }
    fn alive(&self) -> Result<(), ApiError> {
        if self.with(|w| w.dead) {
            Err(ApiError::new(ErrorCode::ClusterUnreachable, "dead"))
        } else {
            Ok(())
        }
    }
    fn seen(&self, v: &Volume) -> Option<Periodic> {
        let last = v.taken.last().copied();
        let age = last.map(|l| self.now().duration_since(l).unsigned_abs());
        let arrived = match age {
            Some(_) if v.silent => Known::Unknown,
            Some(age) if age >= v.travels => Known::Yes,
            Some(_) => Known::No,
            None => Known::Unknown,
        };
        v.primary.then_some(Periodic {
            schedule: v.schedule,
            last,
            arrived,
        })
    }
}

fn spec(name: &str) -> ImageSpec {
    ImageSpec::new("volumes", name).unwrap()
}

impl SnapshotSource for Zone {
    async fn list(&self, _: Instant) -> Result<Listed, ApiError> {
        sleep(Duration::from_millis(30)).await;
        self.alive()?;
        let mut listed = Listed::default();
        for (spec, volume) in self.with(|w| w.volumes.clone()) {
            if volume.unread {
                listed.unread.insert(spec);
            } else if let Some(seen) = self.seen(&volume) {
                listed.periodic.insert(spec, seen);
            }
        }
        Ok(listed)
    }
    async fn look(&self, volume: &ImageSpec, _: Instant) -> Result<Option<Periodic>, ApiError> {
        sleep(Duration::from_millis(5)).await;
        self.alive()?;
        let volume = self.with(|w| w.volumes.get(volume).cloned());
        Ok(volume.and_then(|v| self.seen(&v)))
    }
    async fn take(&self, volume: &ImageSpec, _: Instant) -> Result<(), ApiError> {
        self.alive()?;
        let now = self.now();
        let takes = self.with(|w| {
            w.now_taking += 1;
            w.most_at_once = w.most_at_once.max(w.now_taking);
            w.takes
        });
        sleep(takes).await;
        self.with(|w| {
            w.now_taking -= 1;
            if let Some(v) = w.volumes.get_mut(volume) {
                v.taken.push(now);
            }
        });
        Ok(())
    }
}

/// The offsets from the schedule's ticks, in milliseconds.
fn off_ticks(taken: &[Timestamp], s: Schedule) -> Vec<i64> {
    taken
        .iter()
        .map(|t| {
            let tick = s.latest_due(*t).unwrap();
            i64::try_from(t.duration_since(tick).as_millis()).unwrap()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn snapshots_keep_to_start_and_interval() {
    let zone = Zone::new();
    let start = zone.now().as_second() + 7;
    zone.add("a", every(start, 60));
    zone.add("b", every(start - 3600 * 24 * 365, 15));
    let stop = zone.start();
    sleep(Duration::from_secs(6)).await;
    assert!(zone.taken("a").is_empty(), "before its start");
    sleep(Duration::from_secs(605)).await;
    stop.cancel();
    for (name, secs, least) in [("a", 60, 11), ("b", 15, 40)] {
        let taken = zone.taken(name);
        assert!(
            taken.len() >= least && taken.len() <= least + 2,
            "{name}: {}",
            taken.len()
        );
        // The first may be late: it was due when this began. All others come within moments of their tick.
        let late = off_ticks(&taken[1..], every(start, secs));
        assert!(late.iter().all(|ms| *ms < 50), "{name}: {late:?}");
        let steps: Vec<_> = taken[1..]
            .windows(2)
            .map(|w| w[1].duration_since(w[0]).as_secs())
            .collect();
        assert!(
            steps.iter().all(|s| s.unsigned_abs().abs_diff(secs) <= 1),
            "{name}: {steps:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_caught_up_once() {
    let zone = Zone::new();
    let start = zone.now().as_second();
    zone.add("a", every(start, 60));
    let stop = zone.start();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(zone.taken("a").len(), 1);
    // The cluster is away for ten intervals.
    zone.with(|w| w.dead = true);
    sleep(Duration::from_secs(605)).await;
    zone.with(|w| w.dead = false);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(zone.taken("a").len(), 2, "each missed tick was made good");
    // And the rhythm is the old one.
    sleep(Duration::from_secs(50)).await;
    let taken = zone.taken("a");
    assert_eq!(taken.len(), 3);
    assert!(off_ticks(&taken[2..], every(start, 60))[0] < 50);
    // A restarted sidecar does not take one more.
    stop.cancel();
    let _stop = zone.start();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(zone.taken("a").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn snapshots_never_pile_up_behind_a_slow_one() {
    let zone = Zone::new();
    zone.add("slow", every(zone.now().as_second(), 10));
    zone.change("slow", |v| v.travels = Duration::from_secs(35));
    let _stop = zone.start();
    sleep(Duration::from_secs(300)).await;
    let taken = zone.taken("slow");
    for pair in taken.windows(2) {
        let between = pair[1].duration_since(pair[0]).as_secs();
        // The next tick after its arrival, at the latest a moment later.
        assert!((35..=42).contains(&between), "{between}");
    }
    assert!(taken.len() >= 7, "{}", taken.len());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_slows_the_schedule_down_and_does_not_stop_it() {
    let zone = Zone::new();
    zone.add("a", every(zone.now().as_second(), 10));
    zone.change("a", |v| v.silent = true);
    let _stop = zone.start();
    sleep(Duration::from_secs(1500)).await;
    let n = zone.taken("a").len();
    assert!((4..=6).contains(&n), "{n}");
}

#[tokio::test(start_paused = true)]
async fn it_runs_only_where_the_volume_is_primary_and_follows_changes() {
    let zone = Zone::new();
    let start = zone.now().as_second();
    zone.add("a", every(start, 10));
    let _stop = zone.start();
    sleep(Duration::from_secs(25)).await;
    zone.change("a", |v| v.primary = false);
    let before = zone.taken("a").len();
    sleep(Duration::from_secs(120)).await;
    assert_eq!(zone.taken("a").len(), before, "a copy was snapshotted");
    zone.change("a", |v| v.primary = true);
    sleep(Duration::from_secs(16)).await;
    assert!(zone.taken("a").len() > before);
    // Another interval is taken up.
    zone.change("a", |v| v.schedule = every(start, 3600));
    sleep(Duration::from_secs(6)).await;
    let before = zone.taken("a").len();
    sleep(Duration::from_secs(600)).await;
    assert!(zone.taken("a").len() <= before + 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_list_cannot_read_stays_in_the_plan_and_each_tick_looks_for_itself() {
    let zone = Zone::new();
    zone.add("a", every(zone.now().as_second(), 60));
    zone.add("b", every(zone.now().as_second(), 60));
    // Never read: nothing is planned of it.
    zone.change("b", |v| v.unread = true);
    let _stop = zone.start();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(zone.taken("a").len(), 1);
    zone.change("a", |v| v.unread = true);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(zone.taken("a").len(), 11);
    assert_eq!(zone.taken("b").len(), 0);
    // It turns out to be a copy.
    zone.change("a", |v| v.primary = false);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(zone.taken("a").len(), 11);
}

#[tokio::test(start_paused = true)]
async fn many_volumes_of_one_start_are_taken_a_few_at_a_time() {
    let zone = Zone::new();
    let start = zone.now().as_second() + 10;
    for i in 0..200 {
        zone.add(&format!("v{i}"), every(start, 60));
    }
    let _stop = zone.start();
    sleep(Duration::from_secs(30)).await;
    let all = (0..200).all(|i| zone.taken(&format!("v{i}")).len() == 1);
    assert!(all, "200 snapshots of 0.2 s, 8 at a time, take 5 s");
    assert_eq!(zone.with(|w| w.most_at_once), 8);
}
