//! The story: servers in two levels of priority -> protected, each with a stand-by -> every process of zone-a is killed -> they answer from
//! zone-b -> zone-a is back, its servers held, its volumes made anew -> everything moves home -> every record is read again.

use super::{
    Made, World,
    heard::Heard,
    report::{ServerFigures, ServersReport},
};
use crate::demo::{
    lab::setup::ANSWERS,
    report::Figures,
    show::Stage,
    verdict::seconds,
    watch::{Watch, begun, in_zone, step_times},
    world::{DemoError, group_spec},
};
use rekindle_common::{
    ErrorCode, GroupName, ServerKey, Timestamp, ZoneName,
    duration::Span,
    runbook::{Level, Runbook, RunbookServer, Wait},
};
use rekindle_core::{
    decision::Request,
    plan::{PlanKind, Step},
};
use rekindle_lab::{GuestDisk, Site};
use rekindle_orchestrator::wire::Run;
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep};

/// Each server with its level, from 1, and the host part of its address.
const SERVERS: [(&str, usize, u8); 3] = [("db", 1, 10), ("web-1", 2, 11), ("web-2", 2, 12)];
const HOME: Site = Site::ZoneA;
const AWAY: Site = Site::ZoneB;
/// Records that each server has before its zone is killed.
const FIRST_RECORDS: u64 = 20;
/// A server and what is waited for, at each start and stop.
const WITHIN: Span = Span(super::PATIENCE);

/// The story under way.
pub(in crate::demo) struct Story<'a> {
    world: &'a mut World,
    stage: &'a Stage<'a>,
    group: GroupName,
    home: ZoneName,
    away: ZoneName,
    servers: Vec<Made>,
    heard: Heard,
    /// Each server's stand-by, by its id in zone-b.
    standbys: BTreeMap<ServerKey, String>,
    report: ServersReport,
}

impl<'a> Story<'a> {
    pub(in crate::demo) fn new(
        world: &'a mut World,
        stage: &'a Stage<'a>,
    ) -> Result<Self, DemoError> {
        let name = || DemoError::world("naming the group, its zones and servers");
        let mut figures = Vec::new();
        for (key, level, _) in SERVERS {
            figures.push(ServerFigures::new(key.parse().map_err(name())?, level));
        }
        Ok(Self {
            report: ServersReport::new(figures),
            group: "demo".parse().map_err(name())?,
            home: HOME.name().parse().map_err(name())?,
            away: AWAY.name().parse().map_err(name())?,
            servers: Vec::new(),
            heard: Heard::default(),
            standbys: BTreeMap::new(),
            world,
            stage,
        })
    }

    /// Tells it. What was found so far stands in `report` even where it ends early.
    pub(in crate::demo) async fn tell(&mut self) -> Result<(), DemoError> {
        self.stage.phase(
            "Two OpenStack zones and a witness: Ceph, Cinder, Nova, sidecars, orchestrators",
        );
        self.world.raise(self.stage).await?;
        self.make().await?;
        self.protect().await?;
        let killed_at = self.kill().await?;
        self.fail_over(killed_at).await?;
        self.come_back().await?;
        self.check_copies().await?;
        self.move_home().await?;
        self.check_at_home().await?;
        self.report.details.total_s = Some(self.stage.elapsed().as_secs_f64());
        Ok(())
    }

    /// What was found; nobody is asked any more.
    pub(in crate::demo) fn into_report(self) -> ServersReport {
        self.report
    }

