//! A world that stands right before a plan of each kind, and a leader that is driven by hand: for the suite over all plans.

use super::{
    Rig, Servers, eventually, group, image,
    nova::{Verb, volumes},
    patiently, policy, site, well, witness, zone_a, zone_b,
};
use rekindle_common::{
    Generation, PlanId, SiteName, ZoneName,
    action::{Order, VolumeAction},
    given_up::{Bound, Written},
    keys,
    policy::{GroupPolicy, IsolationResponse},
    status::VolumeStatus,
};
use rekindle_core::{
    decision::Request,
    detector::{Diagnosis, diagnose},
    plan::{Plan, Step},
    saga::{End, Event, Record, Saga, State},
    snapshot::{Approved, GroupState, LossAccepted, Vouch},
};
use rekindle_orchestrator::{
    agent::AgentAction,
    build,
    client::OrchestratorClient,
    coordination::{Coordinator, Lead, Standing},
    decide::{Begun, Means, Term, begin},
    executor::{Executor, Over, Pauses, RecordHook, Slots},
    journal,
    observe::Observer,
    wire::{ApproveRequest, PauseApproval, PauseRequest, Run},
};
use rekindle_store::{Election, LeaderRecord, Op, Store, Txn};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// Every kind of plan, and of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    FailoverByLease,
    FailoverByFence,
    FailoverVouched,
    FailoverDemoted,
    /// The primary's Ceph is dead and its sidecar alive: the lease is taken from it.
    RevokedByFence,
    RevokedVouched,
    Move,
    Failback,
    Reprotect,
    Resume,
}

impl Kind {
    fn request(self) -> Request {
        match self {
            Self::FailoverByLease
            | Self::FailoverByFence
            | Self::FailoverVouched
            | Self::FailoverDemoted
            | Self::RevokedByFence
            | Self::RevokedVouched => Request::Failover,
            Self::Move => Request::Move { to: zone_b() },
            Self::Failback => Request::Failback,
            Self::Reprotect => Request::Reprotect,
            Self::Resume => Request::Resume,
        }
    }
    /// A plan that can be put back until its first promotion.
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Move | Self::Failback)
    }
    fn policy(self) -> GroupPolicy {
        let keep = GroupPolicy {
            isolation_response: IsolationResponse::Keep,
            ..policy()
        };
        match self {
            Self::FailoverByFence | Self::RevokedByFence => GroupPolicy {
                fence_agent: Some("power".to_owned()),
                ..keep
            },
            Self::FailoverVouched | Self::RevokedVouched => keep,
            Self::FailoverByLease
            | Self::FailoverDemoted
            | Self::Move
            | Self::Failback
            | Self::Reprotect
            | Self::Resume => GroupPolicy {
                on_return: rekindle_common::policy::OnReturn::Ask,
                ..policy()
            },
        }
    }
    /// Where the group is when the plan has succeeded, and under which generation.
    pub fn end(self) -> (ZoneName, Generation) {
        match self {
            Self::FailoverByLease
            | Self::FailoverByFence
            | Self::FailoverVouched
            | Self::FailoverDemoted
            | Self::RevokedByFence
            | Self::RevokedVouched
            | Self::Move
            | Self::Reprotect => (zone_b(), Generation(2)),
            Self::Failback => (zone_a(), Generation(3)),
            Self::Resume => (zone_a(), Generation(1)),
        }
    }
    /// Where the group was before it.
    pub fn start(self) -> (ZoneName, Generation) {
        match self {
            Self::FailoverByLease
            | Self::FailoverByFence
            | Self::FailoverVouched
            | Self::FailoverDemoted
            | Self::RevokedByFence
            | Self::RevokedVouched
            | Self::Move
            | Self::Resume => (zone_a(), Generation(1)),
            Self::Reprotect | Self::Failback => (zone_b(), Generation(2)),
        }
    }
}

pub const COUNT: usize = 3;

