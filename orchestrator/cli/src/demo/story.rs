//! The story, told once for every world:
//!
//! volumes and an application -> replicated -> zone-a is killed -> zone-b takes over and serves -> zone-a is back and resynced
//! -> everything moves home -> every record is read again.

use super::{
    report::Report,
    show::Stage,
    verdict::{self, Before, seconds},
    volumes::{DemoVolume, Kind, volumes},
    watch::{Watch, begun, in_zone, step_times},
    world::{DemoError, World, group_spec},
};
use rekindle_common::{
    ErrorCode, Generation, GroupName, ImageSpec, Timestamp, ZoneName,
    action::{BatchItem, BatchResult, Order, VolumeAction},
    runbook::Runbook,
};
use rekindle_core::{
    decision::Request,
    plan::{PlanKind, Step},
};
use rekindle_orchestrator::wire::Run;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::{Instant, sleep};

/// Records that each volume has before it is replicated: a `once` volume must still hold them in the end.
const FIRST_RECORDS: usize = 10;

/// The story under way.
pub(super) struct Story<'a, W> {
    world: &'a mut W,
    stage: &'a Stage<'a>,
    volumes: Vec<DemoVolume>,
    group: GroupName,
    home: ZoneName,
    away: ZoneName,
    /// Volumes that ever failed a reading.
    bad: BTreeSet<ImageSpec>,
    /// Records of each volume before its replication was ordered.
    floor: BTreeMap<ImageSpec, usize>,
    pub(super) report: Report,
}

impl<'a, W: World> Story<'a, W> {
    pub(super) fn new(
        world: &'a mut W,
        stage: &'a Stage<'a>,
        count: u32,
    ) -> Result<Self, DemoError> {
        let name = || DemoError::world("naming the group and its zones");
        let volumes = volumes(world.pool(), count);
        Ok(Self {
            report: Report::new(world.name(), &volumes),
            group: "demo".parse().map_err(name())?,
            home: "zone-a".parse().map_err(name())?,
            away: "zone-b".parse().map_err(name())?,
            world,
            stage,
            volumes,
            bad: BTreeSet::new(),
            floor: BTreeMap::new(),
        })
    }

    /// Tells it. What was found so far stands in `report` even where it ends early.
    pub(super) async fn tell(&mut self) -> Result<(), DemoError> {
        self.stage
            .phase("Two zones and a witness: Ceph, mirroring, etcd, sidecars, orchestrators");
        self.world.raise(self.stage).await?;
        let first = self.found_group().await?;
        self.begin_writing(first).await?;
        self.replicate(first).await?;
        let killed_at = self.kill().await?;
        let second = self.fail_over(killed_at).await?;
        self.check_after_failover(first, second, killed_at).await?;
        self.come_back().await?;
        let third = self.move_home(second).await?;
        self.check_at_home(second, third).await?;
        self.report.verified = self.volumes.len() - self.bad.len();
        self.report.details.total_s = Some(self.stage.elapsed().as_secs_f64());
        Ok(())
    }

    /// The group, and zone-a's lease of it.
    async fn found_group(&mut self) -> Result<Generation, DemoError> {
        let n = self.volumes.len();
        self.stage.phase(&format!(
            "{n} volumes in {}, and an application that writes to all of them",
            self.home
        ));
        let tempo = self.world.tempo();
        let spec = group_spec(
            (&self.group, &self.home, &self.away),
            &tempo,
            Some(self.world.application()),
            Runbook::default(),
        );
        let world = &*self.world;
        // The first election may still be on.
        let put = self
            .watch()
            .until("the group's definition", || async {
                match world.orchestrator().put_group(&spec).await {
                    Ok(put) => Ok(Ok(put)),
                    Err(e) if e.retryable() => Ok(Err(e.message)),
                    Err(e) => Err(DemoError::api("defining the group")(e)),
                }
            })
            .await?;
        self.world.create(&self.home, &self.volumes).await?;
        Ok(put.primary.generation)
    }

    async fn begin_writing(&mut self, generation: Generation) -> Result<(), DemoError> {
        self.world
            .start_application(&self.home, &self.volumes, generation)
            .await?;
        let n = FIRST_RECORDS;
        self.until_written(&format!("{n} records on each volume"), generation, n)
            .await?;
        self.stage
            .say("the application writes numbered, timed, checksummed records");
        Ok(())
    }

