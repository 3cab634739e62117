//! The actions on two linked clusters in memory, under paused time.

mod freezing;
mod joining;
mod lease_ends;
mod lost;
mod outlook;
mod promoting;
mod removing;
mod resyncing;
mod split_again;
mod together;
mod unreadable;

use super::*;
use crate::{
    backend::{
        Op,
        error::errno,
        memory::{Cluster, Fabric, FabricConfig},
    },
    leases::FixedLeases,
};
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, Generation, GroupName, ResyncToken,
    action::{
        ActionOutcome, BatchItem, BatchLine, BatchRequest, BatchResult, Effect, Order, Promotion,
        SafetyCopy, VolumeAction,
    },
    mode::ReplicationMode,
    schedule::Schedule,
    status::VolumeStatus,
    volume::{Known, Role, VolumeReport},
};

/// Two zones with their actions, and a volume replicated from A.
struct Pair {
    fabric: Fabric,
    a: Volumes,
    b: Volumes,
}

fn group() -> GroupName {
    GroupName::new("db").unwrap()
}
fn spec(n: u32) -> ImageSpec {
    ImageSpec::new("volumes", format!("volume-{n}")).unwrap()
}
fn order(action: VolumeAction, generation: u64) -> Order {
    Order {
        action,
        generation: Some(Generation(generation)),
    }
}
fn replicate(mode: ReplicationMode) -> Order {
    Order {
        action: VolumeAction::Replicate {
            mode,
            group: Some(group()),
            leave_group: false,
            anew: false,
            cinder: None,
        },
        generation: None,
    }
}
fn plain() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Plain,
    }
}
fn forced() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "zone-a lost".to_owned(),
            accept_torn: false,
        },
    }
}
fn resync(token: &str) -> VolumeAction {
    VolumeAction::Resync {
        token: ResyncToken::new(token).unwrap(),
        safety: SafetyCopy::Keep,
    }
}
fn code<T: std::fmt::Debug>(r: Result<T, ApiError>) -> ErrorCode {
    r.unwrap_err().code
}

fn zone(cluster: &Cluster, limits: Limits) -> Volumes {
    Volumes::new(Parts {
        zone: cluster.zone(),
        backend: Backend::Memory(cluster.clone()),
        state_pool: "volumes".to_owned(),
        leases: Arc::new(FixedLeases::default()),
        clock: cluster.clock(),
        limits,
    })
}

impl Pair {
    fn with(limits: Limits) -> Self {
        let name = |n: &str| ZoneName::new(n).unwrap();
        let fabric = Fabric::new(name("zone-a"), name("zone-b"), FabricConfig::default());
        Self {
            a: zone(&fabric.a(), limits),
            b: zone(&fabric.b(), limits),
            fabric,
        }
    }
    fn new() -> Self {
        Self::with(Limits::default())
    }

    /// A lease for A under 1, and `n` volumes that are in step in B.
    async fn replicated(n: u32, mode: ReplicationMode) -> Self {
        let pair = Self::new();
        pair.fill(n, mode).await;
        pair
    }
    async fn fill(&self, n: u32, mode: ReplicationMode) {
        self.a.take_lease(&group(), Generation(1)).await.unwrap();
        for i in 0..n {
            self.fabric.a().create_image(&spec(i), 1 << 30);
            self.a.act(&spec(i), replicate(mode)).await.unwrap();
        }
        for i in 0..n {
            wait(&self.b, &spec(i), VolumeStatus::ActiveSecondary).await;
        }
    }
}