/// A site's orchestrator, driven by hand: it leads, and does nothing by itself.
pub struct Hand {
    pub lead: Lead,
    pub term: Arc<Term>,
    means: Arc<Means>,
    coordinator: JoinHandle<()>,
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.coordinator.abort();
    }
}

pub struct Bench {
    pub rig: Rig,
    pub kind: Kind,
    pub servers: Servers,
    /// Calls that the lost zone's Nova had when the plan was about to be made.
    calls_before: u64,
    orders_before: usize,
    pub hand: Hand,
    observers: Vec<JoinHandle<()>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for o in &self.observers {
            o.abort();
        }
    }
}

impl Hand {
    async fn new(rig: &Rig, at: &SiteName) -> Self {
        Self::lacking(rig, at, None).await
    }

    async fn lacking(rig: &Rig, at: &SiteName, cloud: Option<&ZoneName>) -> Self {
        let mut parts = rig.world.parts(at);
        parts.servers.retain(|zone, _| Some(zone) != cloud);
        let orchestrator = build(parts);
        let means = Arc::clone(&orchestrator.service().means);
        let me = LeaderRecord {
            site: at.clone(),
            instance: format!("{at}-by-hand"),
        };
        let store = Store::from(rig.world.store(at.as_str()));
        let election = Election::new(store.clone(), me, Default::default());
        let every = Duration::from_secs(1);
        let coordinator = Coordinator::new(election, store, every, every);
        let mut standing = coordinator.standing();
        let coordinator = tokio::spawn(coordinator.run(CancellationToken::new()));
        let lead = match &*standing
            .wait_for(|s| matches!(s, Standing::Leader { .. }))
            .await
            .unwrap()
        {
            Standing::Leader { lead } => lead.clone(),
            Standing::Unknown | Standing::Follower { .. } => unreachable!(),
        };
        let term = Term::new(lead.clone(), Arc::clone(&means));
        if !rig.novas.is_empty() {
            means.tools.volumes.tell(Some(volumes(COUNT)));
        }
        Self {
            lead,
            term,
            means,
            coordinator,
        }
    }

    /// Works on a plan as this leader's executor.
    pub async fn work(&self, plan: &PlanId, hook: Option<RecordHook>) -> Over {
        let progress = watch::Sender::new(None);
        let executor = Executor {
            lead: &self.lead,
            site: &self.means.site,
            leases: self.term.leases(),
            tools: &self.means.tools,
            assembler: &self.means.assembler,
            pauses: Pauses::default(),
            metrics: &self.means.metrics,
            slots: &Slots::new(1),
            progress: &progress,
            after_record: hook,
        };
        tokio::select! {
            over = executor.run(plan) => over,
            () = self.lead.ended() => Over::Lost,
        }
    }
    pub fn means(&self) -> &Means {
        &self.means
    }
}

/// How many records zone A writes to its first volume that zone B never sees, of 100 bytes each.
const ALONE: u64 = 3;

async fn write_alone(rig: &Rig) {
    let fabric = rig.world.fabric();
    fabric.b().daemon().kill();
    let writer = fabric.a().open(&image(0)).await.unwrap();
    for n in 0..ALONE {
        writer.write(n, vec![1; 100]).await.unwrap();
    }
    // Its zone dies in the same moment.
    fabric.a().kill();
    fabric.b().daemon().start();
}

impl Bench {
    /// The world right before a plan of this kind.
    pub async fn prepared(kind: Kind) -> Self {
        Self::prepared_with(kind, Servers::None).await
    }

