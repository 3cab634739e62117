mod lost_ceph;
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
                "yours" => Ok(FailsafeAnswer::StillYours { site }),
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
fn policy(response: IsolationResponse) -> GroupPolicy {
    GroupPolicy {
        isolation_response: response,
        ..GroupPolicy::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_primary_takes_its_lease_and_keeps_it() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let key = b.key().await.unwrap();
    assert_eq!(
        (key.holder.as_str(), key.generation),
        ("host-a/1", Generation(1))
    );
    assert_eq!(key.isolation_response, IsolationResponse::Demote);
    let beats = s.handle.beats();
    for _ in 0..300 {
        sleep(secs(1)).await;
        let LeaseView::Held { left, .. } = s.handle.view(&db()) else {
            panic!("{:?}", s.handle.view(&db()))
        };
        // Renewed every 5 s, and 25 s of right.
        assert!(left.get() >= secs(19), "{left}");
        assert_eq!(b.key().await.unwrap(), key);
    }
    assert!(s.handle.beats() >= beats + 300);
    assert!(b.images.primary());
}

/// Long after the sidecar's start, and with nothing to look at: still within two seconds, for volumes wait for it.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_defined_while_the_sidecar_runs_gets_its_lease_at_once() {
    let b = Bench::new(true, demote_policy()).await;
    let del = Txn::new().then(Op::Delete {
        key: keys::group_primary(&db()),
    });
    b.elsewhere.txn(del).await.unwrap();
    b.images.with(|s| s.none = true);
    let a = b.start("host-1", "one");
    sleep(secs(33)).await;
    assert!(!held(&a));
    b.record("zone-a", 1).await;
    // One reading of etcd, one look, one transaction.
    sleep(secs(7)).await;
    assert!(held(&a));
}

#[tokio::test(start_paused = true)]
async fn hard_case_01_a_cut_off_zone_has_demoted_before_its_lease_is_gone() {
    for hang in [false, true] {
        let b = Bench::new(true, demote_policy()).await;
        let s = b.start("host-a", "1");
        b.held(&s).await;
        sleep(secs(12)).await;
        b.sites.say(["well", "silent"]);
        let cut = Instant::now();
        if hang {
            b.memory.hang();
        } else {
            b.memory.partition();
        }
        let gone = b.key_gone().await;
        let demoted = b.images.with(|i| i.demoted_at).expect("it has not demoted");
        assert!(
            demoted < gone,
            "demoted {:?} after the key was gone",
            demoted - gone
        );
        assert!(
            demoted >= cut + secs(19),
            "it gave up at once: {:?}",
            demoted - cut
        );
        assert!(matches!(s.handle.view(&db()), LeaseView::Isolated { .. }));
        // The link is back: a demoted zone does not say that it serves.
        b.memory.heal();
        sleep(secs(60)).await;
        assert!(matches!(s.handle.view(&db()), LeaseView::Isolated { .. }));
        assert_eq!(b.key().await, None);
        // Until it is ordered to.
        let view = s.handle.take(&db(), Generation(1)).await.unwrap();
        assert!(matches!(view, LeaseView::Held { .. }));
        assert_eq!(b.key().await.unwrap().holder, "host-a/1");
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_02_an_etcd_without_majority_does_not_stop_a_primary_that_all_sites_vouch_for() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.sites.say(["yours", "yours"]);
    b.memory.lose_majority();
    sleep(secs(600)).await;
    assert!(b.images.primary());
    assert!(
        matches!(s.handle.view(&db()), LeaseView::KeptByFailsafe { left, .. } if left.get() > secs(5))
    );
    b.memory.regain_majority();
    b.held(&s).await;
    // One of them does not answer any more: then it is not known what the rest decides.
    b.sites.say(["yours", "silent"]);
    b.memory.lose_majority();
    b.until("it demotes", secs(26), || !b.images.primary())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_demotion_that_fails_is_tried_until_it_is_seen_done() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.stubborn = 5);
    b.memory.partition();
    b.until("it demotes", secs(30), || !b.images.primary())
        .await;
    assert!(!held(&s));
}