    async fn replicate(&mut self, generation: Generation) -> Result<(), DemoError> {
        let tempo = self.world.tempo();
        let every = tempo.interval;
        self.stage.phase(&format!(
            "Replicate them to {}: instant, periodic every {every}, once",
            self.away
        ));
        for v in &self.volumes {
            let acks = self
                .world
                .ledger()
                .read(&v.spec)
                .map_err(DemoError::world("reading the ledger"))?;
            self.floor.insert(v.spec.clone(), acks.len());
        }
        let begun = Instant::now();
        let start = self.world.now();
        let items = self
            .volumes
            .iter()
            .map(|v| BatchItem {
                volume: v.spec.clone(),
                order: Order {
                    action: VolumeAction::Replicate {
                        mode: v.mode(start, every),
                        group: Some(self.group.clone()),
                        leave_group: false,
                        anew: false,
                        cinder: None,
                    },
                    generation: Some(generation),
                },
            })
            .collect();
        // The sidecar takes the lease before it takes orders for the group.
        let mut lines = Vec::new();
        let deadline = Instant::now() + tempo.patience;
        let mut open: Vec<BatchItem> = items;
        while !open.is_empty() {
            let answer = self.world.order(&self.home, open.clone()).await?;
            let mut again = BTreeMap::new();
            for line in answer {
                match &line.result {
                    BatchResult::Failed { error }
                        if retry_order(error.code) && Instant::now() < deadline =>
                    {
                        again.insert(line.volume.clone(), error.message.clone());
                    }
                    BatchResult::Failed { error } => {
                        return Err(DemoError::api(format!("replicating {}", line.volume))(
                            error.clone(),
                        ));
                    }
                    BatchResult::Ok { .. } => lines.push(line),
                }
            }
            open.retain(|i| again.contains_key(&i.volume));
            if !open.is_empty() {
                sleep(tempo.look_every).await;
            }
        }
        self.stage
            .say(format!("{} volumes put under replication", lines.len()));
        self.watch()
            .wait_protected("the group to be protected")
            .await?;
        self.report.details.protect_s = Some(begun.elapsed().as_secs_f64());
        self.wait_second_snapshot().await
    }

    /// Every periodic copy has moved on since it was first complete: its schedule runs.
    async fn wait_second_snapshot(&mut self) -> Result<(), DemoError> {
        let mut first: BTreeMap<ImageSpec, Timestamp> = BTreeMap::new();
        let periodic: Vec<ImageSpec> = self
            .volumes
            .iter()
            .filter(|v| v.kind == Kind::Periodic)
            .map(|v| v.spec.clone())
            .collect();
        let (tempo, away) = (self.world.tempo(), self.away.clone());
        let deadline = Instant::now() + tempo.patience;
        loop {
            let status = self.watch().look().await;
            let mut moved = 0;
            if let Ok(status) = &status {
                for v in in_zone(status, &away)
                    .iter()
                    .filter(|v| periodic.contains(&v.volume))
                {
                    let Some(sync) = v.last_sync else { continue };
                    let begun = *first.entry(v.volume.clone()).or_insert(sync.at);
                    moved += usize::from(sync.at > begun);
                }
            }
            self.stage.doing(&format!(
                "the periodic schedule: {moved}/{} went on",
                periodic.len()
            ));
            if moved == periodic.len() {
                self.stage
                    .say("every periodic volume has sent a further snapshot by its schedule");
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(DemoError::TooLate {
                    what: "a second snapshot of every periodic volume".to_owned(),
                    after: tempo.patience,
                    last: format!("{moved} of {}", periodic.len()),
                });
            }
            sleep(tempo.look_every).await;
        }
    }

    async fn kill(&mut self) -> Result<Timestamp, DemoError> {
        sleep(self.world.tempo().linger).await;
        self.stage
            .phase(&format!("Kill {}: every process of it, at once", self.home));
        let at = self.world.kill(&self.home).await?;
        self.stage
            .say(format!("{} is gone; nobody is told", self.home));
        Ok(at)
    }