    /// The same, for a group with or without servers.
    pub async fn prepared_with(kind: Kind, servers: Servers) -> Self {
        let mut rig = match servers {
            Servers::None => Rig::with(COUNT, kind.policy()).await,
            Servers::Some => Rig::with_servers(COUNT, kind.policy()).await,
        };
        let client = rig.client();
        let approving = tokio::spawn(approve_pauses(client));
        match kind {
            Kind::Failback => {
                let to = Request::Move { to: zone_b() };
                // The orchestrators have just started: they are bound as if they had promised.
                eventually("the move begins", || async {
                    let client = rig.client();
                    client.plan_for(&group(), to.clone(), Run::Begin).await.ok()
                })
                .await;
                rig.until("it has moved", |g| {
                    well(g, COUNT) && g.primary.as_ref().unwrap().zone == zone_b()
                })
                .await;
            }
            Kind::Reprotect => {
                write_alone(&rig).await;
                rig.kill_zone(&zone_a());
                rig.until("zone-b has taken over", |g| {
                    g.primary.as_ref().unwrap().zone == zone_b() && g.active_plan.is_none()
                })
                .await;
                rig.start_zone(&zone_a());
            }
            Kind::FailoverByLease
            | Kind::FailoverByFence
            | Kind::FailoverVouched
            | Kind::FailoverDemoted
            | Kind::RevokedByFence
            | Kind::RevokedVouched
            | Kind::Move
            | Kind::Resume => {}
        }
        approving.abort();
        for s in rig.world.sites() {
            rig.world.stop_orchestrator(&s).await;
        }
        let observers = rig
            .world
            .sites()
            .iter()
            .map(|s| observer(&rig, s))
            .collect();
        let hand = Hand::new(&rig, &witness()).await;
        let mut bench = Self {
            rig,
            kind,
            servers,
            calls_before: 0,
            orders_before: 0,
            hand,
            observers,
        };
        bench.bring_about().await;
        if servers == Servers::Some {
            bench.calls_before = bench.rig.nova(&zone_a()).calls();
            bench.orders_before = bench.rig.told.all().len();
        }
        bench
    }

    async fn bring_about(&mut self) {
        match self.kind {
            Kind::FailoverByLease | Kind::FailoverByFence => self.rig.kill_zone(&zone_a()),
            Kind::FailoverVouched => {
                self.rig.kill_zone(&zone_a());
                self.vouch().await;
            }
            Kind::FailoverDemoted => self.demote_by_hand().await,
            Kind::RevokedByFence => self.rig.world.fabric().a().kill(),
            Kind::RevokedVouched => {
                self.rig.world.fabric().a().kill();
                self.until_diagnosed(|d| matches!(d, Diagnosis::StorageLost { .. }))
                    .await;
                self.vouch().await;
            }
            Kind::Resume => {
                self.rig.world.isolate(&zone_a());
                eventually("the isolated zone demotes itself", || async {
                    (self.rig.primaries(&zone_a()) == 0).then_some(())
                })
                .await;
                self.rig.world.rejoin(&zone_a());
            }
            Kind::Move | Kind::Failback | Kind::Reprotect => {}
        }
    }

    /// Waits until zone-a is seen so.
    pub async fn until_diagnosed(&self, so: impl Fn(&Diagnosis) -> bool) {
        eventually("zone-a is seen to be so", || async {
            let world = self.hand.term.look().await.ok()?;
            so(&diagnose(
                &world.snapshot,
                &zone_a(),
                self.kind.policy().hold_off,
            ))
            .then_some(())
        })
        .await;
    }

    /// A person's word; used up by each plan that is begun on it.
    pub async fn vouch(&self) {
        let what = Approved::Failover {
            vouch: Vouch::CannotWrite,
            loss: LossAccepted::Any,
        };
        let approval = ApproveRequest {
            what,
            by: "ann".to_owned(),
            generation: None,
        };
        self.hand.term.approve(&group(), &approval).await.unwrap();
    }

    async fn demote_by_hand(&mut self) {
        let sidecar = self.rig.world.volumes(&zone_a()).unwrap();
        let generation = Generation(1);
        for v in &self.rig.volumes {
            let order = Order {
                action: VolumeAction::Demote { token: None },
                generation: Some(generation),
            };
            sidecar.act(v, order).await.unwrap();
        }
        let other = self.rig.world.volumes(&zone_b()).unwrap();
        eventually("zone-b has replayed the demotion", || async {
            for v in &self.rig.volumes {
                let report = other.volume(v).await.ok()?;
                (report.status == VolumeStatus::PendingPromotion).then_some(())?;
            }
            Some(())
        })
        .await;
        self.rig.kill_zone(&zone_a());
    }

