//! Cinder's calls on two sidecars with simulated clusters; the other zone is reached through a real socket.

mod alone;
mod coming_home;
mod deleting;
mod failing_over;
mod freezing;
mod groups;
mod guarding;
mod many;
mod moving;
mod of_the_other_zone;
mod pools;
mod retyping;
mod unsure;

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
use rekindle_net::{Client, ClientLimits, ListenConfig, SocketOptions};

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
                    taken_in: false,
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
        self.replicate_for(Cause::Type, volumes, pairs).await
    }

    async fn replicate_for(
        &self,
        cause: Cause,
        volumes: &[CinderVolume],
        pairs: &[(&str, &str)],
    ) -> VolumesAnswer {
        let request = ReplicateRequest {
            backend: None,
            specs: specs(pairs),
            volumes: volumes.to_vec(),
            cause,
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
