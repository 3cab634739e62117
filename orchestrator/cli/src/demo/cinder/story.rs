//! The story: made and replicated by volume type -> zone-a's storage dies -> `cinder failover-host` -> served from zone-b ->
//! zone-a is back -> `cinder failover-host --backend_id default` -> every record is read again.

mod by_gateway;

use super::{INTERVAL, LINGER, LOOK_EVERY, Made, PATIENCE, World, clients::Shown};
use crate::demo::{
    ledger::Ack,
    report::Report,
    show::Stage,
    verdict::{self, Before, seconds},
    volumes::{DemoVolume, Kind, volumes},
    world::DemoError,
};
use rekindle_common::{
    Generation, ImageSpec, Timestamp, ZoneName,
    status::VolumeStatus,
    volume::{Known, Role},
};
use rekindle_lab::Site;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::{Instant, sleep};

/// Records that a `once` volume has before its snapshot is taken.
const FIRST_RECORDS: usize = 10;
const POOL: &str = "volumes";
const HOME: Site = Site::ZoneA;
const AWAY: Site = Site::ZoneB;

/// The story under way.
pub(in crate::demo) struct Story<'a> {
    world: &'a mut World,
    stage: &'a Stage<'a>,
    wanted: Vec<DemoVolume>,
    volumes: Vec<Made>,
    home: ZoneName,
    away: ZoneName,
    bad: BTreeSet<ImageSpec>,
    floor: BTreeMap<ImageSpec, usize>,
    pub(in crate::demo) report: Report,
}

impl<'a> Story<'a> {
    pub(in crate::demo) fn new(
        world: &'a mut World,
        stage: &'a Stage<'a>,
        count: u32,
    ) -> Result<Self, DemoError> {
        let zone = |site: Site| {
            site.name()
                .parse()
                .map_err(DemoError::world("naming a zone"))
        };
        let wanted = volumes(POOL, count);
        Ok(Self {
            report: Report::new("cinder", &wanted),
            wanted,
            volumes: Vec::new(),
            home: zone(HOME)?,
            away: zone(AWAY)?,
            bad: BTreeSet::new(),
            floor: BTreeMap::new(),
            world,
            stage,
        })
    }

    /// Tells it. What was found so far stands in `report` even where it ends early.
    pub(in crate::demo) async fn tell(&mut self) -> Result<(), DemoError> {
        self.stage.phase(
            "Two OpenStack zones: Ceph, mirroring, Keystone and Cinder, sidecars, orchestrators",
        );
        self.world.raise(self.stage).await?;
        self.make().await?;
        self.protect().await?;
        let killed_at = self.kill().await?;
        self.fail_over(killed_at).await?;
        self.check_after_failover(killed_at).await?;
        self.come_back().await?;
        self.move_home().await?;
        self.check_at_home().await?;
        self.check_gateways().await?;
        self.report.verified = self.volumes.len() - self.bad.len();
        self.report.details.total_s = Some(self.stage.elapsed().as_secs_f64());
        Ok(())
    }