/// Nor for a long time without a pause, once the first tries are over.
#[tokio::test(start_paused = true)]
async fn a_demotion_that_is_refused_at_once_is_not_tried_without_a_pause_for_ever() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.stubborn = u32::MAX);
    let tries = || b.images.with(|i| u32::MAX - i.stubborn);
    b.memory.partition();
    b.until("it demotes", secs(30), || tries() > 0).await;
    sleep(secs(4)).await;
    let at_first = tries();
    assert!(at_first > 40, "{at_first} tries");
    sleep(secs(3)).await;
    let before = tries();
    sleep(secs(60)).await;
    let then = tries() - before;
    assert!((25..=60).contains(&then), "{then} tries in a minute");
    b.images.with(|i| i.stubborn = 0);
    b.until("it is demoted", secs(3), || !b.images.primary())
        .await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_60_a_zone_whose_ceph_is_dead_keeps_its_lease() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.dead = true);
    for _ in 0..60 {
        sleep(secs(2)).await;
        assert!(held(&s), "{:?}", s.handle.view(&db()));
        assert!(b.key().await.is_some());
    }
    // Neither does a sidecar that starts now let it go: it cannot prove that nothing is written.
    drop(s);
    let s = b.start("host-a", "2");
    b.until("it is taken up", secs(25), || held(&s)).await;
    assert_eq!(b.key().await.unwrap().holder, "host-a/2");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_sidecar_goes_on_with_its_lease_at_once() {
    let b = Bench::new(true, demote_policy()).await;
    let first = b.start("host-a", "1");
    b.held(&first).await;
    drop(first);
    sleep(secs(25)).await;
    let second = b.start("host-a", "2");
    b.until("it is held again", secs(2), || held(&second)).await;
    assert_eq!(b.key().await.unwrap().holder, "host-a/2");
    sleep(secs(60)).await;
    assert!(held(&second) && b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_starts_without_etcd_demotes_within_its_grace() {
    let b = Bench::new(true, demote_policy()).await;
    b.memory.partition();
    let began = Instant::now();
    let s = b.start("host-a", "1");
    b.until("it demotes", secs(7), || !b.images.primary()).await;
    assert!(began.elapsed() >= secs(5), "the grace was not given");
    assert!(!held(&s));
    // The metadata may say otherwise.
    let b = Bench::new(true, demote_policy()).await;
    b.images
        .with(|i| i.isolation = Some(IsolationResponse::Keep));
    b.memory.partition();
    let _s = b.start("host-a", "1");
    sleep(secs(120)).await;
    assert!(b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn a_second_sidecar_stands_by_and_takes_over_before_the_lease_ends() {
    let b = Bench::new(true, demote_policy()).await;
    let first = b.start("host-a", "1");
    b.held(&first).await;
    let second = b.start("host-b", "1");
    for _ in 0..60 {
        sleep(secs(1)).await;
        assert_eq!(b.key().await.unwrap().holder, "host-a/1");
        assert_eq!(second.handle.view(&db()), LeaseView::NotHeld);
    }
    drop(first);
    let died = Instant::now();
    b.until("the second holds it", secs(30), || held(&second))
        .await;
    assert!(died.elapsed() < secs(20), "{:?}", died.elapsed());
    // The zone has held it all the time.
    assert!(b.images.with(|i| i.demoted_at).is_none());
    assert_eq!(b.key().await.unwrap().holder, "host-b/1");
    // An order moves it between the sidecars of a zone, without a moment without it.
    let first = b.start("host-a", "2");
    sleep(secs(5)).await;
    first.handle.take(&db(), Generation(1)).await.unwrap();
    assert_eq!(b.key().await.unwrap().holder, "host-a/2");
    sleep(secs(30)).await;
    assert!(held(&first) && !held(&second) && b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_deleted_and_stays_so() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let e = s.handle.give_up(&db(), Generation(0)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StaleGeneration);
    b.images.with(|i| i.primary = false);
    s.handle.give_up(&db(), Generation(1)).await.unwrap();
    assert_eq!(b.key().await, None);
    sleep(secs(60)).await;
    assert_eq!(
        (b.key().await, s.handle.view(&db())),
        (None, LeaseView::NotHeld)
    );
    // The move goes on: another zone is recorded, and an order under the old generation is refused.
    b.record("zone-b", 2).await;
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StaleGeneration, "{e}");
    let e = s.handle.take(&db(), Generation(2)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::LeaseNotHeld, "{e}");
    // And home again.
    b.record("zone-a", 3).await;
    let view = s.handle.take(&db(), Generation(3)).await.unwrap();
    assert!(matches!(view, LeaseView::Held { generation, .. } if generation == Generation(3)));
    let unknown = GroupName::new("none").unwrap();
    let e = s.handle.take(&unknown, Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::LeaseNotHeld, "{e}");
}

#[tokio::test(start_paused = true)]
async fn an_order_while_etcd_is_away_is_refused_and_a_release_is_made_good() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.primary = false);
    b.memory.partition();
    let e = s.handle.give_up(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StoreUnavailable, "{e}");
    b.memory.heal();
    sleep(secs(3)).await;
    assert_eq!(b.key().await, None, "the key was left standing");
    b.memory.partition();
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StoreUnavailable, "{e}");
    // An answer that is lost is not taken for a yes; asked again it is one.
    b.memory.heal();
    b.memory.lose_answers(1);
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::DeadlineExceeded, "{e}");
    s.handle.take(&db(), Generation(1)).await.unwrap();
    assert!(held(&s) && b.key().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn hard_case_50_a_zone_that_finds_another_recorded_demotes_and_takes_nothing() {
    let b = Bench::new(true, demote_policy()).await;
    b.record("zone-b", 2).await;
    let s = b.start("host-a", "1");
    b.until("it demotes", secs(5), || !b.images.primary()).await;
    sleep(secs(60)).await;
    assert_eq!(
        (b.key().await, s.handle.view(&db())),
        (None, LeaseView::NotHeld)
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_somebody_deleted_is_put_back() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let delete = Txn::new().then(Op::Delete {
        key: keys::group_lease(&db()),
    });
    b.elsewhere.txn(delete).await.unwrap();
    sleep(secs(7)).await;
    assert!(b.key().await.is_some());
    assert!(held(&s) && b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn a_policy_changes_in_record_deed_and_metadata_in_the_safe_order() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.policy(policy(IsolationResponse::Freeze)).await;
    sleep(secs(45)).await;
    let recorded = b.key().await.unwrap().isolation_response;
    assert_eq!(recorded, IsolationResponse::Freeze);
    assert_eq!(
        b.images.with(|i| i.isolation),
        Some(IsolationResponse::Freeze)
    );
    // It is what is done, too.
    b.memory.partition();
    b.until("it freezes", secs(25), || b.images.with(|i| i.frozen))
        .await;
    assert!(b.images.primary());
    sleep(secs(30)).await;
    b.memory.heal();
    b.held(&s).await;
    b.until("it thaws", secs(5), || !b.images.with(|i| i.frozen))
        .await;
    // And back to the stricter one.
    b.policy(demote_policy()).await;
    sleep(secs(45)).await;
    assert_eq!(
        b.images.with(|i| i.isolation),
        Some(IsolationResponse::Demote)
    );
    let recorded = b.key().await.unwrap().isolation_response;
    assert_eq!(recorded, IsolationResponse::Demote);
    b.memory.partition();
    b.until("it demotes", secs(25), || !b.images.primary())
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_deletion_policy_is_noted_on_primaries_and_follows_the_spec() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let noted = |o: OnDelete| {
        let images = b.images.clone();
        move || images.with(|i| i.on_delete) == Some(o)
    };
    b.until("the default is noted", secs(40), noted(OnDelete::Refuse))
        .await;
    let mut kept = demote_policy();
    kept.on_delete = OnDelete::Keep;
    b.policy(kept).await;
    b.until("a change is noted", secs(40), noted(OnDelete::Keep))
        .await;
    // A copy takes no metadata: nothing is written there.
    b.images.with(|i| {
        i.primary = false;
        i.on_delete = None;
    });
    sleep(secs(70)).await;
    assert_eq!(b.images.with(|i| i.on_delete), None);
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_record_neither_takes_nor_loses_a_lease() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let good = b
        .elsewhere
        .get(&keys::group_primary(&db()))
        .await
        .unwrap()
        .unwrap();
    let put = |value: &[u8]| {
        Txn::new().then(Op::Put {
            key: keys::group_primary(&db()),
            value: value.to_vec(),
            lease: None,
        })
    };
    b.elsewhere.txn(put(b"{\"zone\":")).await.unwrap();
    sleep(secs(60)).await;
    assert!(held(&s) && b.images.primary());
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::CorruptRecord);
    b.elsewhere.txn(put(&good.value)).await.unwrap();
    s.handle.take(&db(), Generation(1)).await.unwrap();
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

/// Random outages, restarts and dead clusters; a leader that takes over as soon as it may. Never are the images writable
/// here once the other zone is recorded.
#[tokio::test(start_paused = true)]
async fn whatever_happens_nothing_is_primary_here_when_the_other_zone_is_recorded() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let mut taken_over = 0;
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let b = Bench::new(true, demote_policy()).await;
        let mut s = b.start("host-a", "0");
        b.held(&s).await;
        let end = Instant::now() + secs(400);
        let trouble = async {
            let mut starts = 0;
            while Instant::now() < end {
                sleep(Duration::from_millis(rng.random_range(100..15_000))).await;
                match rng.random_range(0..9) {
                    0 => b.memory.partition(),
                    1 => b.memory.hang(),
                    2 | 3 => b.memory.heal(),
                    4 => b.memory.lose_answers(rng.random_range(1..3)),
                    5 => b.images.with(|i| i.stubborn = 2),
                    6 => b.sites.say(["well", "silent"]),
                    7 => b.ttl([15, 30, 90][rng.random_range(0..3)]).await,
                    _ => {
                        // Dies, and its supervisor starts it again within `margin - demote_budget`.
                        drop(s);
                        sleep(Duration::from_millis(rng.random_range(0..9_500))).await;
                        starts += 1;
                        s = b.start("host-a", &starts.to_string());
                    }
                }
            }
        };
        let leader = async {
            let limit = end.saturating_duration_since(Instant::now());
            tokio::time::timeout(limit, leader_takes_over(&b, secs(20))).await
        };
        let ((), recorded) = tokio::join!(trouble, leader);
        if let Ok(recorded) = recorded {
            taken_over += 1;
            let demoted = b.images.with(|i| i.demoted_at);
            assert!(
                demoted.is_some_and(|d| d <= recorded),
                "seed {seed}: {demoted:?}, recorded {recorded:?}"
            );
            assert!(!b.images.primary(), "seed {seed}");
        }
    }
    assert!(
        taken_over > 5,
        "the trouble was too small to prove anything: {taken_over}"
    );
}

/// As above, with a real etcd that is stopped: its sockets stay open and say nothing. In real time, with short times.
#[tokio::test]
async fn a_real_etcd_that_hangs_lets_the_zone_demote_before_its_lease_ends() {
    use rekindle_common::lease::LeaseTiming;
    let etcd = rekindle_store::testing::TestEtcd::start(1).await.unwrap();
    let store = etcd.store(0).await.unwrap();
    let mut policy = demote_policy();
    policy.lease = LeaseTiming {
        ttl: Span::secs(6),
        renew_every: Span::secs(1),
        demote_budget: Span::secs(2),
        margin: Span::secs(6),
    };
    policy.lease.check().unwrap();
    let b = Bench {
        elsewhere: store.clone(),
        ..Bench::new(true, policy.clone()).await
    };
    b.policy(policy).await;
    b.record("zone-a", 1).await;
    b.sites.say(["silent", "silent"]);
    let s = b.start_on(store, "host-a", "1");
    b.held(&s).await;
    sleep(secs(3)).await;
    assert!(held(&s), "{:?}", s.handle.view(&db()));

    let stopped = Instant::now();
    etcd.pause(0).unwrap();
    b.until("it demotes", secs(6), || !b.images.primary()).await;
    let demoted = stopped.elapsed();
    // The right of the last renewal, at most a cycle old, less the second that a turn may take.
    assert!(demoted >= secs(2) && demoted <= secs(5), "{demoted:?}");
    etcd.resume(0).unwrap();
    sleep(secs(3)).await;
    assert!(matches!(s.handle.view(&db()), LeaseView::Isolated { .. }));
    let view = s.handle.take(&db(), Generation(1)).await.unwrap();
    assert!(matches!(view, LeaseView::Held { .. }));
}
