//! A world that stands right before a plan of each kind, and a leader that is driven by hand: for the suite over all plans.

use super::{Rig, eventually, group, patiently, policy, site, well, witness, zone_a, zone_b};
use rekindle_common::{
    Generation, PlanId, SiteName, ZoneName,
    action::{Order, VolumeAction},
    keys,
    policy::{GroupPolicy, IsolationResponse},
    status::VolumeStatus,
};
use rekindle_core::{
    decision::Request,
    detector::{Diagnosis, diagnose},
    plan::Plan,
    saga::{End, Record, Saga, State},
    snapshot::{Approved, GroupState, LossAccepted, Vouch},
};
use rekindle_orchestrator::{
    build,
    coordination::{Coordinator, Lead, Standing},
    decide::{Begun, Means, Term, begin},
    executor::{Executor, Over, Pauses, RecordHook},
    journal,
    observe::Observer,
    wire::{ApproveRequest, Run},
};
use rekindle_store::{Election, LeaderRecord, Store};
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
        let orchestrator = build(rig.world.parts(at));
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

impl Bench {
    /// The world right before a plan of this kind.
    pub async fn prepared(kind: Kind) -> Self {
        let mut rig = Rig::with(COUNT, kind.policy()).await;
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
                rig.world.kill_zone(&zone_a());
                rig.until("zone-b has taken over", |g| {
                    g.primary.as_ref().unwrap().zone == zone_b() && g.active_plan.is_none()
                })
                .await;
                rig.world.start_zone(&zone_a());
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
            hand,
            observers,
        };
        bench.bring_about().await;
        bench
    }

    async fn bring_about(&mut self) {
        match self.kind {
            Kind::FailoverByLease | Kind::FailoverByFence => self.rig.world.kill_zone(&zone_a()),
            Kind::FailoverVouched => {
                self.rig.world.kill_zone(&zone_a());
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
        self.rig.world.kill_zone(&zone_a());
    }

    /// The plan for the request, as soon as there is one. Not begun.
    pub async fn plan(&self) -> Plan {
        let last = std::sync::Mutex::new(None);
        let plan = patiently(|| async {
            // As the decision loop does: each look counts how long the lease has been gone.
            let world = self.hand.term.look().await.ok()?;
            let id = PlanId::new(format!(
                "p{}",
                world.snapshot.reference_time.as_millisecond()
            ))
            .unwrap();
            let request = self.kind.request();
            rekindle_core::decision::plan_for(&world.snapshot, &group(), &request, id)
                .map_err(|e| *last.lock().unwrap() = Some(e))
                .ok()
        })
        .await;
        plan.unwrap_or_else(|| panic!("no plan for {:?}: {last:?}", self.kind))
    }

    /// Begins it.
    pub async fn begin(&self, plan: &Plan) -> PlanId {
        let world = self.hand.term.look().await.unwrap();
        let records = &world.groups[&group()];
        begin(&self.hand.lead, records, plan, Begun::ByHand)
            .await
            .unwrap();
        plan.id.clone()
    }

    /// The leader dies, and another site's takes its place.
    pub async fn another_leads(&mut self) {
        self.hand.coordinator.abort();
        let at = if *self.hand.means.site.as_str() == *"witness" {
            site(&zone_b())
        } else {
            witness()
        };
        self.hand = Hand::new(&self.rig, &at).await;
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