    /// The plan of its kind, as soon as there is one. Not begun.
    pub async fn plan(&self) -> Plan {
        self.plan_for(&self.kind.request()).await
    }

    /// The same on another request: after a plan of its kind.
    pub async fn plan_for(&self, request: &Request) -> Plan {
        let last = std::sync::Mutex::new(None);
        let plan = patiently(|| async {
            // As the decision loop does: each look counts how long the lease has been gone.
            let world = self.hand.term.look().await.ok()?;
            let id = PlanId::new(format!(
                "p{}",
                world.snapshot.reference_time.as_millisecond()
            ))
            .unwrap();
            rekindle_core::decision::plan_for(&world.snapshot, &group(), request, id)
                .map_err(|e| *last.lock().unwrap() = Some(e))
                .ok()
        })
        .await;
        plan.unwrap_or_else(|| panic!("no plan for {request:?}, {:?}: {last:?}", self.kind))
    }

    /// Begins it.
    pub async fn begin(&self, plan: &Plan) -> PlanId {
        let world = self.hand.term.look().await.unwrap();
        let records = &world.groups[&group()];
        begin(&self.hand.lead, records, plan, Begun::ByHand)
            .await
            .unwrap();
        if self.servers == Servers::Some {
            self.approve_beforehand(plan).await;
        }
        plan.id.clone()
    }

    /// The person's yes to each pause is there already: who leads when it comes does not matter, and the suite is not about people.
    async fn approve_beforehand(&self, plan: &Plan) {
        for s in &plan.steps {
            if let Step::Pause { level, .. } = &s.step {
                let approval = PauseApproval {
                    level: *level,
                    by: "ann".to_owned(),
                    at: plan.at,
                };
                let key = keys::plan_approval(&plan.id, *level);
                let put = Op::put_json(key, &approval, None).unwrap();
                self.store().txn(Txn::new().then(put)).await.unwrap();
            }
        }
    }

    /// All of the group's servers serve in that zone, and none in the other.
    pub fn assert_servers_in(&self, zone: &ZoneName) {
        if self.servers == Servers::None {
            return;
        }
        let all = ["db", "web-1", "web-2"];
        assert_eq!(self.rig.nova(zone).serving(), all, "{:?}", self.kind);
        let other = if *zone == zone_a() {
            zone_b()
        } else {
            zone_a()
        };
        let none: [&str; 0] = [];
        let dead = self.rig.world.volumes(&other).is_none();
        if !dead && !matches!(self.kind, Kind::RevokedByFence | Kind::RevokedVouched) {
            assert_eq!(self.rig.nova(&other).serving(), none, "{:?}", self.kind);
        }
        for z in [zone_a(), zone_b()] {
            assert_eq!(self.rig.nova(&z).wrong(), none, "{:?}", self.kind);
        }
    }

    /// What the servers of a plan that has succeeded must have seen.
    fn assert_servers_were_ordered(&self, zone: &ZoneName) {
        if self.servers == Servers::None {
            return;
        }
        self.assert_servers_in(zone);
        match self.kind {
            Kind::FailoverByLease
            | Kind::FailoverByFence
            | Kind::FailoverVouched
            | Kind::FailoverDemoted
            | Kind::RevokedByFence
            | Kind::RevokedVouched => {
                let asked = self.rig.nova(&zone_a()).calls() - self.calls_before;
                assert_eq!(asked, 0, "the lost zone's Nova was asked (hard case 53)");
            }
            Kind::Reprotect => {
                assert!(self.rig.nova(&zone_a()).all_held(), "hard case 50");
                return;
            }
            Kind::Move | Kind::Failback => {
                let left = if *zone == zone_a() {
                    zone_b()
                } else {
                    zone_a()
                };
                assert!(self.rig.nova(&left).all_held());
            }
            Kind::Resume => {}
        }
        self.assert_order_of_starts(zone);
        let told = self.rig.told.all().split_off(self.orders_before);
        // A fence is the suite's own fault at times, and stands anywhere.
        let actions = told.iter().map(|(a, _)| *a);
        let actions: Vec<AgentAction> = actions.filter(|a| *a != AgentAction::Fence).collect();
        assert_eq!(actions.first(), Some(&AgentAction::Before), "{actions:?}");
        assert_eq!(actions.last(), Some(&AgentAction::After), "{actions:?}");
    }