    async fn fail_over(&mut self, killed_at: Timestamp) -> Result<Generation, DemoError> {
        let plan = self
            .watch()
            .wait_plan(PlanKind::Failover, killed_at)
            .await?;
        let detail = self.watch().follow(&plan).await?;
        self.report.detect_s = begun(&detail).map(|at| seconds(killed_at, at));
        let promoted = step_times(&detail, |s| matches!(s, Step::Promote { .. }));
        self.report.promote_s = promoted.map(|(from, to)| seconds(from, to));
        let generation = Generation(detail.plan.made_for.0 + 1);
        let away = self.away.clone();
        self.until_written("the application to write in zone-b", generation, 1)
            .await?;
        self.report.promoted = self.watch().primaries(&away).await?;
        let status = self.watch().look().await?;
        let mut serving = None;
        for v in &self.volumes {
            let acks = self.acks(&v.spec)?;
            let first = verdict::first_ack(&acks, generation.0).map(|at| seconds(killed_at, at));
            serving = first.into_iter().chain(serving).max_by(f64::total_cmp);
        }
        self.report.serving_s = serving;
        self.stage.say(format!(
            "detected after {:.1} s, {}/{} promoted in {:.1} s, all volumes written to after {:.1} s",
            self.report.detect_s.unwrap_or_default(),
            self.report.promoted,
            self.volumes.len(),
            self.report.promote_s.unwrap_or_default(),
            serving.unwrap_or_default(),
        ));
        if let Some(u) = &status.unprotected {
            self.stage.say(format!("UNPROTECTED: {}", u.why));
        }
        Ok(generation)
    }