    fn watch(&self) -> Watch<'_> {
        Watch {
            client: &self.world.client,
            stage: self.stage,
            group: &self.group,
            zones: [&self.home, &self.away],
            volumes: self.servers.len(),
            tempo: World::tempo(),
        }
    }

    /// The group, and servers that boot from volumes of a type that is in it.
    async fn make(&mut self) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "{} servers in {HOME}, each booted from a replicated volume",
            SERVERS.len()
        ));
        self.define(Runbook::default()).await?;
        self.world.make_types(self.group.as_str()).await?;
        for (key, _, host) in SERVERS {
            let key: ServerKey = key.parse().map_err(DemoError::world("naming a server"))?;
            self.stage
                .doing(&format!("{key}: a volume, a port, a server"));
            let made = self.world.make(&key, host).await?;
            for site in Site::ZONES {
                let address = self.world.address(site, host)?;
                self.heard.ask(site, key.clone(), address);
            }
            self.stage.say(format!("{key}: server {}", made.server));
            self.servers.push(made);
        }
        self.until_heard(HOME, FIRST_RECORDS).await?;
        self.stage
            .say("each writes numbered, timed, checksummed records, and shows its last one");
        Ok(())
    }

    /// The group as it is asked for; the first election may still be on.
    async fn define(&self, runbook: Runbook) -> Result<(), DemoError> {
        let spec = group_spec(
            (&self.group, &self.home, &self.away),
            &World::tempo(),
            None,
            runbook,
        );
        let put = || async {
            match self.world.client.put_group(&spec).await {
                Ok(_) => Ok(Ok(())),
                Err(e) if e.retryable() => Ok(Err(e.message)),
                Err(e) => Err(DemoError::api("defining the group")(e)),
            }
        };
        self.watch().until("the group's definition", put).await
    }

    /// The servers in their levels; each counts as serving once it answers.
    fn runbook(&self) -> Runbook {
        let mut levels = vec![Level::default(); self.report.levels];
        for ((_, level, _), made) in SERVERS.iter().zip(&self.servers) {
            let answers = Wait::Command {
                command: ANSWERS.to_owned(),
                within: WITHIN,
            };
            let server = RunbookServer {
                key: made.key.clone(),
                server: Some(made.server.clone()),
                standby: None,
                after: Vec::new(),
                wait: vec![answers],
                within: WITHIN,
            };
            if let Some(level) = levels.get_mut(level - 1) {
                level.servers.push(server);
            }
        }
        Runbook {
            levels,
            ..Runbook::default()
        }
    }

    async fn protect(&mut self) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "A runbook: db first, then the webs; a stand-by of each in {AWAY}, built on the copies and shut off"
        ));
        let begun = Instant::now();
        self.watch()
            .wait_protected("the group to be protected")
            .await?;
        self.world.tell_addresses(&self.servers)?;
        self.define(self.runbook()).await?;
        let home = self.home.clone();
        self.wait_stand_by(&home).await?;
        self.report.details.protect_s = Some(begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits until every server serves in that zone, and one stands by for it in the other, with nothing in the way.
    async fn wait_stand_by(&mut self, zone: &ZoneName) -> Result<(), DemoError> {
        let zone = zone.clone();
        let n = self.servers.len();
        let what = format!("each server to serve in {zone}, and one to stand by for it");
        let client = &self.world.client;
        let views = self
            .watch()
            .until(&what, || async {
                let all = match client.servers().await {
                    Ok(all) => all.servers,
                    Err(e) => return Ok(Err(e.message)),
                };
                let good = all.iter().filter(|s| {
                    let rests = s.stands_by.as_deref().unwrap_or_default();
                    s.primary.as_ref() == Some(&zone)
                        && s.serving.as_deref() == Some("running")
                        && rests.contains("SHUTOFF")
                        && s.trouble.is_none()
                });
                let good = good.count();
                let said: Vec<String> = all
                    .iter()
                    .map(|s| {
                        let why = s.trouble.as_deref().or(s.stands_by.as_deref());
                        format!("{}: {}", s.key, why.unwrap_or("-"))
                    })
                    .collect();
                self.stage
                    .doing(&format!("{what}: {good}/{n}; {}", said.join("; ")));
                Ok(if good == n {
                    Ok(all)
                } else {
                    Err(said.join("; "))
                })
            })
            .await?;
        for view in views {
            if let Some(id) = view.instances.get(&self.away) {
                self.standbys.insert(view.key.clone(), id.clone());
            }
            let ids: Vec<String> = view
                .instances
                .iter()
                .map(|(z, id)| format!("{z} {id}"))
                .collect();
            self.stage
                .say(format!("  {}: {}", view.key, ids.join(", ")));
        }
        Ok(())
    }

    async fn kill(&mut self) -> Result<Timestamp, DemoError> {
        sleep(World::tempo().linger).await;
        self.stage.phase(&format!(
            "Kill {HOME}: every process of it, its servers too, at once"
        ));
        let at = self.world.kill(HOME).await?;
        self.stage.say(format!("{HOME} is gone; nobody is told"));
        Ok(at)
    }

    async fn fail_over(&mut self, killed_at: Timestamp) -> Result<(), DemoError> {
        let plan = self
            .watch()
            .wait_plan(PlanKind::Failover, killed_at)
            .await?;
        let detail = self.watch().follow(&plan).await?;
        let detected = begun(&detail).map(|at| seconds(killed_at, at));
        let promoted = step_times(&detail, |s| matches!(s, Step::Promote { .. }));
        self.report.detect_s = detected;
        self.report.promote_s = promoted.map(|(from, to)| seconds(from, to));
        self.report.promoted = self.watch().primaries(&self.away).await?;
        for (n, made) in self.servers.clone().into_iter().enumerate() {
            let first = self.first_answer(AWAY, &made.key, killed_at).await?;
            let console = self.world.console(AWAY, self.standby(&made.key)?).await?;
            let shown = self.heard.newest(HOME, &made.key).map(|s| s.newest.number);
            let lost_s = console
                .last_at_us
                .and_then(|us| Timestamp::from_microsecond(us).ok());
            let lost_s = lost_s.map(|at| seconds(at, killed_at).max(0.0));
            let lost = shown.zip(console.last).map(|(s, l)| s.saturating_sub(l));
            self.stage.say(format!(
                "{}: answers after {:.1} s; it found record {}, {:.2} s before the kill, of {} that it had shown",
                made.key,
                seconds(killed_at, first),
                console.last.map_or("-".to_owned(), |n| n.to_string()),
                lost_s.unwrap_or_default(),
                shown.map_or("-".to_owned(), |n| n.to_string()),
            ));
            let figures = self.figures(n)?;
            figures.detected_s = detected;
            figures.promoted_s = promoted.map(|(_, to)| seconds(killed_at, to));
            figures.first_answer_s = Some(seconds(killed_at, first));
            (figures.lost_s, figures.lost_records) = (lost_s, lost);
            self.report.details.records_lost_by_failover +=
                usize::try_from(lost.unwrap_or_default()).unwrap_or(usize::MAX);
        }
        self.in_order(AWAY, killed_at)?;
        let status = self.watch().look().await?;
        if let Some(u) = &status.unprotected {
            self.stage.say(format!("UNPROTECTED: {}", u.why));
        }
        Ok(())
    }

    /// Those of a level answered before those of the next.
    fn in_order(&mut self, site: Site, since: Timestamp) -> Result<(), DemoError> {
        let mut by_level: BTreeMap<usize, Vec<Timestamp>> = BTreeMap::new();
        for ((_, level, _), made) in SERVERS.iter().zip(&self.servers) {
            let first = self.heard.first_since(site, &made.key, since);
            by_level.entry(*level).or_default().extend(first);
        }
        let levels: Vec<Vec<Timestamp>> = by_level.into_values().collect();
        for pair in levels.windows(2) {
            if let [before, after] = pair
                && before.iter().max() > after.iter().min()
            {
                self.wrong(format!(
                    "in {site} a server answered before one of an earlier level"
                ));
            }
        }
        Ok(())
    }

    async fn come_back(&mut self) -> Result<(), DemoError> {
        self.stage.phase(&format!(
            "{HOME} comes back: its volumes still say primary, its Nova still knows its servers"
        ));
        let back = (Instant::now(), Timestamp::now());
        self.world.restore(HOME).await?;
        self.stage
            .say(format!("{HOME} runs again; {AWAY} stays primary"));
        let plan = self.watch().wait_plan(PlanKind::Reprotect, back.1).await?;
        self.watch().follow(&plan).await?;
        let status = self
            .watch()
            .wait_protected("the group to be protected again")
            .await?;
        let copies = in_zone(&status, &self.home);
        self.report.resynced = copies.iter().filter(|v| v.is_in_step()).count();
        for made in self.servers.clone() {
            let shown = self.world.show(HOME, &made.server).await?;
            let reason = shown["locked_reason"].as_str().unwrap_or_default();
            self.stage.say(format!(
                "{} in {HOME}: {}, locked: {reason}",
                made.key,
                shown["status"].as_str().unwrap_or("?")
            ));
            if shown["status"] != "SHUTOFF" || !reason.starts_with("rekindle: ") {
                self.wrong(format!("{} is not held in {HOME}: {shown}", made.key));
            }
        }
        let away = self.away.clone();
        self.wait_stand_by(&away).await?;
        self.report.details.reprotect_s = Some(back.0.elapsed().as_secs_f64());
        Ok(())
    }

    /// What was made anew in zone-a, read there: all that zone-b's servers had on their disks a moment before.
    async fn check_copies(&mut self) -> Result<(), DemoError> {
        self.stage
            .phase(&format!("Read every record from the copies in {HOME}"));
        for (n, made) in self.servers.clone().into_iter().enumerate() {
            let source = self.world.read(AWAY, &made.image).await?;
            let world = &*self.world;
            let wanted = source.records.len();
            let copy = self
                .watch()
                .until(&format!("the copy of {} to follow", made.key), || async {
                    let copy = world.read(HOME, &made.image).await?;
                    let there = copy.records.len();
                    Ok(if there >= wanted || !copy.faults.is_empty() {
                        Ok(copy)
                    } else {
                        Err(format!("{there} of {wanted} records"))
                    })
                })
                .await?;
            let good = self.judge(&made, HOME, &copy);
            let same = copy.records.get(..wanted) == Some(source.records.as_slice());
            if !same {
                self.wrong(format!("{}: the copy holds other records", made.key));
            }
            self.figures(n)?.verified_after_resync = good && same && source.faults.is_empty();
            self.stage.say(format!("{}: {wanted} records", made.key));
        }
        Ok(())
    }

    async fn move_home(&mut self) -> Result<(), DemoError> {
        sleep(World::tempo().linger).await;
        self.stage
            .phase(&format!("Move everything home to {HOME}, losing nothing"));
        let asked = Timestamp::now();
        let (client, group) = (&self.world.client, &self.group);
        let answer = self
            .watch()
            .until("a plan to move home", || async {
                match client.plan_for(group, Request::Failback, Run::Begin).await {
                    Ok(answer) => Ok(Ok(answer)),
                    // A copy may be between two states for a moment: the guard says which, and it passes.
                    Err(e) if e.retryable() || e.code == ErrorCode::Held => Ok(Err(e.message)),
                    Err(e) => Err(DemoError::api("asking for the move home")(e)),
                }
            })
            .await?;
        self.watch().follow(&answer.plan.id).await?;
        let mut lost = 0;
        for (n, made) in self.servers.clone().into_iter().enumerate() {
            let first = self.first_answer(HOME, &made.key, asked).await?;
            let left = self.world.console(AWAY, self.standby(&made.key)?).await?;
            let found = self.world.console(HOME, &made.server).await?;
            let last_shown = self.heard.newest(AWAY, &made.key).map(|s| s.newest.number);
            // What it wrote last it said when it was stopped.
            let last = left.stopped.max(last_shown);
            let missing = last.zip(found.last).map(|(l, f)| l.saturating_sub(f));
            if left.stopped.is_none() {
                self.wrong(format!("{} was not stopped in order in {AWAY}", made.key));
            }
            lost += missing.unwrap_or(1);
            self.stage.say(format!(
                "{}: ended with record {}, began again on {}; answers after {:.1} s",
                made.key,
                left.stopped.map_or("-".to_owned(), |n| n.to_string()),
                found.last.map_or("-".to_owned(), |n| n.to_string()),
                seconds(asked, first),
            ));
            let figures = self.figures(n)?;
            figures.lost_planned = missing;
            figures.home_answer_s = Some(seconds(asked, first));
            self.report.moved_home += 1;
        }
        self.in_order(HOME, asked)?;
        self.report.lost_planned = Some(lost);
        let times = self.report.servers.iter().filter_map(|f| f.home_answer_s);
        self.report.details.move_s = times.max_by(f64::total_cmp);
        let home = self.home.clone();
        self.wait_stand_by(&home).await
    }

    async fn check_at_home(&mut self) -> Result<(), DemoError> {
        sleep(World::tempo().linger).await;
        self.stage
            .phase(&format!("Read every record from the volumes in {HOME}"));
        for (n, made) in self.servers.clone().into_iter().enumerate() {
            let disk = self.world.read(HOME, &made.image).await?;
            let good = self.judge(&made, HOME, &disk);
            // One start before the failover, one in zone-b, one at home.
            let starts = starts(&disk);
            if starts != 3 {
                self.wrong(format!(
                    "{}: records of {starts} starts where 3 were",
                    made.key
                ));
            }
            let count = disk.records.len();
            self.stage.say(format!("{}: {count} records", made.key));
            self.report.details.records_acknowledged += count;
            let figures = self.figures(n)?;
            figures.records = count;
            figures.verified_at_home = good && starts == 3;
        }
        Ok(())
    }

    // What is looked at and waited for.

    fn figures(&mut self, n: usize) -> Result<&mut ServerFigures, DemoError> {
        let figures = self.report.servers.get_mut(n);
        figures.ok_or_else(|| DemoError::Plan("a server more than was asked for".to_owned()))
    }

    fn standby(&self, key: &ServerKey) -> Result<&str, DemoError> {
        let id = self.standbys.get(key).map(String::as_str);
        id.ok_or_else(|| DemoError::Plan(format!("{key} has no stand-by")))
    }

    async fn first_answer(
        &self,
        site: Site,
        key: &ServerKey,
        since: Timestamp,
    ) -> Result<Timestamp, DemoError> {
        self.watch()
            .until(&format!("{key} to answer from {site}"), || async {
                let first = self.heard.first_since(site, key, since);
                Ok(first.ok_or_else(|| "it does not".to_owned()))
            })
            .await
    }

    /// Waits until each server has shown a record of that number.
    async fn until_heard(&self, site: Site, number: u64) -> Result<(), DemoError> {
        self.watch()
            .until(&format!("each server to show record {number}"), || async {
                let mut said = Vec::new();
                let mut ready = 0;
                for made in &self.servers {
                    let newest = self.heard.newest(site, &made.key).map(|s| s.newest.number);
                    ready += usize::from(newest >= Some(number));
                    said.push(format!("{} {newest:?}", made.key));
                }
                self.stage.doing(&said.join(", "));
                Ok(if ready == self.servers.len() {
                    Ok(())
                } else {
                    Err(said.join(", "))
                })
            })
            .await
    }

    fn judge(&mut self, made: &Made, site: Site, disk: &GuestDisk) -> bool {
        for fault in &disk.faults {
            self.wrong(format!("{} in {site}: {fault}", made.key));
        }
        if disk.records.is_empty() {
            self.wrong(format!("{} in {site} holds nothing", made.key));
        }
        disk.faults.is_empty() && !disk.records.is_empty()
    }

    fn wrong(&mut self, text: String) {
        self.stage.say(format!("WRONG: {text}"));
        self.report.problem(text);
    }
}

/// By how many starts of a server the records were written.
fn starts(disk: &GuestDisk) -> usize {
    let changes = disk.records.windows(2).filter(|w| w[0].boot != w[1].boot);
    usize::from(!disk.records.is_empty()) + changes.count()
}
