//! Cinder's calls on two sidecars with simulated clusters; the other zone is reached through a real socket.

mod deleting;
mod freezing;
mod moving;

use super::{
    health::{DEAD_AFTER, Health},
    wire::*,
    *,
};
use crate::{
    actions::{Limits, Parts, Volumes},
    backend::{
        Backend, Op,
        memory::{Cluster, Fabric, FabricConfig},
    },
    leases::FixedLeases,
    routes::Ready,
    sidecar::Sidecar,
};
use rekindle_common::{
    ZoneName,
    action::{ActionOutcome, Effect, Order, Promotion, VolumeAction},
    mode::ReplicationMode,
    status::VolumeStatus,
    volume::Role,
};
use rekindle_net::{Client, ClientLimits, GrantRequest, ListenConfig, SocketOptions};

mod alone;
mod groups;
mod many;
mod pools;
mod retyping;

/// Zone A's Cinder calls, and both zones under them.
struct Bench {
    fabric: Fabric,
    a: Volumes,
    b: Volumes,
    cinder: Cinder,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn volumes(cluster: &Cluster) -> Volumes {
    Volumes::new(Parts {
        zone: cluster.zone(),
        backend: Backend::Memory(cluster.clone()),
        state_pool: "volumes".to_owned(),
        leases: Arc::new(FixedLeases::default()),
        clock: cluster.clock(),
        limits: Limits {
            action: Span::secs(3),
            probe: Span::millis(500),
            look: Span::secs(1),
            ..Limits::default()
        },
    })
}

const PEER: &str = "site-b";

async fn bench() -> Bench {
    bench_with(Orchestrators::default()).await
}

async fn bench_with(orchestrators: Orchestrators) -> Bench {
    let zone = |n: &str| ZoneName::new(n).unwrap();
    let config = FabricConfig {
        poll: Duration::from_millis(10),
        first_sync: Duration::from_millis(20),
        replay_delay: Duration::from_millis(10),
        snapshot_sync: Duration::from_millis(20),
        watch_timeout: Duration::from_millis(500),
        ..FabricConfig::default()
    };
    let fabric = Fabric::new(zone("zone-a"), zone("zone-b"), config);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("b.sock");
    let stop = CancellationToken::new();
    let b = volumes(&fabric.b());
    let mut sidecar = Sidecar::of(b.clone(), rekindle_net::Limits::default());
    let at = ListenConfig::Unix {
        path: socket.clone(),
        options: SocketOptions {
            mode: 0o600,
            group: None,
        },
    };
    sidecar.listen(&at).await.unwrap();
    let ready_there = sidecar.ready();
    tokio::spawn(sidecar.run(stop.clone()));
    let a = volumes(&fabric.a());
    let ready = Ready::default();
    ready.set(true);
    let client = Client::unix(&socket, ClientLimits::default());
    let cinder = Cinder::new(
        Side::own(a.clone(), ready),
        Some((PEER.to_owned(), Side::other(zone("zone-b"), client.into()))),
        orchestrators,
        CinderLimits {
            failover_time: Span::secs(40),
            back_wait: Span::secs(5),
            call_time: Span::secs(5),
        },
    );
    {
        let (cinder, stop) = (cinder.clone(), stop.clone());
        tokio::spawn(async move { cinder.watch(stop).await });
    }
    eventually("both sidecars know their clusters", || {
        ready_there.get()
            && cinder.inner.own.health() == Health::Writes
            && cinder.inner.peer.as_ref().unwrap().1.health() == Health::Writes
    })
    .await;
    Bench {
        fabric,
        a,
        b,
        cinder,
        stop,
        _dir: dir,
    }
}

async fn eventually(what: &str, met: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !met() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn specs(pairs: &[(&str, &str)]) -> Specs {
    let on = ("replication_enabled", "<is> True");
    let all = std::iter::once(&on).chain(pairs);
    all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

impl Bench {
    /// New volumes of zone A, replicated as asked, with a copy in step.
    async fn replicated(&self, n: usize, pairs: &[(&str, &str)]) -> Vec<CinderVolume> {
        let volumes: Vec<CinderVolume> = (0..n)
            .map(|_| {
                let id = uuid::Uuid::new_v4().to_string();
                let image = ImageSpec::new("volumes", format!("volume-{id}")).unwrap();
                self.fabric.a().create_image(&image, 1 << 20);
                CinderVolume {
                    id,
                    image,
                    facts: None,
                }
            })
            .collect();
        let answer = self.replicate(&volumes, pairs).await;
        for v in &answer.volumes {
            assert_eq!(v.replication_status, ReplicationStatus::Enabled, "{v:?}");
        }
        for v in &volumes {
            self.wait(&self.b, &v.image, VolumeStatus::ActiveSecondary)
                .await;
        }
        volumes
    }

    async fn replicate(&self, volumes: &[CinderVolume], pairs: &[(&str, &str)]) -> VolumesAnswer {
        let request = ReplicateRequest {
            backend: None,
            specs: specs(pairs),
            volumes: volumes.to_vec(),
        };
        self.cinder.replicate(request).await.unwrap()
    }

    async fn wait(&self, zone: &Volumes, image: &ImageSpec, status: VolumeStatus) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = zone.volume(image).await.map(|r| r.status);
            if now == Ok(status) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{image} is {now:?}, not {status}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn role(&self, zone: &Volumes, v: &CinderVolume) -> Role {
        zone.volume(&v.image).await.unwrap().role
    }

    async fn failover(
        &self,
        active: Option<&str>,
        target: Option<&str>,
        volumes: &[CinderVolume],
    ) -> Result<FailoverAnswer, ApiError> {
        let request = FailoverRequest {
            backend: active.map(str::to_owned),
            target: target.map(str::to_owned),
            volumes: volumes.to_vec(),
        };
        self.cinder.failover(request).await
    }

    /// By somebody's hand, past all of this.
    async fn by_hand(
        &self,
        zone: &Volumes,
        v: &CinderVolume,
        action: VolumeAction,
    ) -> ActionOutcome {
        let order = Order {
            action,
            generation: None,
        };
        zone.act(&v.image, order).await.unwrap()
    }
}

fn error_of(end: &VolumeEnd) -> &ApiError {
    match &end.end {
        End::Failed { error } => error,
        End::Ok { .. } => panic!("{end:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_moved_and_moved_back_with_nothing_lost() {
    let bench = bench().await;
    let volumes = bench.replicated(12, &[]).await;
    let writer = bench.fabric.a().open(&volumes[0].image).await.unwrap();
    writer.write(1, vec![1]).await.unwrap();
    let away = bench.failover(None, None, &volumes).await.unwrap();
    assert_eq!(away.target, PEER);
    for (v, end) in volumes.iter().zip(&away.volumes) {
        assert_eq!((&end.id, &end.image), (&v.id, &v.image));
        assert_eq!(
            end.replication_status,
            ReplicationStatus::FailedOver,
            "{end:?}"
        );
        assert_eq!(bench.role(&bench.a, v).await, Role::Secondary);
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
    }
    assert_eq!(
        bench.fabric.b().records(&volumes[0].image).unwrap().len(),
        1
    );
    // Called again, it finds all of it done.
    let again = bench
        .failover(Some(PEER), Some(PEER), &volumes)
        .await
        .unwrap();
    assert!(again.volumes.iter().all(|v| v.end
        == End::Ok {
            effect: Effect::AlreadySo
        }));
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    assert_eq!(home.target, DEFAULT);
    for (v, end) in volumes.iter().zip(&home.volumes) {
        assert_eq!(
            end.replication_status,
            ReplicationStatus::Enabled,
            "{end:?}"
        );
        assert_eq!(bench.role(&bench.a, v).await, Role::Primary);
    }
    let nothing = bench
        .failover(None, Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert_eq!(nothing.field.as_deref(), Some("target"));
    assert!(
        nothing.message.contains("nothing has failed over"),
        "{nothing}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_zones_volumes_are_forced_and_what_returns_is_demoted_and_made_anew() {
    let bench = bench().await;
    let volumes = bench.replicated(3, &[]).await;
    bench.fabric.a().kill();
    let begun = Instant::now();
    // The zone died a moment ago: the call waits until that is known, and forces nothing before.
    let away = bench.failover(None, Some(PEER), &volumes).await.unwrap();
    assert!(begun.elapsed() >= DEAD_AFTER - Duration::from_secs(2));
    for (v, end) in volumes.iter().zip(&away.volumes) {
        assert_eq!(
            end.replication_status,
            ReplicationStatus::FailedOver,
            "{end:?}"
        );
        let report = bench.b.volume(&v.image).await.unwrap();
        assert_eq!(report.role, Role::Primary);
        assert!(report.forced.unwrap().reason.starts_with(failover::REASON));
    }
    bench.fabric.a().start();
    for v in &volumes {
        let deadline = Instant::now() + Duration::from_secs(20);
        while bench.role(&bench.a, v).await != Role::Secondary {
            assert!(
                Instant::now() < deadline,
                "{v:?} is stale and still primary"
            );
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
    }
    // The way back resyncs what diverged, waits for it, and moves.
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    for (v, end) in volumes.iter().zip(&home.volumes) {
        assert_eq!(
            end.replication_status,
            ReplicationStatus::Enabled,
            "{end:?}"
        );
        let report = bench.a.volume(&v.image).await.unwrap();
        assert_eq!((report.role, report.forced), (Role::Primary, None));
    }
    let kept = bench.fabric.a().images();
    let kept = kept
        .iter()
        .filter(|i| i.image().contains("rekindle-safety"))
        .count();
    assert_eq!(kept, 3, "each loser's state is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_20_one_volumes_failure_decides_nothing_for_another() {
    let bench = bench().await;
    let volumes = bench.replicated(4, &[]).await;
    bench
        .fabric
        .a()
        .fail(Op::Demote, Some(&volumes[1].image), 16, 99);
    bench
        .fabric
        .b()
        .fail(Op::Promote, Some(&volumes[2].image), 5, 99);
    let away = bench.failover(None, Some(PEER), &volumes).await.unwrap();
    let words: Vec<_> = away.volumes.iter().map(|v| v.replication_status).collect();
    use ReplicationStatus::{FailedOver, FailoverError};
    assert_eq!(
        words,
        [FailedOver, FailoverError, FailoverError, FailedOver]
    );
    assert!(
        error_of(&away.volumes[1])
            .message
            .contains("could not be demoted in zone-a")
    );
    assert_eq!(
        bench.role(&bench.a, &volumes[1]).await,
        Role::Primary,
        "left as it was"
    );
    assert_eq!(
        bench.role(&bench.b, &volumes[2]).await,
        Role::Secondary,
        "and not forced"
    );
    // What was in the way is gone: the second call takes up where the first stopped.
    bench.fabric.a().release(Op::Demote);
    bench.fabric.b().release(Op::Promote);
    let again = bench
        .failover(Some(PEER), Some(PEER), &volumes)
        .await
        .unwrap();
    for (v, end) in volumes.iter().zip(&again.volumes) {
        assert_eq!(end.replication_status, FailedOver, "{end:?}");
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_57_the_way_back_is_refused_with_the_figure_while_it_is_not_in_step() {
    let bench = bench().await;
    let volumes = bench.replicated(3, &[]).await;
    bench.failover(None, None, &volumes).await.unwrap();
    for v in &volumes {
        bench
            .wait(&bench.a, &v.image, VolumeStatus::ActiveSecondary)
            .await;
    }
    bench.fabric.a().daemon().kill();
    bench
        .wait(&bench.a, &volumes[0].image, VolumeStatus::ErrorMirrorDown)
        .await;
    let refused = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::Held);
    assert!(
        refused
            .message
            .contains("0 of 3 volumes are ready in zone-a"),
        "{refused}"
    );
    for v in &volumes {
        assert_eq!(
            bench.role(&bench.b, v).await,
            Role::Primary,
            "nothing was moved"
        );
    }
    bench.fabric.a().daemon().start();
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    assert!(
        home.volumes
            .iter()
            .all(|v| v.replication_status == ReplicationStatus::Enabled)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_17_a_split_by_hand_is_neither_demoted_nor_resynced() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let forced = VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "somebody at night".to_owned(),
        },
    };
    bench.by_hand(&bench.b, &volumes[0], forced).await;
    bench.cinder.demote_stale_once().await.unwrap();
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
    let away = bench.failover(None, Some(PEER), &volumes).await.unwrap();
    assert_eq!(error_of(&away.volumes[0]).code, ErrorCode::SplitBrain);
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert!(home.message.contains("no failover of ours"), "{home}");
}

/// Moved here under a name, written to, demoted by a hand that gave none: the old name must not pass for that demotion's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_57_a_demotions_name_goes_with_the_next_promotion() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    bench.failover(None, None, &volumes).await.unwrap();
    let promoted = bench.b.volume(&volumes[0].image).await.unwrap();
    assert_eq!((promoted.role, promoted.demotion), (Role::Primary, None));
    bench
        .by_hand(&bench.b, &volumes[0], VolumeAction::Demote { token: None })
        .await;
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    assert_eq!(error_of(&home.volumes[0]).code, ErrorCode::DemotedOtherwise);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused_by_its_field() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    for (active, target, field) in [
        (None, Some("zone-z"), "target"),
        (Some(PEER), None, "target"),
        (Some("zone-z"), Some(PEER), "backend"),
    ] {
        let e = bench.failover(active, target, &volumes).await.unwrap_err();
        assert_eq!(
            (e.code, e.field.as_deref()),
            (ErrorCode::InvalidField, Some(field))
        );
    }
    let twice = [volumes[0].clone(), volumes[0].clone()];
    let e = bench.failover(None, None, &twice).await.unwrap_err();
    assert_eq!(e.field.as_deref(), Some("volumes[1].image"));
    let many = vec![volumes[0].clone(); MAX_BATCH + 1];
    let e = bench.failover(None, None, &many).await.unwrap_err();
    assert_eq!(e.field.as_deref(), Some("volumes"));
    let request = ReplicateRequest {
        backend: None,
        specs: Specs::new(),
        volumes,
    };
    let e = bench.cinder.replicate(request).await.unwrap_err();
    assert_eq!(e.field.as_deref(), Some("specs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retype_changes_mode_and_schedule_in_place() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let periodic = [("rekindle:mode", "periodic"), ("rekindle:interval", "1h")];
    let answer = bench.replicate(&volumes, &periodic).await;
    assert_eq!(
        answer.volumes[0].replication_status,
        ReplicationStatus::Enabled,
        "{answer:?}"
    );
    bench
        .wait(&bench.b, &volumes[0].image, VolumeStatus::ActiveSecondary)
        .await;
    let often = [("rekindle:mode", "periodic"), ("rekindle:interval", "15m")];
    bench.replicate(&volumes, &often).await;
    let report = bench.a.volume(&volumes[0].image).await.unwrap();
    let Some(ReplicationMode::Periodic(s)) = report.mode else {
        panic!("{report:?}")
    };
    assert_eq!(s.interval, Span::secs(900));
    let request = VolumesRequest {
        backend: None,
        volumes: volumes.clone(),
    };
    let off = bench.cinder.unreplicate(request.clone()).await.unwrap();
    assert_eq!(
        off.volumes[0].replication_status,
        ReplicationStatus::Disabled
    );
    let status = bench.cinder.status(&request).await.unwrap();
    assert_eq!(
        status.volumes[0].replication_status,
        ReplicationStatus::Disabled
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_48_what_would_break_a_pair_is_refused_before_it_begins() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let guard = |backend: Option<&str>, operation| GuardRequest {
        backend: backend.map(str::to_owned),
        operation,
        image: volumes[0].image.clone(),
    };
    let ask = async |backend, operation| bench.cinder.guard(&guard(backend, operation)).await;
    ask(None, Operation::Extend).await.unwrap();
    for operation in [Operation::Extend, Operation::Attach, Operation::Delete] {
        let e = ask(Some(PEER), operation).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::NotPrimary);
        assert!(e.message.contains("its primary is in zone-a"), "{e}");
    }
    bench.cinder.freeze(None, "moving house").await.unwrap();
    let e = ask(None, Operation::Delete).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Frozen);
    assert!(e.message.contains("moving house"), "{e}");
    ask(None, Operation::Attach).await.unwrap();
    assert_eq!(
        bench.cinder.backend(None).await.unwrap().frozen.as_deref(),
        Some("moving house, by the Cinder of zone-a")
    );
    bench.cinder.thaw(None).await.unwrap();
    ask(None, Operation::Delete).await.unwrap();
    let busy = bench.cinder.inner.begin_moving().unwrap();
    assert_eq!(
        ask(None, Operation::Extend).await.unwrap_err().code,
        ErrorCode::Busy
    );
    assert_eq!(
        bench.failover(None, None, &volumes).await.unwrap_err().code,
        ErrorCode::Busy
    );
    drop(busy);
    bench.fabric.a().kill();
    let e = ask(None, Operation::Attach).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::ClusterUnreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_attached_for_a_stand_by_while_that_is_granted() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    let [first, second] = [&volumes[0].image, &volumes[1].image];
    for v in &volumes {
        bench
            .by_hand(&bench.a, v, VolumeAction::Demote { token: None })
            .await;
        let promote = VolumeAction::Promote {
            promotion: Promotion::Plain,
        };
        bench.by_hand(&bench.b, v, promote).await;
        bench
            .wait(&bench.a, &v.image, VolumeStatus::ActiveSecondary)
            .await;
    }
    let ask = async |image: &ImageSpec, operation| {
        let request = GuardRequest {
            backend: None,
            operation,
            image: image.clone(),
        };
        bench.cinder.guard(&request).await
    };
    let grant = async |image: &ImageSpec, within| {
        bench
            .a
            .grant_standby(
                image,
                &GrantRequest {
                    within,
                    generation: None,
                },
            )
            .await
    };
    let e = ask(first, Operation::Attach).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::NotPrimary);

    let until = grant(first, Span::secs(600)).await.unwrap().until;
    assert!(until > bench.a.clock().now());
    ask(first, Operation::Attach).await.unwrap();
    // For that image, and for nothing else.
    for (image, operation) in [
        (second, Operation::Attach),
        (first, Operation::Extend),
        (first, Operation::Delete),
    ] {
        let e = ask(image, operation).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::NotPrimary, "{operation:?}");
    }
    // It ends by itself.
    grant(second, Span::secs(1)).await.unwrap();
    ask(second, Operation::Attach).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(second, Operation::Attach).await.is_ok() {
        assert!(Instant::now() < deadline, "a grant does not end");
        sleep(Duration::from_millis(50)).await;
    }

    for within in [Span::secs(0), Span::secs(901)] {
        let e = grant(first, within).await.unwrap_err();
        assert_eq!(
            (e.code, e.field.as_deref()),
            (ErrorCode::InvalidField, Some("within"))
        );
    }
    let plain = ImageSpec::new("volumes", "volume-plain").unwrap();
    bench.fabric.a().create_image(&plain, 1 << 20);
    assert_eq!(
        grant(&plain, Span::secs(1)).await.unwrap_err().code,
        ErrorCode::NotReplicated
    );
    let nobody = ImageSpec::new("volumes", "volume-nobody").unwrap();
    assert_eq!(
        grant(&nobody, Span::secs(1)).await.unwrap_err().code,
        ErrorCode::UnknownVolume
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_in_a_group_is_given_under_its_generation() {
    let bench = bench().await;
    let image = ImageSpec::new("volumes", "volume-1").unwrap();
    bench.fabric.a().create_image(&image, 1 << 20);
    let order = |action, generation| Order { action, generation };
    let replicate = VolumeAction::Replicate {
        mode: ReplicationMode::Instant,
        group: Some("db".parse().unwrap()),
        leave_group: false,
        cinder: None,
    };
    bench
        .a
        .take_lease(&"db".parse().unwrap(), rekindle_common::Generation(3))
        .await
        .unwrap();
    bench
        .a
        .act(
            &image,
            order(replicate, Some(rekindle_common::Generation(3))),
        )
        .await
        .unwrap();
    for (generation, code) in [
        (None, ErrorCode::GenerationRequired),
        (Some(2), ErrorCode::StaleGeneration),
    ] {
        let request = GrantRequest {
            within: Span::secs(60),
            generation: generation.map(rekindle_common::Generation),
        };
        let e = bench.a.grant_standby(&image, &request).await.unwrap_err();
        assert_eq!(e.code, code);
    }
    let request = GrantRequest {
        within: Span::secs(60),
        generation: Some(rekindle_common::Generation(3)),
    };
    bench.a.grant_standby(&image, &request).await.unwrap();
}
