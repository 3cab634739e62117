//! Cinder's calls on real zones: a backend moved and moved back, a zone killed under it, a type changed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "lab_hooks/deleting.rs"]
mod deleting;
mod support;

use rekindle_common::{
    ErrorCode, ImageSpec,
    duration::Span,
    status::VolumeStatus,
    volume::{Known, Role},
};
use rekindle_driver::{
    cinder::{Cinder, CinderLimits, DEFAULT, Side as CinderSide, wire::*},
    routes::Ready,
    sidecar::Sidecar,
};
use rekindle_lab::Site;
use rekindle_net::{
    Client, ClientLimits, Limits as NetLimits, ListenConfig, Orchestrators, SocketOptions,
};
use std::time::{Duration, Instant};
use support::*;
use tokio_util::sync::CancellationToken;

const PEER: &str = "zone-b";

/// Zone A's Cinder calls beside both zones.
struct Hooks {
    zones: Zones,
    cinder: Cinder,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn hooks() -> Hooks {
    let zones = zones();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.sock");
    let stop = CancellationToken::new();
    let mut there = Sidecar::of(zones.b.volumes.clone(), NetLimits::default());
    let at = ListenConfig::Unix {
        path: path.clone(),
        options: SocketOptions {
            mode: 0o600,
            group: None,
        },
    };
    there.listen(&at).await.unwrap();
    tokio::spawn(there.run(stop.clone()));
    let ready = Ready::default();
    ready.set(true);
    let client = Client::unix(&path, ClientLimits::default());
    let zone_b = zones.b.volumes.zone_name().clone();
    let cinder = Cinder::new(
        CinderSide::own(zones.a.volumes.clone(), ready),
        Some((PEER.to_owned(), CinderSide::other(zone_b, client.into()))),
        Orchestrators::default(),
        CinderLimits {
            back_wait: Span::secs(5),
            ..CinderLimits::default()
        },
    );
    {
        let (cinder, stop) = (cinder.clone(), stop.clone());
        tokio::spawn(async move { cinder.watch(stop).await });
    }
    let hooks = Hooks {
        zones,
        cinder,
        stop,
        _dir: dir,
    };
    for backend in [None, Some(PEER)] {
        hooks
            .until("both clusters take writes", async || {
                let backend = hooks.cinder.backend(backend).await.unwrap();
                backend.reachable == Known::Yes
            })
            .await;
    }
    hooks
}

impl Hooks {
    async fn until(&self, what: &str, met: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(200);
        while !met().await {
            assert!(Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn replicate(&self, volumes: &[CinderVolume], pairs: &[(&str, &str)]) {
        let on = ("replication_enabled", "<is> True");
        let specs = std::iter::once(&on)
            .chain(pairs)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let request = ReplicateRequest {
            backend: None,
            specs,
            volumes: volumes.to_vec(),
            cause: Cause::Type,
        };
        let answer = self.cinder.replicate(request).await.unwrap();
        for v in &answer.volumes {
            assert_eq!(v.replication_status, ReplicationStatus::Enabled, "{v:?}");
        }
    }

    /// New volumes, instant and periodic in turn, in step at B.
    async fn volumes(&self, n: usize) -> Vec<CinderVolume> {
        let volumes: Vec<_> = (0..n).map(|_| volume_of(self.zones.image())).collect();
        let (even, odd): (Vec<_>, Vec<_>) = volumes
            .iter()
            .cloned()
            .enumerate()
            .partition(|(i, _)| i % 2 == 0);
        let only = |some: Vec<(usize, CinderVolume)>| -> Vec<CinderVolume> {
            some.into_iter().map(|(_, v)| v).collect()
        };
        self.replicate(&only(even), &[]).await;
        self.replicate(
            &only(odd),
            &[("rekindle:mode", "periodic"), ("rekindle:interval", "1h")],
        )
        .await;
        for v in &volumes {
            wait(&self.zones.b, &v.image, VolumeStatus::ActiveSecondary).await;
        }
        volumes
    }

    async fn failover(
        &self,
        active: Option<&str>,
        target: Option<&str>,
        volumes: &[CinderVolume],
    ) -> Result<FailoverAnswer, rekindle_common::ApiError> {
        let begun = Instant::now();
        let request = FailoverRequest {
            backend: active.map(str::to_owned),
            target: target.map(str::to_owned),
            volumes: volumes.to_vec(),
        };
        let answer = self.cinder.failover(request).await;
        println!(
            "{} volumes to {}: {:?}",
            volumes.len(),
            target.unwrap_or(PEER),
            begun.elapsed()
        );
        answer
    }

    /// Home, as often as it takes until the way back is in step.
    async fn home(&self, volumes: &[CinderVolume]) -> FailoverAnswer {
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            match self.failover(Some(PEER), Some(DEFAULT), volumes).await {
                Ok(answer) => return answer,
                Err(e) if e.code == ErrorCode::Held && Instant::now() < deadline => {
                    println!("{e}");
                    assert!(
                        e.message.contains("of 6 volumes are ready in zone-a"),
                        "{e}"
                    );
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn write(&self, site: Site, image: &ImageSpec, text: &[u8]) {
        let pool = self.zones.admin(site).pool(POOL).unwrap();
        let image = pool.open(image.image()).unwrap();
        image.write(0, text).unwrap();
        image.flush().unwrap();
    }

    fn read(&self, site: Site, image: &ImageSpec, length: usize) -> Vec<u8> {
        let pool = self.zones.admin(site).pool(POOL).unwrap();
        let image = pool.open_read_only(image.image()).unwrap();
        let mut text = vec![0; length];
        image.read(0, &mut text).unwrap();
        text
    }
}

fn volume_of(image: ImageSpec) -> CinderVolume {
    CinderVolume {
        id: image.image().trim_start_matches("volume-").to_owned(),
        image,
        facts: None,
        taken_in: false,
    }
}

fn all_are(answer: &FailoverAnswer, word: ReplicationStatus) {
    for v in &answer.volumes {
        assert_eq!(v.replication_status, word, "{v:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_host_moves_a_backend_and_moves_it_back_with_nothing_lost() {
    let h = hooks().await;
    let volumes = h.volumes(6).await;
    for v in &volumes {
        h.write(Site::ZoneA, &v.image, b"written last at home");
    }
    let away = h.failover(None, None, &volumes).await.unwrap();
    all_are(&away, ReplicationStatus::FailedOver);
    for v in &volumes {
        assert_eq!(h.read(Site::ZoneB, &v.image, 20), b"written last at home");
        h.write(Site::ZoneB, &v.image, b"written last away...");
    }
    let home = h.home(&volumes).await;
    all_are(&home, ReplicationStatus::Enabled);
    for v in &volumes {
        assert_eq!(h.read(Site::ZoneA, &v.image, 20), b"written last away...");
    }
    let nothing = h.failover(None, Some(DEFAULT), &volumes).await.unwrap_err();
    assert_eq!(nothing.field.as_deref(), Some("target"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_31_a_killed_zones_volumes_are_forced_and_its_stale_primaries_demoted_on_return()
{
    let h = hooks().await;
    let volumes = h.volumes(6).await;
    h.zones.lab.kill(Site::ZoneA).unwrap();
    let away = h.failover(None, Some(PEER), &volumes).await.unwrap();
    all_are(&away, ReplicationStatus::FailedOver);
    for v in &volumes {
        h.write(Site::ZoneB, &v.image, b"written while alone");
    }
    h.zones.lab.start(Site::ZoneA).unwrap();
    for v in &volumes {
        let demoted = |r: &rekindle_common::volume::VolumeReport| r.role == Role::Secondary;
        wait_for(&h.zones.a, &v.image, "demoted", demoted).await;
    }
    let home = h.home(&volumes).await;
    all_are(&home, ReplicationStatus::Enabled);
    for v in &volumes {
        assert_eq!(h.read(Site::ZoneA, &v.image, 19), b"written while alone");
        let report = h.zones.a.volumes.volume(&v.image).await.unwrap();
        assert_eq!((report.role, report.forced), (Role::Primary, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retype_from_instant_to_periodic_makes_the_copy_anew() {
    let h = hooks().await;
    let volumes = vec![volume_of(h.zones.image())];
    h.replicate(&volumes, &[]).await;
    wait(&h.zones.b, &volumes[0].image, VolumeStatus::ActiveSecondary).await;
    h.write(Site::ZoneA, &volumes[0].image, b"kept");
    h.replicate(
        &volumes,
        &[("rekindle:mode", "periodic"), ("rekindle:interval", "1h")],
    )
    .await;
    let image = &volumes[0].image;
    let anew = |r: &rekindle_common::volume::VolumeReport| {
        r.status == VolumeStatus::ActiveSecondary
            && r.mirror_mode == Some(rekindle_common::mode::MirrorImageMode::Snapshot)
    };
    wait_for(&h.zones.b, image, "a snapshot copy in step", anew).await;
    assert_eq!(h.read(Site::ZoneB, image, 4), b"kept");
}