    async fn make(&mut self) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "{} volumes with `openstack volume create` in {HOME}, and an application that writes to all of them",
            self.wanted.len()
        ));
        self.stage.doing("volume types in both zones");
        for site in Site::ZONES {
            self.world.make_types(site).await?;
        }
        self.stage.say(format!(
            "volume types in both zones: instant, periodic (every {INTERVAL}), once, and plain"
        ));
        let mut numbers: BTreeMap<Kind, usize> = BTreeMap::new();
        let wanted = self
            .wanted
            .iter()
            .map(|v| {
                let n = numbers.entry(v.kind).or_default();
                *n += 1;
                (v.kind, format!("{}-{n:02}", v.kind))
            })
            .collect();
        self.stage.doing("openstack volume create");
        self.volumes = self.world.make_volumes(HOME, POOL, wanted).await?;
        self.until("all volumes to be available", async || {
            let states = self.world.states(HOME).await?;
            let ready = states.values().filter(|s| *s == "available").count();
            Ok(if ready == self.volumes.len() {
                Ok(())
            } else {
                Err(format!("{ready} available"))
            })
        })
        .await?;
        self.start(&self.home, Generation(1)).await?;
        self.until_written(Generation(1), FIRST_RECORDS).await?;
        self.stage
            .say("the application writes numbered, timed, checksummed records");
        Ok(())
    }

    async fn protect(&mut self) -> Result<(), DemoError> {
        self.stage
            .phase(&format!("The copies, as volumes of {AWAY}'s Cinder"));
        let begun = Instant::now();
        for v in &self.volumes {
            self.floor
                .insert(v.image.clone(), self.acks(&v.image)?.len());
        }
        let once: Vec<String> = self
            .volumes
            .iter()
            .filter(|v| v.kind == Kind::Once)
            .map(|v| v.id.clone())
            .collect();
        self.stage.say(format!(
            "openstack volume set --type once: {} volumes that hold data are replicated now",
            once.len()
        ));
        self.world.retype(HOME, once, Kind::Once).await?;
        self.until_shown(AWAY, VolumeStatus::ActiveSecondary)
            .await?;
        self.report.details.protect_s = Some(begun.elapsed().as_secs_f64());
        self.show(AWAY, VolumeStatus::ActiveSecondary).await
    }

    async fn kill(&mut self) -> Result<Timestamp, DemoError> {
        sleep(LINGER).await;
        self.stage.phase(&format!(
            "Kill {HOME}'s storage, and the servers on it; its Cinder stays"
        ));
        let at = Timestamp::now();
        self.world.kill_storage(HOME).await?;
        self.stage.say("nobody is told");
        self.until("the sidecar to see it", async || {
            let report = self.world.sidecar(&self.home)?.zone().await;
            Ok(match report.map(|r| r.ceph.writable) {
                Ok(Known::No) => Ok(()),
                Ok(Known::Yes | Known::Unknown) => Err("it is not sure yet".to_owned()),
                Err(e) => Err(e.message),
            })
        })
        .await?;
        self.report.detect_s = Some(seconds(at, Timestamp::now()));
        Ok(at)
    }

    async fn fail_over(&mut self, killed_at: Timestamp) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "cinder failover-host {HOME}@ceph --backend_id {AWAY}"
        ));
        let begun = Instant::now();
        self.world.failover_host(HOME, AWAY.name()).await?;
        self.service_says("failed-over").await?;
        self.report.promote_s = Some(begun.elapsed().as_secs_f64());
        self.report.promoted = self.in_role(&self.away, Role::Primary).await?;
        self.start(&self.away, Generation(2)).await?;
        self.until_written(Generation(2), 1).await?;
        self.report.serving_s = self.first_ack(Generation(2), killed_at)?;
        self.stage.say(format!(
            "{}/{} primary in {AWAY} after {:.1} s of failover-host; all volumes written to {:.1} s after the kill",
            self.report.promoted,
            self.volumes.len(),
            self.report.promote_s.unwrap_or_default(),
            self.report.serving_s.unwrap_or_default(),
        ));
        self.until_shown(AWAY, VolumeStatus::ActivePrimary).await?;
        self.show(AWAY, VolumeStatus::ActivePrimary).await
    }

    async fn check_after_failover(&mut self, killed_at: Timestamp) -> Result<(), DemoError> {
        self.stage
            .phase(&format!("Read every record from the volumes in {AWAY}"));
        let mut worst: BTreeMap<Kind, f64> = BTreeMap::new();
        for v in self.volumes.clone() {
            self.stage.doing(&format!("reading {}", v.name));
            let acks = self.acks(&v.image)?;
            let found = self.world.read(AWAY, &v.image).await?;
            let before = Before {
                generation: 1,
                killed_at,
                before_snapshot: self.floor.get(&v.image).copied().unwrap_or_default(),
            };
            let judged = verdict::after_failover(v.kind, &found, &acks, before);
            let mut faults = judged.faults;
            let unserved = verdict::missing(&found, &acks, 2).len();
            if unserved > 0 {
                faults.push(format!("lacks {unserved} records acknowledged in {AWAY}"));
            }
            self.judge(&v, &faults);
            self.report.details.records_lost_by_failover += judged.lost_records;
            if let Some(s) = judged.lost_s {
                let w = worst.entry(v.kind).or_default();
                *w = w.max(s);
            }
        }
        self.report.lost_s_instant = worst.get(&Kind::Instant).copied();
        self.report.lost_s_periodic = worst.get(&Kind::Periodic).copied();
        self.stage.say(format!(
            "newest write lost: instant {:.1} s, periodic {:.1} s before the kill; once: all since its snapshot, as promised",
            self.report.lost_s_instant.unwrap_or_default(),
            self.report.lost_s_periodic.unwrap_or_default(),
        ));
        self.say_verified();
        Ok(())
    }

    async fn come_back(&mut self) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "{HOME}'s storage comes back: its volumes still say primary"
        ));
        let begun = Instant::now();
        self.world.restore_storage(HOME).await?;
        self.until("the returned images to be demoted", async || {
            let left = self.count(&self.home, Role::Primary).await?;
            Ok(if left == 0 {
                Ok(())
            } else {
                Err(format!("{left} still say primary"))
            })
        })
        .await?;
        self.stage
            .say("its sidecar has demoted them by itself: they were taken over");
        // What diverged is given up by the way back, and by nothing before it. It refuses until the copies are in step.
        sleep(LINGER).await;
        self.stage.phase(&format!(
            "Stop the application; cinder failover-host {HOME}@ceph --backend_id default"
        ));
        self.world.stop_application(AWAY).await?;
        self.until("failover-host to bring everything home", async || {
            self.world.failover_host(HOME, "default").await?;
            let said = self.settled().await?;
            let resynced = self.in_step(&self.home).await?;
            Ok(if said == "enabled" {
                Ok(())
            } else {
                Err(format!(
                    "{resynced} copies in step; the service says {said}"
                ))
            })
        })
        .await?;
        self.report.details.reprotect_s = Some(begun.elapsed().as_secs_f64());
        Ok(())
    }

    async fn move_home(&mut self) -> Result<(), DemoError> {
        let begun = Instant::now();
        self.report.moved_home = self.in_role(&self.home, Role::Primary).await?;
        // What is primary now was a copy in step a moment ago: the way back takes nothing else.
        self.report.resynced = self.report.moved_home;
        self.start(&self.home, Generation(3)).await?;
        self.until_written(Generation(3), 1).await?;
        self.report.details.move_s = Some(begun.elapsed().as_secs_f64());
        self.until_shown(HOME, VolumeStatus::ActivePrimary).await?;
        self.until_shown(AWAY, VolumeStatus::ActiveSecondary)
            .await?;
        self.show(HOME, VolumeStatus::ActivePrimary).await?;
        self.show(AWAY, VolumeStatus::ActiveSecondary).await
    }

    async fn check_at_home(&mut self) -> Result<(), DemoError> {
        sleep(LINGER).await;
        self.stage.phase(&format!(
            "Stop the application and read every record in {HOME}"
        ));
        self.world.stop_application(HOME).await?;
        let mut lost = 0;
        for v in self.volumes.clone() {
            self.stage.doing(&format!("reading {}", v.name));
            let acks = self.acks(&v.image)?;
            let found = self.world.read(HOME, &v.image).await?;
            let moved = verdict::missing(&found, &acks, 2).len();
            let after = verdict::missing(&found, &acks, 3).len();
            let mut faults = found.faults.clone();
            if moved > 0 {
                faults.push(format!("the way home lost {moved} acknowledged records"));
            }
            if after > 0 {
                faults.push(format!("lacks {after} records acknowledged at home"));
            }
            lost += moved;
            self.report.details.records_acknowledged += acks.len();
            self.judge(&v, &faults);
        }
        self.report.lost_planned = Some(lost);
        self.stage.say(format!(
            "{lost} of the records that were acknowledged before the way home are lost"
        ));
        self.say_verified();
        Ok(())
    }

    // What is looked at and waited for.

    async fn start(&self, zone: &ZoneName, generation: Generation) -> Result<(), DemoError> {
        let images = self.volumes.iter().map(|v| v.image.clone()).collect();
        self.world.start_application(zone, images, generation).await
    }

    fn acks(&self, image: &ImageSpec) -> Result<Vec<Ack>, DemoError> {
        self.world
            .ledger
            .read(image)
            .map_err(DemoError::world(format!("reading the ledger of {image}")))
    }

    async fn until_written(&self, generation: Generation, n: usize) -> Result<(), DemoError> {
        self.until("records on each volume", async || {
            let mut ready = 0;
            for v in &self.volumes {
                let acks = self.acks(&v.image)?;
                let mine = acks.iter().filter(|a| a.record.generation == generation.0);
                ready += usize::from(mine.count() >= n);
            }
            Ok(if ready == self.volumes.len() {
                Ok(())
            } else {
                Err(format!("{ready} volumes are written to"))
            })
        })
        .await
    }

    /// From the kill to the last volume's first record of that generation.
    fn first_ack(
        &self,
        generation: Generation,
        since: Timestamp,
    ) -> Result<Option<f64>, DemoError> {
        let mut last: Option<f64> = None;
        for v in &self.volumes {
            let first = verdict::first_ack(&self.acks(&v.image)?, generation.0);
            last = first
                .map(|at| seconds(since, at))
                .into_iter()
                .chain(last)
                .max_by(f64::total_cmp);
        }
        Ok(last)
    }

    async fn count(&self, zone: &ZoneName, role: Role) -> Result<usize, DemoError> {
        let all = self.world.reports(zone).await?;
        let ours = |image: &ImageSpec| self.volumes.iter().any(|v| v.image == *image);
        Ok(all
            .iter()
            .filter(|r| r.role == role && ours(&r.volume))
            .count())
    }

    /// How many are in that role; waits for all of them, for a while.
    async fn in_role(&self, zone: &ZoneName, role: Role) -> Result<usize, DemoError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let n = self.count(zone, role).await?;
            if n == self.volumes.len() || Instant::now() >= end {
                return Ok(n);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn in_step(&self, zone: &ZoneName) -> Result<usize, DemoError> {
        let all = self.world.reports(zone).await?;
        Ok(all
            .iter()
            .filter(|r| r.role == Role::Secondary && r.complete_copy == Known::Yes)
            .count())
    }

    /// The service's word once a failover has ended.
    async fn settled(&self) -> Result<String, DemoError> {
        let mut said = String::new();
        let heard = &mut said;
        self.until("failover-host to end", async || {
            let now = self.world.service(HOME).await?;
            *heard = now.clone();
            Ok(if now == "failing-over" {
                Err(now)
            } else {
                Ok(())
            })
        })
        .await?;
        Ok(said)
    }

    async fn service_says(&self, word: &str) -> Result<(), DemoError> {
        self.until(&format!("the service to say {word}"), async || {
            let now = self.world.service(HOME).await?;
            Ok(if now == word { Ok(()) } else { Err(now) })
        })
        .await
    }

    /// Waits until a zone's gateway shows all volumes with that status.
    async fn until_shown(&self, site: Site, status: VolumeStatus) -> Result<(), DemoError> {
        self.until(
            &format!("{site}'s gateway to show {status} for all volumes"),
            async || {
                let shown = self.ours(site).await?;
                let so = |s: &&Shown| s.status == status.as_str();
                let ready = shown.iter().filter(so).count();
                Ok(if ready == self.volumes.len() {
                    Ok(())
                } else {
                    Err(format!("{ready} of {} do", self.volumes.len()))
                })
            },
        )
        .await
    }

    /// A zone's records of our volumes: they are called the same in both.
    async fn ours(&self, site: Site) -> Result<Vec<Shown>, DemoError> {
        let mut shown = self.world.listed(site).await?;
        shown.retain(|s| self.volumes.iter().any(|v| v.name == s.name));
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(shown)
    }

    /// The volumes as a user of that zone sees them: in that status, which the list had a moment ago.
    async fn show(&mut self, site: Site, expected: VolumeStatus) -> Result<(), DemoError> {
        self.stage
            .say(format!("openstack volume show, in {site}, by its gateway:"));
        let ids = self.ours(site).await?.into_iter().map(|s| s.id).collect();
        for Shown { id, name, status } in self.world.shown(site, ids).await? {
            self.stage
                .say(format!("  {id}  {name:<12}  replication_status: {status}"));
            if status != expected.as_str() {
                let wrong = format!("{name} is shown as {status} in {site}, and not {expected}");
                self.stage.say(format!("WRONG: {wrong}"));
                self.report.problems.push(wrong);
            }
        }
        Ok(())
    }

    fn judge(&mut self, volume: &Made, faults: &[String]) {
        if faults.is_empty() {
            return;
        }
        self.bad.insert(volume.image.clone());
        for fault in faults {
            self.stage.say(format!("WRONG: {} {fault}", volume.name));
            self.report
                .problems
                .push(format!("{} {fault}", volume.name));
        }
    }

    fn say_verified(&self) {
        let (n, bad) = (self.volumes.len(), self.bad.len());
        self.stage.say(format!("data verified {}/{n}", n - bad));
    }

    /// Asks until the answer is an inner `Ok`.
    async fn until(
        &self,
        what: &str,
        mut met: impl AsyncFnMut() -> Result<Result<(), String>, DemoError>,
    ) -> Result<(), DemoError> {
        let end = Instant::now() + PATIENCE;
        loop {
            match met().await? {
                Ok(()) => return Ok(()),
                Err(last) if Instant::now() >= end => {
                    return Err(DemoError::TooLate {
                        what: what.to_owned(),
                        after: PATIENCE,
                        last,
                    });
                }
                Err(last) => self.stage.doing(&format!("{what}: {last}")),
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
