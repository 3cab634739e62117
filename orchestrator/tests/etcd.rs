//! The same with everything real but Ceph: three etcd members, mutual TLS on loopback, three orchestrators as their program builds
//! them, two sidecars. Their clusters are simulated, their monitors greet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

use rekindle_common::{
    Generation, GroupName, ImageSpec, SiteName, ZoneName,
    action::{Order, VolumeAction},
    duration::Span,
    lease::LeaseTiming,
    mode::ReplicationMode,
    policy::{FailoverMode, GroupPolicy, GroupSpec},
    runbook::Runbook,
    status::VolumeStatus,
    tls::TlsFiles,
};
use rekindle_core::{decision::Request, snapshot::LeaseSight};
use rekindle_driver::{
    actions::{Limits, Parts},
    backend::{
        Backend,
        memory::{Fabric, FabricConfig, POOL},
    },
    lease::{LeaseConfig, LeaseRunner, OtherSite},
    sidecar::Sidecar,
};
use rekindle_net::{AllowedNames, Client, ClientLimits, ListenConfig, testing::TestAuthority};
use rekindle_orchestrator::{
    client::{Endpoint, OrchestratorClient},
    config::Config,
    start::start,
    wire::{GroupStatus, Run, View, WatchLine},
};
use rekindle_store::testing::TestEtcd;
use std::{
    collections::BTreeMap, future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    runtime::Runtime,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

const COUNT: usize = 3;

fn image(n: usize) -> ImageSpec {
    ImageSpec::new(POOL, format!("volume-{n}")).unwrap()
}
fn zone(n: &str) -> ZoneName {
    ZoneName::new(n).unwrap()
}
fn db() -> GroupName {
    GroupName::new("db").unwrap()
}

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < until, "never came to be: {what}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// A monitor: it greets whoever connects.
async fn monitor() -> (SocketAddr, impl Future<Output = ()> + Send + 'static) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let greeting = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"ceph v027").await;
        }
    };
    (at, greeting)
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// What runs in it dies with it, served connections too: aborting a server's task would leave those, and the dead would answer.
struct Process(Option<Runtime>);

