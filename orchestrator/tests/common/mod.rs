//! Two zones, etcd and three orchestrators in this process, with a group of volumes, for every test here.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

pub mod bench;
pub mod nova;
pub mod pass;

use futures::{FutureExt, future::BoxFuture};
use nova::FakeNova;
use rekindle_common::{
    GroupName, ImageSpec, SiteName, ZoneName,
    action::{Order, VolumeAction},
    duration::Span,
    keys,
    lease::LeaseTiming,
    mode::ReplicationMode,
    policy::{FailoverMode, GroupPolicy, GroupSpec, OnReturn},
    runbook::Runbook,
    status::VolumeStatus,
    volume::Role,
};
use rekindle_core::snapshot::LeaseSight;
use rekindle_driver::{
    actions::Limits,
    backend::memory::{Fabric, FabricConfig, POOL},
};
use rekindle_orchestrator::{
    Timing,
    agent::{Agent, AgentAction, AgentError, AgentOrder, Agents, CommandAgent, InProcessAgent},
    client::OrchestratorClient,
    embedded::{Embedded, Options},
    servers::control,
    wire::{GroupStatus, Status, View},
};
use rekindle_store::Store;
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

pub const COUNT_IMAGES: usize = 3;

pub fn zone_a() -> ZoneName {
    ZoneName::new("zone-a").unwrap()
}
pub fn zone_b() -> ZoneName {
    ZoneName::new("zone-b").unwrap()
}
pub fn witness() -> SiteName {
    SiteName::new("witness").unwrap()
}
pub fn site(zone: &ZoneName) -> SiteName {
    zone.clone().into()
}
pub fn group() -> GroupName {
    GroupName::new("db").unwrap()
}
pub fn image(n: usize) -> ImageSpec {
    ImageSpec::new(POOL, format!("volume-{n}")).unwrap()
}

/// What the application's and the fence's agents were told, and what they are to answer.
#[derive(Debug, Default)]
pub struct Told {
    pub orders: Mutex<Vec<AgentOrder>>,
    /// The next so many orders of that action fail.
    pub failures: Mutex<BTreeMap<String, u32>>,
    /// Orders of that action are a real process's.
    pub commands: Mutex<BTreeMap<String, CommandAgent>>,
}

impl Told {
    pub fn fail(&self, action: AgentAction, times: u32) {
        self.failures
            .lock()
            .unwrap()
            .insert(format!("{action:?}"), times);
    }
    /// Orders of that action start this command from now on, by the orchestrator's own runner.
    pub fn command(&self, action: AgentAction, command: CommandAgent) {
        let mut all = self.commands.lock().unwrap();
        all.insert(format!("{action:?}"), command);
    }
    /// Where the application runs, by what it was told last.
    pub fn runs_in(&self) -> Option<ZoneName> {
        let orders = self.orders.lock().unwrap();
        let last = orders
            .iter()
            .rev()
            .find(|o| matches!(o.action, AgentAction::Start | AgentAction::Stop))?;
        (last.action == AgentAction::Start).then(|| last.zone.clone())
    }
    pub fn all(&self) -> Vec<(AgentAction, ZoneName)> {
        let orders = self.orders.lock().unwrap();
        orders.iter().map(|o| (o.action, o.zone.clone())).collect()
    }
}

impl InProcessAgent for Told {
    fn run(&self, order: AgentOrder) -> BoxFuture<'_, Result<(), AgentError>> {
        async move {
            let action = format!("{:?}", order.action);
            if let Some(n) = self.failures.lock().unwrap().get_mut(&action)
                && *n > 0
            {
                *n -= 1;
                return Err(AgentError::Failed("it was told to fail".to_owned()));
            }
            let command = self
                .commands
                .lock()
                .unwrap()
                .get(&format!("{:?}", order.action))
                .cloned();
            self.orders.lock().unwrap().push(order.clone());
            match command {
                // A process takes real time: while one runs, the clock is a real one too.
                Some(command) => {
                    tokio::time::resume();
                    let ended = Agent::Command(command).run(order).await;
                    tokio::time::pause();
                    ended
                }
                None => Ok(()),
            }
        }
        .boxed()
    }
}

/// Short times, so that a paused clock need not be moved far; the proportions are the real ones.
pub fn policy() -> GroupPolicy {
    GroupPolicy {
        failover: FailoverMode::Automatic,
        hold_off: Span::secs(4),
        lease: LeaseTiming {
            ttl: Span::secs(6),
            renew_every: Span::secs(1),
            demote_budget: Span::secs(3),
            margin: Span::secs(7),
        },
        on_return: OnReturn::Stay,
        application: Some("shop".to_owned()),
        ..GroupPolicy::default()
    }
}

/// Whether the group has servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    None,
    Some,
}