    fn assert_order_of_starts(&self, zone: &ZoneName) {
        let orders = self.rig.nova(zone).orders();
        let first = |k: &str| {
            let start = (Verb::Start, k.to_owned());
            let at = orders.iter().position(|o| *o == start);
            at.unwrap_or_else(|| panic!("{k} was never started: {orders:?}"))
        };
        assert!(first("db") < first("web-1"), "{orders:?}");
        assert!(first("web-1") < first("web-2"), "{orders:?}");
    }

    /// The leader dies, and another site's takes its place.
    pub async fn another_leads(&mut self) {
        self.led_by_another(None).await;
    }
    /// The same, and the other's configuration has no cloud for that zone.
    pub async fn another_leads_without(&mut self, cloud: &ZoneName) {
        self.led_by_another(Some(cloud)).await;
    }
    async fn led_by_another(&mut self, lacks: Option<&ZoneName>) {
        self.hand.coordinator.abort();
        let at = if *self.hand.means.site.as_str() == *"witness" {
            site(&zone_b())
        } else {
            witness()
        };
        self.hand = Hand::lacking(&self.rig, &at, lacks).await;
    }

    pub fn store(&self) -> Store {
        self.rig.world.store("reader").into()
    }
    pub async fn records(&self, plan: &PlanId) -> Vec<Record> {
        journal::read_records(&self.store(), plan).await.unwrap()
    }
    pub async fn state(&self, plan: &PlanId) -> State {
        let p = journal::read_plan(&self.store(), plan).await.unwrap();
        let records = self.records(plan).await;
        Saga::replay(&p, &records).unwrap().state().clone()
    }
    async fn group_state(&self) -> GroupState {
        match self
            .store()
            .get(&keys::group_state(&group()))
            .await
            .unwrap()
        {
            Some(kv) => kv.json().unwrap(),
            None => GroupState::default(),
        }
    }

    /// The plan has succeeded, and the world is as it should be.
    pub async fn assert_succeeded(&self, plan: &PlanId) {
        let state = self.state(plan).await;
        assert_eq!(
            state,
            State::Ended {
                end: End::Succeeded
            },
            "{:?}: {:#?}",
            self.kind,
            self.records(plan).await
        );
        let (zone, generation) = self.kind.end();
        self.assert_at(&zone, generation).await;
        self.assert_servers_were_ordered(&zone);
        let state = self.group_state().await;
        match self.kind {
            Kind::FailoverByLease
            | Kind::FailoverByFence
            | Kind::FailoverVouched
            | Kind::FailoverDemoted
            | Kind::RevokedByFence
            | Kind::RevokedVouched => {
                assert!(state.unprotected.is_some(), "hard case 56");
                assert_eq!(state.last_failover.unwrap().plan, *plan);
                assert_eq!(self.rig.told.runs_in(), Some(zone));
            }
            Kind::Move | Kind::Failback | Kind::Resume => {
                assert_eq!(state.unprotected, None);
                assert_eq!(self.rig.told.runs_in(), Some(zone));
            }
            Kind::Reprotect => {
                assert_eq!(state.unprotected, None);
                self.assert_given_up(plan).await;
            }
        }
        if matches!(self.kind, Kind::Move | Kind::Failback | Kind::Reprotect) {
            let other = if zone_a() == self.kind.end().0 {
                zone_b()
            } else {
                zone_a()
            };
            let sidecar = self.rig.world.volumes(&other).unwrap();
            for v in &self.rig.volumes {
                eventually("the copy is in step", || async {
                    let status = sidecar.volume(v).await.ok()?.status;
                    (status == VolumeStatus::ActiveSecondary).then_some(())
                })
                .await;
            }
        }
    }