impl Process {
    fn start() -> Self {
        let mut one = tokio::runtime::Builder::new_multi_thread();
        Self(Some(one.worker_threads(1).enable_all().build().unwrap()))
    }
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.as_ref().unwrap().spawn(work);
    }
    fn kill(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Zone {
    sidecar_at: SocketAddr,
    monitor_at: SocketAddr,
    process: Process,
    volumes: rekindle_driver::actions::Volumes,
}

async fn start_zone(
    name: &str,
    fabric: &Fabric,
    etcd: &TestEtcd,
    tls: &TlsFiles,
    others: &BTreeMap<String, SocketAddr>,
) -> Zone {
    let cluster = fabric.cluster(&zone(name)).unwrap();
    let process = Process::start();
    let (monitor_at, greeting) = monitor().await;
    let sites: Vec<OtherSite> = others
        .iter()
        .filter(|(site, _)| *site != name)
        .map(|(site, at)| OtherSite {
            site: SiteName::new(site.clone()).unwrap(),
            client: Client::mtls(&format!("https://{at}"), tls, ClientLimits::default())
                .unwrap()
                .into(),
        })
        .collect();
    let mut config = LeaseConfig::new(zone(name), format!("{name}-1"));
    config.look_every = Span::secs(1);
    let store = etcd.store(usize::from(name == "zone-b")).await.unwrap();
    let (runner, handle) = LeaseRunner::new(config, store, sites);
    let parts = Parts {
        zone: zone(name),
        backend: Backend::Memory(cluster.clone()),
        state_pool: POOL.to_owned(),
        leases: Arc::new(handle),
        clock: cluster.clock(),
        limits: Limits::default(),
    };
    let mut sidecar = Sidecar::new(parts, Default::default());
    let volumes = sidecar.volumes();
    let at = ListenConfig::Tls {
        address: "127.0.0.1:0".parse().unwrap(),
        files: tls.clone(),
        allowed: AllowedNames::default(),
    };
    let sidecar_at = sidecar.listen(&at).await.unwrap().address().unwrap();
    let sink = volumes.clone();
    process.spawn(greeting);
    process.spawn(async move {
        sidecar.run(CancellationToken::new()).await;
    });
    process.spawn(async move { runner.run(sink, CancellationToken::new()).await });
    Zone {
        sidecar_at,
        monitor_at,
        process,
        volumes,
    }
}

fn config(
    site: &str,
    folder: &Path,
    tls: &TlsFiles,
    etcd: &TestEtcd,
    sites: &BTreeMap<String, SocketAddr>,
    zones: &BTreeMap<String, Zone>,
) -> Config {
    let quoted = |p: &Path| format!("{:?}", p.display().to_string());
    let pem = format!(
        "{{ ca = {}, cert = {}, key = {} }}",
        quoted(&tls.ca),
        quoted(&tls.cert),
        quoted(&tls.key)
    );
    let mut text = format!("site = \"{site}\"\n[sites]\n");
    for (name, at) in sites {
        text += &format!("{name} = \"https://{at}\"\n");
    }
    for (name, z) in zones {
        text += &format!(
            "[zones.{name}]\nsidecar = \"https://{}\"\nceph_mons = [\"{}\"]\n",
            z.sidecar_at, z.monitor_at
        );
    }
    let socket = folder.join(format!("{site}.sock"));
    text += &format!(
        "[listen]\nunix = {}\ntcp = \"{}\"\ntls = {pem}\n",
        quoted(&socket),
        sites[site]
    );
    text += &format!("[etcd]\nendpoints = {:?}\n", etcd.config().endpoints);
    text += "[times]\nleader_ttl = \"4s\"\nleader_safety = \"1s\"\nview_ttl = \"4s\"\n";
    text += "[applications.shop]\ncommand = [\"/bin/cat\"]\n";
    let path = folder.join(format!("{site}.toml"));
    std::fs::write(&path, text).unwrap();
    Config::load_file(&path).unwrap()
}

async fn run(config: &Config) -> (JoinHandle<()>, CancellationToken) {
    let (orchestrator, server) = start(config).await.unwrap();
    let stop = CancellationToken::new();
    let until = stop.clone();
    let task = tokio::spawn(async move {
        tokio::join!(orchestrator.run(until.clone()), server.run(until));
    });
    (task, stop)
}

fn in_step(g: &GroupStatus, primary: &str) -> bool {
    let copies = if primary == "zone-a" {
        "zone-b"
    } else {
        "zone-a"
    };
    let all = |z: &str, status| {
        g.volumes
            .iter()
            .find(|v| v.zone == zone(z))
            .and_then(|v| v.counts.get(&status))
            == Some(&u32::try_from(COUNT).unwrap())
    };
    g.primary.as_ref().is_some_and(|p| p.zone == zone(primary))
        && matches!(g.lease, LeaseSight::Held(_))
        && all(primary, VolumeStatus::ActivePrimary)
        && all(copies, VolumeStatus::ActiveSecondary)
        && g.active_plan.is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_real_etcd_and_mutual_tls_a_group_is_moved_and_then_failed_over() {
    let folder = tempfile::tempdir().unwrap();
    let authority = TestAuthority::new().unwrap();
    let tls = authority
        .issue(folder.path(), "all", &["127.0.0.1", "localhost"])
        .unwrap();
    let mut etcd = TestEtcd::start(3).await.unwrap();
    let fabric = Fabric::new(zone("zone-a"), zone("zone-b"), FabricConfig::default());
    for n in 0..COUNT {
        fabric.a().create_image(&image(n), 1 << 30);
    }
    let mut sites = BTreeMap::new();
    for site in ["zone-a", "zone-b", "witness"] {
        sites.insert(site.to_owned(), free_address().await);
    }
    let mut zones = BTreeMap::new();
    for name in ["zone-a", "zone-b"] {
        let z = start_zone(name, &fabric, &etcd, &tls, &sites).await;
        zones.insert(name.to_owned(), z);
    }
    let mut running = BTreeMap::new();
    for site in sites.keys() {
        let config = config(site, folder.path(), &tls, &etcd, &sites, &zones);
        running.insert(site.clone(), run(&config).await);
    }

    // A person at the witness, through its unix socket: what needs the leader goes to it over TLS.
    let limits = ClientLimits::default();
    let socket = folder.path().join("witness.sock");
    let client = OrchestratorClient::new(vec![Endpoint::unix(&socket, Some(tls.clone()), limits)]);
    let spec = GroupSpec {
        name: db(),
        home: zone("zone-a"),
        away: zone("zone-b"),
        policy: GroupPolicy {
            failover: FailoverMode::Automatic,
            hold_off: Span::secs(3),
            lease: LeaseTiming {
                ttl: Span::secs(4),
                renew_every: Span::secs(1),
                demote_budget: Span::secs(1),
                margin: Span::secs(3),
            },
            application: Some("shop".to_owned()),
            ..GroupPolicy::default()
        },
        runbook: Runbook::default(),
    };
    eventually("the group is defined", || async {
        client.put_group(&spec).await.ok()
    })
    .await;
    for n in 0..COUNT {
        let order = Order {
            action: VolumeAction::Replicate {
                mode: ReplicationMode::Instant,
                group: Some(db()),
                leave_group: false,
                anew: false,
                cinder: None,
            },
            generation: Some(Generation(1)),
        };
        zones["zone-a"].volumes.act(&image(n), order).await.unwrap();
    }
    let group = || async { client.group(&db()).await.ok() };
    eventually("it is in step", || async {
        group().await.filter(|g| in_step(g, "zone-a"))
    })
    .await;

    // A move, followed line by line; etcd loses a member under it.
    let answer = eventually("the move begins", || async {
        let to = Request::Move { to: zone("zone-b") };
        client.plan_for(&db(), to, Run::Begin).await.ok()
    })
    .await;
    etcd.kill(2);
    let mut watch = eventually("it is watched", || async {
        client.watch(&answer.plan.id).await.ok()
    })
    .await;
    let mut last = None;
    while let Ok(Some(line)) = watch.next().await {
        last = Some(line);
    }
    assert!(matches!(last, Some(WatchLine::Ended { .. })), "{last:?}");
    eventually("it is in step in zone-b", || async {
        group().await.filter(|g| in_step(g, "zone-b"))
    })
    .await;
    etcd.start_member(2).unwrap();

    // Zone-b dies: its cluster, its sidecar, its monitor, its orchestrator.
    let begun = Instant::now();
    fabric.b().kill();
    zones.get_mut("zone-b").unwrap().process.kill();
    running["zone-b"].0.abort();
    let g = eventually("zone-a has taken over", || async {
        let g = group().await?;
        let there = g.primary.as_ref()?.zone == zone("zone-a") && g.active_plan.is_none();
        there.then_some(g)
    })
    .await;
    assert_eq!(g.primary.as_ref().unwrap().generation, Generation(3));
    assert!(g.unprotected.is_some());
    let primaries = (0..COUNT).filter(|n| fabric.a().is_primary(&image(*n)));
    assert_eq!(primaries.count(), COUNT);
    println!("failed over in {:?}", begun.elapsed());

    // Whoever is asked, the whole status is found.
    let status = client.status().await.unwrap();
    assert_eq!(status.view, View::Whole);
    for (task, stop) in running.values() {
        stop.cancel();
        task.abort();
    }
}