async fn wait(zone: &Volumes, spec: &ImageSpec, status: VolumeStatus) -> VolumeReport {
    let mut last = None;
    for _ in 0..2000 {
        match zone.volume(spec).await {
            Ok(r) if r.status == status => return r,
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{spec} never became {status}: {last:?}")
}

async fn lines(mut stream: BatchStream) -> Vec<BatchLine> {
    let mut all = Vec::new();
    while let Some(line) = stream.recv().await {
        all.push(line);
    }
    all
}

fn periodic() -> ReplicationMode {
    ReplicationMode::Periodic(Schedule {
        start: "2026-01-01T00:00:00Z".parse().unwrap(),
        interval: Span::secs(60),
    })
}

#[tokio::test(start_paused = true)]
async fn every_mode_is_replicated_and_its_policy_travels_with_it() {
    for mode in [ReplicationMode::Instant, ReplicationMode::Once, periodic()] {
        let pair = Pair::replicated(1, mode).await;
        let a = pair.a.volume(&spec(0)).await.unwrap();
        assert_eq!(a.status, VolumeStatus::ActivePrimary, "{mode}");
        assert_eq!(a.concerns, Vec::<String>::new(), "{mode}");
        let b = pair.b.volume(&spec(0)).await.unwrap();
        assert_eq!((b.mode, b.group), (Some(mode), Some(group())));
        assert_eq!(b.complete_copy, Known::Yes);
        assert!(b.last_sync.is_some(), "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_order_twice_does_it_once() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let again = pair
        .a
        .act(&spec(0), replicate(ReplicationMode::Instant))
        .await
        .unwrap();
    assert_eq!(again.effect, Effect::AlreadySo);
    for effect in [Effect::Done, Effect::AlreadySo] {
        let o = pair
            .a
            .act(&spec(0), order(VolumeAction::Demote { token: None }, 2))
            .await;
        assert_eq!(o.unwrap().effect, effect);
    }
    wait(&pair.b, &spec(0), VolumeStatus::PendingPromotion).await;
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    for effect in [Effect::Done, Effect::AlreadySo] {
        let o = pair.b.act(&spec(0), order(plain(), 2)).await.unwrap();
        assert_eq!((o.effect, o.report.role), (effect, Role::Primary));
    }
}

#[tokio::test(start_paused = true)]
async fn once_takes_one_mirror_snapshot_for_each_request() {
    let pair = Pair::replicated(1, ReplicationMode::Once).await;
    let writer = pair.fabric.a().open(&spec(0)).await.unwrap();
    writer.write(1, b"one".to_vec()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(pair.fabric.b().records(&spec(0)).unwrap(), []);
    let o = pair.a.act(&spec(0), replicate(ReplicationMode::Once)).await;
    assert_eq!(o.unwrap().effect, Effect::Done);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pair.fabric.b().records(&spec(0)).unwrap().len(), 1);
    let snapshots = pair
        .fabric
        .a()
        .calls()
        .iter()
        .filter(|(op, _)| *op == crate::backend::Op::MirrorSnapshot)
        .count();
    assert_eq!(snapshots, 1, "the first came with enabling");
}

#[tokio::test(start_paused = true)]
async fn a_demotion_under_a_live_writer_stops_it() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let writer = pair.fabric.a().open(&spec(0)).await.unwrap();
    writer.write(1, vec![1]).await.unwrap();
    pair.a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
        .await
        .unwrap();
    let refused = writer.write(2, vec![2]).await.unwrap_err();
    assert_eq!(refused.errno, errno::EROFS);
}

#[tokio::test(start_paused = true)]
async fn unreplicate_takes_the_copy_away_and_only_at_the_primary() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let un = || Order {
        action: VolumeAction::Unreplicate,
        generation: None,
    };
    assert_eq!(
        code(pair.b.act(&spec(0), un()).await),
        ErrorCode::NotPrimary
    );
    assert_eq!(
        pair.a.act(&spec(0), un()).await.unwrap().effect,
        Effect::Done
    );
    assert_eq!(
        pair.a.act(&spec(0), un()).await.unwrap().effect,
        Effect::AlreadySo
    );
    while pair.fabric.b().image_id(&spec(0)).is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(pair.fabric.a().image_id(&spec(0)).is_some());
}

/// Whoever waits for a report waits less than a probe of a dead cluster takes to fail: its sidecar would count as dead too.
#[tokio::test(start_paused = true)]
async fn hard_case_60_a_sidecar_whose_cluster_is_dead_says_so_at_once() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a.volumes(&VolumeQuery::default()).await.unwrap();
    pair.fabric.a().kill();
    // Beyond the age of a list that is given out again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pair.a.zone().await.ceph.writable, Known::No);
    for _ in 0..5 {
        let begun = Instant::now();
        let zone = pair.a.zone().await;
        assert!(begun.elapsed() < Duration::from_millis(600));
        assert_eq!(zone.ceph.writable, Known::No);
        assert_eq!(zone.groups[0].volumes[&VolumeStatus::ErrorUnknown], 1);
    }
    // One that is back and slow is found all the same, by a probe that nobody waits for any more.
    pair.fabric.a().start();
    pair.fabric
        .a()
        .slow(crate::backend::Op::Probe, Duration::from_secs(2));
    let begun = Instant::now();
    while pair.a.zone().await.ceph.writable != Known::Yes {
        assert!(begun.elapsed() < Duration::from_secs(8), "never found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_the_cluster_alone_has_no_volume_looked_at() {
    let pair = Pair::replicated(2, ReplicationMode::Instant).await;
    let lists = || {
        let calls = pair.fabric.a().calls();
        calls.iter().filter(|(op, _)| *op == Op::List).count()
    };
    // Beyond the age of a list that is given out again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = lists();
    let zone = pair.a.zone_parts(ZoneParts::Ceph).await;
    assert_eq!((zone.ceph.writable, zone.groups.len()), (Known::Yes, 0));
    assert_eq!(lists(), before);
    assert_eq!(pair.a.zone().await.groups.len(), 1);
    assert!(lists() > before);
}

#[tokio::test(start_paused = true)]
async fn a_silent_cluster_is_reported_in_time_and_nothing_is_made_up() {
    let pair = Pair::replicated(2, ReplicationMode::Instant).await;
    pair.a.volumes(&VolumeQuery::default()).await.unwrap();
    pair.fabric.a().kill();
    // Beyond the age of a list that is given out again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let zone = pair.a.zone().await;
    assert!(begun.elapsed() <= Duration::from_secs(4));
    assert_eq!(zone.ceph.writable, Known::No);
    assert_eq!(zone.ceph.health, None);
    assert_eq!(zone.mirror.daemon_up, Known::Unknown);
    assert_eq!(zone.groups[0].volumes[&VolumeStatus::ErrorUnknown], 2);
    let begun = Instant::now();
    let page = pair.a.volumes(&VolumeQuery::default()).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(11));
    let v = &page.volumes[0];
    assert_eq!((v.role, v.complete_copy), (Role::Unknown, Known::Unknown));
    assert_eq!(v.group, Some(group()));
    let begun = Instant::now();
    let r = pair
        .a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
        .await;
    assert_eq!(code(r), ErrorCode::DeadlineExceeded);
    assert!(begun.elapsed() <= Duration::from_secs(31));
    pair.fabric.a().start();
    wait(&pair.a, &spec(0), VolumeStatus::ActivePrimary).await;
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_without_threads_says_nothing_of_its_cluster() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a.volumes(&VolumeQuery::default()).await.unwrap();
    for op in [Op::Probe, Op::List, Op::Open] {
        pair.fabric.a().starve(op);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(pair.a.zone().await.ceph.writable, Known::Unknown);
    }
    let demote = order(VolumeAction::Demote { token: None }, 1);
    let refused = pair.a.act(&spec(0), demote).await;
    assert_eq!(code(refused), ErrorCode::Unavailable);
    let page = pair.a.volumes(&VolumeQuery::default()).await.unwrap();
    assert_eq!(page.volumes[0].role, Role::Unknown);
    pair.fabric.a().release(Op::Probe);
    assert_eq!(pair.a.zone().await.ceph.writable, Known::Yes);
    // The word of a probe that was silent goes on being told while the next one lasts, and that of one that was not begun does not.
    pair.fabric.a().starve(Op::Probe);
    assert_eq!(pair.a.zone().await.ceph.writable, Known::Unknown);
    pair.fabric.a().release(Op::Probe);
    pair.fabric.a().slow(Op::Probe, Duration::from_secs(2));
    assert_eq!(pair.a.zone().await.ceph.writable, Known::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_demoted_whole_and_waits_for_what_is_in_flight() {
    let pair = Pair::replicated(5, ReplicationMode::Instant).await;
    pair.fabric
        .a()
        .slow(crate::backend::Op::MirrorSnapshot, Duration::from_secs(1));
    let all = pair
        .a
        .demote_all(&group(), Instant::now() + Duration::from_secs(10))
        .await;
    assert_eq!((all.demoted.len(), all.complete()), (5, Ok(())));
    assert_eq!(pair.a.primaries().await.unwrap(), []);
    // Of a silent cluster it says that it does not know.
    pair.fabric.a().kill();
    let all = pair
        .a
        .demote_all(&group(), Instant::now() + Duration::from_secs(10))
        .await;
    assert!(all.complete().is_err());
    assert_eq!(all.demoted, Vec::<ImageSpec>::new());
}

#[tokio::test(start_paused = true)]
async fn hard_case_31_fencing_shuts_clients_out_and_refuses_older_orders() {
    let pair = Pair::replicated(2, ReplicationMode::Instant).await;
    let writer = pair.fabric.a().open(&spec(1)).await.unwrap();
    let fenced = pair.a.fence(&group(), Generation(2)).await.unwrap();
    assert_eq!(fenced.clients, [writer.address()]);
    let refused = writer.write(1, vec![]).await.unwrap_err();
    assert_eq!(refused.errno, errno::ESHUTDOWN);
    assert_eq!(pair.a.primaries().await.unwrap(), []);
    let old = pair.a.act(&spec(0), order(plain(), 1)).await;
    assert_eq!(code(old), ErrorCode::StaleGeneration);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_only_when_nothing_is_primary() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let early = pair.a.give_up_lease(&group(), Generation(1)).await;
    assert_eq!(code(early), ErrorCode::IsPrimary);
    pair.a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
        .await
        .unwrap();
    let report = pair.a.give_up_lease(&group(), Generation(1)).await.unwrap();
    assert_eq!(report.lease, rekindle_common::lease::LeaseView::NotHeld);
    assert_eq!(report.generation, Some(Generation(1)));
}

#[tokio::test(start_paused = true)]
async fn pages_are_sorted_and_end() {
    let pair = Pair::replicated(5, ReplicationMode::Instant).await;
    let mut query = VolumeQuery {
        limit: Some(2),
        group: Some(group()),
        after: None,
    };
    let mut seen = Vec::new();
    loop {
        let page = pair.a.volumes(&query).await.unwrap();
        seen.extend(page.volumes.into_iter().map(|v| v.volume));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, (0..5).map(spec).collect::<Vec<_>>());
    query.limit = Some(0);
    let error = pair.a.volumes(&query).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("limit"));
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_record_stops_what_depends_on_it() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let backend = pair.a.backend();
    let soon = || Instant::now() + Duration::from_secs(1);
    let oid = "rekindle.group.db";
    let old = backend.read_object("volumes", oid, soon()).await.unwrap();
    backend
        .swap_object("volumes", oid, old.as_deref(), b"{\"v\":9}", soon())
        .await
        .unwrap();
    let r = pair
        .a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 9))
        .await;
    assert_eq!(code(r), ErrorCode::CorruptRecord);
    assert!(pair.fabric.a().is_primary(&spec(0)));
}

#[tokio::test(start_paused = true)]
async fn draining_begins_nothing_and_waits_for_what_was_begun() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.fabric
        .a()
        .slow(crate::backend::Op::Demote, Duration::from_secs(2));
    let volumes = pair.a.clone();
    let running = tokio::spawn(async move {
        volumes
            .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
            .await
    });
    while pair.a.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pair.a.drain(Instant::now() + Duration::from_secs(10)).await;
    assert!(!pair.fabric.a().is_primary(&spec(0)));
    let outcome: ActionOutcome = running.await.unwrap().unwrap();
    assert_eq!(outcome.effect, Effect::Done);
    let late = pair
        .a
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
        .await;
    assert_eq!(code(late), ErrorCode::Unavailable);
}
