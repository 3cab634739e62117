//! Two simulated zones and three orchestrators in this process, with the command as a process that asks them over a socket.
//!
//! The witness leads and is served: it is the site that no test kills. All times are real, for the command's are.
#![allow(unreachable_pub, reason = "a module of the test beside it")]

use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{
    GroupName, ImageSpec, SiteName, ZoneName,
    action::{Order, VolumeAction},
    duration::Span,
    mode::ReplicationMode,
    status::VolumeStatus,
};
use rekindle_core::{
    decision::{Ask, Decision},
    saga::State,
    snapshot::LeaseSight,
};
use rekindle_driver::{
    actions::Limits,
    backend::memory::{Fabric, FabricConfig, POOL},
};
use rekindle_net::{ListenConfig, Server, SocketOptions};
use rekindle_orchestrator::{
    Timing,
    agent::{Agent, AgentAction, AgentError, AgentOrder, Agents, InProcessAgent},
    decide::DecideTiming,
    embedded::{Embedded, Options},
    executor::Pauses,
    observe::ObserverTiming,
    wire::GroupStatus,
};
use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// For what the zones do by themselves, and for one command.
const PATIENCE: Duration = Duration::from_secs(90);
const VOLUMES: usize = 2;
/// Slack for a machine that does much else: a lease that is renewed late must not end a test.
const LEASE: &str = "--lease-ttl 4s --lease-renew-every 500ms --lease-demote-budget 1s --lease-margin 3s --hold-off 2s";

pub fn zone_a() -> ZoneName {
    ZoneName::new("zone-a").unwrap()
}
pub fn zone_b() -> ZoneName {
    ZoneName::new("zone-b").unwrap()
}
fn group() -> GroupName {
    GroupName::new("db").unwrap()
}

/// The application: it starts, unless it was told not to.
#[derive(Debug, Default)]
pub struct Application {
    refuses: AtomicU32,
}
impl Application {
    /// The next so many starts fail.
    pub fn refuse_starts(&self, times: u32) {
        self.refuses.store(times, Ordering::SeqCst);
    }
}
impl InProcessAgent for Application {
    fn run(&self, order: AgentOrder) -> BoxFuture<'_, Result<(), AgentError>> {
        let spend = |n: u32| n.checked_sub(1);
        async move {
            let refused = order.action == AgentAction::Start
                && self
                    .refuses
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
                    .is_ok();
            if refused {
                return Err(AgentError::Failed("the shop does not open".to_owned()));
            }
            Ok(())
        }
        .boxed()
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}
impl Ended {
    /// It ended so, and what it printed.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }
    /// Standard output is one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
    /// Nothing was printed but an error as JSON, with the exit code in it.
    #[track_caller]
    pub fn json_error(&self) -> serde_json::Value {
        assert_eq!(self.out, "");
        let doc: serde_json::Value =
            serde_json::from_str(&self.err).unwrap_or_else(|e| panic!("{e}: {}", self.err));
        assert_eq!(doc["error"]["exit_code"], self.code, "{doc}");
        doc["error"].clone()
    }
}

pub struct Zones {
    pub world: Embedded,
    pub application: Arc<Application>,
    volumes: Vec<ImageSpec>,
    config: PathBuf,
    _dir: TempDir,
    _served: DropGuard,
}

impl Zones {
    /// A group `db` that is well, primary in zone-a, with what the flags say of its policy.
    pub async fn with(policy: &str) -> Self {
        let zones = Self::bare().await;
        let create = format!(
            "group create db --home zone-a --away zone-b --application shop {LEASE} {policy}"
        );
        // An orchestrator that has just started holds still for a while.
        zones
            .eventually("the group is defined", || async {
                let put = zones.rekindle(&create).await;
                assert!([0, 4, 5].contains(&put.code), "{put:?}");
                (put.code == 0).then_some(())
            })
            .await;
        zones.replicate().await;
        zones.until("it is well", well).await;
        // Orchestrators that have just started are bound as if they had promised.
        zones
            .eventually("no promise binds", || async {
                let status = zones.world.client().status().await.ok()?;
                status.promised_for.is_none().then_some(())
            })
            .await;
        zones
    }

    async fn bare() -> Self {
        let fabric = Fabric::new(zone_a(), zone_b(), FabricConfig::default());
        let image = |n| ImageSpec::new(POOL, format!("volume-{n}")).unwrap();
        let volumes: Vec<ImageSpec> = (0..VOLUMES).map(image).collect();
        for v in &volumes {
            fabric.a().create_image(v, 1 << 30);
        }
        let application = Arc::new(Application::default());
        let shop = Agent::InProcess(Arc::clone(&application) as Arc<dyn InProcessAgent>);
        let witness = SiteName::new("witness").unwrap();
        let mut world = Embedded::start(
            fabric,
            Options {
                witness: witness.clone(),
                timing: timing(),
                limits: Limits::default(),
                look_every: Span::millis(500),
                agents: Agents {
                    applications: [("shop".to_owned(), shop)].into(),
                    fences: [].into(),
                    hooks: [].into(),
                },
                servers: [].into(),
            },
        );
        // Whoever leads by now gives it up; then the others may stand for it again.
        for zone in [zone_a(), zone_b()] {
            world.stop_orchestrator(&zone.into()).await;
        }
        let endpoint = world.endpoint(&witness).unwrap();
        let leading = world.client();
        let begun = Instant::now();
        while leading.leader().await.unwrap().leader.map(|l| l.site) != Some(witness.clone()) {
            assert!(begun.elapsed() < PATIENCE, "the witness never led");
            sleep(Duration::from_millis(50)).await;
        }
        for zone in [zone_a(), zone_b()] {
            world.start_orchestrator(&zone.into());
        }
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("o.sock");
        let config = dir.path().join("cli.toml");
        let orchestrators = format!("orchestrators = [\"unix:{}\"]\n", socket.display());
        std::fs::write(&config, orchestrators).unwrap();
        let mut server = Server::new(rekindle_net::Limits::default());
        let at = ListenConfig::Unix {
            path: socket,
            options: SocketOptions::default(),
        };
        server
            .listen(&at, endpoint.routes().unwrap())
            .await
            .unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self {
            world,
            application,
            volumes,
            config,
            _dir: dir,
            _served: stop.drop_guard(),
        }
    }