    /// However often a step was begun, its journal tells what zone A had written alone, of each volume.
    async fn assert_given_up(&self, plan: &PlanId) {
        let records = self.records(plan).await;
        let told = records.iter().find_map(|r| {
            let Event::StepDone { outcome, .. } = &r.event else {
                return None;
            };
            (!outcome.given_up.is_empty()).then_some(outcome)
        });
        let told = told.expect("nothing is told of what is given up");
        let volumes: Vec<_> = told.given_up.iter().map(|g| &g.volume).collect();
        assert_eq!(volumes, self.rig.volumes.iter().collect::<Vec<_>>());
        for g in &told.given_up {
            let alone = if g.volume == image(0) { ALONE } else { 0 };
            let written = Written::Measured {
                bytes: alone * 100,
                extents: alone,
                bound: Bound::Exact,
            };
            assert_eq!(g.given_up.written, written, "{}", g.volume);
            let kept = g.given_up.kept_as.as_ref().expect("policy keeps it");
            let records = self.rig.world.fabric().a().records(kept).unwrap();
            assert_eq!(records.len() as u64, alone, "{kept}");
        }
        let words = "what zone-a wrote after the split: 300 bytes in 3 extents of 1 volume";
        assert!(told.note.contains(words), "{}", told.note);
    }

    /// All volumes are primary there and only there, its lease is held, and no plan is at work.
    pub async fn assert_at(&self, zone: &ZoneName, generation: Generation) {
        let store = self.store();
        let primary: rekindle_common::lease::PrimaryRecord = store
            .get(&keys::group_primary(&group()))
            .await
            .unwrap()
            .unwrap()
            .json()
            .unwrap();
        assert_eq!((&primary.zone, primary.generation), (zone, generation));
        assert_eq!(self.rig.primaries(zone), COUNT);
        let lease: rekindle_common::lease::LeaseRecord = store
            .get(&keys::group_lease(&group()))
            .await
            .unwrap()
            .expect("the lease is held")
            .json()
            .unwrap();
        assert_eq!((&lease.zone, lease.generation), (zone, generation));
        let active = store.get(&keys::group_active_plan(&group())).await.unwrap();
        assert_eq!(active, None, "the plan's claim on the group is left");
    }

    /// Never two zones that take writes, whatever became of a plan. A dead zone's images are as they were.
    pub fn assert_one_writer(&self) {
        let both = self.rig.volumes.iter().filter(|v| {
            let fabric = self.rig.world.fabric();
            fabric.a().is_primary(v) && fabric.b().is_primary(v)
        });
        if self.kind.is_planned() || self.kind == Kind::Resume {
            assert_eq!(both.count(), 0, "{:?}", self.kind);
        }
    }

    pub async fn settle(&self) {
        sleep(Duration::from_secs(3)).await;
    }
}

/// A person who says yes to every pause, while the orchestrators run by themselves.
async fn approve_pauses(client: OrchestratorClient) {
    loop {
        sleep(Duration::from_millis(200)).await;
        let Ok(g) = client.group(&group()).await else {
            continue;
        };
        let Some(active) = g.active_plan else {
            continue;
        };
        let (Ok(detail), Some(State::Running { step })) =
            (client.plan(&active.id).await, active.state)
        else {
            continue;
        };
        if let Step::Pause { level, .. } = &detail.plan.steps[step].step {
            let request = PauseRequest {
                level: *level,
                by: "ann".to_owned(),
            };
            // It may have gone on meanwhile.
            let _ = client.approve_pause(&active.id, &request).await;
        }
    }
}

fn observer(rig: &Rig, at: &SiteName) -> JoinHandle<()> {
    let parts = rig.world.parts(at);
    let observer = Observer::new(
        parts.site,
        parts.store,
        parts.clock,
        parts.timing.observer,
        parts.probes,
    );
    tokio::spawn(observer.run())
}