    async fn check_after_failover(
        &mut self,
        first: Generation,
        second: Generation,
        killed_at: Timestamp,
    ) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "Read every record from the promoted volumes in {}",
            self.away
        ));
        let mut worst: BTreeMap<Kind, f64> = BTreeMap::new();
        let mut lost: BTreeMap<Kind, usize> = BTreeMap::new();
        for v in self.volumes.clone() {
            self.stage.doing(&format!("reading {}", v.spec));
            let acks = self.acks(&v.spec)?;
            let found = self.world.read(&self.away, &v.spec).await?;
            let before = Before {
                generation: first.0,
                killed_at,
                before_snapshot: self.floor.get(&v.spec).copied().unwrap_or_default(),
            };
            let judged = verdict::after_failover(v.kind, &found, &acks, before);
            let unserved = verdict::missing(&found, &acks, second.0).len();
            let mut faults = judged.faults;
            if unserved > 0 {
                faults.push(format!(
                    "lacks {unserved} records acknowledged in {}",
                    self.away
                ));
            }
            self.judge(&v.spec, &faults);
            if let Some(s) = judged.lost_s {
                let w = worst.entry(v.kind).or_default();
                *w = w.max(s);
            }
            *lost.entry(v.kind).or_default() += judged.lost_records;
        }
        self.report.lost_s_instant = worst.get(&Kind::Instant).copied();
        self.report.lost_s_periodic = worst.get(&Kind::Periodic).copied();
        self.report.details.records_lost_by_failover = lost.values().sum();
        for (kind, records) in lost {
            let age = worst
                .get(&kind)
                .map_or("as promised, all since its snapshot".to_owned(), |s| {
                    format!("the copies end {s:.1} s before the kill")
                });
            self.stage.say(format!(
                "{kind}: {records} acknowledged records lost ({age})"
            ));
        }
        self.say_verified();
        Ok(())
    }

    async fn come_back(&mut self) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "{} comes back: its volumes still say primary",
            self.home
        ));
        let begun = (Instant::now(), self.world.now());
        self.world.restore(&self.home).await?;
        self.stage.say(format!(
            "{} runs again; {} stays primary",
            self.home, self.away
        ));
        let plan = self.watch().wait_plan(PlanKind::Reprotect, begun.1).await?;
        self.watch().follow(&plan).await?;
        let status = self
            .watch()
            .wait_protected("the group to be protected again")
            .await?;
        self.report.resynced = in_zone(&status, &self.home)
            .iter()
            .filter(|v| v.is_in_step())
            .count();
        self.report.details.reprotect_s = Some(begun.0.elapsed().as_secs_f64());
        self.stage.say(format!(
            "{}/{} volumes resynced in {}",
            self.report.resynced,
            self.volumes.len(),
            self.home
        ));
        Ok(())
    }

    async fn move_home(&mut self, second: Generation) -> Result<Generation, DemoError> {
        sleep(self.world.tempo().linger).await;
        self.stage.phase(&format!(
            "Move everything home to {}, losing nothing",
            self.home
        ));
        let begun = Instant::now();
        let world = &*self.world;
        let group = &self.group;
        let answer = self
            .watch()
            .until("a plan to move home", || async {
                match world
                    .orchestrator()
                    .plan_for(group, Request::Failback, Run::Begin)
                    .await
                {
                    Ok(answer) => Ok(Ok(answer)),
                    // A copy may be between two states for a moment: the guard says which, and it passes.
                    Err(e) if e.retryable() || e.code == ErrorCode::Held => Ok(Err(e.message)),
                    Err(e) => Err(DemoError::api("asking for the move home")(e)),
                }
            })
            .await?;
        self.watch().follow(&answer.plan.id).await?;
        let third = second.next();
        self.until_written("the application to write in zone-a again", third, 1)
            .await?;
        self.report.details.move_s = Some(begun.elapsed().as_secs_f64());
        self.report.moved_home = self.watch().primaries(&self.home).await?;
        let mut pause: Option<f64> = None;
        for v in &self.volumes {
            let acks = self.acks(&v.spec)?;
            let last = acks
                .iter()
                .filter(|a| a.record.generation == second.0)
                .map(|a| a.acked_us)
                .max();
            let last = last.and_then(|us| Timestamp::from_microsecond(us).ok());
            let next = verdict::first_ack(&acks, third.0);
            let gap = last.zip(next).map(|(l, n)| seconds(l, n));
            pause = gap.into_iter().chain(pause).max_by(f64::total_cmp);
        }
        self.report.details.move_pause_s = pause;
        self.stage.say(format!(
            "{}/{} primary in {} again; writes paused for {:.1} s",
            self.report.moved_home,
            self.volumes.len(),
            self.home,
            pause.unwrap_or_default()
        ));
        Ok(third)
    }

    async fn check_at_home(
        &mut self,
        second: Generation,
        third: Generation,
    ) -> Result<(), DemoError> {
        sleep(self.world.tempo().linger).await;
        self.stage.phase(&format!(
            "Stop the application and read every record in {}",
            self.home
        ));
        self.world.stop_application(&self.home).await?;
        // For whoever watches: a look that fails is one that is missed.
        drop(self.watch().look().await);
        let mut lost = 0;
        let mut acknowledged = 0;
        for v in self.volumes.clone() {
            self.stage.doing(&format!("reading {}", v.spec));
            let acks = self.acks(&v.spec)?;
            let found = self.world.read(&self.home, &v.spec).await?;
            let moved = verdict::missing(&found, &acks, second.0).len();
            let after = verdict::missing(&found, &acks, third.0).len();
            let mut faults = found.faults.clone();
            if moved > 0 {
                faults.push(format!("the move lost {moved} acknowledged records"));
            }
            if after > 0 {
                faults.push(format!("lacks {after} records acknowledged after the move"));
            }
            lost += moved;
            acknowledged += acks.len();
            self.judge(&v.spec, &faults);
        }
        self.report.lost_planned = Some(lost);
        self.report.details.records_acknowledged = acknowledged;
        self.stage.say(format!(
            "{lost} of the records that were acknowledged before the move are lost"
        ));
        self.say_verified();
        Ok(())
    }

    fn watch(&self) -> Watch<'_> {
        Watch {
            client: self.world.orchestrator(),
            stage: self.stage,
            group: &self.group,
            zones: [&self.home, &self.away],
            volumes: self.volumes.len(),
            tempo: self.world.tempo(),
        }
    }

    /// Waits until each volume has so many acknowledged records of a generation.
    async fn until_written(
        &self,
        what: &str,
        generation: Generation,
        records: usize,
    ) -> Result<(), DemoError> {
        let n = self.volumes.len();
        self.watch()
            .until(what, || async {
                let mut ready = 0;
                for v in &self.volumes {
                    let acks = self.acks(&v.spec)?;
                    let count = acks
                        .iter()
                        .filter(|a| a.record.generation == generation.0)
                        .count();
                    ready += usize::from(count >= records);
                }
                self.stage.doing(&format!("{what}: {ready}/{n}"));
                Ok(if ready == n {
                    Ok(())
                } else {
                    Err(format!("{ready} of {n} volumes"))
                })
            })
            .await
    }

    fn acks(&self, volume: &ImageSpec) -> Result<Vec<super::ledger::Ack>, DemoError> {
        self.world
            .ledger()
            .read(volume)
            .map_err(DemoError::world(format!(
                "reading what was acknowledged on {volume}"
            )))
    }

    fn judge(&mut self, volume: &ImageSpec, faults: &[String]) {
        if faults.is_empty() {
            return;
        }
        self.bad.insert(volume.clone());
        for fault in faults {
            self.stage.say(format!("WRONG: {volume} {fault}"));
            self.report.problems.push(format!("{volume} {fault}"));
        }
    }

    fn say_verified(&self) {
        let (n, bad) = (self.volumes.len(), self.bad.len());
        self.stage.say(format!("data verified {}/{n}", n - bad));
    }
}

/// An order that is worth asking again: the lease is on its way, or the sidecar is.
fn retry_order(code: ErrorCode) -> bool {
    code == ErrorCode::LeaseNotHeld || rekindle_common::ApiError::new(code, "").retryable()
}
