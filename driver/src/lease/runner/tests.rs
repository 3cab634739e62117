mod demoting;
mod holding;
mod lost_ceph;
mod noting;
mod other_times;
mod plans;
mod two_sidecars;

use super::*;
use crate::{
    lease::{BoardChange, LeaseClock},
    leases::Leases,
};
use rekindle_common::{
    ErrorCode, SiteName, ZoneName,
    deletion::OnDelete,
    duration::Span,
    keys,
    lease::{LeaseRecord, LeaseView, PrimaryRecord},
    policy::{GroupPolicy, GroupSpec},
    runbook::Runbook,
    volume::Known,
    zone::FailsafeAnswer,
};
use rekindle_store::{Compare, MemoryStore, Op, Txn, TxnOutcome};
use std::sync::Mutex;
use tokio::time::sleep;

fn zone(z: &str) -> ZoneName {
    ZoneName::new(z).unwrap()
}
fn db() -> GroupName {
    GroupName::new("db").unwrap()
}
fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The zone's images, in memory.
#[derive(Clone)]
struct Images(Arc<Mutex<ImagesState>>);
struct ImagesState {
    /// The group has no volume here.
    none: bool,
    primary: bool,
    isolation: Option<IsolationResponse>,
    on_delete: Option<OnDelete>,
    /// The cluster does not answer.
    dead: bool,
    /// Looks fail, and nothing else does.
    unseen: bool,
    /// Another one, as each look shows it.
    beside: Option<SeenImage>,
    /// Demotions fail so often.
    stubborn: u32,
    /// A demotion takes so long.
    demoting: Duration,
    demoted_at: Option<Instant>,
    frozen: bool,
    board: Board,
}