pub struct Rig {
    /// The zones' Novas; empty where the group has no servers.
    pub novas: BTreeMap<ZoneName, Arc<FakeNova>>,
    pub world: Embedded,
    pub told: Arc<Told>,
    pub client: OrchestratorClient,
    pub volumes: Vec<ImageSpec>,
}

pub fn agents(told: &Arc<Told>) -> Agents {
    let agent = || Agent::InProcess(Arc::clone(told) as Arc<dyn InProcessAgent>);
    Agents {
        applications: [("shop".to_owned(), agent())].into(),
        fences: [("power".to_owned(), agent())].into(),
        hooks: ["open-ticket", "close-ticket", "db-answers"]
            .map(|h| (h.to_owned(), agent()))
            .into(),
    }
}

impl Rig {
    /// A group of `count` volumes, primary in zone-a, in step in zone-b, its application running.
    pub async fn with(count: usize, policy: GroupPolicy) -> Self {
        Self::with_mode(count, policy, ReplicationMode::Instant).await
    }

    /// The same with volumes in that mode.
    pub async fn with_mode(count: usize, policy: GroupPolicy, mode: ReplicationMode) -> Self {
        Self::ready(Self::bare(count), count, policy, mode).await
    }

    /// The same with servers: see [`nova::populate`].
    pub async fn with_servers(count: usize, policy: GroupPolicy) -> Self {
        let rig = Self::bare_with(count, Servers::Some);
        let store = Store::from(rig.world.store("witness"));
        nova::populate(rig.nova(&zone_a()), rig.nova(&zone_b()), &store).await;
        Self::ready(rig, count, policy, ReplicationMode::Instant).await
    }

    async fn ready(rig: Self, count: usize, policy: GroupPolicy, mode: ReplicationMode) -> Self {
        rig.define(policy).await;
        rig.replicate_all(mode).await;
        rig.until("the group is well", |g| well(g, count)).await;
        // The leader writes down the lease that it has just seen.
        let key = keys::group_state(&group());
        let store = Store::from(rig.world.store("witness"));
        eventually("the lease is remembered", || async {
            store.get(&key).await.unwrap()
        })
        .await;
        rig
    }

    /// Nothing but the volumes, not replicated.
    pub fn bare(count: usize) -> Self {
        Self::bare_with(count, Servers::None)
    }

    /// The same with so many plans at once.
    pub fn bare_at_once(count: usize, plans_at_once: usize) -> Self {
        let mut timing = Timing::default();
        timing.decide.plans_at_once = plans_at_once;
        Self::bare_timed(count, Servers::None, timing)
    }

    fn bare_with(count: usize, servers: Servers) -> Self {
        Self::bare_timed(count, servers, Timing::default())
    }

    fn bare_timed(count: usize, servers: Servers, timing: Timing) -> Self {
        let fabric = Fabric::new(zone_a(), zone_b(), FabricConfig::default());
        let volumes: Vec<ImageSpec> = (0..count).map(image).collect();
        for v in &volumes {
            fabric.a().create_image(v, 1 << 30);
        }
        let told = Arc::new(Told::default());
        let novas: BTreeMap<ZoneName, Arc<FakeNova>> = match servers {
            Servers::None => BTreeMap::new(),
            Servers::Some => [zone_a(), zone_b()]
                .map(|z| (z.clone(), FakeNova::new(z, fabric.clone())))
                .into(),
        };
        let control = |n: &Arc<FakeNova>| Arc::clone(n) as Arc<dyn control::Servers>;
        let world = Embedded::start(
            fabric,
            Options {
                witness: witness(),
                timing,
                limits: Limits::default(),
                look_every: Span::secs(1),
                agents: agents(&told),
                servers: novas.iter().map(|(z, n)| (z.clone(), control(n))).collect(),
            },
        );
        let client = world.client();
        Self {
            novas,
            world,
            told,
            client,
            volumes,
        }
    }

    pub fn spec(&self, policy: GroupPolicy) -> GroupSpec {
        GroupSpec {
            name: group(),
            home: zone_a(),
            away: zone_b(),
            policy,
            runbook: match self.novas.is_empty() {
                true => Runbook::default(),
                false => nova::runbook(),
            },
        }
    }

    pub fn nova(&self, zone: &ZoneName) -> &FakeNova {
        &self.novas[zone]
    }
    /// The whole zone dies, its Nova too: that one hangs, as an API behind a dead balancer does (hard case 53).
    pub fn kill_zone(&mut self, zone: &ZoneName) {
        self.world.kill_zone(zone);
        if let Some(nova) = self.novas.get(zone) {
            nova.hang();
            nova.hypervisors_die();
        }
    }
    /// It is back, and its hypervisors start what ran (hard case 50).
    pub fn start_zone(&mut self, zone: &ZoneName) {
        self.world.start_zone(zone);
        if let Some(nova) = self.novas.get(zone) {
            nova.heal();
            nova.hypervisors_start_everything();
        }
    }