    async fn replicate(&self) {
        let primary = self.group().await.unwrap().primary.unwrap();
        let sidecar = self.world.volumes(&zone_a()).unwrap();
        for v in &self.volumes {
            let order = Order {
                action: VolumeAction::Replicate {
                    mode: ReplicationMode::Instant,
                    group: Some(group()),
                    leave_group: false,
                    anew: false,
                    cinder: None,
                },
                generation: Some(primary.generation),
            };
            sidecar.act(v, order).await.unwrap();
        }
    }

    /// Somebody demotes all volumes of the primary's zone by hand.
    pub async fn demote_by_hand(&self) {
        let primary = self.group().await.unwrap().primary.unwrap();
        let sidecar = self.world.volumes(&primary.zone).unwrap();
        for v in &self.volumes {
            let order = Order {
                action: VolumeAction::Demote { token: None },
                generation: Some(primary.generation),
            };
            sidecar.act(v, order).await.unwrap();
        }
    }

    /// The command, with the words of a line.
    pub async fn rekindle(&self, line: &str) -> Ended {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run(&words).await
    }
    /// The command, with these arguments.
    pub async fn run(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command
            .arg("--config")
            .arg(&self.config)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = timeout(PATIENCE, command.output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{args:?} does not end"));
        let ended = ended.unwrap();
        Ended {
            code: ended.status.code().unwrap(),
            out: String::from_utf8(ended.stdout).unwrap(),
            err: String::from_utf8(ended.stderr).unwrap(),
        }
    }

    pub async fn group(&self) -> Option<GroupStatus> {
        self.world.client().group(&group()).await.ok()
    }
    /// Waits until the group is so.
    pub async fn until(&self, what: &str, so: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
        self.eventually(what, || async { self.group().await.filter(&so) })
            .await
    }
    pub async fn eventually<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        ask: impl Fn() -> F,
    ) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if begun.elapsed() > PATIENCE {
                let seen = self.group().await;
                let seen = seen.map(|g| (g.decision, g.active_plan, g.lease, g.problems));
                panic!("never came to be: {what}; {seen:#?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Faster than is sound for real zones, and not so fast that a busy machine changes who leads.
fn timing() -> Timing {
    Timing {
        observer: ObserverTiming {
            every: Duration::from_millis(300),
            ..ObserverTiming::default()
        },
        decide: DecideTiming {
            every: Duration::from_millis(300),
            pauses: Pauses {
                poll: Duration::from_millis(100),
                longest: Duration::from_millis(500),
            },
            ..DecideTiming::default()
        },
        campaign_every: Duration::from_millis(300),
        ..Timing::default()
    }
}

/// Primary with its lease on one side, in step on the other, and no plan at work.
pub fn well(g: &GroupStatus) -> bool {
    let Some(primary) = &g.primary else {
        return false;
    };
    let all = |zone: &ZoneName, status| {
        let zone = g.volumes.iter().find(|v| v.zone == *zone);
        zone.and_then(|v| v.counts.get(&status)).copied() == u32::try_from(VOLUMES).ok()
    };
    let other = g.spec.other(&primary.zone).unwrap();
    matches!(&g.lease, LeaseSight::Held(l) if l.generation == primary.generation)
        && all(&primary.zone, VolumeStatus::ActivePrimary)
        && all(other, VolumeStatus::ActiveSecondary)
        && g.unprotected.is_none()
        && g.active_plan.is_none()
}
pub fn primary_in(g: &GroupStatus, zone: &ZoneName) -> bool {
    g.primary.as_ref().is_some_and(|p| p.zone == *zone) && g.active_plan.is_none()
}
pub fn asks(g: &GroupStatus, which: impl Fn(&Ask) -> bool) -> bool {
    match g.decision.as_ref().map(|d| &d.decision) {
        Some(Decision::AskOperator { why }) => which(why),
        Some(Decision::Hold { .. } | Decision::MarkProtection { .. } | Decision::Begin { .. })
        | None => false,
    }
}
pub fn stuck(g: &GroupStatus) -> bool {
    let state = g.active_plan.as_ref().and_then(|p| p.state.as_ref());
    matches!(state, Some(State::Stuck { .. }))
}