impl Images {
    fn new(primary: bool) -> Self {
        Self(Arc::new(Mutex::new(ImagesState {
            none: false,
            primary,
            isolation: None,
            on_delete: None,
            dead: false,
            unseen: false,
            beside: None,
            stubborn: 0,
            demoting: Duration::ZERO,
            demoted_at: None,
            frozen: false,
            board: Board::default(),
        })))
    }
    fn with<T>(&self, f: impl FnOnce(&mut ImagesState) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
    fn primary(&self) -> bool {
        self.with(|s| s.primary)
    }
    async fn answers(&self) -> Result<(), ApiError> {
        sleep(Duration::from_millis(50)).await;
        if self.with(|s| s.dead) {
            sleep(secs(8)).await;
            return Err(ApiError::new(ErrorCode::ClusterUnreachable, "dead"));
        }
        Ok(())
    }
}

impl LeaseSink for Images {
    async fn look(&self) -> Result<Vec<SeenImage>, ApiError> {
        self.answers().await?;
        if self.with(|s| s.unseen) {
            return Err(ApiError::new(ErrorCode::DeadlineExceeded, "not now"));
        }
        Ok(self.with(|s| {
            let image = SeenImage {
                group: Some(db()),
                primary: if s.primary { Known::Yes } else { Known::No },
                isolation: s.isolation,
                on_delete: s.on_delete,
            };
            let image = (!s.none).then_some(image);
            image.into_iter().chain(s.beside.clone()).collect()
        }))
    }
    async fn demote(
        &self,
        _: &GroupName,
        _: Instant,
        void: &CancellationToken,
    ) -> Result<(), ApiError> {
        self.answers().await?;
        sleep(self.with(|s| s.demoting)).await;
        if void.is_cancelled() {
            return Err(ApiError::new(ErrorCode::StaleGeneration, "void"));
        }
        self.with(|s| {
            if s.stubborn > 0 {
                s.stubborn -= 1;
                return Err(ApiError::new(ErrorCode::StorageError, "not now"));
            }
            s.primary = false;
            s.demoted_at.get_or_insert(Instant::now());
            Ok(())
        })
    }
    async fn set_frozen(&self, _: &GroupName, frozen: bool) {
        self.with(|s| s.frozen = frozen);
    }
    async fn note(
        &self,
        _: &GroupName,
        response: IsolationResponse,
        _: Instant,
    ) -> Result<(), ApiError> {
        self.answers().await?;
        self.with(|s| s.isolation = Some(response));
        Ok(())
    }
    async fn note_on_delete(
        &self,
        _: &GroupName,
        on_delete: OnDelete,
        _: Instant,
    ) -> Result<(), ApiError> {
        self.answers().await?;
        self.with(|s| s.on_delete = Some(on_delete));
        Ok(())
    }
    async fn board(&self, change: BoardChange) -> Result<Board, ApiError> {
        self.answers().await?;
        Ok(self.with(|s| {
            s.board.change(&change);
            s.board.clone()
        }))
    }
}

/// Zone B and the witness, which say what they are told to.
#[derive(Clone)]
struct Sites(Arc<Mutex<Vec<&'static str>>>);

impl Sites {
    fn say(&self, answers: [&'static str; 2]) {
        *self.0.lock().unwrap() = answers.to_vec();
    }
}
impl OtherSites for Sites {
    fn names(&self) -> BTreeSet<SiteName> {
        ["zone-b", "witness"]
            .map(|s| SiteName::new(s).unwrap())
            .into()
    }
    async fn ask(&self, _: &FailsafeQuestion) -> Vec<Result<FailsafeAnswer, ApiError>> {
        sleep(Duration::from_millis(20)).await;
        let said = self.0.lock().unwrap().clone();
        self.names()
            .into_iter()
            .zip(said)
            .map(|(site, said)| match said {
                "yours" => Ok(FailsafeAnswer::StillYours {
                    site,
                    lasts: Some(Span::secs(600)),
                }),
                "well" => Ok(FailsafeAnswer::EtcdIsWell { site }),
                _ => Err(ApiError::new(ErrorCode::SidecarUnreachable, "silent")),
            })
            .collect()
    }
}

/// A zone's sidecar around its lease keeper, and a look at etcd from elsewhere.
struct Bench {
    memory: MemoryStore,
    /// From another site: outages of zone A do not touch it.
    elsewhere: Store,
    sites: Sites,
    images: Images,
}

struct Sidecar {
    handle: LeaseHandle,
    stop: CancellationToken,
}
impl Drop for Sidecar {
    /// As `kill -9`: nothing is given back.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Bench {
    async fn new(primary: bool, policy: GroupPolicy) -> Self {
        let memory = MemoryStore::default();
        let elsewhere = Store::from(memory.handle("witness"));
        let bench = Self {
            memory: memory.handle("zone-a"),
            elsewhere,
            sites: Sites(Arc::default()),
            images: Images::new(primary),
        };
        bench.sites.say(["silent", "silent"]);
        bench.policy(policy).await;
        bench.record("zone-a", 1).await;
        bench
    }

    async fn put<T: serde::Serialize>(&self, key: String, value: &T) {
        let txn = Txn::new().then(Op::put_json(key, value, None).unwrap());
        self.elsewhere.txn(txn).await.unwrap();
    }
    async fn policy(&self, policy: GroupPolicy) {
        let spec = GroupSpec {
            name: db(),
            home: zone("zone-a"),
            away: zone("zone-b"),
            policy,
            runbook: Runbook::default(),
        };
        self.put(keys::group_spec(&db()), &spec).await;
    }
    /// The default policy, with another time to live in seconds.
    async fn ttl(&self, ttl: u64) {
        let mut policy = demote_policy();
        policy.lease.ttl = Span::secs(ttl);
        self.policy(policy).await;
    }
    async fn record(&self, primary: &str, generation: u64) {
        let record = PrimaryRecord {
            zone: zone(primary),
            generation: Generation(generation),
            since: rekindle_common::Timestamp::UNIX_EPOCH,
            plan: None,
        };
        self.put(keys::group_primary(&db()), &record).await;
    }

    /// A sidecar of zone A, of that name.
    fn start(&self, name: &str, instance: &str) -> Sidecar {
        self.start_on(Store::from(self.memory.clone()), name, instance)
    }
    fn start_on(&self, store: Store, name: &str, instance: &str) -> Sidecar {
        let config = LeaseConfig {
            name: name.to_owned(),
            clock: LeaseClock::tokio(),
            ..LeaseConfig::new(zone("zone-a"), instance)
        };
        let (runner, handle) = LeaseRunner::new(config, store, self.sites.clone());
        let stop = CancellationToken::new();
        tokio::spawn(runner.run(self.images.clone(), stop.clone()));
        Sidecar { handle, stop }
    }

    /// The lease's record in etcd.
    async fn key(&self) -> Option<LeaseRecord> {
        let kv = self.elsewhere.get(&keys::group_lease(&db())).await.unwrap();
        kv.map(|kv| kv.json().unwrap())
    }
    async fn until(&self, what: &str, within: Duration, mut f: impl FnMut() -> bool) {
        let end = Instant::now() + within;
        while !f() {
            assert!(Instant::now() < end, "not within {within:?}: {what}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    async fn held(&self, sidecar: &Sidecar) {
        self.until("the lease is held", secs(15), || held(sidecar))
            .await;
    }
    async fn key_gone(&self) -> Instant {
        while self.key().await.is_some() {
            sleep(Duration::from_millis(20)).await;
        }
        Instant::now()
    }
}

fn held(s: &Sidecar) -> bool {
    matches!(s.handle.view(&db()), LeaseView::Held { .. })
}
fn demote_policy() -> GroupPolicy {
    GroupPolicy::default()
}

/// The leader's side, as it is meant to be: sees the lease gone, waits the margin, records the other zone.
async fn leader_takes_over(b: &Bench, margin: Duration) -> Instant {
    loop {
        b.key_gone().await;
        sleep(margin).await;
        let primary = b
            .elsewhere
            .get(&keys::group_primary(&db()))
            .await
            .unwrap()
            .unwrap();
        let record = PrimaryRecord {
            zone: zone("zone-b"),
            generation: Generation(2),
            since: rekindle_common::Timestamp::UNIX_EPOCH,
            plan: None,
        };
        let txn = Txn::new()
            .when(Compare::Absent(keys::group_lease(&db())))
            .when(Compare::ModRevision(
                primary.key.clone(),
                primary.mod_revision,
            ))
            .then(Op::put_json(primary.key, &record, None).unwrap());
        if let Ok(TxnOutcome::Applied { .. }) = b.elsewhere.txn(txn).await {
            return Instant::now();
        }
    }
}

/// `trouble` until `end`, beside a leader that takes over as soon as it may. Whether it did: then the images were demoted before, and are.
async fn is_taken_over(
    b: &Bench,
    seed: u64,
    end: Instant,
    trouble: impl Future<Output = ()>,
) -> bool {
    let leader = async {
        let limit = end.saturating_duration_since(Instant::now());
        tokio::time::timeout(limit, leader_takes_over(b, secs(20))).await
    };
    let ((), recorded) = tokio::join!(trouble, leader);
    if let Ok(recorded) = recorded {
        let demoted = b.images.with(|i| i.demoted_at);
        assert!(
            demoted.is_some_and(|d| d <= recorded),
            "seed {seed}: {demoted:?}, recorded {recorded:?}"
        );
        assert!(!b.images.primary(), "seed {seed}");
    }
    recorded.is_ok()
}