    pub async fn define(&self, policy: GroupPolicy) {
        let spec = self.spec(policy);
        let last = Mutex::new(None);
        let defined = patiently(|| async {
            let put = self.client.put_group(&spec).await;
            put.map_err(|e| *last.lock().unwrap() = Some(e)).ok()
        })
        .await;
        assert!(defined.is_some(), "not defined: {last:?}");
    }

    pub async fn replicate_all(&self, mode: ReplicationMode) {
        let generation = self.group().await.unwrap().primary.unwrap().generation;
        let sidecar = self.world.volumes(&zone_a()).unwrap();
        for v in &self.volumes {
            let order = Order {
                action: VolumeAction::Replicate {
                    mode,
                    group: Some(group()),
                    leave_group: false,
                    anew: false,
                    cinder: None,
                },
                generation: Some(generation),
            };
            sidecar.act(v, order).await.unwrap();
        }
    }

    /// A volume of zone-a that is replicated and in no group, with its copy in zone-b.
    pub async fn replicate_alone(&self, volume: &ImageSpec, mode: ReplicationMode) {
        self.world.fabric().a().create_image(volume, 1 << 30);
        let order = Order {
            action: VolumeAction::Replicate {
                mode,
                group: None,
                leave_group: false,
                anew: false,
                cinder: None,
            },
            generation: None,
        };
        let sidecar = self.world.volumes(&zone_a()).unwrap();
        sidecar.act(volume, order).await.unwrap();
        let there = self.world.volumes(&zone_b()).unwrap();
        eventually("its copy is there", || async {
            let report = there.volume(volume).await.ok()?;
            (report.role == Role::Secondary).then_some(())
        })
        .await;
    }

    pub fn client(&self) -> OrchestratorClient {
        self.world.client()
    }
    /// The leader's whole status.
    pub async fn status(&self) -> Status {
        eventually("a leader shows the whole status", || async {
            let s = self.client().status().await.ok()?;
            (s.view == View::Whole).then_some(s)
        })
        .await
    }
    pub async fn group(&self) -> Option<GroupStatus> {
        self.client().group(&group()).await.ok()
    }
    /// Waits until the group is so.
    pub async fn until(&self, what: &str, so: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
        let last = Mutex::new(None);
        let waited = patiently(|| async {
            let g = self.group().await?;
            if so(&g) {
                return Some(g);
            }
            *last.lock().unwrap() = Some(g);
            None
        })
        .await;
        waited.unwrap_or_else(|| {
            let last = last.lock().unwrap();
            let short = last.as_ref().map(describe);
            panic!("never came to be: {what}; last seen: {short:#?}")
        })
    }
    /// Where the volumes are primary.
    pub fn primaries(&self, zone: &ZoneName) -> usize {
        let cluster = self.world.fabric().cluster(zone).unwrap();
        self.volumes
            .iter()
            .filter(|v| cluster.is_primary(v))
            .count()
    }
}

pub fn describe(g: &GroupStatus) -> BTreeMap<&'static str, String> {
    let volumes = g
        .volumes
        .iter()
        .map(|z| format!("{}: {:?}", z.zone, z.counts))
        .collect::<Vec<_>>();
    [
        ("primary", format!("{:?}", g.primary)),
        ("lease", format!("{:?}", g.lease)),
        ("unprotected", format!("{:?}", g.unprotected)),
        (
            "decision",
            format!("{:?}", g.decision.as_ref().map(|d| &d.text)),
        ),
        ("plan", format!("{:?}", g.active_plan)),
        ("volumes", volumes.join("; ")),
        ("problems", format!("{:?}", g.problems)),
    ]
    .into()
}

/// All volumes primary on one side and in step on the other, and nothing to do.
pub fn well(g: &GroupStatus, count: usize) -> bool {
    let Some(primary) = &g.primary else {
        return false;
    };
    let counts = |z: &ZoneName, status| {
        let zone = g.volumes.iter().find(|v| v.zone == *z);
        zone.and_then(|v| v.counts.get(&status)).copied() == Some(u32::try_from(count).unwrap())
    };
    let other = g.spec.other(&primary.zone).unwrap();
    let held = matches!(&g.lease, LeaseSight::Held(l) if l.zone == primary.zone && l.generation == primary.generation);
    held && counts(&primary.zone, VolumeStatus::ActivePrimary)
        && counts(other, VolumeStatus::ActiveSecondary)
        && g.unprotected.is_none()
        && g.active_plan.is_none()
}

/// Asks until there is an answer; under paused time the clock runs on by itself between the questions.
pub async fn patiently<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> Option<T> {
    let until = Instant::now() + Duration::from_secs(600);
    while Instant::now() < until {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        sleep(Duration::from_millis(100)).await;
    }
    None
}

pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    patiently(ask)
        .await
        .unwrap_or_else(|| panic!("never came to be: {what}"))
}
